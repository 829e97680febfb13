"""A matplotlib picture that takes clicks in JupyterLab, without touching the notebook's own backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import comm
import matplotlib
from matplotlib.figure import Figure


def headless() -> bool:
    """Say whether the notebook runs without anybody in front of it (``EOLAB_HEADLESS=1``)."""
    return os.environ.get("EOLAB_HEADLESS") == "1"


@contextmanager
def quiet_when_headless() -> Iterator[None]:
    """Make widgets that tell no front end of themselves in batch runs, so that nothing of them is saved.

    States of widgets would grow the executed notebook, and make its report ask the network for scripts.
    """
    if not headless():
        yield
        return
    with mock.patch.object(comm, "create_comm", comm.DummyComm):
        yield


def interactive_canvas(figure: Figure) -> Any:
    """Return the ipympl canvas of a figure: a widget without toolbar, header and footer.

    Importing ipympl switches matplotlib's backend for the whole session where matplotlib is loaded already;
    here that call is held back, so that ``plt.plot`` in other cells draws as before.
    """
    with mock.patch.object(matplotlib, "use"):
        from ipympl.backend_nbagg import Canvas, FigureManager

    canvas = Canvas(figure)
    FigureManager(canvas, 0)
    canvas.toolbar_visible = canvas.header_visible = canvas.footer_visible = canvas.resizable = False
    return canvas
