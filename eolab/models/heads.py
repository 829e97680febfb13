"""Inputs and heads of all networks: what goes in, normalised, and the outputs that a network ends in.

====== ======================================================================================================
head   outputs, float32
====== ======================================================================================================
labels (B, K) of a series or an image; (B, 1, K) of a sequence
years  (B, Y, K): one prediction for each year of a pixel's series
steps  (B, T, K): one prediction for each step of a sequence
mask   a dict: ``mask`` (B, H, W, K)
dual   ``mask``, and ``patch`` (B, K): whether the image has any pixel of the class
multi  ``mask``, ``half`` (B, ⌈H/2⌉, ⌈W/2⌉, K) and ``double`` (B, 2H, 2W, K): three resolutions of one mask
values ``values`` (B, H, W, K): numbers for each pixel
====== ======================================================================================================

The activation is a softmax over K classes, a sigmoid of each of K labels, or linear. One output is a sigmoid
where a softmax is asked for: a softmax over one class would always be 1.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
from keras import ops

from eolab.core.errors import ParameterError, check_known
from eolab.data.schemes import IGNORE
from eolab.models.blocks import batch_norm, enlarge, resize
from eolab.models.layers import MaskedMean, Normalize, Seeds

PIXELS = ("mask", "dual", "multi", "values")  # heads that predict each pixel
ACTIVATIONS = ("softmax", "sigmoid", "linear")


@dataclass(frozen=True)
class Spec:
    """What a network reads and predicts; every architecture takes one, and options of its own.

    Attributes:
        name: Name of the architecture and of the model.
        channels: Channels C of the input; of a sequence a mapping, the channels of each sensor.
        outputs: Outputs K: classes, labels or values.
        mean: Mean of each channel; of a sequence a mapping by sensor.
        std: Standard deviation of each channel; of a sequence a mapping by sensor.
        head: Head of the network, see the table above.
        activation: "softmax", "sigmoid" or "linear".
        height: Height H of the images in pixels.
        width: Width W of the images in pixels.
        times: Dates T of a series.
        years: Years Y of pixel series; 0 but with the head "years".
        seeds: Seeds of weights and dropout.
    """

    name: str
    channels: Any
    outputs: int
    mean: Any
    std: Any
    head: str = "labels"
    activation: str = "softmax"
    height: int = 0
    width: int = 0
    times: int = 0
    years: int = 0
    seeds: Seeds = field(default_factory=lambda: Seeds(0))


# === Inputs ===


def series_input(spec: Spec) -> tuple[dict[str, Any], Any, Any, Any]:
    """Return the inputs of a network of pixel series by name; what it reads: series (B, T, C), valid, day.

    The series is normalised. With the head "years" inputs have an axis more, (B, Y, T, C), and each year is
    read as a series of its own, (B Y, T, C), until :func:`labels_model` takes them apart again.
    """
    place = (spec.years, spec.times) if spec.years else (spec.times,)
    inputs = {
        "image": keras.Input((*place, spec.channels), name="image", dtype="float32"),  # raw units
        "valid": keras.Input(place, name="valid", dtype="float32"),  # 1 = observed
        "day": keras.Input(place, name="day", dtype="float32"),  # days since 1 January
    }
    read = inputs
    if spec.years:
        read = {name: ops.reshape(one, (-1, *one.shape[2:])) for name, one in inputs.items()}
    x = Normalize(spec.mean, spec.std, name="normalize")(read["image"], read["valid"])  # (B, T, C)
    return inputs, x, read["valid"], read["day"]


def image_series_input(spec: Spec) -> tuple[dict[str, Any], Any]:
    """Return the inputs of a network of image series by name, and the normalised series (B, T, H, W, C + 1).

    A pixel that was not observed is 0 in every band; the last channel is 1 where one was observed, else 0.
    """
    place = (spec.times, spec.height, spec.width)
    inputs = {
        "image": keras.Input((*place, spec.channels), name="image", dtype="float32"),  # raw units
        "valid": keras.Input(place, name="valid", dtype="float32"),  # (B, T, H, W) 1 = observed
        "day": keras.Input((spec.times,), name="day", dtype="float32"),  # (B, T) days since 1 January
    }
    x = Normalize(spec.mean, spec.std, name="normalize")(inputs["image"], inputs["valid"])
    seen = keras.layers.Reshape((*place, 1), name="seen")(inputs["valid"])
    return inputs, keras.layers.Concatenate(name="values_and_gaps")([x, seen])


def image_input(spec: Spec, stride: int = 1) -> tuple[dict[str, Any], Any]:
    """Return the input of a network of images by name, and the image normalised: (B, H, W, C); NaN becomes 0.

    With ``times`` in the specification the network reads image series, their dates side by side as channels:
    (B, H, W, T (C + 1)), see :func:`image_series_input`; ``day`` is not used.

    Args:
        spec: What the network reads.
        stride: The normalised image is padded with zeros at the bottom and on the right to multiples of this.
    """
    if spec.times:
        inputs, x = image_series_input(spec)
        x = keras.layers.Permute((2, 3, 1, 4), name="dates_last")(x)  # (B, H, W, T, C + 1)
        shape = (spec.height, spec.width, spec.times * (spec.channels + 1))
        return inputs, pad(keras.layers.Reshape(shape, name="dates_as_channels")(x), stride)
    shape = (spec.height, spec.width, spec.channels)
    inputs = {"image": keras.Input(shape, name="image", dtype="float32")}  # (B, H, W, C) raw units
    x = Normalize(spec.mean, spec.std, name="normalize")(inputs["image"])
    return inputs, pad(x, stride)


def check_size(spec: Spec, least: int) -> None:
    """Refuse images that are too small for a network.

    Raises:
        ParameterError: If a side has fewer than `least` pixels.
    """
    if min(spec.height, spec.width) < least:
        raise ParameterError(
            f"{spec.name}: images have {spec.height} × {spec.width} pixels, expected {least} or more a side."
        )


def pad(x: Any, stride: int) -> Any:
    """Pad maps at the bottom and on the right to multiples of a stride: (B, H, W, C) → (B, H', W', C)."""
    extra = [(0, -side % stride) for side in x.shape[1:3]]
    return keras.layers.ZeroPadding2D(extra)(x) if any(after for _, after in extra) else x


def crop(x: Any, height: int, width: int) -> Any:
    """Take :func:`pad` back: maps (B, H', W', C) → (B, height, width, C)."""
    extra = [(0, x.shape[1] - height), (0, x.shape[2] - width)]
    return keras.layers.Cropping2D(extra)(x) if any(after for _, after in extra) else x


# === Heads ===


def labels_model(spec: Spec, inputs: Mapping[str, Any], features: Any, dropout: float = 0.0) -> keras.Model:
    """Return the model that predicts labels (B, K) from features (B, F), or (B, Y, K) from (B Y, F).

    Args:
        spec: Outputs and activation.
        inputs: Inputs by name.
        features: Features (B, F).
        dropout: Share of the features dropped.
    """
    x = spec.seeds.dropout(dropout)(features) if dropout else features
    logits = keras.layers.Dense(spec.outputs, kernel_initializer=spec.seeds.glorot(), name="logits")(x)
    if spec.years:
        logits = ops.reshape(logits, (-1, spec.years, spec.outputs))
    outputs = activated(logits, spec, "probabilities")  # (B, K), (B, Y, K)
    return finish(spec, inputs, outputs, features)


def image_labels(
    spec: Spec, inputs: Mapping[str, Any], maps: Any, dropout: float = 0.0, seen: Any = None
) -> keras.Model:
    """Return the model that averages maps (B, h, w, F) over the image and predicts labels (B, K).

    Args:
        spec: Outputs and activation.
        inputs: Inputs by name.
        maps: Maps (B, h, w, F).
        dropout: Share of the features dropped.
        seen: Cells (B, h, w, 1) that count in the average, 1 or 0; None for all.
    """
    if seen is None:
        pooled = keras.layers.GlobalAveragePooling2D(name="pool")(maps)  # (B, F)
    else:
        flat = keras.layers.Reshape((-1, maps.shape[-1]))(maps)  # (B, h · w, F)
        pooled = MaskedMean(name="pool")(flat, keras.layers.Reshape((-1,))(seen))
    return labels_model(spec, inputs, pooled, dropout)


def pixels_model(spec: Spec, inputs: Mapping[str, Any], features: Any, half: Any, deep: Any) -> keras.Model:
    """Return the model that ends in the head of the specification, for pixels or for labels.

    Args:
        spec: Head, outputs and activation.
        inputs: Inputs by name.
        features: Features (B, H', W', F) at the resolution of the image, which may have been padded.
        half: Features (B, H'/2, W'/2, F2).
        deep: Deepest features (B, h, w, F3): the end of the encoder, for the probability of the image.
    """
    if spec.head == "labels":
        return image_labels(spec, inputs, deep)
    features = crop(features, spec.height, spec.width)
    first = "values" if spec.head == "values" else "mask"
    outputs = {first: _pixels(features, spec, first)}  # (B, H, W, K)
    if spec.head == "dual":
        pooled = keras.layers.GlobalAveragePooling2D()(deep)  # (B, F3)
        kernel = spec.seeds.glorot()
        logits = keras.layers.Dense(spec.outputs, kernel_initializer=kernel, name="patch_logits")(pooled)
        outputs["patch"] = activated(logits, spec, "patch")  # (B, K)
    if spec.head == "multi":
        half = crop(half, -(-spec.height // 2), -(-spec.width // 2))
        outputs["half"] = _pixels(half, spec, "half")  # (B, H/2, W/2, K)
        x = enlarge(features, max(4, features.shape[-1] // 2), spec.seeds, bias=False)
        x = keras.layers.ReLU()(batch_norm(x))  # (B, 2H, 2W, F/2)
        outputs["double"] = _pixels(x, spec, "double")  # (B, 2H, 2W, K)
    return finish(spec, inputs, outputs, deep)


def resized_model(spec: Spec, inputs: Mapping[str, Any], features: Any, deep: Any) -> keras.Model:
    """Return the model of :func:`pixels_model` from features of any resolution, which are resized."""
    half = resize(features, -(-spec.height // 2), -(-spec.width // 2))  # (B, H/2, W/2, F)
    return pixels_model(spec, inputs, resize(features, spec.height, spec.width), half, deep)


def finish(spec: Spec, inputs: Mapping[str, Any], outputs: Any, encoded: Any) -> keras.Model:
    """Return the model, its layers named by their place: ``encoder_stage2_conv2d_1``, ``decoder_conv2d_4``.

    Layers that the end of the encoder depends on begin with ``encoder_``, and with ``encoder_stage<s>_``
    where their maps have the stride 2^s; others begin with ``decoder_``. Inputs, normalisation and layers
    with names of their own, such as ``logits``, keep them. So training can freeze layers by name.

    Args:
        spec: Name of the model.
        inputs: Inputs by name.
        outputs: Outputs.
        encoded: Tensor at which the encoder ends.
    """
    model = keras.Model(dict(inputs), outputs, name=spec.name)
    encoder = {id(one) for one in keras.Model(dict(inputs), encoded).operations}
    stages: dict[int, int] = {}  # of each tensor
    numbered = []  # layers that Keras named, with their number in the order in which they were made
    for layer in model.operations:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        given, made = keras.tree.flatten(layer.input), keras.tree.flatten(layer.output)
        enlarges = isinstance(layer, keras.layers.Conv2DTranspose)
        stride = 1 if enlarges else getattr(layer, "strides", (1,))[0]
        stage = max(stages.get(id(one), 0) for one in given) + int(np.log2(stride))
        stages |= {id(one): stage for one in made}
        suffix = re.search(r"_(\d+)$", layer.name)
        kind, number = (layer.name[: suffix.start()], int(suffix[1])) if suffix else (layer.name, 0)
        if kind.replace("_", "") == type(layer).__name__.lower() and not isinstance(layer, Normalize):
            place = "decoder" if id(layer) not in encoder else f"encoder_stage{stage}" if stage else "encoder"
            numbered.append((number, f"{place}_{kind}", layer))
    counts: dict[str, int] = {}
    for _, name, layer in sorted(numbered, key=lambda one: one[0]):
        counts[name] = counts.get(name, 0) + 1
        layer.name = f"{name}_{counts[name]}"
    return model


def _pixels(features: Any, spec: Spec, name: str) -> Any:
    """Predict each pixel: (B, h, w, F) → (B, h, w, K), float32 at any precision.

    Values begin at 0: from random weights they would begin far outside of what the labels hold, and a short
    training would be spent on coming back.
    """
    kernel = "zeros" if name == "values" else spec.seeds.glorot()
    layer = keras.layers.Conv2D(spec.outputs, 1, kernel_initializer=kernel, name=f"{name}_logits")
    return activated(layer(features), spec, name)


def activated(logits: Any, spec: Spec, name: str) -> Any:
    """Return the outputs from logits, float32 at any precision."""
    return keras.layers.Activation(output_activation(spec), dtype="float32", name=name)(logits)


def output_activation(spec: Spec) -> str:
    """Return the activation of the outputs: a sigmoid in place of a softmax over one class.

    Raises:
        ParameterError: If there is no such activation.
    """
    wrong = f"{spec.name}: there is no activation {spec.activation!r} of outputs"
    check_known(spec.activation, ACTIVATIONS, wrong)
    return "sigmoid" if spec.outputs == 1 and spec.activation == "softmax" else spec.activation


# === Targets ===


def targets(label: np.ndarray, head: str) -> dict[str, np.ndarray]:
    """Return what each output shall be.

    Args:
        label: Masks (B, H, W) uint8, 255 = not known; for the head "values" numbers (B, H, W) or
            (B, H, W, K), NaN = not known.
        head: One of :data:`PIXELS`.

    Returns:
        ``mask`` (B, H, W) or ``values`` as given; ``half`` (B, ⌈H/2⌉, ⌈W/2⌉): the highest class of 2 × 2
        pixels, so that small objects stay; ``double`` (B, 2H, 2W): each pixel repeated; ``patch`` (B,): the
        highest class of the image. 255 only where nothing is known.

    Raises:
        ParameterError: If the head is unknown.
    """
    check_known(head, PIXELS, f"There is no head {head!r}")
    found = {"values" if head == "values" else "mask": label}
    if head == "dual":
        found["patch"] = _highest(label, (1, 2))
    if head == "multi":
        sides = [(0, side % 2) for side in label.shape[1:]]
        even = np.pad(label, ((0, 0), *sides), constant_values=IGNORE)
        batch, height, width = even.shape
        found["half"] = _highest(even.reshape(batch, height // 2, 2, width // 2, 2), (2, 4))
        found["double"] = label.repeat(2, axis=1).repeat(2, axis=2)
    return found


def _highest(label: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Return the highest known class over some axes, 255 where none is known."""
    known = label != IGNORE
    highest = np.where(known, label, 0).max(axis=axes)
    return np.where(known.any(axis=axes), highest, IGNORE).astype(label.dtype)
