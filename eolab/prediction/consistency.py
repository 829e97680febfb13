"""Maps of several years made consistent: most changes of class from year to year are noise.

Each method turns the class probabilities of all years into one class a year and its probability.
Probabilities have the shape (year, K, …), NaN where a year has no data; such a pixel stays without a class.

- ``none``: the most probable class of each year alone.
- ``hmm``: a hidden Markov model. The ground is a chain of classes of which each keeps its class from year to
  year with a probability; the yearly probabilities are what is seen of it (Rabiner 1989,
  https://doi.org/10.1109/5.18626; for land cover Abercrombie and Friedl 2016,
  https://doi.org/10.1109/TGRS.2015.2463689).
- ``bilateral``: means over near pixels and years whose probabilities are alike (Tomasi and Manduchi 1998,
  https://doi.org/10.1109/ICCV.1998.710815).
- ``thresholds``: a change is accepted where the probabilities of a year differ from those before by more than
  a threshold of its direction, such as from forest to town; years without an accepted change have the class
  of their mean. It is in the manner of the European product CLCplus Backbone
  (https://land.copernicus.eu/en/products/clc-backbone); its own thresholds are not used here.

How much change a method lets through is a belief, which no probability tells: a model that learned from a
faulty map is as unsure of change as of all else. ``change`` states it as a share of the ground a year.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.data.schemes import IGNORE

FLOOR = 0.0025  # least probability of a class: whole percent round less than twice that to 0
ARROW = " > "  # between the classes of a direction
ROUNDS, SETTLED = 100, 1e-5  # most rounds of an estimate, and the change of the matrix that ends it
AT_ONCE = 2048
"""Pixels of a hidden Markov model whose arrays stay in the processor's cache: four times faster."""
HALVINGS = 16  # of the range in which a setting is looked for
SHARPEST = 50.0  # and 1 over the flattest: powers of the probabilities
Result = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Consistency:
    """A method with its settings; called with probabilities it returns classes and their probabilities.

    Attributes:
        name: A key of :data:`METHODS`.
        radius: Pixels around a place that its result depends on.
        table: What belongs to each direction (K, K), from in rows: probabilities or thresholds, or None.
        apply: See :func:`consistent`.
    """

    name: str
    radius: int
    table: pd.DataFrame | None
    apply: Callable[[np.ndarray], Result]

    def __call__(self, probability: np.ndarray) -> Result:
        """Return classes uint8 (year, …), 255 without data, and their probabilities float32 (year, …)."""
        return self.apply(probability)


def consistency(
    name: str, class_names: Sequence[str], sample: np.ndarray | None = None, **options: Any
) -> Consistency:
    """Return a method with its settings, those that are learned from a sample included.

    Args:
        name: ``none``, ``hmm``, ``bilateral`` or ``thresholds``.
        class_names: Names of the K classes.
        sample: Probabilities (year, K, n) of pixels of training ground, for settings that are learned: their
            truth is not needed.
        options: Settings of the method, see :func:`hmm`, :func:`bilateral` and :func:`thresholds`.

    Raises:
        ParameterError: If there is no such method or option, an option cannot be, or a sample is missing.
    """
    check_known(name, METHODS, f"There is no method {name!r}")
    make = METHODS[name]
    known = make.__code__.co_varnames[2 : make.__code__.co_argcount]
    for option in options:
        check_known(option, known, f"The method {name!r} has no option {option!r}")
    return make(list(class_names), sample, **options)


def direction_table(
    value: float, directions: Mapping[str, float], class_names: Sequence[str]
) -> pd.DataFrame:
    """Return a value for each direction (K, K), from in rows: the same for all but those that are named.

    Args:
        value: The value of all directions.
        directions: Values by direction, such as ``{"Conifers > Urban": 0.3}``; "*" stands for every class.
        class_names: Names of the K classes.

    Raises:
        ParameterError: If a direction does not name two classes.
    """
    names = list(class_names)
    table = pd.DataFrame(float(value), pd.Index(names, name="from"), names)
    for direction, own in directions.items():
        ends = direction.split(ARROW)
        if len(ends) != 2:
            raise ParameterError(f"The direction {direction!r} is not written as 'class{ARROW}class'.")
        for end in ends:
            check_known(end, [*names, "*"], f"The direction {direction!r} has the unknown class {end!r}")
        one, two = (names if end == "*" else [end] for end in ends)
        table.loc[one, two] = float(own)
    return table


