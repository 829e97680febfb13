"""What a second process gains in training, and what it costs to start, on the processors of this machine.

    python benchmarks/distributed.py --rounds 3

Each way trains the same network on the same batches by `eolab.training.fit`, Keras on JAX, bound to its
cores. One process has all cores already, so the honest gain of a second one is the second row over the third;
the second over the first says what another machine of one core would gain. Rates are those of epochs after
the first; starts are seconds from the call of Python to the end of the first step, with imports and joining.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from eolab.core import ranks

DATES, BANDS, CLASSES, BATCH, SAMPLES, EPOCHS = 24, 10, 12, 256, 8192, 4
WAYS = {  # processes, devices of each, cores of each ("0" is the first one)
    "1 process on 1 core": (1, 1, ["0"]),
    "2 processes, a core each": (2, 1, ["0", "1"]),
    "1 process on 2 cores": (1, 1, ["0,1"]),
    "1 process on 2 cores, 2 devices": (1, 2, ["0,1"]),
}


def work(model: str, started: float) -> None:
    """Train in this process and print what it took, as JSON."""
    import numpy as np

    from eolab import models, training
    from eolab.training import distributed
    from eolab.training.batches import Batches

    imported = time.time()
    distributed.join()
    joined = time.time()
    random = np.random.default_rng(0)
    inputs = {
        "image": random.normal(size=(SAMPLES, DATES, BANDS)).astype(np.float32),
        "valid": np.ones((SAMPLES, DATES), np.float32),
        "day": np.tile(np.arange(DATES, dtype=np.float32) * 15, (SAMPLES, 1)),
    }
    label = random.integers(0, CLASSES, SAMPLES).astype(np.uint8)

    class Samples:
        lengths = None

        def __len__(self) -> int:
            return SAMPLES

        def read(self, positions: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
            return {name: values[positions] for name, values in inputs.items()}, label[positions]

        def facts(self) -> dict:
            return {}

    training.set_up(0)
    network = models.build(model, times=DATES, channels=BANDS, outputs=CLASSES)
    batches = Batches(Samples(), BATCH, seed=0, shuffle=True)
    import keras

    first: list[float] = []
    said = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: first or [float(logs["loss"]), first.append(time.time())]
    )
    with tempfile.TemporaryDirectory() as folder:
        options = {"epochs": EPOCHS, "progress": False, "callbacks": [said]}
        history = training.fit(network, batches, folder=folder, **options)
    found = {"start": first[0] - started, "import": imported - started, "join": joined - imported}
    found["rate"] = SAMPLES / history["seconds"][1:].median()
    found["loss"] = float(history["loss"].iloc[-1])
    print(json.dumps(found))


def run(model: str, processes: int, devices: int, cores: list[str]) -> dict[str, float]:
    """Return what the first process of a way took."""
    place, started = ranks.Place(0, processes, port=ranks.free_port(), beside=processes), []
    flags = f"--xla_force_host_platform_device_count={devices}"
    for rank in reversed(range(processes)):
        own = ranks.Place(rank, processes, place.host, place.port, rank, processes).variables()
        own |= {"KERAS_BACKEND": "jax", "XLA_FLAGS": flags, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = ["taskset", "-c", cores[rank], sys.executable, __file__]
        command += ["--model", model, "--started", str(time.time())]
        started.append(
            subprocess.Popen(command, env=os.environ | own, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        )
    text = [process.communicate()[0].decode() for process in started][-1]
    return json.loads(text.strip().splitlines()[-1])


def main() -> None:
    """Run all ways in turns and print their medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of all ways")
    parser.add_argument("--model", default="tempcnn", help="network of pixel series")
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.started:
        work(options.model, options.started)
        return
    rounds = [{name: run(options.model, *way) for name, way in WAYS.items()} for _ in range(options.rounds)]
    found = {name: [one[name] for one in rounds] for name in WAYS}
    rows = {n: {k: statistics.median(one[k] for one in each) for k in each[0]} for n, each in found.items()}
    single = next(iter(rows.values()))["rate"]
    print(f"{options.model}, batches of {BATCH}, {SAMPLES} series, medians of {options.rounds} rounds\n")
    print("| way | series/s | × one core | start, s | import, s | join, s | last loss |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, row in rows.items():
        print(
            f"| {name} | {row['rate']:,.0f} | {row['rate'] / single:.2f} | {row['start']:.1f} | "
            f"{row['import']:.1f} | {row['join']:.1f} | {row['loss']:.6f} |"
        )


if __name__ == "__main__":
    main()
