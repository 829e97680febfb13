"""Where a run's data came from: data sets of the catalogue and upstream runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.data.fingerprints import fingerprint

if TYPE_CHECKING:
    from eolab.runs.history import RunRecord


def describe(source: Any) -> dict[str, Any]:
    """Return name, licence, citation, place and fingerprint of a catalogue entry or a sample store.

    A store speaks for the data set it was made from (``dataset`` in its metadata) and has the fingerprint
    that it was written with, which covers the original files and how they were prepared.
    """
    path = Path(source.path)
    facts = {key: _fact(source, key) for key in ("license", "provider", "citation", "doi", "url")}
    if hasattr(source, "fingerprint"):  # a store
        written = json.dumps(source.fingerprint, sort_keys=True, default=str)
        own = {"name": _fact(source, "dataset") or path.name, "simulated": bool(_fact(source, "simulated"))}
        own |= {"layout": "sample store", "fingerprint": hashlib.sha256(written.encode()).hexdigest()}
    else:
        own = {"name": source.name, "simulated": bool(source.simulated)}
        own |= {"layout": getattr(source, "layout", None), "fingerprint": fingerprint(path) if path.exists() else ""}
    return {**own, **facts, "path": str(path)}


def sentence(data: dict[str, Any]) -> str:
    """Return one line about a data set for the notebook."""
    kind = "SIMULATED data" if data["simulated"] else "real data"
    licence = f", licence {data['license']}" if data.get("license") else ""
    return f"Data: {data['name']} ({kind}{licence}), fingerprint {data['fingerprint'][:12]}"


def upstream(run: RunRecord) -> dict[str, Any]:
    """Return what a run records about one that it builds on."""
    return {key: run.record.get(key) for key in ("notebook", "run", "ended")}


def _fact(entry: Any, key: str) -> Any:
    metadata = getattr(entry, "metadata", None) or {}
    return metadata.get(key) if hasattr(metadata, "get") else getattr(metadata, key, None)
