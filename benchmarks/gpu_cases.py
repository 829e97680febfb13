"""Networks of each study that `gpu.py` measures, and random samples for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

LEARNING_RATE = 1e-3
KEPT = 4  # different batches that rounds go through
PLACE = ("height", "width")
KNOWN = 0.7  # share of the pixels with a value, and of dates and pixels that were observed
COUNTED = {"series": ("times",), "image_series": ("times", "height", "width")}  # axes of ``valid``


Way = Callable[[int], object]  # what takes so many steps


class Case(NamedTuple):
    """A network of a study: how it is built, what it learns, how many samples a step has."""

    study: str
    network: str
    task: str
    outputs: int
    batch: int
    sizes: dict[str, Any]  # of `eolab.models.build`
    frozen: str | None = None  # layers that do not learn


BANDS = {"s1": 1, "s2": 3}
PIXELS = {"times": 20, "channels": 12}
CASES = {
    "convlstm": Case(
        "flood",
        "convlstm",
        "sequence_classification",
        2,
        4,
        {"times": 10, "height": 522, "width": 544, "channels": BANDS},
    ),
    "unet": Case("landslide", "unet", "segmentation", 2, 64, {"height": 128, "width": 128, "channels": 14}),
    "rau_net": Case(
        "landslide", "rau_net_1", "segmentation", 2, 64, {"height": 128, "width": 128, "channels": 14}
    ),
    "resnet50": Case(
        "scenes",
        "resnet50_patch",
        "multilabel_classification",
        19,
        256,
        {"height": 120, "width": 120, "channels": 12},
    ),
    "lstm": Case("landcover", "lstm", "series_classification", 12, 4096, PIXELS),
    "tempcnn": Case("landcover", "tempcnn", "series_classification", 12, 4096, PIXELS),
    "ltae": Case("landcover", "ltae", "series_classification", 12, 4096, PIXELS),
    "utae": Case(
        "landcover",
        "utae_mask",
        "series_segmentation",
        12,
        16,
        {"times": 12, "height": 64, "width": 64, "channels": 12},
    ),
    "transfer": Case(
        "clearing",
        "resnet50_patch",
        "image_classification",
        2,
        256,
        {"height": 67, "width": 70, "channels": 13},
        "encoder",
    ),
    "deeplabv3": Case(
        "clearing", "deeplabv3", "regression", 1, 32, {"height": 67, "width": 70, "channels": 13}
    ),
}


def small(case: Case) -> Case:
    """Return the same network for a few small samples."""
    sizes = {
        name: min(size, 32) if name in ("height", "width") else size for name, size in case.sizes.items()
    }
    return case._replace(sizes=sizes, batch=min(case.batch, 2 if "height" in sizes else 64))


def samples(case: Case, count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return random samples: inputs by name, float32, and labels as a store holds them."""
    from eolab import tasks

    rng, sizes, reads = np.random.default_rng(0), case.sizes, tasks.get(case.task).reads
    axes = [sizes[name] for name in ("times", "height", "width") if name in sizes]
    inputs: dict[str, np.ndarray] = {}
    for name, bands in BANDS.items() if reads == "sequences" else [("image", sizes["channels"])]:
        inputs[name] = rng.standard_normal((count, *axes, bands), np.float32)
        prefix = f"{name}_" if reads == "sequences" else ""
        if reads != "images":
            seen = [count, *(sizes[axis] for axis in COUNTED.get(reads, ("times",)))]
            inputs[f"{prefix}valid"] = (rng.random(seen) < KNOWN).astype(np.float32)
            days = np.arange(sizes["times"], dtype=np.float32) * 18
            inputs[f"{prefix}day"] = np.tile(days, (count, 1))
    if case.task == "regression":
        known = rng.random((count, *axes)) < KNOWN
        return inputs, np.where(known, rng.random(known.shape), np.nan).astype(np.float32)
    if case.task == "multilabel_classification":
        return inputs, (rng.random((count, case.outputs)) < 0.15).astype(np.float32)
    place = {"segmentation": axes, "series_segmentation": axes[1:], "sequence_classification": axes[:1]}
    return inputs, rng.integers(0, case.outputs, (count, *place.get(case.task, []))).astype(np.uint8)
