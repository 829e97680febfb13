"""The side of `patch_loading.py` that runs in torchgeo's own environment, without eolab.

    python benchmarks/torchgeo_loader.py ROOT WORKERS BATCH SAMPLES PATCHES

Writes the first PATCHES patches of the training list to the file SAMPLES and prints a line of JSON, then
reads an epoch in random batches for each line that comes in, and prints what it took. One worker is the
process itself, more are processes beside it, which stay from epoch to epoch.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from torchgeo.datasets import BigEarthNet


def processor_s() -> float:
    """Return the processor time of this process and its workers so far."""
    ticks = 0
    for worker in multiprocessing.active_children():
        fields = Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])  # of the user and of the system
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def write_samples(dataset: BigEarthNet, file: str, patches: int) -> None:
    samples = [dataset[index] for index in range(patches)]
    arrays = {name: np.stack([sample[name].numpy() for sample in samples]) for name in samples[0]}
    np.savez(file, **arrays)


def epoch(loader: DataLoader[Any]) -> dict[str, float]:
    """Read an epoch; return what it took. The first starts the workers and is no measurement."""
    wall, processor, patches = time.perf_counter(), processor_s(), 0
    for batch in loader:
        patches += len(batch["image"])
    return {
        "patches": patches,
        "wall": time.perf_counter() - wall,
        "processor": processor_s() - processor,
    }


def say(**facts: Any) -> None:
    print(json.dumps(facts), flush=True)


def main() -> None:
    root, workers, batch, samples, patches = sys.argv[1:]
    torch.set_num_threads(1)  # as in its workers; more wait for each other where others use the machine
    dataset = BigEarthNet(root, split="train", bands="s2", num_classes=19)
    write_samples(dataset, samples, int(patches))
    beside = int(workers) if int(workers) > 1 else 0
    loader = DataLoader(
        dataset, batch_size=int(batch), shuffle=True, num_workers=beside, persistent_workers=beside > 0
    )
    say(torchgeo=version("torchgeo"), torch=torch.__version__, patches=len(dataset))
    for _ in sys.stdin:
        say(**epoch(loader))


if __name__ == "__main__":
    main()
