"""ConvNeXt-T, a convolutional network with the design of Transformers."""

# ruff: noqa: D102 (build, call and get_config are those of Keras; the class documents them)

from __future__ import annotations

from typing import Any

import keras

from eolab.models import heads
from eolab.models.blocks import penalty, scaled, skip_branch
from eolab.models.heads import Spec
from eolab.models.images.segformer import EPSILON, Gelu
from eolab.models.layers import Seeds, serializable

STAGES = ((96, 3), (192, 3), (384, 9), (768, 3))  # features and blocks
EXPANSION = 4  # the hidden layer of a block has this many times the features


@serializable
class LayerScale(keras.layers.Layer):
    """Multiply each feature by a weight of its own (Touvron et al. 2021), any shape (…, F).

    Args:
        start: All weights at first.
    """

    def __init__(self, start: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.start = float(start)

    def build(self, shape: Any) -> None:
        start = keras.initializers.Constant(self.start)
        self.gamma = self.add_weight((shape[-1],), start, name="gamma")

    def call(self, x: Any) -> Any:
        return x * self.gamma

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "start": self.start}


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
    seeds, done, total = spec.seeds, 0, sum(blocks for _, blocks in STAGES) - 1
    inputs, x = heads.image_input(spec)
    for stage, (filters, blocks) in enumerate(STAGES):
        side = 2 if stage else 4
        x = _layer_norm()(x) if stage else x
        x = _reduce(x, scaled(filters, width_multiplier), side, seeds, l2)  # (B, H/s, W/s, F)
        x = x if stage else _layer_norm()(x)
        for _ in range(blocks):
            x = _block(x, seeds, drop_path * done / total, scale, l2)
            done += 1
    return heads.image_labels(spec, inputs, _layer_norm()(x), dropout)


def _reduce(x: Any, filters: int, side: int, seeds: Seeds, l2: float) -> Any:
    """One result for side × side pixels: (B, H, W, C) → (B, H/side, W/side, F)."""
    return keras.layers.Conv2D(
        filters, side, side, kernel_initializer=_initial(seeds), kernel_regularizer=penalty(l2)
    )(x)


def _block(x: Any, seeds: Seeds, drop_path: float, scale: float, l2: float) -> Any:
    """Depthwise convolution and two dense layers beside a shortcut: (B, H, W, F) → the same shape."""
    filters, given = x.shape[-1], {"kernel_regularizer": penalty(l2)}
    y = keras.layers.DepthwiseConv2D(
        7, padding="same", depthwise_initializer=_initial(seeds), depthwise_regularizer=penalty(l2)
    )(x)
    y = _layer_norm()(y)
    y = keras.layers.Dense(EXPANSION * filters, kernel_initializer=_initial(seeds), **given)(y)
    y = keras.layers.Dense(filters, kernel_initializer=_initial(seeds), **given)(Gelu()(y))
    y = skip_branch(LayerScale(scale)(y), drop_path, seeds)
    return keras.layers.Add()([x, y])


def _layer_norm() -> keras.layers.Layer:
    return keras.layers.LayerNormalization(epsilon=EPSILON)


def _initial(seeds: Seeds) -> keras.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.02, seed=seeds.next())