def _seen(probability: np.ndarray) -> np.ndarray:
    """Return where a year has data (year, …)."""
    if probability.ndim < 3:
        raise DataError(f"Found probabilities of shape {probability.shape}: expected (year, class, …).")
    return np.isfinite(probability).all(axis=1)


def _chosen(probability: np.ndarray, seen: np.ndarray, classes: np.ndarray | None = None) -> Result:
    """Return classes, the most probable ones unless given, and their probabilities, where there are data."""
    filled = np.where(seen[:, None], probability, 0)
    best = filled.argmax(axis=1) if classes is None else classes
    found = np.take_along_axis(filled, best[:, None].astype(np.int64), axis=1)[:, 0]
    return np.where(seen, best, IGNORE).astype(np.uint8), np.where(seen, found, np.nan).astype(np.float32)


def none(class_names: list[str], sample: np.ndarray | None) -> Consistency:
    """Return the method that takes the most probable class of each year alone."""
    return Consistency("none", 0, None, lambda probability: _chosen(probability, _seen(probability)))


# === Hidden Markov model ===


def hmm(
    class_names: list[str],
    sample: np.ndarray | None,
    stay: float = 0.95,
    directions: Mapping[str, float] | None = None,
    change: float | None = None,
    estimate: bool = False,
    decode: Literal["path", "years"] = "path",
) -> Consistency:
    """Return the method of a hidden Markov model.

    Args:
        class_names: Names of the K classes.
        sample: Probabilities (year, K, n), for an estimate.
        stay: Probability that a class is the same a year later; the rest is shared by the other classes.
        directions: Yearly probabilities of single directions, see :func:`direction_table`.
        change: Share of the ground that is believed to change its class in a year: the probabilities are
            raised to the power with which as much changes in the sample. None to take them as they are.
        estimate: Whether all these are only where an estimate from the sample begins.
        decode: "path" for the most probable sequence of classes (Viterbi), "years" for the most probable
            class of each year given all years.

    Raises:
        ParameterError: If probabilities cannot be, or a sample is missing.
    """
    check_known(decode, ("path", "years"), f"There is no way {decode!r} to decode")
    K = len(class_names)
    if not 0 < stay < 1:
        raise ParameterError(f"stay is {stay}: give a probability between 0 and 1.")
    table = direction_table((1 - stay) / max(K - 1, 1), directions or {}, class_names)
    matrix = table.to_numpy(copy=True)
    np.fill_diagonal(matrix, 0)
    if matrix.min() < 0 or matrix.sum(axis=1).max() >= 1:
        raise ParameterError(
            "Yearly probabilities of the directions from one class must be 0 or more, below 1 in all."
        )
    np.fill_diagonal(matrix, 1 - matrix.sum(axis=1))
    if estimate:
        matrix = estimate_transitions(_needed(sample, "estimate"), matrix)

    def few(probability: np.ndarray, power: float) -> Result:
        smooth = forward_backward(probability, matrix, power)[0]
        path = viterbi(probability, matrix, power) if decode == "path" else None
        return _chosen(smooth, _seen(probability), path)

    def decoded(probability: np.ndarray, power: float) -> Result:
        flat, shape = probability.reshape(*probability.shape[:2], -1), _seen(probability).shape
        parts = [few(flat[..., k : k + AT_ONCE], power) for k in range(0, flat.shape[2], AT_ONCE)]
        classes, confidence = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
        return classes.reshape(shape), confidence.reshape(shape)

    power = 1.0
    if change is not None:
        drawn, ends = _needed(sample, "change"), (-math.log(SHARPEST), math.log(SHARPEST))
        power = math.exp(_set_by(change, lambda level: decoded(drawn, math.exp(level))[0], *ends))
    settings = pd.DataFrame(matrix, table.index, table.columns)
    return Consistency("hmm", 0, settings, lambda probability: decoded(probability, power))


