"""Convolutions with batch normalisation, resizing and stochastic depth: parts of the backbone networks."""

# ruff: noqa: D102 (call and get_config are those of Keras; the class documents them)

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from eolab.models.layers import Seeds, serializable

BRANCH_SCALE = 0.2  # of residual branches at first; Goyal et al. (2017) take 0, which keeps gradients out


def scaled(number: float, width: float) -> int:
    """Return a number of channels times the width of the network, a multiple of 4 unless the width is 1."""
    return int(number) if width == 1 else max(4, 4 * round(number * width / 4))


def conv_norm(
    x: Any,
    filters: int,
    kernel: int,
    seeds: Seeds,
    *,
    strides: int = 1,
    dilation: int = 1,
    activation: str | None = "relu",
    first: bool = False,
    scale: float = 1.0,
    l2: float = 0.0,
) -> Any:
    """Convolution without bias, batch normalisation, activation: (B, H, W, C) → (B, H/strides, W/strides, F).

    Args:
        x: Features (B, H, W, C).
        filters: Features F of the result.
        kernel: Side of the kernel.
        seeds: Of the weights.
        strides: Pixels from one result to the next.
        dilation: Pixels from one weight of the kernel to the next (atrous convolution).
        activation: Name of a Keras activation, None for none.
        first: Centre result i on pixel ``strides * i``, see :func:`centre_on_first`.
        scale: Factor of the normalised features at first; :data:`BRANCH_SCALE` beside a shortcut.
        l2: Penalty on the squares of the weights.
    """
    x, padding = centre_on_first(x, kernel) if first else (x, "same")
    x = keras.layers.Conv2D(
        filters,
        kernel,
        strides,
        padding,
        dilation_rate=dilation,
        use_bias=False,
        kernel_initializer=seeds.he(),
        kernel_regularizer=penalty(l2),
    )(x)
    return _norm(x, activation, scale)


def depthwise_norm(
    x: Any,
    kernel: int,
    seeds: Seeds,
    *,
    strides: int = 1,
    dilation: int = 1,
    activation: str | None = "relu",
    first: bool = False,
) -> Any:
    """Convolution of each channel by itself, then as :func:`conv_norm`, whose arguments these are."""
    x, padding = centre_on_first(x, kernel) if first else (x, "same")
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
    return _norm(x, activation)


def separable_norm(
    x: Any, filters: int, kernel: int, seeds: Seeds, *, dilation: int = 1, activation: str | None = "relu"
) -> Any:
    """Depthwise, then 1 × 1 convolution (Chollet 2017), each with batch normalisation and activation."""
    x = depthwise_norm(x, kernel, seeds, dilation=dilation, activation=activation)
    return conv_norm(x, filters, 1, seeds, activation=activation)


def batch_norm(scale: float = 1.0, epsilon: float = 1e-3, name: str | None = None) -> keras.layers.Layer:
    """Return batch normalisation (Ioffe and Szegedy 2015) whose averages follow the last ten batches or so.

    Keras's own follow the last hundred: a training of a few hundred steps would be validated with averages of
    weights that it has left behind.

    Args:
        scale: What the normalised features are multiplied by at first.
        epsilon: Added to the variance; published weights of PyTorch belong to 1e-5.
        name: Name of the layer.
    """
    gamma = keras.initializers.Constant(scale)
    return keras.layers.BatchNormalization(momentum=0.9, epsilon=epsilon, gamma_initializer=gamma, name=name)


def penalty(l2: float) -> keras.Regularizer | None:
    """Return the penalty on the squares of weights, None where its factor is 0."""
    return keras.regularizers.L2(l2) if l2 else None


def centre_on_first(x: Any, kernel: int) -> tuple[Any, str]:
    """Pad for a convolution of stride 2, so that result i is centred on pixel 2 i; return the padding left.

    ``same`` padding centres it on pixel 2 i + 1. Over L such layers features drift by (2^L - 1) / 2 pixels
    to one side of the cells that resizing takes them for, with this padding to the other. With it in all
    strided layers but the last the drift is half a pixel; in every other one, a fifth of a cell at most.
    """
    before = kernel // 2
    return keras.layers.ZeroPadding2D(((before, before - 1 + x.shape[1] % 2),) * 2)(x), "valid"


@serializable
class Resize(keras.layers.Layer):
    """Bilinear resizing of maps whose pixels are areas: (B, h, w, C) → (B, height, width, C).

    Args:
        height: Rows of the result.
        width: Columns of the result.
    """

    def __init__(self, height: int, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.height, self.width = int(height), int(width)

    def call(self, x: Any) -> Any:
        return ops.image.resize(
            x, (self.height, self.width), interpolation="bilinear", data_format="channels_last"
        )

    def compute_output_shape(self, shape: Sequence[int | None]) -> tuple[int | None, ...]:
        return (shape[0], self.height, self.width, shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "height": self.height, "width": self.width}


def resize(x: Any, size: int) -> Any:
    """Resize square maps (B, h, h, C) to (B, size, size, C); what has that size stays as it is."""
    return x if x.shape[1] == size else Resize(size, size)(x)


def skip_branch(x: Any, rate: float, seeds: Seeds) -> Any:
    """Stochastic depth (Huang et al. 2016): drop the whole branch of a sample with this probability."""
    if not rate:
        return x
    noise = (None,) + (1,) * (len(x.shape) - 1)
    return keras.layers.Dropout(rate, noise_shape=noise, seed=seeds.next())(x)


def _norm(x: Any, activation: str | None, scale: float = 1.0) -> Any:
    x = batch_norm(scale)(x)
    return x if activation is None else keras.layers.Activation(activation)(x)
