"""Gives a network of eolab and its twin in PyTorch the same weights, to show that equals are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

KINDS = {
    "Conv1D": "Conv1d",
    "Conv2D": "Conv2d",
    "Conv2DTranspose": "ConvTranspose2d",
    "Dense": "Linear",
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "GroupNormalization": "GroupNorm",
}


def share(network: Any, twin: torch.nn.Module) -> None:
    """Put the weights of a network into its twin; a ValueError where they do not fit."""
    WAYS[type(twin).__name__](network, twin)


def inside(network: Any) -> list[Any]:
    """Return the layers of a network, those inside of layers too."""
    return [*network._flatten_layers(include_self=False, recursive=True)]


def of_type(layers: Iterable[Any], name: str) -> list[Any]:
    """Return the layers of a kind that have weights."""
    return [one for one in layers if one.weights and name in [kind.__name__ for kind in type(one).__mro__]]


def by_kind(layers: Iterable[Any], modules: Iterable[torch.nn.Module], times: int = 0) -> None:
    """Fill the modules of each kind with the layers of that kind, both in their order.

    Args:
        layers: Layers of the network.
        modules: Modules of its twin.
        times: Dates of a dense layer whose features are (dates, features), in PyTorch (features, dates).
    """
    layers, modules = [*layers], [*modules]
    for ours, theirs in KINDS.items():
        found = [one for one in modules if type(one).__name__.startswith(theirs) and places(one)]
        for layer, module in zip(of_type(layers, ours), found, strict=True):
            values = [turned(weight) for weight in layer.weights]
            if times and ours == "Dense" and values[0].shape[1] % times == 0:
                parts = values[0].reshape(len(values[0]), times, -1)
                values[0] = parts.transpose(0, 2, 1).reshape(values[0].shape)
            put(values, module)


def put(values: Iterable[Any], module: torch.nn.Module) -> None:
    """Fill a module with the weights of a layer."""
    for place, value in zip(places(module), values, strict=True):
        fill(place, value)


def by_name(network: Any, twin: torch.nn.Module) -> None:
    """Fill a ResNet by the names of its layers, and what follows it kind by kind, dilated kernels first."""
    ours = {layer.name: layer for layer in network.layers if layer.weights}
    ends = {"fc": "logits", "values": "values_logits"}
    rest = []
    for name, module in twin.named_modules():
        known = ends.get(name, "encoder_" + name.removeprefix("encoder.").replace(".", "_"))
        if places(module) and known in ours:
            put(map(turned, ours.pop(known).weights), module)
        elif places(module):
            rest.append(module)
    layers = sorted(ours.values(), key=lambda layer: (type(layer).__name__, len(layer.name), layer.name))
    by_kind(layers, sorted(rest, key=lambda module: getattr(module, "dilation", (1, 1)) == (1, 1)))


def convlstm(network: Any, twin: torch.nn.Module) -> None:
    """Fill the cells, whose kernels are one in PyTorch, and dense layers that read channels last in ours."""
    layers = sorted(inside(network), key=lambda layer: (len(layer.name), layer.name))  # as they were made
    branches = [*twin.branches.values()]
    cells = [cell for branch in branches for cell in (branch.first, branch.second)]
    for layer, cell in zip(of_type(layers, "ConvLSTM"), cells, strict=True):
        kernel = np.concatenate([np.asarray(layer.kernel), np.asarray(layer.recurrence.cell.recurrent)], 2)
        put([turned(kernel), layer.bias], cell.gates)
    for layer, branch in zip(of_type(layers, "BatchNormalization"), branches, strict=True):
        put(layer.weights, branch.norm)
    answer, dense = sorted(of_type(layers, "Dense"), key=lambda layer: layer.name != "logits")
    size = network.inputs[0].shape[2:4]
    maps = np.asarray(dense.kernel).reshape(len(branches), *size, -1, dense.units)
    put([maps.transpose(4, 0, 3, 1, 2).reshape(dense.units, -1), dense.bias], twin.dense)
    put([turned(answer.kernel), answer.bias], twin.answer)


def unet(network: Any, twin: torch.nn.Module) -> None:
    """Fill a U-Net; ours enlarges the coarsest maps first."""
    blocks = [*twin.down, *reversed(twin.enlarge), *reversed(twin.up)]
    modules = [module for block in blocks for module in block.modules()] + [twin.logits]
    attentions = [one for one in modules if type(one).__name__ == "MultiAttention"]
    for layer, attention in zip(of_type(network.layers, "MultiAttention"), attentions, strict=True):
        for ours, theirs in ((layer.project, attention.project), (layer.merge, attention.merge)):
            put(map(turned, ours.weights), theirs)
            modules.remove(theirs)
    by_kind(network.layers, modules)


def utae(network: Any, twin: torch.nn.Module) -> None:
    """Fill a U-TAE; the keys of its attention are no dense layer in ours."""
    (attention,) = of_type(network.layers, "PixelAttention")
    fill(twin.attention.query, attention.query)
    fill(twin.attention.key.weight, turned(attention.key))
    by_kind(inside(network), [module for module in twin.modules() if module is not twin.attention.key])


def ltae(network: Any, twin: torch.nn.Module) -> None:
    """Fill an L-TAE."""
    (attention,) = of_type(network.layers, "MasterQueryAttention")
    fill(twin.query, attention.query)
    fill(twin.key, attention.key)
    by_kind(inside(network), twin.modules())


def lstm(network: Any, twin: torch.nn.Module) -> None:
    """Fill an LSTM; PyTorch's has a second bias."""
    (recurrent,) = of_type(network.layers, "LSTM")
    weights = [turned(weight) for weight in recurrent.weights]
    for place, value in zip(twin.recurrent.parameters(), (*weights, 0 * weights[2]), strict=True):
        fill(place, value)
    by_kind(network.layers, twin.modules())


