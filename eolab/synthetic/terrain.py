"""Ground of the twin: where peaks, lakes, villages, quarries and gravel plains lie, and the terrain around.

The scene is divided into square cells. Each group of 2 × 2 cells gets a peak and three of lake, village,
quarry and gravel plain, so that every kind occurs in several places however the scene is cut into blocks. The
vertical zones of a mountain range are squeezed into a few kilometres; classes depend on relative height.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eolab.synthetic.noise import fractal, remoteness
from eolab.synthetic.sun import slopes

Array = np.ndarray

MARGIN_PX = 60
BASE_M = 420.0
RELIEF_M = 800.0
_KINDS = ("gravel", "lake", "village", "quarry")
_RIVER_EVERY = 4  # cells between two rivers


@dataclass(frozen=True)
class Site:
    """A place: ``peak``, ``lake``, ``village``, ``quarry`` or ``gravel``; row and column in pixels."""

    kind: str
    row: float
    column: float


@dataclass(frozen=True)
class Terrain:
    """The ground with a margin of :data:`MARGIN_PX` around the scene.

    Attributes:
        size: Pixels along a side of the scene.
        cell_px: Side of a site's cell in pixels.
        sites: All sites.
        height_m: Elevation in metres, float32 (y, x).
        river: Distance to the nearest river's middle in pixels, float32 (y, x).
    """

    size: int
    cell_px: float
    sites: tuple[Site, ...]
    height_m: Array
    river: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width with the margin."""
        return self.height_m.shape[0], self.height_m.shape[1]

    @property
    def relative(self) -> Array:
        """Height between valley floor (0) and highest peak (1)."""
        return np.clip((self.height_m - BASE_M) / RELIEF_M, 0.0, 1.0)

    def gradient(self) -> tuple[Array, Array]:
        """Return the slope towards south and towards east, in metres per metre."""
        return slopes(self.height_m, smooth_px=2.0)


def make_terrain(size: int, rng: np.random.Generator) -> Terrain:
    """Lay out sites, rivers and elevation for a scene of ``size`` × ``size`` pixels of 10 m."""
    count = max(4, 2 * round(size / 240))
    cell = size / count
    shape = (size + 2 * MARGIN_PX, size + 2 * MARGIN_PX)
    sites = _sites(count, cell, rng)
    river = _rivers(shape, count, cell, rng)
    height = 0.08 * fractal(shape, rng, 3.4, wavelength_px=2 * cell)
    for site in sites:
        if site.kind == "peak":
            distance = remoteness(shape, (site.row, site.column), rng, 0.15, 1.25, 0.8 * cell)
            height += rng.uniform(0.94, 1.06) * np.exp(-0.5 * (distance / (0.46 * cell)) ** 2)
    height -= 0.15 * np.exp(-((river / (0.25 * cell)) ** 2))
    detail = 0.006 * fractal(shape, rng, 2.4, wavelength_px=0.3 * cell, smallest_px=4)
    floor = np.quantile(height, 0.3)
    height = np.where(height < floor, floor + 0.25 * (height - floor), height) + detail
    height = (height - height.min()) / (height.max() - height.min())
    return Terrain(size, cell, sites, (BASE_M + RELIEF_M * height).astype(np.float32), river)


def _sites(count: int, cell: float, rng: np.random.Generator) -> tuple[Site, ...]:
    """Give each group of 2 × 2 cells a peak and three other kinds; gravel plains go beside a river."""
    missing = [_KINDS[k % 4] for k in range((count // 2) ** 2)]
    rng.shuffle(missing)
    sites = []
    for group, absent in enumerate(missing):
        top, left = 2 * (group // (count // 2)), 2 * (group % (count // 2))
        corners = [(top + i, left + j) for i in (0, 1) for j in (0, 1)]
        rng.shuffle(corners)
        kinds = [kind for kind in _KINDS if kind != absent]
        inner = left + 1 if left % _RIVER_EVERY == 0 else left
        if "gravel" in kinds:  # the first kind takes the first corner: one beside the river
            corners.sort(key=lambda corner: corner[1] != inner)
        for kind, (i, j) in zip([*kinds, "peak"], corners, strict=True):
            dy, dx = rng.uniform(-0.12, 0.12, 2)
            if kind == "gravel":
                dx = 0.22 if j < inner or left % _RIVER_EVERY == 0 else -0.22
            row = MARGIN_PX + (i + 0.5 + dy) * cell
            sites.append(Site(kind, row, MARGIN_PX + (j + 0.5 + dx) * cell))
    return tuple(sites)


def _rivers(shape: tuple[int, int], count: int, cell: float, rng: np.random.Generator) -> Array:
    """Return the distance to the nearest of the rivers, which wind from north to south."""
    rows = np.arange(shape[0])
    columns = np.arange(shape[1], dtype=np.float32)[None, :]
    distance = np.full(shape, np.inf, np.float32)
    for k in range(2, count, _RIVER_EVERY):
        middle = np.full(shape[0], MARGIN_PX + k * cell)
        for wave, swing in ((2.3, 0.10), (0.9, 0.05)):
            middle += swing * cell * np.sin(2 * np.pi * (rows / (wave * cell) + rng.uniform()))
        slope = np.hypot(1.0, np.gradient(middle))
        distance = np.minimum(distance, np.abs(columns - middle[:, None]) / slope[:, None])
    return distance.astype(np.float32)
