"""Regions and GPS points on a pixel grid: eolab beside the loops that one would write, time and peak memory.

    python benchmarks/regions_and_points.py
    python benchmarks/regions_and_points.py --regions 100 1000 --points 100000 1000000

Regions come from a GeoPackage in degrees and become numbers of pixels and a map in which pixels of several
regions count for none; points come from a CSV in degrees with local times and become counts in pixels, points
of each region and how many have an unknown time. Every contestant runs in a process of its own, all take
turns, and all must give equal arrays. Memory is the peak above what the process held before it began to read.
Ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from pyarrow import csv
from pyproj import Transformer
from rasterio.enums import MergeAlg
from rasterio.features import geometry_mask, rasterize

from eolab.data.regions import label_map, on_grid, read_regions
from eolab.data.tracks import count_in, read_points

IGNORE = 65535
CELL_PX, ZONE = 27, "Europe/Paris"  # one region a cell; zone of the points' times
Arrays = tuple[np.ndarray, ...]


def grid_of(size: int) -> GeoBox:
    return GeoBox((size, size), Affine(10, 0, 500_000, 0, -10, 5_400_000), "EPSG:32631")


# === Data ===


def write_regions(file: Path, count: int, size: int) -> None:
    """Write stands of a few hectares, some of which overlap, in degrees."""
    rng, cells = np.random.default_rng(0), size // CELL_PX
    cell = rng.permutation(cells**2)[:count]
    angle = np.sort(rng.uniform(0, 2 * np.pi, (count, 12)))
    radius = CELL_PX * rng.uniform(0.3, 0.6, (count, 12))
    column = (cell % cells + 0.5)[:, None] * CELL_PX + radius * np.cos(angle)
    row = (cell // cells + 0.5)[:, None] * CELL_PX + radius * np.sin(angle)
    grid = grid_of(size)
    shapes = shapely.polygons(np.stack(grid.transform @ (column, row), -1))
    gpd.GeoSeries(shapes, crs=str(grid.crs)).to_crs(4326).to_frame("geometry").to_file(file)


def write_points(file: Path, count: int, size: int, chunk: int = 500_000) -> None:
    """Write points of 200 tracks, a few of them outside of the grid; of 1 in 1,000 the time is unknown."""
    rng, grid = np.random.default_rng(1), grid_of(size)
    to_degrees = Transformer.from_crs(str(grid.crs), 4326, always_xy=True)
    for start in range(0, count, chunk):
        number = np.arange(start, min(start + chunk, count))
        x, y = grid.transform @ tuple(rng.uniform(-0.01 * size, 1.01 * size, (2, len(number))))
        lon, lat = np.round(to_degrees.transform(x, y), 7)
        second = number // 200 * 5 + rng.integers(0, 5, len(number))
        texts = np.datetime_as_string(np.datetime64("2019-07-03T06:00:00") + second)
        texts = np.where(rng.random(len(number)) < 0.001, "unknown", texts)
        table = pa.table({"track": number % 200, "time": texts, "longitude": lon, "latitude": lat})
        with file.open("ab") as end:
            csv.write_csv(table, end, csv.WriteOptions(include_header=not start))


# === Regions ===


def eolab_regions(file: Path, grid: GeoBox) -> Arrays:
    placed = on_grid(read_regions(file), grid).table
    labels, _ = label_map(placed, grid, placed["id"], ignore=IGNORE)
    return labels, placed["pixels"].to_numpy()


def loop_over_masks(file: Path, grid: GeoBox, windows: bool = False) -> Arrays:
    """Each region by itself: a mask of the whole grid, or of the window around it."""
    labels, torn = np.full(grid.shape, IGNORE, np.uint16), np.zeros(grid.shape, bool)
    pixels, rows, columns = [], slice(None), slice(None)
    for number, shape in enumerate(gpd.read_file(file).to_crs(str(grid.crs)).geometry):
        if windows:
            west, south, east, north = shape.bounds
            (left, top), (right, bottom) = ~grid.transform @ (west, north), ~grid.transform @ (east, south)
            rows = slice(max(int(top), 0), min(int(np.ceil(bottom)), grid.height))
            columns = slice(max(int(left), 0), min(int(np.ceil(right)), grid.width))
        part = grid[rows, columns]
        mask = geometry_mask([shape], part.shape, part.transform, invert=True)
        torn[rows, columns] |= mask & (labels[rows, columns] != IGNORE)
        labels[rows, columns][mask] = number
        pixels.append(int(mask.sum()))
    labels[torn] = IGNORE
    return labels, np.array(pixels)


def loop_over_windows(file: Path, grid: GeoBox) -> Arrays:
    return loop_over_masks(file, grid, windows=True)


# === Points ===


def eolab_points(file: Path, grid: GeoBox) -> Arrays:
    counts, unknown = None, 0
    for points in read_points(file, timezone=ZONE):
        counts, _ = count_in(points, grid, counts)
        unknown += points.left_out.get("whose time is none", 0)
    return counts, np.array(unknown)


def pandas_points(file: Path, grid: GeoBox) -> Arrays:
    """Return the same from the whole table and ``np.add.at``."""
    table = pd.read_csv(file)
    table["time"] = pd.to_datetime(table["time"], errors="coerce")
    table["time"] = table["time"].dt.tz_localize(ZoneInfo(ZONE)).dt.tz_convert("UTC")
    known = table[table["time"].notna()]
    to_grid = Transformer.from_crs(4326, str(grid.crs), always_xy=True)
    column, row = ~grid.transform @ to_grid.transform(*known[["longitude", "latitude"]].to_numpy().T)
    inside = (column >= 0) & (column < grid.width) & (row >= 0) & (row < grid.height)
    counts = np.zeros(grid.shape)
    np.add.at(counts, (row[inside].astype(int), column[inside].astype(int)), 1)
    return counts, np.array(len(table) - len(known))


def geopandas_points(file: Path, grid: GeoBox) -> Arrays:
    """Return the same from shapes of points that rasterio adds up."""
    table = pd.read_csv(file)
    table["time"] = pd.to_datetime(table["time"], errors="coerce")
    known = table[table["time"].notna()]
    shapes = gpd.points_from_xy(known["longitude"], known["latitude"], crs=4326).to_crs(str(grid.crs))
    given = {"transform": grid.transform, "merge_alg": MergeAlg.add, "dtype": "float64"}
    counts = rasterize(((shape, 1) for shape in shapes), grid.shape, **given)
    return counts, np.array(len(table) - len(known))


CONTESTANTS: dict[str, dict[str, Callable[[Path, GeoBox], Arrays]]] = {
    "regions": {
        "eolab": eolab_regions,
        "a mask of each, whole": loop_over_masks,
        "a mask of each, its window": loop_over_windows,
    },
    "points": {
        "eolab": eolab_points,
        "pandas, whole": pandas_points,
        "geopandas, rasterio": geopandas_points,
    },
}
SLOW = ("a mask of each, whole", "geopandas, rasterio")  # only of the smallest size
WRITERS = {"regions": write_regions, "points": write_points}


# === Measuring ===


def memory_mb(which: str) -> float:
    """Return what this process holds (VmRSS) or held at most (VmHWM); a child begins with neither."""
    return int(re.search(rf"{which}:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def measure(kind: str, name: str, file: Path, size: int) -> dict[str, float | str]:
    """Run one contestant in this process."""
    grid, before = grid_of(size), memory_mb("VmRSS")
    wall, processor = time.perf_counter(), time.process_time()
    found = CONTESTANTS[kind][name](file, grid)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    peak = memory_mb("VmHWM")
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(one, np.int64).tobytes() for one in found))
    return {"wall": wall, "processor": processor, "peak MB": peak - before, "digest": digest.hexdigest()}


def child(*task: object) -> dict[str, float | str]:
    command = [sys.executable, __file__, "--task", *map(str, task)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout or "{}")


def compare(kind: str, counts: list[int], options: argparse.Namespace, folder: Path) -> pd.DataFrame:
    """Return a row a contestant and size: seconds, as multiples of eolab's too, and peak memory."""
    rows = []
    for count in counts:
        file = folder / f"{kind}_{count}.{'gpkg' if kind == 'regions' else 'csv'}"
        child("write", kind, count, file, options.size)
        names = [name for name in CONTESTANTS[kind] if name not in SLOW or count == min(counts)]
        turns = [
            {name: child("measure", kind, name, file, options.size) for name in names}
            for _ in range(options.rounds)
        ]
        if len({result["digest"] for turn in turns for result in turn.values()}) > 1:
            sys.exit(f"The contestants do not give equal arrays of {count:,} {kind}.")
        for name in names:
            row: dict[str, object] = {"what": f"{count:,} {kind}", "contestant": name}
            for clock in ("wall", "processor"):
                seconds = [turn[name][clock] for turn in turns]
                ratios = [turn[name][clock] / turn["eolab"][clock] for turn in turns]
                row |= {f"{clock} s": np.median(seconds), f"{clock} × eolab": np.median(ratios)}
            rows.append(row | {"peak MB": max(turn[name]["peak MB"] for turn in turns)})
        file.unlink()
    return pd.DataFrame(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--regions", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--points", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--size", type=int, default=2_745, help="pixels of 10 m along a side of the grid")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which all take turns")
    parser.add_argument("--task", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        action, kind, what, file, size = options.task
        if action == "write":
            WRITERS[kind](Path(file), int(what), int(size))
        else:
            print(json.dumps(measure(kind, what, Path(file), int(size))))
        return
    with tempfile.TemporaryDirectory() as folder:
        tables = [compare(kind, getattr(options, kind), options, Path(folder)) for kind in CONTESTANTS]
    print(f"{options.size} x {options.size} pixels, equal arrays; load {os.getloadavg()[0]:.1f}")
    print(pd.concat(tables).to_string(index=False, float_format="%.2f"))


if __name__ == "__main__":
    main()
