"""Published weights for ResNets wherever they stand, from local files; nothing is downloaded.

A file is given by its path, or by the name of an entry of the catalogue with the layout ``weights``.

====================  ====================================================================================
ending                what it is
====================  ====================================================================================
``.safetensors``      weights in the names of timm or torchvision: ``conv1.weight``, ``layer1.0.bn1.bias``
``.h5``, ``.keras``   ResNet-50, -101 or -152 of ``keras.applications``, for networks with ``early=True``
====================  ====================================================================================

A ``.pth`` file is converted once to ``.safetensors``: see docs/published_weights.md.

Example:
    >>> network = models.build("resnet50_patch", height=120, width=120, channels=L2A_BANDS, outputs=19,
    ...                        activation="sigmoid", std=[10_000] * 12)
    >>> weights.load(network, "resnet50_sentinel2_all_moco.safetensors", L2A_BANDS)  # SSL4EO-S12, 13 bands
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from eolab import models
from eolab.core import files
from eolab.core.errors import DataError, ParameterError, check_known
from eolab.data import catalog
from eolab.data.bands import L1C_BANDS, band_shown
from eolab.data.layouts import weights as layout
from eolab.models.resnet import BLOCKS, PREFIX

BANDS_OF_STEM: dict[int, Sequence[str]] = {13: L1C_BANDS, 3: ("B04", "B03", "B02"), 2: ("VV", "VH")}
"""Bands of published weights by their number."""
KERAS_BANDS = ("B02", "B03", "B04")  # keras.applications takes blue, green, red
STEMS = ("mean", "repeat", "copy", "first")
CONVOLUTION = re.compile(r"conv\d$|downsample_0$")  # in the names of layers
EPSILON = {True: 1.001e-5, False: 1e-5}  # of the batch normalisation of Keras's files, and of PyTorch's
KERAS_STD = (57.375, 57.12, 58.395)  # of ImageNet's blue, green, red in grey levels, which it only centres

Layers = dict[str, list[np.ndarray]]  # weights of each layer by its name, as Keras orders and shapes them


def load(
    network: keras.Model,
    path: str | Path,
    bands: Sequence[str],
    *,
    published: Sequence[str] | None = None,
    stem: str = "mean",
    prefix: str = PREFIX,
) -> None:
    """Put published weights into the ResNet of a network, all but those of its last layer.

    - The first convolution takes other channels by a rule, see :func:`adapt`.
    - Features are those of the published network only if pixels arrive as it knew them: SSL4EO-S12
      divided digital numbers by 10,000 (mean 0, std 10,000) and knew radar images by mean (-12.59, -20.26)
      and standard deviation (5.26, 5.91) in dB; ImageNet's are by mean and standard deviation, as here.
    - The epsilon of the batch normalisation becomes that of the file.

    Paper: SSL4EO-S12: a large-scale multimodal, multitemporal dataset for self-supervised learning in Earth
    observation, IEEE Geoscience and Remote Sensing Magazine 11(3), 2023.

    Args:
        network: ``resnet18_patch`` and so on, a fusion, ``deeplabv3``, ``unet_resnet``, or the ResNets of
            sequences.
        path: The file, see the table above, or its name in the catalogue.
        bands: Name of each channel that the ResNet reads, ``("VV", "VH")`` for the radar of a fusion.
        published: Names of the file's bands in its order; by default those of the catalogue, or by their
            number: 13 of Level-1C in order, 3 red, green and blue, 2 VV and VH.
        stem: Rule for the first convolution, one of :data:`STEMS`; see :func:`adapt`.
        prefix: Beginning of the names of the layers: ``"encoder_radar_"`` for the radar of a fusion,
            ``"encoder_s2_"`` for that sensor of a sequence.

    Raises:
        DataError: If the file is missing or damaged, or its network is another.
        ParameterError: If the network has no such ResNet, reads another number of channels, or the rule is
            unknown.
    """
    path, named, _ = find(path)
    names = _layers_of(network, prefix)
    channels = network.get_layer(f"{prefix}conv1").kernel.shape[2]
    if channels != len(bands):
        raise ParameterError(f"{network.name} reads {channels} bands, and bands names {len(bands)}.")
    of_keras = path.suffix in layout.KERAS_FILES
    _check_strides(network, names, prefix, of_keras)
    found = _keras_layers(path, names) if of_keras else _timm_layers(path, names)
    kernel = found["conv1"][0]
    count = kernel.shape[2] if kernel.ndim == 4 else 0
    known = published or named or (KERAS_BANDS if of_keras else BANDS_OF_STEM.get(count, ()))
    if not known or len(known) != count:
        raise DataError(
            f"{path}: its first convolution has the shape {kernel.shape}, and {len(known)} of its bands are "
            "known: name them all in published."
        )
    drawn = network.get_layer(f"{prefix}conv1").get_weights()[0]
    found["conv1"] = [adapt(kernel, known, bands, stem, drawn)]
    _put(network, found, prefix, path, EPSILON[of_keras])


def build(
    name: str,
    *,
    weights: str | Path,
    band_names: Sequence[str],
    published: Sequence[str] | None = None,
    stem: str = "mean",
    scale: float = 0.0,
    **given: Any,
) -> keras.Model:
    """Return a network whose ResNet begins with published weights: :func:`eolab.models.build`, then a load.

    Made for ``tasks.fit(…, weights=file)``.

    Args:
        name: Name of the architecture.
        weights: The file or its name, as in :func:`load`.
        band_names: Name of each channel that the network reads.
        published: Names of the file's bands, as in :func:`load`.
        stem: Rule for the first convolution, as in :func:`load`.
        scale: What the published network divided each band by, 10,000 for SSL4EO-S12: mean 0 and this
            standard deviation take the place of those given; 0 is that of the catalogue, or keeps them.
        **given: Arguments of :func:`eolab.models.build`.

    Raises:
        DataError: See :func:`load`.
        ParameterError: See :func:`load` and :func:`eolab.models.build`; also if the spread of the pixels says
            that they are on another scale.
    """
    scale = scale or find(weights)[2]
    spread = float(np.median(given.get("std") or scale))
    if scale and not 1e-3 < spread / scale < 10:
        raise ParameterError(
            f"The published network divided pixels by {scale:,g}, and those here have a standard deviation "
            f"of {spread:.3g} (median of the bands): give their own scale, such as 1 for reflectance."
        )
    network = models.build(name, **given)
    if scale:
        normalize = network.get_layer("normalize")
        normalize.put([0.0] * len(normalize.mean), [float(scale)] * len(normalize.mean))
    load(network, weights, band_names, published=published, stem=stem)
    return network


def find(given: str | Path) -> tuple[Path, Sequence[str] | None, float]:
    """Return the file of published weights, and of one that the catalogue names its bands and scale.

    Args:
        given: Path of a file, or name of an entry.

    Returns:
        The path, the names of the bands and what the network divided pixels by; None and 0 where not known.

    Raises:
        DataError: If the file of an entry is missing; the sentence says where to put it.
        ParameterError: If there are no weights of that name.
    """
    if not re.fullmatch(r"\w+", str(given)):  # a file has an ending
        return Path(given), None, 0.0
    known = catalog.load()
    names = [name for name, entry in known.items() if entry.layout == "weights"]
    check_known(str(given), [*names, *known.faults], f"The catalogue has no weights {str(given)!r}")
    entry = known[str(given)].ensure()
    scale = entry.pixels.get("scale")
    return entry.path, entry.metadata.get("bands"), 1 / scale if scale else 0.0


def adapt(
    kernel: np.ndarray,
    published: Sequence[str],
    bands: Sequence[str],
    stem: str = "mean",
    drawn: Any = None,
) -> np.ndarray:
    """Return the first convolution's weights for other bands: (h, w, C', F) → (h, w, C, F).

    Channels are matched by the band that they show: ``TCI_red`` and ``TOA_B04`` are B04. Where the file knows
    all bands, and none is there twice, each has its own weights. Else, by the rule:

    - "mean": a band that the file does not know gets the mean over the file's bands, and all are scaled by
      C' / C, so that features keep their size (Carreira and Zisserman 2017, Quo vadis, action recognition?
      A new model and the Kinetics dataset, CVPR).
    - "repeat": the file's bands are repeated in their order and scaled by C' / C, whatever their names.
    - "copy": bands that the file knows get its weights as they are, the others keep those drawn at first.

    "first" goes by place alone: the first C' channels get the file's weights as they are, whatever they show,
    the others keep those drawn at first. So does Svensson (2020) with ten indices and a network of RGB.

    Args:
        kernel: Published weights.
        published: Names of its C' bands.
        bands: Names of the C bands wanted.
        stem: One of :data:`STEMS`.
        drawn: Weights (h, w, C, F) of the network as it was built, for "copy" and "first".

    Raises:
        ParameterError: If there is no such rule.
    """
    check_known(stem, STEMS, f"stem is {stem!r} for a first convolution")
    if stem == "first":
        return np.concatenate([kernel[:, :, : len(bands)], drawn[:, :, len(published) :]], axis=2)
    places = {band_shown(band): place for place, band in enumerate(published)}
    bands = [band_shown(band) for band in bands]
    if all(band in places for band in bands) and len({*bands}) == len(bands):
        return kernel[:, :, [places[band] for band in bands]]
    share = min(1.0, len(published) / len(bands))
    if stem == "repeat":
        return kernel[:, :, np.arange(len(bands)) % len(published)] * share
    mean = kernel.mean(axis=2, keepdims=True).repeat(len(bands), axis=2)
    others = drawn if stem == "copy" else mean
    chosen = [kernel[:, :, places[b]] if b in places else others[:, :, i] for i, b in enumerate(bands)]
    return np.stack(chosen, axis=2) * (1 if stem == "copy" else share)


def _layers_of(network: keras.Model, prefix: str) -> list[str]:
    """Return the names of a ResNet's layers that have weights, without the prefix.

    Raises:
        ParameterError: If the network has no ResNet.
    """
    pattern = re.compile(re.escape(prefix) + r"(conv1|bn1|layer\d_\d+_(conv|bn|downsample_)\d)")
    found = [layer.name for layer in network.layers if pattern.fullmatch(layer.name)]
    if f"{prefix}conv1" not in found:
        raise ParameterError(
            f"{network.name} has no layer {prefix}conv1: published weights go into ResNets, such as "
            "resnet50_patch or the encoder of deeplabv3, and with the prefix 'encoder_radar_' into the radar "
            "of a fusion."
        )
    return [name.removeprefix(prefix) for name in found]


def _check_strides(network: keras.Model, names: Sequence[str], prefix: str, early: bool) -> None:
    """Refuse bottlenecks whose stride stands in another convolution than in the file.

    Raises:
        ParameterError: If it does.
    """
    if "layer1_0_conv3" not in names:
        return
    if early != (network.get_layer(f"{prefix}layer2_0_conv1").strides[0] > 1):
        raise ParameterError(
            f"The file's blocks have their stride in the {'first' if early else 'second'} convolution, those "
            f"of {network.name} in the other: build it with early={early}."
        )


# === PyTorch ===


def _timm_layers(path: Path, names: Sequence[str]) -> Layers:
    """Return the weights of some layers from a file in timm's names.

    Raises:
        DataError: If the file has not all of them.
    """
    state = layout.read(path)
    root = _root(state, path)
    wanted = {name: [root + part for part in _timm_names(name)] for name in names}
    known = {part for parts in wanted.values() for part in parts}
    pattern = re.compile(re.escape(root) + r"layer\d\.\d+\..*(?<!num_batches_tracked)")
    wrong = sorted(known - state.keys()) or sorted(filter(pattern.fullmatch, state.keys() - known))
    if wrong:
        which = "lacks" if wrong[0] in known else "has"
        raise DataError(
            f"{path}: expected the weights of {len(names)} layers, and the file {which} {wrong[0]!r} and "
            f"{len(wrong) - 1} more: build the network with the depth of the file."
        )
    found = {}
    for name, parts in wanted.items():
        values = [state[part] for part in parts]
        found[name] = [one.transpose(2, 3, 1, 0) if one.ndim == 4 else one for one in values]  # (h, w, C, F)
    return found


def _root(state: Mapping[str, Any], path: Path) -> str:
    """Return what stands before a ResNet's names in a file, such as ``module.encoder_q.``.

    Where there are several networks, the query encoder or the teacher counts, as the papers take them.
    """
    end = "bn1.running_mean"
    found = [name.removesuffix(end) for name in state if name.endswith(end) and "layer" not in name]
    if not found:
        raise DataError(
            f"{path}: expected a ResNet's weights by the names of timm, such as conv1.weight and {end}, "
            f"found {', '.join(list(state)[:3])}."
        )
    return min(found, key=lambda root: (not re.search("encoder_q|teacher", root), len(root)))


def _timm_names(layer: str) -> list[str]:
    """Return timm's names of a layer's weights, in Keras's order."""
    name = re.sub(r"^(layer\d)_(\d+)_", r"\1.\2.", layer).replace("downsample_", "downsample.")
    if CONVOLUTION.search(layer):
        return [f"{name}.weight"]
    return [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]


