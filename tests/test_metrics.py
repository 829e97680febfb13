"""Scores against scikit-learn; intervals against brute force and against theory."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from interval_levels import levels
from sklearn import metrics as reference

from eolab import evaluation
from eolab.core.errors import DataError, ParameterError
from eolab.evaluation import bootstrap, classes, metrics

K = 5


def interval(truth, prediction, groups=None, statistic="macro.f1", n=1000, seed=0, K=K, level=0.95):
    """The interval of one statistic, of the scope "class" one a class."""
    names = [f"class {k}" for k in range(K)]
    (counted,) = classes.of_labels(truth, [prediction], groups, names)
    return of_counted(counted, statistic, n, seed, level)


def of_counted(counted, statistic, n, seed=0, level=0.95):
    own = [f"{name}.{statistic[6:]}" for name in counted.class_names]
    wanted = own if statistic.startswith("class.") else [statistic]
    found = bootstrap.resample(counted, wanted, n, seed).values()
    ends = [bootstrap.interval(*one, level) for one in found]
    return bootstrap.Interval(*map(np.array, zip(*ends, strict=True))) if len(ends) > 1 else ends[0]


def of_patches(matrices, statistic, groups=None, n=1000, seed=0, batch=16):
    names = [f"class {k}" for k in range(np.shape(matrices)[-1])]
    return of_counted(classes.Patches(matrices, groups, names, batch), statistic, n, seed)


def gain(predictions, truth, statistic="macro.f1", groups=None, n=1000, seed=0, K=K):
    """What the second of two models gains."""
    names = [f"class {k}" for k in range(K)]
    given = {"class_names": names, "groups": groups, "replicates": n, "seed": seed}
    both = dict(zip("ab", predictions, strict=True))
    table = evaluation.paired_gains(both, truth, model="b", statistics=[statistic], **given)
    found = table[["value", "low", "high"]].to_numpy().T
    return tuple(found[:, 0]) if len(table) == 1 else found


def labels(seed=0, n=400, skill=0.6, classes=K):
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, n, p=np.arange(1, classes + 1) / np.arange(1, classes + 1).sum())
    return truth, np.where(rng.random(n) < skill, truth, rng.integers(0, classes, n))


def test_confusion_is_that_of_scikit_learn_and_leaves_out_the_ignored():
    truth, prediction = labels()
    ignored = truth.copy().astype(np.uint8)
    ignored[::7] = 255
    kept = ignored != 255
    expected = reference.confusion_matrix(truth[kept], prediction[kept], labels=range(K))
    got = metrics.confusion(ignored.reshape(20, 20), prediction.astype(np.uint8).reshape(20, 20), K)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("missing", ["none", "in truth", "in prediction"])
def test_scores_are_those_of_scikit_learn(missing):
    truth, prediction = labels()
    if missing == "in truth":
        truth[truth == 1] = 2
    if missing == "in prediction":
        prediction[prediction == 1] = 2
    present = sorted(set(truth))
    macro = {"labels": present, "average": "macro", "zero_division": 0}
    expected = {
        "all.accuracy": reference.accuracy_score(truth, prediction),
        "all.balanced_accuracy": reference.recall_score(truth, prediction, **macro),
        "macro.f1": reference.f1_score(truth, prediction, **macro),
        "micro.f1": reference.f1_score(truth, prediction, labels=range(K), average="micro"),
        "weighted.f1": reference.f1_score(truth, prediction, average="weighted", zero_division=0),
        "all.kappa": reference.cohen_kappa_score(truth, prediction),
        "macro.iou": reference.jaccard_score(truth, prediction, **macro),
    }
    matrix = metrics.confusion(truth, prediction, K)
    assert metrics.values_of(matrix, list(expected), range(K)) == pytest.approx(expected)
    columns = reference.precision_recall_fscore_support(
        truth, prediction, labels=range(K), zero_division=np.nan
    )
    for name, column in zip(("precision", "recall", "f1"), columns, strict=False):
        np.testing.assert_allclose(metrics.statistic_of(matrix, f"class.{name}"), column)
    np.testing.assert_array_equal(metrics.counts_of(matrix)[1], columns[3])
    iou = reference.jaccard_score(truth, prediction, labels=range(K), average=None)
    np.testing.assert_allclose(np.nan_to_num(metrics.statistic_of(matrix, "class.iou")), iou)
    f2 = reference.fbeta_score(truth, prediction, beta=2, labels=range(K), average=None, zero_division=0)
    np.testing.assert_allclose(np.nan_to_num(metrics.statistic_of(matrix, "class.f2")), f2)
    many = np.stack([matrix, 3 * matrix])
    for name, value in expected.items():
        np.testing.assert_allclose(metrics.statistic_of(many, name), value)


def test_a_class_without_truth_and_without_prediction_has_no_score():
    matrix = metrics.confusion([0, 1], [0, 1], 3)
    for name in ("precision", "recall", "f1", "f2", "iou"):
        found = metrics.values_of(matrix, ["b." + name, "c." + name], ["a", "b", "c"])
        assert found["b." + name] == 1
        assert np.isnan(found["c." + name])
    assert metrics.statistic_of(matrix, "macro.f1") == 1


def test_an_empty_matrix_gives_nan_not_an_error():
    empty = np.zeros((3, 3), int)
    assert all(np.isnan(metrics.statistic_of(empty, name)).all() for name in metrics.KNOWN)


@pytest.mark.slow
def test_bootstrap_agrees_with_drawing_samples_one_by_one():
    truth, prediction = labels(n=150)
    rng = np.random.default_rng(1)
    brute = []
    with sklearn.config_context(skip_parameter_validation=True):
        for _ in range(1000):
            drawn = rng.integers(0, len(truth), len(truth))
            brute.append(
                reference.f1_score(truth[drawn], prediction[drawn], labels=range(K), average="macro")
            )
    got = interval(truth, prediction, n=4000)
    assert got.value == pytest.approx(reference.f1_score(truth, prediction, average="macro"))
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(brute, [0.025, 0.975])), abs=0.012)


def test_bootstrap_over_groups_agrees_with_drawing_groups_one_by_one():
    truth, prediction = labels(n=300)
    groups = np.array([f"block {g}" for g in np.random.default_rng(3).integers(0, 12, len(truth))])
    rng = np.random.default_rng(1)
    names = np.unique(groups)
    brute = []
    for _ in range(3000):
        drawn = np.concatenate([np.flatnonzero(groups == g) for g in rng.choice(names, len(names))])
        brute.append((truth[drawn] == prediction[drawn]).mean())
    got = interval(truth, prediction, groups, "all.accuracy", n=4000)
    assert (got.low, got.high) == pytest.approx(tuple(np.quantile(brute, levels(12))), abs=0.012)


def test_samples_repeated_within_groups_do_not_narrow_the_interval():
    truth, prediction = labels(n=60)
    once = interval(truth, prediction, np.arange(60), "all.accuracy", n=3000)
    tenfold = [np.repeat(a, 10) for a in (truth, prediction, np.arange(60))]
    grouped = interval(*tenfold, "all.accuracy", n=3000)
    alone = interval(*tenfold[:2], None, "all.accuracy", n=3000)
    assert grouped == pytest.approx(once, abs=0.01)
    assert alone.high - alone.low < 0.5 * (grouped.high - grouped.low)


def test_the_interval_of_accuracy_covers_as_promised():
    rng = np.random.default_rng(5)
    covered = 0
    for seed in range(200):
        prediction = (rng.random(200) < 0.3).astype(int)
        got = interval(np.zeros(200, int), prediction, None, "all.accuracy", 300, seed, 2, 0.9)
        covered += got.low <= 0.7 <= got.high
    assert 0.83 <= covered / 200 <= 0.96


def test_class_wise_statistics_give_an_interval_a_class():
    truth, prediction = labels()
    got = interval(truth, prediction, statistic="class.f1", K=K + 1, n=200)
    np.testing.assert_allclose(got.value[:K], reference.f1_score(truth, prediction, average=None))
    assert np.all(got.low[:K] < got.value[:K])
    assert np.all(got.value[:K] < got.high[:K])
    assert np.isnan([part[K] for part in got]).all()


def test_the_same_seed_gives_the_same_interval_whatever_the_chunks(monkeypatch):
    truth, prediction = labels()
    first = interval(truth, prediction, seed=4)
    assert interval(truth, prediction, seed=5) != first
    monkeypatch.setattr(bootstrap, "DRAWS_AT_ONCE", 100)
    assert interval(truth, prediction, seed=4) == first


def test_a_paired_difference_is_sharper_than_two_intervals():
    truth, a = labels(n=2000)
    rng = np.random.default_rng(9)
    b = np.where(rng.random(2000) < 0.05, truth, a)  # b repairs a few of the errors of a
    value, low, high = gain((a, b), truth)
    assert value == pytest.approx(interval(truth, b).value - interval(truth, a).value)
    assert 0 < low < value < high
    alone = interval(truth, a)
    assert high - low < 0.5 * (alone.high - alone.low)
    same = gain((a, a), truth)
    assert (same[0], np.isnan(same[1:]).all()) == (0, True)  # which makes it not certain
    grouped = gain((a, b), truth, groups=np.arange(2000) % 40)
    assert grouped == pytest.approx((value, low, high), abs=0.01)


def test_wrong_input_is_named():
    with pytest.raises(DataError, match=r"\(3,\).*\(2,\)"):
        metrics.confusion([0, 1, 1], [0, 1], 2)
    with pytest.raises(DataError, match="prediction holds 1 labelled samples with values such as 255"):
        metrics.confusion([0, 1, 255], [0, 255, 255], 2)
    with pytest.raises(ParameterError, match=r"did you mean 'macro\.f1'"):
        interval([0, 1], [0, 1], statistic="macro_f1")
    with pytest.raises(DataError, match="No sample is labelled"):
        interval([255], [0])
    with pytest.raises(DataError, match="3 samples and 2 groups"):
        interval([0, 1, 1], [0, 1, 1], [7, 7])
    alone = interval([0, 1], [0, 1], [7, 7])
    assert alone.value == 1
    assert np.isnan([alone.low, alone.high]).all()  # one group cannot be drawn


# === Masks: counts by patch ===


def masks(seed=0, count=30, side=8, classes=3):
    """Patches in blocks of five that are easy or hard; one patch is all ignored."""
    rng = np.random.default_rng(seed)
    shape = (count, side, side)
    truth = rng.choice(np.array([*range(classes), 255], np.uint8), shape, p=[0.7, 0.2, 0.05, 0.05])
    skill = rng.choice([0.3, 0.95], count // 5).repeat(5)[:, None, None]
    prediction = np.where(rng.random(shape) < skill, truth, rng.integers(0, classes, shape)).astype(np.uint8)
    prediction[truth == 255] = rng.integers(0, classes, (truth == 255).sum())
    truth[7] = 255
    return truth, prediction, np.array([f"block {n // 5}" for n in range(count)])


@pytest.mark.parametrize("pixels", [1 << 22, 150, 1])
def test_confusions_are_those_of_scikit_learn_patch_by_patch(pixels, monkeypatch, tmp_path):
    truth, prediction, _ = masks()
    monkeypatch.setattr(metrics, "PIXELS_AT_ONCE", pixels)
    for name, values in (("t", truth), ("p", prediction)):
        np.save(tmp_path / f"{name}.npy", values)
    mapped = (np.load(tmp_path / f"{name}.npy", mmap_mode="r") for name in "tp")
    found = metrics.confusions(*mapped, 3)
    for matrix, true, predicted in zip(found, truth, prediction, strict=True):
        known = true != 255
        expected = np.zeros((3, 3))
        if known.any():
            expected = reference.confusion_matrix(true[known], predicted[known], labels=range(3))
        np.testing.assert_array_equal(matrix, expected)
    np.testing.assert_array_equal(found.sum(0), metrics.confusion(truth, prediction, 3))
    assert found.dtype == np.int64


def test_a_bool_mask_is_a_prediction_of_two_classes_and_probabilities_are_not():
    truth, prediction, _ = masks()
    truth[truth == 2] = 0
    numbers = metrics.confusions(truth, (prediction > 0).astype(int), 2)
    np.testing.assert_array_equal(metrics.confusions(truth, prediction > 0, 2), numbers)
    with pytest.raises(DataError, match=r"float16 values.*probability >= threshold"):
        metrics.confusions(truth, (prediction > 0).astype(np.float16), 2)
    with pytest.raises(DataError, match=r"\(30, 8, 8\).*\(29, 8, 8\)"):
        metrics.confusions(truth, prediction[1:], 2)
    with pytest.raises(DataError, match="prediction holds"):
        metrics.confusions(truth, prediction, 2)


@pytest.mark.parametrize("statistic", ["macro.f1", "all.kappa", "class.iou"])
@pytest.mark.parametrize("by", ["block", "patch"])
def test_intervals_from_matrices_are_those_from_single_pixels(statistic, by):
    truth, prediction, blocks = masks()
    groups = blocks if by == "block" else np.arange(len(truth))
    of_pixels = np.broadcast_to(groups[:, None, None], truth.shape)
    flat = [values.ravel() for values in (truth, prediction, of_pixels)]
    expected = interval(*flat, statistic, n=300, seed=3, K=3)
    matrices = metrics.confusions(truth, prediction, 3)
    given = groups if by == "block" else None
    found = of_patches(matrices, statistic, given, n=300, seed=3)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_the_difference_from_matrices_is_that_from_single_pixels():
    truth, a, blocks = masks()
    rng = np.random.default_rng(2)
    b = np.where((rng.random(truth.shape) < 0.3) & (truth != 255), truth, a)
    groups = np.broadcast_to(blocks[:, None, None], truth.shape).ravel()
    pixels = (a.ravel(), b.ravel()), truth.ravel()
    expected = gain(*pixels, "class.f1", groups, n=300, seed=1, K=3)
    matrices = [metrics.confusions(truth, prediction, 3) for prediction in (a, b)]
    found = gain(matrices, None, "class.f1", blocks, n=300, seed=1, K=3)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    same = gain([matrices[0]] * 2, None, "all.accuracy", K=3)
    assert (same[0], np.isnan(same[1:]).all()) == (0, True)


def by_batches(truth, prediction, batch, score) -> float:
    """Mean over batches of a score of scikit-learn; classes without truth in a batch are left out there."""
    found = []
    for start in range(0, len(truth), batch):
        true, predicted = truth[start : start + batch], prediction[start : start + batch]
        known = true != 255
        if known.any():
            present = sorted(set(true[known].tolist()))
            found.append(score(true[known], predicted[known], labels=present, average="macro"))
    return float(np.mean(found))


@pytest.mark.parametrize("batch", [1, 4, 16])
def test_the_mean_over_batches_is_that_of_a_loop(batch):
    truth, prediction, _ = masks()
    counts = metrics.counts_of(metrics.confusions(truth, prediction, 3))
    for statistic, score in (("macro.f1", reference.f1_score), ("macro.iou", reference.jaccard_score)):
        expected = by_batches(truth, prediction, batch, score)
        assert metrics.batch_mean(counts, statistic, batch) == pytest.approx(expected)
        pooled = metrics.statistic_of_counts(counts.sum(0), statistic)
        assert metrics.batch_mean(counts, statistic, 30) == pytest.approx(pooled)
        assert expected != pytest.approx(pooled, abs=1e-4)
    assert np.isnan(metrics.batch_mean(counts[7:8], "macro.f1"))


@pytest.mark.slow
def test_the_interval_of_the_mean_over_batches_is_that_of_drawing_blocks_one_by_one():
    truth, prediction, blocks = masks()
    matrices = metrics.confusions(truth, prediction, 3)
    known = np.flatnonzero(matrices.sum((1, 2)))
    rng, brute = np.random.default_rng(4), []
    for _ in range(1500):
        drawn = np.sort(rng.integers(0, 6, 6))
        rows = np.concatenate([known[blocks[known] == f"block {n}"] for n in drawn])
        values = [
            metrics.statistic_of(matrices[rows[start : start + 4]].sum(0), "macro.f1")
            for start in range(0, len(rows), 4)
        ]
        brute.append(np.mean(values))
    found = of_patches(matrices, "batch_macro.f1", blocks, 1500, batch=4)
    assert found.value == metrics.batch_mean(metrics.counts_of(matrices), "macro.f1", 4)
    counted = classes.Patches(matrices, blocks, [f"class {k}" for k in range(3)], 4)
    _, replicates, groups = bootstrap.resample(counted, ["batch_macro.f1"], 1500, 0)["batch_macro.f1"]
    ends = [np.quantile(one, [0.025, 0.975]) for one in (replicates, brute)]
    np.testing.assert_allclose(*ends, atol=0.02)
    assert groups == 6
    assert np.isnan([found.low, found.high]).all()  # of six groups
    again = [of_patches(matrices, "batch_macro.f1", n=100, seed=1, batch=4) for _ in range(2)]
    assert again[0] == again[1]
    alone = of_patches(matrices, "batch_macro.f1", n=400, batch=1)
    each = metrics.statistic_of(matrices[known], "macro.f1")
    normal = 2 * 1.96 * each.std() / np.sqrt(len(each))
    assert alone.high - alone.low == pytest.approx(normal, rel=0.15)


def test_wrong_matrices_are_named():
    truth, prediction, blocks = masks()
    matrices = metrics.confusions(truth, prediction, 3)
    with pytest.raises(DataError, match=r"\(3, 3\): expected \(N, 3, 3\)"):
        of_patches(matrices[0], "macro.f1")
    with pytest.raises(DataError, match="30 samples and 29 groups"):
        of_patches(matrices, "all.accuracy", blocks[1:])
    with pytest.raises(DataError, match="nothing to score"):
        of_patches(matrices * 0, "all.accuracy")
    with pytest.raises(DataError, match="score all on the same patches"):
        gain((matrices, matrices[::-1]), None, K=3)
    with pytest.raises(ParameterError, match=r"no statistic 'class 3\.f1'"):
        of_patches(matrices, "class 3.f1")
    with pytest.raises(ParameterError, match=r"did you mean 'macro\.f1'"):
        of_patches(matrices, "macro_f1")
    assert np.isnan(of_patches(matrices, "all.accuracy", np.zeros(30)).low)  # one group cannot be drawn


# === Few groups, and classes that few groups have ===


def test_plain_percentiles_of_few_groups_hold_too_few_true_scores_and_ours_about_95_of_100():
    """Each group has errors of its own; the true F1 is that of very many groups. No interval below eight."""
    rng = np.random.default_rng(11)

    def world(groups):
        true = rng.binomial(60, rng.beta(2, 6, groups))
        hit = rng.binomial(true, rng.beta(6, 3, groups))
        return np.stack([hit, true, hit + rng.binomial(true, rng.beta(3, 5, groups))], axis=1)

    def f1(counts):
        return 2 * counts[..., 0] / (counts[..., 1] + counts[..., 2])

    truth = f1(world(100_000).sum(axis=0))
    for groups in (8, 12, 30):
        held = np.zeros(2)
        for seed in range(300):
            counts = world(groups)
            drawn = f1(np.concatenate(list(bootstrap.draws(np.ones(groups, int), 200, seed))) @ counts)
            ours = bootstrap.interval(f1(counts.sum(axis=0)), drawn, groups)
            plain = np.quantile(drawn, [0.025, 0.975])
            held += [ours.low <= truth <= ours.high, plain[0] <= truth <= plain[1]]
        assert 0.91 <= held[0] / 300 <= 0.98
        assert held[1] <= held[0]
    assert held[1] / 300 < 0.95
    assert np.isnan(bootstrap.interval(0.5, drawn, bootstrap.MIN_GROUPS - 1)[1:]).all()


@pytest.mark.parametrize("statistic", ["macro.f1", "macro.iou", "all.balanced_accuracy"])
def test_macro_scores_of_draws_are_means_over_the_same_classes_and_centred(statistic):
    """Ten groups, three classes that one group each has and that are missed: 0 of the mean of five.

    A draw that lacks the group of a missed class averaged over fewer, better classes.
    """
    groups = np.repeat(np.arange(10), 20)
    truth = np.arange(200) % 2
    prediction = np.where(np.random.default_rng(2).random(200) < 0.2, 1 - truth, truth)
    for k, group in enumerate((1, 4, 7)):
        truth[groups == group] = np.where(np.arange(20) < 6, 2 + k, truth[groups == group])
    names = [f"class {k}" for k in range(K)]
    (counted,) = classes.of_labels(truth, [prediction], groups, names)
    value, drawn, n_groups = bootstrap.resample(counted, [statistic], 2000, 0)[statistic]
    assert value == pytest.approx(metrics.statistic_of(metrics.confusion(truth, prediction, K), statistic))
    assert abs((drawn > value).mean() - 0.5) < 0.06
    assert drawn.mean() == pytest.approx(value, abs=0.005)
    assert n_groups == 10
    assert counted.n_groups("class 3.f1") == 1


def test_a_class_that_a_draw_lacks_has_no_score_there():
    """Predicted and never true in a draw, its F1 was 0 there."""
    truth, prediction = np.array([0, 0, 1, 1]), np.array([1, 0, 1, 1])
    (counted,) = classes.of_labels(truth, [prediction], np.arange(4), ["a", "b"])
    drawn = counted.values(["b.f1", "b.precision", "macro.f1"], np.array([[4, 0, 0, 0], [1, 1, 1, 1]]))
    assert np.isnan([drawn["b.f1"][0], drawn["b.precision"][0]]).all()
    assert drawn["b.f1"][1] == pytest.approx(0.8)
    assert drawn["macro.f1"] == pytest.approx([0.4, (2 / 3 + 0.8) / 2])


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"replicates": 1}, "replicates is 1: expected a whole number of at least 100"),
        ({"replicates": 100.5}, "replicates is 100.5"),
        ({"seed": -1}, "seed is -1: expected a whole number of 0 or more"),
        ({"batch": 0}, "batch is 0: expected 1 patch or more"),
        ({"batch": -1}, "batch is -1"),
        ({"class_names": ["a", "a"]}, "a name of its own for each class"),
        ({"predictions": {}}, "predictions is empty"),
        ({"thresholds": {}}, "thresholds has none of the model 'a'"),
        ({"thresholds": {"a": np.nan}}, "threshold of 'a' is nan: expected numbers"),
    ],
)
def test_settings_that_no_score_can_be_computed_with_are_refused(given, sentence):
    """One replicate was an interval; a batch of 0 a ZeroDivisionError, a threshold of NaN a recall of 0."""
    usual = {"predictions": {"a": [0.2, 0.8]}, "truth": [0, 1], "class_names": ["a", "b"]}
    usual |= {"thresholds": {"a": 0.5}}
    with pytest.raises(ParameterError, match=sentence):
        evaluation.score_table(**usual | given)


def test_a_model_that_is_not_there_is_refused():
    given = {"class_names": ["a", "b"], "statistics": ["all.accuracy"]}
    with pytest.raises(ParameterError, match="no predictions of the model 'net'"):
        evaluation.paired_gains({"nte": [0, 1]}, [0, 1], model="net", **given)
    scores = evaluation.score_table({"nte": [0, 1]}, [0, 1], **given)
    with pytest.raises(ParameterError, match="no scores of the model 'net'"):
        evaluation.gains(scores, over="net")
    mask = np.zeros((1, 3, 3), bool)
    with pytest.raises(ParameterError, match="pixel_area_m2 is -1: expected an area above 0"):
        evaluation.score_by_size(mask, mask.astype("u1"), pixel_area_m2=-1)


def test_an_interval_is_centred_at_the_estimate_where_most_draws_lie_below():
    """F1 of rare classes was below the estimate in four of five draws, and so was most of the interval."""
    drawn = np.random.default_rng(0).normal(0.6, 0.03, 1000)
    low, high = bootstrap.interval(0.65, drawn, 40)[1:]
    assert (low + high) / 2 == pytest.approx(0.65, abs=0.006)
    assert bootstrap.interval(0.99, drawn + 0.3, 40).high == 1
