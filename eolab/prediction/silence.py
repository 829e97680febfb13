"""Silence for converters and runtimes that print to a notebook, in Python and in C++."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator

MAX_REASON = 400  # characters of a converter's own message


def reason(error: Exception) -> str:
    """Return the start of an error's own message in one line."""
    return " ".join(str(error).split())[:MAX_REASON]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what converters print, in Python and in C++, from the notebook; errors are raised all the same."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with (
            open(os.devnull, "w") as void,
            contextlib.redirect_stdout(void),
            contextlib.redirect_stderr(void),
            _stderr_of_libraries(void.fileno()),
        ):
            yield
    finally:
        logging.disable(level)


@contextlib.contextmanager
def _stderr_of_libraries(target: int) -> Iterator[None]:
    """Send file descriptors 1 and 2, which C++ writes to, elsewhere."""
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    saved = [os.dup(handle) for handle in (1, 2)]
    try:
        for handle in (1, 2):
            os.dup2(target, handle)
        yield
    finally:
        for handle, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, handle)
            os.close(copy)
