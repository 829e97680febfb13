"""Optimizers of the package beside those of Keras."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from eolab.training.optimizers import OPTIMIZERS, OneOperation

OWN = [name for name, kind in OPTIMIZERS.items() if issubclass(kind, OneOperation)]
OPTIONS = {
    "plain": {},
    "clipped": {"clipnorm": 0.5},
    "averaged": {"use_ema": True, "ema_momentum": 0.9},
    "schedule": {"learning_rate": keras.optimizers.schedules.ExponentialDecay(0.05, 3, 0.5)},
    "accumulated": {"gradient_accumulation_steps": 2},
    "amsgrad": {"amsgrad": True},
    "whole numbers": {"beta_1": 0, "learning_rate": np.float64(0.01)},
}


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["graph", "xla"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", OWN)
def test_weights_after_ten_steps_are_those_of_keras(name, options, xla):
    rng = np.random.default_rng(0)
    starts = [rng.normal(size=shape).astype("float32") for shape in ((4, 3), (3,))]
    steps = [[tf.constant(rng.normal(size=one.shape).astype("float32")) for one in starts] for _ in range(10)]

    def after(kind) -> list[np.ndarray]:
        weights = [keras.Variable(start) for start in starts]
        optimizer = kind(**{"learning_rate": 0.03, **OPTIONS[options]})
        optimizer.build(weights)

        @tf.function(jit_compile=xla)
        def step(gradients):
            optimizer.apply(gradients)

        for gradients in steps:
            step(gradients)
        optimizer.finalize_variable_values(weights)
        return [np.asarray(one) for one in (*weights, *optimizer.variables)]

    own, theirs = OPTIMIZERS[name], getattr(keras.optimizers, OPTIMIZERS[name].__name__)
    for ours, expected in zip(after(own), after(theirs), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", OWN)
def test_a_step_is_one_operation_a_weight_and_what_weights_share_is_worked_out_once(name):
    def operations(count: int) -> list[str]:
        weights = [keras.Variable(np.ones(3, "float32")) for _ in range(count)]
        optimizer = OPTIMIZERS[name](OPTIONS["schedule"]["learning_rate"])
        optimizer.build(weights)
        traced = tf.function(optimizer.apply).get_concrete_function([tf.TensorSpec(3)] * count)
        return [one.type for one in traced.graph.get_operations()]

    few, many = operations(2), operations(9)
    assert [found.count("ResourceApplyAdam") for found in (few, many)] == [2, 9]
    assert few.count("Pow") == many.count("Pow")


def test_weights_that_are_excluded_do_not_decay():
    weights = [keras.Variable(np.ones(3, "float32"), name=one) for one in ("kernel", "bias")]
    optimizer = OPTIMIZERS["adamw"](0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    optimizer.build(weights)
    optimizer.apply([np.zeros(3, "float32")] * 2)
    np.testing.assert_allclose(np.array(weights[0]), 0.95)
    np.testing.assert_allclose(np.array(weights[1]), 1.0)
