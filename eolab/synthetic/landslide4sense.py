"""Twin of Landslide4Sense 2022: patches of 14 bands and masks, in both published trees, with their truth.

Patches are cut from the terrain of simulated regions, each with its own relief, climate and season. A
region is a run of consecutive numbers (20 in ``train``, 10 in ``validation`` and ``test``, other regions in
each), so that contiguous folds hold regions out and shuffled folds do not. Landslides start on steep ground
and follow the fall line; roads, clear-cuts, rock, ploughed fields and eroded pasture are just as bare.

Plants and bare ground share each pixel; texture, sunlight on slopes, haze and the instrument follow. Bands of
20 and 60 m are sampled on their own grid and brought to 10 m linearly, as in the published data.

Units are those of the published data: each band divided by its mean over the data set, slope and DEM too
(:data:`MEANS`), so that band means are about 1. Before that, optical bands are top-of-atmosphere reflectance,
slope is in degrees and the DEM in metres. The published data are darker: with the divisors of
:data:`eolab.data.layouts.landslide4sense.DIVISORS` a patch becomes ground of their brightness, which the
indices of the study are taken of.

Difficulty was tuned, on the patches of seed 0: noise, confusers and the bareness of scars were set so that
per-pixel gradient boosting scores about as it does on real data and a small U-Net clearly better. A score on
the twin says whether code works, not how well a method maps landslides.
"""

from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
from scipy.ndimage import label

from eolab.core.errors import check_known
from eolab.data.bands import SENTINEL2
from eolab.data.layouts.landslide4sense import BANDS, IMAGE_KEY, MASK_KEY, SIZE, TREES
from eolab.data.layouts.resample import Axis, taps
from eolab.synthetic import landslide4sense_ground as region
from eolab.synthetic import materials as m
from eolab.synthetic import writing
from eolab.synthetic.landslide4sense_ground import INNER, MARGIN_PX, RUN, SETTLEMENT, Climate, Ground, Scars
from eolab.synthetic.patterns import Array, fractal
from eolab.synthetic.sky import Sun, illumination

VERSION = 1
"""Version of the generator; another version gives other pixels from the same seed."""
_TUNED = (
    "Noise, confusers and the bareness of scars were tuned until boosting on single pixels and a small U-Net "
    "scored as intended on held-out regions: scores describe this setting, not the world."
)
_SCALED = "Each band divided by its mean over the data set; before that reflectance, degrees and metres."
_MOST = 10_000

_CELL = SIZE + 2 * MARGIN_PX
_ROWS = 5  # of patches in a region
_STEEP_DEG = 18.0
_ROOM = 2.0  # steep ground that a patch should have, in areas of its landslides
_COVERED = 0.9  # of the steep ground at most
_LAND, _PLACES, _PIXELS = 4, 5, 6  # numbers of the streams of randomness

MEANS = np.array(
    [0.156, 0.121, 0.107, 0.0931, 0.123, 0.2, 0.234, 0.237, 0.0747, 0.0013, 0.202, 0.137, 18.5, 845.0]
)
"""What each band is divided by: its rounded mean over the training patches of seed 0, the same for all seeds,
in top-of-atmosphere reflectance, degrees of slope and metres."""

_CIRRUS, _SLOPE, _DEM = (BANDS.index(name) for name in ("B10", "slope", "dem"))
# Share of skylight in the light, by band.
_DIFFUSE = (0.55 * (443 / m.WAVELENGTH_NM) ** 1.3 + 0.12).astype(np.float32)[:, None, None]
_CIRRUS_LEVEL = 0.0013

# Row of the spectra of plants and of bare ground for each code of the cover.
_PLANT = np.array([0, 1, 2, 0, 1, 1, 1, 1, 1])
_BARE = np.array([0, 0, 0, 0, 1, 2, 4, 3, 3])

# Tuned: see above.
_GRAIN = 0.16  # of the share of plants, pixel to pixel
_SPOTS = 0.05  # share of pixels that are bare by themselves
_BRIGHT = 0.20  # of the brightness, within a patch
_TINT = 0.12  # of the brightness, from one end of the spectrum to the other
_SENSOR = 0.045  # of the instrument, on each band's own grid
_LEVEL = 0.04  # of the brightness, patch to patch


