"""Inverted residuals of the mobile networks: expand, convolve each channel by itself, project."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from eolab.models.layers import Seeds
from eolab.models.segmentation.convolutions import (
    BRANCH_SCALE,
    conv_norm,
    depthwise_norm,
    scaled,
    skip_branch,
)


@dataclass(frozen=True)
class Block:
    """One inverted residual.

    Attributes:
        filters: Channels of the result.
        expansion: Channels between expansion and projection, as a multiple of the input's; 1 leaves the
            expansion out.
        kernel: Side of the convolution's kernel.
        strides: Pixels from one result to the next.
        shortcut: Whether the input is added to the result, which then has its shape.
        dilation: Pixels from one weight of the kernel to the next.
        squeezed: Units of squeeze and excitation between its two layers; 0 leaves it out.
        activation: Name of a Keras activation.
        fused: One full convolution in place of expansion and depthwise convolution (Fused-MBConv).
        drop: Probability that a sample skips the block in training.
        first: Centre result i on pixel ``strides * i``, see
            :func:`eolab.models.segmentation.convolutions.centre_on_first`.
    """

    filters: int
    expansion: float = 1.0
    kernel: int = 3
    strides: int = 1
    shortcut: bool = False
    dilation: int = 1
    squeezed: int = 0
    activation: str = "relu6"
    fused: bool = False
    drop: float = 0.0
    first: bool = False


def inverted_residual(x: Any, block: Block, seeds: Seeds, gate: str = "sigmoid") -> Any:
    """Inverted residual with linear bottleneck: (B, H, W, C) → (B, H/strides, W/strides, filters).

    - Expansion by a 1 × 1 convolution, depthwise convolution, projection by a 1 × 1 convolution without
      activation; the input added to the result (Sandler et al. 2018, MobileNetV2).
    - Squeeze and excitation between them (Howard et al. 2019, MobileNetV3).
    - Fused: the kernel's convolution expands; without expansion it is the whole block (Tan and Le 2021).

    Args:
        x: Features (B, H, W, C).
        block: Its sizes.
        seeds: Of weights and stochastic depth.
        gate: Activation of squeeze and excitation.
    """
    scale = BRANCH_SCALE if block.shortcut else 1.0
    y = _fused(x, block, seeds, scale) if block.fused else _separable(x, block, seeds)  # (B, h, w, hidden)
    if block.squeezed:
        y = squeeze_excite(y, block.squeezed, seeds, activation=block.activation, gate=gate)
    if not block.fused or block.expansion != 1:
        y = conv_norm(y, block.filters, 1, seeds, activation=None, scale=scale)  # (B, h, w, filters)
    return keras.layers.Add()([x, skip_branch(y, block.drop, seeds)]) if block.shortcut else y


def squeeze_excite(x: Any, units: int, seeds: Seeds, *, activation: str, gate: str) -> Any:
    """Scale each channel by a gate that sees the mean of all channels (Hu et al. 2018): (B, H, W, C) → same.

    Args:
        x: Features (B, H, W, C).
        units: Units of the layer between.
        seeds: Of the weights.
        activation: Of the layer between.
        gate: Of the last layer, sigmoid or hard_sigmoid.
    """
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)  # (B, 1, 1, C)
    hidden = keras.layers.Conv2D(units, 1, activation=activation, kernel_initializer=seeds.he())(mean)
    scale = keras.layers.Conv2D(x.shape[-1], 1, activation=gate, kernel_initializer=seeds.glorot())(hidden)
    return keras.layers.Multiply()([x, scale])


def _separable(x: Any, block: Block, seeds: Seeds) -> Any:
    if block.expansion != 1:
        hidden = scaled(x.shape[-1], block.expansion)
        x = conv_norm(x, hidden, 1, seeds, activation=block.activation)  # (B, H, W, hidden)
    return depthwise_norm(
        x,
        block.kernel,
        seeds,
        strides=block.strides,
        dilation=block.dilation,
        activation=block.activation,
        first=block.first,
    )


def _fused(x: Any, block: Block, seeds: Seeds, scale: float) -> Any:
    whole = block.expansion == 1  # no projection follows
    return conv_norm(
        x,
        block.filters if whole else scaled(x.shape[-1], block.expansion),
        block.kernel,
        seeds,
        strides=block.strides,
        activation=block.activation,
        first=block.first,
        scale=scale if whole else 1.0,
    )
