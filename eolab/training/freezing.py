"""Layers that do not learn, by name or by depth, until an epoch at which they thaw."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import keras

from eolab.core.errors import ParameterError, did_you_mean

Freeze = str | int | Sequence[str] | None
Thaw = Mapping[int | str, str | int | Sequence[str]] | None


@dataclass(frozen=True)
class Phase:
    """Epochs of a training in which the same layers are frozen.

    Attributes:
        start: First epoch, counted from 0.
        end: Epoch after the last one.
        layers: Frozen layers.
    """

    start: int
    end: int
    layers: tuple[keras.Layer, ...]

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the layers; afterwards each of them is as before.

        A frozen layer does not learn; batch normalisation uses its moving statistics and leaves them alone.
        """
        before = [layer.trainable for layer in self.layers]
        try:
            for layer in self.layers:
                layer.trainable = False
            yield
        finally:
            for layer, trainable in zip(self.layers, before, strict=True):
                layer.trainable = trainable


def phases(model: keras.Model, epochs: int, freeze: Freeze, thaw: Thaw = None) -> list[Phase]:
    """Return the phases of a training: a new one begins at each epoch at which layers thaw.

    Args:
        model: The model.
        epochs: Epochs of the training.
        freeze: Layers that are frozen from the start: names, with ``*`` and ``?``, where ``"encoder"`` is
            every layer called ``encoder`` or ``encoder_…`` and what is inside it; or a number of layers with
            weights, counted from the input, also as text. None for none.
        thaw: What changes at the start of an epoch, counted from 1: names of layers that learn from then on,
            ``"*"`` for all, or the number of layers from the input that stay frozen.

    Raises:
        ParameterError: If a name matches no layer, an epoch is not one of the training, or no layer is left
            to train.
    """
    known = weighted_layers(model)
    if thaw and not freeze:
        raise ParameterError(f"thaw is {dict(thaw)}, but no layer is frozen: give freeze too.")
    first = int(freeze) if isinstance(freeze, str) and freeze.isdigit() else freeze
    changes: dict[int, Any] = {0: first or None, **_changes(thaw, epochs)}
    starts, held, found = [*changes, epochs], set[int](), []
    for (start, change), end in zip(changes.items(), starts[1:], strict=True):
        named = _selected(known, change)
        held = named if start == 0 or isinstance(change, int) else held - named
        layers = tuple(layer for place, (layer, _) in enumerate(known) if place in held)
        if len(layers) == len(known):
            raise ParameterError(f"freeze is {freeze!r}: no layer is left to train; name fewer.")
        found.append(Phase(start, end, layers))
    return found


def weighted_layers(model: keras.Model) -> list[tuple[keras.Layer, tuple[str, ...]]]:
    """Return the layers that have weights of their own, from input to output, each with its names.

    The names are those of the layers around it, such as a model inside the model, and last its own.
    """
    found: dict[int, tuple[keras.Layer, tuple[str, ...]]] = {}

    def walk(layer: keras.Layer, around: tuple[str, ...]) -> None:
        inner = list(layer._flatten_layers(include_self=False, recursive=False))
        names = (*around, layer.name)
        if len(layer.weights) > sum(len(one.weights) for one in inner):
            found.setdefault(id(layer), (layer, names))
        else:
            for one in inner:
                walk(one, names)

    for layer in model.layers:
        walk(layer, ())
    return list(found.values())


def _changes(thaw: Thaw, epochs: int) -> dict[int, Any]:
    """Return what changes by epoch from 0, in order."""
    try:
        found = {int(epoch) - 1: change for epoch, change in (thaw or {}).items()}
    except (TypeError, ValueError):
        found = {-1: ""}
    if not all(0 < epoch < epochs for epoch in found):
        raise ParameterError(
            f"thaw must have epochs from 2 to {epochs}, such as {{5: 'encoder'}}: got {thaw!r}."
        )
    return dict(sorted(found.items()))


def _selected(known: Sequence[tuple[keras.Layer, tuple[str, ...]]], chosen: Freeze) -> set[int]:
    """Return the places of the layers that names or a number select."""
    if chosen is None or isinstance(chosen, int):
        return set(range(len(known))[: chosen or 0])
    places: set[int] = set()
    for pattern in [chosen] if isinstance(chosen, str) else chosen:
        matched = {place for place, (_, names) in enumerate(known) if _matches(names, pattern)}
        if not matched:
            every = list(dict.fromkeys(name for _, names in known for name in names))
            raise ParameterError(f"No layer is called {pattern!r}: {did_you_mean(pattern, every, most=20)}")
        places |= matched
    return places


def _matches(names: Sequence[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}_*") for name in names)
