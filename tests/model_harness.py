"""Checks that every network of the package passes, whatever its inputs; used by the tests of each study.

Each check takes a `Case`. Nothing here knows a backend: what needs gradients trains a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import numpy as np

Inputs = dict[str, np.ndarray]


@dataclass
class Case:
    """A way to build a model, and examples that fit it.

    `build(seed)` returns a fresh model without penalties on weights; `inputs` and integer `labels` are a few
    learnable samples; `inputs[mask]` is 0 where nothing was observed of `inputs[masked]`.
    """

    build: Callable[[int], keras.Model]
    inputs: Inputs
    labels: np.ndarray
    classes: int
    masked: str = "image"
    mask: str = "valid"

    @cached_property
    def model(self) -> keras.Model:
        """An untrained model for the checks that change nothing in it."""
        return self.build(0)


def predict(model: keras.Model, inputs: Inputs) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(inputs, training=False))


def fit_steps(
    model: keras.Model, case: Case, steps: int, optimizer: keras.Optimizer, compiled: bool
) -> list[float]:
    """Return the loss before each of some steps on all examples."""
    model.compile(optimizer, "sparse_categorical_crossentropy", run_eagerly=not compiled)
    return [float(model.train_on_batch(case.inputs, case.labels)) for _ in range(steps)]


@contextmanager
def policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_output(case: Case) -> None:
    """Probabilities: one row a sample, float32, finite, summing to 1, not the same for all samples."""
    output = predict(case.model, case.inputs)
    assert output.shape == (len(case.labels), case.classes)
    assert output.dtype == np.float32
    assert np.isfinite(output).all()
    np.testing.assert_allclose(output.sum(-1), 1, atol=1e-5)
    assert output.std(axis=0).max() > 1e-3


def check_mask(case: Case) -> None:
    """What stands where nothing was observed changes not one bit; what was observed does count."""
    values, seen = case.inputs[case.masked], case.inputs[case.mask].astype(bool)
    seen = seen.reshape(seen.shape + (1,) * (values.ndim - seen.ndim))
    assert not seen.all(), "the examples need gaps"
    expected = predict(case.model, case.inputs)
    for filler in (np.nan, 1e30, -7.0):
        changed = np.where(seen, values, filler).astype(values.dtype)
        np.testing.assert_array_equal(predict(case.model, {**case.inputs, case.masked: changed}), expected)
    observed = predict(case.model, {**case.inputs, case.masked: np.where(seen, values + 0.5, values)})
    assert np.abs(observed - expected).max() > 1e-3


def check_nothing_observed(case: Case) -> None:
    """Samples without any observation get finite probabilities, all the same, and do not disturb training."""
    empty = {**case.inputs, case.mask: np.zeros_like(case.inputs[case.mask])}
    output = predict(case.model, empty)
    np.testing.assert_allclose(output.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(output, np.broadcast_to(output[:1], output.shape), atol=1e-6)
    mixed = {**case.inputs, case.mask: case.inputs[case.mask].copy()}
    mixed[case.mask][::2] = 0
    model = case.build(0)
    fit_steps(model, Case(case.build, mixed, case.labels, case.classes), 1, keras.optimizers.SGD(0.1), False)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def check_precision(case: Case, name: str) -> None:
    """Under a mixed policy weights and output stay float32, output stays near, and steps are finite."""
    with policy(name):
        model = case.build(0)
        assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
        assert any(layer.compute_dtype == name.removeprefix("mixed_") for layer in model.layers)
        output = predict(model, case.inputs)
        losses = fit_steps(model, case, 1, keras.optimizers.Adam(1e-3), False)
    assert output.dtype == np.float32
    assert np.abs(output - predict(case.build(0), case.inputs)).max() < 0.05
    assert np.isfinite(losses).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def check_config(case: Case) -> None:
    """A model made from its configuration, with the weights, predicts the same."""
    twin = type(case.model).from_config(case.model.get_config())
    twin.set_weights(case.model.get_weights())
    np.testing.assert_array_equal(predict(twin, case.inputs), predict(case.model, case.inputs))


def check_saved(case: Case, folder: Path) -> None:
    """A saved model, loaded, predicts the same."""
    case.model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    np.testing.assert_array_equal(predict(loaded, case.inputs), predict(case.model, case.inputs))


def check_learns(case: Case, steps: int = 40, learning_rate: float = 0.02) -> None:
    """The examples can be learnt: the loss falls below a third."""
    model = case.build(0)
    losses = fit_steps(model, case, steps, keras.optimizers.Adam(learning_rate), True)
    assert losses[-1] < losses[0] / 3


def check_gradients(case: Case) -> None:
    """One step of plain gradient descent moves every trainable weight."""
    model = case.build(0)
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.trainable_weights]
    fit_steps(model, case, 1, keras.optimizers.SGD(1.0), False)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.abs(keras.ops.convert_to_numpy(weight) - old).max() > 0, weight.path


def check_seed(case: Case) -> None:
    """The seed fixes weights and dropout, another gives others, and no two kernels start alike."""
    one, same, other = case.build(1), case.build(1), case.build(2)
    losses = [fit_steps(model, case, 1, keras.optimizers.SGD(0.1), False) for model in (one, same, other)]
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]
    for a, b in zip(one.get_weights(), same.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    kernels = [weight for weight in case.model.get_weights() if weight.ndim > 1]
    for i, a in enumerate(kernels):
        assert not any(a.shape == b.shape and np.array_equal(a, b) for b in kernels[i + 1 :])


CHECKS = {
    "output": check_output,
    "mask": check_mask,
    "nothing observed": check_nothing_observed,
    "config": check_config,
    "learns": check_learns,
    "gradients": check_gradients,
    "seed": check_seed,
}
