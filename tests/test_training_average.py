"""Averaged weights: right, kept as the best, and the same after a kill."""

import keras
import numpy as np
import pandas as pd
import pytest
import training_example as example

pytestmark = pytest.mark.slow  # trains networks

EMA = 0.8


class Steps(keras.callbacks.Callback):
    """Notes the weights after each step."""

    def __init__(self):
        super().__init__()
        self.weights = []

    def on_train_batch_end(self, batch, logs=None):
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self.weights.append(trainable(self.model))


class StopInValidation(keras.callbacks.Callback):
    """Interrupts a validation while the averages are in the model."""

    def __init__(self, epoch):
        super().__init__()
        self.at, self.epoch = epoch, None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_test_batch_end(self, batch, logs=None):
        if self.epoch == self.at:
            raise KeyboardInterrupt


def trainable(net):
    return [np.array(keras.ops.convert_to_numpy(weight)) for weight in net.trainable_variables]


def averages(steps, momentum=EMA):
    """The exponential moving average of the weights after each step, in float64."""
    found = [np.float64(weight) for weight in steps[0]]
    for weights in steps[1:]:
        found = [momentum * a + (1 - momentum) * w for a, w in zip(found, weights, strict=True)]
    return found


def interrupt():
    raise KeyboardInterrupt


LOSS = {"mask": {"focal": 1, "iou": 1}, "patch": "ce"}


def fit(folder, **options):
    return example.fit_masks(folder, "mask", "patch", loss=LOSS, ema=EMA, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder, steps = tmp_path_factory.mktemp("whole"), Steps()
    net, history = fit(folder, callbacks=[steps], monitor="val_mask_loss")
    data = example.labels(example.masks(1), "mask", "patch")
    found = example.evaluate(net, example.batches(data, 7), LOSS)
    ends = trainable(net), [np.array(keras.ops.convert_to_numpy(v)) for v in net.variables]
    return folder, ends, history, steps.weights, found


def test_the_final_weights_are_the_average_up_to_the_best_epoch(whole):
    _, (net, _), history, steps, _ = whole
    until = history.attrs["best_epoch"] * 4  # batches an epoch
    assert len(steps) == 16
    for ours, theirs in zip(net, averages(steps[:until]), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    assert any(abs(a - b).max() > 1e-4 for a, b in zip(net, steps[until - 1], strict=True))


def test_validation_is_of_the_averages(whole):
    _, _, history, _, found = whole
    best = history.loc[history.attrs["best_epoch"] - 1]
    assert found["loss"] == pytest.approx(best["val_loss"], rel=1e-4)
    assert found["mask_loss"] == pytest.approx(best["val_mask_loss"], rel=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_averaging_does_not_touch_the_training(tmp_path, whole):
    steps = Steps()
    example.fit_masks(tmp_path, "mask", "patch", loss=LOSS, callbacks=[steps], epochs=2)
    for ours, theirs in zip(steps.weights[-1], whole[3][len(steps.weights) - 1], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_interrupted_training_ends_as_the_unbroken_one(tmp_path, whole):
    folder, (_, variables), history, _, _ = whole
    for stop in (StopInValidation(0), example.StopAt(1, 2, interrupt), StopInValidation(2)):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, callbacks=[stop], monitor="val_mask_loss")
    again, resumed = fit(tmp_path, monitor="val_mask_loss")
    assert resumed.attrs["resumed_at"] == 2
    drop = {"columns": "seconds"}
    pd.testing.assert_frame_equal(resumed.drop(**drop), history.drop(**drop), rtol=1e-5, atol=1e-7)
    for ours, theirs in zip(again.variables, variables, strict=True):
        np.testing.assert_allclose(np.array(ours), theirs, rtol=1e-5, atol=1e-6)
    names = [sorted(p.name for p in (f / "checkpoint").iterdir()) for f in (tmp_path, folder)]
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_without_validation_the_average_is_kept_too(tmp_path):
    steps = Steps()
    net = example.mask_model("mask")
    from eolab import training

    data = example.batches(example.labels(example.masks(), "mask"), 7, shuffle=True)
    training.fit(
        net,
        data,
        folder=tmp_path,
        epochs=1,
        loss="ce",
        ema=EMA,
        progress=False,
        callbacks=[steps],
    )
    for ours, theirs in zip(trainable(net), averages(steps.weights), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
