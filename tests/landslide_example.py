"""A small store of patches with landslides that slope and NDVI tell, for tests of the landslide study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from eolab.data.store import ArraySpec, Store, write_store

BANDS = [f"B{number:02d}" for number in range(1, 13)]
NAMES = [
    *BANDS,
    "slope",
    "dem",
    "rgb_local_red",
    "rgb_local_green",
    "rgb_local_blue",
    "NDVI",
    "VI",
    "NBR",
    "NDVI_as_is",
    "VI_as_is",
    "NBR_as_is",
    "gray",
    "blur_gaussian",
    "blur_median",
    "gradient_x",
    "gradient_y",
    "edges",
]
SLOPE, NDVI = NAMES.index("slope"), NAMES.index("NDVI")
PATCHES, SIDE = 40, 16
EMPTY = (3, 17)  # patches without a landslide
UNKNOWN = 5  # a patch without a label


def patch(number: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Return image (side, side, 29) and label of a patch, a pure function of its number.

    Landslides lie where it is steep and bare, with noise on both; a tenth of the labels is not known.
    """
    rng = np.random.default_rng(number)
    image = rng.normal(0, 1, (side, side, len(NAMES))).astype(np.float32)
    image[..., SLOPE] = rng.gamma(2, 1, (side, side))
    image[..., NDVI] = rng.uniform(-0.2, 0.9, (side, side))
    steep = image[..., SLOPE] + rng.normal(0, 0.3, (side, side)) > 2.5
    bare = image[..., NDVI] + rng.normal(0, 0.05, (side, side)) < 0.3
    label = (steep & bare).astype(np.uint8)
    if number in EMPTY:
        label[:] = 0
    label[rng.random((side, side)) < 0.1] = 255
    if number == UNKNOWN:
        label[:] = 255
    image[..., BANDS.index("B08")] += image[..., NDVI]
    fine = image[..., [SLOPE, NDVI]].round(2)
    image = image.round(1)  # few different values: scikit-learn's bins are then made at once
    image[..., [SLOPE, NDVI]] = fine
    return image, label


def write(folder: Path, patches: int = PATCHES, side: int = SIDE) -> Store:
    """Write the store; its table has id, number and part."""
    number = np.arange(patches)
    table = pd.DataFrame({"id": 100 + number, "number": number, "part": number // 8})

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        images, labels = zip(*(patch(n, side) for n in rows["number"]), strict=True)
        return {"image": np.stack(images), "label": np.stack(labels)}

    arrays = {
        "image": ArraySpec(("y", "x", "band"), (side, side, len(NAMES)), "float32", {"units": "1"}, "forbid"),
        "label": ArraySpec(("y", "x"), (side, side), "uint8"),
    }
    metadata = {"coords": {"band": NAMES}, "simulated": True}
    return write_store(folder, table, arrays, "part", produce, {"patches": patches}, metadata, progress=False)
