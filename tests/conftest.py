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
