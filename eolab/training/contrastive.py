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

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from eolab.core.errors import DataError, ParameterError
from eolab.models.heads import crop
from eolab.models.layers import Normalize, Saved, Seeds
from eolab.training.augment import Batch, Inputs, flip, rotate

LOGITS = ("logits", "mask_logits")  # the last layer of networks of labels, of masks


# === Views ===


@dataclass(frozen=True)
class Views:
    """Make two views of each sample of a batch: (B, …) → (2 B, …), the views of sample i at 2 i and 2 i + 1.

    Takes pixel series ``image`` (B, T, C), ``valid`` (B, T) and ``day`` (B, T), or patches of image series
    (B, T, H, W, C), (B, T, H, W) and (B, T). In each view, drawn for each sample anew:

    - some dates are left out: each with a probability that is drawn up to ``drop``;
    - each channel is scaled about its mean and shifted, and each value gets noise;
    - with the probability ``clouds`` a cloud covers 1 to ``cloud_dates`` neighbouring dates: half of the
      clouds hide them, the others were missed by the cloud mask and brighten all channels, by up to
      ``brightness`` standard deviations. The cloud of a patch is a disc, at another place at each date;
    - a patch is mirrored, and turned by a multiple of 90° where it is square, all dates alike.

    A sample keeps all that was observed where it would lose the last of it. Amounts are in standard
    deviations of each channel. The result is a pure function of the batch and the generator.

    Attributes:
        mean: Mean of each channel (C,).
        std: Standard deviation of each channel (C,).
        drop: Largest probability that a date is left out, at least 0, below 1.
        jitter: Standard deviation of scale and shift of a channel.
        noise: Standard deviation of the noise.
        clouds: Probability of a cloud.
        cloud_dates: Most neighbouring dates under a cloud.
        brightness: Most that a missed cloud adds.
        cloud_size: Largest radius of the cloud of a patch, in sides of the patch, above 0.

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
    cloud_size: float = 0.6

    def __post_init__(self) -> None:
        shares = {"drop": self.drop < 1, "clouds": self.clouds <= 1, "cloud_dates": self.cloud_dates >= 1}
        shares["cloud_size"] = self.cloud_size > 0
        for name in ("drop", "jitter", "noise", "clouds", "cloud_dates", "brightness", "cloud_size"):
            if not (shares.get(name, True) and getattr(self, name) >= 0):
                raise ParameterError(
                    f"views: {name} is {getattr(self, name)}, expected 0 or more; drop below 1, clouds at "
                    "most 1, cloud_dates a whole number of 1 or more, cloud_size above 0."
                )

    @property
    def name(self) -> str:
        """What tells these views from others, for the checkpoint of a training."""
        return repr(self)

    def __call__(self, inputs: Inputs, label: np.ndarray, rng: np.random.Generator) -> Batch:
        """Return both views and their labels, which nothing uses."""
        one, other = self.view(inputs, rng), self.view(inputs, rng)
        pairs = {name: np.stack([one[name], other[name]], 1) for name in inputs}
        pairs = {name: values.reshape(-1, *values.shape[2:]) for name, values in pairs.items()}
        return pairs, np.repeat(label, 2, axis=0)

    def view(self, inputs: Inputs, rng: np.random.Generator) -> Inputs:
        """Return one view of each sample: new ``image`` and ``valid``, everything else as it is."""
        if inputs["image"].ndim == 5:
            inputs = _turned(inputs, rng)
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
        covered = self._discs(valid.shape, rng) if valid.ndim > 2 else np.True_  # (B, T, …)
        added = (_of_dates(added, valid.ndim) * covered).astype(np.float32)
        image += std * added[..., None]
        hidden = _of_dates(lost, valid.ndim) | (_of_dates(cloudy & hides, valid.ndim) & covered)
        left = (valid & ~hidden).reshape(count, -1).any(axis=1)
        hidden = hidden & left.reshape(-1, *(1,) * (valid.ndim - 1))  # never the last
        return inputs | {"image": image, "valid": valid & ~hidden}

    def _clouds(self, count: int, times: int, rng: np.random.Generator) -> np.ndarray:
        """Return which dates of each sample lie under its cloud, bool (B, T)."""
        there = rng.random((count, 1)) < self.clouds
        length = rng.integers(1, self.cloud_dates + 1, (count, 1))
        first = rng.integers(0, times, (count, 1))
        date = np.arange(times)
        return there & (date >= first) & (date < first + length)

    def _discs(self, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
        """Return the pixels under a disc at each date, bool (B, T, H, W); its centre is always among them."""
        height, width = shape[2:]
        radius = np.maximum(1, rng.uniform(0, self.cloud_size * max(height, width), (*shape[:2], 1, 1)))
        y, x = (rng.uniform(0, side, (*shape[:2], 1, 1)) - 0.5 for side in (height, width))
        return (np.arange(height)[:, None] - y) ** 2 + (np.arange(width) - x) ** 2 <= radius**2


def _turned(inputs: Inputs, rng: np.random.Generator) -> Inputs:
    """Return patches mirrored and, where they are square, turned: each by its own draw, all dates alike."""
    count, _, height, width = inputs["valid"].shape
    no_mask = np.zeros((count, height, width), np.uint8)
    for change in (flip, rotate) if height == width else (flip,):
        inputs, _ = change(inputs, no_mask, rng)
    return inputs


def _of_dates(values: np.ndarray, ndim: int) -> np.ndarray:
    """Return values (B, T) with axes of length 1 behind them."""
    return values.reshape(*values.shape, *(1,) * (ndim - 2))


# === Loss ===


def similarities(embeddings: Any, temperature: float) -> tuple[Any, Any]:
    """Return cosine similarities of views over the temperature: to all others (2 B, 2 B), to the partner."""
    z = ops.normalize(ops.cast(embeddings, "float32"), axis=-1)  # (2 B, D)
    count = ops.shape(z)[0]
    partner = ops.reshape(ops.flip(ops.reshape(z, (-1, 2, z.shape[-1])), axis=1), (-1, z.shape[-1]))
    to_all = ops.matmul(z, ops.transpose(z)) / temperature - 1e9 * ops.eye(count)  # none to itself
    return to_all, ops.sum(z * partner, axis=-1) / temperature


class NTXent(Saved, keras.losses.Loss):
    """Normalised temperature-scaled cross entropy (NT-Xent) of Chen et al. (2020), equation 1.

    Takes embeddings (2 B, D) of two views, the views of sample i at 2 i and 2 i + 1; labels are not used. For
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
    """Return a network of labels or masks without its last layer, sharing all other layers.

    Returns:
        The network of the features that labels are predicted from: (B, F), or (B, H, W, F) of each pixel.
        The pixels of a token of TSViT share its features, those of all classes side by side.

    Raises:
        ParameterError: If the network does not end in labels or a mask.
    """
    last = next((layer for layer in network.layers if layer.name in LOGITS), None)
    if last is None:
        raise ParameterError(
            f"{network.name} has no layer {LOGITS[0]!r}: give a network that predicts labels or a mask."
        )
    found = last.input
    if len(found.shape) == 5:  # tokens (B, h, w, K, D) of squares of pixels
        _, height, width, _ = network.output["mask"].shape
        flat = keras.layers.Reshape((*found.shape[1:3], math.prod(found.shape[3:])))(found)
        found = crop(keras.layers.UpSampling2D(math.isqrt(last.units))(flat), height, width)
    return keras.Model(network.input, found, name=f"{network.name}_encoder")


def with_projection(encoder: keras.Model, hidden: int = 128, units: int = 64, seed: int = 0) -> keras.Model:
    """Return an encoder with the projection head of SimCLR behind it, two dense layers: (B, units).

    Features of pixels (B, H, W, F) are averaged over the patch first, all pixels alike, as SimCLR averages
    the last maps of its ResNet.
    """
    seeds, x = Seeds(seed), encoder.output
    if len(x.shape) == 4:
        x = keras.layers.GlobalAveragePooling2D(name="pooled")(x)  # (B, F)
    x = keras.layers.Dense(hidden, "relu", kernel_initializer=seeds.he(), name="projection_1")(x)
    x = keras.layers.Dense(units, kernel_initializer=seeds.glorot(), name="projection_2")(x)
    return keras.Model(encoder.input, x, name=f"{encoder.name}_projection")


def begin(network: keras.Model, encoder: keras.Model) -> None:
    """Give a network the weights of an encoder of the same architecture, mean and std of its inputs too.

    Raises:
        DataError: If the encoder has other layers, or weights of other shapes.
    """
    names = {layer.name for layer in network.layers}
    for layer in encoder.layers:
        if not layer.weights:
            continue
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
        else:
            own.set_weights(layer.get_weights())
