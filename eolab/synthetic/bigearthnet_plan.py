"""What the BigEarthNet twin holds: which patch lies where, on which day, with which classes, snow or clouds.

Tiles and days are real ones (``tables/bigearthnet_tiles.yaml``), with an assumed climate each. Numbers of
patches by class follow the published ones, none below :data:`LEAST`. They are dealt out to the tiles by
climate and shore, then to patches by theme, so that classes meet as they do on the ground. The patches of a
tile lie side by side, and the split divides them whatever tile and image they are in, as the published one of
version 1 does: nearly every test patch lies in an image with training patches, and close to half touch one.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import yaml

from eolab.data.schemes.bigearthnet import PUBLISHED_BY_CODE, PUBLISHED_PATCHES, class_set
from eolab.data.splits.dealing import SPLITS, deal_labels
from eolab.synthetic.materials import TABLES, Array
from eolab.synthetic.writing import stamp, stream

LEAST = 3
"""Patches that every class has at least, one a split; 1 in twins of fewer than 300 patches."""
PATCH_M = 1200
THEMES = ("urban", "farm", "wood", "open", "marsh", "coast", "lake")
CLASSES: dict[int, dict[str, Any]] = yaml.safe_load((TABLES / "bigearthnet_classes.yaml").read_text())
"""By CORINE code: ``biomes``, ``themes``, ``base`` and ``layers``, which the file describes."""

_RADAR_HOUR = {29: 6, 31: 5, 32: 5, 33: 16, 34: 16, 35: 4}  # by zone
_LATE_S = 3  # that the date in the JSON lies before the name's time
_SMALL = 300
_CLOUDY = 0.018  # share of the patches under clouds or their shadows
_SPARE = 8  # classes in no more patches than this are seen without snow and clouds
_GRID = (1, 90)  # columns and rows of patches in a tile
_SHARES = (0.52, 0.24, 0.24)  # of train, validation and test, as in the lists of version 1
_FULLEST = 0.92  # share of a tile's patches that one class may be in
_ROUNDS = 40
_SHARPNESS = 0.5  # shape of the gamma distribution of themes: low for patches of few themes
_ELSEWHERE = 0.04  # chance of a class where its theme is missing


@dataclass(frozen=True)
class Product:
    """One acquisition of a tile.

    Attributes:
        start: Start of the datatake, as in names of version 2, for example ``20170613T101031``.
        orbit: Relative orbit.
        late: Seconds that names of version 1 add, without a carry.
        snow: Share of its patches under seasonal snow.
    """

    start: str
    orbit: int
    late: int
    snow: float

    @property
    def mission(self) -> str:
        """``S2A`` on odd days, else ``S2B``."""
        return "S2A" if int(self.start[7]) % 2 else "S2B"

    @property
    def time(self) -> datetime:
        """Time of acquisition."""
        return datetime.strptime(self.start, "%Y%m%dT%H%M%S") - timedelta(seconds=_LATE_S * (self.late > 0))

    @property
    def name_v1(self) -> str:
        """Begin of names in version 1: no leading zero of the hour, and seconds that may exceed 59."""
        day, time = self.start.split("T")
        return f"{self.mission}_MSIL2A_{day}T{int(time) + self.late}"

    def name_v2(self, tile: str) -> str:
        """Name of the product in version 2."""
        return f"{self.mission}_MSIL2A_{self.start}_N9999_R{self.orbit:03d}_T{tile}"

    def source(self, tile: str) -> str:
        """Name of the Level-1C product that version 1 names."""
        baseline = "N0206" if self.start >= "20171101" else "N0205"
        begin = self.name_v1.replace("MSIL2A", "MSIL1C")
        made = stamp(self.time + timedelta(minutes=6))
        return f"{begin}_{baseline}_R{self.orbit:03d}_T{tile}_{made}.SAFE"


@dataclass(frozen=True)
class Tile:
    """A Sentinel-2 tile.

    Attributes:
        name: Zone, band and square, for example ``33UUP``.
        country: Country, spelt like the metadata of version 2.
        biome: A key of the biomes of :data:`CLASSES`.
        weight: Its number of patches, relative to other tiles.
        coast: Whether it has a sea shore.
        left: Western edge in metres.
        top: Northern edge in metres.
        products: Its acquisitions.
    """

    name: str
    country: str
    biome: str
    weight: float
    coast: bool
    left: int
    top: int
    products: tuple[Product, ...]

    @property
    def zone(self) -> int:
        """UTM zone, all on the northern half."""
        return int(self.name[:2])

    @property
    def epsg(self) -> int:
        """EPSG code of its projection."""
        return 32600 + self.zone

    def radar_time(self, product: Product) -> datetime:
        """Return when Sentinel-1 saw what Sentinel-2 saw: a day apart at most."""
        number = sum(map(ord, self.name))
        shift = (number + int(product.start[:8])) % 3 - 1
        seconds = (number * 37 + int(product.start[4:8])) % 3600
        day = product.time.replace(hour=_RADAR_HOUR[self.zone], minute=0, second=0) + timedelta(days=shift)
        return day + timedelta(seconds=seconds)

    def radar_product(self, product: Product) -> str:
        """Return the name of the Sentinel-1 product that goes with one of Sentinel-2."""
        time = self.radar_time(product)
        return f"S1{'AB'[time.second % 2]}_IW_GRDH_1SDV_{stamp(time)}"


TILES: tuple[Tile, ...] = tuple(
    Tile(products=tuple(Product(*one) for one in facts.pop("passes")), **facts)
    for facts in yaml.safe_load((TABLES / "bigearthnet_tiles.yaml").read_text())
)


@dataclass(frozen=True)
class Patch:
    """One patch of the twin.

    Attributes:
        number: Seeds its pixels.
        tile: Where it lies.
        product: When it was seen.
        column: Place in the tile, from the west.
        row: Place in the tile, from the north.
        codes: CORINE codes of its classes.
        snow: Whether seasonal snow covers it.
        cloudy: Whether clouds or their shadows do.
        split: ``train``, ``validation`` or ``test``.
    """

    number: int
    tile: Tile
    product: Product
    column: int
    row: int
    codes: tuple[int, ...]
    snow: bool
    cloudy: bool
    split: str = "train"

    @property
    def corner(self) -> tuple[int, int]:
        """Upper left corner in metres."""
        return self.tile.left + PATCH_M * self.column, self.tile.top - PATCH_M * self.row

    @property
    def name_v1(self) -> str:
        """Name in version 1."""
        return f"{self.product.name_v1}_{self.column}_{self.row}"

    @property
    def name_v2(self) -> str:
        """Name in version 2, whose place has two digits each."""
        return f"{self.product.name_v2(self.tile.name)}_{self.column:02d}_{self.row:02d}"

    @property
    def radar_name(self) -> str:
        """Name of its Sentinel-1 patch, in both versions."""
        return f"{self.tile.radar_product(self.product)}_{self.tile.name}_{self.column}_{self.row}"

    @property
    def labels_19(self) -> list[str]:
        """Names of its classes among the 19, sorted; empty where all of them are dropped."""
        classes = class_set("19")
        return sorted(classes.names_of(classes.encode(self.codes)))


def quotas(patches: int) -> Array:
    """Return how many of some patches each class is in, int (class,), in the order of the codes."""
    least = LEAST if patches >= _SMALL else 1
    published = np.array([PUBLISHED_BY_CODE[code] for code in CLASSES])
    return np.maximum(least, np.rint(published / PUBLISHED_PATCHES * patches)).astype(int)


def make_plan(seed: int, patches: int) -> list[Patch]:
    """Return the patches of a twin, tile by tile.

    Args:
        seed: Seed of the twin.
        patches: Number of patches.
    """
    rng = stream(seed, 1)
    sizes = _largest_remainders(np.array([tile.weight for tile in TILES]), patches)
    wanted = quotas(patches)
    counts = _by_tile(wanted, sizes)
    tiles = np.repeat(np.arange(len(TILES)), sizes)  # (patch,)
    holds = np.zeros((patches, len(CLASSES)), bool)
    for index in np.unique(tiles):
        rows = np.flatnonzero(tiles == index)
        holds[rows] = _by_patch(counts[index], len(rows), rng)
    _fill_empty(holds, tiles)
    rare = np.asarray(holds[:, wanted <= _SPARE].any(axis=1))
    return _patches(tiles, holds, rare, _splits(holds, seed), rng)


def _splits(holds: Array, seed: int) -> list[str]:
    """Return the split of each patch, so that each split has a patch of each class where there are three.

    Args:
        holds: Which classes each patch has, bool (patch, class).
        seed: Seed of the deal.
    """
    parts = deal_labels(holds, _SHARES, seed)
    for k in np.argsort(holds.sum(axis=0), kind="stable"):
        for part in range(len(SPLITS)):
            if not (parts[holds[:, k]] == part).any():
                spare = [
                    row
                    for row in np.flatnonzero(holds[:, k])
                    if (holds[parts == parts[row]].sum(axis=0)[holds[row]] > 1).all()
                ]
                parts[spare[:1]] = part
    return [SPLITS[part] for part in parts]


def _by_tile(wanted: Array, sizes: Array) -> Array:
    """Deal the patches of each class out to tiles, int (tile, class)."""
    suited = np.array([[_suits(c, tile) for c in CLASSES.values()] for tile in TILES]) * (sizes > 0)[:, None]
    room = _FULLEST * sizes.astype(float)[:, None]
    share = suited * sizes[:, None]
    for _ in range(_ROUNDS):  # columns must meet the quotas, rows must not overflow
        share = share * (wanted / np.maximum(share.sum(axis=0), 1e-9))
        share = np.minimum(share, room)
    counts = np.zeros(share.shape, int)
    for k in range(len(wanted)):
        counts[:, k] = _largest_remainders(share[:, k], wanted[k], sizes)
    return counts


def _suits(one: dict[str, Any], tile: Tile) -> float:
    """Return how likely a class is in a tile: by climate; shores where there are any."""
    if "coast" in one["themes"] and not tile.coast:
        return 1e-6
    return one["biomes"][tile.biome] ** 1.5 + 1e-3


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
    strength = rng.gamma(_SHARPNESS, 1 / _SHARPNESS, (size, len(THEMES)))
    richness = rng.gamma(4.0, 0.25, size)
    themes = [[THEMES.index(name) for name in one["themes"]] for one in CLASSES.values()]
    for k in np.argsort(counts, kind="stable"):
        chance = richness * (_ELSEWHERE + strength[:, themes[k]].mean(axis=1))
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


def _patches(
    tiles: Array, holds: Array, rare: Array, splits: list[str], rng: np.random.Generator
) -> list[Patch]:
    """Give each patch its place, its day and its weather; those of a tile lie in a square of their own."""
    taken: set[tuple[str, int, int]] = set()
    possible, sizes = np.flatnonzero(~rare), np.bincount(tiles)
    cloudy = set(rng.permutation(possible)[: max(1, round(_CLOUDY * len(rare)))].tolist())
    found = []
    for number, index in enumerate(tiles):
        tile = TILES[index]
        product = tile.products[int(rng.integers(len(tile.products)))]
        if rare[number] and product.snow:
            product = next(other for other in tile.products if not other.snow)
        begin = product.name_v1  # the same for tiles of one datatake
        side = math.ceil(math.sqrt(1.5 * sizes[index]))
        corner = _GRID[0] + np.array([23, 37]) * index % (_GRID[1] - side)
        while True:
            column, row = (corner + rng.integers(0, side, 2)).tolist()
            if (begin, column, row) not in taken and (tile.name, column, row) not in taken:
                break
        taken |= {(begin, column, row), (tile.name, column, row)}
        snow = bool(rng.random() < product.snow)
        codes = tuple(code for code, held in zip(CLASSES, holds[number], strict=True) if held)
        clouds = number in cloudy and not snow
        found.append(Patch(number, tile, product, column, row, codes, snow, clouds, splits[number]))
    return found
