"""Checks that every network of the package passes, whatever it reads, and small examples of each input.

Each check takes a `Case`, whose model answers with one array or with a dict of them; its labels have the same
form. Nothing here knows a backend: what needs gradients trains a step, eagerly, for it takes longer to make a
graph than to take a few steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
from keras.src.backend.common import global_state

from eolab import models
from eolab.models import resnet
from eolab.models.images import classifiers, mobilenets, segformer, unets
from eolab.models.images.classifiers import RADAR_MEAN, RADAR_STD
from eolab.models.sequences import attentive

Inputs = dict[str, np.ndarray]
Outputs = np.ndarray | dict[str, np.ndarray]
SEED = 7  # of the model of a case

# === Examples ===

SERIES_STATISTICS = {"mean": [3.0, 1000.0, 0.1, -15.0], "std": [1.0, 400.0, 0.2, 4.0]}
PATCH_STATISTICS = {"mean": [1000.0 + 100 * i for i in range(12)], "std": [400.0] * 12}
PIXEL_STATISTICS = {"mean": [3.0, 1000.0, 0.1], "std": [1.0, 400.0, 0.2]}
SEQUENCE_STATISTICS = {
    "mean": {"s1": [-18.0], "s2": [0.1, 0.1, 0.2]},
    "std": {"s1": [4.0], "s2": [0.05, 0.05, 0.1]},
}
BANDS = {"s1": 1, "s2": 3}
SEVERAL = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1]], "float32")  # labels of four patches


def series(seed: int = 0, samples: int = 32, times: int = 5) -> tuple[Inputs, np.ndarray]:
    """Raw values of four bands in their own units, a third of the dates missing."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, samples)
    season = np.cos(np.arange(times)[:, None] + 2.0 * labels[:, None, None] + np.arange(4))  # (B, T, C)
    valid = rng.random((samples, times)) > 0.33
    valid[:, 0] = True
    noisy = season + rng.normal(0, 0.3, season.shape)
    raw = SERIES_STATISTICS["mean"] + noisy * SERIES_STATISTICS["std"]
    day = np.sort(rng.uniform(0, 365, (samples, times)), axis=1)
    inputs = {"image": np.where(valid[..., None], raw, np.nan), "valid": valid, "day": day}
    return {key: values.astype("float32") for key, values in inputs.items()}, labels


