"""Writing a store part by part: resumable after a kill, refused when stale, and told about a full disk."""

import contextlib
import ctypes
import json
import multiprocessing
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core import files as disk
from eolab.core.errors import ParameterError, StoreError
from eolab.core.progress import stage, track
from eolab.data.store import digests, layout, statistics
from eolab.data.store.layout import ArraySpec
from eolab.data.store.planning import Part, Plan, check_part, column_digests, differences, make_plan
from eolab.data.store.reading import Store, open_store, table_bytes

Produce = Callable[[pd.DataFrame], Mapping[str, np.ndarray]]
WORKER = "eolab-store"  # begins the names of the threads that make parts
END_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux


def write_store(
    path: str | Path,
    table: pd.DataFrame,
    arrays: Mapping[str, ArraySpec],
    parts: str | Sequence[slice],
    produce: Produce,
    fingerprint: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    progress: bool = True,
    overwrite: bool = False,
    workers: int = 1,
    processes: bool = False,
) -> Store:
    """Write a store, or go on with one that was interrupted, or open it if it is there already.

    Memory holds as many parts as there are workers, and one that is written. A part counts once its samples
    are on the disk; after a kill the same call goes on with the first part that does not. Columns ``split``
    and ``fold`` and the metadata besides ``coords`` may differ from those of a finished store: they are
    updated in place.

    Args:
        path: Folder of the store.
        table: Sample table; its order is kept except that the rows of a part are brought together.
        arrays: Array specifications by name.
        parts: Column of the table that names each sample's part (a scene, a file), or slices of rows.
        produce: Makes the arrays of a part, each ``(rows, *shape)``, from the part's rows of the table.
        fingerprint: Inputs and parameters that the arrays depend on (see `fingerprint_files`).
        metadata: Further description; ``metadata["coords"]`` has the values of dims, such as
            ``{"time": ISO dates, "band": names}``.
        progress: Whether to show progress.
        overwrite: Whether to remove what is there and start anew.
        workers: Parts that are made at the same time, by threads; they are written in their order.
        processes: Whether several workers are processes, where the system is Linux: for a `produce` that
            runs Python rather than NumPy most of the time. What it changes in memory stays in its process.

    Raises:
        ParameterError: If there is no worker.
        StoreError: If a store of other inputs or parameters is there, another writer is at work, the disk is
            full, or `produce` returns something else than promised.
    """
    if workers < 1:
        raise ParameterError(f"workers is {workers}: expected 1 or more.")
    plan = make_plan(Path(path), table, arrays, parts, fingerprint, metadata or {})
    with disk.full_disk(plan.folder, plan.needed):
        plan.folder.mkdir(parents=True, exist_ok=True)
        _check_folder(plan.folder)
        (plan.folder / disk.LOCK_FILE).touch()
    with disk.lock(plan.folder):
        finished = (plan.folder / layout.STORE_FILE).is_file()
        started = finished or (plan.folder / layout.PLAN_FILE).is_file()
        if started and not overwrite:
            _check_identity(plan, layout.STORE_FILE if finished else layout.PLAN_FILE)
        if overwrite or not started:
            _start(plan)
        if overwrite or not finished:
            _write_parts(plan, produce, progress, workers, processes and sys.platform == "linux")
            _finish(plan)
        for name in (layout.JOURNAL_FILE, layout.PLAN_FILE):
            (plan.folder / name).unlink(missing_ok=True)
        for file in plan.folder.glob("*.tmp"):  # of a process that was killed
            file.unlink()
        store = open_store(plan.folder)
    return _updated(store, plan)


def _check_folder(folder: Path) -> None:
    """Refuse a folder that holds anything but a store: overwriting must not remove foreign files."""
    ours = {layout.STORE_FILE, layout.PLAN_FILE, disk.LOCK_FILE}
    names = {p.name for p in folder.iterdir()}
    if names and not names & ours:
        raise StoreError(f"{folder} is not empty and holds no sample store: choose another folder.")


