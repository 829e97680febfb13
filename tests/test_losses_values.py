"""Losses and scores of values against NumPy, and that a pixel without a label changes nothing."""

import keras
import numpy as np
import pytest
from loss_cases import gradient_of
from sklearn import metrics as sklearn_metrics
from training_example import ArraySamples

from eolab.core.errors import DataError, ParameterError
from eolab.training import losses
from eolab.training.batches import Batches

EVERY = [*losses.names("values"), {"mae": 0.5, "continuous_iou": 2}, {"huber": {"delta": 0.2}}]


def example(seed=0):
    """Shares of pixels (2, 6, 6), some not known, and predictions (2, 6, 6, 1)."""
    rng = np.random.default_rng(seed)
    label = rng.uniform(0, 1, (2, 6, 6))
    p = np.clip(label + 0.3 * rng.normal(size=label.shape), -0.2, 1.5)
    label[0, :2, 3:] = np.nan
    label[1, 4, 0] = np.nan
    return label, p[..., None]


# === References: float64, pixel by pixel ===


def mse(t, p):
    return np.mean((t - p) ** 2)


def mae(t, p):
    return np.mean(abs(t - p))


def huber(t, p, delta=1.0):
    e = abs(t - p)
    return np.mean([0.5 * x**2 if x <= delta else delta * (x - delta / 2) for x in e])


def continuous_iou(t, p, smooth=1.0):
    low, high = (sum(pick(a, b) for a, b in zip(t, p, strict=True)) for pick in (min, max))
    return 1 - (low + smooth) / (high + smooth)


REFERENCES = [
    ("mse", mse, {}),
    ("mae", mae, {}),
    ("huber", huber, {}),
    ("huber", huber, {"delta": 0.1}),
    ("continuous_iou", continuous_iou, {}),
    ("continuous_iou", continuous_iou, {"smooth": 0.01}),
]


@pytest.mark.parametrize(("name", "reference", "options"), REFERENCES)
def test_loss_and_gradient_are_those_of_numpy(name, reference, options):
    label, p = example()
    known = ~np.isnan(label)
    found, slope = gradient_of(losses.build({name: options}), label, p)
    assert found == pytest.approx(reference(label[known], p[known][:, 0], **options), rel=1e-5)
    step = 1e-6 * np.random.default_rng(1).normal(size=p.shape)
    ahead, behind = (reference(label[known], (p + s * step)[known][:, 0], **options) for s in (1, -1))
    assert (slope * step).sum() == pytest.approx((ahead - behind) / 2, rel=1e-3)


@pytest.mark.parametrize("loss", EVERY)
def test_pixels_without_a_label_change_nothing_whatever_was_predicted(loss):
    label, p = example()
    built = losses.build(loss)
    found, slope = gradient_of(built, label, p)
    other = p.copy()
    other[np.isnan(label)] = np.nan
    again, slope_again = gradient_of(built, label, other)
    assert found == again
    np.testing.assert_array_equal(slope, slope_again)
    assert not slope[np.isnan(label)].any()
    weight = (~np.isnan(label)).astype("float32")
    by_weight, _ = gradient_of(built, np.nan_to_num(label, nan=9.0), p, weight)
    assert by_weight == pytest.approx(found, rel=1e-6)
    found, slope = gradient_of(built, np.full_like(label, np.nan), other)
    assert found == 0
    assert not slope.any()


@pytest.mark.parametrize("loss", EVERY)
def test_a_pixel_of_weight_two_counts_as_two_and_a_right_one_costs_nothing(loss):
    label, p = (np.ravel(values) for values in example())
    weight = np.random.default_rng(2).integers(0, 3, len(label))
    built = losses.build(loss)
    found, _ = gradient_of(built, label, p, weight)
    expected, _ = gradient_of(built, np.repeat(label, weight), np.repeat(p, weight))
    assert found == pytest.approx(expected, rel=1e-5)
    right, _ = gradient_of(built, label, np.nan_to_num(label))
    assert right == pytest.approx(0, abs=1e-7)


