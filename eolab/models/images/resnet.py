"""ResNet classifiers: of one image, and of an image and its radar image joined late."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from eolab.core.errors import ParameterError
from eolab.models import heads
from eolab.models.heads import Spec
from eolab.models.layers import Normalize
from eolab.models.resnet import PREFIX, Encoder

RADAR_MEAN, RADAR_STD = (-12.6, -19.3), (5.1, 5.5)  # VV and VH in dB, usual over land


def resnet(
    spec: Spec,
    *,
    depth: int = 50,
    width_multiplier: float = 1.0,
    dropout: float = 0.0,
    l2: float = 0.0,
    early: bool = False,
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
    """
    inputs, x = heads.image_input(spec)
    encoder = Encoder(spec.seeds, depth, width_multiplier, l2=l2, early=early)
    return heads.image_labels(spec, inputs, encoder(x)[-1], dropout)


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
