"""ResNets of patches: of one image, and of an image and its radar image joined late."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from eolab.core.errors import ParameterError
from eolab.models.layers import Normalize, Seeds
from eolab.models.patches import ends
from eolab.models.residual import Parts, residual_maps
from eolab.models.segmentation.convolutions import batch_norm
from eolab.models.segmentation.heads import image_input

EPSILON = 1e-5  # of the batch normalisation: PyTorch's, which published weights belong to
RADAR_MEAN, RADAR_STD = (-12.6, -19.3), (5.1, 5.5)  # VV and VH in dB, usual over land


def resnet(
    *,
    size: int,
    bands: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    depth: int = 50,
    width: float = 1.0,
    dropout: float = 0.0,
    l2: float = 0.0,
    early: bool = False,
) -> keras.Model:
    """Return a ResNet (He et al. 2016): 11.2 M weights with 18 layers, 23.5 M with 50, 42.5 M with 101.

    - Padding, stride and batch normalisation are PyTorch's, and layers have timm's names, ``_`` for ``.``:
      :func:`eolab.models.patches.weights.load` puts published weights in. Those of Keras want `early`.
    - Residual branches begin small, see :func:`eolab.models.residual.residual_maps`. Averages of the batch
      normalisation follow the last ten batches, as in PyTorch.
    - Dropout and penalty are options of the training, not of the paper.

    Paper: Deep residual learning for image recognition, CVPR 2016.

    Args:
        size: Side of the patch in pixels.
        bands: Bands C.
        classes: Labels K.
        mean: Mean of each band.
        std: Standard deviation of each band.
        seed: Of weights and dropout.
        depth: Layers, 18, 50 or 101.
        width: Factor of all numbers of features.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions.
        early: Whether the stride of a bottleneck stands in its first convolution, as in the paper.

    Raises:
        ParameterError: If a number is out of range.
    """
    name = f"resnet{depth}_patch"
    ends.check(name, width, dropout, l2)
    seeds = Seeds(seed)
    inputs, x = image_input(size, bands, mean, std)
    maps = residual_maps(x, Parts(_norm, seeds, "", l2, early), depth, width)  # (B, H/32, W/32, F)
    return ends.finish(inputs, maps, classes, seeds, dropout, name)


def resnet_fusion(
    *,
    size: int,
    bands: int,
    classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    seed: int = 0,
    depth: int = 50,
    width: float = 1.0,
    dropout: float = 0.0,
    l2: float = 0.0,
    radar_mean: Sequence[float] = RADAR_MEAN,
    radar_std: Sequence[float] = RADAR_STD,
) -> keras.Model:
    """Return two ResNets side by side, of the image and of ``radar`` (B, H, W, 2) VV and VH in dB.

    They share no weights; their last features are put side by side before the average, and one dense layer
    answers (late fusion), so that each sensor can begin with published weights of its own. Sumbul et al.
    (2021) published the pairs of images; the network is ours. Else as :func:`resnet`.

    Paper: BigEarthNet-MM: a large-scale, multimodal, multilabel benchmark archive for remote sensing image
    classification and retrieval, IEEE Geoscience and Remote Sensing Magazine 9(3), 2021.

    Args:
        size: Side of the patch in pixels.
        bands: Bands C of the image.
        classes: Labels K.
        mean: Mean of each band of the image.
        std: Standard deviation of each band of the image.
        seed: Of weights and dropout.
        depth: Layers of each ResNet, 18, 50 or 101.
        width: Factor of all numbers of features.
        dropout: Share of the features dropped before the last layer.
        l2: Penalty on the squares of the weights of convolutions.
        radar_mean: Mean of VV and VH in dB.
        radar_std: Standard deviation of VV and VH in dB.

    Raises:
        ParameterError: If a number is out of range, or the radar's statistics are not two numbers each.
    """
    name = f"resnet{depth}_fusion"
    ends.check(name, width, dropout, l2)
    if len(radar_mean) != 2 or len(radar_std) != 2:
        raise ParameterError(f"{name}: radar_mean and radar_std need two numbers each, of VV and of VH.")
    seeds = Seeds(seed)
    inputs, x = image_input(size, bands, mean, std)
    inputs["radar"] = keras.Input((size, size, 2), name="radar", dtype="float32")  # (B, H, W, 2) dB
    radar = Normalize(radar_mean, radar_std, name="normalize_radar")(inputs["radar"])
    maps = [
        residual_maps(x, Parts(_norm, seeds, "", l2), depth, width),  # (B, H/32, W/32, F)
        residual_maps(radar, Parts(_norm, seeds, "radar_", l2), depth, width),
    ]
    return ends.finish(inputs, keras.layers.Concatenate()(maps), classes, seeds, dropout, name)


def _norm(maps: Any, scale: float, name: str | None) -> Any:
    return batch_norm(scale, EPSILON, name)(maps)
