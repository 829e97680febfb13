"""Patches of a region of the Landslide4Sense twin: which square slides how much, and the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label

from eolab.synthetic.landslide4sense_ground import Ground, make_ground
from eolab.synthetic.landslide4sense_image import make_image
from eolab.synthetic.landslide4sense_regions import RUN, Plan, make_plan, stream
from eolab.synthetic.landslide4sense_scars import can_slide, make_scars, no_scars

Array = np.ndarray

SIZE = 128
"""Pixels along a side of a patch."""
MARGIN_PX = 8
"""Ground around a patch that is simulated with it and not written."""

_CELL = SIZE + 2 * MARGIN_PX
_ROWS = 5  # of patches in a region
_STEEP_DEG = 18.0
_ROOM = 2.0  # steep ground that a patch should have, in areas of its landslides
_COVERED = 0.9  # of the steep ground at most
_INNER = (slice(MARGIN_PX, -MARGIN_PX),) * 2
_LAND, _PLACES, _PIXELS = 4, 5, 6  # numbers of the streams of randomness


@dataclass(frozen=True)
class Patch:
    """A patch with what is known about it.

    Attributes:
        image: Fourteen bands in scaled units, float64 (128, 128, 14).
        mask: 1 where the ground slid, uint8 (128, 128).
        slope_deg: Steepness in degrees, float32 (128, 128).
        elevation_m: Mean elevation.
        bareness: Mean share of plants gone in the landslides, 0 without any.
        landslides_px: Area of each landslide, touching ones as one.
    """

    image: Array
    mask: Array
    slope_deg: Array
    elevation_m: float
    bareness: float
    landslides_px: tuple[int, ...]


def make_patches(seed: int, split: str, index: int, count: int) -> Iterator[Patch]:
    """Yield the first patches of a region.

    Args:
        seed: Seed of the twin.
        split: ``train``, ``validation`` or ``test``.
        index: Number of the region in its split, from 0.
        count: How many patches; the pixels of each do not depend on it.
    """
    plan = make_plan(seed, split, index)
    columns = RUN[split] // _ROWS
    shape = (_ROWS * _CELL, columns * _CELL)
    land = make_ground(shape, plan.climate, stream(seed, split, _LAND, index))
    squares = [land.part(_CELL * (k // columns), _CELL * (k % columns), _CELL) for k in range(RUN[split])]
    room = np.array([_steep(square) for square in squares])
    places = _places(plan.targets_px, room, stream(seed, split, _PLACES, index))
    for k in range(count):
        target = min(int(plan.targets_px[k]), int(_COVERED * room[places[k]]))
        yield _patch(squares[places[k]], target, plan, stream(seed, split, _PIXELS, index, k))


def _steep(ground: Ground) -> int:
    """Return how many pixels of a patch are steep enough to slide and likely to."""
    return int((can_slide(ground) & (ground.slope_deg >= _STEEP_DEG))[_INNER].sum())


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


def _patch(ground: Ground, target_px: int, plan: Plan, rng: np.random.Generator) -> Patch:
    """Let the ground slide and take its image."""
    if target_px:
        scars = make_scars(ground, target_px, MARGIN_PX, plan.climate, rng)
    else:
        scars = no_scars(ground.cover.shape)
    image = make_image(ground, scars, plan.climate, rng)
    mask = scars.mask[_INNER].astype(np.uint8)
    parts, _ = label(mask, np.ones((3, 3)))
    return Patch(
        image=np.ascontiguousarray(image[_INNER]),
        mask=mask,
        slope_deg=ground.slope_deg[_INNER],
        elevation_m=float(ground.height_m[_INNER].mean()),
        bareness=float(scars.bare[_INNER][mask > 0].mean()) if target_px else 0.0,
        landslides_px=tuple(np.bincount(parts.ravel())[1:].tolist()),
    )
