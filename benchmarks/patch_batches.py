"""Batches of patches: how fast they come beside what a training step eats, and in how much memory.

The first table sets patches a second from the store (read, channels chosen, turned, flipped, mixed) beside
those that a training step of the U-Net takes. The second trains a narrow U-Net for one epoch on more and more
patches, read from disk, each number in a process of its own: peak memory must not follow the number.

Usage: python benchmarks/patch_batches.py [--patches 256 2048] [--width 1.0] [--batch 16]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.data.store import Store, write_store
from eolab.models import heads
from eolab.studies import landslide
from eolab.training import augment
from eolab.training.batches import Batches, StoreSamples

SIDE, WARM = 128, 2
NARROW = 0.0625  # width of the U-Net of the second table


def make_store(folder: Path, patches: int) -> Store:
    """Write noise with the arrays of a study of patches and masks."""
    table = pd.DataFrame({"id": np.arange(patches), "part": np.arange(patches) // 8})

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(int(rows["id"].iloc[0]))
        image = rng.random((len(rows), SIDE, SIDE, len(landslide.channels.STORED)), np.float32)
        return {"image": image, "label": (image[..., 0] < 0.02).astype(np.uint8)}

    metadata = {"coords": {"band": list(landslide.channels.STORED)}, "simulated": True}
    return write_store(
        folder,
        table,
        landslide.store_arrays(),
        "part",
        produce,
        {"patches": patches},
        metadata,
        progress=False,
    )


def batches_of(store: Store, options: argparse.Namespace, in_memory: bool | str) -> Batches:
    """Return training batches as the study's are."""
    channels = landslide.channels.select(["bands"], store, np.arange(len(store)))
    samples = StoreSamples(
        store,
        inputs=("image",),
        in_memory=in_memory,
        channels={"image": channels},
    )
    return Batches(
        samples,
        options.batch,
        shuffle=True,
        augment=augment.build(["rotate", "flip", "cutmix"]),
        targets=lambda label: heads.targets(label, "mask"),
        ignore="keep",
    )


def network(width: float) -> Any:
    """Return a U-Net, compiled as the study's are."""
    from eolab import models
    from eolab.training import losses

    model = models.build("unet", height=SIDE, width=SIDE, channels=14, outputs=2, width_multiplier=width)
    model.compile("adam", {"mask": losses.build({"focal": 0.5, "iou": 0.5})}, jit_compile=False)
    return model


def rate(batches: Batches, step) -> float:
    """Return patches a second of a step over one epoch."""
    for index in range(WARM):
        step(batches[index])
    start, count = time.perf_counter(), 0
    for index in range(WARM, batches.num_batches):
        batch = batches[index]
        step(batch)
        count += len(batch[0]["image"])
    return count / (time.perf_counter() - start)


def speeds(options: argparse.Namespace) -> None:
    """Print patches a second of the batches and of the training step."""
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", options.patches[0])
        rates = {
            f"batches, {where}": rate(batches_of(store, options, held), lambda batch: None)
            for where, held in (("from RAM", True), ("from disk", False))
        }
        model = network(options.width)
        batches = batches_of(store, options, True)
        fixed = batches[0]
        rates["training step of the U-Net"] = rate(batches, lambda batch: model.train_on_batch(*fixed))
    eaten = rates["training step of the U-Net"]
    print(f"{'':>28} {'patches/s':>10} {'times the step':>15}")
    for name, value in rates.items():
        print(f"{name:>28} {value:10.1f} {value / eaten:15.1f}")


def peak_mb() -> float:
    """Return the peak memory of this process; ``ru_maxrss`` would count that of its parent too."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
    return int(line.split()[1]) / 1024


def memory(options: argparse.Namespace) -> dict[str, float]:
    """Train for one epoch from disk in this process; return peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder) / "store", options.patches[0])
        model, batches = network(NARROW), batches_of(store, options, False)
        before = peak_mb()
        start = time.perf_counter()
        model.fit(batches.stream(), callbacks=[batches.callback], shuffle=False, verbose=0)
        seconds = time.perf_counter() - start
    peak = peak_mb()
    return {"peak": peak, "above": peak - before, "rate": len(store) / seconds}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, nargs="+", default=[256, 2048], help="sizes of the store")
    parser.add_argument("--width", type=float, default=1.0, help="of the U-Net")
    parser.add_argument("--batch", type=int, default=16, help="patches a step")
    parser.add_argument("--one", action="store_true", help="measure memory in this process, print JSON")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(memory(options)))
        return
    speeds(options)
    print(f"{'patches':>10} {'store GB':>9} {'peak MB':>8} {'training MB':>12} {'patches/s':>10}")
    for count in options.patches:
        command = [sys.executable, __file__, "--one", "--patches", str(count), "--batch", str(options.batch)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        size = count * SIDE**2 * (4 * len(landslide.channels.STORED) + 1) / 1e9
        print(
            f"{count:10d} {size:9.2f} {found['peak']:8.0f} {found['above']:12.0f} {found['rate']:10.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
