"""What libraries write into a notebook that no reader needs: lines of C++ at start-up, warnings to developers."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")  # colours of a terminal
NOISE = re.compile(  # absl and glog lines, and what TensorFlow and CUDA say at start-up
    r"^(WARNING: All log messages before absl"
    r"|[IWEF]\d{4} \d\d:\d\d:\d+\.\d+"
    r"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWEF] "
    r"|To enable the following instructions:"
    r"|SKIPPING RUNTIME REGISTRATION)"
)


def hide_deprecations() -> None:
    """Hide the deprecation warnings of libraries in this process, whatever happens to the filters of warnings.

    Python hides them by a filter, but the filters are not safe in threads: where two threads overlap in
    ``warnings.catch_warnings``, as pandas uses it to show deprecations for a moment, what was set for that
    moment stays for ever. So the warnings are stopped where they are written, once a process. Those of a
    notebook's own cells, which are no files, are written still.
    """
    if getattr(warnings.showwarning, "hides_deprecations", False):
        return
    write = warnings.showwarning

    def showwarning(message: Any, category: type[Warning], filename: str, *place: Any, **more: Any) -> None:
        if not issubclass(category, DeprecationWarning | PendingDeprecationWarning) or not (
            Path(filename).is_file()
        ):
            write(message, category, filename, *place, **more)

    showwarning.hides_deprecations = True  # type: ignore[attr-defined]
    warnings.showwarning = showwarning
