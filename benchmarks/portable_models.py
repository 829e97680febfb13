"""Size, agreement and time of one segmentation network in every form it can be carried away in.

Keras, ONNX Runtime, OpenVINO (float32 and bfloat16) and LiteRT (float32, float16, int8) in this one process,
in turns, a patch a turn, all threads on as many cores as --threads. Weights are untrained and images made up,
so agreement says what rounding does to this architecture, not what it does to a score; --run takes a trained
network.

Usage: python benchmarks/portable_models.py [--model unet] [--width 1.0] [--size 128] [--bands 14]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from scipy import ndimage

from eolab import models, prediction
from eolab.prediction.sources import keras_model


def images(count: int, size: int, mean: np.ndarray, std: np.ndarray, seed: int) -> np.ndarray:
    """Return smooth images (N, H, W, C) float32 whose bands have these statistics."""
    noise = np.random.default_rng(seed).normal(size=(count, size, size, len(mean)))
    smooth = ndimage.gaussian_filter(noise, (0, 2, 2, 0))
    return (smooth / smooth.std() * std + mean).astype(np.float32)


def network(options: argparse.Namespace, mean: np.ndarray, std: np.ndarray) -> Any:
    """Return the network of a run, or a new one of the architecture."""
    if options.run:
        return keras_model(options.run)
    return models.build(
        options.model,
        height=options.size,
        width=options.size,
        channels=options.bands,
        outputs=2,
        mean=mean.tolist(),
        std=std.tolist(),
        width_multiplier=options.width,
        head=options.head,
    )


def main() -> None:
    """Export, compare, time, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="unet", help=f"one of {', '.join(models.names('images', 'mask'))}")
    parser.add_argument("--run", default="", help="run folder or .keras file, in place of --model")
    parser.add_argument("--width", type=float, default=1.0, help="factor of all numbers of channels")
    parser.add_argument("--head", default="mask", help="mask, dual or multi")
    parser.add_argument("--size", type=int, default=128, help="side of a patch in pixels")
    parser.add_argument("--bands", type=int, default=14)
    parser.add_argument("--patches", type=int, default=4, help="patches compared")
    parser.add_argument("--calibration", type=int, default=16, help="patches that calibrate int8")
    parser.add_argument("--runs", type=int, default=15, help="patches timed with each engine")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--folder", default="", help="where the exports stay; a temporary folder if not given"
    )
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    mean, std = rng.uniform(0.5, 2.0, options.bands), rng.uniform(0.05, 0.5, options.bands)
    model = network(options, mean, std)
    _, size, _, bands = model.input["image"].shape
    mean, std = np.resize(mean, bands), np.resize(std, bands)
    with tempfile.TemporaryDirectory() as temporary:
        table = prediction.portable_table(
            model,
            images(options.patches, size, mean, std, 1),
            images(options.calibration, size, mean, std, 2),
            options.folder or temporary,
            options.threads,
            runs=options.runs,
        )
    what = options.run or f"{options.model}, width {options.width:g}"
    weights = f"{model.count_params() / 1e6:.2f} M weights"
    print(f"{what}: {weights}, {size} x {size} x {bands}, threads: {options.threads}")
    ran = table[table["skipped"] == ""].drop(columns="skipped")
    formats = {
        "size_mb": "{:.2f}".format,
        "max_difference": "{:.1e}".format,
        "mean_difference": "{:.1e}".format,
        "mask_agreement": "{:.4f}".format,
        "milliseconds": "{:.1f}".format,
    }
    with pd.option_context("display.width", 120):
        print(ran.to_string(index=False, formatters=formats))
    for row in table[table["skipped"] != ""].itertuples():
        print(f"{row.engine} {row.precision}: left out. {row.skipped}")


if __name__ == "__main__":
    main()
