"""Patches of BigEarthNet: conversion to the store and batches from it, beside torchgeo's loader of the files.

    python benchmarks/patch_loading.py --torchgeo-python <python of torchgeo's environment>
    python benchmarks/patch_loading.py --memory

A twin of version 1 is written, uncompressed as the published files are. torchgeo reads it file by file in an
environment of its own; without one, eolab is measured alone:

    python -m venv <folder> && <folder>/bin/pip install torchgeo requests

Conversion is timed from the files to the finished store: index, reading, writing, statistics. The notebook
`scenes/02_preprocess` also takes the files' fingerprint, which reads each of them once more; it has a row of
its own. torchgeo brings bands to 10 m bilinearly, the notebook by nearest neighbour unless told otherwise;
both are measured, and the bilinear store must hold the pixels and labels that torchgeo gives: bands of 10 m
to the digit, others up to rounding. torchgeo's batches are float32, ours uint16, which the networks take.
Several workers are processes; one worker is the process itself, with one thread. Their processor time counts
as well.

Rates are patches a second of wall time and of processor time, medians of some rounds after a warm-up, in
which all take turns; the second is the fairer one on a machine that others use. All files are in the page
cache; a conversion waits for the disk after each part, so the first depends on the disk too.

With `--memory`, patches are linked under new names to as many as wanted; one process makes their index, one
the index and the store, and one reads an epoch from disk. Memory is the peak above that of the imports: all,
and beside it what is the process's own, without the pages of mapped files. The last lines say what a patch
more needs, where an image has 346 kB. The largest store takes that much a patch of the disk, for a while. It
reads Linux's /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["EOLAB_CACHE"] = os.devnull  # nothing is remembered but where it is measured

import numpy as np
import pandas as pd
from sequence_preprocessing import peaks

from eolab.data import store
from eolab.data.layouts import bigearthnet_v1
from eolab.data.layouts.bigearthnet import BANDS, size_of
from eolab.data.store import Store
from eolab.studies import scenes

TORCHGEO = "torchgeo's loader"
METHODS = ("nearest", "bilinear")  # the notebook's default, and torchgeo's
ROUNDING = 1.0  # digital numbers by which resampled bands may differ
Facts = dict[str, float]
Taken = tuple[float, float]  # seconds of wall time and of processor time


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--torchgeo-python", type=Path, help="python of the environment that has torchgeo")
    parser.add_argument("--patches", type=int, default=400, help="patches of the twin, 40 or more")
    parser.add_argument("--workers", type=int, default=2, help="of the conversion and of torchgeo's loader")
    parser.add_argument("--batch", type=int, default=32, help="patches a batch")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--checked", type=int, default=32, help="patches compared pixel by pixel")
    parser.add_argument("--folder", type=Path, help="where twin and stores go for a while")
    parser.add_argument(
        "--memory",
        type=int,
        nargs="*",
        metavar="PATCHES",
        help="measure memory instead, for these numbers of patches (default 1000 20000)",
    )
    parser.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args()


def write_twin(folder: Path, patches: int) -> Path:
    from eolab.synthetic import bigearthnet

    how = {"radar": False, "faults": 0, "progress": False}
    return bigearthnet.write(folder, version=1, patches=patches, **how)


def read_index(root: Path) -> pd.DataFrame:
    return scenes.sample_table(bigearthnet_v1.index(root, progress=False), root)


def convert(root: Path, out: Path, method: str, workers: int, table: pd.DataFrame | None = None) -> Store:
    """Write the store as the notebook does, but for the fingerprint."""
    return store.write_store(
        out,
        read_index(root) if table is None else table,
        scenes.store_arrays(),
        "part",
        produce=scenes.sample_producer(root, method),
        fingerprint={"resampling": method},
        metadata={"coords": {"band": list(BANDS)}, "simulated": True},
        progress=False,
        workers=workers,
        processes=True,
    )


def batches_of(samples: Store, options: argparse.Namespace, in_memory: bool) -> Any:
    """Return batches as a network is trained on."""
    from eolab import tasks
    from eolab.training.batches import Batches, StoreSamples

    bands = tasks.select(samples, np.arange(len(samples)))
    stored = StoreSamples(
        samples,
        inputs=("image",),
        channels={"image": bands},
        in_memory=in_memory,
    )
    return Batches(stored, options.batch, shuffle=True, ignore="none")


def epochs(batches: Any) -> Callable[[], int]:
    """Return the function that reads the next epoch and says how many patches it had."""

    def run() -> int:
        batches.at_epoch(batches.epoch + 1)
        patches = 0
        for index in range(batches.num_batches):
            batch = batches[index]  # the one before is still held, as in training
            patches += len(batch[0]["image"])
        return patches

    return run


def processor_s() -> float:
    """Return the processor time of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def timed(run: Callable[[], Any]) -> Taken:
    wall, processor = time.perf_counter(), processor_s()
    run()
    return time.perf_counter() - wall, processor_s() - processor


