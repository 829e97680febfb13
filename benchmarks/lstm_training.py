"""Training and prediction of the LSTM: eolab with Keras against the same network in plain PyTorch.

Both run on the same processor and the same series, in turns, so that a busy machine disturbs both alike; the
medians and their ratio are printed. PyTorch is no dependency of eolab: without it, Keras is measured alone.

    python benchmarks/lstm_training.py --threads 2 --rounds 7

Each row has series a second of wall time and of processor time; the latter is the fairer one on a machine
that others use too. PyTorch's network has no mask: it has less to do than eolab's.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

DATES, BANDS, CLASSES, UNITS, BATCH = 20, 12, 12, 64, 256
Runs = dict[str, Callable[[], object]]


def series(count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return random series, a third of their dates invalid, with random labels."""
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.normal(size=(count, DATES, BANDS)).astype("float32"),
        "valid": (rng.random((count, DATES)) > 1 / 3).astype("float32"),
        "day": np.tile(np.arange(DATES, dtype="float32") * 18, (count, 1)),
    }
    return inputs, rng.integers(0, CLASSES, count)


def keras_runs(
    inputs: dict[str, np.ndarray], labels: np.ndarray, precisions: list[str], threads: int
) -> Runs:
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    import keras

    from eolab import models

    ways = {"keras": {"jit_compile": False}, "keras, compile_options": models.compile_options("lstm")}
    runs: Runs = {}
    for precision in precisions:
        keras.config.set_dtype_policy(precision)
        for way, options in ways.items():
            model = models.build(
                "lstm", times=DATES, channels=BANDS, outputs=CLASSES, units=UNITS, dropout=0.0
            )
            model.compile("adam", "sparse_categorical_crossentropy", **options)
            name = f"{way}, {precision}"
            runs[f"train, {name}"] = lambda model=model: model.fit(
                inputs, labels, batch_size=BATCH, verbose=0
            )
            runs[f"predict, {name}"] = lambda model=model: model.predict(inputs, batch_size=1024, verbose=0)
    keras.config.set_dtype_policy("float32")
    return runs


def torch_runs(inputs: dict[str, np.ndarray], labels: np.ndarray, threads: int) -> Runs:
    try:
        import torch
    except ModuleNotFoundError:
        print("PyTorch is missing, Keras is measured alone. To compare: install a CPU build of torch into a")
        print("folder of its own (pip install --target FOLDER torch) and run with PYTHONPATH=FOLDER.")
        return {}
    torch.set_num_threads(threads)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = torch.nn.LSTM(BANDS, UNITS, batch_first=True)
            self.dense = torch.nn.Linear(UNITS, CLASSES)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.dense(self.recurrent(image)[0][:, -1])

    network, loss = Network(), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters())
    image, truth = torch.tensor(inputs["image"]), torch.tensor(labels)

    def train() -> None:
        for rows in torch.randperm(len(truth)).split(BATCH):
            optimizer.zero_grad()
            loss(network(image[rows]), truth[rows]).backward()
            optimizer.step()

    def predict() -> None:
        with torch.inference_mode():
            for part in image.split(1024):
                network(part).softmax(-1)

    return {"train, torch, float32": train, "predict, torch, float32": predict}


def measure(runs: Runs, count: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return series a second of wall and of processor time: medians of rounds in which all take turns."""
    for name, run in runs.items():
        start = time.perf_counter()
        run()
        print(f"first pass, with compilation: {time.perf_counter() - start:5.1f} s  {name}", flush=True)
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            wall, processor = time.perf_counter(), time.process_time()
            run()
            taken[name].append((time.perf_counter() - wall, time.process_time() - processor))
    medians = {
        name: [statistics.median(column) for column in zip(*times, strict=True)]
        for name, times in taken.items()
    }
    return {name: (count / wall, count / processor) for name, (wall, processor) in medians.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=64, help=f"batches of {BATCH} series in a pass")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precisions", nargs="+", default=["float32"], help="also mixed_bfloat16")
    given = parser.parse_args()
    inputs, labels = series(given.batches * BATCH)
    runs = keras_runs(inputs, labels, given.precisions, given.threads) | torch_runs(
        inputs, labels, given.threads
    )
    rates = measure(runs, len(labels), given.rounds)
    print(f"{'series/s':50s} {'wall':>8s} {'ratio':>6s} {'processor':>10s} {'ratio':>6s}")
    for name, (wall, processor) in sorted(rates.items(), reverse=True):
        base = rates.get(f"{name.split(',')[0]}, torch, float32", (float("nan"),) * 2)
        print(f"{name:50s} {wall:8.0f} {wall / base[0]:6.2f} {processor:10.0f} {processor / base[1]:6.2f}")


if __name__ == "__main__":
    main()
