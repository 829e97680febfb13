"""Reading a Sentinel-2 series: eolab against a plain rasterio loop that does the same, in one process.

Both decode the same windows, mask no data and saturated pixels, average 10 m bands to 20 m (or repeat 20 m
and 60 m pixels), add the offset, divide and clip; the pixels are compared before anything is timed. One line
is eolab without threads, as the loop is. Opening (metadata and header checks) is timed apart and left out of
the ratios, which are of medians.

Usage: python benchmarks/read_safe.py [--folder SAFE_FOLDER] [--resolution 10] [--window 960] [--repeat 5]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import dask
import numpy as np
import rasterio
from rasterio.windows import from_bounds

from eolab.data.layouts import sentinel2
from eolab.data.layouts.sentinel2_index import Acquisition, scan


def plain(acquisitions: list[Acquisition], bands: list[str], bounds: tuple, step_m: float) -> np.ndarray:
    """Read the series as one would by hand; return (time, band, y, x) reflectance."""
    west, south, east, north = bounds
    height, width = round((north - south) / step_m), round((east - west) / step_m)
    result = np.empty((len(acquisitions), len(bands), height, width), np.float32)
    for t, item in enumerate(acquisitions):
        for b, band in enumerate(bands):
            with rasterio.open(item.product.gdal_path(item.images[band].name)) as image:
                window = from_bounds(*bounds, image.transform).round_offsets().round_lengths()
                dn = image.read(1, window=window)
            values = np.where((dn == 0) | (dn == 65535), np.float32(np.nan), dn.astype(np.float32))
            if values.shape[0] < height:
                step = height // values.shape[0]
                values = values.repeat(step, axis=0).repeat(step, axis=1)
            elif values.shape[0] > height:
                step = values.shape[0] // height
                cells = values.reshape(height, step, width, step)
                with np.errstate(invalid="ignore"):
                    values = np.nansum(cells, axis=(1, 3)) / (~np.isnan(cells)).sum(axis=(1, 3))
            values = (values + np.float32(item.metadata.offset(band))) / np.float32(
                item.metadata.quantification
            )
            result[t, b] = np.maximum(values, 0)
    return result


def median_s(call: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def make_series(folder: Path, dates: int, size: int) -> Path:
    """Write products to read: the simulated study area where its writer is there, else noise."""
    try:
        from eolab.synthetic import sentinel2_corine
    except ImportError:
        sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
        from safe_factory import write_safe

        for day in range(dates):
            write_safe(folder, f"2020-05-{day + 1:02d}T10:40:31", seed=day, size=size)
        return folder
    sentinel2_corine.write(folder / "twin", size=size, dates=dates, year=2020, years=1, progress=False)
    return folder / "twin" / "sentinel2"


def compare(folder: Path, options: argparse.Namespace) -> None:
    start = time.perf_counter()
    whole = sentinel2.open_layout(folder, resolution_m=options.resolution, scl=False)
    opening_s = time.perf_counter() - start
    step_m = float(whole.x[1] - whole.x[0])
    west, south, east, north = whole.rio.bounds()
    side = min(options.window * 10, (east - west) // 60 * 60, (north - south) // 60 * 60)
    bounds = (west, north - side, west + side, north)
    series = sentinel2.open_layout(folder, resolution_m=options.resolution, bounds=bounds, scl=False)
    bands = list(series["band"].values)
    acquisitions = scan(folder, bands, scl=False)[0]

    def ours(scheduler: str) -> np.ndarray:
        with dask.config.set(scheduler=scheduler):
            return series["reflectance"].to_numpy()

    expected = plain(acquisitions, bands, bounds, step_m)
    np.testing.assert_allclose(ours("synchronous"), expected, rtol=1e-5)
    np.testing.assert_array_equal(ours("threads"), ours("synchronous"))
    loop_s = median_s(lambda: plain(acquisitions, bands, bounds, step_m), options.repeat)
    print(f"{expected.shape} at {step_m:g} m, equal pixels; opened in {opening_s:.2f} s")
    print(f"{'plain loop, GDAL threads':26s} {loop_s:6.2f} s")
    for name, scheduler in (("eolab, 1 thread", "synchronous"), ("eolab, dask's threads", "threads")):
        taken_s = median_s(lambda scheduler=scheduler: ours(scheduler), options.repeat)
        print(f"{name:22s} {taken_s:6.2f} s, {loop_s / taken_s:.2f} times the loop's speed")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, help="folder of .SAFE products; default: simulated ones")
    parser.add_argument("--resolution", type=int, default=10, choices=(10, 20, 60), help="metres")
    parser.add_argument("--window", type=int, default=960, help="side of the window in 10 m pixels")
    parser.add_argument("--dates", type=int, default=4, help="dates of the simulated series")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    if options.folder:
        compare(options.folder, options)
    else:
        with tempfile.TemporaryDirectory() as folder:
            compare(make_series(Path(folder), options.dates, max(options.window // 6 * 6, 60)), options)


if __name__ == "__main__":
    main()
