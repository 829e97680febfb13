"""The 12-class scheme of the land-cover update study, and what of CORINE belongs to each class.

The study (Sedona, *Towards Frequent Update of Land Cover Maps*, 2022) names the twelve classes but not which
CORINE classes they come from: :data:`CORINE_TO_UPDATE` is our reading of the names. A CORINE class that mixes
covers (242, 243, 313, ...) or that no name fits trains nothing and is scored nowhere.
"""

from typing import Any

import numpy as np

from eolab.data.schemes import IGNORE, ClassScheme
from eolab.data.schemes.corine import recode

# Colours: any two differ by 25 or more in CIELAB, for normal, protan and deutan eyes alike.
_CLASSES: tuple[tuple[str, str, tuple[int, ...]], ...] = (
    ("Urban", "#b60056", (111, 112, 121, 122, 123, 124)),
    ("Grass", "#cafc7c", (231, 321)),
    ("Not irrigated crops", "#e7ffbe", (211,)),
    ("Annual crops", "#f6a51a", (212, 213, 241)),
    ("Mineral", "#9f56b4", (131, 132, 133)),
    ("Rocks", "#96809a", (332,)),
    ("Sand", "#d7cdc6", (331,)),
    ("Broadleaves", "#25a84a", (311,)),
    ("Conifers", "#072d12", (312,)),
    ("Shrub", "#6c4600", (322, 323, 324)),
    ("Lake", "#3f56dd", (511, 512)),
    ("Snow", "#b5cefc", (335,)),
)

LANDCOVER = ClassScheme.numbered("Land cover update", ((name, color) for name, color, _ in _CLASSES))

CORINE_TO_UPDATE: dict[int, int] = {
    code: index for index, (_, _, codes) in enumerate(_CLASSES) for code in codes
}
"""Level-3 CORINE code to class index; a code that is not here is :data:`~eolab.data.schemes.IGNORE`."""


def from_corine(array: Any) -> np.ndarray:
    """Return the class index of each CORINE pixel.

    Args:
        array: CORINE codes of any shape, level-3 or grid codes (see
            :func:`eolab.data.schemes.corine.recode`).

    Returns:
        uint8 of the same shape: index into :data:`LANDCOVER`, ``IGNORE`` where no class belongs.
    """
    table = np.full(524, IGNORE, np.uint8)
    table[list(CORINE_TO_UPDATE)] = list(CORINE_TO_UPDATE.values())
    return table[recode(array)]
