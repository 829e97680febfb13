"""The range test of learning rates."""

import math

import keras
import numpy as np
import pytest

from eolab import training
from eolab.core.errors import ParameterError, RunError
from eolab.models import heads
from eolab.training import lr_finder


class Batches:
    num_batches = 3

    def __getitem__(self, index):
        rng = np.random.default_rng(index)
        x = rng.normal(size=(32, 4)).astype(np.float32)
        return {"image": x}, (x[:, 0] > 0).astype(np.int32), np.ones(32, np.float32)


def small_model():
    keras.utils.set_random_seed(0)
    image = keras.Input((4,), name="image")
    hidden = keras.layers.Dropout(0.2)(keras.layers.Dense(8, activation="relu")(image))
    hidden = keras.layers.BatchNormalization()(hidden)
    return keras.Model({"image": image}, keras.layers.Dense(2, activation="softmax")(hidden))


@pytest.mark.slow
def test_range_test_leaves_the_model_as_it_was():
    model = small_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.train_on_batch(*Batches()[0])
    before = [np.array(v) for v in [*model.variables, *model.optimizer.variables]]
    table = training.range_test(model, Batches(), 1e-4, 100.0, 60)
    after = [np.array(v) for v in [*model.variables, *model.optimizer.variables]]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    assert table["learning_rate"].iloc[0] == pytest.approx(1e-4)
    assert table["learning_rate"].is_monotonic_increasing
    assert np.diff(np.log(table["learning_rate"])) == pytest.approx(math.log(1e6) / 59)
    assert table["smoothed"].min() < table["smoothed"].iloc[0]
    assert len(table) < 60  # it diverged and stopped
    assert table.attrs["suggested"] == table["learning_rate"][table["smoothed"].idxmin()] / 10


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_range_test_of_a_network_with_several_outputs():
    """Masks at three resolutions, labels without weights, a loss given as text."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(4, 16, 16, 2)).astype("float32")
    label = (image[..., 0] > 1).astype("uint8")

    class Patches:
        num_batches = 1

        def __getitem__(self, index):
            return {"image": image}, heads.targets(label, "multi")

    given = keras.Input((16, 16, 2), name="image")
    sizes = {"mask": given, "half": keras.layers.AveragePooling2D(2)(given)}
    sizes["double"] = keras.layers.UpSampling2D()(given)
    outputs = {name: keras.layers.Dense(2, activation="softmax")(x) for name, x in sizes.items()}
    model = keras.Model({"image": given}, outputs)
    table = training.range_test(model, Patches(), 1e-4, 1e-1, 12, loss={"focal": 0.5, "iou": 0.5})
    assert len(table) == 12
    assert table["smoothed"].iloc[-1] < table["smoothed"].iloc[0]


@pytest.mark.slow
def test_range_test_sees_nan_and_refuses_bad_rates():
    class Nan(Batches):
        def __getitem__(self, index):
            inputs, label, weight = super().__getitem__(index)
            return inputs, label, weight * np.nan

    with pytest.raises(RunError, match="no number at the learning rate"):
        training.range_test(small_model(), Nan())
    for arguments in ((1.0, 0.1), (0.1, 1.0, 2)):
        with pytest.raises(ParameterError, match="goes up from min_lr to max_lr in 3 steps or more"):
            training.range_test(small_model(), Batches(), *arguments)


def test_a_tenth_of_the_rate_with_the_lowest_loss_is_suggested(monkeypatch):
    rate = np.logspace(-5, 0, 51)
    fall = 1 / (1 + np.exp(5 * (np.log10(rate) + 3))) + 10 * rate
    monkeypatch.setattr(lr_finder, "_losses", lambda *given: iter(fall))
    table = training.range_test(small_model(), Batches(), 1e-5, 1.0, 51)
    best = table["learning_rate"][table["smoothed"].argmin()]
    assert table.attrs["suggested"] == pytest.approx(best / 10)
    assert 1e-5 < best < 1
    monkeypatch.setattr(lr_finder, "_losses", lambda *given: iter(fall[:1]))
    with pytest.raises(RunError, match="no number at the learning rate 1e-05: check"):
        training.range_test(small_model(), Batches(), 1e-6, 1e-4, 3)