def _check_identity(plan: Plan, file: str) -> None:
    """Refuse to go on with, or to open, a store that was made from something else."""
    found = layout.read_json(plan.folder / file)["identity"]
    changed = differences(found, plan.identity)
    if changed:
        more = f" and {len(changed) - 5} more" if len(changed) > 5 else ""
        raise StoreError(
            f"The store {plan.folder} was made from other inputs or parameters "
            f"({'; '.join(changed[:5])}{more}): run the notebook again with --force to replace it "
            "(write_store: overwrite=True), or choose another folder."
        )


def _own_files(plan: Plan) -> list[Path]:
    """Return the files of the store that is there and of the one that is planned, in the order of removal.

    A kill in between leaves a whole store, or one that starts anew.
    """
    arrays = set(plan.arrays)
    for name in (layout.PLAN_FILE, layout.STORE_FILE):
        with contextlib.suppress(StoreError):
            arrays |= set(layout.read_json(plan.folder / name)["arrays"])
    named = [layout.JOURNAL_FILE, layout.PLAN_FILE, layout.STORE_FILE, layout.TABLE_FILE]
    files = [plan.folder / name for name in named] + [layout.array_file(plan.folder, a) for a in arrays]
    return [file for file in files if file.is_file()] + list(plan.folder.glob("*.tmp"))


def _start(plan: Plan) -> None:
    """Reserve the space and write plan and table; without enough space, leave what was there."""
    old = _own_files(plan)
    room = disk.free_bytes(plan.folder) + sum(p.stat().st_blocks * 512 for p in old)
    if room < plan.needed:
        raise StoreError(
            f"The store {plan.folder} needs {plan.needed:,} bytes and {room:,} are free: "
            "make room, choose another folder, or take fewer samples; nothing was written."
        )
    for file in old:
        file.unlink()
    with disk.full_disk(plan.folder, plan.needed):
        try:
            for name, spec in plan.arrays.items():
                header = layout.npy_header(spec, len(plan.table))
                size = layout.file_bytes(spec, len(plan.table))
                disk.allocate(layout.array_file(plan.folder, name), header, size)
            disk.write_atomically(plan.folder / layout.PLAN_FILE, layout.to_json(plan.info()))
        except OSError:
            for file in _own_files(plan):
                file.unlink()
            raise


def _read_journal(plan: Plan) -> set[Part]:
    """Return the finished parts; a line that a kill or a full disk cut short is removed."""
    path = plan.folder / layout.JOURNAL_FILE
    if not path.exists():
        return set()
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        with path.open("r+b") as file:
            file.truncate(len(whole))
            disk.sync(file.fileno())
    try:
        done: set[Any] = {tuple(json.loads(line)) for line in whole.splitlines()}
    except (ValueError, TypeError):
        done = set()
    if not done <= set(plan.parts) or (whole and not done):
        raise StoreError(f"{path} does not fit the store's plan: {layout.REMEDY}.")
    return done


def _write_parts(plan: Plan, produce: Produce, progress: bool, workers: int, processes: bool) -> None:
    """Write the parts that the journal lacks."""
    for name, spec in plan.arrays.items():
        layout.check_array_file(plan.folder, name, spec, len(plan.table))
    table = table_bytes(plan.table, plan.folder)
    with disk.full_disk(plan.folder, plan.needed):
        disk.write_atomically(plan.folder / layout.TABLE_FILE, table)
    done = _read_journal(plan)
    left = [part for part in plan.parts if part not in done]
    with contextlib.closing(_produced(plan, left, produce, workers, processes)) as made:
        for part, produced in track(made, f"Writing {plan.folder.name}", len(left), "part", progress):
            if produced is not None:
                _write_arrays(plan, part, produced)
            _note(plan, part)


def _write_arrays(plan: Plan, part: Part, produced: Mapping[str, np.ndarray]) -> None:
    """Write the rows of a part."""
    check_part(plan, part, produced)
    with disk.full_disk(plan.folder, plan.needed):
        for array, spec in plan.arrays.items():
            _write_rows(plan, array, spec, part[1], produced[array])


