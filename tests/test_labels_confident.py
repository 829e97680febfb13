"""Confident learning against the formulas of its paper, written out sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from eolab.core.errors import DataError, ParameterError
from eolab.data.labels import confident


def noisy(n: int = 400, classes: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of an imperfect classifier, labels of which some are wrong, and true labels."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    logits = rng.normal(0, 1, (n, classes)) + 2.5 * np.eye(classes)[truth]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given = np.where(rng.random(n) < 0.25, (truth + rng.integers(1, classes, n)) % classes, truth)
    return p, given, truth


def joint_by_hand(p, given):
    """Eq. 1 and 2: thresholds, then one count for each sample that reaches one."""
    K = p.shape[1]
    threshold = [np.mean([p[n, k] for n in range(len(p)) if given[n] == k]) for k in range(K)]
    counts = np.zeros((K, K), int)
    for n in range(len(p)):
        reached = [k for k in range(K) if p[n, k] >= threshold[k]]
        if reached:
            counts[given[n], max(reached, key=lambda k: p[n, k])] += 1
    return counts


def distribution_by_hand(counts, given):
    """Eq. 3: rows scaled to the number of given labels, then all to 1."""
    K = len(counts)
    scaled = np.zeros((K, K))
    for i in range(K):
        for j in range(K):
            scaled[i, j] = counts[i, j] / counts[i].sum() * (given == i).sum()
    return scaled / scaled.sum()


def pruned_by_hand(p, given, by):
    Q = distribution_by_hand(joint_by_hand(p, given), given)
    n, K = p.shape
    found: set[int] = set()
    for i in range(K):
        rows = [r for r in range(n) if given[r] == i]
        if by == "class":
            wrong = round(n * sum(Q[i, j] for j in range(K) if j != i))
            found |= set(sorted(rows, key=lambda r: p[r, i])[:wrong])
        else:
            for j in range(K):
                if j != i:
                    ranked = sorted(rows, key=lambda r: p[r, j] - p[r, i], reverse=True)
                    found |= set(ranked[: round(n * Q[i, j])])
    return found


@pytest.mark.parametrize("seed", range(3))
def test_the_confident_joint_and_its_distribution_are_those_of_the_paper(seed):
    p, given, _ = noisy(seed=seed)
    joint = confident.confident_joint(p, given)
    np.testing.assert_array_equal(joint, joint_by_hand(p, given))
    Q = confident.joint_distribution(joint, np.bincount(given, minlength=4))
    np.testing.assert_allclose(Q, distribution_by_hand(joint, given))
    assert Q.sum() == pytest.approx(1)
    np.testing.assert_allclose(Q.sum(axis=1), np.bincount(given) / len(given))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("by", ["class", "noise_rate"])
def test_pruned_samples_are_those_of_the_paper(seed, by):
    p, given, _ = noisy(seed=seed)
    found = confident.doubtful(p, given, by)
    assert set(np.flatnonzero(found)) == pruned_by_hand(p, given, by)


def test_both_prunes_what_class_and_noise_rate_both_prune():
    p, given, _ = noisy()
    both, one, other = (confident.doubtful(p, given, by) for by in ("both", "class", "noise_rate"))
    np.testing.assert_array_equal(both, one & other)
    assert 0 < both.sum() < one.sum()


def test_most_pruned_labels_are_wrong_and_few_wrong_ones_are_left():
    p, given, truth = noisy(4000)
    found = confident.doubtful(p, given)
    assert (given != truth)[found].mean() > 0.7
    assert (given != truth)[~found].mean() < 0.5 * (given != truth).mean()


def test_labels_that_a_sure_classifier_agrees_with_are_kept():
    given = np.repeat([0, 1, 2], 20)
    assert not confident.doubtful(np.eye(3)[given], given).any()


def test_classes_without_a_sample_count_nowhere():
    p, given, _ = noisy()
    wide = np.concatenate([p, np.full((len(p), 1), 0.9)], axis=1)
    np.testing.assert_array_equal(confident.confident_joint(wide, given)[:4, :4], joint_by_hand(p, given))
    np.testing.assert_array_equal(confident.doubtful(wide, given), confident.doubtful(p, given))


def test_labels_that_other_folds_lack_are_not_judged():
    """Regression: of a class in one block all samples were refused, as nothing else had learned it."""
    labels, folds = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 1, 1, 0, 0, 1])
    np.testing.assert_array_equal(confident.judged(labels, folds, 1), [True, True, True, False, False, False])
    np.testing.assert_array_equal(
        confident.judged(labels, folds, 2), [True, False, False, False, False, False]
    )
    rng = np.random.default_rng(0)
    given = np.repeat([0, 1, 2], 60)
    seen = rng.dirichlet([1, 1, 1], 180)
    seen[given == 2] = [0.5, 0.5, 0.0]
    assert confident.doubtful(seen, given, "class")[given == 2].any()
    known = given != 2
    found = confident.doubtful(seen, given, "class", known)
    assert not found[~known].any()
    np.testing.assert_array_equal(found[known], confident.doubtful(seen[known], given[known], "class"))
    assert not confident.doubtful(seen, given, "class", np.zeros(180, bool)).any()


@pytest.mark.parametrize("by", confident.PRUNING)
def test_each_label_keeps_the_least_share(by):
    rng = np.random.default_rng(1)
    given = np.repeat([0, 1, 2], 50)
    seen = rng.dirichlet([1, 1, 1], 150)
    seen[given == 0] = [0.05, 0.9, 0.05]  # none of them shows its label
    seen[given == 0, 0] += np.linspace(0, 0.01, 50)
    assert confident.doubtful(seen, given, "class")[given == 0].sum() >= 45
    found = confident.doubtful(seen, given, by, keep=0.3)
    assert 30 <= found[given == 0].sum() <= 35
    free = confident.doubtful(seen, given, by)
    np.testing.assert_array_equal(found[given > 0], free[given > 0])


def test_no_sample_is_predicted_by_a_classifier_that_learned_its_fold():
    """Labels that follow from the fold alone cannot be known from the other folds."""
    rng = np.random.default_rng(0)
    folds = np.repeat(np.arange(5), 40)
    features = np.eye(5)[folds] + rng.normal(0, 0.01, (200, 5))
    labels = np.where(folds == 0, 2, rng.integers(0, 2, 200))
    found = confident.out_of_sample(features, labels, folds, LogisticRegression())
    assert found.shape == (200, 3)
    assert (found[folds == 0, 2] == 0).all()
    np.testing.assert_allclose(found.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("p", "given"),
    [
        (np.ones((3, 2)), [0, 1]),
        (np.ones((3, 2)), [0, 1, 2]),
        (np.ones((3, 2)), [0.0, 1.0, 1.0]),
        (np.full((3, 2), np.nan), [0, 1, 1]),
    ],
)
def test_probabilities_and_labels_that_do_not_fit_are_refused(p, given):
    with pytest.raises(DataError, match=r"expected|give labels"):
        confident.confident_joint(p, given)


def test_an_unknown_way_to_prune_is_refused():
    with pytest.raises(ParameterError, match="noise_rate"):
        confident.doubtful(np.eye(2), [0, 1], "noise")
