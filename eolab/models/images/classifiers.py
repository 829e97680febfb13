"""Networks that label images: a shallow CNN, a branch each resolution, ResNets, ConvNeXt-T."""

# ruff: noqa: D102 (build and call are those of Keras; the class documents them)

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from eolab.core.errors import ParameterError
from eolab.data.bands import L2A_BANDS, SENTINEL2
from eolab.models import heads
from eolab.models.blocks import conv_norm, joined, layer_norm, penalty, scaled, skip_branch
from eolab.models.heads import Spec
from eolab.models.layers import Gelu, Layer, Normalize, Seeds, Seen
from eolab.models.resnet import PREFIX, Encoder, MaskedNorm

SHALLOW = ((32, 5), (32, 5), (64, 3))  # features and side of the kernel
STEPS = (1, 2, 6)  # pixels of 10 m that a native pixel of 10, 20 and 60 m has a side
L2A_STEPS = [round(SENTINEL2[band].resolution_m / 10) for band in L2A_BANDS]
BRANCHES = {  # by step: features, side of the kernel, whether 2 × 2 max pooling follows
    1: ((32, 5, True), (32, 5, True), (64, 3, True)),
    2: ((32, 3, True), (32, 3, True), (64, 3, False)),
    6: ((32, 3, False), (32, 3, False), (64, 2, False)),
}
RADAR_MEAN, RADAR_STD = (-12.6, -19.3), (5.1, 5.5)  # VV and VH in dB, usual over land
CONVNEXT = ((96, 3), (192, 3), (384, 9), (768, 3))  # features and blocks of each stage
EXPANSION = 4  # the hidden layer of a block of ConvNeXt has this many times the features


def shallow_cnn(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    units: int = 128,
    dropout: float = 0.0,
    l2: float = 0.0,
) -> keras.Model:
    """Return the shallow CNN of Sumbul et al. (2019).

    - Three convolutions with 32, 32 and 64 features, sides 5, 5 and 3, stride 1, zero padding, ReLU, each
      followed by 2 × 2 max pooling; one fully connected layer; the labels.
    - The fully connected layer reads the features of each position, not of all at once, and its features are
      averaged: the weights no longer depend on the size of the patch, and it can be made dense. The
      number of its features is ours.

    Paper: BigEarthNet: a large-scale benchmark archive for remote sensing image understanding, IGARSS 2019.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        units: Features of the fully connected layer.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions.
    """
    heads.check_size(spec, 8)
    seeds = spec.seeds
    inputs, x = heads.image_input(spec)
    for filters, side in (*SHALLOW, (units, 1)):
        x = keras.layers.Conv2D(
            scaled(filters, width_multiplier),
            side,
            padding="same",
            activation="relu",
            kernel_initializer=seeds.he(),
            kernel_regularizer=penalty(l2),
        )(x)
        x = keras.layers.MaxPooling2D(2)(x) if side > 1 else x  # (B, H/2, W/2, F) and so on
    return heads.image_labels(spec, inputs, x, dropout)


