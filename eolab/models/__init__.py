"""Networks for series of pixels and for images, built by name.

Models of the kind "series" take a dict: ``image`` (B, T, C) float32 in raw units, ``valid`` (B, T) with 1
where a date was observed, ``day`` (B, T) float32 days since 1 January of the series' first year. They give
class probabilities (B, K) in float32. What stands at invalid dates, NaN included, influences nothing; a
series without valid dates gives finite probabilities.

Models of the kind "segmentation" take ``image`` (B, H, W, C) float32 in raw units and give a dict of
probabilities, ``mask`` (B, H, W, K) and what their head adds (:mod:`eolab.models.segmentation.heads`).

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

from eolab.errors import DataError, ParameterError, did_you_mean

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
        kind: What it reads: "series" of pixels or, for "segmentation", images.
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
}
GIVEN = {  # arguments of every architecture of a kind; others are options
    "series": ("times", "bands", "classes", "mean", "std", "seed"),
    "segmentation": ("size", "bands", "classes", "mean", "std", "seed"),
}


def names(kind: str = "series") -> list[str]:
    """Return the names of all architectures of a kind, "series" or "segmentation".

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
    change. A step over images is long enough to run alone.
    """
    _function(name)
    architecture = ARCHITECTURES[name]
    steps = 16 if architecture.kind == "series" else 1
    return {"jit_compile": architecture.compiled, "steps_per_execution": steps}


def describe(kind: str = "series", bands: int = 12, classes: int = 12, **shape: Any) -> pd.DataFrame:
    """Return a row an architecture of a kind: title, paper, number of weights, options.

    Args:
        kind: "series" or "segmentation".
        bands: Bands C.
        classes: Classes K.
        **shape: ``times`` of a series (20 by default) or ``size`` of an image (128), and options.
    """
    import keras
    import pandas as pd

    def weights(name: str) -> int:
        with keras.StatelessScope(initialize_variables=False):  # shapes alone: nothing large is made
            return build(name, bands=bands, classes=classes, **(usual | shape)).count_params()

    usual = {"times": 20} if kind == "series" else {"size": 128}
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
    bands: int,
    classes: int,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    **chosen: Any,
) -> keras.Model:
    """Return an untrained model.

    Args:
        name: One of :func:`names`.
        bands: Bands C.
        classes: Classes K.
        mean: Mean of each band in the training split, C numbers; None leaves raw values as they are.
        std: Standard deviation of each band likewise.
        seed: Fixes weights and dropout.
        **chosen: ``times`` T of a series, or ``size`` H = W of an image in pixels; and options of the
            architecture, see :func:`options`.

    Raises:
        ParameterError: Unknown name or option, a shape that is missing, or statistics that do not fit the
            bands.
    """
    function, architecture = _function(name), ARCHITECTURES[name]
    known = options(name)
    extent = GIVEN[architecture.kind][0]
    if extent not in chosen:
        raise ParameterError(f"Model {name!r} needs {extent}: give it as a number.")
    shape = {extent: int(chosen.pop(extent))}
    for option in set(chosen) - set(known):
        raise ParameterError(f"Model {name!r} has no option {option!r}; {did_you_mean(option, known)}")
    statistics = {
        "mean": [0.0] * bands if mean is None else mean,
        "std": [1.0] * bands if std is None else std,
    }
    for key, values in statistics.items():
        statistics[key] = [float(value) for value in values]
        if len(values) != bands:
            raise ParameterError(f"{key} has {len(values)} values: expected one for each of {bands} bands.")
    given = {**shape, "bands": bands, "classes": classes, "seed": seed, **statistics}
    return function(**given, **architecture.preset, **chosen)


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
    for module in known | ({"eolab.losses"} if compiled else set()):
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
