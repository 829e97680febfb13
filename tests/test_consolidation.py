"""Fisher information and the penalty of elastic weight consolidation, against closed forms."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from eolab.core.errors import ParameterError
from eolab.training.consolidation import Held, consolidate, fisher


def logistic(weights, bias):
    inputs = keras.Input((len(weights),), name="x")
    network = keras.Model({"x": inputs}, keras.layers.Dense(1, activation="sigmoid")(inputs))
    network.set_weights([np.asarray(weights, "float32")[:, None], np.asarray([bias], "float32")])
    return network


WEIGHTS, BIAS = [0.8, -0.5], 0.3
X = np.random.default_rng(0).normal(size=(5, 2)).repeat(80, axis=0).astype("float32")
P = 1 / (1 + np.exp(-(X @ WEIGHTS + BIAS)))


def test_the_fisher_information_of_given_labels_is_the_mean_squared_residual_times_input():
    """Of logistic regression the gradient of log p(y | x) is (y − p) x."""
    some, labels = np.arange(0, 400, 13), np.arange(31) % 2
    kernel, bias = fisher(logistic(WEIGHTS, BIAS), {"x": X[some]}, labels)
    square = (labels - P[some]) ** 2
    np.testing.assert_allclose(kernel[:, 0], (square[:, None] * X[some] ** 2).mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(bias, [square.mean()], rtol=1e-4)


def test_the_fisher_information_of_logistic_regression_is_p_1_minus_p_x_squared():
    """Labels are drawn from the predictions; the draws spread evenly, so that few meet the closed form."""
    kernel, bias = fisher(logistic(WEIGHTS, BIAS), {"x": X}, seed=1)
    spread = P * (1 - P)
    np.testing.assert_allclose(kernel[:, 0], (spread[:, None] * X**2).mean(axis=0), rtol=0.02)
    np.testing.assert_allclose(bias, [spread.mean()], rtol=0.02)


def test_labels_are_drawn_as_often_as_they_are_predicted():
    inputs = keras.Input((1,), name="x")
    network = keras.Model({"x": inputs}, keras.layers.Dense(3, activation="softmax")(inputs))
    share = np.array([0.6, 0.3, 0.1])
    network.set_weights([np.zeros((1, 3), "float32"), np.log(share).astype("float32")])
    _, bias = fisher(network, {"x": np.ones((400, 1), "float32")})
    np.testing.assert_allclose(bias, share * (1 - share), rtol=0.03)  # variance of (y = k) − p_k


def test_the_penalty_is_half_the_strength_times_the_weighted_squared_distance():
    weight, anchor, importance = (
        np.array([1.0, 2.0, 4.0]),
        np.array([0.0, 2.0, 1.0]),
        np.array([3.0, 9.0, 0.5]),
    )
    held = Held(anchor)
    held.put(anchor, importance, 10.0)
    found = held(keras.ops.convert_to_tensor(weight, "float32"))
    assert float(found) == pytest.approx(5 * (3 * 1 + 0 + 0.5 * 9))


def test_a_held_network_is_penalised_where_it_has_moved_from_and_only_for_what_matters():
    network = logistic(WEIGHTS, BIAS)
    importance = [np.array([[2.0], [0.0]]), np.array([1.0])]
    consolidate(network, importance, 4.0)
    assert float(sum(network.losses)) == 0
    network.set_weights([np.array([[1.8], [7.0]], "float32"), np.array([0.8], "float32")])
    assert float(sum(network.losses)) == pytest.approx(2 * (2 * 1.0**2 + 1 * 0.5**2), rel=1e-5)


def test_penalties_that_a_weight_has_stay():
    network = logistic(WEIGHTS, BIAS)
    network.trainable_variables[0].regularizer = keras.regularizers.L2(0.1)
    consolidate(network, [np.ones((2, 1)), np.ones(1)], 4.0)
    assert float(sum(network.losses)) == pytest.approx(0.1 * (0.8**2 + 0.5**2), rel=1e-5)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="a graph of JAX holds the numbers of a penalty")
def test_a_compiled_network_that_is_held_again_is_held_where_it_is_now():
    network = logistic(WEIGHTS, BIAS)
    network.trainable_variables[0].regularizer = keras.regularizers.L2(0.1)
    consolidate(network, [np.full((2, 1), 3.0), np.ones(1)], 4.0)
    network.compile(keras.optimizers.SGD(0.0), "binary_crossentropy")

    def loss() -> float:
        return network.fit(X, np.zeros((400, 1)), batch_size=400, verbose=0).history["loss"][0]

    loss()
    network.set_weights([np.array([[1.8], [1.0]], "float32"), np.array([BIAS], "float32")])
    consolidate(network, [np.array([[2.0], [0.0]]), np.ones(1)], 1.0)
    network.set_weights([np.array([WEIGHTS], "float32").T, np.array([BIAS], "float32")])
    of_labels = -np.log(1 - P).mean()
    assert loss() == pytest.approx(of_labels + 0.5 * 2 * 1.0**2 + 0.1 * (0.8**2 + 0.5**2), rel=1e-4)


def test_a_negative_strength_is_refused():
    with pytest.raises(ParameterError, match=r"strength .* -1: expected 0 or more"):
        consolidate(logistic(WEIGHTS, BIAS), [np.zeros((2, 1)), np.zeros(1)], -1)
