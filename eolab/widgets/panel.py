"""What the panels have in common: callbacks whose errors are seen, controls set quietly, display."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ipywidgets as widgets
from IPython import get_ipython
from IPython.display import display

from eolab.widgets.canvas import headless


class Panel:
    """Base of the panels.

    Attributes:
        out: Shows errors of the panel's own code.
        panel: All controls and pictures.
    """

    out: widgets.Output
    panel: widgets.VBox
    _listening = True

    def _guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Run a callback so that its error is seen: inside the panel, or as it is in batch runs."""

        def heard(change: Any) -> None:
            if self._listening:
                callback(change)

        if headless():
            return heard
        capture = self.out.capture(clear_output=get_ipython() is not None)
        return functools.wraps(callback)(capture(heard))

    def _quietly(self, control: Any, **traits: Any) -> None:
        """Set traits of a control without an answer of the panel."""
        self._listening = False
        try:
            for name, value in traits.items():
                setattr(control, name, value)
        finally:
            self._listening = True

    def _ipython_display_(self) -> None:
        if headless():
            print("Interactive panel (not shown in batch runs): open the notebook in JupyterLab to use it.")
        else:
            display(self.panel)