# === Keras ===


def _keras_layers(path: Path, names: Sequence[str]) -> Layers:
    """Return the weights of some layers from a file of ``keras.applications``; biases go into the means.

    Raises:
        DataError: If the file is missing or of another network.
        ParameterError: If the network has fewer than 50 layers.
    """
    if "layer1_0_conv3" not in names:
        raise ParameterError(
            "keras.applications has no ResNet-18 or -34: its files are for 50 and more layers."
        )
    third = sum(bool(re.fullmatch(r"layer3_\d+_conv1", name)) for name in names)
    source = _keras_network(path, next(depth for depth in (50, 101, 152) if BLOCKS[depth][2] == third))
    found: Layers = {}
    for name in filter(CONVOLUTION.search, names):
        norm, place = _keras_place(name)
        kernel, *bias = source.get_layer(f"{place}_conv").get_weights()
        gamma, beta, mean, variance = source.get_layer(f"{place}_bn").get_weights()
        found[name], found[norm] = [kernel], [gamma, beta, mean - (bias[0] if bias else 0), variance]
    found["conv1"][0] = found["conv1"][0] * np.array(KERAS_STD, np.float32)[:, None]
    return found


def _keras_network(path: Path, depth: int) -> keras.Model:
    """Return the network of a file, with or without its classifier.

    Raises:
        DataError: If the file is missing, damaged or of another network.
    """
    remedy = f"give the file of keras.applications.ResNet{depth}'s weights, nothing is downloaded here"
    read = _keras_model if path.suffix == ".keras" else _keras_weights
    return files.loaded(path, partial(read, depth), f"weights of ResNet-{depth} of ImageNet", remedy)


