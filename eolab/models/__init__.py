"""Networks by name, by what they read: series of pixels, images, image series, or sequences of images.

Series: a dict of ``image`` (B, T, C) float32 in raw units, ``valid`` (B, T) with 1 where a date was observed,
``day`` (B, T) float32 days since 1 January of the series' first year. What stands at invalid dates, NaN
included, influences nothing; a series without valid dates gives finite outputs. With the head "years" a
sample has the series of Y years, (B, Y, T, C), (B, Y, T) and (B, Y, T), and each year gets a prediction.

Images: ``image`` (B, H, W, C) float32 in raw units, and ``radar`` (B, H, W, 2) in dB where a network fuses
both. Any height and width will do: networks pad inside to their stride and crop back.

Image series: ``image`` (B, T, H, W, C), ``valid`` (B, T, H, W) with 1 where a pixel was observed, and ``day``
(B, T), of one place by one sensor; each pixel gets one prediction (:mod:`eolab.models.image_series`).

Sequences: images of one place by several sensors, by name: ``s1`` (B, T, H, W, C), ``s1_valid`` and
``s1_day`` (B, T), and so on (:mod:`eolab.models.sequences.inputs`). Their channels and statistics are
mappings by sensor.

Outputs follow the head (:mod:`eolab.models.heads`): labels of a series, an image or a sequence, labels of
each step, masks or values of each pixel. Statistics of the channels are part of every model, so a saved model
takes raw values.

Example:
    >>> model = build("unet", height=67, width=70, channels=4, outputs=1, width_multiplier=0.25)
    >>> model({"image": image})["mask"].shape                    # image (8, 67, 70, 4)
    (8, 67, 70, 1)
"""

from __future__ import annotations

import importlib
import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core import files
from eolab.core.errors import ParameterError, check_all, check_known, errors_in_one_sentence

if TYPE_CHECKING:
    import keras
    import pandas as pd


@dataclass(frozen=True)
class Architecture:
    """One architecture: the function that builds it, and where it comes from.

    Attributes:
        reads: "series", "images", "image_series" or "sequences".
        heads: Heads that it can end in, its own default first; see :mod:`eolab.models.heads`.
        module: Module of the function that builds it, below this package.
        title: What it is, in a few words.
        paper: Authors and year; the function's docstring has the rest.
        preset: Options that are fixed for this name.
        function: Name of the function; that of the architecture by default.
    """

    reads: str
    heads: tuple[str, ...]
    module: str
    title: str
    paper: str
    preset: Mapping[str, Any] = field(default_factory=dict)
    function: str = ""


