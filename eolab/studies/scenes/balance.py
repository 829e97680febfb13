"""How often each class occurs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from eolab.data.schemes import ClassScheme


def class_frequencies(labels: Any, scheme: ClassScheme, split: Any = None) -> pd.DataFrame:
    """Return how many patches have each class.

    Args:
        labels: 1 where a patch has the class, 0 elsewhere (N, K).
        scheme: Names of the classes.
        split: Name of the split of each patch (N,); None for no columns by split.

    Returns:
        A row a class, the most frequent first: class, patches, share, and the patches of each split.
    """
    present = np.asarray(labels).astype(bool)
    table = pd.DataFrame(
        {"class": scheme.names, "patches": present.sum(axis=0), "share": present.mean(axis=0)}
    )
    if split is not None:
        names = np.asarray(split, str)
        for name in pd.unique(names):
            table[name] = present[names == name].sum(axis=0)
    return table.sort_values("patches", ascending=False, kind="stable").reset_index(drop=True)
