"""Median composites: eolab against dask's defaults (xarray's median) and plain NumPy, time and peak memory.

Every method runs in a process of its own on the same simulated series, so that peak memory is its own; the
results must be bit-identical. Reading from disk counts. Ratios are to eolab on float32.

Usage: python benchmarks/composites.py [--dates 20] [--bands 12] [--size 1024] [--rows 128] [--repeat 3]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from eolab.data.preprocess import composite

METHODS = ("eolab uint16", "eolab float32", "xarray median", "numpy nanmedian")


def write(folder: Path, options: argparse.Namespace) -> None:
    """Write a series as two raw files, so that no method pays for making it: image (uint16) and clear."""
    rng = np.random.default_rng(0)
    shape = (options.size, options.size)
    with (folder / "image").open("wb") as image, (folder / "clear").open("wb") as clear:
        for _ in range(options.dates):
            (rng.random(shape) < 0.6).tofile(clear)
            for _ in range(options.bands):
                rng.integers(1, 10_000, shape, dtype=np.uint16).tofile(image)


def lazy(file: Path, shape: tuple[int, ...], rows: int, dtype: str) -> da.Array:
    """Return a lazy array over a raw file; a chunk is some rows of one image."""

    def block(block_info: dict) -> np.ndarray:
        place = block_info[None]
        start = np.ravel_multi_index([low for low, _ in place["array-location"]], shape)
        size = np.prod(place["chunk-shape"])
        return np.fromfile(file, dtype, size, offset=start * np.dtype(dtype).itemsize).reshape(
            place["chunk-shape"]
        )

    chunks = da.core.normalize_chunks((*(1,) * (len(shape) - 2), rows, shape[-1]), shape, dtype=dtype)
    return da.map_blocks(block, chunks=chunks, dtype=dtype, meta=np.array((), dtype))


def series(folder: Path, options: argparse.Namespace, dtype: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return image (time, band, y, x) and clear (time, y, x), some rows of one date and band a chunk."""
    shape = (options.dates, options.bands, options.size, options.size)
    image = lazy(folder / "image", shape, options.rows, "uint16").astype(dtype)
    clear = lazy(folder / "clear", (shape[0], *shape[2:]), options.rows, "bool")
    times = {"time": pd.date_range("2020-01-05", periods=options.dates, freq="18D")}
    bands = {"band": np.arange(options.bands).astype(str)}
    return (
        xr.DataArray(image, dims=("time", "band", "y", "x"), coords=times | bands),
        xr.DataArray(clear, dims=("time", "y", "x"), coords=times),
    )


def run(method: str, options: argparse.Namespace) -> dict[str, float | str]:
    """Run one method on the whole series as one period; return seconds, peak memory and a digest."""
    dtype = "uint16" if method == "eolab uint16" else "float32"
    image, clear = series(Path(options.folder), options, dtype)
    if not method.startswith("eolab"):
        image = image.chunk(time=-1).where(clear.chunk(time=-1))
    seconds, cpu_seconds = [], []
    for _ in range(options.repeat):
        start, cpu_start = time.perf_counter(), time.process_time()
        if method.startswith("eolab"):
            result = composite(image, clear, "100YS", start="2020-01-01")[0][0].to_numpy()
        elif method == "xarray median":
            result = image.median("time", skipna=True).to_numpy()
        else:
            result = np.nanmedian(image.to_numpy(), axis=0)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    return {
        "method": method,
        "seconds": min(seconds),
        "cpu_seconds": min(cpu_seconds),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "digest": hashlib.sha256(np.ascontiguousarray(result, np.float32)).hexdigest()[:12],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("dates", 20), ("bands", 12), ("size", 1024), ("rows", 128), ("repeat", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(run(options.only, options)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options)
        for method in METHODS:
            command = [sys.executable, __file__, *sys.argv[1:], "--folder", folder, "--only", method]
            rows.append(
                json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            )
    table = pd.DataFrame(rows).set_index("method")
    base = table.loc["eolab float32"]
    table["times as long"] = table["seconds"] / base["seconds"]
    table["times the cpu"] = table["cpu_seconds"] / base["cpu_seconds"]
    table["times the memory"] = table["peak_gb"] / base["peak_gb"]
    print(table.to_string(float_format="%.2f"))
    if len(set(table["digest"])) > 1:
        sys.exit("The methods do not agree bit by bit.")


if __name__ == "__main__":
    main()
