"""Keras's own losses, metrics and callbacks: where they agree with ours, and why some are not taken.

A test that fails here with a newer Keras says that a part of eolab.training.losses may go.
"""

import keras
import numpy as np
import pytest
import training_example as example
from loss_cases import gradient_of

from eolab import training
from eolab.training import losses


def pixels():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (2, 5, 5)).astype("int32")
    p = rng.dirichlet(np.ones(3), label.shape).astype("float32")
    label[0, :2] = 255
    return label, p


def test_cross_entropy_with_an_ignored_class_agrees_away_from_zero():
    """Not taken: where the true class has probability 0, its clipping leaves no gradient."""
    label, p = pixels()
    theirs = keras.losses.SparseCategoricalCrossentropy(ignore_class=255)
    assert float(theirs(label, p)) == pytest.approx(float(losses.build("ce")(label, p)), rel=1e-5)
    wrong = np.eye(3, dtype="float32")[np.where(label == 255, 0, (label + 1) % 3)]
    assert not np.any(gradient_of(theirs, label, wrong)[1][1])
    assert np.any(gradient_of(losses.build("ce"), label, wrong)[1][1])


def test_focal_losses_agree():
    """Not taken: it knows no positive weights."""
    rng = np.random.default_rng(1)
    label, p = rng.integers(0, 2, (6, 4)).astype("float32"), rng.uniform(0.01, 0.99, (6, 4)).astype("float32")
    theirs = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True)
    assert float(theirs(label, p)) == pytest.approx(float(losses.build("binary_focal")(label, p)), rel=1e-4)


@pytest.mark.parametrize("theirs", [keras.losses.Dice(), keras.losses.Tversky(alpha=0.3, beta=0.7)])
def test_dice_and_tversky_have_no_gradient_on_an_empty_mask(theirs):
    """Not taken: nothing pushes false pixels of an empty mask down."""
    label, p = np.zeros((1, 4, 4), "int32"), np.full((1, 4, 4, 2), 0.5, "float32")
    found, slope = gradient_of(theirs, label[..., None].astype("float32"), p[..., 1:])
    assert found == pytest.approx(1, abs=1e-5)
    assert abs(slope).max() < 1e-6
    assert abs(gradient_of(losses.build("tversky"), label, p)[1]).max() > 1e-3


def test_losses_of_values_let_a_label_that_is_not_known_through():
    """Taken for what each pixel costs; not for the mean, where NaN stays NaN whatever its sample weight."""
    label, p = np.array([[0.5, np.nan]], "float32"), np.array([[0.25, 0.5]], "float32")
    weight = np.array([[1.0, 0.0]], "float32")
    for theirs, ours in (
        (keras.losses.MeanSquaredError(), "mse"),
        (keras.losses.MeanAbsoluteError(), "mae"),
        (keras.losses.Huber(), "huber"),
    ):
        assert np.isnan(float(theirs(label[..., None], p[..., None], sample_weight=weight)))
        expected = float(theirs(label[:, :1], p[:, :1]))
        assert float(losses.build(ours)(label, p, weight)) == pytest.approx(expected)


def test_r2_score_loses_the_digits_of_labels_far_from_zero():
    """Not taken: it subtracts sums of squares, and passes NaN on."""
    rng = np.random.default_rng(2)
    label = (1e4 + rng.normal(size=(500, 1))).astype("float32")
    p = (label + 0.5 * rng.normal(size=label.shape)).astype("float32")
    expected = 1 - np.var(np.float64(label) - p) / np.var(np.float64(label))
    theirs, ours = keras.metrics.R2Score(), losses.ValueScore("r2")
    for score in (theirs, ours):
        score.update_state(label, p)
    assert float(ours.result()) == pytest.approx(expected, abs=0.01)
    assert abs(float(theirs.result()) - expected) > 0.1


def test_f1_score_takes_no_masks():
    """Not taken: masks (B, H, W, K) are refused."""
    label, p = pixels()
    with pytest.raises(ValueError, match="shape"):
        keras.metrics.F1Score().update_state(np.eye(3)[np.minimum(label, 2)], p)


def test_average_precision_of_rare_classes_needs_bins_of_the_logit():
    """Not taken: 200 thresholds of AUC are even in probability, and a rare class lies below the first one."""
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(3)
    label = (rng.random((4000, 1)) < 0.01).astype("float32")
    p = (1 / (1 + np.exp(8 - 2 * label - 0.7 * rng.normal(size=label.shape)))).astype("float32")
    theirs, ours = keras.metrics.AUC(curve="PR", multi_label=True), losses.MeanAveragePrecision(1)
    for score in (theirs, ours):
        score.update_state(label, p)
    expected = average_precision_score(label[:, 0], p[:, 0])
    assert float(ours.result()) == pytest.approx(expected, rel=0.05)
    assert abs(float(theirs.result()) - expected) > 0.1


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_swap_ema_weights_does_not_give_the_trained_weights_back(tmp_path):
    """Not taken: it swaps by adding and subtracting, so that each validation moves the weights."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("the other backends copy the weights")
    net = example.mask_model("mask")
    training.fit(
        net, example.batches(example.labels(example.masks(), "mask")), folder=tmp_path, epochs=1, loss="ce",
        ema=0.9, progress=False,
    )  # fmt: skip
    for weight in net.trainable_variables:
        weight.assign(weight + 0.1 * keras.random.normal(weight.shape))
    swap = keras.callbacks.SwapEMAWeights()
    swap.set_model(training.fitting._compiled[net][1])
    before = [np.array(weight.numpy()) for weight in net.trainable_variables]
    swap.on_test_begin()
    swap.on_test_end()
    after = [np.array(weight.numpy()) for weight in net.trainable_variables]
    assert any((one != other).any() for one, other in zip(before, after, strict=True))