_series = partial(Architecture, "series", ("labels", "years"), "series")
_pixels = partial(Architecture, "images", ("mask", "dual", "multi", "values", "labels"))
_unet = partial(_pixels, "images.unets", function="unet")
_classifier = partial(Architecture, "images", ("labels",), "images.classifiers")
_image_series = partial(Architecture, "image_series", ("mask",), "image_series")
_sequences = partial(Architecture, "sequences", ("steps", "labels"))
_steps = partial(_sequences, "sequences.recurrent", function="resnet")
_RESIDUAL: dict[str, Any] = {"residual": True}
_RAU = _RESIDUAL | {"attention": "multi"}
_SMALL = {"filters": (24, 48, 88, 168, 320)}  # features of each level of a U-Net, 2.6 M weights
ARCHITECTURES: dict[str, Architecture] = {
    "lstm": _series("LSTM over the dates", "Sedona et al. 2022"),
    "tempcnn": _series("Convolutions along time", "Pelletier et al. 2019"),
    "ltae": _series("Lightweight temporal attention", "Garnot and Landrieu 2020"),
    "transformer": _series("Transformer encoder", "Vaswani et al. 2017"),
    "unet": _unet("U-Net", "Ronneberger et al. 2015"),
    "unet_cbam": _unet("U-Net with CBAM", "Woo et al. 2018", {"attention": "cbam"}),
    "unet_se": _unet("U-Net with squeeze and excitation", "Hu et al. 2018", {"attention": "se"}),
    "unet_multi_attention": _unet("U-Net with multi-attention", "Le et al. 2023", {"attention": "multi"}),
    "unet_residual": _unet("U-Net of residual blocks", "He et al. 2016", _RESIDUAL),
    "rau_net_1": _unet("RAU-Net 1: attention after each block", "Le et al. 2023", _RAU),
    "rau_net_2": _unet(
        "RAU-Net 2: attention between encoder and decoder", "Le et al. 2023", _RAU | {"attention_on": "skips"}
    ),
    "unet_residual_small": _unet("Small U-Net of residual blocks", "He et al. 2016", _RESIDUAL | _SMALL),
    "rau_net_small": _unet("Small RAU-Net 1", "Le et al. 2023", _RAU | _SMALL),
    "unet_resnet": _pixels("images.unets", "U-Net on a ResNet", "He et al. 2016"),
    "deeplabv3": _pixels("images.deeplabv3", "DeepLabV3 on ResNet-50", "Chen et al. 2017"),
    "deeplabv3_small": _pixels(
        "images.deeplabv3", "Small DeepLabV3", "Chen et al. 2017", {"backbone": "mobilenetv2"}, "deeplabv3"
    ),
    "mobilenetv3": _pixels("images.mobilenets", "MobileNetV3 with Lite R-ASPP", "Howard et al. 2019"),
    "efficientnetv2": _pixels("images.mobilenets", "EfficientNetV2 with a U-Net decoder", "Tan and Le 2021"),
    "vnet": _pixels("images.unets", "V-Net in two dimensions", "Milletari et al. 2016"),
    "squeeze_unet": _pixels("images.unets", "Squeeze U-Net", "Beheshti and Johnsson 2020"),
    "unet_plus_plus": _pixels("images.unets", "U-Net++", "Zhou et al. 2018"),
    "segformer_b0": _pixels("images.segformer", "SegFormer-B0", "Xie et al. 2021"),
    "utae_mask": _image_series("U-TAE", "Garnot and Landrieu 2021"),
    "tsvit": _image_series("TSViT: attention over time, then space", "Tarasiou et al. 2023"),
    "convlstm_mask": _image_series("ConvLSTM over the dates", "Shi et al. 2015"),
    "unet_composites": Architecture(
        "image_series",
        ("mask",),
        "images.unets",
        "U-Net on composites, dates as channels",
        "Ronneberger et al. 2015",
        function="unet",
    ),
    "convlstm": _sequences("sequences.recurrent", "ConvLSTM branches", "Shi et al. 2015"),
    "resnet50": _steps(
        "ResNet-50 of each image", "Rambour et al. 2020", {"depth": 50, "units": 0, "bidirectional": False}
    ),
    "resnet50_gru": _steps("ResNet-50 and a GRU over the steps", "Rambour et al. 2020", {"depth": 50}),
    "resnet18_gru": _steps("ResNet-18 and a GRU over the steps", "Rambour et al. 2020", {"depth": 18}),
    "utae": _sequences("sequences.attentive", "Small U-TAE", "Garnot and Landrieu 2021"),
    "date_transformer": _sequences("sequences.attentive", "Transformer over images", "Vaswani et al. 2017"),
    "shallow_cnn": _classifier("Three convolutions", "Sumbul et al. 2019"),
    "three_branch_cnn": _classifier("A branch each resolution", "Sumbul and Demir 2020"),
    **{
        f"resnet{depth}_patch": _classifier(f"ResNet-{depth}", "He et al. 2016", {"depth": depth}, "resnet")
        for depth in (18, 34, 50, 101, 152)
    },
    "convnext_tiny": _classifier("ConvNeXt-T", "Liu et al. 2022"),
    **{
        f"resnet{depth}_fusion": _classifier(
            f"ResNet-{depth} of image and of radar", "He et al. 2016", {"depth": depth}, "resnet_fusion"
        )
        for depth in (18, 50)
    },
}
READS = {
    "series": ("times",),
    "images": ("height", "width"),
    "image_series": ("times", "height", "width"),
    "sequences": ("height", "width"),
}
Channels = int | Sequence[str] | Mapping[str, int]
Statistics = Sequence[float] | Mapping[str, Sequence[float]]


def names(reads: str | None = None, head: str | None = None) -> list[str]:
    """Return the names of all architectures, or of those that read this and can end in this head.

    Args:
        reads: "series", "images", "image_series" or "sequences".
        head: A head of :mod:`eolab.models.heads`: "labels" of all, "mask" of those that predict pixels.

    Raises:
        ParameterError: If no network reads this, or there is no such head.
    """
    heads = dict.fromkeys(one for architecture in ARCHITECTURES.values() for one in architecture.heads)
    for key, value, known in (("input", reads, READS), ("head", head, heads)):
        if value is not None:
            check_known(value, known, f"Models have no {key} {value!r}")
    return [
        name
        for name, architecture in ARCHITECTURES.items()
        if reads in (None, architecture.reads) and (head is None or head in architecture.heads)
    ]


