"""Text of figures as it stands on a page."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.text import Text

from eolab.runs import display

COLUMN = 816  # CSS pixels of a report's column where the window has 1,280
SMALLEST = 8.0  # CSS pixels


def fitted(figure: Figure) -> None:
    """Bring a figure to the size that a page shows, and check that its smallest text can be read there."""
    display.fit(figure)
    texts = [one for one in figure.findobj(Text) if one.get_visible() and one.get_text().strip()]
    shrunk = min(1.0, COLUMN / (display.DPI * figure.get_figwidth()))
    for one in texts:
        size = one.get_fontsize() * display.DPI / 72 * shrunk
        assert size >= SMALLEST, f"{one.get_text()!r} is {size:.1f} pixels high"
