"""Ground of a patch of the BigEarthNet twin: the class of each pixel, and the material it is made of."""

from __future__ import annotations

import numpy as np

from eolab.synthetic.bigearthnet_plan import CLASSES
from eolab.synthetic.materials import INDEX
from eolab.synthetic.noise import fractal, lowest, remoteness
from eolab.synthetic.patterns import Layer, curve, draw

Array = np.ndarray

SIZE = 120
"""Pixels of 10 m along a side of a patch."""

SHAPE = (SIZE, SIZE)
SMALLEST_PX = 120
"""Pixels that a class covers at least."""

_LINES = {511: (5.0, 0.14), 122: (4.0, 0.015), 522: (15.0, 0.08)}  # width in pixels, bend
_SEA = 523
_BLOBS = (512, 521, 131, 132, 133, 141, 142, 111, 121, 123, 124, 411, 422, 332, 334)
_ROUNDS = 14


def make_map(codes: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Draw a map that holds some classes, each of them somewhere.

    Fields and woods share the patch among them; the sea lies along a side; lakes, towns and quarries are
    blobs on that, and rivers and roads lines on top.

    Args:
        codes: CORINE codes, at least one.
        rng: Random numbers of the map.

    Returns:
        uint16 (120, 120): a CORINE code a pixel.
    """
    special = {code for code in codes if code in _LINES or code == _SEA or code in _BLOBS}
    areas = [code for code in codes if code not in special]
    if not areas:
        first = max(special, key=lambda code: (code == _SEA, code in _BLOBS, code))
        areas, special = [first], special - {first}
    cover = _shared(areas, rng)
    for code in [*sorted(special & {_SEA}), *(code for code in _BLOBS if code in special)]:
        share = rng.uniform(0.08, 0.3) / (1 + 0.15 * len(codes))
        cover[_shore(rng) if code == _SEA else _blob(share, rng)] = code
    for code in sorted(special & set(_LINES), reverse=True):
        width, bend = _LINES[code]
        cover[curve(SHAPE, rng, bend) < 0.5 * width * rng.uniform(0.8, 1.4)] = code
    _complete(cover, codes, rng)
    return cover


def make_materials(cover: Array, rng: np.random.Generator) -> Array:
    """Return the material of each pixel of a map, uint8 (y, x)."""
    materials = np.zeros(cover.shape, np.uint8)
    for code in np.unique(cover):
        recipe, inside = CLASSES[int(code)], cover == code
        own = np.full(cover.shape, INDEX[recipe["base"]], np.uint8)
        for pattern, material, share, size in recipe["layers"]:
            own[draw(Layer(pattern, INDEX[material], share, size), cover.shape, rng)] = INDEX[material]
        materials[inside] = own[inside]
    return materials


def _shared(codes: list[int], rng: np.random.Generator) -> Array:
    """Divide the patch among some classes by the highest of one random field a class."""
    if len(codes) == 1:
        return np.full(SHAPE, codes[0], np.uint16)
    share = rng.dirichlet(np.full(len(codes), 2.0)) * 0.8 + 0.2 / len(codes)
    fields = np.stack([fractal(SHAPE, rng, 3.2, wavelength_px=90, smallest_px=5) for _ in codes])
    level = np.log(share)
    for _ in range(_ROUNDS):
        winner = (fields + level[:, None, None]).argmax(axis=0)
        found = np.bincount(winner.ravel(), minlength=len(codes)) / winner.size
        level += 0.5 * (np.log(share) - np.log(found + 0.01))
    return np.array(codes, np.uint16)[winner]


def _blob(share: float, rng: np.random.Generator) -> Array:
    middle = rng.uniform(0.2, 0.8, 2) * SIZE
    field = remoteness(SHAPE, (middle[0], middle[1]), rng, 0.3, 1.5, 0.4 * SIZE)
    return lowest(field, share * SIZE**2)


def _shore(rng: np.random.Generator) -> Array:
    """Return the part of a patch beyond a bent shore."""
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    bend = 9 * fractal(SHAPE, rng, 3.0, wavelength_px=70, smallest_px=6)
    field = x * np.cos(angle) + y * np.sin(angle) + bend
    return lowest(field, rng.uniform(0.25, 0.7) * SIZE**2)


def _complete(cover: Array, codes: tuple[int, ...], rng: np.random.Generator) -> None:
    """Put classes that others have covered back, on ground of classes with much of it."""
    for _ in range(20):
        count = {code: int((cover == code).sum()) for code in codes}
        missing = [code for code in codes if count[code] < SMALLEST_PX]
        if not missing:
            return
        for code in missing:
            most = max(codes, key=lambda other: int((cover == other).sum()))
            rows, columns = np.nonzero(cover == most)
            place = int(rng.integers(len(rows)))
            y, x = np.mgrid[:SIZE, :SIZE]
            distance = np.hypot(y - rows[place], x - columns[place]) + 1e6 * (cover != most)
            cover[lowest(distance, min(2 * SMALLEST_PX, int(0.5 * len(rows))))] = code
