"""Runs that have trained nothing: networks of random weights with the records and stores of real ones."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from eolab import models, tasks
from eolab.data.store import ArraySpec, write_store
from eolab.tasks import fitted as networks


def run(
    root: Path,
    study: str,
    task: str,
    model: str,
    names: tuple[str, ...],
    metadata: dict,
    *,
    shape: dict,
    head: str,
    stored: tuple[str, ...] = (),
    outputs: int = 3,
    params: dict | None = None,
    activation: str = "softmax",
    high: float = 1.0,
    arrays: dict[str, ArraySpec] | None = None,
    name: str = "03_train/run-1",
    **options,
) -> Path:
    """Write a run and the run of its samples; return its folder."""
    size = len(names)
    chosen = tasks.Channels(
        names,
        (0.3 * high,) * size,
        (0.2 * high,) * size,
        stored or names,
        low=(0.0,) * size,
        high=(high,) * size,
    )
    network = models.build(
        model,
        **shape,
        channels=size,
        outputs=outputs,
        mean=chosen.mean,
        std=chosen.std,
        head=head,
        activation=activation,
        seed=1,
        **options,
    )
    folder, before = root / study / name, root / study / "02_preprocess" / "run-0"
    folder.mkdir(parents=True)
    before.mkdir(parents=True)
    networks.save(networks.Fitted(tasks.get(task), model, network, {"image": chosen}), folder)
    above = {"study": study, "notebook": "02_preprocess", "run": "run-0"}
    (before / "run.json").write_text(json.dumps(above | {"parameters": params or {}}))
    record = {
        "study": study,
        "notebook": folder.parent.name,
        "run": folder.name,
        "upstream": {"preprocessed": above},
    }
    (folder / "run.json").write_text(json.dumps(record))
    label = {"label": ArraySpec((), (), "uint8")} if arrays is None else arrays
    values = {name: np.ones((2, *spec.shape), spec.dtype) for name, spec in label.items()}
    table = pd.DataFrame({"id": [0, 1], "part": [0, 0], "year": [2019, 2020]})
    write_store(
        before / "store", table, label, "part", produce=lambda rows: values, fingerprint={}, metadata=metadata
    )
    return folder


def scheme(*names: str) -> dict:
    """Return a class scheme as a store has it."""
    from eolab.data.schemes import COLORS, ClassScheme

    return asdict(ClassScheme.numbered("example", zip(names, COLORS, strict=False)))
