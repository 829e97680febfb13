"""Time and memory of the fingerprint of a data set with millions of files: first, listed again, in a command.

Small files are written and listed for the time that the disk takes, beside a plain walk with ``os.scandir``.
Then a listing of full length is made up, that of BigEarthNet's 590,326 patches with twelve bands and labels
each, so that neither the disk nor reading counts: what remains is the work of the fingerprint itself.

Usage: python benchmarks/fingerprints.py [--patches 590326] [--written 5000]
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from eolab.data import fingerprints

FILES = 13  # of a patch: twelve bands and the labels


def names(patches: int) -> Iterator[fingerprints.Listed]:
    """Yield the listing of so many patches, in order."""
    for patch in range(patches):
        folder = f"BigEarthNet-v1.0/S2A_MSIL2A_20170613T101031_{patch:07d}"
        for file in range(FILES):
            yield f"{folder}/B{file:02d}.tif", 20_000, 1_500_000_000_000_000_000 + patch


def timed(title: str, files: int, work: Callable[[], Any]) -> None:
    """Run some work and print its time, for each file too, and the peak memory of the process."""
    start, used = time.perf_counter(), time.process_time()
    work()
    seconds, used = time.perf_counter() - start, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    speed = f"{1e6 * seconds / files:8.1f} µs a file"
    print(f"{title:<45} {seconds:8.1f} s {used:8.1f} s CPU {speed} {peak:7.0f} MB")


def walk(folder: Path) -> int:
    """Return the number of files below a folder, each asked for its size."""
    count = 0
    for entry in os.scandir(folder):
        count += walk(Path(entry.path)) if entry.is_dir() else bool(entry.stat().st_size + 1)
    return count


def main() -> None:
    """Measure written files, then a listing that is made up."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=590_326, help="patches of the made-up listing")
    parser.add_argument("--written", type=int, default=5_000, help="patches of empty files that are written")
    options = parser.parse_args()
    os.environ["EOLAB_HEADLESS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EOLAB_CACHE"] = f"{folder}/cache"
        data = Path(folder) / "data"
        for name, *_ in names(options.written):
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).touch()
        time.sleep(2.1)  # files that have just changed are read again
        files = options.written * FILES
        print(f"{files:,} empty files")
        timed("plain walk", files, lambda: walk(data))
        timed("fingerprint, first", files, lambda: fingerprints.take(data, progress=False))
        timed("fingerprint, unchanged", files, lambda: fingerprints.take(data, progress=False))
        files = options.patches * FILES
        print(f"{files:,} files that are made up")
        fingerprints._files = lambda path: names(options.patches)
        fingerprints._of_file = lambda path: "0" * 32
        timed("fingerprint, first", files, lambda: fingerprints.take(folder))
        kept = max(file.stat().st_size for file in Path(folder, "cache").iterdir())
        timed("fingerprint, unchanged", files, lambda: fingerprints.take(folder))
        os.environ["EOLAB_LISTED_SINCE"] = "1"
        timed("fingerprint, listed by this command before", files, lambda: fingerprints.take(folder))
        print(f"remembered in {kept / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
