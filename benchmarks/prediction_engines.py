"""Prediction speed of one network with each engine, and of the same network in plain PyTorch.

All run in this one process, in turns, on the same series; series per second at the best of the turns, and
ratios to Keras. PyTorch is not among eolab's dependencies: without it, its row is left out.

Usage: python benchmarks/prediction_engines.py [--model lstm] [--times 20] [--bands 12] [--batch 2048]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from eolab import models, prediction
from eolab.core.errors import ParameterError
from eolab.prediction.engines import cores

Predict = Callable[[dict[str, np.ndarray]], np.ndarray]


def torch_lstm(options: argparse.Namespace) -> Predict:
    """Return an LSTM of the same size in PyTorch, in evaluation mode, without gradients.

    It takes series without gaps only: masked it could not be faster.
    """
    import torch

    torch.set_num_threads(options.threads)
    layer = torch.nn.LSTM(options.bands, options.units, batch_first=True).eval()
    head = torch.nn.Linear(options.units, options.classes).eval()

    def predict(inputs: dict[str, np.ndarray]) -> np.ndarray:
        parts = []
        with torch.inference_mode():
            for start in range(0, len(inputs["image"]), options.batch):
                series = torch.from_numpy(inputs["image"][start : start + options.batch])
                parts.append(torch.softmax(head(layer(series)[1][0][-1]), -1).numpy())
        return np.concatenate(parts)

    return predict


def candidates(options: argparse.Namespace) -> dict[str, Predict]:
    """Return what is compared, by name."""
    sizes = {"times": options.times, "channels": options.bands, "outputs": options.classes}
    units = {"units": options.units} if options.model == "lstm" else {}
    model = models.build(options.model, **sizes, **units)
    found: dict[str, Predict] = {}
    for name, engine, precision in (
        ("keras", "keras", "float32"),
        ("onnx", "onnx", "float32"),
        ("openvino", "openvino", "float32"),
        ("openvino bfloat16", "openvino", "bfloat16"),
    ):
        try:
            found[name] = prediction.load(
                model, engine, batch_size=options.batch, threads=options.threads, precision=precision
            )
        except ParameterError as error:
            print(f"{name}: left out. {error}")
    if options.model != "lstm":
        print("pytorch: left out, only the LSTM is written there.")
    elif importlib.util.find_spec("torch") is None:
        print("pytorch: left out, it is not installed here.")
    else:
        found["pytorch"] = torch_lstm(options)
    return found


def main() -> None:
    """Time all candidates in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lstm", help=f"one of {', '.join(models.names('series'))}")
    parser.add_argument("--units", type=int, default=64, help="units of the LSTM")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--bands", type=int, default=12)
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--batch", type=int, default=1024, help="series computed at once")
    parser.add_argument("--series", type=int, default=32_768, help="series a turn")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--threads", type=int, default=cores())
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    shape = (options.series, options.times)
    inputs = {
        "image": rng.random((*shape, options.bands), np.float32),
        "valid": np.ones(shape, np.float32),
        "day": np.tile(np.linspace(0, 365, options.times, dtype=np.float32), (options.series, 1)),
    }
    found = candidates(options)
    seconds: dict[str, list[float]] = {name: [] for name in found}
    results = {name: predict(inputs) for name, predict in found.items()}  # compiles
    for _ in range(options.turns):
        for name, predict in found.items():
            start = time.perf_counter()
            predict(inputs)
            seconds[name].append(time.perf_counter() - start)
    base = min(seconds["keras"])
    size = f"{options.times} x {options.bands}"
    print(f"{options.model}, {size}, batch {options.batch}, {options.threads} threads")
    print(f"{'engine':>18} {'series/s':>10} {'x keras':>8} {'largest difference':>19}")
    for name, taken in seconds.items():
        differ = (
            "other weights" if name == "pytorch" else f"{np.abs(results[name] - results['keras']).max():.1e}"
        )
        print(f"{name:>18} {options.series / min(taken):10.0f} {base / min(taken):8.2f} {differ:>19}")


if __name__ == "__main__":
    main()
