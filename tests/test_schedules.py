"""Learning-rate schedules against formulas and PyTorch's numbers; the range test."""

import math

import keras
import numpy as np
import pandas as pd
import pytest

from eolab import models, schedules
from eolab.errors import ParameterError, RunError
from eolab.models.segmentation import heads

# torch.optim.lr_scheduler.OneCycleLR(max_lr=0.2, total_steps=50, pct_start=0.3), PyTorch 2
TORCH = {
    0: 0.008,
    1: 0.010406920430544947,
    7: 0.104,
    13: 0.19759307956945507,
    14: 0.2,
    15: 0.19959743100980634,
    30: 0.11342367288845923,
    48: 0.0004033689901936913,
    49: 8e-07,
}


def rates(schedule, steps):
    return np.array([float(schedule(step)) for step in range(steps)])


def test_one_cycle_is_that_of_pytorch():
    found = rates(schedules.build("one_cycle", 0.2, 5, 10, rise=0.3), 51)
    for step, rate in TORCH.items():
        assert found[step] == pytest.approx(rate, rel=1e-3, abs=1e-8), step
    assert found[50] == found[49]
    assert found.argmax() == 14


def test_cosine_with_warm_up():
    found = rates(schedules.build("cosine", 0.1, 10, 10, warmup_epochs=1, end=0.1), 101)
    assert (np.diff(found[:11]) > 0).all()
    assert found[10] == pytest.approx(0.1)
    expected = [0.1 * (0.1 + 0.9 * (1 + math.cos(math.pi * s / 90)) / 2) for s in range(91)]
    np.testing.assert_allclose(found[10:], expected, rtol=1e-4)
    plain = rates(schedules.build("cosine", 0.1, 10, 10), 101)
    assert plain[0] == pytest.approx(0.1)
    assert plain[100] == pytest.approx(0.001)


def test_step_and_constant():
    found = rates(schedules.build("step", 0.1, 3, 6, every=2, factor=0.5), 18)
    np.testing.assert_allclose(found, np.repeat([0.1, 0.05, 0.025], 6), rtol=1e-6)
    assert schedules.build("constant", 0.1, 3, 6) == 0.1


@pytest.mark.parametrize("name", ["step", "cosine", "one_cycle"])
def test_schedules_survive_saving_with_their_optimizer(name):
    schedule = schedules.build(name, 0.1, 5, 4)
    optimizer = keras.optimizers.Adam(schedule)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    np.testing.assert_array_equal(rates(again._learning_rate, 20), rates(schedule, 20))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("one_cylce", 0.1, 5, 5), {}, "did you mean 'one_cycle'"),
        (("step", 0.1, 5, 5), {"evry": 2}, "did you mean 'every'"),
        (("cosine", -0.1, 5, 5), {}, "positive rate"),
        (("one_cycle", 0.1, 5, 5), {"rise": 1.5}, "rise between 0 and 1"),
    ],
)
def test_impossible_schedules_are_refused(arguments, options, message):
    with pytest.raises(ParameterError, match=message):
        schedules.build(*arguments, **options)


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


def test_range_test_leaves_the_model_as_it_was():
    model = small_model()
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.train_on_batch(*Batches()[0])
    before = [np.array(v) for v in [*model.variables, *model.optimizer.variables]]
    table = schedules.range_test(model, Batches(), 1e-4, 100.0, 60)
    after = [np.array(v) for v in [*model.variables, *model.optimizer.variables]]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))
    assert table["learning_rate"].iloc[0] == pytest.approx(1e-4)
    assert table["learning_rate"].is_monotonic_increasing
    assert np.diff(np.log(table["learning_rate"])) == pytest.approx(math.log(1e6) / 59)
    assert table["smoothed"].min() < table["smoothed"].iloc[0]
    assert len(table) < 60  # it diverged and stopped
    assert table.attrs["suggested"] == table["learning_rate"][table["smoothed"].idxmin()] / 10


def test_range_test_of_a_network_with_several_outputs():
    """Masks at three resolutions, labels without weights, a loss given as text."""
    rng = np.random.default_rng(0)
    image = rng.normal(size=(4, 16, 16, 2)).astype("float32")
    label = (image[..., 0] > 1).astype("uint8")

    class Patches:
        num_batches = 1

        def __getitem__(self, index):
            return {"image": image}, heads.targets(label, "multi")

    model = models.build("unet", size=16, bands=2, classes=2, width=0.0625, levels=2, head="multi")
    table = schedules.range_test(model, Patches(), 1e-4, 1e-1, 12, loss="0.5*focal + 0.5*iou")
    assert len(table) == 12
    assert table["smoothed"].iloc[-1] < table["smoothed"].iloc[0]


def test_range_test_sees_nan_and_refuses_bad_rates():
    class Nan(Batches):
        def __getitem__(self, index):
            inputs, label, weight = super().__getitem__(index)
            return inputs, label, weight * np.nan

    with pytest.raises(RunError, match="no number at the learning rate"):
        schedules.range_test(small_model(), Nan())
    with pytest.raises(ParameterError, match="goes up from min_lr"):
        schedules.range_test(small_model(), Batches(), 1.0, 0.1)


def test_suggestion():
    rate = np.logspace(-5, 0, 51)
    fall = 1 / (1 + np.exp(5 * (np.log10(rate) + 3)))  # steepest at 1e-3
    table = pd.DataFrame({"learning_rate": rate, "smoothed": fall + 10 * rate})
    assert schedules.suggest(table, "steepest") == pytest.approx(1e-3, rel=0.3)
    assert schedules.suggest(table) == pytest.approx(rate[table["smoothed"].argmin()] / 10)
    with pytest.raises(ParameterError, match="steepest"):
        schedules.suggest(table, "flat")
