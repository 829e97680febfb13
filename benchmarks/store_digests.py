"""What digests of a store cost: on writing, on opening, and in the first pass over its arrays.

Each pass gathers batches at random positions of files in the page cache: all samples with digests, all
samples of a copy without them, and all again once their blocks were compared. Rounds alternate, and the best
of each counts.

    python benchmarks/store_digests.py
"""

import argparse
import json
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from eolab.data.store import ArraySpec, Store, digests, open_store, write_store

CASES = {  # name: shape of a sample, samples
    "patches 120x120x12 uint16": ((120, 120, 12), 2000),
    "pixel series 20x12 uint16": ((20, 12), 1_400_000),
}


def seconds(act: Callable[[], object]) -> float:
    """Return how long a call takes."""
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def one_pass(store: Store, order: np.ndarray) -> None:
    """Gather all samples in batches of 64, or 1024 small ones."""
    size = 64 if store.arrays_spec["image"].shape[0] > 100 else 1024
    for start in range(0, len(order), size):
        store.gather(order[start : start + size])


def measure(folder: Path, shape: tuple[int, ...], samples: int, rounds: int) -> dict[str, float]:
    """Return seconds a GB of each step, of one kind of samples."""
    rng, step = np.random.default_rng(0), samples // 20
    spec = ArraySpec(("y", "x", "band")[-len(shape) :], shape, "uint16")
    table = pd.DataFrame({"row": range(samples)})
    given = {
        "fingerprint": {},
        "progress": False,
        "parts": [slice(n, n + step) for n in range(0, samples, step)],
    }

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        return {"image": rng.integers(0, 10_000, (len(rows), *shape), np.uint16)}

    written = seconds(lambda: write_store(folder / "new", table, {"image": spec}, produce=produce, **given))
    shutil.copytree(folder / "new", folder / "old")
    about = json.loads((folder / "old" / "store.json").read_text())
    del about[digests.KEY]
    (folder / "old" / "store.json").write_text(json.dumps(about))
    order, found = rng.permutation(samples), {"write, digests included": written}
    for _ in range(rounds):
        for name, place in (("without digests", "old"), ("with digests", "new")):
            opened: list[Store] = []
            took = {f"open {name}": seconds(lambda p=place, o=opened: o.append(open_store(folder / p)))}
            took[f"first pass {name}"] = seconds(lambda o=opened: one_pass(o[0], order))
            if place == "new":
                took["second pass with digests"] = seconds(lambda o=opened: one_pass(o[0], order))
                took["verify alone"] = seconds(opened[0].verify)
            found |= {key: min(value, found.get(key, value)) for key, value in took.items()}
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for name, (shape, samples) in CASES.items():
        gigabytes = samples * int(np.prod(shape)) * 2 / 1e9
        print(f"{name}: {samples:,} samples, {gigabytes:.2f} GB")
        with tempfile.TemporaryDirectory() as folder:
            for step, took in measure(Path(folder), shape, samples, options.rounds).items():
                print(
                    f"  {step:26} {took:7.3f} s"
                    + ("" if "open" in step else f" {took / gigabytes:7.3f} s/GB")
                )


if __name__ == "__main__":
    main()
