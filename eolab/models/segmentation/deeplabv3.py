"""DeepLabV3 on ResNet-50, and a small one on MobileNetV2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from eolab.core.errors import ParameterError
from eolab.models.layers import Seeds
from eolab.models.segmentation import heads
from eolab.models.segmentation.convolutions import (
    BRANCH_SCALE,
    centre_on_first,
    conv_norm,
    resize,
    scaled,
    separable_norm,
)
from eolab.models.segmentation.inverted_residuals import Block, inverted_residual

STRIDES = (8, 16)
RESNET50 = ((64, 3), (128, 4), (256, 6), (512, 3))  # features of the 3 × 3 convolutions, blocks of the stage
MULTI_GRID = (1, 2, 1)  # dilation of the last stage's blocks, times that of the stage
MOBILENETV2 = (  # expansion, features, blocks, strides of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def deeplabv3(
    *,
    size: int,
    bands: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    width: float = 1.0,
    head: str = "mask",
    output_stride: int = 8,
    rates: Sequence[int] = (3, 6, 9),
    dropout: float = 0.1,
) -> keras.Model:
    """Return DeepLabV3 on ResNet-50: atrous convolutions at several rates side by side (Chen et al. 2017).

    - ResNet-50 (He et al. 2016) with the stride of a bottleneck in its 3 × 3 convolution. Beyond the output
      stride, stages dilate in place of striding; the last has the multi-grid (1, 2, 1), one of the paper's.
    - Atrous spatial pyramid pooling: a 1 × 1 and three atrous 3 × 3 convolutions and the mean of the image,
      256 features each, joined by a 1 × 1 convolution. One more 3 × 3 convolution with 64 features, so that
      little is resized to the full resolution.
    - The paper's rates 6, 12, 18 belong to maps of 33 × 33 (513 pixels, stride 16). On the 16 × 16 of a patch
      of 128 most of their weights would see nothing but padding, so the default has half of each; its best
      multi-grid (1, 2, 4) would reach beyond such a map altogether.
    - Any size will do: maps are resized to known sizes. Strided layers are padded so that features stay
      within half a pixel of where resizing takes them to be.

    Papers: Rethinking atrous convolution for semantic image segmentation, arXiv:1706.05587; Deep residual
    learning for image recognition, CVPR 2016.

    Args:
        size: Side of the image in pixels.
        bands: Bands C.
        classes: Classes K.
        mean: Mean of each band.
        std: Standard deviation of each band.
        seed: Of weights and dropout.
        width: Factor of all numbers of features.
        head: One of :data:`eolab.models.segmentation.heads.HEADS`.
        output_stride: Pixels of the image from one of the deepest features to the next, 8 or 16.
        rates: Dilation of the pyramid's three convolutions.
        dropout: Share of the pyramid's features dropped.
    """
    _check_stride("deeplabv3", output_stride)
    seeds = Seeds(seed)
    inputs, x = heads.image_input(size, bands, mean, std)
    x = conv_norm(x, scaled(64, width), 7, seeds, strides=2, first=True)  # (B, H/2, W/2, 64)
    x, padding = centre_on_first(x, 3)
    x = keras.layers.MaxPooling2D(3, 2, padding)(x)  # (B, H/4, W/4, 64)
    stride, dilation = 4, 1
    for stage, (filters, blocks) in enumerate(RESNET50):
        strides = 2 if stage and stride < output_stride else 1
        stride, dilation = stride * strides, dilation * (2 if stage and strides == 1 else 1)
        for block in range(blocks):
            x = _bottleneck(
                x,
                scaled(filters, width),
                seeds,
                strides=strides if block == 0 else 1,
                dilation=dilation * (MULTI_GRID[block] if stage == 3 else 1),
                first=stride < output_stride,
                project=block == 0,
            )  # (B, H/s, W/s, 4 filters)
    y = atrous_pyramid(x, scaled(256, width), rates, seeds)  # (B, H/s, W/s, 256)
    y = conv_norm(seeds.dropout(dropout)(y), scaled(64, width), 3, seeds)  # (B, H/s, W/s, 64)
    return _finish(inputs, y, x, size, head=head, classes=classes, seeds=seeds, name="deeplabv3")


def deeplabv3_small(
    *,
    size: int,
    bands: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    width: float = 1.0,
    head: str = "mask",
    output_stride: int = 8,
    rates: Sequence[int] = (3, 6, 9),
    dropout: float = 0.1,
) -> keras.Model:
    """Return DeepLabV3 on MobileNetV2, 2.6 M weights (Chen et al. 2017, Sandler et al. 2018).

    - MobileNetV2 up to its 320 features; stages beyond the output stride dilate in place of striding, as
      Sandler et al. did for segmentation. They left the pyramid's atrous convolutions out; here they are
      depthwise separable (Chen et al. 2018), with 256 features.
    - Rates, resizing and padding as in :func:`deeplabv3`.

    Papers: MobileNetV2: inverted residuals and linear bottlenecks, CVPR 2018; Encoder-decoder with atrous
    separable convolution for semantic image segmentation, ECCV 2018.

    Args:
        size: Side of the image in pixels.
        bands: Bands C.
        classes: Classes K.
        mean: Mean of each band.
        std: Standard deviation of each band.
        seed: Of weights and dropout.
        width: Factor of all numbers of features.
        head: One of :data:`eolab.models.segmentation.heads.HEADS`.
        output_stride: Pixels of the image from one of the deepest features to the next, 8 or 16.
        rates: Dilation of the pyramid's three convolutions.
        dropout: Share of the pyramid's features dropped.
    """
    _check_stride("deeplabv3_small", output_stride)
    seeds = Seeds(seed)
    inputs, x = heads.image_input(size, bands, mean, std)
    x = conv_norm(
        x, scaled(32, width), 3, seeds, strides=2, activation="relu6", first=True
    )  # (B, H/2, W/2, 32)
    stride, dilation = 2, 1
    for expansion, filters, blocks, wanted in MOBILENETV2:
        strides = wanted if stride < output_stride else 1
        stride, dilation = stride * strides, dilation * wanted // strides
        for block in range(blocks):
            x = inverted_residual(
                x,
                Block(
                    scaled(filters, width),
                    expansion,
                    strides=strides if block == 0 else 1,
                    shortcut=block > 0,
                    dilation=dilation,
                    first=block == 0 and strides > 1 and stride < output_stride,
                ),
                seeds,
            )  # (B, H/s, W/s, filters)
    y = atrous_pyramid(x, scaled(256, width), rates, seeds, separable=True)  # (B, H/s, W/s, 256)
    y = conv_norm(seeds.dropout(dropout)(y), scaled(64, width), 1, seeds)  # (B, H/s, W/s, 64)
    return _finish(inputs, y, x, size, head=head, classes=classes, seeds=seeds, name="deeplabv3_small")


def atrous_pyramid(x: Any, units: int, rates: Sequence[int], seeds: Seeds, separable: bool = False) -> Any:
    """Atrous spatial pyramid pooling (Chen et al. 2017, §3.3): (B, H, W, C) → (B, H, W, units).

    Args:
        x: Features (B, H, W, C).
        units: Features of each branch and of the result.
        rates: Dilation of each 3 × 3 convolution.
        seeds: Of the weights.
        separable: Whether these convolutions are depthwise separable.
    """
    branches = [conv_norm(x, units, 1, seeds)]
    for rate in rates:
        if separable:
            branches.append(separable_norm(x, units, 3, seeds, dilation=int(rate)))
        else:
            branches.append(conv_norm(x, units, 3, seeds, dilation=int(rate)))
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)  # (B, 1, 1, C)
    mean = conv_norm(mean, units, 1, seeds)
    branches.append(resize(mean, x.shape[1]))  # (B, H, W, units), the same everywhere
    return conv_norm(keras.layers.Concatenate()(branches), units, 1, seeds)


def _bottleneck(
    x: Any, filters: int, seeds: Seeds, *, strides: int, dilation: int, first: bool, project: bool
) -> Any:
    """1 × 1, 3 × 3 and 1 × 1 convolution beside a shortcut: (B, H, W, C) → (B, H/s, W/s, 4 filters)."""
    y = conv_norm(x, filters, 1, seeds)
    y = conv_norm(y, filters, 3, seeds, strides=strides, dilation=dilation, first=first and strides > 1)
    y = conv_norm(y, 4 * filters, 1, seeds, activation=None, scale=BRANCH_SCALE)
    if project:
        x = conv_norm(x, 4 * filters, 1, seeds, strides=strides, activation=None)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))


def _finish(inputs: Any, features: Any, deep: Any, size: int, **given: Any) -> keras.Model:
    """Resize features to half and to full resolution, and add the heads."""
    half = resize(features, size // 2)  # (B, H/2, W/2, F)
    return heads.finish(inputs, resize(features, size), half, deep, **given)


def _check_stride(name: str, output_stride: int) -> None:
    if output_stride not in STRIDES:
        raise ParameterError(f"{name}: output_stride is {output_stride}, expected one of 8 and 16.")
