"""Hours of large trainings on 1, 8 and 64 GPUs, on paper, from rates that were measured on one.

    python benchmarks/scale.py
    python benchmarks/scale.py --storage 2 --epochs 50

Rates of a GPU are those of `gpu.py` in README.md, of an NVIDIA H200. What it takes to feed them is measured
here: batches of random patches out of a store in the page cache, by one process. What an epoch takes is the
longest of computing, reading and the storage; gradients are sent while the next ones are computed, as far as
the line allows. Machines have eight GPUs, and a process a GPU; storage and line of a machine are assumed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

GPUS, A_MACHINE = (1, 8, 64), 8
CASES = {  # samples, bytes of one, samples/s of a GPU, weights of the network, samples a step and GPU
    "BigEarthNet, ResNet-50": (590_326, 12 * 120 * 120 * 2, 14_060, 23.6e6, 256),
    "ten tiles in three years, LSTM": (10_200_000, 12 * 12 * 4 + 12, 1_835_700, 25e3, 4_096),
}


def reading(seconds: float = 4.0, count: int = 1024, batch: int = 256) -> float:
    """Return how many bytes a second of random patches one process makes batches of."""
    from eolab.data.store import ArraySpec, write_store
    from eolab.training.batches import Batches, StoreSamples

    arrays = {
        "image": ArraySpec(("y", "x", "band"), (120, 120, 12), "uint16"),
        "label": ArraySpec((), (), "uint8"),
    }
    random = np.random.default_rng(0)
    image = random.integers(0, 4000, (count, 120, 120, 12), np.uint16)
    table = pd.DataFrame({"part": np.arange(count) // 128, "number": np.arange(count)})
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(
            Path(folder) / "store",
            table,
            arrays,
            "part",
            lambda rows: {"image": image[rows["number"]], "label": np.zeros(len(rows), np.uint8)},
            {},
            progress=False,
        )
        batches = Batches(StoreSamples(store, inputs=["image"], in_memory=False), batch, shuffle=True)
        for index in range(len(batches.order())):  # the first pass also checks digests
            batches[index]
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            done += len(batches[done // batch % batches.num_batches][1])
        return done * image[0].nbytes / (time.perf_counter() - start)


def table(a_process: float, storage: float, line: float, epochs: int) -> pd.DataFrame:
    """Return hours and traffic of each case and number of GPUs.

    Args:
        a_process: Bytes a second that a process makes batches of.
        storage: Bytes a second that a machine reads.
        line: Bytes a second that a GPU sends to those of other machines.
        epochs: Passes over all samples.
    """
    rows = []
    for name, (samples, size, rate, weights, batch) in CASES.items():
        for gpus in GPUS:
            machines = -(-gpus // A_MACHINE)
            sent = 2 * 4 * weights / line if machines > 1 else 0.0  # of each step, both ways of a ring
            needs = {
                "computing": samples / (rate * gpus),
                "reading": samples * size / (a_process * gpus),
                "storage": samples * size / (storage * machines),
                "line": samples / (batch * gpus) * sent,
            }
            slowest = max(needs, key=lambda one: needs[one])
            row = {"training": name, "GPUs": gpus, "steps an epoch": -(-samples // (batch * gpus))}
            row |= {"GB/s to feed a machine": rate * size * min(gpus, A_MACHINE) / 1e9}
            row |= {f"{one}, h": epochs * seconds / 3600 for one, seconds in needs.items()}
            rows.append(row | {"longest": slowest})
    return pd.DataFrame(rows)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--reading", type=float, help="GB a second of one process, measured where not given")
    parser.add_argument("--storage", type=float, default=5.0, help="GB a second that a machine reads")
    parser.add_argument(
        "--line", type=float, default=25.0, help="GB a second that a GPU sends to other machines"
    )
    parser.add_argument("--epochs", type=int, default=100, help="passes over all samples")
    options = parser.parse_args()
    a_process = options.reading * 1e9 if options.reading else reading()
    print(f"Reading {a_process / 1e9:.2f} GB/s a process, storage {options.storage} GB/s a machine, ", end="")
    print(f"line {options.line} GB/s a GPU, {options.epochs} epochs\n")
    found = table(a_process, options.storage * 1e9, options.line * 1e9, options.epochs)
    columns = [str(name) for name in found]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in found.itertuples(index=False):
        cells = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in row]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