def _note(plan: Plan, part: Part) -> None:
    """Write to the journal that the rows of a part are there."""
    with (
        disk.full_disk(plan.folder, plan.needed),
        (plan.folder / layout.JOURNAL_FILE).open("ab") as file,
    ):
        file.write(json.dumps(part).encode() + b"\n")
        file.flush()
        disk.sync(file.fileno())


def _produced(
    plan: Plan, parts: Sequence[Part], produce: Produce, workers: int, processes: bool
) -> Generator[tuple[Part, Mapping[str, np.ndarray] | None]]:
    """Yield each part with its arrays, in order; with several workers the next ones are made meanwhile.

    Processes write what they make: from them come parts without arrays.
    """
    make: Callable[[Part], Mapping[str, np.ndarray] | None] = partial(_make, plan, produce)
    if workers == 1:
        yield from ((part, make(part)) for part in parts)
        return
    pool: Executor = ThreadPoolExecutor(workers, thread_name_prefix=WORKER)
    if processes:
        forked = multiprocessing.get_context("fork")  # as `produce` may be of a notebook
        pool = ProcessPoolExecutor(workers, forked, _begin, (plan, produce))
        make = _make_and_write
    try:
        ahead: deque[tuple[Part, Future[Mapping[str, np.ndarray] | None]]] = deque()
        for part in parts:
            ahead.append((part, pool.submit(make, part)))
            if len(ahead) == workers + processes:  # one waits, so that no process does
                first, future = ahead.popleft()
                yield first, future.result()
        for first, future in ahead:
            yield first, future.result()
    except BrokenProcessPool:
        raise StoreError(
            f"A process that made parts of {plan.folder} was ended from outside, mostly as memory ran out: "
            "run again, with fewer workers; finished parts are kept."
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)  # where one failed, those that wait are not made any more


def _make(plan: Plan, produce: Produce, part: Part) -> Mapping[str, np.ndarray]:
    """Return the arrays of a part."""
    _, start, stop = part
    return produce(plan.table.iloc[start:stop].reset_index(drop=True))


_work: list[tuple[Plan, Produce]] = []  # in a process that makes parts: for which store, and how


def _begin(plan: Plan, produce: Produce) -> None:
    """Begin a process that makes parts: it ends with the one that started it, which gets all interrupts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGKILL)
    _work.append((plan, produce))


def _make_and_write(part: Part) -> None:
    """Make and write a part in a process begun for that."""
    plan, produce = _work[0]
    _write_arrays(plan, part, _make(plan, produce, part))


def _write_rows(plan: Plan, name: str, spec: ArraySpec, start: int, values: np.ndarray) -> None:
    """Write rows from `start` on and flush them; not by mapping: a full disk must be an error, no signal."""
    offset = len(layout.npy_header(spec, len(plan.table))) + start * layout.row_bytes(spec)
    with layout.array_file(plan.folder, name).open("r+b") as file:
        file.seek(offset)
        file.write(np.ascontiguousarray(values, spec.dtype).data.cast("B"))
        file.flush()
        disk.sync(file.fileno())


def _finish(plan: Plan) -> None:
    """Compute statistics and digests and mark the store as complete."""
    draft = Store(plan.folder, plan.info(statistics={}), plan.table)
    with stage(f"Statistics and digests of {plan.folder.name}"):
        info = plan.info(statistics=statistics.compute(draft, statistics.training_rows(draft)))
        info = digests.signed(plan.folder, info, [(plan.folder / layout.TABLE_FILE).read_bytes()])
    with disk.full_disk(plan.folder, plan.needed):
        disk.write_atomically(plan.folder / layout.STORE_FILE, layout.to_json(info))


def _updated(store: Store, plan: Plan) -> Store:
    """Bring split columns and metadata of a store that was there already to what was asked for."""
    there, wanted = (
        column_digests(table, [name for name in layout.SPLIT_COLUMNS if name in table])
        for table in (store.table, plan.table)
    )
    if there | wanted != there or store.metadata != plan.metadata:
        store.update({name: plan.table[name] for name in wanted}, plan.metadata)
    return store