def _set_by(change: float, map_with: Callable[[float], np.ndarray], least: float, most: float) -> float:
    """Return the level, between that of least and of most change, with which a share of a sample changes.

    Args:
        change: The share, a year.
        map_with: From a level to the classes (year, n) of the sample.
        least: The level with the least change.
        most: The level with the most change.
    """
    if not 0 < change < 1:
        raise ParameterError(f"change is {change}: give a share of the ground between 0 and 1.")
    for _ in range(HALVINGS):
        middle = (least + most) / 2
        classes = map_with(middle)
        both = (classes[1:] != IGNORE) & (classes[:-1] != IGNORE)
        if (classes[1:] != classes[:-1])[both].sum() > change * both.sum():
            most = middle
        else:
            least = middle
    return least


def _needed(sample: np.ndarray | None, option: str) -> np.ndarray:
    if sample is None or not _seen(sample).any():
        raise ParameterError(
            f"The option {option!r} is learned from pixels of training ground: give a sample."
        )
    return sample


def _evidence(probability: np.ndarray, power: float) -> np.ndarray:
    """Return what each year says of the classes, at most 1 (year, K, n) float64; 1 without data."""
    flat = np.asarray(probability, np.float64).reshape(*probability.shape[:2], -1)
    seen = _seen(flat)[:, None]
    filled = np.where(seen, np.maximum(flat, FLOOR), 1.0)
    return np.asarray((filled / filled.max(axis=1, keepdims=True)) ** power)


def forward_backward(
    probability: np.ndarray, matrix: np.ndarray, power: float = 1.0
) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the probability of each class in each year given all years.

    All classes are equally probable before the first year; probabilities are scaled in each year, so that
    none vanishes.

    Args:
        probability: (year, K, …), NaN where a year has no data: it then follows from the other years.
        matrix: Yearly transition probabilities (K, K), from in rows.
        power: Power that the probabilities are raised to.

    Returns:
        Probabilities (year, K, …); the expected number of transitions (K, K); the log-likelihood, up to what
        does not depend on the matrix.
    """
    evidence = _evidence(probability, power)
    years, K, n = evidence.shape
    ahead, scale = np.empty_like(evidence), np.empty((years, n))
    for t in range(years):
        prior = matrix.T @ ahead[t - 1] if t else np.full((K, n), 1 / K)
        ahead[t] = prior * evidence[t]
        scale[t] = ahead[t].sum(axis=0)
        ahead[t] /= scale[t]
    smooth, behind = ahead.copy(), np.ones((K, n))
    moved = np.zeros((K, K))
    for t in range(years - 1, 0, -1):
        weighted = evidence[t] * behind / scale[t]
        moved += matrix * (ahead[t - 1] @ weighted.T)
        behind = matrix @ weighted
        smooth[t - 1] *= behind
    return smooth.reshape(probability.shape), moved, float(np.log(scale).sum())


def viterbi(probability: np.ndarray, matrix: np.ndarray, power: float = 1.0) -> np.ndarray:
    """Return the most probable sequence of classes, int64 (year, …); arguments as of forward_backward."""
    evidence = power * np.log(_evidence(probability, 1.0))
    moves = np.log(np.maximum(matrix, np.finfo(float).tiny))
    years, K, n = evidence.shape
    best, origin = evidence[0], np.empty((years, K, n), np.uint8)
    for t in range(1, years):
        reached = np.empty((K, n))
        for k in range(K):
            ways = best + moves[:, k, None]  # (K, n)
            origin[t, k] = ways.argmax(axis=0)
            reached[k] = ways.max(axis=0)
        best = reached + evidence[t]
    path = np.empty((years, n), np.int64)
    path[-1] = best.argmax(axis=0)
    for t in range(years - 1, 0, -1):
        path[t - 1] = np.take_along_axis(origin[t], path[t][None], axis=0)[0]
    return path.reshape(probability.shape[0], *probability.shape[2:])


def estimate_transitions(sample: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Estimate yearly transition probabilities from probabilities alone (Baum and Welch; evidence is fixed).

    Args:
        sample: Probabilities (year, K, n).
        start: Transition probabilities (K, K) that the estimate begins with; a class that the sample lacks
            keeps them.

    Returns:
        Transition probabilities (K, K), rows sum to 1.
    """
    matrix = start
    for _ in range(ROUNDS):
        moved = forward_backward(sample, matrix)[1]
        total = moved.sum(axis=1, keepdims=True)
        found = np.where(total > 1, moved / np.maximum(total, 1), start)
        if np.abs(found - matrix).max() < SETTLED:
            return found
        matrix = found
    return matrix


