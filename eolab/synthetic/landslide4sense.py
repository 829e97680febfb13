"""Twin of Landslide4Sense 2022: patches of 14 bands and masks, in both published trees, with their truth.

Patches are cut from the terrain of simulated regions, each with its own relief, climate and season. A
region is a run of consecutive numbers (20 in ``train``, 10 in ``validation`` and ``test``, other regions in
each), so that contiguous folds hold regions out and shuffled folds do not. Landslides start on steep ground
and follow the fall line; roads, clear-cuts, rock, ploughed fields and eroded pasture are just as bare.

Units are those of the published data: each band divided by its mean over the data set, slope and DEM too
(:data:`eolab.synthetic.landslide4sense_image.MEANS`), so that band means are about 1. Before that, optical
bands are top-of-atmosphere reflectance, slope is in degrees and the DEM in metres.

Difficulty was tuned, on the patches of seed 0: noise, confusers and the bareness of scars were set so that
per-pixel gradient boosting scores about as it does on real data and a small U-Net clearly better. A score on
the twin says whether code works, not how well a method maps landslides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, did_you_mean
from eolab.synthetic import writing
from eolab.synthetic.landslide4sense_image import IMAGE_BANDS, MEANS
from eolab.synthetic.landslide4sense_patches import SIZE, Patch, make_patches
from eolab.synthetic.landslide4sense_regions import RUN, SPLITS, make_plan

VERSION = 1
"""Version of the generator; another version gives other pixels from the same seed."""
TREES = {
    "train_data": ("{folder}/img/image_{number}.h5", "{folder}/mask/mask_{number}.h5"),
    "images_annotations": ("images/{split}/image_{number}.h5", "annotations/{split}/mask_{number}.h5"),
}
"""Names of image and mask in each published tree."""

_FOLDERS = {"train": "TrainData", "validation": "ValidData", "test": "TestData"}
_TUNED = (
    "Noise, confusers and the bareness of scars were tuned until boosting on single pixels and a small U-Net "
    "scored as intended on held-out regions: scores describe this setting, not the world."
)
_SCALED = "Each band divided by its mean over the data set; before that reflectance, degrees and metres."
_TRAPS = ("truncated_image", "image_without_mask", "zero_image")
_MOST = 10_000


def write(
    folder: str | Path,
    *,
    seed: int = 0,
    train: int = 200,
    validation: int = 20,
    test: int = 40,
    tree: str = "train_data",
    progress: bool = True,
    traps: bool = False,
) -> Path:
    """Write the twin; a folder is there whole or not at all.

    Images are float64 (128, 128, 14), contiguous, under the key ``img``; masks uint8 (128, 128) under
    ``mask``, in all three splits. Beside ``twin.json`` there is ``truth/patches.csv``, a row a patch, and
    ``truth/regions.csv``, a row a region.

    Args:
        folder: Where to write; must not exist.
        seed: Same seed, same pixels, however many patches are written after them.
        train: Patches to train on.
        validation: Patches to validate on.
        test: Patches to test on.
        tree: ``train_data`` for TrainData/img/image_1.h5 and so on, ``images_annotations`` for
            images/train/image_1.h5 beside annotations/train/mask_1.h5.
        progress: Whether to show progress.
        traps: Whether the last three patches of train are spoilt: an image cut short, an image without mask,
            an image of zeros. They are still counted.

    Returns:
        The folder.

    Raises:
        ParameterError: If the tree is unknown or a number of patches is out of range.
        DataError: If the folder exists already.
    """
    folder = Path(folder)
    counts = {"train": train, "validation": validation, "test": test}
    _check(seed, counts, tree, traps)
    with writing.whole(folder) as building:
        patches, regions = _write_splits(building, seed, counts, tree, progress)
        facts = _facts(patches)
        if traps:
            facts["spoilt"] = _spoil(building, train, tree)
        (building / "truth").mkdir()
        patches.to_csv(building / "truth/patches.csv", index=False, float_format="%.6g")
        regions.to_csv(building / "truth/regions.csv", index=False, float_format="%.4f")
        parameters = {"seed": seed, **counts, "tree": tree, "traps": traps}
        writing.mark(building, "landslide4sense", VERSION, **parameters, **facts)
    return folder


def _check(seed: int, counts: dict[str, int], tree: str, traps: bool) -> None:
    if tree not in TREES:
        raise ParameterError(f"tree {tree!r} is unknown: {did_you_mean(tree, TREES)}")
    writing.check_seed(seed)
    for split, count in counts.items():
        writing.check_range(split, count, 0, _MOST, " patches")
    least = len(_TRAPS) + 1 if traps else 1
    if counts["train"] < least:
        raise ParameterError(
            f"train {counts['train']} is too few{' for the traps' if traps else ''}: take at least {least}."
        )


def _write_splits(
    folder: Path, seed: int, counts: dict[str, int], tree: str, progress: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write all patches, region by region; return the tables of patches and of regions."""
    jobs = list(_regions(counts))
    for split in SPLITS:
        for name in TREES[tree]:
            (folder / _name(name, split, 1)).parent.mkdir(parents=True, exist_ok=True)
    make = partial(_write_region, folder, seed, tree)
    rows = writing.in_threads(make, jobs, "Landslide4Sense twin", "region", progress)
    plans = [make_plan(seed, split, index) for split, index, _ in jobs]
    regions = [{"split": p.split, "region": p.index + 1, **asdict(p.climate)} for p in plans]
    return pd.DataFrame([row for part in rows for row in part]), pd.DataFrame(regions)


