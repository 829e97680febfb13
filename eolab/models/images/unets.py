"""U-Nets: plain, residual, with attention, on a ResNet; U-Net++, V-Net and Squeeze U-Net."""

from collections.abc import Sequence
from typing import Any

import keras

from eolab.core.errors import check_known
from eolab.models import heads
from eolab.models.attention import attend
from eolab.models.blocks import BRANCH_SCALE, batch_norm, conv_norm, enlarge, scaled
from eolab.models.heads import Spec
from eolab.models.layers import Seeds
from eolab.models.resnet import Encoder, depth_of

PLACES = ("blocks", "skips")
RESNET_DECODER = (256, 128, 64, 32, 16)  # features of the decoder on a ResNet, at strides 16, 8, 4, 2 and 1
CONVOLUTIONS = (1, 2, 3, 3, 3)  # of each stage of V-Net's paper, from the full resolution down
FACTORS = (1, 2, 4, 8, 15.5)  # features of each level of Squeeze U-Net, as multiples of the first one's
SQUEEZE = 8  # features of a fire module for one that its squeeze layer keeps (Iandola et al. 2016)


def unet(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    filters: int | Sequence[int] = 64,
    levels: int = 5,
    residual: bool = False,
    attention: str = "none",
    attention_on: str = "blocks",
    dropout: float = 0.0,
) -> keras.Model:
    """Return U-Net (Ronneberger, Fischer and Brox 2015), 31 M weights, and its variants.

    - Two 3 × 3 convolutions a level, features doubled and pixels halved from level to level, skip connections
      to a decoder of 2 × 2 transposed convolutions.
    - Convolutions keep the size (``same`` padding) and are followed by batch normalisation, which the paper
      does without.
    - Residual blocks (He et al. 2016) in place of the pairs of convolutions make 24 M weights, see
      :func:`residual_block`.
    - With attention, each block of encoder and decoder ends in it, or all that the encoder hands over does:
      each skip connection and the deepest features; see :func:`eolab.models.attention.attend`. RAU-Net 1 and
      2 are residual with multi-attention on blocks and on skips. Their authors show blocks and combinations
      as drawings and give numbers of weights, 24.4 M, 24.8 M and 24.8 M: what a block holds and where
      attention stands is our reading, within 2 % of these numbers.

    Papers: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015; Deep residual
    learning for image recognition, CVPR 2016.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        filters: Features of the first level, doubled from level to level; or of each level, the first first.
        levels: Resolutions, the image's own included, where `filters` is one number.
        residual: Whether blocks are residual.
        attention: "none", "cbam", "se" or "multi".
        attention_on: "blocks" or "skips".
        dropout: Share of features dropped at the deepest level.

    Raises:
        ParameterError: If there is no such attention, or no such place for it.
    """
    check_known(attention_on, PLACES, f"{spec.name}: attention_on is {attention_on!r}")
    numbers = [filters * 2**level for level in range(levels)] if isinstance(filters, int) else list(filters)
    sizes = [scaled(number, width_multiplier) for number in numbers]
    seeds, deepest = spec.seeds, len(sizes) - 1

    def block(x: Any, features: int) -> Any:
        x = residual_block(x, features, seeds) if residual else double_convolution(x, features, seeds)
        return attend(x, attention, seeds) if attention_on == "blocks" else x

    inputs, x = heads.image_input(spec, stride=2**deepest)
    skips = []
    for level, features in enumerate(sizes):
        x = keras.layers.MaxPooling2D(2)(x) if level else x  # (B, H/2^l, W/2^l, F/2)
        x = block(x, features)  # (B, H/2^l, W/2^l, F)
        skips.append(x)
    if attention_on == "skips":
        skips = [attend(skip, attention, seeds) for skip in skips]
        x = skips[-1]
    deep = half = x = seeds.dropout(dropout)(x) if dropout else x
    for level in reversed(range(deepest)):
        up = enlarge(x, sizes[level], seeds)
        half, x = x, keras.layers.Concatenate()([skips[level], up])  # (B, H/2^l, W/2^l, 2 F)
        x = block(x, sizes[level])  # (B, H/2^l, W/2^l, F)
    return heads.pixels_model(spec, inputs, x, half, deep)


