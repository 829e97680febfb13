"""Formulas of a notebook's text, ``$…$``, drawn by matplotlib: reports have no MathJax to fetch."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from typing import Any

_MATH = re.compile(r"\$\$(?P<block>[^$]+)\$\$|(?<![\\\w$])\$(?P<inline>[^\s$](?:[^$\n]*[^\s$])?)\$(?![\w$])")
_SIZE_PT = 11.0


def draw(soup: Any) -> None:
    """Replace each formula in a parsed page by a picture whose alternative text is the formula.

    Formulas that matplotlib's mathtext cannot read stay as they are.
    """
    for node in list(soup.find_all(string=_MATH)):
        if node.find_parent(["code", "pre", "style", "script", "svg", "table"]):
            continue
        parts: list[Any] = []
        end = 0
        for match in _MATH.finditer(node):
            picture = _picture(soup, match["block"] or match["inline"], block=bool(match["block"]))
            if picture is not None:
                parts += [str(node)[end : match.start()], picture]
                end = match.end()
        if parts:
            node.replace_with(*parts, str(node)[end:])


def _picture(soup: Any, formula: str, block: bool) -> Any:
    from matplotlib import mathtext, rc_context
    from matplotlib.font_manager import FontProperties

    text = f"${' '.join(formula.split())}$"
    font = FontProperties(size=_SIZE_PT)
    buffer = BytesIO()
    try:
        with rc_context({"figure.facecolor": "none", "savefig.facecolor": "none"}):
            depth = mathtext.math_to_image(text, buffer, prop=font, dpi=72, format="svg")
    except ValueError:
        return None
    source = base64.b64encode(buffer.getvalue()).decode("ascii")
    style = "display:block;margin:1em auto" if block else f"--depth:-{depth / _SIZE_PT:.2f}em"
    attributes = {"class": "math", "alt": formula.strip(), "style": style}
    return soup.new_tag("img", src=f"data:image/svg+xml;base64,{source}", attrs=attributes)
