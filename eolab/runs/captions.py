"""Captions that stand in the text cells of a notebook, one paragraph a figure or table.

::

    **Figure learning_curves.** Loss of {model} by epoch; the mark is the epoch kept.

    **Table scores.** Scores on the test patches, with 95 % intervals.

``run.figure(figure, "learning_curves")`` takes the caption of that name. ``{model}`` stands for the value of
the parameter or variable `model`. A report shows the caption with its figure and leaves the paragraph out of
the text.
"""

from __future__ import annotations

import numbers
import re
from collections.abc import Iterable, Mapping
from typing import Any

_CAPTION = re.compile(
    r"^\*\*(Figure|Table) ([^*\s]+)\.\*\*[ \n]+(.+?)(?:\n\s*\n|\s*\Z|\n(?=\*\*))", re.M | re.S
)
_NAME = re.compile(r"\{([\w.]+)\}")


def read(texts: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return the captions of text cells by kind ("Figure" or "Table") and name, as they are written."""
    found = {}
    for text in texts:
        for kind, name, caption in _CAPTION.findall(text):
            found[kind, name] = " ".join(caption.replace("`", "").split())
    return found


def filled(caption: str, values: Mapping[str, Any]) -> str:
    """Return a caption with ``{name}`` replaced by the value of that name, if it is text, a number or a list."""

    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if isinstance(value, list):
            return ", ".join(map(str, value))
        return str(value) if isinstance(value, str | numbers.Real) else match[0]

    return _NAME.sub(value_of, caption)


def without(text: str) -> str:
    """Return a text without its captions."""
    return _CAPTION.sub("", text).strip()
