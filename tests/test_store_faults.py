"""The sample store under kills, full disks, torn journals and a second writer."""

import contextlib
import errno
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from store_example import ARRAYS, PARTS, contents, produce, table, write

from eolab.core import files as disk
from eolab.core.errors import StoreError
from eolab.core.files import LOCK_FILE
from eolab.data.store import ArraySpec, layout, open_store, writing

HERE = Path(__file__).parent


class Counted:
    """Counts the parts it produces and can fail at one."""

    def __init__(self, fail_at: int | None = None):
        self.parts: list[str] = []
        self.fail_at = fail_at

    def __call__(self, rows):
        if len(self.parts) == self.fail_at:
            raise KeyboardInterrupt
        self.parts.append(rows["part"].iloc[0])
        return produce(rows)


@pytest.fixture
def whole(tmp_path):
    return contents(write(tmp_path / "whole").path)


def interrupted(folder: Path, parts: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(folder, produce=Counted(fail_at=parts))


KILLING = """
import sys
from functools import partial
from pathlib import Path
import store_example, store_killing
store_example.PARTS = 3  # a first one, one between, a last one
store_example.write = partial(store_example.write, workers=int(sys.argv[2]))
store_killing.main(Path(sys.argv[1]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_at_every_flush_the_store_is_finished_unharmed(tmp_path, workers):
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    done = subprocess.run(
        [sys.executable, "-c", KILLING, tmp_path, str(workers)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    # 3 arrays, plan and table at the start; 3 arrays and the journal a part; store.json
    assert int(done.stdout) == 5 + 4 * 3 + 1


SLOW_WRITER = """
import sys, time
from pathlib import Path
import store_example
def produce(rows):
    with open(sys.argv[2], "a") as log:
        log.write(rows["part"].iloc[0] + "\\n")
    time.sleep(0.2)
    return store_example.produce(rows)
store_example.write(Path(sys.argv[1]), produce=produce, workers=int(sys.argv[3]))
"""


@pytest.mark.slow
def test_killed_from_outside_and_run_again(tmp_path, whole):
    folder, log = tmp_path / "store", tmp_path / "log"
    command = [sys.executable, "-c", SLOW_WRITER, folder, log, "1"]
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    process = subprocess.Popen(command, env=environment)
    while not (log.exists() and len(log.read_text().split()) == 2):  # inside the second part
        time.sleep(0.01)
    with pytest.raises(StoreError, match="Another process is writing"):
        write(folder)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    with pytest.raises(StoreError, match="unfinished: run what writes it again"):
        open_store(folder)
    subprocess.run(command, env=environment, check=True, timeout=60)
    assert log.read_text().split() == ["scene0", "scene1", "scene1", "scene2", "scene3"]
    assert contents(folder) == whole


@pytest.mark.slow
def test_killed_while_two_workers_make_parts_and_run_again(tmp_path, whole):
    folder, log = tmp_path / "store", tmp_path / "log"
    command = [sys.executable, "-c", SLOW_WRITER, folder, log, "2"]
    environment = os.environ | {"PYTHONPATH": str(HERE)}
    process = subprocess.Popen(command, env=environment)
    journal = folder / layout.JOURNAL_FILE
    while not (journal.exists() and b"\n" in journal.read_bytes()):  # the first part is written
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = [json.loads(line)[0] for line in journal.read_bytes().splitlines()]
    before = log.read_text().split()
    assert set(finished) < set(before)  # parts were being made that no journal knows
    subprocess.run(command, env=environment, check=True, timeout=60)
    again = log.read_text().split()[len(before) :]
    assert sorted(again) == [f"scene{n}" for n in range(PARTS) if f"scene{n}" not in finished]
    assert contents(folder) == whole


@pytest.mark.parametrize("workers", [2, 3])
def test_an_error_of_one_worker_stops_them_all_and_a_second_call_goes_on(tmp_path, whole, workers):

    def failing(rows):
        assert alive_workers()
        part = rows["part"].iloc[0]
        if part == "scene2":
            raise ValueError("scene2 cannot be made")
        return produce(rows)

    with pytest.raises(ValueError, match="scene2 cannot be made"):
        write(tmp_path / "store", produce=failing, workers=workers)
    assert not alive_workers()
    journal = (tmp_path / "store" / layout.JOURNAL_FILE).read_bytes().splitlines()
    assert [json.loads(line)[0] for line in journal] == ["scene0", "scene1"]
    rest = Counted()
    write(tmp_path / "store", produce=rest, workers=workers)
    assert sorted(rest.parts) == ["scene2", "scene3"]
    assert contents(tmp_path / "store") == whole


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_an_error_in_a_process_stops_them_all_and_a_second_call_goes_on(tmp_path, whole):

    def failing(rows):
        if rows["part"].iloc[0] == "scene2":
            raise StoreError("scene2 cannot be made")
        return produce(rows)

    others = multiprocessing.active_children()  # of a test before, such as workers of dask that are ending
    with pytest.raises(StoreError, match="scene2 cannot be made"):
        write(tmp_path / "store", produce=failing, workers=2, processes=True)
    assert not set(multiprocessing.active_children()) - set(others)
    journal = (tmp_path / "store" / layout.JOURNAL_FILE).read_bytes().splitlines()
    assert [json.loads(line)[0] for line in journal] == ["scene0", "scene1"]
    assert contents(write(tmp_path / "store", workers=2, processes=True).path) == whole


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_a_process_that_the_system_ends_is_said_in_a_sentence(tmp_path, whole):

    def ended(rows):
        if rows["part"].iloc[0] == "scene1":
            os.kill(os.getpid(), signal.SIGKILL)
        return produce(rows)

    with pytest.raises(StoreError, match=r"ended from outside.*run again, with fewer"):
        write(tmp_path / "store", produce=ended, workers=2, processes=True)
    assert contents(write(tmp_path / "store").path) == whole


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")
def test_processes_end_with_the_one_that_is_killed_and_leave_its_lock(tmp_path, whole):
    folder, log = tmp_path / "store", tmp_path / "log"
    log.touch()

    def waiting(rows):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        time.sleep(60)

    writer = os.fork()
    if not writer:
        write(folder, produce=waiting, workers=2, processes=True)
        os._exit(1)
    while len(log.read_text().split()) < 2:
        time.sleep(0.01)
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    made = [Path(f"/proc/{process}") for process in log.read_text().split()]
    while any(one.exists() and "(zombie)" not in (one / "status").read_text() for one in made):
        time.sleep(0.01)
    assert contents(write(folder).path) == whole


def alive_workers() -> list[str]:
    """Those of stores alone: other libraries keep pools of their own."""
    return [one.name for one in threading.enumerate() if one.name.startswith(writing.WORKER)]


def test_no_part_is_made_any_more_where_one_cannot_be_written(tmp_path, monkeypatch, whole):
    """Workers went on after the error, as long as its traceback was kept."""
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_write_rows", raising(errno.ENOSPC))
        with pytest.raises(StoreError, match=r"No space left.*run again") as caught:
            write(tmp_path / "store", workers=3, progress=True)
        assert caught.tb  # kept, as a notebook does
        assert not alive_workers()
    assert contents(write(tmp_path / "store", workers=3).path) == whole


def test_interrupted_by_the_user_it_goes_on_where_it_stopped(tmp_path, whole):
    interrupted(tmp_path / "store", 3)
    rest = Counted()
    write(tmp_path / "store", produce=rest)
    assert rest.parts == ["scene3"]
    assert contents(tmp_path / "store") == whole


@pytest.mark.parametrize("torn", [b'["scene2", 20', b'["scene2", 20, 30]'])
def test_half_a_journal_line_is_no_part(tmp_path, whole, torn):
    interrupted(tmp_path / "store", 2)
    with (tmp_path / "store" / layout.JOURNAL_FILE).open("ab") as journal:
        journal.write(torn)
    rest = Counted()
    write(tmp_path / "store", produce=rest)
    assert rest.parts == ["scene2", "scene3"]
    assert contents(tmp_path / "store") == whole


@pytest.mark.parametrize("line", [b'["scene9", 0, 10]\n', b"nonsense\n", b"5\n"])
def test_a_journal_of_something_else_is_refused(tmp_path, line):
    interrupted(tmp_path / "store", 1)
    (tmp_path / "store" / layout.JOURNAL_FILE).write_bytes(line)
    with pytest.raises(StoreError, match="does not fit the store's plan"):
        write(tmp_path / "store")


def test_an_unfinished_store_of_other_inputs_is_refused(tmp_path):
    interrupted(tmp_path / "store", 1)
    before = contents(tmp_path / "store")
    with pytest.raises(StoreError, match=r"fingerprint.scene: .nothing. → 'other'"):
        write(tmp_path / "store", fingerprint={"scene": "other"})
    assert contents(tmp_path / "store") == before


def test_an_unfinished_store_that_lost_an_array_is_refused(tmp_path):
    interrupted(tmp_path / "store", 2)
    (tmp_path / "store" / "image.npy").unlink()
    with pytest.raises(StoreError, match=r"image.npy is missing"):
        write(tmp_path / "store")


def test_data_are_flushed_before_the_journal_says_so(tmp_path, monkeypatch):
    flushed: list[str] = []
    sync = disk.sync

    def recorded(handle):
        flushed.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        sync(handle)

    monkeypatch.setattr(disk, "sync", recorded)
    write(tmp_path / "store")
    parts = "\n".join(flushed).split(layout.JOURNAL_FILE)
    assert len(parts) == PARTS + 1
    assert all({f"{name}.npy" for name in ARRAYS} <= set(part.split()) for part in parts[:-1])
    assert parts[-1].split() == [f"{layout.STORE_FILE}.{os.getpid()}.{threading.get_ident()}.tmp"]


def test_a_second_writer_is_refused(tmp_path, whole):
    def second(rows):
        with pytest.raises(StoreError, match="Another process is writing the store"):
            write(tmp_path / "store")
        return produce(rows)

    write(tmp_path / "store", produce=second)
    assert contents(tmp_path / "store") == whole


def test_a_store_too_big_for_the_disk_is_refused_before_any_write(tmp_path, monkeypatch):
    old = contents(write(tmp_path / "store").path)
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 10)
    with pytest.raises(StoreError, match=r"needs [\d,]+ bytes and [\d,]+ are free.*nothing was written"):
        write(
            tmp_path / "store", overwrite=True, arrays={"image": ArraySpec(("y",), (1 << 20,))}, metadata={}
        )
    assert contents(tmp_path / "store") == old


def raising(number: int, text: str = "told by a test"):
    def call(*args):
        raise OSError(number, text)

    return call


def test_space_that_cannot_be_reserved_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "posix_fallocate", raising(errno.ENOSPC))
    with pytest.raises(StoreError, match="No space left for the store"):
        write(tmp_path / "store")
    assert set(contents(tmp_path / "store")) == {LOCK_FILE}


def test_a_file_system_that_reserves_no_space_still_works(tmp_path, monkeypatch, whole):
    monkeypatch.setattr(os, "posix_fallocate", raising(errno.EOPNOTSUPP))
    assert contents(write(tmp_path / "store").path) == whole


@pytest.mark.parametrize("file", [layout.PLAN_FILE, layout.TABLE_FILE, layout.STORE_FILE, "part"])
def test_a_disk_that_fills_up_meanwhile_can_be_emptied_and_written_on(tmp_path, monkeypatch, whole, file):
    atomic, counted = disk.write_atomically, Counted()

    def full(path, *rest):
        if path.name == file:
            raise OSError(errno.ENOSPC, "full")
        return atomic(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(disk, "write_atomically", full)
        if file == "part":
            patch.setattr(writing, "_write_rows", raising(errno.ENOSPC))
        with pytest.raises(StoreError, match=r"No space left.*run again"):
            write(tmp_path / "store", produce=counted)
    write(tmp_path / "store", produce=counted)
    assert len(counted.parts) == PARTS + (file == "part")
    assert contents(tmp_path / "store") == whole


def test_an_error_of_the_producer_keeps_its_name(tmp_path):
    with pytest.raises(OSError, match="elsewhere"):
        write(tmp_path / "store", produce=raising(errno.ENOSPC, "elsewhere"))


# ---- a disk that is really small ----


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_real_full_disk_big_store(small_disk, monkeypatch):
    old = contents(write(small_disk / "store").path)
    big = {"arrays": {"image": ArraySpec(("y",), (20_000,))}, "metadata": {}}
    with pytest.raises(StoreError, match=r"needs 3,.* bytes and [12],.* are free"):
        write(small_disk / "store", overwrite=True, **big)
    assert contents(small_disk / "store") == old
    monkeypatch.setattr(disk, "free_bytes", lambda folder: 1 << 30)  # so that reserving itself must fail
    with pytest.raises(StoreError, match="No space left for the store"):
        write(small_disk / "other", **big)
    assert set(contents(small_disk / "other")) == {LOCK_FILE}
    assert contents(small_disk / "store") == old


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_real_full_disk_at_the_journal(small_disk, whole):
    ballast = small_disk / "ballast"
    calls = []

    def filling(rows):
        calls.append(rows["part"].iloc[0])
        if len(calls) == 1:
            fill(ballast)
        return produce(rows)

    with pytest.raises(StoreError, match=r"No space left.*make room and run again"):
        write(small_disk / "store", produce=filling)
    ballast.unlink()
    write(small_disk / "store", produce=filling)
    assert contents(small_disk / "store") == whole


def test_real_full_disk_at_a_new_split(small_disk):
    store = write(small_disk / "store")
    before = contents(store.path)
    fill(small_disk / "ballast")
    with pytest.raises(StoreError, match="No space left"):
        store.update({"split": np.where(table()["number"] < 5, "train", "test")})
    assert contents(store.path) == before
    assert store.table["split"].tolist() == open_store(store.path).table["split"].tolist()
