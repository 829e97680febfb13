"""Contrastive pretraining of encoders on series without labels: SimCLR (Chen et al. 2020).

Two views of each sample are made; the encoder and a small projection head behind it learn to find the other
view of a sample among the views of all samples of a batch. Afterwards the head is left away.

Paper: A simple framework for contrastive learning of visual representations, ICML 2020,
https://arxiv.org/abs/2002.05709.

Example:
    >>> encoder = encoder_of(models.build("tempcnn", channels=12, times=12, outputs=2))
    >>> batches = Batches(samples, 256, shuffle=True, augment=Views(mean, std), ignore="none")
    >>> training.fit(with_projection(encoder), batches, folder=folder, epochs=20, loss=NTXent(),
    ...              metrics=[matched])
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from eolab.core.errors import DataError, ParameterError
from eolab.models.layers import Normalize, Saved, Seeds
from eolab.training.augment import Batch, Inputs

LOGITS = "logits"  # the last layer of every network of labels


# === Views ===


@dataclass(frozen=True)
class Views:
    """Make two views of each sample of a batch: (B, …) → (2 B, …), the views of sample i at i and B + i.

    Takes pixel series ``image`` (B, T, C), ``valid`` (B, T) and ``day`` (B, T), or patch series (B, T, H, W,
    C), (B, T, H, W) and (B, T), whose pixels change alike. In each view, drawn for each sample anew:

    - some dates are left out: each with a probability that is drawn up to ``drop``;
    - each channel is scaled about its mean and shifted, and each value gets noise;
    - with the probability ``clouds`` a cloud covers 1 to ``cloud_dates`` neighbouring dates: half of the
      clouds hide them, the others were missed by the cloud mask and brighten all channels, by up to
      ``brightness`` standard deviations.

    A sample keeps all its dates where it would lose the last. Amounts are in standard deviations of each
    channel. The result is a pure function of the batch and the generator.

    Attributes:
        mean: Mean of each channel (C,).
        std: Standard deviation of each channel (C,).
        drop: Largest probability that a date is left out, at least 0, below 1.
        jitter: Standard deviation of scale and shift of a channel.
        noise: Standard deviation of the noise.
        clouds: Probability of a cloud.
        cloud_dates: Most neighbouring dates under a cloud.
        brightness: Most that a missed cloud adds.

    Raises:
        ParameterError: If an amount cannot be.
    """

    mean: Sequence[float]
    std: Sequence[float]
    drop: float = 0.4
    jitter: float = 0.1
    noise: float = 0.05
    clouds: float = 0.5
    cloud_dates: int = 3
    brightness: float = 2.0

    def __post_init__(self) -> None:
        shares = {"drop": self.drop < 1, "clouds": self.clouds <= 1, "cloud_dates": self.cloud_dates >= 1}
        for name in ("drop", "jitter", "noise", "clouds", "cloud_dates", "brightness"):
            if not (shares.get(name, True) and getattr(self, name) >= 0):
                raise ParameterError(
                    f"views: {name} is {getattr(self, name)}, expected 0 or more; drop below 1, clouds at "
                    "most 1, cloud_dates a whole number of 1 or more."
                )

    @property
    def name(self) -> str:
        """What tells these views from others, for the checkpoint of a training."""
        return repr(self)

    def __call__(self, inputs: Inputs, label: np.ndarray, rng: np.random.Generator) -> Batch:
        """Return both views and their labels, which nothing uses."""
        one, other = self.view(inputs, rng), self.view(inputs, rng)
        pairs = {name: np.concatenate([one[name], other[name]]) for name in inputs}
        return pairs, np.concatenate([label, label])

    def view(self, inputs: Inputs, rng: np.random.Generator) -> Inputs:
        """Return one view of each sample: new ``image`` and ``valid``, everything else as it is."""
        image = np.asarray(inputs["image"], np.float32)  # (B, T, …, C)
        valid = np.asarray(inputs["valid"]).astype(bool)  # (B, T, …)
        count, times = valid.shape[:2]
        std, mean = np.asarray(self.std, np.float32), np.asarray(self.mean, np.float32)
        single = (count, *(1,) * (image.ndim - 2), image.shape[-1])  # one number a sample and channel
        scale, shift = (rng.normal(0, self.jitter, single).astype(np.float32) for _ in range(2))
        image = mean + (image - mean) * (1 + scale) + std * shift
        image += std * rng.normal(0, self.noise, image.shape).astype(np.float32)
        lost = rng.random((count, times)) < rng.uniform(0, self.drop, (count, 1))
        cloudy = self._clouds(count, times, rng)
        hides = rng.random((count, 1)) < 0.5
        added = rng.uniform(0, self.brightness, (count, times)) * (cloudy & ~hides)  # (B, T)
        image += std * _of_dates(added, image.ndim).astype(np.float32)
        lost |= cloudy & hides
        seen = valid.reshape(count, times, -1).any(axis=-1)
        lost &= (seen & ~lost).any(axis=1, keepdims=True)  # never the last date
        return inputs | {"image": image, "valid": valid & ~_of_dates(lost, valid.ndim)}

    def _clouds(self, count: int, times: int, rng: np.random.Generator) -> np.ndarray:
        """Return which dates of each sample lie under its cloud, bool (B, T)."""
        there = rng.random((count, 1)) < self.clouds
        length = rng.integers(1, self.cloud_dates + 1, (count, 1))
        first = rng.integers(0, times, (count, 1))
        date = np.arange(times)
        return there & (date >= first) & (date < first + length)


def _of_dates(values: np.ndarray, ndim: int) -> np.ndarray:
    """Return values (B, T) with axes of length 1 behind them."""
    return values.reshape(*values.shape, *(1,) * (ndim - 2))


# === Loss ===


def similarities(embeddings: Any, temperature: float) -> tuple[Any, Any]:
    """Return cosine similarities of views over the temperature: to all others (2 B, 2 B), to the partner."""
    z = ops.normalize(ops.cast(embeddings, "float32"), axis=-1)  # (2 B, D)
    count = ops.shape(z)[0]
    partner = ops.concatenate([z[count // 2 :], z[: count // 2]], axis=0)
    to_all = ops.matmul(z, ops.transpose(z)) / temperature - 1e9 * ops.eye(count)  # none to itself
    return to_all, ops.sum(z * partner, axis=-1) / temperature


class NTXent(Saved, keras.losses.Loss):
    """Normalised temperature-scaled cross entropy (NT-Xent) of Chen et al. (2020), equation 1.

    Takes embeddings (2 B, D) of two views, the views of sample i at i and B + i; labels are not used. For
    each view i with the partner j it is −ln(exp(s_ij / τ) / Σ_{k ≠ i} exp(s_ik / τ)), where s is the cosine
    similarity; the mean over all 2 B views.

    Args:
        temperature: τ, above 0.
        name: Name of the loss.
    """

    def __init__(self, temperature: float = 0.1, name: str = "nt_xent") -> None:
        super().__init__(name=name, reduction="sum_over_batch_size", dtype="float32")
        if not temperature > 0:
            raise ParameterError(f"temperature is {temperature}, expected a number above 0, such as 0.1.")
        self.temperature = float(temperature)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each view (2 B,)."""
        to_all, to_partner = similarities(y_pred, self.temperature)
        return ops.logsumexp(to_all, axis=-1) - to_partner

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"temperature": self.temperature, "name": self.name}


