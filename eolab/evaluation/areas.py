"""Accuracy and class areas of a map from a stratified random sample, with standard errors and intervals.

Pixels counted in a map are no estimate of areas: errors of the map do not cancel. A sample with reference
classes, weighted by the share of the map that each stratum has, gives unbiased areas and accuracies (Olofsson
et al. 2014, https://doi.org/10.1016/j.rse.2014.02.015). The estimators here are those of Stehman (2014,
https://doi.org/10.1080/01431161.2014.930207), which hold for strata other than the map classes too; where the
strata are the map classes they are the same as those of Olofsson et al.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.evaluation.bootstrap import Interval

RULES = ("proportional", "equal")
Z = float(stats.norm.ppf(0.975))
"""Standard errors in half of a 95 % interval."""


class Assessment(NamedTuple):
    """What a stratified sample says of a map.

    Attributes:
        overall: Overall accuracy with its interval.
        overall_se: Its standard error.
        matrix: Share of the map's area by map class (rows) and reference class (columns), (K, K).
        classes: A row a class: class, n_mapped and n_reference (points), users and producers (accuracy) and
            area_share with ``_se``, ``_low`` and ``_high``, and mapped_share where the strata are the map
            classes. Accuracies are NaN where no point has the class.
    """

    overall: Interval
    overall_se: float
    matrix: np.ndarray
    classes: pd.DataFrame


def assess(
    mapped: Any,
    truth: Any,
    sizes: Any,
    names: Sequence[str],
    stratum: Any = None,
    level: float = 0.95,
    finite: bool = True,
) -> Assessment:
    """Estimate accuracies and class areas from a stratified random sample.

    Args:
        mapped: Map class of each point, index 0 to K - 1, (n,).
        truth: Reference class of each point, likewise.
        sizes: Pixels (or area) of each stratum (H,); 0 for a stratum that is not in the map.
        names: Names of the K classes.
        stratum: Stratum of each point, 0 to H - 1; the map class unless given.
        level: Level of the intervals, which are normal ones: estimate ± 1.96 standard errors at 0.95.
        finite: Whether variances are lessened by the share of each stratum that was sampled, for which sizes
            must be pixels. Olofsson et al. leave that out.

    Raises:
        DataError: If points are of unknown classes or strata, or a stratum has fewer than two points.
    """
    of_map = stratum is None
    mapped, truth = (_indices(values, len(names), "class") for values in (mapped, truth))
    sample = Sample(mapped if of_map else stratum, sizes, finite)
    pairs = np.arange(len(names))
    is_mapped, is_reference = mapped[:, None] == pairs, truth[:, None] == pairs  # (n, K)
    right, everywhere = mapped == truth, np.ones(len(mapped))
    overall, overall_se = (one[0] for one in sample.ratio(right, everywhere))
    table = pd.DataFrame({"class": list(names)})
    table["n_mapped"], table["n_reference"] = is_mapped.sum(axis=0), is_reference.sum(axis=0)
    if of_map:
        table["mapped_share"] = sample.weights
    both = is_mapped & is_reference
    for column, over, under in (
        ("users", both, is_mapped),
        ("producers", both, is_reference),
        ("area_share", is_reference, everywhere),
    ):
        value, se = sample.ratio(over, under)
        low, high = limits(value, se, level)
        table[column], table[f"{column}_se"] = value, se
        table[f"{column}_low"], table[f"{column}_high"] = low, high
    cells = (is_mapped[:, :, None] & is_reference[:, None, :]).reshape(len(mapped), -1)
    matrix = sample.ratio(cells, everywhere)[0].reshape(len(names), len(names))
    ends = limits(overall, overall_se, level)
    interval = Interval(float(overall), float(ends[0]), float(ends[1]))
    return Assessment(interval, float(overall_se), matrix, table)


class Sample:
    """A stratified random sample: shares of the map and their standard errors.

    Args:
        stratum: Stratum of each point, 0 to H - 1, (n,).
        sizes: Pixels of each stratum (H,).
        finite: Whether variances are lessened by the sampled share of each stratum.

    Raises:
        DataError: If a stratum is unknown, or one with pixels has too few points for a variance.
    """

    def __init__(self, stratum: Any, sizes: Any, finite: bool = True) -> None:
        self.sizes = np.asarray(sizes, float)
        self.stratum = _indices(stratum, len(self.sizes), "stratum")
        self.counts = np.bincount(self.stratum, minlength=len(self.sizes))
        few = np.flatnonzero((self.sizes > 0) & (self.counts < 2) & (self.counts < self.sizes))
        if len(few):
            raise DataError(
                f"Stratum {few[0]} has {self.counts[few[0]]} points with a reference class, expected 2 or "
                f"more in each of {np.count_nonzero(self.sizes > 0)} strata: interpret more points there, or "
                "merge strata."
            )
        if (self.sizes[self.stratum] <= 0).any():
            raise DataError("Points lie in a stratum of size 0: give the sizes of the map that was sampled.")
        self.weights = self.sizes / self.sizes.sum()
        left = 1 - self.counts / np.maximum(self.sizes, 1) if finite else np.ones(len(self.sizes))
        self._factor = np.divide(
            self.weights**2 * left, self.counts, out=np.zeros(len(left)), where=self.counts > 0
        )

    def ratio(self, over: Any, under: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the ratio of two totals over the map and its standard error (Stehman 2014, eqs. 23 to 28).

        Args:
            over: Values of each point (n,) or (n, K), such as whether it is right and of a class.
            under: Values (n,) or (n, K), such as whether it is of the class; ones for a share of the map.

        Returns:
            Two arrays (K,); NaN where no point counts below the line.
        """
        y, x = (np.asarray(values, float).reshape(len(self.stratum), -1) for values in (over, under))
        y, x = np.broadcast_arrays(y, x)
        above, below = (self.weights @ self._means(values) for values in (y, x))
        value = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
        rest = y - np.where(np.isnan(value), 0, value) * x  # its variance is s²y + R² s²x − 2R sxy
        spread = rest - self._means(rest)[self.stratum]
        variance = self._sums(spread**2) / np.maximum(self.counts - 1, 1)[:, None]  # (H, K)
        with np.errstate(invalid="ignore", divide="ignore"):
            return value, np.sqrt(self._factor @ variance) / np.where(below > 0, below, np.nan)

    def _means(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of values (n, K) in each stratum, (H, K)."""
        return self._sums(values) / np.maximum(self.counts, 1)[:, None]

    def _sums(self, values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(self.stratum, column, len(self.sizes)) for column in values.T], axis=1)


def limits(value: Any, se: Any, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of normal intervals of shares, within 0 and 1.

    A standard error of 0 means that all points of each stratum agree, not that the share is known: there the
    ends are NaN.
    """
    value, se = np.asarray(value, float), np.asarray(se, float)
    half = np.where(se > 0, stats.norm.ppf((1 + level) / 2) * se, np.nan)
    return np.clip(value - half, 0, 1), np.clip(value + half, 0, 1)


def by_bins(
    values: Any, edges: Sequence[float], right: Any, sample: Sample, level: float = 0.95
) -> pd.DataFrame:
    """Estimate the accuracy of a map in classes of some quantity, such as the distance to training samples.

    Args:
        values: The quantity at each point (n,).
        edges: Ascending lower ends of the classes; the last class is open.
        right: Whether map and reference agree at each point (n,).
        sample: The sample that the points are.
        level: Level of the intervals.

    Returns:
        A row a class: low_edge, high_edge, n (points), map_share (share of the map), accuracy, se, low, high.

    Raises:
        ParameterError: If the edges do not ascend, or values lie below the first.
    """
    values, ends = np.asarray(values, float), np.asarray(edges, float)
    if not len(ends) or (np.diff(ends) <= 0).any() or not (values >= ends[0]).all():
        raise ParameterError(
            f"edges is {list(edges)}: expected ascending numbers, none of the values (from "
            f"{np.min(values):g}) below the first."
        )
    inside = np.searchsorted(ends, values, side="right")[:, None] - 1 == np.arange(len(ends))  # (n, bins)
    accuracy, se = sample.ratio(inside & np.asarray(right, bool)[:, None], inside)
    low, high = limits(accuracy, se, level)
    return pd.DataFrame(
        {
            "low_edge": ends,
            "high_edge": np.append(ends[1:], np.inf),
            "n": inside.sum(axis=0),
            "map_share": sample.ratio(inside, np.ones(len(values)))[0],
            "accuracy": accuracy,
            "se": se,
            "low": low,
            "high": high,
        }
    )


# === Design of a sample ===


def sample_size(sizes: Any, proportions: Any, se: float, shares: Any = None) -> int:
    """Return how many points give a share of the map with a wanted standard error.

    Args:
        sizes: Pixels of each stratum (H,).
        proportions: Expected proportion in each stratum (H,): of right pixels for overall accuracy, of pixels
            that truly are of a class for its area.
        se: Wanted standard error of the share of the map, such as 0.01; a half-width of a 95 % interval is
            1.96 of it.
        shares: Share of the points that each stratum gets (H,); the optimal ones, W·S, unless given, as in
            Cochran (1977, eq. 5.25) and Olofsson et al. (2014, eq. 13).

    Raises:
        ParameterError: If a number is out of its range, or a stratum that is needed gets no points.
    """
    sizes, proportions = np.asarray(sizes, float), np.asarray(proportions, float)
    if not se > 0 or not ((proportions >= 0) & (proportions <= 1)).all() or not sizes.sum() > 0:
        raise ParameterError(
            f"se is {se}, proportions {proportions}: expected se above 0, proportions 0 to 1."
        )
    weights, variance = sizes / sizes.sum(), proportions * (1 - proportions)
    spread = weights * np.sqrt(variance)
    given = spread if shares is None else np.asarray(shares, float)
    if (given[spread > 0] <= 0).any():
        raise ParameterError("A stratum with errors to be expected gets no points: give it a share above 0.")
    if not spread.any():
        return 2 * int(np.count_nonzero(sizes))
    used = spread > 0
    whole = (spread[used] ** 2 / (given[used] / given.sum())).sum()  # n times the variance
    return int(np.ceil(whole / (se**2 + (weights * variance).sum() / sizes.sum()) - 1e-9))


def allocate(
    sizes: Any, n: int, rule: Literal["proportional", "equal"] = "proportional", minimum: int = 0
) -> np.ndarray:
    """Share points among strata.

    Args:
        sizes: Pixels of each stratum (H,).
        n: Number of points.
        rule: "proportional" to the sizes, or "equal".
        minimum: Least points of a stratum, which rare classes need for an accuracy of their own; the rest is
            shared by the rule (Olofsson et al. 2014, section 5.1.1). A smaller stratum is sampled whole.

    Returns:
        Points of each stratum (H,), n together unless the map has fewer pixels.

    Raises:
        ParameterError: If n is too small for the minimum.
    """
    check_known(rule, RULES, f"There is no rule {rule!r} to share points")
    most = np.asarray(sizes, np.int64)
    least = np.minimum(minimum, most)
    if least.sum() > n:
        raise ParameterError(
            f"n is {n}, but {np.count_nonzero(most)} strata with {minimum} points each need {least.sum()}: "
            "take more points or a smaller minimum."
        )
    n = min(int(n), int(most.sum()))
    shares = (most if rule == "proportional" else most > 0).astype(float)

    def wanted(factor: float) -> np.ndarray:
        return np.clip(factor * shares, least, most)

    top = most.max() / shares[shares > 0].min()
    factor = optimize.brentq(lambda factor: wanted(factor).sum() - n, 0, top, xtol=1e-12)
    exact = wanted(float(factor))
    points = np.floor(exact + 1e-6).astype(np.int64)
    order = np.argsort(-(exact - points), kind="stable")
    order = order[points[order] < most[order]]
    points[order[: n - points.sum()]] += 1
    return points


def expected_matrix(sizes: Any, accuracy: Any) -> np.ndarray:
    """Return the share of each reference class (columns) to expect in each map class (rows), (K, K).

    Args:
        sizes: Pixels of each map class (K,).
        accuracy: Expected user's accuracy of each class (K,) or of all. Errors are taken to fall on the other
            classes in proportion to their sizes.
    """
    weights = np.asarray(sizes, float) / np.sum(sizes)
    right = np.broadcast_to(np.asarray(accuracy, float), weights.shape)
    others = np.tile(weights, (len(weights), 1)) * (1 - np.eye(len(weights)))
    others /= np.maximum(others.sum(axis=1, keepdims=True), 1e-12)
    return np.asarray(others * (1 - right)[:, None] + np.diag(right))


def expected_errors(sizes: Any, points: Any, matrix: Any) -> tuple[pd.DataFrame, float]:
    """Return the standard errors to expect of a design, before any point is interpreted.

    Args:
        sizes: Pixels of each map class (K,), which are the strata.
        points: Points of each (K,).
        matrix: Expected share of each reference class in each map class, see :func:`expected_matrix`.

    Returns:
        A row a class: points, users_se, area_share (expected), area_share_se; and the standard error of the
        overall accuracy.
    """
    weights, matrix = np.asarray(sizes, float) / np.sum(sizes), np.asarray(matrix, float)
    variance = matrix * (1 - matrix) / np.maximum(np.asarray(points, float), 1)[:, None]
    table = pd.DataFrame({"points": np.asarray(points), "users_se": np.sqrt(np.diag(variance))})
    table["area_share"] = weights @ matrix
    table["area_share_se"] = np.sqrt(weights**2 @ variance)
    return table, float(np.sqrt(weights**2 @ np.diag(variance)))


def _indices(values: Any, count: int, what: str) -> np.ndarray:
    found = np.asarray(values)
    if found.ndim != 1 or not len(found) or found.dtype.kind not in "iub":
        raise DataError(f"Expected a {what} index of each point, found an array {found.shape} {found.dtype}.")
    if found.min() < 0 or found.max() >= count:
        raise DataError(
            f"Points have the {what} index {found.min()} to {found.max()}, expected 0 to {count - 1}: leave "
            "out points without a class."
        )
    return found.astype(np.int64)
