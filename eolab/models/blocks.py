"""Blocks of convolutional networks: convolutions, gates, resizing, stochastic depth."""

# ruff: noqa: D102 (call is that of Keras; the class documents it)

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import keras
from keras import ops

from eolab.models import fused
from eolab.models.layers import Layer, Saved, Seeds

MOMENTUM = 0.9  # of the averages of every batch normalisation: they follow the last ten batches or so
_MUCH = 2 / 3  # of a kernel's products: where no more lie in the map, an atrous convolution sums its weights
BRANCH_SCALE = 0.2  # of residual branches at first; Goyal et al. (2017) take 0, which keeps gradients out


def scaled(number: float, multiplier: float) -> int:
    """Multiply a number of channels, to a multiple of 4 unless the multiplier is 1."""
    return int(number) if multiplier == 1 else max(4, 4 * round(number * multiplier / 4))


def batch_norm(
    x: Any, scale: float = 1.0, name: str | None = None, *, epsilon: float = 1e-3, **given: Any
) -> Any:
    """Batch normalisation (Ioffe and Szegedy 2015) whose averages follow the last ten batches or so.

    Keras's own follow the last hundred: a training of a few hundred steps would be validated with averages of
    weights that it has left behind, or with those that it began with.

    Args:
        x: Features (B, …, C).
        scale: What the normalised features are multiplied by at first.
        name: Name of the layer.
        epsilon: Added to the variance; published weights of PyTorch belong to 1e-5.
        **given: ``mask`` (B, …) of Keras's layer: which positions count in mean and variance.
    """
    gamma = keras.initializers.Constant(scale)
    options: dict[str, Any] = {"epsilon": epsilon, "gamma_initializer": gamma, "name": name}
    return BatchNormalization(momentum=MOMENTUM, **options)(x, **given)