# === Bilateral filter ===


def bilateral(
    class_names: list[str],
    sample: np.ndarray | None,
    radius: int = 1,
    space: float = 1.0,
    time: float = 1.0,
    similarity: float = 0.5,
) -> Consistency:
    """Return the method of a bilateral filter over pixels and years.

    Args:
        class_names: Names of the classes.
        sample: Not used.
        radius: Pixels on each side that count; 0 for years alone.
        space: Standard deviation of the weights by distance, pixels.
        time: Standard deviation of the weights by distance, years.
        similarity: Standard deviation of the weights by the distance of two probability vectors, 0 to 1.

    Raises:
        ParameterError: If a setting cannot be.
    """
    if radius < 0 or min(space, time, similarity) <= 0:
        raise ParameterError("The bilateral filter needs a radius of 0 or more and positive deviations.")

    def apply(probability: np.ndarray) -> Result:
        mean = bilateral_mean(probability, radius, space, time, similarity)
        return _chosen(mean, _seen(probability))

    return Consistency("bilateral", radius, None, apply)


def distance(one: np.ndarray, two: np.ndarray, axis: int = 0) -> np.ndarray:
    """Return the Euclidean distance of probability vectors, divided by √2: 1 between two certain classes."""
    return np.sqrt(np.square(one - two).sum(axis=axis) / 2)


def bilateral_mean(
    probability: np.ndarray, radius: int, space: float, time: float, similarity: float
) -> np.ndarray:
    """Return weighted means of probabilities over near pixels and years that are alike.

    The weight of a pixel is a product of three Gaussians: of its distance in pixels, in years, and of that
    of its probabilities.

    Args:
        probability: (year, K, y, x), NaN where there are no data.
        radius: See :func:`bilateral`, and so on.
        space: Standard deviation, pixels.
        time: Standard deviation, years.
        similarity: Standard deviation, of :func:`distance`.

    Returns:
        float32 (year, K, y, x), NaN where there are no data.
    """
    seen = _seen(probability)
    years, _, height, width = probability.shape
    values = np.where(seen[:, None], probability, 0).astype(np.float32)
    total, weight = values.copy(), seen.astype(np.float32)  # each pixel with itself
    steps = range(-radius, radius + 1)
    offsets = [(t, y, x) for t in range(years) for y in steps for x in steps if (t, y, x) > (0, 0, 0)]
    for t, y, x in offsets:  # each pair of pixels once
        if abs(y) >= height or abs(x) >= width:
            continue
        near = -(y * y + x * x) / (2 * space**2) - t * t / (2 * time**2)
        rows, cols = (
            (slice(max(-d, 0), n - max(d, 0)), slice(max(d, 0), n + min(d, 0)))
            for d, n in ((y, height), (x, width))
        )
        for year in range(years - t):
            here, there = (year, slice(None), rows[0], cols[0]), (year + t, slice(None), rows[1], cols[1])
            squared = np.square(values[here] - values[there]).sum(axis=0) / 2
            shares = np.exp(near - squared / (2 * similarity**2))
            shares *= seen[here[0], here[2], here[3]] & seen[there[0], there[2], there[3]]
            for one, two in ((here, there), (there, here)):
                total[one] += shares * values[two]
                weight[one[0], one[2], one[3]] += shares
    return np.where(seen[:, None], total / np.where(seen, weight, 1)[:, None], np.nan)


# === Thresholds by direction ===


