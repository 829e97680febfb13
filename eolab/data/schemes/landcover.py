"""The 12-class scheme of the land-cover update study, and what of CORINE belongs to each class.

The study (Sedona, *Towards Frequent Update of Land Cover Maps*, 2022) names the twelve classes but not which
CORINE classes they come from: :data:`CORINE_TO_UPDATE` is our reading of the names. A CORINE class that mixes
covers (242, 243, 313, ...) or that no name fits trains nothing and is scored nowhere.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.data.schemes import ClassScheme, lookup
from eolab.data.schemes.corine import recode

# Colours: any two differ by 25 or more in CIELAB, for normal, protan and deutan eyes alike.
_CLASSES = pd.read_csv(Path(__file__).with_name("landcover.csv"))

LANDCOVER = ClassScheme.numbered("Land cover update", zip(_CLASSES["name"], _CLASSES["color"], strict=True))

CORINE_TO_UPDATE: dict[int, int] = {
    int(code): index for index, codes in enumerate(_CLASSES["corine"]) for code in codes.split()
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
    return lookup(recode(array), CORINE_TO_UPDATE)
