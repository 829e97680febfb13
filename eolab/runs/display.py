"""How figures and tables of a run look in a notebook and its report."""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from eolab.core.numbers import short

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MARK = "Simulated data."
DPI = 110


@dataclass(frozen=True)
class Caption:
    """A caption.

    Attributes:
        text: What to see.
        simulated: Whether it says that data are simulated.
        in_text: Whether the notebook's text has it, so that only a report shows it with its figure.
    """

    text: str
    simulated: bool = False
    in_text: bool = False

    def __str__(self) -> str:
        return f"{self.text} {MARK}" if self.simulated else self.text

    def html(self) -> str:
        """Return the caption as markup."""
        hidden = " hidden" if self.in_text else ""
        mark = f" {MARK}" if self.simulated else ""
        return f"<figcaption><span{hidden}>{html.escape(self.text)}</span>{mark}</figcaption>"


def is_plain(table: pd.DataFrame) -> bool:
    """Return whether the index of a table only counts its rows."""
    import pandas as pd

    return table.index.name is None and isinstance(table.index, pd.RangeIndex)


def png(figure: Figure, simulated: bool) -> bytes:
    """Return a figure as PNG, cropped to its content, with a small mark below it when data are simulated."""
    mark = None
    if simulated:
        style: dict[str, Any] = {
            "ha": "right",
            "va": "top",
            "fontsize": 7,
            "color": "0.35",
            "style": "italic",
        }
        mark = figure.text(1.0, -0.01, "simulated data", **style)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", facecolor="white")
    if mark is not None:
        mark.remove()
    return buffer.getvalue()


def figure_html(image: bytes, caption: Caption, alt: str) -> str:
    """Return a picture with its caption below it."""
    source = base64.b64encode(image).decode("ascii")
    return (
        f'<figure class="eolab-figure" style="margin:0 0 1em 0">'
        f'<img src="data:image/png;base64,{source}" alt="{html.escape(alt)}" '
        f'style="max-width:100%;height:auto">'
        f"{caption.html()}</figure>"
    )


def table_html(table: pd.DataFrame, caption: Caption, formats: Mapping[str, str]) -> str:
    """Return a table with its caption above it; numbers have four significant digits where no format is given.

    A line says so where the table has no rows.
    """
    import pandas as pd

    def writer(pattern: str) -> object:
        return lambda value: "–" if pd.isna(value) else pattern.format(value)

    formatters = {str(name): writer(pattern) for name, pattern in formats.items() if name in table}
    body = table.to_html(
        index=not is_plain(table),
        border=0,
        na_rep="–",
        float_format=short,
        formatters=formatters,  # type: ignore[arg-type]
        classes="eolab-table",
    )
    if table.empty:
        body = "<p>None.</p>"
    return f'<figure class="eolab-tablebox" style="margin:0 0 1em 0">{caption.html()}{body}</figure>'