def test_continuous_iou_of_zeros_and_ones_is_the_intersection_over_union():
    rng = np.random.default_rng(3)
    label, p = rng.integers(0, 2, (2, 200)).astype("float32")
    found, _ = gradient_of(losses.build("continuous_iou", smooth=1e-6), label, p)
    assert found == pytest.approx(1 - sklearn_metrics.jaccard_score(label, p), rel=1e-5)


def test_keras_own_losses_let_a_label_that_is_not_known_through():
    """The reason why these losses are not Keras's: a NaN stays NaN, whatever its sample weight."""
    label, p = example()
    weight = (~np.isnan(label)).astype("float32")
    found = keras.losses.MeanSquaredError()(label[..., None], p, sample_weight=weight)
    assert np.isnan(float(found))
    assert np.isfinite(gradient_of(losses.build("mse"), label, p, weight)[0])


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_scores_of_an_epoch_are_those_of_scikit_learn(offset):
    """An offset far above the spread: sums of squares in float32 would lose the digits of R²."""
    scores = {name: losses.ValueScore(name) for name in ("mae", "mse", "r2")}
    labels, predictions, weights = [], [], []
    for seed in range(3):
        label, p = example(seed)
        label, p = (np.float32(values + offset) for values in (label, p))
        weight = np.random.default_rng(seed).integers(0, 3, label.shape)
        for score in scores.values():
            score.update_state(label, p, weight)
        known = ~np.isnan(label)
        labels.append(label[known])
        predictions.append(p[known][:, 0])
        weights.append(weight[known])
    truth, prediction, weight = map(np.concatenate, (labels, predictions, weights))
    for name, function in {
        "mae": sklearn_metrics.mean_absolute_error,
        "mse": sklearn_metrics.mean_squared_error,
        "r2": sklearn_metrics.r2_score,
    }.items():
        expected = function(np.float64(truth), np.float64(prediction), sample_weight=weight)
        assert float(scores[name].result()) == pytest.approx(expected, rel=1e-4, abs=5e-4), name
    again = losses.ValueScore.from_config(scores["r2"].get_config())
    assert (again.statistic, again.name, float(again.result())) == ("r2", "r2", 0)
    with pytest.raises(ParameterError, match="did you mean 'mae'"):
        losses.ValueScore("maee")


def test_shapes_and_kinds_that_do_not_fit_are_refused():
    label, p = example()
    with pytest.raises(DataError, match=r"'mse' needs labels .* got labels \(2, 6\)"):
        losses.build("mse")(label[..., 0], p)
    with pytest.raises(ParameterError, match="mae of values, ce of classes"):
        losses.build({"mae": 1, "ce": 1})


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_values_are_learned_inside_fit(tmp_path):
    from eolab import training

    rng = np.random.default_rng(0)
    image = rng.normal(size=(16, 4, 4, 3)).astype("float32")
    label = np.where(rng.random((16, 4, 4)) < 0.2, np.nan, image @ [0.5, -1.0, 2.0]).astype("float32")

    samples = ArraySamples({"image": image}, {"values": label})
    data = Batches(samples, 4, ignore="none")
    training.set_up(0)
    given = keras.Input((4, 4, 3), name="image")
    net = keras.Model({"image": given}, {"values": keras.layers.Dense(1)(given)})
    options = {"loss": {"values": "mse"}, "metrics": [losses.ValueScore("mae"), losses.ValueScore("r2")]}
    history = training.fit(
        net, data, data, folder=tmp_path, epochs=5, learning_rate=0.4, monitor="val_values_r2",
        progress=False, **options,
    )  # fmt: skip
    assert history["val_values_r2"].max() > 0.95
    found = np.asarray(net.predict(image, verbose=0)["values"])[..., 0]
    known = ~np.isnan(label)
    expected = abs(found - label)[known].mean()
    best = history.loc[history.attrs["best_epoch"] - 1]
    assert best["val_values_mae"] == pytest.approx(expected, rel=1e-4)
