"""Residual networks of any kind of normalisation: what the studies of scenes and of patches share.

Padding is symmetric, and the stride of a bottleneck stands in its 3 × 3 convolution unless told otherwise, as
in PyTorch: published weights can be loaded where the normalisation is PyTorch's too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from eolab.core.errors import ParameterError
from eolab.models.layers import Seeds
from eolab.models.segmentation.convolutions import BRANCH_SCALE, penalty, scaled

STAGES = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}  # blocks of each stage by depth
FILTERS = (64, 128, 256, 512)
EXPANSION = {18: 1, 50: 4, 101: 4}  # channels that leave a block, as a multiple of its filters


@dataclass(frozen=True)
class Parts:
    """How the parts of one network are made.

    Attributes:
        norm: Normalises maps: takes them, the factor of the result at first, and the layer's name.
        seeds: Of the weights.
        prefix: What stands before the names of the layers, which are PyTorch's with ``_`` for ``.``; None
            leaves the names to Keras.
        l2: Penalty on the squares of the weights of convolutions.
        early: Whether the stride of a bottleneck stands in its first convolution, as in the paper and in
            Keras's own networks, and not in its 3 × 3 convolution.
    """

    norm: Callable[[Any, float, str | None], Any]
    seeds: Seeds
    prefix: str | None = None
    l2: float = 0.0
    early: bool = False

    def named(self, name: str) -> str | None:
        """Return the name of a layer."""
        return None if self.prefix is None else self.prefix + name


def residual_maps(x: Any, parts: Parts, depth: int, width: float = 1.0) -> Any:
    """Read images by a ResNet (He et al. 2016) up to its last stage: (N, H, W, C) → (N, H/32, W/32, F).

    As published, but the stride of a bottleneck stands in its 3 × 3 convolution (Goyal et al. 2017) unless
    told otherwise, and residual branches begin small.

    Paper: Deep residual learning for image recognition, CVPR 2016.

    Args:
        x: Images.
        parts: How convolutions are made.
        depth: Layers, 18, 50 or 101.
        width: Factor of all numbers of features; with 1, F is 512 for 18 layers and 2,048 for others.

    Raises:
        ParameterError: If there is no such depth.
    """
    if depth not in STAGES:
        raise ParameterError(f"A ResNet of {depth} layers is not here: depth is 18, 50 or 101.")
    x = _conv_norm(x, scaled(FILTERS[0], width), 7, parts, ("conv1", "bn1"), strides=2)  # (N, H/2, W/2, 64)
    x = keras.layers.ZeroPadding2D(1)(x)
    x = keras.layers.MaxPooling2D(3, 2)(x)  # (N, H/4, W/4, 64)
    for stage, (filters, blocks) in enumerate(zip(FILTERS, STAGES[depth], strict=True)):
        for block in range(blocks):
            strides = 2 if stage and not block else 1
            place = f"layer{stage + 1}_{block}_"
            x = _block(x, scaled(filters, width), parts, strides, EXPANSION[depth], place)
    return x


def _block(x: Any, filters: int, parts: Parts, strides: int, expansion: int, place: str) -> Any:
    """Two 3 × 3 convolutions, or a bottleneck, beside a shortcut: (N, H, W, C) → (N, H/s, W/s, e F)."""
    first, second = (strides, 1) if parts.early or expansion == 1 else (1, strides)
    sides = ((3, first), (3, second)) if expansion == 1 else ((1, first), (3, second), (1, 1))
    wide, y = expansion * filters, x
    for number, (side, step) in enumerate(sides, start=1):
        names = (f"{place}conv{number}", f"{place}bn{number}")
        if number < len(sides):
            y = _conv_norm(y, filters, side, parts, names, strides=step)
        else:
            y = _conv_norm(y, wide, side, parts, names, activation=False, scale=BRANCH_SCALE)
    if strides > 1 or x.shape[-1] != wide:
        names = (f"{place}downsample_0", f"{place}downsample_1")
        x = _conv_norm(x, wide, 1, parts, names, strides=strides, activation=False)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))


def _conv_norm(
    x: Any,
    filters: int,
    kernel: int,
    parts: Parts,
    names: tuple[str, str],
    *,
    strides: int = 1,
    activation: bool = True,
    scale: float = 1.0,
) -> Any:
    """Convolution without bias, normalisation, ReLU: (N, H, W, C) → (N, H/strides, W/strides, F)."""
    x = keras.layers.ZeroPadding2D(kernel // 2)(x) if kernel > 1 else x
    x = keras.layers.Conv2D(
        filters,
        kernel,
        strides,
        use_bias=False,
        kernel_initializer=parts.seeds.he(),
        kernel_regularizer=penalty(parts.l2),
        name=parts.named(names[0]),
    )(x)
    x = parts.norm(x, scale, parts.named(names[1]))
    return keras.layers.ReLU()(x) if activation else x
