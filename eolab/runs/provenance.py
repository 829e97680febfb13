"""What a run was made from and with: data sets of the catalogue, versions, machine, commit."""

import hashlib
import json
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from eolab.core.machine import processor
from eolab.data.fingerprints import fingerprint

PACKAGES = (
    *("eolab", "keras", "tensorflow", "jax", "torch", "numpy", "pandas", "xarray", "dask", "scikit-learn"),
    *("scipy", "rasterio", "rioxarray", "geopandas", "matplotlib", "papermill", "nbconvert"),
    *("onnxruntime", "openvino"),
)
VARIABLES = (
    *("EOLAB_", "KERAS_", "CUDA_VISIBLE_DEVICES", "TF_CPP_", "TF_ENABLE_", "TF_XLA_", "OMP_NUM_THREADS"),
    *("ONEDNN_", "DNNL_", "TF_DETERMINISTIC_OPS", "NVIDIA_TF32_OVERRIDE", "XLA_", "JAX_"),
)
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")


# === Data ===


def data(source: Any) -> dict[str, Any]:
    """Return name, licence, citation, place and fingerprint of a catalogue entry or a sample store.

    A store speaks for the data set it was made from (``dataset`` in its metadata) and has the fingerprint
    that it was written with, which covers the original files and how they were prepared.
    """
    path, about = Path(source.path), source.metadata
    if hasattr(source, "fingerprint"):  # a store
        written = json.dumps(source.fingerprint, sort_keys=True, default=str)
        name, simulated, layout = about.get("dataset") or path.name, about.get("simulated"), "sample store"
        digest = hashlib.sha256(written.encode()).hexdigest()
    else:
        name, simulated, layout = source.name, source.simulated, source.layout
        digest = fingerprint(path) if path.exists() else ""
    own = {"name": name, "simulated": bool(simulated), "layout": layout, "fingerprint": digest}
    facts = {key: about.get(key) for key in ("license", "provider", "citation", "doi", "url")}
    return {**own, **facts, "path": str(path)}


# === Machine ===


def environment(project: Path, seed: int | None) -> dict[str, Any]:
    """Return what reproduces a run besides its parameters, without importing any of the packages.

    Args:
        project: Folder of the project, for its git commit.
        seed: The run's seed, None where it has none.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": _versions(),
        "git": _git(project),
        "seed": seed,
        "cpu": processor()[0],
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "gpu": _gpus(),
        "variables": {
            key: value
            for key, value in sorted(os.environ.items())
            if key.startswith(VARIABLES) and not any(word in key for word in _SECRET)
        },
    }


def _versions() -> dict[str, str]:
    """Return package → version of the packages that matter and are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(folder: Path) -> dict[str, Any]:
    """Return the commit of a folder and whether files differ from it; empty outside a repository."""
    commit = _ask("git", "-C", str(folder), "rev-parse", "HEAD")
    if not commit:
        return {}
    return {"commit": commit, "dirty": bool(_ask("git", "-C", str(folder), "status", "--porcelain"))}


def _gpus() -> list[str]:
    """Return the name and driver of each NVIDIA GPU; empty where there is none."""
    query = "--query-gpu=name,memory.total,driver_version"
    return _ask("nvidia-smi", query, "--format=csv,noheader").splitlines()


def _ask(*command: str) -> str:
    """Return what a command says; empty where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
