"""Writes a store again and again, killed at each flush to the disk in turn; run by a test.

Each attempt is a child process that ends by SIGKILL at its n-th flush; a second child goes on. The folders
must then hold the same bytes as those of an unbroken write, and no finished part was produced again.
"""

import json
import os
import signal
import sys
from pathlib import Path

import store_example

from eolab.core import files as disk
from eolab.data.store import layout


def child(folder: Path, log: Path, kill_at: int | None) -> int:
    """Write the store in a forked process; return its wait status.

    Nothing is flushed: what a process wrote outlives it, also if it is killed before the flush.
    """
    process = os.fork()
    if process:
        return os.waitpid(process, 0)[1]
    try:
        flushes = 0

        def counted(handle: int) -> None:
            nonlocal flushes
            flushes += 1
            if flushes == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

        def logged(rows):
            with log.open("a") as file:
                file.write(rows["part"].iloc[0] + "\n")
            return store_example.produce(rows)

        disk.sync = counted
        store_example.write(folder, produce=logged)
        os._exit(0)
    finally:
        os._exit(1)


def journalled(folder: Path) -> list[str]:
    """Return the parts in the journal's whole lines."""
    if (folder / layout.STORE_FILE).exists():
        return [f"scene{n}" for n in range(store_example.PARTS)]
    journal = folder / layout.JOURNAL_FILE
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    return [json.loads(line)[0] for line in lines]


def main(root: Path) -> None:
    """Kill at each flush in turn until a write needs fewer flushes; print how many there were."""
    assert child(root / "whole", root / "whole.log", None) == 0
    whole = store_example.contents(root / "whole")
    kills = 0
    for kill_at in range(1, 1000):
        folder, log = root / f"{kill_at}", root / f"{kill_at}.log"
        status = child(folder, log, kill_at)
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, status
        kills += 1
        finished = journalled(folder)
        before = log.read_text().split() if log.exists() else []
        assert child(folder, log, None) == 0, kill_at
        again = log.read_text().split()[len(before) :]
        assert not set(again) & set(finished), (kill_at, again, finished)
        assert set(again) | set(finished) == {f"scene{n}" for n in range(store_example.PARTS)}
        assert store_example.contents(folder) == whole, kill_at
    print(kills)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
