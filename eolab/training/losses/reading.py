"""Losses by name, and sums of them from a text such as ``0.5*focal(gamma=2) + 0.5*iou``."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from eolab.core.errors import ParameterError, did_you_mean
from eolab.data.schemes import IGNORE
from eolab.training.losses.base import PixelLoss
from eolab.training.losses.combined import WeightedSum
from eolab.training.losses.distribution import CrossEntropy, Focal, LogCosh
from eolab.training.losses.lovasz import Lovasz
from eolab.training.losses.region import IoU, Tversky
from eolab.training.losses.weighted import Boundary, Center

LOSSES: dict[str, type[PixelLoss]] = {
    loss.NAME: loss for loss in (CrossEntropy, Focal, LogCosh, IoU, Tversky, Lovasz, Boundary, Center)
}
EXAMPLE = "'0.5*focal(gamma=2) + 0.5*iou'"
UNNAMED = "has an option without a name"


def names() -> list[str]:
    """Return the names of the losses."""
    return list(LOSSES)


def build(text: str, ignore: int = IGNORE) -> PixelLoss:
    """Return a loss from a name, or from a sum of names with weights and options.

    Example:
        >>> build("0.5*focal(gamma=2, alpha=0.25) + 0.5*iou").parts
        [(0.5, focal(gamma=2, alpha=0.25)), (0.5, iou(form=log, smooth=1, background=False))]

    Args:
        text: Names of :func:`names`, each perhaps with options in brackets and a positive number times it,
            joined by ``+``; ``2*(ce + iou)`` is read too.
        ignore: Label of the pixels that do not count.

    Raises:
        ParameterError: If the text cannot be read; the sentence says at which character.
    """
    if not isinstance(text, str) or not text.strip():
        raise ParameterError(f"A loss is a text such as {EXAMPLE}: got {text!r}.")
    return _Reader(text.strip(), ignore).loss()


def single(
    text: str, known: Mapping[str, Sequence[str]], options: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return name and options of a text that names one loss, such as ``focal(gamma=2)``.

    Args:
        text: The text.
        known: Options of each loss by its name.
        options: Further options; those in the text go first.

    Raises:
        ParameterError: If the text cannot be read, or names a loss or an option that is not known.
    """
    example = f"{next(iter(known))!r} or 'focal(gamma=2)'"
    if not isinstance(text, str) or not text.strip():
        raise ParameterError(f"A loss is a text such as {example}: got {text!r}.")
    reader = _Reader(text.strip(), IGNORE)
    match reader.tree():
        case ast.Name(id=name) as node:
            given = dict(options)
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords) as node:
            given = {**options, **reader.options(keywords)}
        case node:
            raise reader.error(reader.at(node), "does not name one loss", f"write it like {example}.")
    reader.check(name, given, node, known)
    return name, given


class _Reader:
    """Reads one text; Python's own parser finds what is a sum, a product and a call, and where.

    Args:
        text: The text.
        ignore: Label of the pixels that do not count.
    """

    def __init__(self, text: str, ignore: int) -> None:
        self.text, self.ignore = text, ignore

    def tree(self) -> ast.expr:
        """Return what the parser finds."""
        try:
            return ast.parse(self.text, mode="eval").body
        except (SyntaxError, ValueError) as error:
            raise self.error(getattr(error, "offset", None) or 1, "is no sum of losses") from None

    def loss(self) -> PixelLoss:
        """Return the loss; a sum where there is more than one part or a weight other than 1."""
        parts = self._parts(self.tree(), 1.0)
        return parts[0][1] if len(parts) == 1 and parts[0][0] == 1 else WeightedSum(parts)

    def _parts(self, node: ast.expr, weight: float) -> list[tuple[float, PixelLoss]]:
        """Return the weighted losses of a sum, a product, or a single loss."""
        match node:
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return self._parts(left, weight) + self._parts(right, weight)
            case ast.BinOp(left=ast.Constant() as factor, op=ast.Mult(), right=term):
                return self._parts(term, weight * self._weight(factor))
            case ast.BinOp(left=term, op=ast.Mult(), right=ast.Constant() as factor):
                return self._parts(term, weight * self._weight(factor))
            case ast.Name(id=name):
                return [(weight, self._named(name, {}, node))]
            case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords):
                return [(weight, self._named(name, self.options(keywords), node))]
            case ast.Call(args=[first, *_]):
                raise self.error(self.at(first), UNNAMED)
        raise self.error(self.at(node), "has neither a loss, a number times a loss nor a sum of them")

    def _weight(self, node: ast.Constant) -> float:
        """Return the number in front of a loss."""
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise self.error(self.at(node), f"has the weight {value!r}, which is no number above 0")
        return float(value)

    def options(self, keywords: list[ast.keyword]) -> dict[str, Any]:
        """Return the options in the brackets of a loss; a bare word is a text."""
        found = {}
        for keyword in keywords:
            if keyword.arg is None:
                raise self.error(self.at(keyword.value), UNNAMED)
            try:
                bare = isinstance(keyword.value, ast.Name)
                found[keyword.arg] = ast.unparse(keyword.value) if bare else ast.literal_eval(keyword.value)
            except ValueError:
                raise self.error(
                    self.at(keyword.value), f"has an option {keyword.arg} that is neither number nor word"
                ) from None
        return found

    def _named(self, name: str, options: dict[str, Any], node: ast.expr) -> PixelLoss:
        """Return a loss by name."""
        self.check(name, options, node, {known: loss.OPTIONS for known, loss in LOSSES.items()})
        try:
            return LOSSES[name](ignore=self.ignore, **options)
        except ParameterError as error:
            raise self.error(self.at(node), "has an option that cannot be", str(error)) from None

    def check(
        self, name: str, options: Mapping[str, Any], node: ast.expr, known: Mapping[str, Sequence[str]]
    ) -> None:
        """Raise a ParameterError where a loss or an option of it is not known."""
        if name not in known:
            raise self.error(self.at(node), f"names {name!r}, which is no loss", did_you_mean(name, known))
        for option in options:
            if option not in known[name]:
                raise self.error(
                    self.at(node),
                    f"has an option {option!r} that {name!r} does not take",
                    did_you_mean(option, known[name]),
                )

    def at(self, node: ast.expr) -> int:
        """Return the position of a node, counted in characters from 1."""
        line = self.text.splitlines()[node.lineno - 1]
        before = sum(len(text) for text in self.text.splitlines(keepends=True)[: node.lineno - 1])
        return before + len(line.encode()[: node.col_offset].decode()) + 1

    def error(self, position: int, what: str, remedy: str = f"write it like {EXAMPLE}.") -> ParameterError:
        return ParameterError(f"Loss {self.text!r} {what}, at character {position}: {remedy}")
