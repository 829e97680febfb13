"""Preprocessing of image sequences of two sensors: images a second and peak memory, for few and for many.

Twins are written, then each way runs in a process of its own: the steps of `notebooks/flood/02_preprocess`
with one worker and with two, and what one would do at first, all images of tifffile in one dictionary. Both
read VH, red, green and blue. The dictionary does less: it checks nothing, brings no image to another size,
computes no decibels and is gone with its process. Memory is the peak above that of the imports: all, and
beside it what is the process's own, without the pages of mapped files that the system takes back when it
needs them. Rates are images a second, of wall time by step and in all, and of processor time, the fairer one
on a machine that others use. Ratios are to the dictionary of as many sequences; the last lines say what more
sequences need. It reads Linux's /proc.

    python benchmarks/sequence_preprocessing.py --sequences 10 100 --size 128
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

CHANNELS = {"S1": ("VH",), "S2": ("B04", "B03", "B02")}
WORKERS = (1, 2)
DICTIONARY = "dictionary"
EVERY_S = 0.01
Facts = dict[str, float]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sequences", type=int, nargs="+", default=[10, 100], help="sequences of each twin")
    parser.add_argument("--size", type=int, default=128, help="side of the images in pixels, 48 to 512")
    parser.add_argument("--folder", type=Path, help="where twins and stores go for a while")
    parser.add_argument("--repeat", type=int, default=1, help="runs of each way; the median counts")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    return parser.parse_args()


def write_twin(folder: Path, sequences: int, size: int) -> None:
    from eolab.synthetic import sen12flood

    test = min(sequences // 3, 100)
    sen12flood.write(folder, train=sequences - test, test=test, size=size, progress=False)


def memory_mb() -> dict[str, float]:
    """Return the memory of this process: all, its peak so far, and what are no pages of mapped files."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    kib = {parts[0]: float(parts[1]) for parts in lines if parts[0] in ("VmRSS:", "VmHWM:", "RssAnon:")}
    return {"all": kib["VmRSS:"] / 1024, "peak": kib["VmHWM:"] / 1024, "own": kib["RssAnon:"] / 1024}


def give_back() -> None:
    """Return to the system what imports have freed, else the first arrays would seem to take no memory."""
    gc.collect()
    with suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(0)


@contextmanager
def peaks() -> Iterator[Facts]:
    """Give the peaks of this process in MB above its start, once the block is left; "own" is sampled."""
    give_back()
    start, found, done = memory_mb(), {"peak_mb": 0.0, "own_mb": 0.0}, threading.Event()

    def look() -> None:
        found["own_mb"] = max(found["own_mb"], memory_mb()["own"] - start["own"])

    def watch() -> None:
        while not done.wait(EVERY_S):
            look()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        look()
        done.set()
        watcher.join()
        found["peak_mb"] = memory_mb()["peak"] - start["all"]


def preprocess(root: Path, out: Path, size: int, workers: int) -> Callable[[], Facts]:
    """Return the steps of the notebook: check, split, both stores, the numbers of each image."""
    from eolab.data import catalog, store
    from eolab.data.layouts import sen12flood
    from eolab.studies import flood

    entry = catalog.DataEntry("twin", str(root), "sen12flood", root / "twin.json", root)
    sensors: dict[str, Any] = {
        "S1": flood.samples.Radar(CHANNELS["S1"]),
        "S2": flood.samples.Optical(CHANNELS["S2"]),
    }

    def run() -> Facts:
        times = [time.perf_counter()]
        images = sen12flood.index(root)
        report = entry.check(progress=False)
        times.append(time.perf_counter())
        tables = {
            name: flood.sample_table(images, report.files, root, sensor) for name, sensor in sensors.items()
        }
        split = flood.samples.sequence_splits(tables.values(), seed=0)
        stores = {
            name: store.write_store(
                out / name,
                tables[name].assign(split=tables[name]["sequence"].map(split)),
                flood.store_arrays(sensor, (size, size)),
                "sequence",
                produce=flood.sample_producer(root, images, sensor, (size, size)),
                fingerprint={"data": store.fingerprint_files(root), "channels": repr(sensor)},
                metadata=flood.store_metadata(entry, sensor),
                progress=False,
                workers=workers,
            )
            for name, sensor in sensors.items()
        }
        times.append(time.perf_counter())
        for name, one in stores.items():
            flood.samples.image_table(one, progress=False).to_parquet(
                out / f"images_{name}.parquet", index=False
            )
        times.append(time.perf_counter())
        check, write, numbers = (b - a for a, b in pairwise(times))
        kept = sum(len(one) for one in stores.values())
        return {"images": kept, "check_s": check, "write_s": write, "numbers_s": numbers}

    return run


