"""Requests that wait are predicted together, in one thread: engines use all cores for a batch already."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import NamedTuple

import numpy as np

from eolab.prediction.engines import Inputs

Compute = Callable[[Inputs], np.ndarray]


class LateError(Exception):
    """A request was not done in time."""


class _Item(NamedTuple):
    inputs: dict[str, np.ndarray]
    done: Future[np.ndarray]

    @property
    def size(self) -> int:
        return len(next(iter(self.inputs.values())))

    @property
    def kind(self) -> dict[str, tuple[int, ...]]:
        """What must be equal of samples that are predicted together."""
        return {name: values.shape[1:] for name, values in self.inputs.items()}


class Joined:
    """Predicts what several threads ask for at the same time as one batch.

    It never waits for a batch to fill: what has come while the last one was computed is the next one.

    Args:
        compute: From arrays (N, …) to predictions (N, …).
        most: Samples of a batch.

    Attributes:
        batches: Batches so far.
        samples: Samples in them.
    """

    def __init__(self, compute: Compute, most: int = 16) -> None:
        self.compute, self.most = compute, most
        self.batches = self.samples = 0
        self._waiting: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._next: _Item | None = None  # taken from the queue, and left for the batch after
        self._thread = threading.Thread(target=self._work, name="predictions", daemon=True)
        self._thread.start()

    def __call__(self, inputs: Inputs, deadline: float) -> np.ndarray:
        """Return predictions (N, …).

        Args:
            inputs: Arrays (N, …) by name.
            deadline: When they must be done, of :func:`time.monotonic`.

        Raises:
            LateError: If they are not.
        """
        size, parts = len(next(iter(inputs.values()))), []
        for start in range(0, size, self.most):
            rows = slice(start, start + self.most)
            item = _Item({name: values[rows] for name, values in inputs.items()}, Future())
            self._waiting.put(item)
            try:
                parts.append(item.done.result(max(0.0, deadline - time.monotonic())))
            except TimeoutError:
                item.done.cancel()  # not computed any more, where that has not begun
                raise LateError from None
        return np.concatenate(parts)

    def close(self) -> None:
        """End the thread."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (items := self._batch()) is not None:
            running = [item for item in items if item.done.set_running_or_notify_cancel()]
            self._predict(running)

    def _batch(self) -> list[_Item] | None:
        """Return what waits, as long as it is alike and fits; None at the end."""
        first, self._next = self._next or self._waiting.get(), None
        if first is None:
            return None
        found, size = [first], first.size
        with contextlib.suppress(queue.Empty):
            while size < self.most:
                item = self._waiting.get_nowait()
                if item is None:
                    self._waiting.put(None)
                    break
                if item.kind != first.kind or size + item.size > self.most:
                    self._next = item
                    break
                found.append(item)
                size += item.size
        return found

    def _predict(self, items: list[_Item]) -> None:
        if not items:
            return
        names = items[0].inputs
        try:
            found = self.compute(
                {name: np.concatenate([item.inputs[name] for item in items]) for name in names}
            )
        except Exception as error:
            if len(items) == 1:
                items[0].done.set_exception(error)
                return
            for item in items:  # one of them is at fault: the others are not to suffer for it
                self._predict([item])
            return
        self.batches, self.samples = self.batches + 1, self.samples + len(found)
        ends = np.cumsum([item.size for item in items])[:-1]
        for item, part in zip(items, np.split(found, ends), strict=True):
            item.done.set_result(part)
