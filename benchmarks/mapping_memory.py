"""Peak memory and speed of mapping scenes of different sizes; memory must not grow with the scene.

Each scene is mapped in a process of its own. Its data are made window by window, as a reader would read them,
so the process holds what mapping holds and nothing else.

Usage: python benchmarks/mapping_memory.py [--sizes 512 2048] [--classes 12] [--overlap 0]
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from eolab.data.schemes import ClassScheme
from eolab.prediction.mapping import per_pixel, predict_map


def measure(size: int, options: argparse.Namespace) -> dict[str, float]:
    """Map one scene in this process; return seconds and peak memory in MB above that of the start."""
    classes, shape = options.classes, (options.times, options.bands)
    matrix = np.random.default_rng(0).normal(size=(options.bands, classes)).astype(np.float32)
    colors = tuple(f"#{index:06x}" for index in range(classes))
    scheme = ClassScheme("benchmark", tuple(range(classes)), tuple(map(str, range(classes))), colors)

    def read_window(row: int, col: int, height: int, width: int) -> dict[str, np.ndarray]:
        return {"image": np.random.default_rng((row, col)).random((height, width, *shape), np.float32)}

    def predictor(inputs: dict[str, np.ndarray]) -> np.ndarray:
        scores = np.exp(inputs["image"].mean(1) @ matrix)
        return scores / scores.sum(1, keepdims=True)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        grid = GeoBox((size, size), Affine(10, 0, 0, 0, -10, 0), "EPSG:32632")
        path = Path(folder) / "map.tif"
        arguments = (per_pixel(predictor), read_window, grid, path, scheme)
        predict_map(*arguments, window=options.window, overlap=options.overlap, progress=False)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": time.perf_counter() - start,
        "peak_mb": after / 1024,
        "above_mb": (after - before) / 1024,
    }


def main() -> None:
    """Run a process for each size and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[512, 2048], help="side of the scenes, pixels"
    )
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--bands", type=int, default=12)
    parser.add_argument("--window", type=int, default=256, help="side of the windows, pixels")
    parser.add_argument("--overlap", type=int, default=0, help="overlap of the windows, pixels")
    parser.add_argument(
        "--one", action="store_true", help="measure the first size in this process, print JSON"
    )
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.sizes[0], options)))
        return
    rest = sys.argv[1:]
    if "--sizes" in rest:
        at = rest.index("--sizes")
        rest = rest[:at] + rest[at + 1 + len(options.sizes) :]
    print(f"{'pixels':>14} {'seconds':>8} {'Mpixel/s':>9} {'peak MB':>8} {'above start MB':>15}")
    for size in options.sizes:
        command = [sys.executable, __file__, "--one", "--sizes", str(size), *rest]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        speed = size**2 / 1e6 / found["seconds"]
        print(
            f"{f'{size} x {size}':>14} {found['seconds']:8.1f} {speed:9.2f} "
            f"{found['peak_mb']:8.0f} {found['above_mb']:15.0f}"
        )


if __name__ == "__main__":
    main()