class Torchgeo:
    """torchgeo's loader in a process of its own.

    Args:
        python: The environment's.
        root: Folder of the twin.
        folder: Where lists, links and samples for the comparison go.
        table: Patches, in the order of the list.
        options: Workers, batch size and number of patches to compare.
    """

    def __init__(
        self, python: Path, root: Path, folder: Path, table: pd.DataFrame, options: argparse.Namespace
    ) -> None:
        lay_out(root, folder, table)
        self.samples = folder / "samples.npz"
        checked = min(options.checked, len(table))
        given = (folder, options.workers, options.batch, self.samples, checked)
        program = Path(__file__).with_name("torchgeo_loader.py")
        self.process = subprocess.Popen(
            [str(python), str(program), *map(str, given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.facts = self._read()

    def epoch(self) -> Taken:
        """Read an epoch; return what it took."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        found = self._read()
        return found["wall"], found["processor"]

    def close(self) -> None:
        """End the process."""
        self.process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit("torchgeo's loader has stopped; what it said is above.")
        return json.loads(line)


def lay_out(root: Path, folder: Path, table: pd.DataFrame) -> None:
    """Link the files and write the lists where torchgeo wants them."""
    folder.mkdir()
    (folder / "BigEarthNet-v1.0").symlink_to(root / "BigEarthNet-v1.0")
    lines = "".join(f"{name},none\n" for name in table["patch"])
    for split in ("train", "val", "test"):
        (folder / f"bigearthnet-{split}.csv").write_text(lines)


@contextmanager
def torchgeo(
    root: Path, folder: Path, table: pd.DataFrame, options: argparse.Namespace
) -> Iterator[Torchgeo | None]:
    """Give torchgeo's loader, None where there is none."""
    if options.torchgeo_python is None:
        print("torchgeo is missing (--torchgeo-python): eolab is measured alone.")
        yield None
        return
    loader = Torchgeo(options.torchgeo_python, root, folder / "torchgeo", table, options)
    try:
        yield loader
    finally:
        loader.close()


def check(samples: Store, file: Path) -> None:
    """Stop where store and torchgeo do not hold the same patches."""
    given = np.load(file)
    count = len(given["image"])
    image = given["image"].transpose(0, 2, 3, 1)  # (N, y, x, band)
    ours = samples.gather(np.arange(count))
    off = np.abs(image - ours["image"].astype(np.float32)).max((0, 1, 2))
    side = np.array([size_of(band) for band in BANDS])
    exact, coarse = off[side == side.max()], off[side < side.max()]
    print(
        f"{count} patches compared with torchgeo's, digital numbers around {ours['image'].mean():,.0f}: "
        f"largest difference {exact.max():g} in bands of 10 m, {coarse.max():g} in bands of 20 and 60 m "
        "(both resampled bilinearly)."
    )
    if exact.any() or coarse.max() > ROUNDING or not np.array_equal(given["label"], ours["label"]):
        sys.exit("The two do not give the same pixels and labels.")


def measure(root: Path, folder: Path, options: argparse.Namespace) -> tuple[dict[str, Taken], int]:
    """Return the medians of each way, and how many patches each of them reads."""
    table = read_index(root)
    kept = {name: convert(root, folder / f"kept-{name}", name, options.workers) for name in METHODS}
    held = {"store, batches from RAM": True, "store, batches from disk": False}
    read = {name: epochs(batches_of(kept["bilinear"], options, where)) for name, where in held.items()}
    place = folder / "store"
    runs: dict[str, Callable[[], Taken]] = {}
    with torchgeo(root, folder, table, options) as loader:
        if loader is not None:
            check(kept["bilinear"], loader.samples)
            print(f"torchgeo {loader.facts['torchgeo']}, PyTorch {loader.facts['torch']}")
            runs[TORCHGEO] = loader.epoch
        for name in METHODS:
            runs[f"conversion, {name}"] = lambda name=name: timed(
                lambda: convert(root, place, name, options.workers)
            )
        runs["… without the index"] = lambda: timed(
            lambda: convert(root, place, METHODS[-1], options.workers, table)
        )
        runs["fingerprint of the files"] = lambda: timed(lambda: store.fingerprint_files(root))
        runs["… remembered"] = lambda: remembered(place, lambda: store.fingerprint_files(root))
        runs["index, remembered"] = lambda: remembered(place, lambda: read_index(root))
        for name, run in read.items():
            runs[name] = lambda run=run: timed(run)
        return medians(runs, place, options.rounds), len(table)


def remembered(place: Path, work: Callable[[], Any]) -> Taken:
    """Return what a second call takes, after one that leaves what it found in the cache."""
    os.environ["EOLAB_CACHE"] = str(place / "cache")
    try:
        work()
        return timed(work)
    finally:
        os.environ["EOLAB_CACHE"] = os.devnull


def medians(runs: dict[str, Callable[[], Taken]], place: Path, rounds: int) -> dict[str, Taken]:
    """Return the median of each way over rounds in which all take turns, in an order drawn for each."""
    taken: dict[str, list[Taken]] = {name: [] for name in runs}
    rng = np.random.default_rng(0)
    for turn in range(rounds + 1):
        for name in map(str, rng.permutation(list(runs))):  # what ran before leaves its traces
            spent = runs[name]()
            taken[name].extend([spent] if turn else [])
            shutil.rmtree(place, ignore_errors=True)
    return {
        name: (statistics.median(wall for wall, _ in times), statistics.median(cpu for _, cpu in times))
        for name, times in taken.items()
    }


def report(found: dict[str, Taken], patches: int, options: argparse.Namespace) -> None:
    """Print patches a second and ratios to torchgeo."""
    base = found.get(TORCHGEO, (np.nan, np.nan))
    print(
        f"{patches} patches, {options.workers} workers, batches of {options.batch}, "
        f"medians of {options.rounds} rounds, load {os.getloadavg()[0]:.1f}"
    )
    print(f"{'patches/s':26} {'wall':>9} {'× torchgeo':>11} {'processor':>10} {'× torchgeo':>11}")
    for name, (wall, processor) in found.items():
        print(
            f"{name:26} {patches / wall:9,.0f} {base[0] / wall:11.2f} {patches / processor:10,.0f} "
            f"{base[1] / processor:11.2f}"
        )


def link(root: Path, table: pd.DataFrame, folder: Path, count: int) -> None:
    """Make a data set of that many patches out of few, by hard links under new names."""
    for number in range(count):
        source = root / table["s2"].iloc[number % len(table)]
        target = folder / source.parent.name / f"{source.name}{number // len(table):04d}"
        target.mkdir(parents=True)
        for file in source.iterdir():
            os.link(file, target / file.name.replace(source.name, target.name))


def memory(what: str, root: Path, place: Path, options: argparse.Namespace) -> Facts:
    """Do one thing in this process; return patches, seconds and peaks in MB."""
    steps: dict[str, Callable[[], int]] = {
        "index": lambda: len(read_index(root)),
        "conversion": lambda: len(convert(root, place, METHODS[0], workers=1)),  # others hold as much each
        "batches": lambda: epochs(batches_of(store.open_store(place), options, in_memory=False))(),
    }
    if what == "batches":
        import eolab.tasks.engine  # noqa: F401  # so that TensorFlow counts as an import
    with peaks() as found:
        start = time.perf_counter()
        count = steps[what]()
        seconds = time.perf_counter() - start
    return {"patches": count, "seconds": seconds, **found}


def fresh(*only: object) -> Facts:
    """Measure something in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", *map(str, only)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def memories(root: Path, folder: Path, counts: list[int]) -> None:
    """Print the memory of each number of patches, and what more of them need."""
    table = read_index(root)
    print(f"{'patches':>8} {'what':12} {'patches/s':>10} {'peak MB':>8} {'own MB':>8}", flush=True)
    rows = []
    for count in counts:
        with tempfile.TemporaryDirectory(dir=folder) as name:
            linked, place = Path(name) / "patches", Path(name) / "store"
            link(root, table, linked, count)
            for what in ("index", "conversion", "batches"):
                found = fresh(what, linked, place)
                rows.append({"what": what, **found})
                print(
                    f"{found['patches']:8,} {what:12} {found['patches'] / found['seconds']:10,.0f} "
                    f"{found['peak_mb']:8,.0f} {found['own_mb']:8,.0f}",
                    flush=True,
                )
    for what, group in pd.DataFrame(rows).groupby("what", sort=False):
        few, many = group.iloc[0], group.iloc[-1]
        more = 1e3 * (many.own_mb - few.own_mb) / max(many.patches - few.patches, 1)
        print(
            f"{what}: {many.patches / few.patches:.0f} times the patches, "
            f"{many.peak_mb / few.peak_mb:.2f} times the peak, {many.own_mb / few.own_mb:.2f} times its own "
            f"memory: {more:.1f} kB for a patch more"
        )
    print(f"load {os.getloadavg()[0]:.1f}")


def main() -> None:
    options = arguments()
    if options.only:
        what, root, place = options.only
        print(json.dumps(memory(what, Path(root), Path(place), options)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        root = write_twin(folder / "twin", options.patches)
        if options.memory is not None:
            memories(root, folder, options.memory or [1000, 20_000])
        else:
            report(*measure(root, folder, options), options)


if __name__ == "__main__":
    main()
