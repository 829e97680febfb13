"""DeepLabV3 on a ResNet or on MobileNetV2."""

from collections.abc import Sequence
from typing import Any

import keras

from eolab.core.errors import ParameterError
from eolab.models import heads
from eolab.models.blocks import batch_norm, conv_norm, resize, scaled, separable_norm
from eolab.models.heads import Spec
from eolab.models.images.mobilenets import mobilenetv2
from eolab.models.layers import Seeds
from eolab.models.resnet import Encoder, depth_of

STRIDES = (8, 16)


def deeplabv3(
    spec: Spec,
    *,
    backbone: str = "resnet50",
    width_multiplier: float = 1.0,
    output_stride: int = 8,
    rates: Sequence[int] = (3, 6, 9),
    dropout: float = 0.1,
) -> keras.Model:
    """Return DeepLabV3: atrous convolutions at several rates side by side (Chen et al. 2017).

    - On a ResNet (He et al. 2016), the stride of a bottleneck stands in its 3 × 3 convolution. Beyond the
      output stride, stages dilate in place of striding; the last has the multi-grid (1, 2, 1), one of the
      paper's.
    - On MobileNetV2 (Sandler et al. 2018), 2.6 M weights, the backbone ends with its 320 features; stages
      beyond the output stride dilate as they did for segmentation. They left the pyramid's atrous
      convolutions out; here they are depthwise separable (Chen et al. 2018).
    - Atrous spatial pyramid pooling: a 1 × 1 and three atrous 3 × 3 convolutions and the mean of the image,
      256 features each, joined by a 1 × 1 convolution. One more convolution with 64 features, so that little
      is resized to the full resolution.
    - The paper's rates 6, 12, 18 belong to maps of 33 × 33 (513 pixels, stride 16). On the 16 × 16 of a patch
      of 128 most of their weights would see nothing but padding, so the default has half of each; its best
      multi-grid (1, 2, 4) would reach beyond such a map altogether.
    - Any size will do: maps are resized to known sizes. Strided layers are padded so that features stay
      within half a pixel of where resizing takes them to be.

    Papers: Rethinking atrous convolution for semantic image segmentation, arXiv:1706.05587; Deep residual
    learning for image recognition, CVPR 2016; MobileNetV2: inverted residuals and linear bottlenecks, CVPR
    2018; Encoder-decoder with atrous separable convolution for semantic image segmentation, ECCV 2018.

    Args:
        spec: Inputs and outputs.
        backbone: "resnet18", "resnet34", "resnet50", "resnet101", "resnet152" or "mobilenetv2".
        width_multiplier: Factor of all numbers of features.
        output_stride: Pixels of the image from one of the deepest features to the next, 8 or 16.
        rates: Dilation of the pyramid's three convolutions.
        dropout: Share of the pyramid's features dropped.

    Raises:
        ParameterError: If there is no such backbone, or the output stride is another.
    """
    if output_stride not in STRIDES:
        raise ParameterError(f"{spec.name}: output_stride is {output_stride}, expected one of 8 and 16.")
    seeds, small = spec.seeds, backbone == "mobilenetv2"
    inputs, x = heads.image_input(spec)
    if small:
        x = mobilenetv2(x, seeds, width_multiplier, output_stride)  # (B, H/s, W/s, 320)
    else:
        given: dict[str, Any] = {"norm": batch_norm, "output_stride": output_stride, "multi_grid": (1, 2, 1)}
        x = Encoder(seeds, depth_of(backbone), width_multiplier, **given)(x)[-1]  # (B, H/s, W/s, 2048)
    y = atrous_pyramid(x, scaled(256, width_multiplier), rates, seeds, separable=small)  # (B, H/s, W/s, 256)
    filters, kernel = scaled(64, width_multiplier), 1 if small else 3
    y = conv_norm(seeds.dropout(dropout)(y), filters, kernel, seeds)  # (B, H/s, W/s, 64)
    return heads.resized_model(spec, inputs, y, x)


def atrous_pyramid(x: Any, units: int, rates: Sequence[int], seeds: Seeds, separable: bool = False) -> Any:
    """Atrous spatial pyramid pooling (Chen et al. 2017, §3.3): (B, H, W, C) → (B, H, W, units).

    Args:
        x: Features (B, H, W, C).
        units: Features of each branch and of the result.
        rates: Dilation of each 3 × 3 convolution.
        seeds: Seeds of the weights.
        separable: Whether these convolutions are depthwise separable.
    """
    atrous = separable_norm if separable else conv_norm
    branches = [conv_norm(x, units, 1, seeds)]
    branches += [atrous(x, units, 3, seeds, dilation=int(rate)) for rate in rates]
    mean = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)  # (B, 1, 1, C)
    mean = conv_norm(mean, units, 1, seeds)
    branches.append(resize(mean, *x.shape[1:3]))  # (B, H, W, units), the same everywhere
    return conv_norm(keras.layers.Concatenate()(branches), units, 1, seeds)