def transformer(network: Any, twin: torch.nn.Module) -> None:
    """Fill a Transformer, and the attention in its blocks."""
    for layer, block in zip(of_type(network.layers, "SelfAttention"), twin.encoder.layers, strict=True):
        weights = (*layer.project[0].weights, *layer.merge.weights)
        for place, weight in zip(block.self_attn.parameters(), weights, strict=True):
            fill(place, turned(weight))
    by_kind(network.layers, twin.modules())


def tempcnn(network: Any, twin: torch.nn.Module) -> None:
    """Fill a TempCNN."""
    by_kind(inside(network), twin.modules(), times=network.inputs[0].shape[1])


def places(module: torch.nn.Module) -> list[torch.Tensor]:
    """Return the weights of a module itself, and the statistics of a normalisation, as Keras has them."""
    found = [*module.parameters(False), *module.buffers(False)]
    return [one for one in found if one.ndim]  # PyTorch counts the batches of a normalisation too


def turned(weight: Any) -> np.ndarray:
    """Return a kernel with its outputs first: (3, 3, C, F) becomes (F, C, 3, 3), (C, F) becomes (F, C)."""
    values = np.asarray(weight)
    return values.transpose((3, 2, 0, 1)) if values.ndim == 4 else values.transpose()


def fill(place: torch.Tensor, value: Any) -> None:
    """Put values into a parameter or a buffer."""
    value = np.asarray(value)
    if tuple(place.shape) != value.shape:
        raise ValueError(f"the networks differ: weights {value.shape} in Keras, {tuple(place.shape)}")
    with torch.no_grad():
        place.copy_(torch.from_numpy(np.ascontiguousarray(value)))


WAYS: dict[str, Callable[[Any, torch.nn.Module], None]] = {
    **dict.fromkeys(("ResNet50", "Transfer", "DeepLabV3"), by_name),
    "ConvLSTM": convlstm,
    "UNet": unet,
    "UTAE": utae,
    "LTAE": ltae,
    "LSTM": lstm,
    "Transformer": transformer,
    "TempCNN": tempcnn,
}