def _keras_model(depth: int, path: Path) -> keras.Model:
    """Return a saved network."""
    network = keras.models.load_model(path, compile=False)
    blocks = sum(bool(re.fullmatch(r"conv4_block\d+_3_conv", one.name)) for one in network.layers)
    if blocks != BLOCKS[depth][2]:
        raise ValueError(f"another network, with {blocks} blocks in its third stage")
    return network


def _keras_weights(depth: int, path: Path) -> keras.Model:
    """Return a network with the weights of a file, and its classifier only where Keras needs it."""
    make: Callable[..., keras.Model] = getattr(keras.applications, f"ResNet{depth}")
    network = make(weights=None, include_top=False)
    if path.name.endswith(".weights.h5"):  # Keras would but warn of layers that such a file does not have
        with h5py.File(path) as file:
            found = sum(name.startswith("conv2d") for name in file["layers"])
        if found != sum(isinstance(one, keras.layers.Conv2D) for one in network.layers):
            raise ValueError(f"another network, with {found} convolutions")
    try:
        network.load_weights(path)
    except ValueError:
        network = make(weights=None, include_top=True)
        network.load_weights(path)
    return network


def _keras_place(convolution: str) -> tuple[str, str]:
    """Return the normalisation behind a convolution, and the beginning of Keras's names of both.

    ``layer1_0_conv2`` stands before ``layer1_0_bn2``, and is ``conv2_block1_2_conv`` in Keras.
    """
    if convolution == "conv1":
        return "bn1", "conv1"
    stage, block, number = (int(part) for part in re.findall(r"\d+", convolution))
    norm = f"bn{number}" if number else "downsample_1"
    return f"layer{stage}_{block}_{norm}", f"conv{stage + 1}_block{block + 1}_{number}"


def _put(network: keras.Model, found: Layers, prefix: str, path: Path, epsilon: float) -> None:
    """Set the weights of layers, all or none, and the epsilon of batch normalisations.

    Raises:
        DataError: If a shape is another.
    """
    for name, values in found.items():
        expected = [tuple(weight.shape) for weight in network.get_layer(prefix + name).weights]
        if [value.shape for value in values] != expected:
            raise DataError(
                f"{path}: layer {name} has weights of the shapes {[value.shape for value in values]}, "
                f"expected {expected}: build the network with the depth and the width of the file."
            )
    for name, values in found.items():
        layer = network.get_layer(prefix + name)
        layer.set_weights(values)
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.epsilon = epsilon