def pixels(height: int, width: int, seed: int = 0) -> tuple[Inputs, np.ndarray]:
    """Raw values of three bands in their own units; in all patches but one, one half differs."""
    rng = np.random.default_rng(seed)
    label = np.zeros((4, height, width), "uint8")
    label[1, : height // 2], label[2, height // 2 :], label[3, :, width // 2 :] = 1, 1, 1
    signal = label[..., None] * [2.0, -2.0, 1.0] + rng.normal(0, 0.3, (*label.shape, 3))
    image = np.array(PIXEL_STATISTICS["mean"]) + signal * np.array(PIXEL_STATISTICS["std"])
    return {"image": image.astype("float32")}, label


def patches(height: int, width: int, radar: bool = False) -> Inputs:
    """Raw values of patches; each label brightens bands of its own, and the radar image if there is one."""
    rng, shape = np.random.default_rng(0), (len(SEVERAL), height, width)
    signal = np.repeat(SEVERAL, 4, axis=1)[:, None, None] * 2 - 1  # (B, 1, 1, C)
    noise = rng.normal(0, 0.5, (*shape, 12)) + signal
    inputs = {"image": np.array(PATCH_STATISTICS["mean"]) + noise * np.array(PATCH_STATISTICS["std"])}
    if radar:
        noise = rng.normal(0, 0.5, (*shape, 2)) + 2 * SEVERAL[:, None, None, :2]
        inputs["radar"] = np.array(RADAR_MEAN) + noise * np.array(RADAR_STD)
    return {key: values.astype("float32") for key, values in inputs.items()}


def image_series(
    height: int, width: int, seed: int = 0, times: int = 5, samples: int = 3
) -> tuple[Inputs, np.ndarray]:
    """Raw values of four bands, each class with a season of its own; clouds, and a date without any pixel."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, (samples, -(-height // 5), -(-width // 5))).astype("uint8")
    label = label.repeat(5, axis=1).repeat(5, axis=2)[:, :height, :width]  # (B, H, W)
    phase = np.arange(times)[:, None, None, None] + 2.0 * label[:, None, ..., None]
    noisy = np.cos(phase + np.arange(4)) + rng.normal(0, 0.3, (samples, times, height, width, 4))
    raw = SERIES_STATISTICS["mean"] + noisy * SERIES_STATISTICS["std"]
    valid = rng.random(raw.shape[:-1]) > 0.2
    valid[0, 1], valid[1, 3] = False, False
    day = np.sort(rng.uniform(0, 365, (samples, times)), axis=1)
    inputs = {"image": np.where(valid[..., None], raw, np.nan), "valid": valid, "day": day}
    return {key: values.astype("float32") for key, values in inputs.items()}, label


def sequences(height: int, width: int, bands: dict[str, int] = BANDS) -> tuple[Inputs, np.ndarray]:
    """Sequences of five steps that flood at a step or never; half of the image darkens where it does."""
    rng, times = np.random.default_rng(0), 5
    wet = (np.arange(times) >= np.array([1, 3, times])[:, None]).astype("int32")  # (B, T)
    inputs = {}
    for place, (sensor, count) in enumerate(bands.items()):
        noise = rng.normal(0, 0.5, (3, times, height, width, count))
        noise[:, :, : height // 2] -= 2.0 * wet[:, :, None, None, None]
        mean, std = (np.array(SEQUENCE_STATISTICS[key][sensor]) for key in ("mean", "std"))
        valid = np.ones((3, times), "float32")
        valid[0, 3], valid[1, 2 * place] = 0, 0
        inputs[sensor] = (mean + noise * std).astype("float32")
        inputs[f"{sensor}_valid"] = valid
        inputs[f"{sensor}_day"] = np.tile(np.arange(times, dtype="float32") * 12 + place, (3, 1))
    return inputs, wet


# === Cases ===


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
        return self.build(SEED)

    @cached_property
    def expected(self) -> Any:
        """What it predicts of the inputs."""
        return predict(self.model, self.inputs)


def predict(model: keras.Model, inputs: Inputs) -> Any:
    """Return the output as NumPy: an array, or a dict of arrays."""
    return keras.tree.map_structure(keras.ops.convert_to_numpy, model(inputs, training=False))


def planned(name: str, **options: Any) -> keras.Model:
    """The network without its numbers: layers, shapes and counts, in a moment."""
    with shapes_alone():
        return models.build(name, **options)


@contextmanager
def shapes_alone() -> Iterator[None]:
    """What is built has shapes alone; Keras would draw the numbers of all with the next network otherwise."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    global_state.set_global_attribute("uninitialized_variables", [])


def trainable(model: keras.Model) -> int:
    """Number of trainable weights."""
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@contextmanager
def shallow() -> Iterator[None]:
    """Deep networks have few blocks and few levels, and still every kind of block."""
    mobilenetv2 = [(*row[:2], 1 + (row[1] in (24, 160)), row[3]) for row in mobilenets.MOBILENETV2]
    mobilenetv3 = [mobilenets.MOBILENETV3[row] for row in (0, 1, 3, 4, 6, 10, 12)]
    efficientnetv2 = [
        (*row[:3], 1 + (row[2] in (48, 128)), row[4])  # a second one, fused or not, adds to its input
        for row in mobilenets.EFFICIENTNETV2
    ]
    convnext = [(features, 1) for features, _ in classifiers.CONVNEXT]
    with (
        mock.patch.object(resnet, "BLOCKS", {18: (1, 1, 1, 1), 50: (1, 1, 1, 2)}),
        mock.patch.object(mobilenets, "MOBILENETV2", mobilenetv2),
        mock.patch.object(mobilenets, "MOBILENETV3", mobilenetv3),
        mock.patch.object(mobilenets, "DETAIL", 3),
        mock.patch.object(mobilenets, "EFFICIENTNETV2", efficientnetv2),
        mock.patch.object(classifiers, "CONVNEXT", convnext),
        mock.patch.object(segformer, "STAGES", segformer.STAGES[:2] + segformer.STAGES[-1:]),
        mock.patch.object(unets, "CONVOLUTIONS", (1, 2, 1)),
        mock.patch.object(unets, "FACTORS", (1, 2, 15.5)),
        mock.patch.object(attentive, "UTAE", attentive.UTAE[:2] + attentive.UTAE[-1:]),
        mock.patch.object(attentive, "COARSEST", 4),
    ):
        yield


@contextmanager
def undrawn() -> Iterator[None]:
    """Weights start at zero, for networks that get theirs from a file: drawing many numbers takes long."""

    def zeros(_: Any, shape: tuple[int, ...], dtype: Any = None) -> np.ndarray:
        return np.zeros(shape, dtype or "float32")

    with ExitStack() as patches:
        for name in ("VarianceScaling", "Orthogonal", "TruncatedNormal", "RandomNormal", "RandomUniform"):
            patches.enter_context(mock.patch.object(getattr(keras.initializers, name), "__call__", zeros))
        yield


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
    model: keras.Model, case: Case, steps: int, optimizer: keras.Optimizer, compiled: bool = False
) -> list[float]:
    """Return the loss before each of some steps on all examples."""
    loss = "binary_crossentropy" if case.several else "sparse_categorical_crossentropy"
    losses = dict.fromkeys(case.labels, loss) if isinstance(case.labels, dict) else loss
    model.compile(optimizer, losses, run_eagerly=not compiled, jit_compile=False)  # XLA compiles for minutes
    model.optimizer.build(model.trainable_variables)  # else TensorFlow traces the first step twice
    return [float(np.ravel(model.train_on_batch(case.inputs, case.labels))[0]) for _ in range(steps)]


