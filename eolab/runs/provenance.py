"""What a run was made from and with: data sets of the catalogue, versions, machine, commit."""

import contextlib
import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from eolab.core import yamls
from eolab.core.errors import EolabError
from eolab.core.machine import processor
from eolab.data.fingerprints import Taken, take

PACKAGES = (
    *("eolab", "keras", "tensorflow", "jax", "torch", "numpy", "pandas", "xarray", "dask", "scikit-learn"),
    *("scipy", "rasterio", "rioxarray", "geopandas", "matplotlib", "papermill", "nbconvert"),
    *("onnxruntime", "openvino"),
)
VARIABLES = (
    *("EOLAB_", "KERAS_", "CUDA_VISIBLE_DEVICES", "TF_CPP_", "TF_ENABLE_", "TF_XLA_", "OMP_NUM_THREADS"),
    *("ONEDNN_", "DNNL_", "TF_DETERMINISTIC_OPS", "NVIDIA_TF32_OVERRIDE", "XLA_", "JAX_"),
    "WORLD_SIZE",
)
STORE = "sample store"  # in place of a layout
DESCRIBING = ("license", "provider", "citation", "doi", "url", "size", "sha256")  # change no result
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")


# === Data ===


def data(source: Any) -> dict[str, Any]:
    """Return name, licence, citation, place and fingerprint of a catalogue entry or a sample store.

    A store speaks for the data set it was made from (``dataset`` in its metadata) and has the fingerprint
    that it was written with, which covers the original files and how they were prepared.
    """
    path, about = Path(source.path), source.metadata
    more: dict[str, Any] = {}
    if hasattr(source, "fingerprint"):  # a store
        written = json.dumps(source.fingerprint, sort_keys=True, default=str)
        name, simulated, layout = about.get("dataset") or path.name, about.get("simulated"), STORE
        digest = hashlib.sha256(written.encode()).hexdigest()
    else:
        name, simulated, layout = source.name, source.simulated, source.layout
        taken = take(path) if path.exists() else Taken("", 0, 0)
        digest = taken.fingerprint
        more = {"files": taken.files, "bytes": taken.size, "entry": _entry(source)}
    own = {"name": name, "simulated": bool(simulated), "layout": layout, "fingerprint": digest}
    facts = {key: about.get(key) for key in ("license", "provider", "citation", "doi", "url")}
    return {**own, **facts, **more, "path": str(path)}


def _entry(entry: Any) -> dict[str, Any]:
    """Return what results depend on in the catalogue's entry of a data set: not where it lies."""
    facts = {key: value for key, value in entry.metadata.items() if key not in DESCRIBING}
    names = ("twin", "pixels", "images", "labels", "classes", "bounds", "dates")
    blocks = {name: getattr(entry, name, {}) for name in names}
    kept = {"layout": entry.layout, **{name: block for name, block in blocks.items() if block}, **facts}
    for name in blocks["labels"]:
        with contextlib.suppress(EolabError):  # a file that is missing now
            file = entry.label_file(name)[0]
            if not file.is_relative_to(entry.path):  # files below it count with the data
                kept[f"labels.{name}"] = take(file).fingerprint
    return dict(json.loads(json.dumps(kept, default=str)))


def files(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the fingerprint of each file that a parameter names, such as one of weights, by its path."""
    found = yamls.flatten(values).values()
    texts = [text for one in found for text in (one if isinstance(one, list) else [one])]
    paths = [os.path.abspath(text) for text in texts if isinstance(text, str) and text]
    return {path: take(path).fingerprint for path in paths if os.path.isfile(path)}


def file_changes(recorded: Mapping[str, str]) -> list[str]:
    """Return which files that parameters name have another content than :func:`files` recorded."""
    there = {path: before for path, before in recorded.items() if os.path.isfile(path)}
    return [f"{path} changed" for path, before in there.items() if take(path).fingerprint != before]


def data_changes(recorded: Mapping[str, Any]) -> str:
    """Return how a data set differs from what :func:`data` recorded of it; empty where it does not.

    The data set is the one that has the name in the catalogue now, wherever it lies. Samples of a store are
    told by the run that wrote them.
    """
    entry = _listed(recorded)
    if entry is None:
        gone = recorded.get("layout") != STORE
        return f"data set {recorded['name']!r} is no longer in the catalogue" if gone else ""
    known, now = recorded.get("entry"), _entry(entry)
    if known is not None and known != now:
        keys = sorted(key for key in {*known, *now} if known.get(key) != now.get(key))
        return f"the catalogue's entry of {entry.name} changed: {', '.join(keys)}"
    if not entry.exists():
        return ""
    taken = take(entry.path)
    if taken.fingerprint == recorded["fingerprint"]:
        return ""
    if known is None:
        return f"data of {entry.name} changed, or have files above 8 MiB, of which all content counts now"
    (files, size), change = (recorded.get(key) or 0 for key in ("files", "bytes")), "their content"
    if (files, size) != (taken.files, taken.size):
        change = f"{taken.files:,} files of {taken.size:,} bytes, were {files:,} of {size:,}"
    return f"data of {entry.name} changed: {change}"


def data_missing(recorded: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of real data sets that a run read and that are not on this machine now."""
    entries = [entry for entry in map(_listed, recorded) if entry is not None]
    return [entry.name for entry in entries if not entry.simulated and not entry.exists()]


def _listed(recorded: Mapping[str, Any]) -> Any:
    """Return the catalogue's entry of a data set that was recorded; None where there is none.

    Raises:
        CatalogError: If the entry cannot be used.
    """
    from eolab.data import catalog

    name, known = recorded["name"], catalog.load()
    there = recorded.get("layout") != STORE and (name in known or name in known.faults)
    return known[name] if there else None


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
        "packages": versions(),
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


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return package → version of the packages that are installed."""
    found = {}
    for package in packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _git(folder: Path) -> dict[str, Any]:
    """Return the commit of a folder and whether files differ from it; empty outside a repository.

    Notebooks go through their filter only where something differs without it: git would run it on all those
    of a new clone, 12 s of a processor.
    """
    git, status = ("git", "-C", str(folder)), ("status", "--porcelain")
    commit = _ask(*git, "rev-parse", "HEAD")
    if not commit:
        return {}
    differs = _ask(*git, "-c", "filter.notebooks.clean=", *status) and _ask(*git, *status)
    return {"commit": commit, "dirty": bool(differs)}


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