def dictionary(root: Path) -> Callable[[], Facts]:
    """Return what one would write at first: each image of each sequence in one dictionary."""
    import numpy as np
    import tifffile

    suffixes = {"S1": [f"_corrected_{c}.tif" for c in CHANNELS["S1"]]}
    suffixes["S2"] = [f"_{c}.tif" for c in CHANNELS["S2"]]

    def run() -> Facts:
        start = time.perf_counter()
        images: dict[tuple[str, str, str], np.ndarray] = {}
        for sensor, endings in suffixes.items():
            for sequence, block in json.loads((root / f"{sensor}list.json").read_text()).items():
                for entry in block.values():
                    if not isinstance(entry, dict) or "filename" not in entry:
                        continue
                    files = [root / sequence / f"{entry['filename']}{ending}" for ending in endings]
                    try:
                        bands = [tifffile.imread(file) for file in files]
                    except Exception:  # a file that is missing or cut short
                        continue
                    images[sensor, sequence, entry["filename"]] = np.stack(bands, -1).astype(np.float32)
        return {"images": len(images), "check_s": float("nan"), "write_s": time.perf_counter() - start}

    return run


def measure(way: str, root: Path, size: int) -> Facts:
    """Run a way in this process; return images, seconds and peaks."""
    with tempfile.TemporaryDirectory(dir=root.parent) as out:
        run = dictionary(root) if way == DICTIONARY else preprocess(root, Path(out), size, int(way))
        wall, processor = time.perf_counter(), time.process_time()
        with peaks() as found:
            facts = run()
        spent = {"seconds": time.perf_counter() - wall, "processor_s": time.process_time() - processor}
        return {**facts, **found, **spent}


def fresh(*only: object) -> str:
    """Do something in a process of its own; return what it printed."""
    command = [sys.executable, __file__, *sys.argv[1:], "--only", ":".join(map(str, only))]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def compare(folder: Path, options: argparse.Namespace) -> pd.DataFrame:
    """Return a row a way and number of sequences."""
    rows = []
    for sequences in options.sequences:
        root = folder / f"twin_{sequences}"
        fresh("twin", root, sequences)
        for way in (DICTIONARY, *map(str, WORKERS)):
            runs = pd.DataFrame([json.loads(fresh(way, root)) for _ in range(options.repeat)])
            name = way if way == DICTIONARY else f"workers={way}"
            rows.append({"sequences": sequences, "way": name, **runs.median().to_dict()})
    return pd.DataFrame(rows)


def report(table: pd.DataFrame, options: argparse.Namespace) -> None:
    """Print rates, memory and ratios of each way, then what more sequences need."""
    base = table[table["way"] == DICTIONARY].set_index("sequences")
    rate, held = base["images"] / base["processor_s"], base["peak_mb"]
    print(f"images of {options.size} x {options.size} pixels, load {os.getloadavg()[0]:.1f}")
    columns = ("check/s", "stores/s", "all/s", "all/CPU s", "× dict.", "peak MB", "own MB", "× dict.")
    print(f"{'sequences':>6} {'way':11} {'images':>7} " + " ".join(f"{column:>9}" for column in columns))
    row: Any
    for row in table.itertuples():
        speed = row.images / row.processor_s
        print(
            f"{row.sequences:6} {row.way:11} {row.images:7,.0f} {row.images / row.check_s:9.1f} "
            f"{row.images / row.write_s:9.1f} {row.images / row.seconds:9.1f} {speed:9.1f} "
            f"{speed / rate[row.sequences]:9.2f} {row.peak_mb:9,.0f} {row.own_mb:9,.0f} "
            f"{row.peak_mb / held[row.sequences]:9.2f}"
        )
    for way, rows in table.groupby("way", sort=False):
        few, many = rows.iloc[0], rows.iloc[-1]
        print(
            f"{way}: {many.images / few.images:.1f} times the images, "
            f"{many.peak_mb / few.peak_mb:.1f} times the peak, "
            f"{many.own_mb / max(few.own_mb, 1):.1f} times its own memory"
        )


def main() -> None:
    options = arguments()
    if options.only:
        what, root, *rest = options.only.split(":")
        if what == "twin":
            write_twin(Path(root), int(rest[0]), options.size)
        else:
            print(json.dumps(measure(what, Path(root), options.size)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report(compare(Path(folder), options), options)


if __name__ == "__main__":
    main()
