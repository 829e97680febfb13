"""Progress of long work: a bar where somebody watches, plain lines where a log is kept."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TextIO, TypeVar

S = TypeVar("S")
T = TypeVar("T")

LINE_EVERY_S = 10.0
THREADS = 8
_TASK = 256  # items a task at most: one task each would cost more than short work


def track(
    iterable: Iterable[T],
    description: str,
    total: int | None = None,
    unit: str = "it",
    progress: bool = True,
) -> Iterator[T]:
    """Yield the items of an iterable and show how far the work is.

    A bar is drawn in a terminal and in a live notebook. In batch runs (``EOLAB_HEADLESS=1``) and where
    stderr is a file, plain lines such as ``composites: 40/200 (20 %), 1 min 20 s left`` are written instead,
    one every 10 s at most, so that logs and executed notebooks stay short.

    Args:
        iterable: What to go through.
        description: What is being done, in a few words.
        total: Number of items where ``len(iterable)`` does not say it.
        unit: What an item is, for the bar.
        progress: False to show nothing.

    Yields:
        The items, unchanged.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if not progress or total == 0:
        yield from iterable
    elif headless():
        yield from _plain(iterable, description, total)
    else:
        from tqdm.auto import tqdm

        yield from tqdm(iterable, desc=description, total=total, unit=unit, mininterval=0.5)


def in_threads(
    work: Callable[[S], T],
    items: Sequence[S],
    description: str,
    unit: str = "it",
    progress: bool = True,
    threads: int = THREADS,
) -> Generator[T, None, None]:
    """Yield what a function returns for each item, in order, with the progress shown.

    Args:
        work: A function that waits for the disk most of the time, so that threads help.
        items: The arguments of its calls.
        description: What is being done, in a few words.
        unit: What an item is, for the bar.
        progress: False to show nothing.
        threads: How many items are worked on at a time.
    """
    size = max(1, min(_TASK, len(items) // (8 * threads)))
    parts = [items[first : first + size] for first in range(0, len(items), size)]
    pool = ThreadPoolExecutor(threads)
    try:
        found = pool.map(lambda part: [work(item) for item in part], parts)
        flat = (result for part in found for result in part)
        yield from track(flat, description, len(items), unit, progress)
    finally:
        pool.shutdown(cancel_futures=True)  # a stop does not wait for items that have not begun


@contextlib.contextmanager
def stage(description: str, progress: bool = True) -> Iterator[None]:
    """Say every now and then that one long piece of work goes on, such as a fit that counts no steps.

    The first line comes after 10 s, each further one after twice the time; short work says nothing.

    Args:
        description: What is being done, in a few words.
        progress: False to say nothing.
    """
    start, done = time.monotonic(), threading.Event()

    def tell() -> None:
        pause = LINE_EVERY_S
        while not done.wait(pause):
            taken = duration(time.monotonic() - start)
            print(f"{description}: {taken} so far", file=sys.stderr, flush=True)
            pause *= 2

    teller = threading.Thread(target=tell, daemon=True)
    if progress:
        teller.start()
    try:
        yield
    finally:
        done.set()


class InPlace:
    """One output of a notebook's cell that is replaced as work goes on."""

    def __init__(self) -> None:
        self._shown: Any = None

    def show(self, text: str, markup: str = "") -> None:
        """Show a text, or markup where the front end knows it, in the place of what was shown before."""
        from IPython.display import display

        content = {"text/plain": text} | ({"text/html": markup} if markup else {})
        if self._shown is None:
            self._shown = display(content, raw=True, display_id=True)
        else:
            self._shown.update(content, raw=True)


def in_notebook() -> bool:
    """Return whether this is the kernel of a notebook."""
    return "IPython" in sys.modules and hasattr(sys.modules["IPython"].get_ipython(), "kernel")


def batch_run() -> bool:
    """Return whether a notebook runs without anybody in front of it: ``EOLAB_HEADLESS=1``."""
    return os.environ.get("EOLAB_HEADLESS") == "1"


def headless() -> bool:
    """Return whether nobody watches: a batch run, or stderr is neither a terminal nor a notebook."""
    return batch_run() or (not sys.stderr.isatty() and "ipykernel" not in sys.modules)


def duration(seconds: float) -> str:
    """Return a length of time for people: ``"7 s"``, ``"1 min 20 s"`` or ``"2 h 5 min"``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(seconds: float) -> str:
    """Return how long something is past, for people: ``"just now"``, ``"1 hour ago"`` or ``"3 days ago"``."""
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if count := int(seconds // size):
            return f"{count} {name}{'s' * (count > 1)} ago"
    return "just now"


def _plain(iterable: Iterable[T], description: str, total: int | None) -> Iterator[T]:
    """Write a line every now and then, and a last one if there was any."""
    stream: TextIO = sys.stderr
    start = last = time.monotonic()
    done = 0
    for item in iterable:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= LINE_EVERY_S and done != total:
            last = now
            print(_line(description, done, total, now - start), file=stream, flush=True)
    if last > start:
        taken = duration(time.monotonic() - start)
        print(f"{description}: {done} in {taken}", file=stream, flush=True)


def _line(description: str, done: int, total: int | None, elapsed_s: float) -> str:
    """Return one line of progress."""
    if not total:
        return f"{description}: {done}, {duration(elapsed_s)} so far"
    left_s = elapsed_s / done * max(total - done, 0)
    return f"{description}: {done}/{total} ({100 * done // total} %), {duration(left_s)} left"
