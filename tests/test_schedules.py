"""Learning-rate schedules against formulas and PyTorch's numbers."""

import math

import keras
import numpy as np
import pytest

from eolab.core.errors import ParameterError
from eolab.training import schedules

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


@pytest.mark.parametrize("options", [{"name": "step"}, {"name": "one_cycle"}, {"name": "cosine", "end": 0.1}])
def test_a_paced_schedule_takes_the_steps_of_another(options):
    first, other = (
        schedules.build(learning_rate=0.1, steps_per_epoch=n, epochs=4, **options) for n in (5, 7)
    )
    paced = schedules.Paced(first)
    np.testing.assert_allclose(rates(paced, 28), rates(first, 28), rtol=1e-6)
    paced.put(other)
    np.testing.assert_allclose(rates(paced, 28), rates(other, 28), rtol=1e-6)


def test_paced_schedules_that_differ_in_more_than_steps_are_told_apart():
    """A warm-up begins at a rate that depends on its steps, which a compiled graph holds."""
    paced = [schedules.Paced(schedules.build("cosine", 0.1, n, 4, warmup_epochs=1)) for n in (5, 7)]
    assert paced[0].get_config() != paced[1].get_config()


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
