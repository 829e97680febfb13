"""Shared fixtures: the real files, where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of small real files; tests that need it are skipped where EOLAB_REAL_DATA is not set."""
    folder = os.environ.get("EOLAB_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("EOLAB_REAL_DATA is not set to a folder of real files")
    return Path(folder)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of whole notebooks first, then those with slow tests: no worker ends with the longest file."""
    rank: dict[Path, int] = {}
    for item in items:
        marks = {mark.name for mark in item.iter_markers()}
        own = 0 if marks & {"notebook", "browser"} else 1 if "slow" in marks else 2
        rank[item.path] = min(own, rank.get(item.path, own))
    items.sort(key=lambda item: rank[item.path])