class Sign(keras.optimizers.SGD):
    """Each weight moves by the rate against its gradient, as in Adam's first step; nothing is remembered."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        self.assign_sub(variable, keras.ops.cast(learning_rate, variable.dtype) * keras.ops.sign(gradient))


def check_step(model: keras.Model, case: Case) -> None:
    """After a step, loss and weights are numbers."""
    assert np.isfinite(fit_steps(model, case, 1, keras.optimizers.SGD(1e-3))).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@contextmanager
def policy(name: str) -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


# === Checks ===


def check_output(case: Case) -> None:
    """Probabilities: one row a label, float32, finite, not all the same; of one class they sum to 1."""
    outputs = named(case.expected)
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
        assert output.std(axis=0).max() > 1e-4, name


def check_mask(case: Case) -> None:
    """What stands where nothing was observed changes not one bit; what was observed does count."""
    values, seen = case.inputs[case.masked], case.inputs[case.mask].astype(bool)
    seen = seen.reshape(seen.shape + (1,) * (values.ndim - seen.ndim))
    assert not seen.all(), "the examples need gaps"
    fillers = np.random.default_rng(0).choice([np.nan, 1e30, -7.0], values.shape)
    changed = np.where(seen, values, fillers).astype(values.dtype)
    assert_same(predict(case.model, {**case.inputs, case.masked: changed}), case.expected)
    observed = predict(case.model, {**case.inputs, case.masked: np.where(seen, values + 2, values)})
    assert distance(observed, case.expected) > 1e-3


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
    assert distance(output, case.expected) > 1e-3


def check_nothing_observed(case: Case) -> None:
    """Samples without any observation get finite probabilities, all the same, and do not disturb training."""
    empty = {**case.inputs, case.mask: np.zeros_like(case.inputs[case.mask])}
    output = predict(case.model, empty)
    np.testing.assert_allclose(output.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(output, np.broadcast_to(output[:1], output.shape), atol=1e-6)
    mixed = {**case.inputs, case.mask: case.inputs[case.mask].copy()}
    mixed[case.mask][::2] = 0
    check_step(case.build(0), Case(case.build, mixed, case.labels, case.classes))


def check_precision(case: Case, name: str, tolerance: float = 0.05) -> keras.Model:
    """Under a mixed policy weights and output stay float32, and output stays near; return the model.

    The weights are those of the case's model: the seed fixes them.
    """
    with policy(name):
        model = case.build(SEED)
        for one, other in zip(model.get_weights(), case.model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
        assert {weight.dtype for weight in model.trainable_weights} == {"float32"}
        assert any(layer.compute_dtype == name.removeprefix("mixed_") for layer in model.layers)
    output = predict(model, case.inputs)
    assert {values.dtype for values in named(output).values()} == {np.dtype("float32")}
    assert distance(output, case.expected) < tolerance
    return model


def check_saved(case: Case, folder: Path) -> keras.Model:
    """A saved model, loaded, predicts the same by what the file holds, not its seed; return it."""
    case.model.save(folder / "model.keras")
    with undrawn():
        loaded = models.load(folder / "model.keras")
    assert_same(predict(loaded, case.inputs), case.expected)
    for kind in ("trainable_weights", "non_trainable_weights"):
        one, other = ([weight.shape for weight in getattr(model, kind)] for model in (loaded, case.model))
        assert one == other, kind
    return loaded


def check_trains(case: Case, model: keras.Model) -> None:
    """A step moves every trainable weight and lowers the loss; the model is another after."""
    before = [keras.ops.convert_to_numpy(weight).copy() for weight in model.trainable_weights]
    losses = fit_steps(model, case, 1, Sign(0.003))
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.abs(keras.ops.convert_to_numpy(weight) - old).max() > 0, weight.path
    after = model.compute_loss(case.inputs, case.labels, model(case.inputs, training=True))
    assert float(after) < losses[0], (losses, after)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def check_learns(case: Case, steps: int) -> None:
    """The examples can be learnt: the loss falls below a third of what it was."""
    losses = fit_steps(case.build(0), case, steps, keras.optimizers.Adam(0.02), True)
    assert losses[-1] < losses[0] / 3, losses


def check_seed(case: Case) -> None:
    """All that is random comes from the model's seed, and no two kernels start alike."""
    seeds = list(seeds_of(case.model.get_config()))
    assert seeds
    assert all(SEED * 1000 < seed < (SEED + 1) * 1000 for seed in seeds), seeds
    kernels = [weight for weight in case.model.get_weights() if weight.ndim > 1 and weight.std() > 0]
    for i, a in enumerate(kernels):
        assert not any(a.shape == b.shape and np.array_equal(a, b) for b in kernels[i + 1 :])


def seeds_of(config: Any) -> Iterator[int]:
    """The seeds of all initialisers and dropouts of a configuration; but for dropouts of 0."""
    if isinstance(config, dict):
        if "seed" in config and not (config["seed"] is None and config.get("recurrent_dropout") == 0):
            yield -1 if config["seed"] is None else config["seed"]
        config = config.values()
    elif not isinstance(config, list | tuple):
        return
    for value in config:
        yield from seeds_of(value)