def write(
    folder: str | Path,
    *,
    seed: int = 0,
    train: int = 200,
    validation: int = 20,
    test: int = 40,
    tree: str = "train_data",
    progress: bool = True,
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

    Returns:
        The folder.

    Raises:
        ParameterError: If the tree is unknown or a number of patches is out of range.
        DataError: If the folder exists already.
    """
    counts = {"train": train, "validation": validation, "test": test}
    check_known(tree, TREES, f"tree {tree!r} is unknown")
    writing.check_seed(seed)
    for split, count in counts.items():
        writing.check_range(split, count, 1 if split == "train" else 0, _MOST, " patches")
    with writing.whole(folder) as building:
        patches, regions = _write_splits(building, seed, counts, tree, progress)
        (building / "truth").mkdir()
        patches.to_csv(building / "truth/patches.csv", index=False, float_format="%.6g")
        regions.to_csv(building / "truth/regions.csv", index=False, float_format="%.4f")
        parameters = {"seed": seed, **counts, "tree": tree, "traps": False}
        writing.mark(building, "landslide4sense", VERSION, **parameters, **_facts(patches))
    return Path(folder)


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
        {"split": split, "region": index + 1, **region.make_climate(seed, split, index)._asdict()}
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
    climate, areas = region.make_climate(seed, split, index), region.plan_areas(seed, split, index)
    columns = RUN[split] // _ROWS
    shape = (_ROWS * _CELL, columns * _CELL)
    land = region.make_ground(shape, climate, region.stream(seed, split, _LAND, index))
    squares = [land.part(_CELL * (k // columns), _CELL * (k % columns), _CELL) for k in range(RUN[split])]
    room = np.array([  # pixels of each square that are steep enough to slide and likely to
        int((region.can_slide(square) & (square.slope_deg >= _STEEP_DEG))[INNER].sum()) for square in squares
    ])  # fmt: skip
    places = _places(areas, room, region.stream(seed, split, _PLACES, index))
    for k in range(count):
        target = min(int(areas[k]), int(_COVERED * room[places[k]]))
        yield _patch(squares[places[k]], target, climate, region.stream(seed, split, _PIXELS, index, k))


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
        scars = region.make_scars(ground, target_px, climate, rng)
    else:
        scars = region.no_scars(ground.cover.shape)
    image = make_image(ground, scars, climate, rng)
    mask = scars.mask[INNER].astype(np.uint8)
    parts, _ = label(mask, np.ones((3, 3)))  # touching landslides are one
    areas = np.bincount(parts.ravel())[1:].tolist()
    slope = ground.slope_deg[INNER]
    facts = {
        "landslides": len(areas),
        "pixels": int(mask.sum()),
        "largest": max(areas, default=0),
        "smallest": min(areas, default=0),
        "steepness_deg": float(slope.mean()),
        "landslide_steepness_deg": float(slope[mask > 0].mean()) if areas else float("nan"),
        "elevation_m": float(ground.height_m[INNER].mean()),
        "bareness": float(scars.bare[INNER][mask > 0].mean()) if target_px else 0.0,
    }
    return Patch(np.ascontiguousarray(image[INNER]), mask, facts)


def make_image(ground: Ground, scars: Scars, climate: Climate, rng: np.random.Generator) -> Array:
    """Return the image of a patch with its margin, float64 (y, x, band), in scaled units."""
    shape = ground.cover.shape
    image = _reflectance(ground, scars, climate, rng)  # (band of Level-2A, y, x)
    sun = Sun(zenith=58 - 32 * climate.sun, azimuth=105 + 90 * climate.direction)
    light = np.clip(illumination(ground.south, ground.east, sun), 0.05, 1.9)
    image *= _DIFFUSE + (1 - _DIFFUSE) * light
    haze = m.PATH * (0.9 + 0.8 * climate.haze + 0.15 * rng.standard_normal())
    image = image * m.TRANSMITTANCE[:, None, None] + haze[:, None, None]
    image *= np.exp(_LEVEL * rng.standard_normal() + 0.02 * rng.standard_normal((len(m.BANDS), 1, 1)))
    seen = np.empty((*shape, len(BANDS)))  # (y, x, band)
    for k, name in enumerate(BANDS):
        if name in m.BANDS:
            band = image[m.BANDS.index(name)].astype(np.float32)
            seen[..., k] = _sense(band, SENTINEL2[name].resolution_m // 10, rng)
    level = _CIRRUS_LEVEL * (1 + 0.015 * rng.standard_normal())
    seen[..., _CIRRUS] = _sense(np.full(shape, level, np.float32), 6, rng)
    seen[..., _SLOPE] = ground.slope_deg
    seen[..., _DEM] = ground.height_m
    return np.maximum(seen, 0) / MEANS


def _reflectance(ground: Ground, scars: Scars, climate: Climate, rng: np.random.Generator) -> Array:
    """Mix plants and bare ground in every pixel; return surface reflectance (band, y, x)."""
    shape = ground.cover.shape
    green = ground.green + _GRAIN * rng.standard_normal(shape, dtype=np.float32)
    green = np.where(rng.random(shape) < _SPOTS, 0.25 * green, green)
    green = np.clip(green, 0, 1) * (1 - scars.bare)
    regrowth = np.clip(0.6 * _GRAIN * rng.standard_normal(shape, dtype=np.float32), 0, None)
    green = np.clip(green + regrowth * (scars.bare > 0), 0, 1)
    plants, soils = _plants(climate), _soils(climate, rng)
    kind, soil = _PLANT[ground.cover], _BARE[ground.cover]
    share = np.zeros((len(plants) + len(soils), *shape), np.float32)
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    share[kind, rows, columns] = green
    rubble = scars.debris * scars.mask
    share[len(plants) + soil, rows, columns] = (1 - green) * (1 - rubble)
    share[len(plants) + 1] += (1 - green) * rubble
    image = np.tensordot(np.concatenate([plants, soils]).T.astype(np.float32), share, 1)  # (band, y, x)
    grain = 0.7 * fractal(shape, rng, 1.4, wavelength_px=40) + 0.7 * rng.standard_normal(shape)
    roofs = (ground.cover == SETTLEMENT) * np.clip(rng.standard_normal(shape), 0, 3) * 0.55
    image *= np.exp(_BRIGHT * grain + roofs) * scars.light
    image *= 1 + _TINT * m.SPECTRUM[:, None, None] * fractal(shape, rng, 1.0, wavelength_px=40)
    return image


def _plants(climate: Climate) -> Array:
    """Return the spectra of trees, pasture and crops in the region's season, (3, band)."""
    season = 0.15 + 0.85 * climate.season
    conifers = m.reflectance(m.CONIFERS, 0.5 + 0.5 * season)
    broadleaves = m.reflectance(m.BROADLEAVES, season)
    trees = broadleaves + climate.conifers * (conifers - broadleaves)
    return np.stack([trees, m.reflectance(m.GRASS, season), m.reflectance(m.ANNUAL, 0.3 + 0.7 * season)])


def _soils(climate: Climate, rng: np.random.Generator) -> Array:
    """Return the spectra of soil, rock, gravel, sealed ground and water in the region, (5, band)."""
    bright = 0.65 + 0.55 * climate.soil
    wave = np.linspace(-1, 1, len(m.BANDS))
    tint = np.exp((0.05 + 0.30 * climate.red) * np.tanh(3 * (wave + 0.35)))
    soil = m.DORMANT[m.MINERAL] * bright * tint * np.exp(0.08 * rng.standard_normal())
    rock = m.DORMANT[m.ROCKS] * (0.75 + 0.5 * climate.soil)
    gravel = 0.8 * m.DORMANT[m.SAND] * (0.8 + 0.4 * climate.soil)
    return np.stack([soil, rock, gravel, 0.5 * m.DORMANT[m.URBAN] + 0.5 * soil, m.GREEN[m.LAKE] * 1.3])


@lru_cache
def _optics(size: int, factor: int) -> tuple[Array, Array]:
    """Return the matrices that average a side of pixels to a coarser grid and bring it back linearly."""
    fine, coarse = Axis(0, 1, size), Axis(0, factor, size // factor)
    down, up = taps(coarse, fine, "average"), taps(fine, coarse, "bilinear")
    return down.weights.toarray() / np.float32(factor), up.weights.toarray()


def _sense(band: Array, factor: int, rng: np.random.Generator) -> Array:
    """Return a band as the instrument samples it, with its noise, on the grid of 10 m."""
    down, up = _optics(band.shape[0], factor)
    coarse = down @ band @ down.T if factor > 1 else band
    coarse = coarse * (1 + _SENSOR * rng.standard_normal(coarse.shape, dtype=np.float32))
    return up @ coarse @ up.T if factor > 1 else coarse