def thresholds(
    class_names: list[str],
    sample: np.ndarray | None,
    threshold: float = 0.5,
    directions: Mapping[str, float] | None = None,
    change: float | None = None,
    max_change: float | None = None,
) -> Consistency:
    """Return the method that accepts a change where the probabilities of a year differ enough from before.

    Args:
        class_names: Names of the K classes.
        sample: Probabilities (year, K, n), where thresholds are chosen.
        threshold: Least :func:`distance` of an accepted change, 0 to 1.
        directions: Thresholds of single directions, see :func:`direction_table`; 1 and more accept none.
        change: Share of the ground that is believed to change its class in a year: the threshold becomes the
            one with which as much changes in the sample. None to take it as it is.
        max_change: The largest share of a class that is believed to turn into one other class in a year:
            thresholds of directions that are not named are raised until no more differs in the sample. None
            to leave them.

    Raises:
        ParameterError: If a threshold cannot be, or a sample is missing.
    """
    if threshold < 0 or (max_change is not None and not 0 <= max_change <= 1):
        raise ParameterError("Thresholds are 0 or more, and max_change is a share from 0 to 1.")
    named = (direction_table(0, dict.fromkeys(directions or {}, 1.0), class_names) > 0).to_numpy()
    own, least = direction_table(0, directions or {}, class_names), np.zeros(named.shape)
    if max_change is not None:
        least = choose_thresholds(_needed(sample, "max_change"), max_change)

    def limits(common: float) -> np.ndarray:
        return np.where(named, own, np.maximum(common, least))

    if change is not None:
        drawn = _needed(sample, "change")
        threshold = _set_by(change, lambda level: accepted(drawn, limits(level))[0], 1.0, 0.0)
    table = pd.DataFrame(limits(threshold), own.index, own.columns)
    return Consistency("thresholds", 0, table, lambda values: accepted(values, table.to_numpy()))


def accepted(probability: np.ndarray, limits: np.ndarray) -> Result:
    """Return the classes of each year with those changes alone that are large enough.

    The years of a pixel are cut where the most probable class differs from that of the mean of the years
    since the last cut, and the distance of both is above the threshold of the direction. The years between
    two cuts have the class of their mean, and its mean probability.

    Args:
        probability: (year, K, …), NaN where a year has no data.
        limits: Thresholds (K, K), from in rows.
    """
    seen = _seen(probability)
    flat = np.where(seen[:, None], probability, 0).reshape(*probability.shape[:2], -1)
    known = seen.reshape(len(flat), -1)
    total, count = np.zeros_like(flat[0]), np.zeros(flat.shape[2], np.int64)  # since the last cut
    part = np.zeros(known.shape, np.int64)  # number of the cuts before
    means = []
    for t, values in enumerate(flat):
        mean = total / np.maximum(count, 1)
        before, now = mean.argmax(axis=0), values.argmax(axis=0)
        far = distance(values, mean) > limits[before, now]
        cut = known[t] & (count > 0) & (before != now) & far
        part[t] = (part[t - 1] if t else 0) + cut
        total, count = np.where(cut, 0, total) + values, np.where(cut, 0, count) + known[t]
        means.append(total / np.maximum(count, 1))
    for t in range(len(flat) - 2, -1, -1):  # the last mean of a part is that of all its years
        means[t] = np.where(part[t] == part[t + 1], means[t + 1], means[t])
    return _chosen(np.stack(means).reshape(probability.shape), seen)


def choose_thresholds(sample: np.ndarray, max_change: float) -> np.ndarray:
    """Return the least thresholds (K, K) with which at most a share of each class changes in each direction.

    Args:
        sample: Probabilities (year, K, n).
        max_change: Largest share of the pixels of a class that turn into another class in a year.

    Returns:
        Thresholds, 0 where fewer change anyway.
    """
    seen = _seen(sample)
    predicted = np.where(seen[:, None], sample, 0).argmax(axis=1)
    both = seen[1:] & seen[:-1]
    far = distance(sample[1:], sample[:-1], axis=1)[both]
    one, two = predicted[:-1][both], predicted[1:][both]
    K = sample.shape[1]
    found = np.zeros((K, K))
    for k in range(K):
        allowed = int(max_change * (one == k).sum())
        for other in set(range(K)) - {k}:
            distances = np.sort(far[(one == k) & (two == other)])
            if len(distances) > allowed:
                found[k, other] = distances[len(distances) - allowed - 1]  # no change but those beyond it
    return found


METHODS: dict[str, Callable[..., Consistency]] = {
    "none": none,
    "hmm": hmm,
    "bilateral": bilateral,
    "thresholds": thresholds,
}
