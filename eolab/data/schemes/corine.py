"""CORINE Land Cover: 44 classes on three levels, with the official colours.

The published raster holds grid codes 1 to 44 and not the level-3 codes 111 to 523; :func:`recognise` tells
them apart.
Source: CORINE Land Cover nomenclature and legend of the European Environment Agency,
doi 10.2909/960998c1-1870-4e82-8051-6485205ebbac (CLC 2018).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, warn
from eolab.data.schemes import ClassScheme, check_codes, lookup

CORINE = pd.read_csv(Path(__file__).with_name("corine.csv"))
"""One row a class: grid_code, code, level1, level1_name, level2, level2_name, level3, level3_name, color."""


def scheme(level: int = 3) -> ClassScheme:
    """Return the class scheme of one level: 5, 15 or 44 classes.

    The official colours belong to level 3; a class of level 1 or 2 takes that of its first level-3 class.

    Raises:
        ParameterError: If the level is not 1, 2 or 3.
    """
    if level not in (1, 2, 3):
        raise ParameterError(f"CORINE has the levels 1, 2 and 3, not {level!r}: give one of these.")
    first = CORINE.drop_duplicates(f"level{level}")
    return ClassScheme(
        name=f"CORINE level {level}",
        codes=tuple(int(c) for c in first[f"level{level}"]),
        names=tuple(first[f"level{level}_name"]),
        colors=tuple(first["color"]),
    )


CODINGS: dict[str, dict[int, int]] = {
    "grid": dict(zip(CORINE["grid_code"].tolist(), CORINE["code"].tolist(), strict=True)),
    "level3": {code: code for code in CORINE["code"].tolist()},
}
"""Level-3 code of each code of the two codings: grid codes 1 to 44, and level-3 codes 111 to 523."""

NOTHING = (0, 48, 49, 50, 128, 255, 990, 995, 999)
"""Published codes without a class, besides negative ones: no data, unclassified land and water."""

FIRST_FOREST = 23  # grid code; maps of fewer classes than CORINE's hold lower codes alone
_EXPECTED = "CORINE's grid codes 1 to 44 or level-3 codes 111 to 523"
_AMBIGUOUS = {
    "CORINE's level 2": frozenset(CORINE["level2"].tolist()),
    "CORINE's level 1 or another map, such as a scene classification": frozenset(range(1, 12)),
}


def recognise(array: Any, nodata: float | None, name: object, counts: Any = None) -> str:
    """Return which coding a CORINE map has: ``"grid"`` or ``"level3"``.

    Args:
        array: Values of any shape and number type, as many of the map's as there are.
        nodata: Value that means nothing, besides :data:`NOTHING` and negative ones.
        name: What the map is called, for the error.
        counts: How often each value stands in the map, where it is not given pixel by pixel.

    Raises:
        DataError: If it holds no CORINE class, more than a hundredth of the pixels have other codes, or all
            of its codes are those of CORINE's level 1 or 2 as well.
    """
    values, counts = np.unique(array, return_counts=True) if counts is None else (np.asarray(array), counts)
    if values.dtype.kind not in "iuf":
        raise DataError(f"{name} holds {values.dtype}, expected {_EXPECTED}: give the CORINE raster.")
    pixels = {name: counts[lookup(values, codes, 0, np.uint16) > 0].sum() for name, codes in CODINGS.items()}
    coding = max(pixels, key=pixels.__getitem__)
    check_coding(values, nodata, coding, name, counts)
    found = {value for value in values.tolist() if value in CODINGS[coding] and value != nodata}
    if not found:
        raise DataError(f"{name} holds no CORINE class, expected {_EXPECTED}: give the CORINE raster.")
    for other, codes in _AMBIGUOUS.items():
        if found <= codes:
            listed = ", ".join(f"{code:g}" for code in sorted(found))
            raise DataError(
                f"{name} holds the codes {listed} alone, which are codes of {other} too: give the map in "
                "level-3 codes (111 to 523; eolab.data.schemes.corine.recode makes them of grid codes)."
            )
    if coding == "grid" and max(found) < FIRST_FOREST:
        warn(
            f"{name} holds no grid code above {max(found):g} (no forest, no water) and is read as CORINE: "
            "other maps have these codes too, such as MODIS's 17 classes; check that it is CORINE's."
        )
    return coding


def check_coding(array: Any, nodata: float | None, coding: str, name: object, counts: Any = None) -> None:
    """Refuse values that are not of a coding, see :func:`recognise`."""
    nothing = (*NOTHING, int(nodata)) if nodata is not None and np.isfinite(nodata) else NOTHING
    check_codes(array, CODINGS[coding], nothing, name, _EXPECTED, counts)


def recode(array: Any, nodata: float | None = None, coding: str | None = None) -> np.ndarray:
    """Return the CORINE level-3 codes of a published raster.

    Args:
        array: Values of any shape and number type: grid codes 1 to 44, or level-3 codes 111 to 523 already.
        nodata: Value that means nothing, besides all that are no CORINE code (0, 48, -128, 255, NaN, ...).
        coding: ``"grid"`` or ``"level3"``, see :func:`recognise`; both are taken by default.

    Returns:
        uint16 of the same shape: level-3 codes, 0 where there is no class.
    """
    values = np.asarray(array)
    known = CODINGS[coding] if coding else CODINGS["grid"] | CODINGS["level3"]
    codes = lookup(values, known, 0, np.uint16)
    return codes if nodata is None else np.where(values == nodata, np.uint16(0), codes)