def matched(y_true: Any, y_pred: Any) -> Any:
    """Return whether the nearest view of the batch is the partner (2 B,): a score of the training."""
    to_all, to_partner = similarities(y_pred, 1.0)
    return ops.cast(to_partner >= ops.max(to_all, axis=-1) - 1e-6, "float32")


# === Networks ===


def encoder_of(network: keras.Model) -> keras.Model:
    """Return a network of labels without its last layer: its features (B, F), sharing all layers.

    Raises:
        ParameterError: If the network does not end in labels.
    """
    if LOGITS not in [layer.name for layer in network.layers]:
        raise ParameterError(f"{network.name} has no layer {LOGITS!r}: give a network that predicts labels.")
    return keras.Model(network.input, network.get_layer(LOGITS).input, name=f"{network.name}_encoder")


def with_projection(encoder: keras.Model, hidden: int = 128, units: int = 64, seed: int = 0) -> keras.Model:
    """Return an encoder with the projection head of SimCLR behind it, two dense layers: (B, units)."""
    seeds = Seeds(seed)
    x = keras.layers.Dense(hidden, "relu", kernel_initializer=seeds.he(), name="projection_1")(encoder.output)
    x = keras.layers.Dense(units, kernel_initializer=seeds.glorot(), name="projection_2")(x)
    return keras.Model(encoder.input, x, name=f"{encoder.name}_projection")


def begin(network: keras.Model, encoder: keras.Model) -> None:
    """Give a network the weights of an encoder of the same architecture, mean and std of its inputs too.

    Raises:
        DataError: If the encoder has other layers, or weights of other shapes.
    """
    names = {layer.name for layer in network.layers}
    for layer in encoder.layers:
        own = network.get_layer(layer.name) if layer.name in names else None
        shapes = [tuple(one.shape) for one in layer.weights]
        found = [] if own is None else [tuple(one.shape) for one in own.weights]
        if own is None or shapes != found:
            raise DataError(
                f"The pretrained encoder {encoder.name} has a layer {layer.name} with weights of the shapes "
                f"{shapes}, and {network.name} has {found or 'no such layer'}: build the network with the "
                "model, the options, the bands and the dates of the pretraining."
            )
        if isinstance(layer, Normalize):
            own.put(layer.mean, layer.std)
        elif layer.weights:
            own.set_weights(layer.get_weights())
