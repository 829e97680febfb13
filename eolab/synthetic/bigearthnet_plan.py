"""What the scenes twin holds: which patch lies where, on which day, with which classes, snow or clouds.

Numbers of patches by class follow the published ones, none below :data:`LEAST`. They are dealt out to the
tiles by climate and shore, then to patches by theme, so that classes meet as they do on the ground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eolab.synthetic.bigearthnet_classes import CODES, KINDS, PUBLISHED, THEMES, Kind
from eolab.synthetic.bigearthnet_places import TILES, Product, Tile

Array = np.ndarray

LEAST = 3
"""Patches that every class has at least, one a split; 1 in twins of fewer than 300 patches."""

_SMALL = 300
_CLOUDY = 0.018  # share of the patches under clouds or their shadows
_SPARE = 8  # classes in no more patches than this are seen without snow and clouds
_GRID = (1, 90)  # columns and rows of patches in a tile
_FULLEST = 0.92  # share of a tile's patches that one class may be in
_ROUNDS = 40
_SHARPNESS = 0.5  # shape of the gamma distribution of themes: low for patches of few themes
_ELSEWHERE = 0.04  # chance of a class where its theme is missing


@dataclass(frozen=True)
class Patch:
    """One patch of the twin.

    Attributes:
        number: Seeds its pixels.
        tile: Where it lies.
        product: When it was seen.
        column: Of its place in the tile.
        row: Of its place in the tile.
        codes: CORINE codes of its classes.
        snow: Whether seasonal snow covers it.
        cloudy: Whether clouds or their shadows do.
    """

    number: int
    tile: Tile
    product: Product
    column: int
    row: int
    codes: tuple[int, ...]
    snow: bool
    cloudy: bool


def stream(seed: int, *numbers: int) -> np.random.Generator:
    """Return the random numbers of one part of the twin."""
    return np.random.default_rng([seed, *numbers])


def quotas(patches: int) -> Array:
    """Return how many of some patches each class is in, int (class,), in the order of the codes."""
    least = LEAST if patches >= _SMALL else 1
    images = np.array([kind.images for kind in KINDS])
    return np.maximum(least, np.rint(images / PUBLISHED * patches)).astype(int)


def make_plan(seed: int, patches: int) -> list[Patch]:
    """Return the patches of a twin, tile by tile.

    Args:
        seed: Of the twin.
        patches: Their number.
    """
    rng = stream(seed, 1)
    sizes = _largest_remainders(np.array([tile.weight for tile in TILES]), patches)
    wanted = quotas(patches)
    counts = _by_tile(wanted, sizes)
    tiles = np.repeat(np.arange(len(TILES)), sizes)  # (patch,)
    holds = np.zeros((patches, len(CODES)), bool)
    for index in range(len(TILES)):
        rows = np.flatnonzero(tiles == index)
        holds[rows] = _by_patch(counts[index], len(rows), rng)
    _fill_empty(holds, tiles)
    rare = np.asarray(holds[:, wanted <= _SPARE].any(axis=1))
    return _patches(tiles, holds, rare, rng)


def _by_tile(wanted: Array, sizes: Array) -> Array:
    """Deal the patches of each class out to tiles, int (tile, class)."""
    suited = np.array([[_suits(kind, tile) for kind in KINDS] for tile in TILES]) * (sizes > 0)[:, None]
    room = _FULLEST * sizes.astype(float)[:, None]
    share = suited * sizes[:, None]
    for _ in range(_ROUNDS):  # columns must meet the quotas, rows must not overflow
        share = share * (wanted / np.maximum(share.sum(axis=0), 1e-9))
        share = np.minimum(share, room)
    counts = np.zeros(share.shape, int)
    split = np.array([tile.split for tile in TILES])
    for k in range(len(wanted)):
        counts[:, k] = _largest_remainders(share[:, k], wanted[k], sizes)
        for name in ("train", "validation", "test"):
            _reach(counts[:, k], share[:, k], split == name, sizes, split)
    return counts


def _suits(kind: Kind, tile: Tile) -> float:
    """Return how likely a class is in a tile: by climate; shores where there are any."""
    if kind.coastal and not tile.coast:
        return 1e-6
    return kind.biomes[tile.biome_index] ** 1.5 + 1e-3


def _reach(count: Array, share: Array, inside: Array, sizes: Array, split: Array) -> None:
    """Move a patch of a class to the tiles of a split that has none, where another one can spare it."""
    if count[inside].sum() or not (sizes[inside] > 0).any():
        return
    others = np.array([count[split == name].sum() for name in split])
    giver = int(np.argmax(np.where(others > 1, count, 0)))
    if others[giver] > 1 and count[giver]:
        count[giver] -= 1
        count[np.argmax(np.where(inside & (sizes > 0), share + 1e-12, -1))] += 1


def _largest_remainders(shares: Array, total: int, most: Array | None = None) -> Array:
    """Return whole numbers near to the shares that add up to a total."""
    exact = shares / shares.sum() * total
    whole = np.floor(exact).astype(int)
    if most is not None:
        whole = np.minimum(whole, most)
    order = np.argsort(whole - exact, kind="stable")
    while (missing := total - whole.sum()) > 0:
        free = order if most is None else order[whole[order] < most[order]]
        whole[free[:missing]] += 1
    return whole


def _by_patch(counts: Array, size: int, rng: np.random.Generator) -> Array:
    """Put the classes of a tile into its patches, bool (patch, class), rare ones first."""
    holds = np.zeros((size, len(counts)), bool)
    if not size:
        return holds
    strength = rng.gamma(_SHARPNESS, 1 / _SHARPNESS, (size, len(THEMES)))
    richness = rng.gamma(4.0, 0.25, size)
    for k in np.argsort(counts, kind="stable"):
        own = [place for place, theme in enumerate(THEMES) if theme[0] in KINDS[k].themes.lower()]
        chance = richness * (_ELSEWHERE + strength[:, own].mean(axis=1))
        rows = rng.choice(size, min(int(counts[k]), size), replace=False, p=chance / chance.sum())
        holds[rows, k] = True
    return holds


def _fill_empty(holds: Array, tiles: Array) -> None:
    """Give each patch without a class one of a patch that has several, of its tile where there is one."""
    for row in np.flatnonzero(~holds.any(axis=1)):
        spare = holds.sum(axis=1) * (1 + (tiles == tiles[row]))
        spare[holds.sum(axis=1) < 2] = 0
        giver = int(spare.argmax())
        frequent = np.where(holds[giver], holds.sum(axis=0), -1)
        k = int(frequent.argmax())
        holds[giver, k], holds[row, k] = False, True


def _patches(tiles: Array, holds: Array, rare: Array, rng: np.random.Generator) -> list[Patch]:
    """Give each patch its place, its day and its weather."""
    taken: set[tuple[str, int, int]] = set()
    cloudy = _cloudy(~rare, rng)
    found = []
    for number, index in enumerate(tiles):
        tile = TILES[index]
        product = tile.products[int(rng.integers(len(tile.products)))]
        if rare[number] and product.snow:
            product = next(other for other in tile.products if not other.snow)
        begin = product.name_v1  # the same for tiles of one datatake
        while True:
            column, row = (int(value) for value in rng.integers(*_GRID, size=2, endpoint=True))
            if (begin, column, row) not in taken and (tile.name, column, row) not in taken:
                break
        taken |= {(begin, column, row), (tile.name, column, row)}
        snow = bool(rng.random() < product.snow)
        codes = tuple(code for code, held in zip(CODES, holds[number], strict=True) if held)
        weather = (snow, bool(cloudy[number]) and not snow)
        found.append(Patch(number, tile, product, column, row, codes, *weather))
    return found


def _cloudy(possible: Array, rng: np.random.Generator) -> Array:
    """Return which patches lie under clouds, bool (patch,)."""
    rows = np.flatnonzero(possible)
    chosen = rng.permutation(rows)[: max(1, round(_CLOUDY * len(possible)))]
    return np.isin(np.arange(len(possible)), chosen)
