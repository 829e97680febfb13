"""What segmentation networks have in common: the image that goes in, and the answers that come out.

Every network takes ``{"image": (B, H, W, C)}`` float32 in raw units and answers with a dict of class
probabilities, float32:

====== ==========================================================================================
mask   ``mask`` (B, H, W, K)
dual   ``mask``, and ``patch`` (B, K): whether the patch has any pixel of the class
multi  ``mask``, ``half`` (B, H/2, W/2, K) and ``double`` (B, 2H, 2W, K): three resolutions of one mask
====== ==========================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.data.schemes import IGNORE
from eolab.models.layers import Normalize, Seeds
from eolab.models.segmentation.convolutions import batch_norm

HEADS = ("mask", "dual", "multi")


def image_input(
    size: int, bands: int, mean: Sequence[float], std: Sequence[float]
) -> tuple[dict[str, Any], Any]:
    """Return the input of a network by name, and the image normalised: (B, H, W, C); NaN becomes 0.

    Args:
        size: Side H = W of the image in pixels.
        bands: Bands C.
        mean: Mean of each band.
        std: Standard deviation of each band.
    """
    inputs = {"image": keras.Input((size, size, bands), name="image", dtype="float32")}  # (B, H, W, C) raw
    return inputs, Normalize(mean, std, name="normalize")(inputs["image"])


def finish(
    inputs: dict[str, Any],
    features: Any,
    half: Any,
    deep: Any,
    *,
    head: str,
    classes: int,
    seeds: Seeds,
    name: str,
) -> keras.Model:
    """Return the model that ends in a head.

    Args:
        inputs: Result of :func:`image_input`.
        features: Features (B, H, W, F) at the resolution of the image.
        half: Features (B, H/2, W/2, F2), None to average `features` over 2 × 2 pixels.
        deep: Deepest features (B, h, w, F3), for the patch's probability.
        head: One of :data:`HEADS`.
        classes: Classes K.
        seeds: Of the weights.
        name: Name of the model.

    Raises:
        ParameterError: If the head is unknown.
    """
    check(head)
    outputs = {"mask": _pixels(features, classes, seeds, "mask")}  # (B, H, W, K)
    if head == "dual":
        outputs["patch"] = _patch(deep, classes, seeds)  # (B, K)
    if head == "multi":
        half = keras.layers.AveragePooling2D(2)(features) if half is None else half
        outputs["half"] = _pixels(half, classes, seeds, "half")  # (B, H/2, W/2, K)
        outputs["double"] = _pixels(_doubled(features, seeds), classes, seeds, "double")  # (B, 2H, 2W, K)
    return keras.Model(inputs, outputs, name=name)


def check(head: str) -> None:
    """Refuse an unknown head.

    Raises:
        ParameterError: If there is none of this name.
    """
    if head not in HEADS:
        raise ParameterError(f"There is no head {head!r}: {did_you_mean(head, HEADS)}")


def targets(label: np.ndarray, head: str) -> dict[str, np.ndarray]:
    """Return what each output shall be.

    Args:
        label: Masks (B, H, W) uint8, 255 = not known.
        head: One of :data:`HEADS`.

    Returns:
        ``mask`` (B, H, W) as given; ``half`` (B, H/2, W/2): the highest class of 2 × 2 pixels, so that small
        objects stay; ``double`` (B, 2H, 2W): each pixel repeated; ``patch`` (B,): the highest class of the
        patch. 255 only where nothing is known.

    Raises:
        ParameterError: If the head is unknown.
        DataError: If the masks have an odd side and shall be halved.
    """
    check(head)
    found = {"mask": label}
    if head == "dual":
        found["patch"] = _highest(label, (1, 2))
    if head == "multi":
        batch, height, width = label.shape
        if height % 2 or width % 2:
            raise DataError(f"Masks have shape {label.shape}: the head 'multi' needs even sides.")
        blocks = label.reshape(batch, height // 2, 2, width // 2, 2)
        found["half"] = _highest(blocks, (2, 4))
        found["double"] = label.repeat(2, axis=1).repeat(2, axis=2)
    return found


def _highest(label: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the highest known class over some axes, 255 where none is known."""
    known = label != IGNORE
    highest = np.where(known, label, 0).max(axis=axes)
    return np.where(known.any(axis=axes), highest, IGNORE).astype(label.dtype)


def _doubled(features: Any, seeds: Seeds) -> Any:
    """Features at twice the resolution: (B, H, W, F) → (B, 2H, 2W, F/2)."""
    filters = max(4, features.shape[-1] // 2)
    x = keras.layers.Conv2DTranspose(filters, 2, 2, use_bias=False, kernel_initializer=seeds.he())(features)
    return keras.layers.ReLU()(batch_norm()(x))


def _pixels(features: Any, classes: int, seeds: Seeds, name: str) -> Any:
    """Class probabilities of each pixel: (B, h, w, F) → (B, h, w, K), float32 at any precision."""
    logits = keras.layers.Conv2D(classes, 1, kernel_initializer=seeds.glorot(), name=f"{name}_logits")(
        features
    )
    return keras.layers.Softmax(dtype="float32", name=name)(logits)


def _patch(deep: Any, classes: int, seeds: Seeds) -> Any:
    """Class probabilities of the whole patch: (B, h, w, F) → (B, K), float32 at any precision."""
    pooled = keras.layers.GlobalAveragePooling2D()(deep)  # (B, F)
    logits = keras.layers.Dense(classes, kernel_initializer=seeds.glorot(), name="patch_logits")(pooled)
    return keras.layers.Softmax(dtype="float32", name="patch")(logits)
