"""Networks for series of pixels and for images, built by name.

Models of the kind "series" take a dict: ``image`` (B, T, C) float32 in raw units, ``valid`` (B, T) with 1
where a date was observed, ``day`` (B, T) float32 days since 1 January of the series' first year. They give
class probabilities (B, K) in float32. What stands at invalid dates, NaN included, influences nothing; a
series without valid dates gives finite probabilities.

Models of the kind "segmentation" take ``image`` (B, H, W, C) float32 in raw units and give a dict of
probabilities, ``mask`` (B, H, W, K) and what their head adds (:mod:`eolab.models.segmentation.heads`).

Models of the kind "scenes" take series of images of one place by several sensors, by name: ``s1``
(B, T, H, W, C), ``s1_valid`` and ``s1_day`` (B, T), and so on (:mod:`eolab.models.scenes.inputs`). They give
probabilities of no and yes, (B, T, 2) for each step or (B, 1, 2) for the scene. Their ``bands`` and
statistics are mappings by sensor.

Models of the kind "multilabel" take ``image`` (B, H, W, C) float32 in raw units, and ``radar`` (B, H, W, 2)
in dB where they fuse, and give the probability of each label by itself, (B, K) float32.

Band statistics are part of every model, so a saved model takes raw values.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core.errors import DataError, ParameterError, did_you_mean

if TYPE_CHECKING:
    import keras
    import pandas as pd


@dataclass(frozen=True)
class Architecture:
    """One architecture: the function that builds it, and where it comes from.

    Attributes:
        module: Module of the function.
        title: What it is, in a few words.
        paper: Authors and year; the function's docstring has the rest.
        compiled: Whether XLA makes a training step faster on a processor; it pays for recurrence.
        kind: What it reads: "series" of pixels, for "segmentation" images, for "scenes" series of images, for
            "multilabel" images that have several labels.
        function: Name of the function; that of the architecture where it is empty.
        preset: Options that are fixed for this name.
    """

    module: str
    title: str
    paper: str
    compiled: bool = False
    kind: str = "series"
    function: str = ""
    preset: Mapping[str, Any] = field(default_factory=dict)


def _image(module: str, title: str, paper: str, function: str = "", **preset: Any) -> Architecture:
    return Architecture(
        f"eolab.models.segmentation.{module}", title, paper, False, "segmentation", function, preset
    )


def _scenes(module: str, title: str, paper: str, function: str = "", **preset: Any) -> Architecture:
    return Architecture(f"eolab.models.scenes.{module}", title, paper, False, "scenes", function, preset)


def _patches(module: str, title: str, paper: str, function: str = "", **preset: Any) -> Architecture:
    return Architecture(f"eolab.models.patches.{module}", title, paper, False, "multilabel", function, preset)


ARCHITECTURES: dict[str, Architecture] = {
    "lstm": Architecture("eolab.models.lstm", "LSTM over the dates", "Sedona et al. 2022", compiled=True),
    "tempcnn": Architecture("eolab.models.tempcnn", "Convolutions along time", "Pelletier et al. 2019"),
    "ltae": Architecture("eolab.models.ltae", "Lightweight temporal attention", "Garnot and Landrieu 2020"),
    "transformer": Architecture("eolab.models.transformer", "Transformer encoder", "Vaswani et al. 2017"),
    "unet": _image("unet", "U-Net", "Ronneberger et al. 2015"),
    "unet_cbam": _image("unet", "U-Net with CBAM", "Woo et al. 2018", "unet", attention="cbam"),
    "unet_se": _image("unet", "U-Net with squeeze and excitation", "Hu et al. 2018", "unet", attention="se"),
    "unet_multi_attention": _image(
        "unet", "U-Net with multi-attention", "Le et al. 2023", "unet", attention="multi"
    ),
    "unet_residual": _image("residual_unet", "U-Net of residual blocks", "He et al. 2016", "residual_unet"),
    "rau_net_1": _image(
        "residual_unet",
        "RAU-Net 1: attention after each block",
        "Le et al. 2023",
        "residual_unet",
        attention="blocks",
    ),
    "rau_net_2": _image(
        "residual_unet",
        "RAU-Net 2: attention between encoder and decoder",
        "Le et al. 2023",
        "residual_unet",
        attention="skips",
    ),
    "unet_residual_small": _image(
        "residual_unet", "Small U-Net of residual blocks", "He et al. 2016", "residual_unet", small=True
    ),
    "rau_net_small": _image(
        "residual_unet", "Small RAU-Net 1", "Le et al. 2023", "residual_unet", attention="blocks", small=True
    ),
    "deeplabv3": _image("deeplabv3", "DeepLabV3 on ResNet-50", "Chen et al. 2017"),
    "deeplabv3_small": _image("deeplabv3", "Small DeepLabV3", "Chen et al. 2017"),
    "mobilenetv3": _image("mobilenetv3", "MobileNetV3 with Lite R-ASPP", "Howard et al. 2019"),
    "efficientnetv2": _image("efficientnetv2", "EfficientNetV2 with a U-Net decoder", "Tan and Le 2021"),
    "vnet": _image("vnet", "V-Net in two dimensions", "Milletari et al. 2016"),
    "squeeze_unet": _image("squeeze_unet", "Squeeze U-Net", "Beheshti and Johnsson 2020"),
    "unet_plus_plus": _image("unet_plus_plus", "U-Net++", "Zhou et al. 2018"),
    "segformer_b0": _image("segformer", "SegFormer-B0", "Xie et al. 2021"),
    "convlstm": _scenes("convlstm", "ConvLSTM branches", "Shi et al. 2015"),
    "resnet50": _scenes("resnet", "ResNet-50 of each image", "Rambour et al. 2020", "resnet", depth=50),
    "resnet50_gru": _scenes(
        "resnet", "ResNet-50 and a GRU over the steps", "Rambour et al. 2020", "resnet_gru", depth=50
    ),
    "resnet18_gru": _scenes(
        "resnet", "ResNet-18 and a GRU over the steps", "Rambour et al. 2020", "resnet_gru", depth=18
    ),
    "utae": _scenes("utae", "Small U-TAE", "Garnot and Landrieu 2021"),
    "date_transformer": _scenes("date_transformer", "Transformer over images", "Vaswani et al. 2017"),
    "shallow_cnn": _patches("shallow", "Three convolutions", "Sumbul et al. 2019"),
    "three_branch_cnn": _patches("branches", "A branch each resolution", "Sumbul and Demir 2020"),
    "resnet18_patch": _patches("resnet", "ResNet-18", "He et al. 2016", "resnet", depth=18),
    "resnet50_patch": _patches("resnet", "ResNet-50", "He et al. 2016", "resnet", depth=50),
    "resnet101_patch": _patches("resnet", "ResNet-101", "He et al. 2016", "resnet", depth=101),
    "convnext_tiny": _patches("convnext", "ConvNeXt-T", "Liu et al. 2022"),
    "resnet18_fusion": _patches(
        "resnet", "ResNet-18 of image and of radar", "He et al. 2016", "resnet_fusion", depth=18
    ),
    "resnet50_fusion": _patches(
        "resnet", "ResNet-50 of image and of radar", "He et al. 2016", "resnet_fusion", depth=50
    ),
}
GIVEN = {  # arguments of every architecture of a kind; others are options
    "series": ("times", "bands", "classes", "mean", "std", "seed"),
    "segmentation": ("size", "bands", "classes", "mean", "std", "seed"),
    "scenes": ("size", "bands", "mean", "std", "seed", "answer"),
    "multilabel": ("size", "bands", "classes", "mean", "std", "seed"),
}
Bands = int | Sequence[str] | Mapping[str, int]
Statistics = Sequence[float] | Mapping[str, Sequence[float]]


def names(kind: str = "series") -> list[str]:
    """Return the names of all architectures of a kind, one of :data:`GIVEN`.

    Raises:
        ParameterError: If there is no such kind.
    """
    if kind not in GIVEN:
        raise ParameterError(f"There are no models of the kind {kind!r}; {did_you_mean(kind, GIVEN)}")
    return [name for name, architecture in ARCHITECTURES.items() if architecture.kind == kind]


def options(name: str) -> dict[str, Any]:
    """Return the options of an architecture with their defaults."""
    parameters = inspect.signature(_function(name)).parameters
    fixed = {*GIVEN[ARCHITECTURES[name].kind], *ARCHITECTURES[name].preset}
    return {key: parameter.default for key, parameter in parameters.items() if key not in fixed}


def compile_options(name: str) -> dict[str, Any]:
    """Return the arguments of ``model.compile`` that train an architecture fastest on a processor.

    Sixteen steps over series run in one go, so that callbacks see every sixteenth batch; results do not
    change. A step over images or scenes is long enough to run alone.
    """
    _function(name)
    architecture = ARCHITECTURES[name]
    steps = 16 if architecture.kind == "series" else 1
    return {"jit_compile": architecture.compiled, "steps_per_execution": steps}


def describe(
    kind: str = "series", bands: Bands | None = None, classes: int | None = None, **shape: Any
) -> pd.DataFrame:
    """Return a row an architecture of a kind: title, paper, number of weights, options.

    Args:
        kind: "series", "segmentation", "scenes" or "multilabel".
        bands: Bands C, 12 by default; for scenes those of each sensor, ``{"s1": 1, "s2": 3}`` by default.
        classes: Classes K, 12 by default, 19 labels of "multilabel"; scenes have two.
        **shape: ``times`` of a series (20 by default) or ``size`` of images (128, 64 of scenes, 120 of
            "multilabel"), and options.
    """
    import keras
    import pandas as pd

    def weights(name: str) -> int:
        with keras.StatelessScope(initialize_variables=False):  # shapes alone: nothing large is made
            return build(name, **(usual | shape)).count_params()

    sizes = {"segmentation": 128, "scenes": 64, "multilabel": 120}
    usual: dict[str, Any] = {"size": sizes[kind]} if kind in sizes else {"times": 20}
    usual["bands"] = bands or ({"s1": 1, "s2": 3} if kind == "scenes" else 12)
    usual["classes"] = classes or {"scenes": 2, "multilabel": 19}.get(kind, 12)
    rows = {
        name: {
            "title": architecture.title,
            "paper": architecture.paper,
            "weights": weights(name),
            "options": ", ".join(f"{key}={value}" for key, value in options(name).items()),
        }
        for name, architecture in ARCHITECTURES.items()
        if architecture.kind == kind
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def build(
    name: str,
    *,
    bands: Bands,
    classes: int | None = None,
    mean: Statistics | None = None,
    std: Statistics | None = None,
    seed: int = 0,
    **chosen: Any,
) -> keras.Model:
    """Return an untrained model.

    Args:
        name: One of :func:`names`.
        bands: Bands C, or their names; for scenes those of each sensor, such as ``{"s1": 1, "s2": 3}``.
        classes: Classes K; scenes have two, no and yes, and need not be told.
        mean: Mean of each band in the training split, C numbers, for scenes by sensor; None leaves raw values
            as they are.
        std: Standard deviation of each band likewise.
        seed: Fixes weights and dropout.
        **chosen: ``times`` T of a series, ``size`` H = W of images in pixels, or (H, W) for scenes; and
            options of the architecture, see :func:`options`, for scenes also ``answer``: "steps" or "late".

    Raises:
        ParameterError: Unknown name or option, a shape that is missing, or statistics that do not fit the
            bands.
    """
    function, architecture = _function(name), ARCHITECTURES[name]
    known = options(name)
    extent = GIVEN[architecture.kind][0]
    if extent not in chosen:
        raise ParameterError(f"Model {name!r} needs {extent}: give it as a number.")
    given = {key: chosen.pop(key) for key in GIVEN[architecture.kind] if key in chosen}
    for option in set(chosen) - set(known):
        raise ParameterError(f"Model {name!r} has no option {option!r}; {did_you_mean(option, known)}")
    if architecture.kind == "scenes":
        given |= _given_scenes(name, given["size"], bands, classes, mean, std)
    else:
        given |= _given_bands(name, given[extent], extent, bands, classes, mean, std)
    return function(**given, seed=seed, **architecture.preset, **chosen)


def _given_bands(
    name: str,
    number: Any,
    extent: str,
    bands: Bands,
    classes: int | None,
    mean: Any,
    std: Any,
) -> dict[str, Any]:
    """Return the arguments of a model of one image or series."""
    if isinstance(bands, Mapping | str) or classes is None:
        raise ParameterError(f"Model {name!r} needs bands and classes: give each as a number.")
    bands = len(bands) if isinstance(bands, Sequence) else int(bands)
    statistics = {"mean": _numbers("mean", mean, bands, 0.0), "std": _numbers("std", std, bands, 1.0)}
    return {extent: int(number), "bands": bands, "classes": classes, **statistics}


def _given_scenes(
    name: str, size: Any, bands: Bands, classes: int | None, mean: Any, std: Any
) -> dict[str, Any]:
    """Return the arguments of a model of scenes, by sensor."""
    if not isinstance(bands, Mapping):
        raise ParameterError(f"Model {name!r} needs bands by sensor, such as {{'s1': 1}}; got {bands}.")
    if classes not in (None, 2):
        raise ParameterError(f"Model {name!r} answers no or yes: classes is {classes}, expected 2.")
    given: dict[str, Any] = {"bands": dict(bands), "mean": {}, "std": {}}
    for sensor, count in bands.items():
        for key, values, usual in (("mean", mean, 0.0), ("std", std, 1.0)):
            if values is not None and sensor not in values:
                raise ParameterError(f"{key} has no values of sensor {sensor!r}; give them for each sensor.")
            own = None if values is None else values[sensor]
            given[key][sensor] = _numbers(f"{key} of {sensor!r}", own, count, usual)
    rows, columns = size if isinstance(size, Sequence) else (size, size)
    return {**given, "size": (int(rows), int(columns))}


def _numbers(key: str, values: Sequence[float] | None, bands: int, usual: float) -> list[float]:
    numbers = [usual] * bands if values is None else [float(value) for value in values]
    if len(numbers) != bands:
        raise ParameterError(f"{key} has {len(numbers)} values: expected one for each of {bands} bands.")
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

    known = {architecture.module for architecture in ARCHITECTURES.values()}
    for module in known | ({"eolab.training.losses"} if compiled else set()):
        importlib.import_module(module)
    remedy = "train the model again, or name another run"
    if not Path(path).is_file():
        raise DataError(f"{path}: expected a saved model, found no file; {remedy}.")
    try:
        return keras.models.load_model(path, compile=compiled)
    except Exception as error:  # a damaged file raises nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(
            f"{path}: expected a saved model, found an unreadable file that cannot be read as a Keras model "
            f"({reason}); {remedy}."
        ) from error


def _function(name: str) -> Callable[..., Any]:
    if name not in ARCHITECTURES:
        raise ParameterError(f"There is no model {name!r}; {did_you_mean(name, ARCHITECTURES)}")
    architecture = ARCHITECTURES[name]
    return getattr(importlib.import_module(architecture.module), architecture.function or name)
