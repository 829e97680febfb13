"""A value a sample or a pixel: errors, explained variance, rank correlation and continuous IoU."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import check_all
from eolab.evaluation import bootstrap
from eolab.evaluation.bootstrap import Groups
from eolab.evaluation.metrics import check_finite, check_shapes

STATISTICS = ("mse", "mae", "r2", "spearman", "iou")


class Values:
    """Predicted values against the true ones; see :class:`eolab.evaluation.bootstrap.Evaluated`.

    ============ ==========================================================================================
    all.mse      mean squared error
    all.mae      mean absolute error
    all.r2       1 − Σ (y − ŷ)² / Σ (y − mean y)²
    all.spearman correlation of the ranks; in replicates the ranks stay those among all samples
    all.iou      Σ min(y, ŷ) / Σ max(y, ŷ) of values that are not negative; NaN where one is
    ============ ==========================================================================================

    Args:
        truth: True values (N, …), NaN = not known.
        prediction: Predicted values of the same shape.
        groups: Group of each sample (N,); None for each sample, with all its pixels, on its own.

    Raises:
        DataError: If shapes differ, nothing is known, or a prediction is not finite where the truth is known.
    """

    default = tuple(f"all.{name}" for name in STATISTICS)

    def __init__(self, truth: Any, prediction: Any, groups: Any = None) -> None:
        true, found = np.asarray(truth), np.asarray(prediction)
        check_shapes("the same shape", truth=true, prediction=found)
        known = np.isfinite(true)
        check_finite(found[known])
        grouped = Groups(groups, known.reshape(len(true), -1).any(axis=1))
        self.n, self.weights = len(grouped.member), grouped.weights
        place = np.full(len(true), -1)
        place[known.reshape(len(true), -1).any(axis=1)] = grouped.member
        member = np.broadcast_to(place.reshape(-1, *[1] * (true.ndim - 1)), true.shape)[known]
        y, p = true[known].astype(np.float64), found[known].astype(np.float64)
        self._negative = bool(min(y.min(), p.min()) < 0)
        y0 = y - y.mean()
        ranks = [pd.Series(values).rank().to_numpy() - (len(y) + 1) / 2 for values in (y, p)]
        columns = {
            "one": np.ones(len(y)),
            **{"square": (y - p) ** 2, "absolute": np.abs(y - p), "y": y0, "yy": y0**2},
            **{"a": ranks[0], "b": ranks[1], "aa": ranks[0] ** 2, "bb": ranks[1] ** 2},
            **{"ab": ranks[0] * ranks[1], "min": np.minimum(y, p), "max": np.maximum(y, p)},
        }
        self._sums = {
            name: np.bincount(member, values, len(self.weights)) for name, values in columns.items()
        }
        self.key = bootstrap.key_of(self._sums["one"], self._sums["y"])

    def n_groups(self, name: str) -> int:
        """See :class:`eolab.evaluation.bootstrap.Evaluated`."""
        return len(self.weights)

    def values(self, names: Sequence[str], draws: np.ndarray | None = None) -> dict[str, np.ndarray]:
        """See :class:`eolab.evaluation.bootstrap.Evaluated`."""
        check_all(names, self.default, "There is no statistic")
        chosen = self.weights[None] if draws is None else draws
        s = {name: chosen @ sums for name, sums in self._sums.items()}
        with np.errstate(all="ignore"):
            covariance = s["ab"] - s["a"] * s["b"] / s["one"]
            spread = [s[2 * key] - s[key] ** 2 / s["one"] for key in ("a", "b")]
            found = {
                "all.mse": s["square"] / s["one"],
                "all.mae": s["absolute"] / s["one"],
                "all.r2": 1 - s["square"] / (s["yy"] - s["y"] ** 2 / s["one"]),
                "all.spearman": covariance / np.sqrt(spread[0] * spread[1]),
                "all.iou": s["min"] / s["max"] if not self._negative else np.full(len(chosen), np.nan),
            }
        return {name: np.where(np.isfinite(found[name]), found[name], np.nan) for name in names}
