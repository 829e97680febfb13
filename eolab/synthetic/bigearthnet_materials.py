"""What the ground of the scenes twin is made of: materials, and the recipe of each of the 43 classes.

The first twelve materials are the classes of :mod:`eolab.synthetic.spectra`, whose origin is told there. The
others, all recipes, and the backscatter are set by hand, near values usual for such ground; none is a fit.
Several recipes share their materials in like amounts and differ in pattern alone: vineyards (rows) and fruit
trees (grid), discontinuous and continuous urban fabric (size of houses and gardens), mixed forest and its two
parts, water courses and water bodies. A patch's mean spectrum cannot tell these apart; its texture can.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eolab.synthetic.bigearthnet_patterns import Layer
from eolab.synthetic.landscape import (
    ANNUAL,
    BROADLEAVES,
    CEREALS,
    CONIFERS,
    GRASS,
    LAKE,
    MINERAL,
    ROCKS,
    SAND,
    SHRUB,
    SNOW,
    URBAN,
)
from eolab.synthetic.spectra import DORMANT as BASE_DORMANT
from eolab.synthetic.spectra import GREEN as BASE_GREEN

Array = np.ndarray

(ROOFS, ASPHALT, SOIL, SEA, SILT, REEDS, PEAT, HEATH, MAQUIS, VINES, RICE, SALT, ASH, MUD, LAWN, YOUNG) = (
    range(12, 28)
)


@dataclass(frozen=True)
class Material:
    """One kind of ground.

    Attributes:
        season: Index of the class in :data:`eolab.synthetic.spectra.SEASONS` whose year it has.
        sigma_db: Backscatter in VV and VH.
        snow: Share of snow that it holds.
        summer: Whether it dries out where summers are dry.
    """

    season: int
    sigma_db: tuple[float, float]
    snow: float = 1.0
    summer: bool = False


MATERIALS: tuple[Material, ...] = (
    Material(URBAN, (-6.0, -13.0), 0.6),
    Material(GRASS, (-12.0, -18.5), 1.0, summer=True),
    Material(CEREALS, (-11.0, -18.0), 1.0, summer=True),
    Material(ANNUAL, (-10.0, -16.5)),
    Material(MINERAL, (-11.0, -19.0)),
    Material(ROCKS, (-9.5, -17.5)),
    Material(SAND, (-16.5, -24.0)),
    Material(BROADLEAVES, (-8.8, -14.2), 0.25),
    Material(CONIFERS, (-9.3, -14.8), 0.12),
    Material(SHRUB, (-10.3, -16.0), 0.45),
    Material(LAKE, (-20.0, -27.0), 0.9),
    Material(SNOW, (-14.0, -21.0)),
    Material(URBAN, (-2.5, -10.5), 0.6),  # roofs
    Material(MINERAL, (-14.5, -22.0), 0.4),  # asphalt
    Material(MINERAL, (-11.5, -20.0)),  # bare soil
    Material(LAKE, (-17.0, -25.5), 0.0),  # sea
    Material(LAKE, (-18.5, -26.5), 0.0),  # silty water
    Material(GRASS, (-9.8, -16.0), 0.8),  # reeds
    Material(SHRUB, (-12.5, -19.5)),  # peat
    Material(SHRUB, (-11.3, -17.5), 0.8),  # heath
    Material(CONIFERS, (-9.9, -15.6), 0.4),  # evergreen shrub
    Material(ANNUAL, (-9.0, -16.5), 0.9),  # vines
    Material(ANNUAL, (-12.5, -18.0)),  # rice
    Material(MINERAL, (-15.0, -23.0)),  # salt
    Material(MINERAL, (-12.8, -20.5)),  # ash
    Material(LAKE, (-15.5, -23.0), 0.2),  # wet mud
    Material(GRASS, (-13.0, -20.0)),  # lawn
    Material(BROADLEAVES, (-9.6, -15.4), 0.35),  # young trees
)
"""In the order of the indices above."""

_MORE_DORMANT = (
    (78, 104, 136, 172, 190, 204, 214, 228, 226, 224, 262, 226),
    (66, 82, 96, 106, 114, 122, 128, 134, 138, 138, 156, 146),
    (56, 76, 108, 142, 166, 184, 198, 212, 226, 224, 300, 256),
    (42, 40, 30, 14, 11, 9, 8, 7, 7, 7, 4, 3),
    (52, 68, 92, 88, 72, 50, 44, 40, 34, 32, 14, 10),
    (34, 46, 68, 84, 108, 146, 166, 176, 192, 190, 216, 140),
    (26, 34, 48, 58, 78, 112, 128, 134, 148, 146, 176, 118),
    (28, 36, 50, 62, 84, 122, 140, 148, 162, 160, 196, 132),
    (24, 34, 54, 54, 84, 142, 164, 172, 190, 188, 184, 106),
    (50, 68, 98, 126, 152, 178, 196, 208, 224, 222, 288, 228),
    (40, 54, 74, 84, 98, 118, 128, 134, 142, 140, 158, 108),
    (240, 290, 330, 350, 356, 360, 362, 366, 366, 360, 330, 250),
    (30, 36, 42, 48, 54, 62, 68, 74, 80, 80, 116, 110),
    (64, 80, 104, 118, 122, 124, 126, 128, 128, 126, 84, 58),
    (28, 40, 66, 72, 112, 184, 214, 226, 244, 242, 230, 144),
    (24, 32, 50, 54, 84, 134, 152, 162, 178, 176, 176, 98),
)
_MORE_GREEN = (
    (70, 94, 126, 156, 176, 202, 216, 228, 230, 228, 250, 206),
    (62, 78, 92, 98, 112, 132, 142, 148, 154, 152, 158, 138),
    (54, 74, 106, 136, 164, 192, 208, 220, 234, 232, 290, 240),
    (44, 43, 34, 17, 13, 10, 9, 8, 8, 8, 4, 3),
    (50, 66, 92, 82, 76, 58, 50, 45, 38, 36, 15, 11),
    (22, 32, 58, 44, 94, 218, 262, 268, 298, 296, 172, 86),
    (24, 32, 50, 54, 82, 150, 176, 184, 204, 202, 190, 116),
    (24, 31, 48, 48, 82, 168, 202, 208, 232, 230, 186, 104),
    (20, 30, 54, 44, 82, 176, 214, 222, 246, 244, 166, 86),
    (32, 44, 74, 76, 122, 216, 258, 264, 292, 290, 236, 150),
    (24, 36, 66, 44, 98, 278, 342, 346, 380, 376, 150, 66),
    (230, 280, 322, 344, 352, 356, 360, 362, 362, 356, 310, 230),
    (30, 36, 46, 52, 62, 84, 94, 100, 108, 108, 130, 112),
    (58, 74, 100, 108, 118, 126, 128, 130, 130, 128, 80, 54),
    (20, 30, 66, 38, 100, 300, 368, 372, 408, 404, 192, 88),
    (18, 26, 52, 34, 84, 242, 308, 308, 342, 340, 166, 78),
)
DORMANT: Array = np.concatenate([BASE_DORMANT, np.array(_MORE_DORMANT, np.float32) / 1000])
"""Reflectance out of season, float32 (material, band)."""
GREEN: Array = np.concatenate([BASE_GREEN, np.array(_MORE_GREEN, np.float32) / 1000])
"""Reflectance at the height of the season, float32 (material, band)."""
SIGMA_DB: Array = np.array([material.sigma_db for material in MATERIALS], np.float32)
"""Backscatter in VV and VH, float32 (material, 2)."""
SEASON: Array = np.array([material.season for material in MATERIALS], np.uint8)
HOLDS_SNOW: Array = np.array([material.snow for material in MATERIALS], np.float32)
DRIES: Array = np.array([material.summer for material in MATERIALS])


@dataclass(frozen=True)
class Recipe:
    """What a class is made of.

    Attributes:
        base: Material where no layer lies.
        layers: Later ones lie on top.
    """

    base: int
    layers: tuple[Layer, ...] = ()


def _recipe(base: int, *layers: tuple[str, int, float, float]) -> Recipe:
    return Recipe(base, tuple(Layer(*layer) for layer in layers))


RECIPES: dict[int, Recipe] = {
    111: _recipe(URBAN, ("blocks", ROOFS, 0.5, 4), ("dots", BROADLEAVES, 0.14, 2)),
    112: _recipe(URBAN, ("mottle", LAWN, 0.4, 5), ("blocks", ROOFS, 0.28, 7), ("dots", BROADLEAVES, 0.12, 4)),
    121: _recipe(ASPHALT, ("blocks", ROOFS, 0.5, 15), ("mottle", LAWN, 0.15, 6)),
    122: _recipe(ASPHALT, ("dots", LAWN, 0.3, 3)),
    123: _recipe(ASPHALT, ("blocks", ROOFS, 0.25, 8), ("blocks", SEA, 0.3, 20)),
    124: _recipe(LAWN, ("runway", ASPHALT, 0.16, 6), ("blocks", ROOFS, 0.05, 9)),
    131: _recipe(MINERAL, ("rings", ROCKS, 0.4, 9), ("mottle", SILT, 0.05, 6)),
    132: _recipe(MINERAL, ("mottle", URBAN, 0.4, 3), ("dots", SOIL, 0.2, 3)),
    133: _recipe(SOIL, ("blocks", ROOFS, 0.15, 9), ("fields", MINERAL, 0.4, 9)),
    141: _recipe(LAWN, ("mottle", BROADLEAVES, 0.45, 6), ("creeks", URBAN, 0.1, 16)),
    142: _recipe(
        LAWN, ("circles", GRASS, 0.4, 16), ("dots", BROADLEAVES, 0.12, 4), ("blocks", ROOFS, 0.06, 9)
    ),
    211: _recipe(CEREALS, ("fields", ANNUAL, 0.32, 20), ("fields", SOIL, 0.15, 20)),
    212: _recipe(SOIL, ("fields", CEREALS, 0.3, 20), ("circles", ANNUAL, 0.55, 34)),
    213: _recipe(RICE, ("fields", SILT, 0.25, 9), ("rows", SOIL, 0.12, 12)),
    221: _recipe(SOIL, ("rows", VINES, 0.55, 5), ("dots", GRASS, 0.05, 5)),
    222: _recipe(SOIL, ("grid", VINES, 0.55, 6), ("dots", GRASS, 0.05, 5)),
    223: _recipe(SOIL, ("grid", MAQUIS, 0.4, 6), ("dots", GRASS, 0.1, 5)),
    231: _recipe(GRASS, ("fields", LAWN, 0.35, 14), ("creeks", BROADLEAVES, 0.05, 22)),
    241: _recipe(CEREALS, ("fields", ANNUAL, 0.3, 12), ("grid", MAQUIS, 0.2, 6)),
    242: _recipe(CEREALS, ("fields", ANNUAL, 0.3, 6), ("fields", GRASS, 0.3, 6), ("dots", URBAN, 0.04, 5)),
    243: _recipe(
        CEREALS, ("fields", GRASS, 0.4, 14), ("mottle", BROADLEAVES, 0.28, 9), ("dots", SHRUB, 0.12, 5)
    ),
    244: _recipe(GRASS, ("fields", CEREALS, 0.2, 26), ("dots", MAQUIS, 0.3, 4)),
    311: _recipe(BROADLEAVES, ("mottle", SHRUB, 0.06, 5)),
    312: _recipe(CONIFERS, ("mottle", SHRUB, 0.06, 5)),
    313: _recipe(CONIFERS, ("mottle", BROADLEAVES, 0.48, 5), ("dots", SHRUB, 0.04, 4)),
    321: _recipe(GRASS, ("mottle", SHRUB, 0.2, 7), ("dots", ROCKS, 0.1, 3)),
    322: _recipe(HEATH, ("mottle", GRASS, 0.22, 8), ("dots", PEAT, 0.12, 4)),
    323: _recipe(MAQUIS, ("mottle", SHRUB, 0.25, 5), ("dots", SOIL, 0.2, 3)),
    324: _recipe(YOUNG, ("mottle", SHRUB, 0.35, 3), ("dots", CONIFERS, 0.2, 3), ("blocks", GRASS, 0.1, 16)),
    331: _recipe(SAND, ("strings", GRASS, 0.16, 9)),
    332: _recipe(ROCKS, ("strings", MINERAL, 0.25, 12), ("dots", GRASS, 0.06, 4)),
    333: _recipe(ROCKS, ("mottle", GRASS, 0.4, 4), ("dots", SHRUB, 0.12, 3)),
    334: _recipe(ASH, ("mottle", SHRUB, 0.2, 6), ("dots", ROCKS, 0.08, 3)),
    411: _recipe(REEDS, ("mottle", LAKE, 0.22, 5), ("dots", SHRUB, 0.1, 4)),
    412: _recipe(PEAT, ("strings", LAKE, 0.16, 7), ("mottle", HEATH, 0.25, 8)),
    421: _recipe(REEDS, ("mottle", MUD, 0.2, 8), ("creeks", SEA, 0.16, 14)),
    422: _recipe(SILT, ("fields", SALT, 0.35, 8), ("fields", SEA, 0.3, 8)),
    423: _recipe(MUD, ("creeks", SEA, 0.2, 18), ("strings", SAND, 0.2, 14)),
    511: _recipe(LAKE, ("dots", SILT, 0.25, 4)),
    512: _recipe(LAKE, ("mottle", SILT, 0.15, 12)),
    521: _recipe(SILT, ("mottle", LAKE, 0.35, 14)),
    522: _recipe(SILT, ("strings", SEA, 0.4, 16), ("creeks", MUD, 0.06, 24)),
    523: _recipe(SEA, ("strings", SILT, 0.06, 11)),
}
"""By CORINE code."""