def unet_resnet(
    spec: Spec,
    *,
    backbone: str = "resnet50",
    width_multiplier: float = 1.0,
    dropout: float = 0.0,
    l2: float = 0.0,
) -> keras.Model:
    """Return a U-Net whose encoder is a ResNet (Ronneberger et al. 2015, He et al. 2016).

    - Encoder: stem and four stages at strides 2, 4, 8, 16 and 32; published weights go into it, see
      :func:`eolab.models.weights.load`.
    - Decoder: 2 × 2 transposed convolutions and two 3 × 3 convolutions a level, with the encoder's features
      at strides 16, 8, 4 and 2 and the image itself at 1; 256 to 16 features. These numbers are ours.

    Papers: U-Net: convolutional networks for biomedical image segmentation, MICCAI 2015; Deep residual
    learning for image recognition, CVPR 2016.

    Args:
        spec: Inputs and outputs.
        backbone: "resnet18", "resnet34", "resnet50", "resnet101" or "resnet152".
        width_multiplier: Factor of all numbers of features.
        dropout: Share of features dropped at the deepest level.
        l2: Penalty on the squares of the weights of the encoder's convolutions.
    """
    seeds = spec.seeds
    inputs, image = heads.image_input(spec, stride=32)
    encoder = Encoder(seeds, depth_of(backbone), width_multiplier, l2=l2)
    skips = [image, *encoder(image)]  # strides 1, 2, 4, 8, 16, 32
    x = skips.pop()
    deep = half = x = seeds.dropout(dropout)(x) if dropout else x  # (B, H/32, W/32, F)
    for features in RESNET_DECODER:
        filters = scaled(features, width_multiplier)
        up = enlarge(x, filters, seeds)
        half, x = x, keras.layers.Concatenate()([skips.pop(), up])
        x = double_convolution(x, filters, seeds)  # (B, H/s, W/s, F)
    return heads.pixels_model(spec, inputs, x, half, deep)


def double_convolution(x: Any, features: int, seeds: Seeds) -> Any:
    """Two 3 × 3 convolutions, each with batch normalisation and ReLU: (B, H, W, C) → (B, H, W, F)."""
    return conv_norm(conv_norm(x, features, 3, seeds), features, 3, seeds)


