"""Peak memory and speed of mapping scenes of different sizes; memory must not grow with the scene.

Each scene is mapped in a process of its own. Its data are made window by window, as a reader would read them,
so the process holds what mapping holds and nothing else. The hours are those of a tile of 10980 x 10980
pixels at the speed of the scene, without reading: `read_safe.py` and `composites.py` measure that.

Usage: python benchmarks/mapping_memory.py [--sizes 512 2048] [--classes 12] [--overlap 0]
       python benchmarks/mapping_memory.py --models keras onnx random_forest svm --sizes 256 1024
       python benchmarks/mapping_memory.py --models keras onnx openvino --network tempcnn --sizes 256 1024
       python benchmarks/mapping_memory.py --models keras --window 128 --sizes 1024 --disk 0.2
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from affine import Affine
from odc.geo.geobox import GeoBox

from eolab.core.errors import ParameterError
from eolab.data.schemes import ClassScheme
from eolab.prediction.mapping import per_pixel, predict_map

MODELS = (
    "matrix",
    "keras",
    "onnx",
    "openvino",
    "random_forest",
    "svm",
)  # a product, engines of an LSTM, ours
TILE = 10_980
Inputs = dict[str, np.ndarray]


def pixels(seed: object, classes: np.ndarray, options: argparse.Namespace) -> Inputs:
    """Return the series of pixels of some classes (…): each has a curve of its own, and noise."""
    curves = np.random.default_rng(0).random((options.classes, options.times, options.bands), np.float32)
    noise = np.random.default_rng(seed).random((*classes.shape, *curves.shape[1:]), np.float32)
    day = np.linspace(0, 360, options.times, dtype=np.float32)
    return {
        "image": curves[classes] + noise,
        "valid": np.ones((*classes.shape, options.times), np.float32),
        "day": np.broadcast_to(day, (*classes.shape, options.times)),
    }


def predictor_of(name: str, folder: Path, options: argparse.Namespace) -> Callable[[Inputs], np.ndarray]:
    """Return what predicts pixels: an untrained network by an engine, or what was fitted on samples."""
    from eolab import models, prediction
    from eolab.data.store import ArraySpec, write_store
    from eolab.tasks import baselines

    if name == "matrix":
        matrix = np.random.default_rng(0).normal(size=(options.bands, options.classes)).astype(np.float32)

        def predict(inputs: Inputs) -> np.ndarray:
            scores = np.exp(inputs["image"].mean(1) @ matrix)
            return scores / scores.sum(1, keepdims=True)

        return predict
    if name in ("keras", "onnx", "openvino"):
        sizes = {"times": options.times, "channels": options.bands, "outputs": options.classes}
        return prediction.load(models.build(options.network, **sizes), name)
    dims = {"image": ("time", "band"), "valid": ("time",), "day": ("time",)}
    shapes = {"time": options.times, "band": options.bands}
    arrays = {key: ArraySpec(axes, tuple(shapes[axis] for axis in axes)) for key, axes in dims.items()}
    arrays["label"] = ArraySpec((), (), "uint8")
    table = pd.DataFrame({"part": 0, "label": np.arange(options.samples) % options.classes})

    def produce(rows: pd.DataFrame) -> Inputs:
        label = rows["label"].to_numpy()
        return pixels(1, label, options) | {"label": label.astype(np.uint8)}

    samples = write_store(folder / "store", table, arrays, "part", produce, {}, progress=False)
    baseline = baselines.build("series_classification", name, classes=options.classes)
    return prediction.load(baseline.fit(samples, np.arange(options.samples)))


def measure(name: str, size: int, options: argparse.Namespace) -> dict[str, float]:
    """Map one scene in this process; return seconds and peak memory in MB, that above the start too."""
    classes = options.classes
    colors = tuple(f"#{index:06x}" for index in range(classes))
    scheme = ClassScheme("benchmark", tuple(range(classes)), tuple(map(str, range(classes))), colors)

    def read_window(row: int, col: int, height: int, width: int) -> Inputs:
        time.sleep(options.disk)
        return pixels((row, col), np.add.outer(np.arange(height), np.arange(width)) % classes, options)

    with tempfile.TemporaryDirectory() as folder:
        predictor = predictor_of(name, Path(folder), options)
        small = read_window(0, 0, 16, 16)  # compiles
        predictor({key: values.reshape(-1, *values.shape[2:]) for key, values in small.items()})
        return _measure(predictor, read_window, scheme, size, options)


def _measure(
    predictor: Callable[[Inputs], np.ndarray],
    read_window: Callable[[int, int, int, int], Inputs],
    scheme: ClassScheme,
    size: int,
    options: argparse.Namespace,
) -> dict[str, float]:
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
    parser.add_argument("--models", nargs="+", choices=MODELS, default=["matrix"], metavar="NAME")
    parser.add_argument("--network", default="lstm", help="of pixel series, such as tempcnn")
    parser.add_argument("--samples", type=int, default=6000, help="samples that forest and SVM learn from")
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--times", type=int, default=12)
    parser.add_argument("--bands", type=int, default=12)
    parser.add_argument("--window", type=int, default=256, help="side of the windows, pixels")
    parser.add_argument("--overlap", type=int, default=0, help="overlap of the windows, pixels")
    parser.add_argument("--disk", type=float, default=0.0, help="seconds that a window waits for a slow disk")
    parser.add_argument(
        "--one", action="store_true", help="measure the first size in this process, print JSON"
    )
    options = parser.parse_args()
    if options.one:
        try:
            print(json.dumps(measure(options.models[0], options.sizes[0], options)))
        except ParameterError as error:  # an engine that cannot take the network
            print(json.dumps({"left_out": str(error).partition("\n")[0][:90]}))
        return
    titles = f"{'seconds':>8} {'Mpixel/s':>9} {'tile h':>7} {'peak MB':>8} {'above':>7}"
    print(f"{'model':>14} {'pixels':>14} {titles}")
    for name in options.models:
        for size in options.sizes:
            one = ["--one", "--models", name, "--sizes", str(size)]
            command = [sys.executable, __file__, *sys.argv[1:], *one]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            line = f"{name:>14} {f'{size} x {size}':>14} "
            print(line + numbers(json.loads(said.splitlines()[-1]), size), flush=True)


def numbers(found: dict, size: int) -> str:
    """Return the columns of a scene, or why it was left out."""
    if "left_out" in found:
        return f"left out: {found['left_out']}"
    speed = size**2 / 1e6 / found["seconds"]
    return (
        f"{found['seconds']:8.1f} {speed:9.3f} {TILE**2 / 3.6e9 / speed:7.2f} {found['peak_mb']:8.0f} "
        f"{found['above_mb']:7.0f}"
    )


if __name__ == "__main__":
    main()
