"""Elastic weight consolidation: what a network has learned holds its weights where that needs them.

Kirkpatrick et al. (2017, https://doi.org/10.1073/pnas.1611835114): while new samples are learned, the loss
gets the penalty ``strength / 2 · Σ F_i (θ_i − θ*_i)²``, with the weights θ* that the samples before have left
and the Fisher information F of each weight there. The F of several trainings are added, around the newest
weights (Huszár 2018, https://doi.org/10.1073/pnas.1717042115).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from eolab.core.errors import ParameterError
from eolab.training.fitting import forget

GOLDEN = (5**0.5 - 1) / 2  # step of numbers that fill 0 to 1 evenly, however many are taken
TINY = 1e-12  # least probability, whose logarithm is finite


class Held:
    """Penalty ``strength / 2 · Σ importance (weight − anchor)²`` of a weight, and another that it has.

    Its numbers are variables, so that a compiled training takes those of another one; JAX takes them for
    constants.

    Args:
        weight: The variable, held where it is.
        other: Another penalty.
    """

    def __init__(self, weight: Any, other: Callable[[Any], Any] | None = None) -> None:
        self.other = other
        self.anchor = keras.Variable(np.array(weight), trainable=False, name="anchor")
        self.factors = keras.Variable(np.zeros(weight.shape), trainable=False, name="factors")

    def put(self, weight: Any, importance: Any, strength: float) -> None:
        """Hold a weight where it is now."""
        self.anchor.assign(np.array(weight))  # a copy: JAX gives the memory of weights to others
        self.factors.assign(0.5 * strength * np.asarray(importance))

    def __call__(self, weight: Any) -> Any:
        """Return the penalty of a weight as a scalar."""
        held, factors = (ops.cast(one, weight.dtype) for one in (self.anchor, self.factors))
        moved = ops.sum(factors * ops.square(weight - held))
        return moved if self.other is None else moved + self.other(weight)


def consolidate(network: keras.Model, importance: Sequence[Any], strength: float) -> keras.Model:
    """Hold the trainable weights of a network where they are, in every training that follows.

    Penalties that the weights have already stay, but one of this function, which is replaced. Statistics that
    no gradient changes, such as those of batch normalisation, are not held. :func:`eolab.training.fit` trains
    with the penalty. Keras's own ``fit`` does so where the network is compiled afterwards: the first time,
    and on JAX each time.

    Args:
        network: The network, with the weights that are held.
        importance: Result of :func:`fisher`, or the sum of several.
        strength: Factor of the penalty, 0 or more.

    Returns:
        The network.

    Raises:
        ParameterError: If the strength is negative.
    """
    if not strength >= 0:
        raise ParameterError(f"The strength of the consolidation is {strength}: expected 0 or more.")
    for variable, one in zip(network.trainable_variables, importance, strict=True):
        if not isinstance(variable.regularizer, Held):
            variable.regularizer = Held(variable, variable.regularizer)
        variable.regularizer.put(variable, one, strength)
    if keras.backend.backend() == "jax":
        forget(network)  # its graph holds the numbers of the penalty
    return network


def fisher(
    network: keras.Model, inputs: Mapping[str, Any], labels: Any = None, seed: int = 0
) -> list[np.ndarray]:
    """Return the diagonal of the Fisher information of a network's trainable weights.

    It is the mean over the samples of the squared gradient of log p(y | x). Labels y are drawn once a sample
    from what the network itself predicts, which is unbiased, by numbers that spread evenly. With `labels` it
    is the empirical Fisher information, which is large where the labels are wrong (Kunstner et al. 2019,
    https://arxiv.org/abs/1905.12558).

    Args:
        network: Network of class probabilities (N, K), or of that of the second of two classes (N, 1).
        inputs: Arrays (N, …) by name of the input.
        labels: Class indices (N,), or None to draw them.
        seed: Seed of the draw.

    Returns:
        An array a trainable weight, float64 with the shape of the weight.
    """
    found = network(inputs, training=False)
    probabilities = ops.convert_to_numpy(_of_classes(found)).astype(float)
    if labels is None:
        start = np.random.default_rng(seed).random()
        drawn = ((start + GOLDEN * np.arange(len(probabilities))) % 1)[:, None]
        below = probabilities.cumsum(axis=1) / probabilities.sum(axis=1, keepdims=True)
        labels = (below[:, :-1] < drawn).sum(axis=1)
    gradient = _gradient(network)
    sums = [np.zeros(variable.shape) for variable in network.trainable_variables]
    for k, label in enumerate(np.asarray(labels, np.int32)):
        one = {name: ops.convert_to_tensor(values[k : k + 1]) for name, values in inputs.items()}
        for total, part in zip(sums, gradient(one, label), strict=True):
            total += np.square(ops.convert_to_numpy(part), dtype=float)
    return [total / len(probabilities) for total in sums]


def _of_classes(found: Any) -> Any:
    """Return the probabilities of all classes (N, K) that a network gives."""
    return found if found.shape[-1] > 1 else ops.concatenate([1 - found, found], axis=-1)


def _log_likelihood(found: Any, label: Any) -> Any:
    """Return the logarithm of the probability of the label of a single sample."""
    return ops.log(ops.maximum(ops.take(_of_classes(found)[0], label), TINY))


def _gradient(network: keras.Model) -> Callable[[Mapping[str, Any], Any], Sequence[Any]]:
    """Return a function of the inputs and the label of a sample, by the means of the backend."""
    backend = keras.backend.backend()
    variables = [variable.value for variable in network.trainable_variables]
    if backend == "tensorflow":
        import tensorflow as tf

        @tf.function(reduce_retracing=True)
        def of_sample(inputs: Any, label: Any) -> Any:
            with tf.GradientTape() as tape:
                found = _log_likelihood(network(inputs, training=False), label)
            return tape.gradient(found, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)

        return lambda inputs, label: of_sample(inputs, tf.constant(label))
    if backend == "jax":
        import jax

        fixed = [variable.value for variable in network.non_trainable_variables]

        def likelihood(weights: Any, inputs: Any, label: Any) -> Any:
            found, _ = network.stateless_call(weights, fixed, inputs, training=False)
            return _log_likelihood(found, label)

        gradient = jax.jit(jax.grad(likelihood))
        return lambda inputs, label: gradient(variables, inputs, label)
    import torch

    def of_one(inputs: Any, label: Any) -> Any:
        found = _log_likelihood(network(inputs, training=False), int(label))
        parts = torch.autograd.grad(found, variables, allow_unused=True)
        return [torch.zeros_like(v) if p is None else p for v, p in zip(variables, parts, strict=True)]

    return of_one
