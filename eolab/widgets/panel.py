"""What the panels have in common: controls, callbacks whose errors are seen, pictures, batch runs."""

import functools
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, ClassVar
from unittest import mock

import comm
import ipywidgets as widgets
import matplotlib
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from eolab.core.progress import batch_run


@contextmanager
def quiet_in_batch_runs() -> Iterator[None]:
    """Make widgets that tell no front end of themselves in batch runs, so that nothing of them is saved.

    States of widgets would grow the executed notebook, and make its report ask the network for scripts.
    """
    with mock.patch.object(comm, "create_comm", comm.DummyComm) if batch_run() else nullcontext():
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


def _at_most(width_px: int) -> dict[str, str]:
    """Return the layout of a width in pixels, less where the page is narrower."""
    return {"width": f"{width_px}px", "max_width": "calc(100% - 4px)"}


class Panel:
    """Base of the panels.

    Attributes:
        css_class: CSS class of the panel; labels have one that begins with it.
        label_px: Width of the words beside the controls, in pixels.
        message: Label: why something cannot be shown, empty otherwise; of a panel with a picture.
        image: The picture, PNG.
        out: Shows errors of the panel's own code.
        panel: All controls and pictures.
    """

    css_class: ClassVar[str]
    label_px: ClassVar[int] = 56
    out: widgets.Output
    panel: widgets.VBox
    _listening = True

    def _control(self, kind: type, description: str, width_px: int, **options: Any) -> Any:
        """Return a control of a width in pixels, with the word beside it."""
        style = {"description_width": f"{self.label_px}px"}
        return kind(description=description, style=style, layout=_at_most(width_px), **options)

    def _make_picture(self, name: str, width_px: int) -> widgets.Label:
        """Make a picture and its message; return the label of this name above it."""
        label, self.message = widgets.Label(), widgets.Label()
        label.add_class(f"{self.css_class}-{name}")
        self.message.add_class(f"{self.css_class}-message")
        self.message.style.text_color = "#b00020"
        self.image = widgets.Image(format="png", layout=_at_most(width_px))
        return label

    def _lay_out(self, *parts: Any) -> None:
        """Put rows of controls, and others, one below the other."""
        rows = [
            widgets.HBox(part, layout={"flex_flow": "row wrap"}) if isinstance(part, list) else part
            for part in parts
        ]
        self.out = widgets.Output()
        self.panel = widgets.VBox([*rows, self.out])
        self.panel.add_class(self.css_class)

    def _listen(self, control: Any, callback: Callable[[Any], None]) -> None:
        """Call a function when the value of a control changes."""
        control.observe(self._guarded(callback), names="value")

    def _guarded(self, callback: Callable[[Any], None]) -> Callable[[Any], None]:
        """Run a callback so that its error is seen: inside the panel, or as it is in batch runs."""

        def heard(change: Any) -> None:
            if self._listening:
                callback(change)

        if batch_run():
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

    def _show_picture(self, figure: Figure, dpi: int) -> None:
        """Show a figure as the picture."""
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=dpi)
        self.image.value = content.getvalue()

    def _ipython_display_(self) -> None:
        if batch_run():
            print("Interactive panel (not shown in batch runs): open the notebook in JupyterLab to use it.")
        else:
            display(self.panel)
