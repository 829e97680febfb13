"""Labels against the truth: what share of them is wrong, all in all and by class."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.evaluation.tables import score_table


def wrong_labels(
    subsets: Mapping[str, Any],
    labels: Any,
    truth: Any,
    class_names: Sequence[str],
    groups: Any,
    **options: Any,
) -> pd.DataFrame:
    """Return the share of wrong labels in subsets of the samples, such as those kept after each step.

    Args:
        subsets: By name, which samples count (N,), bool.
        labels: Given class indices (N,).
        truth: True class indices (N,), 255 = not known, which counts nowhere.
        class_names: Names of the K classes.
        groups: Group of each sample (N,), drawn as a whole for the intervals.
        **options: ``replicates`` and ``seed`` of :func:`eolab.evaluation.score_table`.

    Returns:
        A row a subset and class, "all" and then each given label that occurs: samples with a known truth,
        wrong with its 95 % interval low to high, the number of groups.
    """
    labels, truth, groups = (np.asarray(values) for values in (labels, truth, groups))
    rows = []
    for name, chosen in subsets.items():
        at = np.asarray(chosen, bool) & (truth < len(class_names))
        counts = np.bincount(labels[at], minlength=len(class_names))
        scores = score_table(
            {name: labels[at]},
            truth[at],
            class_names=class_names,
            statistics=["all.accuracy", "class.precision"],
            groups=groups[at],
            **options,
        )
        for row in scores.to_dict("records"):
            scope = row["scope"]
            n = int(at.sum() if scope == "all" else counts[class_names.index(scope)])
            if n:
                ends = (1 - row[key] for key in ("value", "high", "low"))
                rows.append((name, scope, n, *ends, row["n_groups"]))
    return pd.DataFrame(rows, columns=["step", "class", "samples", "wrong", "low", "high", "groups"])
