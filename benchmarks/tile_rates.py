"""Rates that the plan of tiles and years is made from: reading and composites, prediction, memory.

Each number of dates is measured in a process of its own: a window of a simulated series (JPEG 2000, 12 bands
at 10 m) is read and made monthly composites, and the study's LSTM, untrained, predicts its pixels with the
fastest engine. `eolab data fetch --plan --rates` takes what is printed. Then the window is mapped from its
files to a GeoTIFF with each engine, which says how long a tile of 10980 × 10980 pixels would take.

Usage: python benchmarks/tile_rates.py [--size 480] [--dates 10 20] [--repeat 3] [--folder DIR]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

TILE, CLASSES = 10_980, 12


def measure(folder: Path, repeat: int) -> dict[str, float]:
    """Measure one series in this process; return values and pixels a second, and the peak memory in GB."""
    from eolab import models, prediction
    from eolab.core.errors import ParameterError
    from eolab.data.catalog import DataEntry
    from eolab.data.preprocess import Recipe
    from eolab.prediction import mapping
    from eolab.studies import landcover

    entry = DataEntry("tiles", str(folder), "sentinel2_corine", folder / "twin.json", folder)
    series = landcover.series.open_series(entry, cloud_buffer=1)
    recipe = Recipe(period="MS").for_series(series)
    read = landcover.samples.window_reader(series, recipe)
    inputs = read(0, 0, *series.odc.geobox.shape)
    reading = []
    for _ in range(repeat):
        start = time.perf_counter()
        read(0, 0, *series.odc.geobox.shape)
        reading.append(time.perf_counter() - start)
    example = {name: values.reshape(-1, *values.shape[2:])[:4096] for name, values in inputs.items()}
    example.pop("nodata")
    times, channels = example["image"].shape[1:]
    model = models.build("lstm", times=times, channels=channels, outputs=CLASSES)
    predictor = prediction.load(model, "auto", example=example)
    predict, _ = mapping.of_series(predictor, read, series.odc.geobox)
    for _ in range(repeat):
        predict(inputs)
    hours = {}
    for engine in ("keras", "onnx", "openvino"):
        with contextlib.suppress(ParameterError):  # an engine that is not there, or cannot take the network
            hours[engine] = hours_of_a_tile(prediction.load(model, engine), read, series.odc.geobox)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "dates": series.sizes["time"],
        "composites": series["image"].size / min(reading) / 1e6,
        "prediction": predict.speed,
        "memory": peak / 1e9,
        "engine": predictor.engine,
        "hours": hours,
    }


def hours_of_a_tile(predictor: Any, read: Any, grid: Any) -> float:
    """Map a window and return how many hours a tile of as many dates would take."""
    from eolab.data.schemes import ClassScheme
    from eolab.prediction import mapping

    codes = range(CLASSES)
    scheme = ClassScheme("benchmark", tuple(codes), tuple(map(str, codes)), ("#808080",) * CLASSES)
    predict, read = mapping.of_series(predictor, read, grid)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        mapping.predict_map(predict, read, grid, Path(folder) / "map.tif", scheme, progress=False)
        seconds = time.perf_counter() - start
    return seconds * TILE**2 / (grid.height * grid.width) / 3600


def main() -> None:
    """Measure series of each number of dates, and print the rates of the plan."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=480, help="side of the window, pixels")
    parser.add_argument("--dates", type=int, nargs="+", default=[10, 20])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where simulated series are kept between runs")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.repeat)))
        return
    from eolab.synthetic import sentinel2_corine

    with tempfile.TemporaryDirectory() as temporary:
        found = []
        for dates in options.dates:
            folder = (options.folder or Path(temporary)) / f"{options.size}_{dates}"
            if not folder.exists():
                sentinel2_corine.write(folder, size=options.size, dates=dates, years=1, traps=False)
            command = [sys.executable, __file__, "--one", str(folder), "--repeat", str(options.repeat)]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found.append(json.loads(said.splitlines()[-1]))
    print(f"{'dates':>6} {'million values/s':>17} {'pixels/s':>9} {'peak GB':>8}  engine")
    for one in found:
        print(
            f"{one['dates']:>6} {one['composites']:17.1f} {one['prediction']:9,.0f} {one['memory']:8.2f}"
            f"  {one['engine']}"
        )
        for engine, hours in one["hours"].items():
            print(f"{'':>6} from files to a map with {engine}: {hours:.1f} hours a tile")
    last = found[-1]
    print(
        f"--rates composites={last['composites']:.1f} prediction={last['prediction']:.0f} "
        f"memory={max(one['memory'] for one in found):.1f}"
    )


if __name__ == "__main__":
    main()
