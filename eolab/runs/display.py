"""How the outputs of a run look in a notebook and its report: captions, figures, tables, and no noise.

Captions stand in the text cells of a notebook, one paragraph a figure or table::

    **Figure learning_curves.** Loss of {model} by epoch; the mark is the epoch kept.

    **Table scores.** Scores on the test patches, with 95 % intervals.

``run.figure(figure, "learning_curves")`` takes the caption of that name. ``{model}`` stands for the value of
the parameter or variable `model`. A report shows the caption with its figure and leaves the paragraph out of
the text.
"""

from __future__ import annotations

import base64
import html
import numbers
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eolab.core.errors import EolabError, RunError, show_sentences_alone, system_error
from eolab.core.numbers import alike, short
from eolab.core.progress import in_notebook

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MARK = " Simulated data."
INTERRUPTED = "Stopped: what is finished is kept, and this cell, run again, goes on from there."
DPI = 110
PAGE_IN = 10.5  # width of a figure whose text of 7.5 points is 8 pixels high in the column of a page
PAGE = 84  # letters of a table that fit side by side on a page, on paper too
LONG = 24  # letters: a column of longer words may break them, and is kept from becoming narrow
KEPT = 14  # letters that such a column is wide at least
LOOK: dict[str, Any] = {"border": 0, "na_rep": "–", "float_format": short}  # of a table in a page
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # colours of a terminal
NOISE = re.compile(  # absl and glog lines, and what TensorFlow and CUDA say at start-up
    r"^(WARNING: All log messages before absl"
    r"|[IWEF]\d{4} \d\d:\d\d:\d+\.\d+"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] "
    r"|To enable the following instructions:"
    r"|SKIPPING RUNTIME REGISTRATION|\[Gloo\] Rank )"
)
_FILTERS: list[threading.Thread] = []  # of this process's standard error
_CAPTION = re.compile(
    r"^\*\*(Figure|Table) ([^*\s]+)\.\*\*[ \n]+(.+?)(?:\n\s*\n|\s*\Z|\n(?=\*\*))", re.M | re.S
)
_NAME = re.compile(r"\{([\w.]+)\}")


# === Captions ===


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
        return self.text + MARK * self.simulated

    def html(self) -> str:
        """Return the caption as markup."""
        hidden = " hidden" if self.in_text else ""
        text = f"<span{hidden}>{html.escape(self.text)}</span>"
        return f"<figcaption>{text}{MARK * self.simulated}</figcaption>"


def captions(texts: Iterable[str]) -> dict[tuple[str, str], str]:
    """Return the captions of text cells by kind ("Figure" or "Table") and name, as they are written."""
    found = {}
    for text in texts:
        for kind, name, caption in _CAPTION.findall(text):
            found[kind, name] = " ".join(caption.replace("`", "").split())
    return found


def filled(caption: str, values: Mapping[str, Any]) -> str:
    """Return a caption with ``{name}`` replaced by the value of that name: text, a number or a list."""

    def value_of(match: re.Match[str]) -> str:
        value = values.get(match[1])
        if isinstance(value, list):
            return ", ".join(map(str, value))
        return str(value) if isinstance(value, str | numbers.Real) else match[0]

    return _NAME.sub(value_of, caption)


def without_captions(text: str) -> str:
    """Return a text without its captions."""
    return _CAPTION.sub("", text).strip()


# === Figures and tables ===


def is_plain(table: pd.DataFrame) -> bool:
    """Return whether the index of a table only counts its rows."""
    import pandas as pd

    return table.index.name is None and isinstance(table.index, pd.RangeIndex)


def fit(figure: Figure) -> None:
    """Draw a wide figure smaller, its text as large as before, to be read where a page shrinks it."""
    width, height = figure.get_size_inches()
    if width > PAGE_IN:
        share = max(PAGE_IN / width, 0.75)
        figure.set_size_inches(share * width, share * height)


def png(figure: Figure, simulated: bool) -> bytes:
    """Return a figure as PNG, cropped to its content, with a small mark below it when data are simulated."""
    fit(figure)
    style: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 7.5, "color": "0.35", "style": "italic"}
    mark = figure.text(1.0, -0.01, "simulated data", visible=simulated, **style)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight", facecolor="white")
    mark.remove()
    return buffer.getvalue()


def figure_html(image: bytes, caption: Caption) -> str:
    """Return a picture with its caption below it, which is its alternative text too."""
    source = base64.b64encode(image).decode("ascii")
    return (
        f'<figure class="eolab-figure" style="margin:0 0 1em 0">'
        f'<img src="data:image/png;base64,{source}" alt="{html.escape(caption.text)}" '
        f'style="max-width:100%;height:auto">'
        f"{caption.html()}</figure>"
    )