class NativePixels(Layer):
    """Some bands of an image at their native resolution: (B, H, W, C) → (B, H/step, W/step, c).

    Where an image was resampled to a finer grid by the nearest neighbour, its native pixels stand in every
    ``step``-th row and column.

    Args:
        places: Places of the bands among the C.
        step: Pixels of the image that a native pixel has a side.
    """

    def __init__(self, places: Sequence[int], step: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.places, self.step = places, step

    def call(self, image: Any) -> Any:
        return ops.take(image[:, :: self.step, :: self.step], ops.array(self.places, "int32"), axis=-1)


def three_branch_cnn(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    units: int = 128,
    steps: Sequence[int] = (),
    dropout: float = 0.0,
    l2: float = 0.0,
) -> keras.Model:
    """Return a CNN that reads bands of 10, 20 and 60 m in branches of their own, none resampled.

    Takes the twelve bands of Level-2A at 10 m in the order B01, B02, B03, B04, B05, B06, B07, B08, B8A, B09,
    B11, B12, resampled by the nearest neighbour: the network slices the native pixels out, 120 × 120 of B02,
    B03, B04 and B08, 60 × 60 of B05, B06, B07, B8A, B11 and B12, 20 × 20 of B01 and B09. With other
    resampling each native pixel is one of the interpolated ones.

    - Idea and sides of the kernels after Sumbul and Demir (2020), whose three branches each have three
      convolutions and a fully connected layer, with larger kernels where pixels are smaller; batch
      normalisation, numbers of features and the average over each branch's map are ours. Their attention
      is left out.
    - The descriptors of the branches are put side by side, and one dense layer predicts.

    Paper: A deep multi-attention driven approach for multi-label remote sensing image classification, IEEE
    Access 8, 2020.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        units: Features of each branch's fully connected layer.
        steps: Pixels of the image that a native pixel of each channel has a side: 1, 2 or 6. By default those
            of Level-2A's twelve bands, and 1 of any other number of channels.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions.

    Raises:
        ParameterError: If there is not a step for each channel, or the image is smaller than 12 × 12 pixels.
    """
    native = list(steps) or (L2A_STEPS if spec.channels == len(L2A_STEPS) else [1] * spec.channels)
    if len(native) != spec.channels or set(native) - set(STEPS):
        raise ParameterError(
            f"{spec.name}: steps is {native}, expected one of {', '.join(map(str, STEPS))} for each of "
            f"{spec.channels} channels."
        )
    heads.check_size(spec, 2 * STEPS[-1])
    seeds = spec.seeds
    inputs, image = heads.image_input(spec)
    branches = []
    for step in sorted(set(native)):
        places = [place for place, own in enumerate(native) if own == step]
        x = NativePixels(places, step, name=f"native_{10 * step}m")(image)  # (B, H/step, W/step, c)
        for filters, side, pooled in BRANCHES[step]:
            x = conv_norm(x, scaled(filters, width_multiplier), side, seeds, l2=l2)
            x = keras.layers.MaxPooling2D(2)(x) if pooled else x
        x = keras.layers.GlobalAveragePooling2D()(x)  # (B, 64)
        x = keras.layers.Dense(scaled(units, width_multiplier), "relu", kernel_initializer=seeds.he())(x)
        branches.append(x)
    return heads.labels_model(spec, inputs, joined(branches), dropout)


def resnet(
    spec: Spec,
    *,
    depth: int = 50,
    width_multiplier: float = 1.0,
    dropout: float = 0.0,
    l2: float = 0.0,
    early: bool = False,
    masked: bool = False,
) -> keras.Model:
    """Return a ResNet (He et al. 2016): 11.2 M weights with 18 layers, 23.5 M with 50, 42.5 M with 101.

    - Padding, stride and batch normalisation are PyTorch's, and layers have timm's names, ``_`` for ``.``:
      :func:`eolab.models.weights.load` puts published weights in. Those of Keras want `early`.
    - Residual branches begin small, see :class:`eolab.models.resnet.Encoder`. Averages of the batch
      normalisation follow the last ten batches, as in PyTorch.
    - Dropout and penalty are options of the training, not of the paper.

    Paper: Deep residual learning for image recognition, CVPR 2016.

    Args:
        spec: Inputs and outputs.
        depth: Layers, 18, 34, 50, 101 or 152.
        width_multiplier: Factor of all numbers of features.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions.
        early: Whether the stride of a bottleneck stands in its first convolution, as in the paper.
        masked: Whether pixels without any value (NaN) count nowhere, neither in the average over the image
            nor in batch normalisations, see :class:`eolab.models.resnet.MaskedNorm`: an image that is padded
            with NaN at the bottom and on the right gives what it gives alone. A step takes up to twice as
            long.
    """
    inputs, x = heads.image_input(spec)
    if not masked:
        maps = Encoder(spec.seeds, depth, width_multiplier, l2=l2, early=early)(x)[-1]
        return heads.image_labels(spec, inputs, maps, dropout)
    norm = MaskedNorm(Seen(name="seen")(inputs["image"]))
    maps = Encoder(spec.seeds, depth, width_multiplier, norm=norm, l2=l2, early=early)(x)[-1]
    return heads.image_labels(spec, inputs, maps, dropout, norm.cells(maps))


def resnet_fusion(
    spec: Spec,
    *,
    depth: int = 50,
    width_multiplier: float = 1.0,
    dropout: float = 0.0,
    l2: float = 0.0,
    radar_mean: Sequence[float] = RADAR_MEAN,
    radar_std: Sequence[float] = RADAR_STD,
) -> keras.Model:
    """Return two ResNets side by side, of the image and of ``radar`` (B, H, W, 2) VV and VH in dB.

    They share no weights; their last features are put side by side before the average, and one dense layer
    predicts (late fusion), so that each sensor can begin with published weights of its own. Sumbul et al.
    (2021) published the pairs of images; the network is ours. Else as :func:`resnet`.

    Paper: BigEarthNet-MM: a large-scale, multimodal, multilabel benchmark archive for remote sensing image
    classification and retrieval, IEEE Geoscience and Remote Sensing Magazine 9(3), 2021.

    Args:
        spec: Inputs and outputs; channels and statistics are those of the image.
        depth: Layers of each ResNet, 18, 34, 50, 101 or 152.
        width_multiplier: Factor of all numbers of features.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions.
        radar_mean: Mean of VV and VH in dB.
        radar_std: Standard deviation of VV and VH in dB.

    Raises:
        ParameterError: If the radar's statistics are not two numbers each.
    """
    if len(radar_mean) != 2 or len(radar_std) != 2:
        raise ParameterError(f"{spec.name}: radar_mean and radar_std need two numbers each, of VV and of VH.")
    inputs, x = heads.image_input(spec)
    inputs["radar"] = keras.Input((spec.height, spec.width, 2), name="radar", dtype="float32")  # dB
    radar = Normalize(radar_mean, radar_std, name="normalize_radar")(inputs["radar"])
    maps = [
        Encoder(spec.seeds, depth, width_multiplier, prefix, l2=l2)(images)[-1]  # (B, H/32, W/32, F)
        for prefix, images in ((PREFIX, x), (f"{PREFIX}radar_", radar))
    ]
    return heads.image_labels(spec, inputs, keras.layers.Concatenate()(maps), dropout)


class LayerScale(Layer):
    """Multiply each feature by a weight of its own (Touvron et al. 2021), any shape (…, F).

    Args:
        start: All weights at first.
    """

    def __init__(self, start: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape: Any) -> None:
        start = keras.initializers.Constant(self.start)
        self.gamma = self.add_weight((shape[-1],), start, name="gamma")

    def call(self, x: Any) -> Any:
        return x * self.gamma


def convnext_tiny(
    spec: Spec,
    *,
    width_multiplier: float = 1.0,
    drop_path: float = 0.1,
    scale: float = 1e-6,
    dropout: float = 0.0,
    l2: float = 0.0,
) -> keras.Model:
    """Return ConvNeXt-T, 27.8 M weights (Liu et al. 2022).

    - Four stages at strides 4, 8, 16 and 32 of 3, 3, 9 and 3 blocks: 7 × 7 depthwise convolution, layer
      normalisation, dense layers with four times the features and GELU between them, layer scale beside a
      shortcut. Layer normalisation and 2 × 2 convolutions of stride 2 lead from stage to stage.
    - The last layer normalisation stands before the average, not behind it, so that the network can be made
      dense.

    Paper: A ConvNet for the 2020s, CVPR 2022.

    Args:
        spec: Inputs and outputs.
        width_multiplier: Factor of all numbers of features.
        drop_path: Probability that a sample skips the last branch in training; it grows linearly with depth.
        scale: Factor of the branches at first; the paper's is small for 300 epochs, 0.1 suits short
            trainings.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions and of the dense layers between them.
    """
    heads.check_size(spec, 32)
    seeds, done, total = spec.seeds, 0, sum(blocks for _, blocks in CONVNEXT) - 1
    inputs, x = heads.image_input(spec)
    for stage, (number, blocks) in enumerate(CONVNEXT):
        x = layer_norm()(x) if stage else x
        filters, side = scaled(number, width_multiplier), 2 if stage else 4
        kernel = {"kernel_initializer": _initial(seeds), "kernel_regularizer": penalty(l2)}
        x = keras.layers.Conv2D(filters, side, side, **kernel)(x)  # (B, H/s, W/s, F)
        x = x if stage else layer_norm()(x)
        for _ in range(blocks):
            x = _block(x, seeds, drop_path * done / total, scale, l2)
            done += 1
    return heads.image_labels(spec, inputs, layer_norm()(x), dropout)


def _block(x: Any, seeds: Seeds, drop_path: float, scale: float, l2: float) -> Any:
    """Depthwise convolution and two dense layers beside a shortcut: (B, H, W, F) → the same shape."""
    filters, given = x.shape[-1], {"kernel_regularizer": penalty(l2)}
    y = keras.layers.DepthwiseConv2D(
        7, padding="same", depthwise_initializer=_initial(seeds), depthwise_regularizer=penalty(l2)
    )(x)
    y = layer_norm()(y)
    y = keras.layers.Dense(EXPANSION * filters, kernel_initializer=_initial(seeds), **given)(y)
    y = keras.layers.Dense(filters, kernel_initializer=_initial(seeds), **given)(Gelu()(y))
    y = skip_branch(LayerScale(scale)(y), drop_path, seeds)
    return keras.layers.Add()([x, y])


def _initial(seeds: Seeds) -> keras.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.02, seed=seeds.next())