def residual_block(x: Any, features: int, seeds: Seeds) -> Any:
    """One convolution to the block's features and a residual unit: (B, H, W, C) → (B, H, W, F).

    - 3 × 3 convolution, batch normalisation, ReLU: C → F.
    - The unit of Darknet-53 (Redmon and Farhadi 2018, YOLOv3): 1 × 1 convolution F → F/2, 3 × 3 convolution
      F/2 → F, each with batch normalisation; its input is added as it is, then ReLU.

    Args:
        x: Features (B, H, W, C).
        features: Features F.
        seeds: Seeds of the weights.
    """
    x = conv_norm(x, features, 3, seeds)
    y = conv_norm(x, max(4, features // 2), 1, seeds)
    y = conv_norm(y, features, 3, seeds, activation=None, scale=BRANCH_SCALE)
    return keras.layers.ReLU()(keras.layers.Add()([x, y]))


def unet_plus_plus(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    filters: int = 32,
    levels: int = 5,
) -> keras.Model:
    """Return U-Net++ (Zhou, Siddiquee, Tajbakhsh and Liang 2018), 9 M weights.

    - Node (l, j) at level l takes all earlier nodes of its level and node (l + 1, j − 1), enlarged by a
      transposed convolution; the last node of the first level is the result.
    - Blocks are those of our U-Net; without deep supervision, whose average of four masks the heads replace.

    Paper: UNet++: a nested U-Net architecture for medical image segmentation, DLMIA 2018.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        filters: Features of the first level.
        levels: Resolutions, the image's own included.
    """
    seeds = spec.seeds
    sizes = [scaled(filters * 2**level, width_multiplier) for level in range(levels)]
    inputs, x = heads.image_input(spec, stride=2 ** (levels - 1))
    nodes = []  # of each level so far
    for level, features in enumerate(sizes):
        x = keras.layers.MaxPooling2D(2)(x) if level else x
        x = double_convolution(x, features, seeds)  # (B, H/2^l, W/2^l, F)
        nodes.append([x])
    for column in range(1, levels):
        for level in range(levels - column):
            below = nodes[level + 1][column - 1]  # (B, H/2^(l+1), W/2^(l+1), 2 F)
            up = enlarge(below, sizes[level], seeds)
            joined = keras.layers.Concatenate()([*nodes[level], up])  # (B, H/2^l, W/2^l, (j + 1) F)
            nodes[level].append(double_convolution(joined, sizes[level], seeds))
    half, deep = nodes[1][-1], nodes[-1][0]
    return heads.pixels_model(spec, inputs, nodes[0][-1], half, deep)


def vnet(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    filters: int = 7,
    kernel_size: int = 5,
    dropout: float = 0.0,
) -> keras.Model:
    """Return V-Net on images, 2.6 M weights (Milletari, Navab and Ahmadi 2016).

    - Five stages of one to three convolutions with a residual connection over each stage; convolutions with
      stride 2 go down, transposed ones go up; PReLU throughout.
    - Kernels of side 5 as in the paper; 7 features in the first stage, where it has 16, give the size that is
      compared.
    - Batch normalisation after each convolution, which the paper, a year younger, does without.

    Paper: V-Net: fully convolutional neural networks for volumetric medical image segmentation, 3DV 2016.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        filters: Features of the first stage; each further one has twice as many.
        kernel_size: Side of the kernels.
        dropout: Share of features dropped in the deepest stage.
    """
    deepest = len(CONVOLUTIONS) - 1
    seeds = spec.seeds
    sizes = [scaled(filters * 2**level, width_multiplier) for level in range(deepest + 1)]
    inputs, x = heads.image_input(spec, stride=2**deepest)
    x = _prelu(_conv_norm(x, sizes[0], kernel_size, seeds))  # (B, H, W, F), for the first residual connection
    skips = []
    for level, convolutions in enumerate(CONVOLUTIONS):
        if level:
            x = _prelu(_conv_norm(x, sizes[level], 2, seeds, strides=2))  # (B, H/2^l, W/2^l, 2^l F)
        x = residual_stage(x, convolutions, kernel_size, seeds)
        skips.append(x)
    deep = half = x = seeds.dropout(dropout)(x)  # (B, H/16, W/16, 16 F)
    for level in reversed(range(deepest)):
        up = _prelu(batch_norm(enlarge(x, sizes[level], seeds, bias=False)))  # (B, H/2^l, W/2^l, 2^l F)
        half, x = x, keras.layers.Concatenate()([up, skips[level]])  # (B, H/2^l, W/2^l, 2^(l+1) F)
        x = residual_stage(x, CONVOLUTIONS[level], kernel_size, seeds)
    return heads.pixels_model(spec, inputs, x, half, deep)


def residual_stage(x: Any, convolutions: int, kernel: int, seeds: Seeds) -> Any:
    """Convolutions with PReLU, the input added before the last PReLU: (B, H, W, C) → same shape.

    Args:
        x: Features (B, H, W, C).
        convolutions: Number of convolutions.
        kernel: Side of their kernels.
        seeds: Seeds of the weights.
    """
    y, filters = x, x.shape[-1]
    for _ in range(convolutions - 1):
        y = _prelu(_conv_norm(y, filters, kernel, seeds))
    y = _conv_norm(y, filters, kernel, seeds, scale=BRANCH_SCALE)
    return _prelu(keras.layers.Add()([x, y]))


def _conv_norm(x: Any, filters: int, kernel: int, seeds: Seeds, **given: Any) -> Any:
    return conv_norm(x, filters, kernel, seeds, activation=None, **given)


def _prelu(x: Any) -> Any:
    """One learnt slope a channel (He et al. 2015), 0.25 at first."""
    slope = keras.initializers.Constant(0.25)
    return keras.layers.PReLU(alpha_initializer=slope, shared_axes=[1, 2])(x)


def squeeze_unet(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    filters: int = 64,
    dropout: float = 0.1,
) -> keras.Model:
    """Return Squeeze U-Net, 2.6 M weights as its paper says (Beheshti and Johnsson 2020).

    - U-Net (Ronneberger et al. 2015) with a fire module (Iandola et al. 2016) in place of each convolution
      but the first, and fire modules with a transposed convolution in place of its transposed convolutions.
    - U-Net's 64 to 512 features, and 992 at the deepest level, where 1,024 would make 2.7 M weights.
    - The transposed convolution stands between squeeze and expansion, where features are fewest, as in
      SqueezeSeg (Wu et al. 2018): strided 1 × 1 kernels would leave three of four pixels empty.
    - Batch normalisation after each convolution.

    Papers: Squeeze U-Net: a memory and energy efficient image segmentation network, CVPR Workshops 2020;
    SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, arXiv:1602.07360; SqueezeSeg, ICRA 2018.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        filters: Features at the full resolution.
        dropout: Share of features dropped at the deepest level.
    """
    seeds = spec.seeds
    sizes = [scaled(filters * factor, width_multiplier) for factor in FACTORS]
    inputs, x = heads.image_input(spec, stride=2 ** (len(FACTORS) - 1))
    x = fire(conv_norm(x, sizes[0], 3, seeds), sizes[0], seeds)  # (B, H, W, F)
    skips = [x]
    for filters in sizes[1:]:
        x = keras.layers.MaxPooling2D(2)(x)
        x = fire(fire(x, filters, seeds), filters, seeds)  # (B, H/2^l, W/2^l, 2^l F)
        skips.append(x)
    deep = half = x = seeds.dropout(dropout)(skips.pop())  # (B, H/16, W/16, 15.5 F)
    while skips:
        skip = skips.pop()
        up = fire(x, skip.shape[-1], seeds, transposed=True)  # (B, H/2^l, W/2^l, 2^l F)
        half, x = x, fire(keras.layers.Concatenate()([up, skip]), skip.shape[-1], seeds)
    return heads.pixels_model(spec, inputs, x, half, deep)


def fire(x: Any, filters: int, seeds: Seeds, transposed: bool = False) -> Any:
    """Fire module: squeeze by a 1 × 1 convolution, expand by 1 × 1 and 3 × 3 convolutions side by side.

    (B, H, W, C) → (B, H, W, filters), or (B, 2 H, 2 W, filters) if transposed.

    Args:
        x: Features (B, H, W, C).
        filters: Features of the result, half of them from each expansion; an eighth is what squeezing keeps.
        seeds: Seeds of the weights.
        transposed: Whether a transposed 2 × 2 convolution with stride 2 follows squeezing.
    """
    squeezed = scaled(filters, 1 / SQUEEZE)
    x = conv_norm(x, squeezed, 1, seeds)  # (B, H, W, S)
    if transposed:
        x = keras.layers.ReLU()(batch_norm(enlarge(x, squeezed, seeds, bias=False)))  # (B, 2 H, 2 W, S)
    one = conv_norm(x, filters // 2, 1, seeds)
    three = conv_norm(x, filters - filters // 2, 3, seeds)
    return keras.layers.Concatenate()([one, three])
