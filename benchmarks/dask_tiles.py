"""Several tiles on workers of dask: two workers against one, time and memory, in one run.

The notebooks of land cover make composites, samples, models and maps of simulated tiles, as
`eolab sweep landcover tiles --on dask` does, once with each number of workers and the cores shared out. The
memory is the largest sum of all processes, sampled, pages that several share counted once. Then the maps must
be equal pixel by pixel.

Usage: python benchmarks/dask_tiles.py [--tiles 2] [--workers 1 2] [--size 240] [--years 2] [--dates 12]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import rasterio
import yaml

from eolab.synthetic.safe import TILES

ENTRY = {
    "layout": "sentinel2_corine",
    "description": "Simulated tiles of a benchmark.",
    "metadata": {"license": "CC0-1.0", "citation": "Simulated by eolab."},
}


class Memory:
    """Watches the memory of a process and of all below it.

    Attributes:
        peak: Most bytes at once so far.
    """

    def __init__(self, process: int) -> None:
        self.peak, self._ended = 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(psutil.Process(process),), daemon=True)
        self._thread.start()

    def _watch(self, first: psutil.Process) -> None:
        while not self._ended.wait(0.5):
            total = 0
            with suppress(psutil.Error):
                for one in (first, *first.children(recursive=True)):
                    with suppress(psutil.Error):
                        total += one.memory_full_info().pss
            self.peak = max(self.peak, total)

    def stop(self) -> int:
        """End watching and return the peak."""
        self._ended.set()
        self._thread.join()
        return self.peak


def run(folder: Path, workers: int, options: argparse.Namespace) -> tuple[float, int]:
    """Sweep over the tiles with so many workers; return seconds and peak memory in bytes."""
    command = [sys.executable, "-m", "eolab.cli", "--catalog", str(folder / "catalog.yaml"), "sweep"]
    command += ["landcover", "tiles", "--on", "dask", "--jobs", str(workers)]
    command += ["--out", str(folder / f"runs_{workers}"), "--set", "06_map_years.engine=keras"]
    tiles = ",".join(list(TILES)[: options.tiles])
    command += ["--grid", "02_preprocess.dataset=benchmark_tiles", f"02_preprocess.tile={tiles}"]
    start = time.perf_counter()
    with (folder / f"said_{workers}.txt").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT, env=os.environ)
        memory = Memory(process.pid)
        if process.wait():
            sys.exit((folder / f"said_{workers}.txt").read_text())
    return time.perf_counter() - start, memory.stop()


def maps(folder: Path) -> list[np.ndarray]:
    """Return the classes of all maps below a folder of runs."""
    found = []
    for file in sorted(folder.glob("landcover/06_map_years/*/land_cover_*.tif")):
        with rasterio.open(file) as raster:
            found.append(raster.read(1))
    return found


def main() -> None:
    """Run the sweep with each number of workers and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiles", type=int, default=2, choices=range(1, len(TILES) + 1))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--size", type=int, default=240, help="side of a tile, pixels")
    parser.add_argument("--years", type=int, default=2)
    parser.add_argument("--dates", type=int, default=12, help="images of a year")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        facts = {name: getattr(options, name) for name in ("tiles", "size", "years", "dates")}
        entry = ENTRY | {"uri": str(folder / "data"), "twin": {"writer": "sentinel2_corine", **facts}}
        (folder / "catalog.yaml").write_text(yaml.safe_dump({"benchmark_tiles": entry}))
        make = [sys.executable, "-m", "eolab.cli", "--catalog", str(folder / "catalog.yaml"), "data", "make"]
        subprocess.run([*make, "benchmark_tiles"], check=True, stdout=subprocess.DEVNULL)
        found = {workers: run(folder, workers, options) for workers in options.workers}
        first = options.workers[0]
        base = found[first]
        expected = maps(folder / f"runs_{first}")
        print(f"{options.tiles} tiles of {options.size} x {options.size} pixels, {len(expected)} maps")
        print(
            f"{'workers':>8} {'seconds':>8} {'x first':>8} {'peak GB':>8} {'x first':>8}  pixels that differ"
        )
        for workers, (seconds, peak) in found.items():
            pairs = zip(expected, maps(folder / f"runs_{workers}"), strict=True)
            differ = sum(int((one != other).sum()) for one, other in pairs)
            print(
                f"{workers:>8} {seconds:8.0f} {base[0] / seconds:8.2f} {peak / 1e9:8.2f} "
                f"{peak / base[1]:8.2f}  {differ}"
            )


if __name__ == "__main__":
    main()