def _regions(counts: dict[str, int]) -> Iterator[tuple[str, int, int]]:
    """Yield split, number of the region from 0, and how many of its patches are wanted."""
    for split in SPLITS:
        for first in range(0, counts[split], RUN[split]):
            yield split, first // RUN[split], min(RUN[split], counts[split] - first)


def _write_region(folder: Path, seed: int, tree: str, job: tuple[str, int, int]) -> list[dict[str, Any]]:
    """Simulate and write the patches of a region; return a row a patch."""
    split, index, count = job
    rows = []
    for place, patch in enumerate(make_patches(seed, split, index, count)):
        number = index * RUN[split] + place + 1
        for name, key, array in zip(TREES[tree], ("img", "mask"), (patch.image, patch.mask), strict=True):
            with h5py.File(folder / _name(name, split, number), "w") as file:
                file.create_dataset(key, data=array)
        rows.append({"split": split, "number": number, "region": index + 1, **_row(patch)})
    return rows


def _name(template: str, split: str, number: int) -> str:
    return template.format(folder=_FOLDERS[split], split=split, number=number)


def _row(patch: Patch) -> dict[str, Any]:
    """Return what the table says of a patch."""
    areas = patch.landslides_px
    steepness = patch.slope_deg[patch.mask > 0]
    return {
        "landslides": len(areas),
        "pixels": int(patch.mask.sum()),
        "largest": int(max(areas, default=0)),
        "smallest": int(min(areas, default=0)),
        "steepness_deg": float(patch.slope_deg.mean()),
        "landslide_steepness_deg": float(steepness.mean()) if steepness.size else float("nan"),
        "elevation_m": patch.elevation_m,
        "bareness": patch.bareness,
    }


def _facts(patches: pd.DataFrame) -> dict[str, Any]:
    """Return what twin.json says besides the parameters."""
    positive = patches.loc[patches["pixels"] > 0, "pixels"]
    return {
        "positive_share": round(len(positive) / len(patches), 4),
        "landslide_pixel_share": round(float(patches["pixels"].sum()) / (len(patches) * SIZE**2), 5),
        "smallest_px": int(positive.min()) if len(positive) else 0,
        "largest_px": int(positive.max()) if len(positive) else 0,
        "regions": patches.groupby("split")["region"].nunique().to_dict(),
        "patches_per_region": RUN,
        "scaling": _SCALED,
        "band_means": dict(zip(IMAGE_BANDS, MEANS.tolist(), strict=True)),
        "difficulty": _TUNED,
    }


def _spoil(folder: Path, train: int, tree: str) -> dict[str, str]:
    """Spoil the last three patches of train; return the image's name for each kind of damage."""
    image, mask = TREES[tree]
    names = [_name(image, "train", train - k) for k in range(len(_TRAPS))]
    writing.truncate(folder / names[0])
    (folder / _name(mask, "train", train - 1)).unlink()
    with h5py.File(folder / names[2], "r+") as file:
        file["img"][...] = np.zeros(file["img"].shape)
    return dict(zip(_TRAPS, names, strict=True))
