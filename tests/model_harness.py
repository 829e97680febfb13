"""Checks that every network of the package passes, whatever its inputs; used by the tests of each study.

Each check takes a `Case`, whose model answers with one array or with a dict of them; its labels have the same
form. Nothing here knows a backend: what needs gradients trains a step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import keras
import numpy as np

Inputs = dict[str, np.ndarray]
Outputs = np.ndarray | dict[str, np.ndarray]


@dataclass
class Case:
    """A way to build a model, and examples that fit it.

    `build(seed)` returns a fresh model without penalties on weights; `inputs` and integer `labels` are a few
    learnable samples; `inputs[mask]` is 0 where nothing was observed of `inputs[masked]`. Outputs have the
    classes last, whatever stands before: series, pixels, patches. So have labels, as 0 and 1, where a sample
    has `several`.
    """

    build: Callable[[int], keras.Model]
    inputs: Inputs
    labels: Outputs
    classes: int
    masked: str = "image"
    mask: str = "valid"
    several: bool = False

    @cached_property
    def model(self) -> keras.Model:
        """An untrained model for the checks that change nothing in it."""
        return self.build(0)


def predict(model: keras.Model, inputs: Inputs) -> Any:
    """Return the output as NumPy: an array, or a dict of arrays."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(inputs, training=False))


def named(outputs: Outputs) -> dict[str, np.ndarray]:
    """Return outputs by name, also where there is but one."""
    return outputs if isinstance(outputs, dict) else {"output": outputs}


def assert_same(got: Outputs, expected: Outputs, atol: float = 0.0) -> None:
    """Outputs are the same to the last bit, or within a tolerance."""
    assert named(got).keys() == named(expected).keys()
    for name, values in named(got).items():
        np.testing.assert_allclose(values, named(expected)[name], rtol=0, atol=atol, err_msg=name)


def distance(one: Outputs, other: Outputs) -> float:
    """Return the largest difference of any two numbers."""
    return max(float(np.abs(values - named(other)[name]).max()) for name, values in named(one).items())


def fit_steps(
    model: keras.Model, case: Case, steps: int, optimizer: keras.Optimizer, compiled: bool
) -> list[float]:
    """Return the loss before each of some steps on all examples."""
    loss = "binary_crossentropy" if case.several else "sparse_categorical_crossentropy"
    losses = dict.fromkeys(case.labels, loss) if isinstance(case.labels, dict) else loss
    model.compile(optimizer, losses, run_eagerly=not compiled, jit_compile=False)  # XLA compiles for minutes
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces the first step twice
    return [float(np.ravel(model.train_on_batch(case.inputs, case.labels))[0]) for _ in range(steps)]


@contextmanager
def policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def check_output(case: Case) -> None:
    """Probabilities: one row a label, float32, finite, not all the same; of one class they sum to 1."""
    outputs = named(predict(case.model, case.inputs))
    assert outputs.keys() == named(case.labels).keys()
    for name, output in outputs.items():
        shape = named(case.labels)[name].shape
        assert output.shape == (shape if case.several else (*shape, case.classes)), name
        assert output.dtype == np.float32
        assert np.isfinite(output).all()
        if case.several:
            assert ((output > 0) & (output < 1)).all(), name
        else:
            np.testing.assert_allclose(output.sum(-1), 1, atol=1e-5)
        assert output.std(axis=0).max() > 1e-3, name


def check_mask(case: Case) -> None:
    """What stands where nothing was observed changes not one bit; what was observed does count."""
    values, seen = case.inputs[case.masked], case.inputs[case.mask].astype(bool)
    seen = seen.reshape(seen.shape + (1,) * (values.ndim - seen.ndim))
    assert not seen.all(), "the examples need gaps"
    expected = predict(case.model, case.inputs)
    for filler in (np.nan, 1e30, -7.0):
        changed = np.where(seen, values, filler).astype(values.dtype)
        assert_same(predict(case.model, {**case.inputs, case.masked: changed}), expected)
    observed = predict(case.model, {**case.inputs, case.masked: np.where(seen, values + 0.5, values)})
    assert distance(observed, expected) > 1e-3


def check_missing(case: Case, mean: np.ndarray) -> None:
    """A missing value (NaN) counts as the mean of its band, even where a sample has no other."""
    image = case.inputs["image"]
    lost = np.random.default_rng(0).random(image.shape) < 0.3
    lost[0] = True
    gaps = {**case.inputs, "image": np.where(lost, np.nan, image).astype(image.dtype)}
    filled = {**case.inputs, "image": np.where(lost, mean, image).astype(image.dtype)}
    output = predict(case.model, gaps)
    assert all(np.isfinite(values).all() for values in named(output).values())
    assert_same(output, predict(case.model, filled), atol=1e-6)
    assert distance(output, predict(case.model, case.inputs)) > 1e-3


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


def check_precision(case: Case, name: str, tolerance: float = 0.05) -> None:
    """Under a mixed policy weights and output stay float32, output stays near, and steps are finite."""
    with policy(name):
        model = case.build(0)
        assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
        assert any(layer.compute_dtype == name.removeprefix("mixed_") for layer in model.layers)
        output = predict(model, case.inputs)
        losses = fit_steps(model, case, 1, keras.optimizers.Adam(1e-3), False)
    assert {values.dtype for values in named(output).values()} == {np.dtype("float32")}
    assert distance(output, predict(case.build(0), case.inputs)) < tolerance
    assert np.isfinite(losses).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def check_config(case: Case) -> None:
    """A model made from its configuration, with the weights, predicts the same."""
    twin = type(case.model).from_config(case.model.get_config())
    twin.set_weights(case.model.get_weights())
    assert_same(predict(twin, case.inputs), predict(case.model, case.inputs))


def check_saved(case: Case, folder: Path) -> None:
    """A saved model, loaded, predicts the same."""
    case.model.save(folder / "model.keras")
    loaded = keras.models.load_model(folder / "model.keras")
    assert_same(predict(loaded, case.inputs), predict(case.model, case.inputs))


def check_learns(case: Case, steps: int = 40, learning_rate: float = 0.02, share: float = 1 / 3) -> None:
    """The examples can be learnt: the loss falls below a share of what it was, a third."""
    model = case.build(0)
    losses = fit_steps(model, case, steps, keras.optimizers.Adam(learning_rate), True)
    assert losses[-1] < losses[0] * share, losses


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
    kernels = [weight for weight in case.model.get_weights() if weight.ndim > 1 and weight.std() > 0]
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