def options(name: str) -> dict[str, Any]:
    """Return the options of an architecture with their defaults."""
    parameters = list(inspect.signature(_function(name)).parameters.values())[1:]
    return {one.name: one.default for one in parameters if one.name not in ARCHITECTURES[name].preset}


def describe(
    reads: str = "series",
    head: str | None = None,
    *,
    channels: Channels | None = None,
    outputs: int = 12,
    **given: Any,
) -> pd.DataFrame:
    """Return a row an architecture: title, paper, number of weights, options.

    Args:
        reads: "series", "images" or "sequences".
        head: Only networks that can end in this head, and end in it.
        channels: Channels C, 12 by default; of sequences those of each sensor, ``{"s1": 1, "s2": 3}``.
        outputs: Outputs K.
        **given: ``times`` of a series (20 by default), ``height`` and ``width`` of images (128), and options.
    """
    import pandas as pd

    rows = {}
    for name in names(reads, head):
        model = outline(name, channels=channels, outputs=outputs, head=head, **given)
        rows[name] = {
            "title": ARCHITECTURES[name].title,
            "paper": ARCHITECTURES[name].paper,
            "weights": model.count_params(),
            "options": ", ".join(f"{key}={value}" for key, value in options(name).items()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def outline(
    name: str, *, channels: Channels | None = None, outputs: int = 2, head: str | None = None, **given: Any
) -> keras.Model:
    """Return a network whose weights have shapes and no values; see :func:`describe`."""
    import keras
    from keras.src.backend.common import global_state

    reads = _architecture(name).reads
    channels = channels or ({"s1": 1, "s2": 3} if reads == "sequences" else 12)
    shape = {side: 20 if side == "times" else 128 for side in READS[reads]}
    shape |= {"years": 3} if head == "years" else {}
    with keras.StatelessScope(initialize_variables=False):  # shapes alone: nothing large is made
        model = build(name, channels=channels, outputs=outputs, head=head, **shape | given)
    global_state.set_global_attribute("uninitialized_variables", [])  # else drawn with the next network
    return model


def build(
    name: str,
    *,
    channels: Channels,
    outputs: int,
    height: int = 0,
    width: int = 0,
    times: int = 0,
    years: int = 0,
    mean: Statistics | None = None,
    std: Statistics | None = None,
    seed: int = 0,
    activation: str = "softmax",
    head: str | None = None,
    **chosen: Any,
) -> keras.Model:
    """Return an untrained model.

    Args:
        name: One of :func:`names`.
        channels: Channels C, or their names; of sequences those of each sensor: ``{"s1": 1, "s2": 3}``.
        outputs: Outputs K: classes, labels or values; one of a yes or no is enough.
        height: Height H of images in pixels.
        width: Width W of images in pixels.
        times: Dates T of a series of pixels or images.
        years: Years Y of pixel series, for the head "years".
        mean: Mean of each channel in the training split, C numbers, of sequences by sensor; None leaves raw
            values as they are.
        std: Standard deviation of each channel, as `mean`.
        seed: Seed of weights and dropout.
        activation: "softmax" over classes, "sigmoid" of each label, or "linear"; one output is a sigmoid in
            place of a softmax.
        head: Head of :mod:`eolab.models.heads`; the architecture's first by default.
        **chosen: Options of the architecture, see :func:`options`.

    Raises:
        ParameterError: Unknown name, head or option, a shape that is missing, a number out of range, or
            statistics that do not fit the channels.
    """
    from eolab.models.heads import Spec
    from eolab.models.layers import Seeds, settle_keras

    settle_keras()
    architecture, function = _architecture(name), _function(name)
    check_options(name, outputs=outputs, **chosen)
    shape = {"height": height, "width": width, "times": times}
    head = head or architecture.heads[0]
    if years and head != "years":
        raise ParameterError(f"Model {name!r} with the head {head!r} reads one year a sample, not {years}.")
    shape |= {"years": years} if head == "years" else {}
    for side in (*READS[architecture.reads], *(["years"] if head == "years" else [])):
        if shape[side] < 1:
            raise ParameterError(f"Model {name!r} needs {side}: give it as a number of 1 or more.")
    if head not in architecture.heads:
        raise ParameterError(
            f"Model {name!r} has no head {head!r}, only {', '.join(architecture.heads)}; {head!r} have "
            f"{', '.join(names(architecture.reads, head)) or 'no models of ' + architecture.reads}."
        )
    given = _statistics(name, architecture.reads, channels, mean, std)
    spec = Spec(name, outputs=outputs, head=head, activation=activation, seeds=Seeds(seed), **given, **shape)
    sizes = ", ".join(f"{side} {size}" for side, size in shape.items() if size)
    with errors_in_one_sentence(
        f"Model {name!r} cannot be built with {chosen} for {sizes}", "choose other options"
    ):
        return function(spec, **architecture.preset, **chosen)


def check_options(name: str, *, outputs: int = 2, **chosen: Any) -> None:
    """Refuse options that an architecture does not have, and numbers out of range of those that many have.

    Raises:
        ParameterError: If there is one.
    """
    known = options(name)
    check_all(chosen, known, f"Model {name!r} has no option")
    for key, value in {"outputs": outputs, **chosen}.items():
        right, expected = _range(key, value, known.get(key, 1))
        if not right:
            raise ParameterError(f"{name}: {key} is {value!r}, expected {expected}.")


def _range(key: str, value: Any, usual: Any) -> tuple[bool, str]:
    """Return whether the value of an option can be, and what is expected, from its default."""
    number = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    if isinstance(usual, bool | str):
        return isinstance(value, type(usual)), "true or false" if isinstance(usual, bool) else "a word"
    if isinstance(usual, int):
        least = 0 if key == "units" else 1
        several = isinstance(value, list | tuple)  # of filters, one a level
        whole = number and isinstance(value, Integral) and int(value) >= least
        return whole or several, f"a whole number of {least} or more"
    if key in ("dropout", "drop_path"):
        return number and 0 <= value < 1, "a share of at least 0 and below 1"
    if isinstance(usual, float):
        above = key == "width_multiplier"
        right = number and (value > 0 or (value == 0 and not above))
        return right, "a number above 0" if above else "0 or more"
    return True, ""


def _statistics(name: str, reads: str, channels: Channels, mean: Any, std: Any) -> dict[str, Any]:
    """Return the channels and their statistics: numbers, or mappings by sensor of a network of sequences."""
    by_sensor = reads == "sequences"
    if not channels or isinstance(channels, str) or isinstance(channels, Mapping) != by_sensor:
        wanted = "by sensor, such as {'s1': 1}" if by_sensor else "as a number or a list of names"
        raise ParameterError(f"Model {name!r} needs channels {wanted}; got {channels}.")
    usual = {"mean": (mean, 0.0), "std": (std, 1.0)}
    if not isinstance(channels, Mapping):
        count = len(channels) if isinstance(channels, Sequence) else channels
        found = {key: _numbers(key, *values, count) for key, values in usual.items()}
        return {"channels": count, **found}
    given: dict[str, Any] = {"channels": dict(channels), "mean": {}, "std": {}}
    for sensor, count in channels.items():
        for key, (values, number) in usual.items():
            if values is not None and sensor not in values:
                raise ParameterError(f"{key} has no values of sensor {sensor!r}; give them for each sensor.")
            own = None if values is None else values[sensor]
            given[key][sensor] = _numbers(f"{key} of {sensor!r}", own, number, count)
    return given


def _numbers(key: str, values: Sequence[float] | None, usual: float, channels: int) -> list[float]:
    numbers = [usual] * channels if values is None else [float(value) for value in values]
    if len(numbers) != channels:
        raise ParameterError(f"{key} has {len(numbers)} values: expected one a channel, {channels}.")
    return numbers


def load(path: str | os.PathLike[str], compiled: bool = True) -> keras.Model:
    """Read a model that ``model.save`` wrote, with the layers of this package known to Keras.

    Args:
        path: The ``.keras`` file.
        compiled: Whether loss and optimizer come along; a model that only predicts needs neither.

    Raises:
        DataError: The file is missing or not a saved model.
    """
    import keras

    from eolab.models.layers import settle_keras

    settle_keras()
    for name in ARCHITECTURES:
        _function(name)
    if compiled:
        importlib.import_module("eolab.training.losses")
    read = partial(keras.models.load_model, compile=compiled)
    return files.loaded(path, read, "a saved model", "train the model again, or name another run")


def _architecture(name: str) -> Architecture:
    check_known(name, ARCHITECTURES, f"There is no model {name!r}")
    return ARCHITECTURES[name]


def _function(name: str) -> Callable[..., Any]:
    architecture = _architecture(name)
    module = importlib.import_module(f"{__name__}.{architecture.module}")
    return getattr(module, architecture.function or name)