def parts_of(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return a wide table in parts that fit on a page.

    Each part begins with what names the lines: the index or, where it only counts them, the columns ``run``,
    those before ``runs``, those up to ``model``, or a first one of words or whole numbers; a table without
    any stays whole.
    """
    import pandas as pd

    names = [str(name) for name in table]
    end = names.index("runs") if "runs" in names else names.index("model") + 1 if "model" in names else 0
    keys = names[:end] if "run" not in names else ["run"]
    if not is_plain(table):
        keys = []
    elif not keys and names and not pd.api.types.is_float_dtype(table.iloc[:, 0]):
        keys = names[:1]
    if (not keys and is_plain(table)) or table.columns.nlevels > 1 or not table.columns.is_unique:
        return [table]
    table = table.set_axis(names, axis="columns")
    named = table[keys] if is_plain(table) else table.index.to_frame()
    free = PAGE - sum(_width(str(name), column) for name, column in named.items())
    parts: list[list[str]] = [[]]
    for name in [name for name in names if name not in keys]:
        width = _width(name, table[name])
        if parts[-1] and sum(_width(one, table[one]) for one in parts[-1]) + width > free:
            parts.append([])
        parts[-1].append(name)
    return [table[[*keys, *part]] for part in parts]


def _width(name: str, column: pd.Series) -> int:
    """Return about how many letters wide a column is shown: its longest cell, or word of its name."""
    write = _writer(column)
    cells = [write(value) if isinstance(value, float) else str(value) for value in column]
    words = [word for text in cells for word in ([text] if "±" in text else text.split())]
    least = KEPT if max(map(len, cells), default=0) > LONG else 0
    return max(least, 3 + max(map(len, [*words, *re.split(r"[_. ]", name)])))


def _writer(column: pd.Series) -> Any:
    """Return how the numbers of a column are written."""
    return alike([value for value in column if isinstance(value, float)])


def table_html(table: pd.DataFrame, caption: Caption, formats: Mapping[str, str]) -> str:
    """Return a table with its caption above it; the numbers of a column have the same decimals.

    A line says so where the table has no rows.
    """
    import pandas as pd

    def writer(name: Any) -> Any:
        write = formats[name].format if name in formats else _writer(table[name])
        return lambda value: "–" if pd.isna(value) else write(value)

    parts = parts_of(table)
    numeric = [name for name in table if table.columns.is_unique and table[name].dtype.kind == "f"]
    written = {name: writer(name) for name in dict.fromkeys([*numeric, *formats]) if name in table}
    formatters = written | {str(name): write for name, write in written.items()}  # names of parts are text
    body = "".join(
        part.to_html(index=not is_plain(table), formatters=formatters, classes="eolab-table", **LOOK)
        for part in parts
    )
    if table.empty:
        body = "<p>None.</p>"
    return f'<figure class="eolab-tablebox" style="margin:0 0 1em 0">{caption.html()}{body}</figure>'


# === Noise ===


def hide_deprecations() -> None:
    """Hide the deprecation warnings of libraries in this process, and show eolab's own as a sentence alone.

    Python hides the former by a filter, but the filters are not safe in threads: where two threads overlap in
    ``warnings.catch_warnings``, as pandas uses it to show deprecations for a moment, what was set for that
    moment stays for ever. So the warnings are stopped where they are written, once a process. Those of a
    notebook's own cells, which are no files, are written still.
    """
    if getattr(warnings.showwarning, "hides_deprecations", False):
        return
    show_sentences_alone()
    write = warnings.showwarning

    def showwarning(message: Any, category: type[Warning], filename: str, *place: Any, **more: Any) -> None:
        if not issubclass(category, DeprecationWarning | PendingDeprecationWarning) or not (
            Path(filename).is_file()
        ):
            write(message, category, filename, *place, **more)

    showwarning.hides_deprecations = True  # type: ignore[attr-defined]
    warnings.showwarning = showwarning


def hide_start_up_lines() -> None:
    """Keep what TensorFlow and CUDA write at start-up, red in JupyterLab, out of this kernel's outputs.

    They write it to the file of standard error, which ipykernel reads as a pipe; all else is passed on.
    """
    if not hasattr(sys.stderr, "watch_fd_thread") or _FILTERS:
        return
    passed_on, (reading, writing) = os.dup(2), os.pipe()

    def filter_lines() -> None:
        while found := os.read(reading, 2**16):
            lines = found.decode(errors="replace").splitlines(keepends=True)
            os.write(passed_on, "".join(line for line in lines if not NOISE.match(line)).encode())

    os.dup2(writing, 2)
    os.close(writing)
    _FILTERS.append(threading.Thread(target=filter_lines, daemon=True))
    _FILTERS[0].start()


def explain_errors(batch: bool) -> None:
    """Show a full disk, a folder that cannot be written and the like as one sentence in this notebook.

    Where somebody is in front of it, an interrupt and eolab's own errors are too; EOLAB_DEBUG=1 shows where
    these were raised.

    Args:
        batch: Whether nobody is.
    """
    if in_notebook():
        known = () if batch or os.environ.get("EOLAB_DEBUG") else (EolabError, KeyboardInterrupt)
        sys.modules["IPython"].get_ipython().set_custom_exc((OSError, MemoryError, *known), _show_error)


def _show_error(shell: Any, kind: type, error: BaseException, trace: Any, tb_offset: Any = None) -> None:
    """Show an error in one sentence, or with its traceback where the cause is not the system."""
    sentence = ""
    if isinstance(error, EolabError | KeyboardInterrupt):
        sentence = str(error) or INTERRUPTED
    elif said := system_error(error, names=False):
        kind, error, sentence = RunError, RunError(said), said
    if sentence:
        shown = sentence if isinstance(error, KeyboardInterrupt) else f"{kind.__name__}: {sentence}"
        error._render_traceback_ = lambda: [shown]  # type: ignore[attr-defined]
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
