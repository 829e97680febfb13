"""Captions that stand in the text cells of a notebook, one paragraph a figure or table.

::

    **Figure learning_curves.** Loss of {model} by epoch; the mark is the epoch kept.

    **Table scores.** Scores on the test patches, with 95 % intervals.

``run.figure(figure, "learning_curves")`` takes the caption of that name. ``{model}`` stands for the value of
the parameter `model`. A report shows the caption with its figure and leaves the paragraph out of the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

_CAPTION = re.compile(
    r"^\*\*(Figure|Table) ([^*\s]+)\.\*\*[ \n]+(.+?)(?:\n\s*\n|\s*\Z|\n(?=\*\*))", re.M | re.S
)
_PARAMETER = re.compile(r"\{([\w.]+)\}")


def read(texts: Iterable[str], values: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the captions of text cells by kind ("Figure" or "Table") and name.

    Args:
        texts: Sources of the text cells.
        values: Parameter → value, for ``{parameter}`` in a caption.
    """

    def filled(match: re.Match[str]) -> str:
        value = values.get(match[1], match[0])
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    found = {}
    for text in texts:
        for kind, name, caption in _CAPTION.findall(text):
            found[kind, name] = _PARAMETER.sub(filled, " ".join(caption.replace("`", "").split()))
    return found


def without(text: str) -> str:
    """Return a text without its captions."""
    return _CAPTION.sub("", text).strip()
