"""What of an executed notebook belongs on a page: outputs without noise, cells marked for the template."""

from __future__ import annotations

import re
from typing import Any

from eolab.runs import captions
from eolab.runs.noise import ANSI, NOISE

_WIDGETS = ("application/vnd.jupyter.widget-view+json", "application/javascript")
_ADDRESS = re.compile(r"^[\[(]*<[\w. ]+( object)? at 0x[0-9a-f]+>")
_PAPERMILL_ERROR = "papermill-error-cell-tag"


def prepare(notebook: Any) -> Any:
    """Return a copy of a notebook for the page.

    The parameters cell becomes the place of the parameter table, the injected one goes, papermill's own error
    banners go, captions go from the text (they stand below their figures), the failed cell is marked, streams
    are joined and freed of noise, widgets are left out.
    """
    import nbformat

    page = nbformat.from_dict({**notebook, "cells": []})
    for source in notebook.cells:
        tags = source.metadata.get("tags", [])
        if _PAPERMILL_ERROR in tags:
            continue
        cell = nbformat.from_dict(source)
        if cell.cell_type == "markdown":
            cell.source = captions.without(cell.source)
        if cell.cell_type == "code":
            cell.outputs = _outputs(cell.outputs)
            cell.metadata["eolab"] = _kind(cell, tags)
        page.cells.append(cell)
    return page


def _kind(cell: Any, tags: list[str]) -> str:
    if any(output.output_type == "error" for output in cell.outputs):
        return "failed"
    if "parameters" in tags:
        return "parameters"
    return "hidden" if "injected-parameters" in tags or "remove-cell" in tags else ""


def _outputs(outputs: list[Any]) -> list[Any]:
    kept: list[Any] = []
    for output in outputs:
        data = output.get("data", {})
        if any(kind in data for kind in _WIDGETS) or _says_nothing(data):
            continue
        if output.output_type == "stream" and kept and kept[-1].get("name") == output.name:
            kept[-1].text += output.text
        else:
            kept.append(output)
    for output in kept:
        if output.output_type == "stream":
            output.text = _readable(output.text)
    return [output for output in kept if output.output_type != "stream" or output.text.strip()]


def _says_nothing(data: Any) -> bool:
    """Whether an output is only the address of an object, as plotting calls return it."""
    return list(data) == ["text/plain"] and bool(_ADDRESS.match(data["text/plain"].strip()))


def _readable(text: str) -> str:
    """Lines as a terminal would show them in the end, without start-up noise."""
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n")]
    return "\n".join(line for line in lines if not NOISE.match(ANSI.sub("", line)))
