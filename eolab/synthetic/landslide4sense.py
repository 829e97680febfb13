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
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
from scipy.ndimage import label

from eolab.core.errors import ParameterError, check_known
from eolab.data.layouts.landslide4sense import BANDS, IMAGE_KEY, MASK_KEY, SIZE, TREES
from eolab.synthetic import writing
from eolab.synthetic.landslide4sense_ground import (
    RUN,
    Climate,
    Ground,
    can_slide,
    make_climate,
    make_ground,
    make_scars,
    no_scars,
    plan_areas,
    stream,
)
from eolab.synthetic.landslide4sense_image import MEANS, make_image

Array = np.ndarray

VERSION = 1
"""Version of the generator; another version gives other pixels from the same seed."""
MARGIN_PX = 8
"""Ground around a patch that is simulated with it and not written."""

_TUNED = (
    "Noise, confusers and the bareness of scars were tuned until boosting on single pixels and a small U-Net "
    "scored as intended on held-out regions: scores describe this setting, not the world."
)
_SCALED = "Each band divided by its mean over the data set; before that reflectance, degrees and metres."
_TRAPS = 3
_MOST = 10_000

_CELL = SIZE + 2 * MARGIN_PX
_ROWS = 5  # of patches in a region
_STEEP_DEG = 18.0
_ROOM = 2.0  # steep ground that a patch should have, in areas of its landslides
_COVERED = 0.9  # of the steep ground at most
_INNER = (slice(MARGIN_PX, -MARGIN_PX),) * 2
_LAND, _PLACES, _PIXELS = 4, 5, 6  # numbers of the streams of randomness


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
    check_known(tree, TREES, f"tree {tree!r} is unknown")
    writing.check_seed(seed)
    for split, count in counts.items():
        writing.check_range(split, count, 0, _MOST, " patches")
    least = _TRAPS + 1 if traps else 1
    if train < least:
        raise ParameterError(
            f"train {train} is too few{' for the traps' if traps else ''}: take at least {least}."
        )
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


def _write_splits(
    folder: Path, seed: int, counts: dict[str, int], tree: str, progress: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Write all patches, region by region; return the tables of patches and of regions."""
    jobs = [  # split, number of the region from 0, and how many of its patches are wanted
        (split, first // RUN[split], min(RUN[split], count - first))
        for split, count in counts.items()
        for first in range(0, count, RUN[split])
    ]
    for places in TREES[tree].values():
        for place in places:
            (folder / place).mkdir(parents=True)
    make = partial(_write_region, folder, seed, tree)
    rows = writing.in_threads(make, jobs, "Landslide4Sense twin", "region", progress)
    regions = [
        {"split": split, "region": index + 1, **asdict(make_climate(seed, split, index))}
        for split, index, _ in jobs
    ]
    return pd.DataFrame([row for part in rows for row in part]), pd.DataFrame(regions)


def _write_region(folder: Path, seed: int, tree: str, job: tuple[str, int, int]) -> list[dict[str, Any]]:
    """Simulate and write the patches of a region; return a row a patch."""
    split, index, count = job
    images, masks = (folder / place for place in TREES[tree][split])
    rows = []
    for number, patch in enumerate(make_patches(seed, split, index, count), start=index * RUN[split] + 1):
        with h5py.File(images / f"image_{number}.h5", "w") as file:
            file.create_dataset(IMAGE_KEY, data=patch.image)
        with h5py.File(masks / f"mask_{number}.h5", "w") as file:
            file.create_dataset(MASK_KEY, data=patch.mask)
        rows.append({"split": split, "number": number, "region": index + 1, **patch.facts})
    return rows


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
        "band_means": dict(zip(BANDS, MEANS.tolist(), strict=True)),
        "difficulty": _TUNED,
    }


def _spoil(folder: Path, train: int, tree: str) -> dict[str, str]:
    """Spoil the last three patches of train; return the image's name for each kind of damage."""
    images, masks = TREES[tree]["train"]
    truncated, alone, zero = (f"{images}/image_{train - k}.h5" for k in range(_TRAPS))
    writing.truncate(folder / truncated)
    (folder / masks / f"mask_{train - 1}.h5").unlink()
    with h5py.File(folder / zero, "r+") as file:
        file[IMAGE_KEY][...] = 0.0
    return {"truncated_image": truncated, "image_without_mask": alone, "zero_image": zero}


class Patch(NamedTuple):
    """A patch: image, float64 (128, 128, 14) in scaled units; mask, uint8 (128, 128); what the table says."""

    image: Array
    mask: Array
    facts: dict[str, Any]


def make_patches(seed: int, split: str, index: int, count: int) -> Iterator[Patch]:
    """Yield the first patches of a region.

    Args:
        seed: Seed of the twin.
        split: ``train``, ``validation`` or ``test``.
        index: Number of the region in its split, from 0.
        count: How many patches; the pixels of each do not depend on it.
    """
    climate, areas = make_climate(seed, split, index), plan_areas(seed, split, index)
    columns = RUN[split] // _ROWS
    shape = (_ROWS * _CELL, columns * _CELL)
    land = make_ground(shape, climate, stream(seed, split, _LAND, index))
    squares = [land.part(_CELL * (k // columns), _CELL * (k % columns), _CELL) for k in range(RUN[split])]
    room = np.array([  # pixels of each square that are steep enough to slide and likely to
        int((can_slide(square) & (square.slope_deg >= _STEEP_DEG))[_INNER].sum()) for square in squares
    ])  # fmt: skip
    places = _places(areas, room, stream(seed, split, _PLACES, index))
    for k in range(count):
        target = min(int(areas[k]), int(_COVERED * room[places[k]]))
        yield _patch(squares[places[k]], target, climate, stream(seed, split, _PIXELS, index, k))


def _places(targets: Array, room: Array, rng: np.random.Generator) -> Array:
    """Choose a square for each patch, the largest landslides first, among those with enough steep ground."""
    free = list(range(len(room)))
    places = np.full(len(targets), -1)
    for k in np.argsort(-targets, kind="stable")[: int((targets > 0).sum())]:
        fitting = [place for place in free if room[place] >= _ROOM * targets[k] + 200]
        choice = fitting or [max(free, key=lambda place: int(room[place]))]
        places[k] = choice[int(rng.integers(len(choice)))]
        free.remove(int(places[k]))
    places[targets == 0] = rng.permutation(free)
    return places


def _patch(ground: Ground, target_px: int, climate: Climate, rng: np.random.Generator) -> Patch:
    """Let the ground slide and take its image."""
    if target_px:
        scars = make_scars(ground, target_px, MARGIN_PX, climate, rng)
    else:
        scars = no_scars(ground.cover.shape)
    image = make_image(ground, scars, climate, rng)
    mask = scars.mask[_INNER].astype(np.uint8)
    parts, _ = label(mask, np.ones((3, 3)))  # touching landslides are one
    areas = np.bincount(parts.ravel())[1:].tolist()
    slope = ground.slope_deg[_INNER]
    facts = {
        "landslides": len(areas),
        "pixels": int(mask.sum()),
        "largest": max(areas, default=0),
        "smallest": min(areas, default=0),
        "steepness_deg": float(slope.mean()),
        "landslide_steepness_deg": float(slope[mask > 0].mean()) if areas else float("nan"),
        "elevation_m": float(ground.height_m[_INNER].mean()),
        "bareness": float(scars.bare[_INNER][mask > 0].mean()) if target_px else 0.0,
    }
    return Patch(np.ascontiguousarray(image[_INNER]), mask, facts)
