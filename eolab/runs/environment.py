"""What a run was made with: versions, machine, commit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from eolab.core.machine import processor

PACKAGES = (
    *("eolab", "keras", "tensorflow", "jax", "torch", "numpy", "pandas", "xarray", "dask", "scikit-learn"),
    *("scipy", "rasterio", "rioxarray", "geopandas", "matplotlib", "papermill", "nbconvert"),
    *("onnxruntime", "openvino"),
)
VARIABLES = (
    "EOLAB_",
    "KERAS_",
    "CUDA_VISIBLE_DEVICES",
    "TF_CPP_",
    "TF_ENABLE_",
    "TF_XLA_",
    "OMP_NUM_THREADS",
    "ONEDNN_",
)
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def describe(project: Path, seed: int | None) -> dict[str, Any]:
    """Return what reproduces a run besides its parameters, without importing any of the packages.

    Args:
        project: Folder of the project, for its git commit.
        seed: The run's seed, None where it has none.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": versions(),
        "git": git(project),
        "seed": seed,
        "cpu": processor()[0],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": gpus(),
        "variables": {
            key: value
            for key, value in sorted(os.environ.items())
            if key.startswith(VARIABLES) and not any(word in key for word in _SECRET)
        },
    }


def versions() -> dict[str, str]:
    """Return package → version of the packages that matter and are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def git(folder: Path) -> dict[str, Any]:
    """Return the commit of a folder and whether files differ from it; empty outside a repository."""
    commit = _ask("git", "-C", str(folder), "rev-parse", "HEAD")
    if not commit:
        return {}
    return {"commit": commit, "dirty": bool(_ask("git", "-C", str(folder), "status", "--porcelain"))}


def gpus() -> list[str]:
    """Return the name and driver of each NVIDIA GPU; empty where there is none."""
    if not shutil.which("nvidia-smi"):
        return []
    return _ask(
        "nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"
    ).splitlines()


def _ask(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
