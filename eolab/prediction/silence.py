"""Converters and runtimes of other packages: silence in a notebook."""

import contextlib
import logging
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what converters print, in Python and in C++, from the notebook; errors are raised all the same."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream is not None:
            stream.flush()
    saved = [os.dup(handle) for handle in (1, 2)]  # file descriptors, which C++ writes to
    try:
        with (
            open(os.devnull, "w") as void,
            contextlib.redirect_stdout(void),
            contextlib.redirect_stderr(void),
        ):
            for handle in (1, 2):
                os.dup2(void.fileno(), handle)
            yield
    finally:
        for handle, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, handle)
            os.close(copy)
        logging.disable(level)


def start_backend() -> None:
    """Load Keras without what TensorFlow says about the machine when it starts and while it computes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        import keras

        keras.ops.zeros(1)
