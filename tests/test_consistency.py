"""Consistent maps of several years: enumeration of all sequences, plain loops, worked examples."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from eolab.core.errors import DataError, ParameterError
from eolab.prediction import consistency as consistent

NAMES = ["Wood", "Field", "Town"]


def probabilities(years: int = 4, *shape: int, seed: int = 0, gaps: float = 0.2) -> np.ndarray:
    """Random probabilities (year, 3, …), NaN in some years."""
    rng = np.random.default_rng(seed)
    values = np.moveaxis(rng.dirichlet([0.6] * 3, (years, *shape)), -1, 1)
    values = np.maximum(values, consistent.FLOOR)
    values /= values.sum(axis=1, keepdims=True)
    return np.where(rng.random((years, 1, *shape)) < gaps, np.nan, values)


def every_sequence(pixel: np.ndarray, matrix: np.ndarray, power: float) -> dict[tuple[int, ...], float]:
    """Return the joint probability of each sequence of classes and what was seen (year, K), NaN unseen."""
    found = {}
    for path in itertools.product(range(3), repeat=len(pixel)):
        chance = 1 / 3
        for one, two in itertools.pairwise(path):
            chance *= matrix[one, two]
        for seen, k in zip(pixel, path, strict=True):
            evidence = max(seen[k], consistent.FLOOR) / seen.max()
            chance *= 1 if np.isnan(seen).any() else evidence**power
        found[path] = chance
    return found


MATRIX = np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.02, 0.03, 0.95]])


@pytest.mark.parametrize("power", [1.0, 2.5])
def test_smoothing_equals_the_sum_over_every_sequence(power):
    values = probabilities(4, 30)
    smooth, moved, likelihood = consistent.forward_backward(values, MATRIX, power)
    total, moves = 0.0, np.zeros((3, 3))
    for n in range(30):
        paths = every_sequence(values[:, :, n], MATRIX, power)
        seen = sum(paths.values())
        total += np.log(seen)
        for year in range(4):
            for k in range(3):
                share = sum(chance for path, chance in paths.items() if path[year] == k) / seen
                assert smooth[year, k, n] == pytest.approx(share)
        for path, chance in paths.items():
            for one, two in itertools.pairwise(path):
                moves[one, two] += chance / seen
    assert likelihood == pytest.approx(total)
    assert moved == pytest.approx(moves)


@pytest.mark.parametrize("power", [0.4, 1.0, 3.0])
def test_the_path_is_the_best_of_every_sequence(power):
    values = probabilities(4, 6, 5)
    path = consistent.viterbi(values, MATRIX, power)
    for y, x in np.ndindex(6, 5):
        paths = every_sequence(values[:, :, y, x], MATRIX, power)
        assert paths[tuple(path[:, y, x])] == pytest.approx(max(paths.values()))


def test_a_single_odd_year_is_noise_and_a_lasting_change_is_not():
    wood, town = [0.9, 0.05, 0.05], [0.05, 0.05, 0.9]
    values = np.array([[wood, town, wood, wood], [wood, wood, town, town]]).transpose(1, 2, 0)  # (4, 3, 2)
    for options in ({}, {"decode": "years"}, {"stay": 0.99}):
        classes, confidence = consistent.consistency("hmm", NAMES, **options)(values)
        assert classes.T.tolist() == [[0, 0, 0, 0], [0, 0, 2, 2]]
        assert (confidence > 0.5).all()


def test_directions_make_one_change_easier_than_another():
    values = np.array([[[0.9, 0.1, 0.0]], [[0.2, 0.8, 0.0]]]).transpose(0, 2, 1)  # Wood, then Field
    held = consistent.consistency("hmm", NAMES, stay=0.98)
    free = consistent.consistency("hmm", NAMES, stay=0.98, directions={"Wood > Field": 0.4})
    assert held(values)[0].ravel().tolist() == [0, 0]
    assert free(values)[0].ravel().tolist() == [0, 1]
    assert free.table.loc["Wood"].tolist() == pytest.approx([0.59, 0.4, 0.01])
    assert free.table.sum(axis=1).tolist() == pytest.approx([1, 1, 1])


def test_transitions_are_estimated_from_noisy_predictions():
    """The estimate is near the truth, far nearer than counts of predicted classes, and no step is worse."""
    rng = np.random.default_rng(1)
    true = np.zeros((4, 40_000), int)
    true[0] = rng.integers(0, 3, true.shape[1])
    for year in range(1, 4):
        true[year] = (rng.random(true.shape[1])[:, None] > MATRIX[true[year - 1]].cumsum(axis=1)).sum(axis=1)
    kept = rng.random(true.shape) < 0.8
    seen = np.where(kept, true, (true + rng.integers(1, 3, true.shape)) % 3)
    sample = np.where(np.arange(3)[None, :, None] == seen[:, None], 0.8, 0.1)  # calibrated
    start = np.full((3, 3), 0.1) + 0.7 * np.eye(3)
    found = consistent.estimate_transitions(sample, start)
    assert found.sum(axis=1) == pytest.approx(np.ones(3))
    assert np.abs(found - MATRIX).max() < 0.03
    counted = np.zeros((3, 3))
    np.add.at(counted, (seen[:-1], seen[1:]), 1)
    counted /= counted.sum(axis=1, keepdims=True)
    assert np.abs(counted - MATRIX).max() > 0.15
    likelihood = [consistent.forward_backward(sample, matrix)[2] for matrix in (start, found)]
    assert likelihood[1] > likelihood[0]


def loop_of_means(values, radius, space, time, similarity):
    years, _, height, width = values.shape
    found = np.full(values.shape, np.nan)
    for t, y, x in np.ndindex(years, height, width):
        if np.isnan(values[t, :, y, x]).any():
            continue
        total, weight = 0.0, 0.0
        for s, i, j in np.ndindex(years, height, width):
            if max(abs(i - y), abs(j - x)) > radius or np.isnan(values[s, :, i, j]).any():
                continue
            apart = np.sum((values[t, :, y, x] - values[s, :, i, j]) ** 2) / 2
            share = np.exp(-((i - y) ** 2 + (j - x) ** 2) / (2 * space**2))
            share *= np.exp(-((s - t) ** 2) / (2 * time**2)) * np.exp(-apart / (2 * similarity**2))
            total, weight = total + share * values[s, :, i, j], weight + share
        found[t, :, y, x] = total / weight
    return found


@pytest.mark.parametrize(("radius", "shape"), [(2, (5, 7)), (0, (3, 2)), (3, (2, 4))])
def test_bilateral_means_equal_plain_loops(radius, shape):
    values = probabilities(3, *shape)
    settings = (radius, 1.3, 0.8, 0.4)
    assert consistent.bilateral_mean(values, *settings) == pytest.approx(
        loop_of_means(values, *settings), nan_ok=True, rel=1e-5
    )


def test_bilateral_means_of_a_block_need_its_rim_alone():
    values = probabilities(3, 12, 12)
    method = consistent.consistency("bilateral", NAMES, radius=2)
    whole, part = method(values)[0], method(values[:, :, 1:11, 2:12])[0]
    assert method.radius == 2
    np.testing.assert_array_equal(part[:, 2:-2, 2:-2], whole[:, 3:9, 4:10])


def test_thresholds_worked_example():
    """Distances from the mean of the years since the last accepted change decide."""
    values = np.array([[0.9, 0.1, 0], [0.2, 0.8, 0], [0.6, 0.4, 0], [0, 0.2, 0.8]])[..., None]

    def mapped(**options):
        classes, confidence = consistent.consistency("thresholds", NAMES, **options)(values)
        return classes.ravel().tolist(), confidence.ravel().tolist()

    assert consistent.distance(values[0], values[1]) == pytest.approx(0.7)
    assert consistent.distance(values[1:3].mean(axis=0), values[3]) == pytest.approx(np.sqrt(0.48))
    assert mapped(threshold=0.6) == ([0, 1, 1, 2], pytest.approx([0.9, 0.6, 0.6, 0.8]))
    assert mapped(threshold=0.3) == ([0, 1, 0, 2], pytest.approx([0.9, 0.8, 0.6, 0.8]))
    assert mapped(threshold=0.6, directions={"* > Town": 1.0})[0] == [0, 1, 1, 1]
    assert mapped(threshold=1.0) == ([0, 0, 0, 0], pytest.approx([0.425] * 4))


def loop_of_cuts(pixel: np.ndarray, limits: np.ndarray) -> list[int]:
    parts: list[list[int]] = []
    for t, values in enumerate(pixel):
        if np.isnan(values).any():
            continue
        mean = pixel[parts[-1]].mean(axis=0) if parts else values
        a, b = mean.argmax(), values.argmax()
        if not parts or (a != b and np.sqrt(np.sum((values - mean) ** 2) / 2) > limits[a, b]):
            parts.append([])
        parts[-1].append(t)
    found = np.full(len(pixel), 255)
    for part in parts:
        found[part] = pixel[part].mean(axis=0).argmax()
    return found.tolist()


def test_accepted_changes_equal_a_plain_loop():
    values, limits = probabilities(5, 300), np.random.default_rng(3).uniform(0.2, 0.8, (3, 3))
    expected = [loop_of_cuts(values[:, :, n], limits) for n in range(300)]
    assert consistent.accepted(values, limits)[0].T.tolist() == expected
    assert {len({*one} - {255}) for one in expected} == {1, 2, 3}


@pytest.mark.parametrize("name", ["hmm", "thresholds"])
def test_as_much_changes_in_the_sample_as_is_believed(name):
    sample = probabilities(3, 4000, gaps=0.1)

    def changed(classes):
        both = (classes[1:] != 255) & (classes[:-1] != 255)
        return (classes[1:] != classes[:-1])[both].mean()

    assert changed(consistent.consistency("none", NAMES)(sample)[0]) > 0.5
    for change in (0.02, 0.2):
        method = consistent.consistency(name, NAMES, sample, change=change)
        assert changed(method(sample)[0]) == pytest.approx(change, abs=0.002)


def test_thresholds_of_a_sample_let_no_more_change_than_is_believed():
    sample = probabilities(2, 5000, gaps=0.1)
    method = consistent.consistency("thresholds", NAMES, sample, threshold=0, max_change=0.02)
    both = np.isfinite(sample).all(axis=(0, 1))
    before = consistent.consistency("none", NAMES)(sample)[0][:, both]
    after = method(sample)[0][:, both]
    for one, two in itertools.permutations(range(3), 2):
        origin, changed = before[0] == one, (after[0] == one) & (after[1] == two)
        assert (before[1][origin] == two).mean() > 0.1
        assert changed.sum() == int(0.02 * origin.sum())
    named = consistent.consistency(
        "thresholds", NAMES, sample, max_change=0.02, directions={"Wood > Town": 0.1}
    )
    assert named.table.loc["Wood", "Town"] == 0.1
    assert named.table.loc["Wood", "Field"] == pytest.approx(max(0.5, method.table.loc["Wood", "Field"]))


@pytest.mark.parametrize("name", consistent.METHODS)
def test_years_without_data_stay_so_and_the_others_have_classes(name):
    values = probabilities(3, 8, 9).astype(np.float32)
    values[:, :, 0, 0] = np.nan
    classes, confidence = consistent.consistency(name, NAMES)(values)
    unseen = np.isnan(values).any(axis=1)
    np.testing.assert_array_equal(classes == 255, unseen)
    np.testing.assert_array_equal(np.isnan(confidence), unseen)
    assert (classes[~unseen] < 3).all()
    if name == "none":
        np.testing.assert_array_equal(classes[~unseen], values.argmax(axis=1)[~unseen])
        assert confidence[~unseen] == pytest.approx(values.max(axis=1)[~unseen])


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("median", {}, "no method 'median'"),
        ("hmm", {"threshold": 0.5}, "no option 'threshold'"),
        ("hmm", {"stay": 1.0}, "stay is 1.0"),
        ("hmm", {"directions": {"Wood > Field": 0.8, "Wood > Town": 0.3}}, "below 1 in all"),
        ("hmm", {"directions": {"Wood": 0.1}}, "not written as"),
        ("hmm", {"directions": {"Wood > Lake": 0.1}}, "unknown class 'Lake'"),
        ("hmm", {"estimate": True}, "give a sample"),
        ("thresholds", {"max_change": 0.1}, "give a sample"),
        ("thresholds", {"change": 0.1}, "give a sample"),
        ("hmm", {"change": 0.1}, "give a sample"),
        ("thresholds", {"threshold": -1}, "0 or more"),
        ("bilateral", {"similarity": 0}, "positive deviations"),
    ],
)
def test_what_cannot_be_ends_in_one_sentence(name, options, said):
    with pytest.raises(ParameterError, match=said):
        consistent.consistency(name, NAMES, **options)
    with pytest.raises(DataError, match="expected"):
        consistent.consistency("none", NAMES)(np.zeros((2, 3)))