class BatchNormalization(Saved, keras.layers.BatchNormalization):
    """Keras's batch normalisation, which learns by TensorFlow's fused operation on a processor.

    Keras writes it as some seventeen passes over the maps there, forwards and backwards; with the fused one a
    whole U-Net trains 1.3 to 1.5 times as fast. Values are equal but for rounding. Predictions, masks and
    other backends and devices keep to Keras's.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        learns = training and self.trainable and mask is None
        plain = self.scale and self.center and not self.renorm and self.axis in (-1, len(inputs.shape) - 1)
        if not (learns and plain and inputs.dtype != "float64" and fused.usable()):
            return super().call(inputs, training=training, mask=mask)
        found, mean, variance = fused.batch_norm(inputs, self.gamma, self.beta, self.epsilon)
        follow(self, mean, variance, self.momentum)
        return found


def follow(norm: keras.layers.BatchNormalization, mean: Any, variance: Any, momentum: Any) -> None:
    """Let the averages of a batch normalisation follow the statistics of a batch (C,).

    Args:
        norm: The layer.
        mean: Means of the batch.
        variance: Variances of the batch.
        momentum: Share of the averages that the batch leaves.
    """
    for average, batch in ((norm.moving_mean, mean), (norm.moving_variance, variance)):
        average.assign(momentum * ops.cast(average, "float32") + (1 - momentum) * batch)


layer_norm = partial(keras.layers.LayerNormalization, epsilon=1e-6)  # of SegFormer and ConvNeXt


class AtrousConv2D(Saved, keras.layers.Conv2D):
    """Convolution with a dilation, fast where much of the kernel lies outside of the map.

    There it is the sum of a 1 × 1 convolution for each weight of the kernel, of the pixels that this weight
    sees. Keras on TensorFlow pads the map by the dilation instead: 3 to 50 times as slow on a processor.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Return the convolution without bias and activation: (B, H, W, C) → (B, H, W, F)."""
        size = inputs.shape[1:3]
        if self.padding != "same" or self.strides != (1, 1) or None in size:
            return super().convolution_op(inputs, kernel)
        seen = [_seen(*axis) for axis in zip(size, self.kernel_size, self.dilation_rate, strict=True)]
        products = math.prod(sum(end - start for _, start, end, _ in axis) for axis in seen)
        if products > _MUCH * math.prod(size) * math.prod(self.kernel_size):
            return super().convolution_op(inputs, kernel)
        parts = []
        for (i, top, bottom, above), (j, left, right, before) in product(*seen):
            part = inputs[:, top:bottom, left:right]
            part = ops.conv(part, kernel[i : i + 1, j : j + 1])
            below, behind = size[0] - above - bottom + top, size[1] - before - right + left
            parts.append(ops.pad(part, [(0, 0), (above, below), (before, behind), (0, 0)]))
        return sum(parts[1:], parts[0])


def _seen(size: int, kernel: int, rate: int) -> list[tuple[int, int, int, int]]:
    """Return the weights of a kernel that see anything of an axis.

    Returns:
        The number of the weight, its first pixel, one past its last pixel, and the result of its first pixel.
    """
    offsets = [index * rate - (kernel - 1) * rate // 2 for index in range(kernel)]
    return [
        (index, max(offset, 0), size + min(offset, 0), max(-offset, 0))
        for index, offset in enumerate(offsets)
        if abs(offset) < size
    ]


def conv_norm(
    x: Any,
    filters: int,
    kernel: int,
    seeds: Seeds,
    *,
    strides: int = 1,
    dilation: int = 1,
    padding: str = "same",
    activation: str | None = "relu",
    scale: float = 1.0,
    l2: float = 0.0,
    norm: Callable[..., Any] = batch_norm,
    names: tuple[str | None, str | None] = (None, None),
) -> Any:
    """Convolution without bias, batch normalisation, activation: (B, H, W, C) → (B, H/strides, W/strides, F).

    Args:
        x: Features (B, H, W, C).
        filters: Features F of the result.
        kernel: Side of the kernel.
        seeds: Seeds of the weights.
        strides: Pixels from one result to the next.
        dilation: Pixels from one weight of the kernel to the next (atrous convolution).
        padding: That of Keras, or "first" or "symmetric" of :func:`padded`.
        activation: Name of a Keras activation, None for none.
        scale: Factor of the normalised features at first; :data:`BRANCH_SCALE` beside a shortcut.
        l2: Penalty on the squares of the weights.
        norm: Normalises maps: takes them, the factor of the result at first, and the name of the layer.
        names: Names of the convolution and of the normalisation.
    """
    x, padding = padded(x, kernel, padding)
    layer = AtrousConv2D if dilation > 1 else keras.layers.Conv2D
    x = layer(
        filters,
        kernel,
        strides,
        padding,
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer=seeds.he(),
        kernel_regularizer=penalty(l2),
        name=names[0],
    )(x)
    return activated(norm(x, scale, names[1]), activation)


def depthwise_norm(
    x: Any,
    kernel: int,
    seeds: Seeds,
    *,
    strides: int = 1,
    dilation: int = 1,
    padding: str = "same",
    activation: str | None = "relu",
) -> Any:
    """Convolution of each channel by itself, then as :func:`conv_norm`, whose arguments these are."""
    x, padding = padded(x, kernel, padding)
    x = keras.layers.DepthwiseConv2D(
        kernel,
        strides,
        padding,
        dilation_rate=dilation,
        use_bias=False,
        depthwise_initializer=keras.initializers.VarianceScaling(
            2.0 * x.shape[-1], "fan_in", "truncated_normal", seed=seeds.next()
        ),  # Keras counts all channels as inputs of each: the factor takes that back
    )(x)
    return activated(batch_norm(x), activation)


def separable_norm(x: Any, filters: int, kernel: int, seeds: Seeds, *, dilation: int = 1) -> Any:
    """Depthwise, then 1 × 1 convolution (Chollet 2017), each with batch normalisation and ReLU."""
    return conv_norm(depthwise_norm(x, kernel, seeds, dilation=dilation), filters, 1, seeds)


def penalty(l2: float) -> keras.Regularizer | None:
    """Return the penalty on the squares of weights, None where its factor is 0."""
    return keras.regularizers.L2(l2) if l2 else None


def activated(x: Any, activation: str | None) -> Any:
    """Apply an activation of Keras, None for none."""
    return x if activation is None else keras.layers.Activation(activation)(x)


def padded(x: Any, kernel: int, padding: str) -> tuple[Any, str]:
    """Pad for a convolution, and return the padding that is left to Keras.

    - "first" is for a stride of 2 and centres result i on pixel 2 i. ``same`` padding centres it on pixel
      2 i + 1. Over L such layers features drift by (2^L - 1) / 2 pixels to one side of the cells that
      resizing takes them for, with this padding to the other. With it in all strided layers but the last the
      drift is half a pixel; in every other one, a fifth of a cell at most.
    - "symmetric" is that of PyTorch's networks: as much before as behind.

    Args:
        x: Maps (B, H, W, C).
        kernel: Side of the kernel.
        padding: "first", "symmetric", or one of Keras, which is returned as it is.
    """
    if padding not in ("first", "symmetric"):
        return x, padding
    before = kernel // 2
    sides = [(before, before - 1 + side % 2 if padding == "first" else before) for side in x.shape[1:3]]
    return keras.layers.ZeroPadding2D(sides)(x), "valid"


def enlarge(x: Any, filters: int, seeds: Seeds, bias: bool = True) -> Any:
    """Transposed 2 × 2 convolution of stride 2: (B, H, W, C) → (B, 2 H, 2 W, filters)."""
    return keras.layers.Conv2DTranspose(filters, 2, 2, use_bias=bias, kernel_initializer=seeds.he())(x)


class Resize(Layer):
    """Bilinear resizing of maps whose pixels are areas: (B, h, w, C) → (B, height, width, C).

    Args:
        height: Height of the result in pixels.
        width: Width of the result in pixels.
    """

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def call(self, x: Any) -> Any:
        return ops.image.resize(
            x, (self.height, self.width), interpolation="bilinear", data_format="channels_last"
        )


def resize(x: Any, height: int, width: int) -> Any:
    """Resize maps (B, h, w, C) to (B, height, width, C); maps of that size stay as they are."""
    return x if x.shape[1:3] == (height, width) else Resize(height, width)(x)


def joined(parts: Sequence[Any], axis: int = -1) -> Any:
    """Put features side by side; those of one part stay as they are."""
    return parts[0] if len(parts) == 1 else keras.layers.Concatenate(axis)(list(parts))


def skip_branch(x: Any, rate: float, seeds: Seeds) -> Any:
    """Stochastic depth (Huang et al. 2016): drop the whole branch of a sample with this probability."""
    if not rate:
        return x
    noise = (None,) + (1,) * (len(x.shape) - 1)
    return keras.layers.Dropout(rate, noise_shape=noise, seed=seeds.next())(x)


def squeeze_excite(x: Any, units: int, seeds: Seeds, *, activation: str, gate: str) -> Any:
    """Scale each channel by a gate that sees the mean of all channels (Hu et al. 2018): (B, H, W, C) → same.

    Args:
        x: Features (B, H, W, C).
        units: Units of the layer between.
        seeds: Seeds of the weights.
        activation: Activation of the layer between.
        gate: Activation of the last layer, sigmoid or hard_sigmoid.
    """
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)  # (B, 1, 1, C)
    hidden = keras.layers.Conv2D(units, 1, activation=activation, kernel_initializer=seeds.he())(mean)
    scale = keras.layers.Conv2D(x.shape[-1], 1, activation=gate, kernel_initializer=seeds.glorot())(hidden)
    return keras.layers.Multiply()([x, scale])


def inverted_residual(
    x: Any,
    filters: int,
    seeds: Seeds,
    *,
    expansion: float = 1.0,
    kernel: int = 3,
    strides: int = 1,
    shortcut: bool = False,
    dilation: int = 1,
    squeezed: int = 0,
    activation: str = "relu6",
    gate: str = "sigmoid",
    fused: bool = False,
    drop: float = 0.0,
    padding: str = "same",
) -> Any:
    """Inverted residual with linear bottleneck: (B, H, W, C) → (B, H/strides, W/strides, filters).

    - Expansion by a 1 × 1 convolution, depthwise convolution, projection by a 1 × 1 convolution without
      activation; the input added to the result (Sandler et al. 2018, MobileNetV2).
    - Squeeze and excitation between them (Howard et al. 2019, MobileNetV3).
    - Fused: the kernel's convolution expands; without expansion it is the whole block (Tan and Le 2021).

    Args:
        x: Features (B, H, W, C).
        filters: Channels of the result.
        seeds: Seeds of weights and stochastic depth.
        expansion: Channels between expansion and projection, as a multiple of the input's; 1 leaves the
            expansion out.
        kernel: Side of the convolution's kernel.
        strides: Pixels from one result to the next.
        shortcut: Whether the input is added to the result, which then has its shape.
        dilation: Pixels from one weight of the kernel to the next.
        squeezed: Units of squeeze and excitation between its two layers; 0 leaves it out.
        activation: Name of a Keras activation.
        gate: Activation of squeeze and excitation.
        fused: One full convolution in place of expansion and depthwise convolution (Fused-MBConv).
        drop: Probability that a sample skips the block in training.
        padding: That of :func:`conv_norm`.
    """
    scale, whole = BRANCH_SCALE if shortcut else 1.0, fused and expansion == 1
    given: dict[str, Any] = {"activation": activation, "padding": padding, "strides": strides}
    hidden = scaled(x.shape[-1], expansion)
    if whole:  # no projection follows
        y = conv_norm(x, filters, kernel, seeds, scale=scale, **given)
    elif fused:
        y = conv_norm(x, hidden, kernel, seeds, **given)  # (B, h, w, hidden)
    else:
        y = x if expansion == 1 else conv_norm(x, hidden, 1, seeds, activation=activation)
        y = depthwise_norm(y, kernel, seeds, dilation=dilation, **given)  # (B, h, w, hidden)
    if squeezed:
        y = squeeze_excite(y, squeezed, seeds, activation=activation, gate=gate)
    if not whole:
        y = conv_norm(y, filters, 1, seeds, activation=None, scale=scale)  # (B, h, w, filters)
    return keras.layers.Add()([x, skip_branch(y, drop, seeds)]) if shortcut else y
