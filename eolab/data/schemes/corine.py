"""CORINE Land Cover: 44 classes on three levels, with the official colours.

The published raster holds grid codes 1 to 44 and not the level-3 codes 111 to 523; :func:`recode` takes both.
Source: CORINE Land Cover nomenclature and legend of the European Environment Agency,
doi 10.2909/960998c1-1870-4e82-8051-6485205ebbac (CLC 2018).
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError
from eolab.data.schemes import ClassScheme

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


# The level-3 code of every value 0 to 523, 0 where there is none.
_LEVEL3_OF = np.zeros(524, np.uint16)
_LEVEL3_OF[CORINE["grid_code"]] = CORINE["code"]
_LEVEL3_OF[CORINE["code"]] = CORINE["code"]


def recode(array: Any, nodata: float | None = None) -> np.ndarray:
    """Return the CORINE level-3 codes of a published raster.

    Args:
        array: Values of any shape and number type: grid codes 1 to 44, or level-3 codes 111 to 523 already.
        nodata: Value that means nothing, besides all that are no CORINE code (0, 48, -128, 255, NaN, ...).

    Returns:
        uint16 of the same shape: level-3 codes, 0 where there is no class.
    """
    values = np.asarray(array)
    known = (values >= 0) & (values < len(_LEVEL3_OF))  # False for NaN
    if nodata is not None and not np.isnan(nodata):
        known &= values != nodata
    codes = np.where(known, values, 0).astype(np.intp)
    whole = codes == np.where(known, values, 0)
    return np.where(whole, _LEVEL3_OF[codes], 0).astype(np.uint16)
