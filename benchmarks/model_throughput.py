"""Training and prediction throughput of every pixel-series network on the Keras backend in force.

    KERAS_BACKEND=jax python benchmarks/model_throughput.py --batch 1024 --series 131072

Where PyTorch is there, its plain LSTM (no mask, less to do) is measured in the same run; rows are samples a
second, the median of some rounds after a warm-up that compiles. On a GPU each round ends with the numbers
back in main memory.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

DATES, BANDS, CLASSES = 20, 12, 12


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--series", type=int, default=16_384, help="series a round")
    parser.add_argument("--batch", type=int, default=256, help="series a step")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--precision", default="float32", help="Keras dtype policy, such as mixed_bfloat16")
    return parser.parse_args()


def data(count: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    inputs = {
        "image": rng.normal(size=(count, DATES, BANDS)).astype("float32"),
        "valid": (rng.random((count, DATES)) > 1 / 3).astype("float32"),
        "day": np.tile(np.arange(DATES, dtype="float32") * 18, (count, 1)),
    }
    return inputs, rng.integers(0, CLASSES, count).astype("int32")


def rate(run: Callable[[], object], count: int, rounds: int) -> float:
    run()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return count / statistics.median(seconds)


def keras_rates(options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    import keras

    from eolab import models

    keras.config.set_dtype_policy(options.precision)
    inputs, labels = data(options.series)
    found = {}
    for name in models.names():
        model = models.build(name, times=DATES, bands=BANDS, classes=CLASSES)
        fastest = models.compile_options(name) if keras.backend.backend() == "tensorflow" else {}
        model.compile("adam", "sparse_categorical_crossentropy", **fastest)
        found[f"keras {name}"] = (
            rate(
                lambda model=model: model.fit(inputs, labels, batch_size=options.batch, verbose=0),
                options.series,
                options.rounds,
            ),
            rate(
                lambda model=model: model.predict(inputs, batch_size=4 * options.batch, verbose=0),
                options.series,
                options.rounds,
            ),
        )
    return found


def torch_rates(options: argparse.Namespace) -> dict[str, tuple[float, float]]:
    try:
        import torch
    except ModuleNotFoundError:
        print("PyTorch is missing: Keras is measured alone.")
        return {}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = torch.nn.LSTM(BANDS, 64, batch_first=True)
            self.dense = torch.nn.Linear(64, CLASSES)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.dense(self.recurrent(image)[0][:, -1])

    network = Network().to(device)
    optimizer = torch.optim.Adam(network.parameters())
    inputs, labels = data(options.series)
    image, target = torch.from_numpy(inputs["image"]), torch.from_numpy(labels).long()

    def train() -> None:
        order = torch.randperm(len(image))
        for rows in order.split(options.batch):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(image[rows].to(device)), target[rows].to(device))
            loss.backward()
            optimizer.step()
        loss.item()

    def predict() -> None:
        with torch.no_grad():
            for rows in image.split(4 * options.batch):
                network(rows.to(device)).softmax(-1).cpu()

    sizes = (options.series, options.rounds)
    return {"plain PyTorch lstm": (rate(train, *sizes), rate(predict, *sizes))}


def main() -> None:
    options = arguments()
    found = keras_rates(options)
    found |= torch_rates(options)
    import keras

    reference = found.get("plain PyTorch lstm")
    print(f"backend {keras.backend.backend()}, precision {options.precision}, batch {options.batch}")
    print(f"{'':20} {'train/s':>12} {'× PyTorch':>10} {'predict/s':>12} {'× PyTorch':>10}")
    for name, rates in found.items():
        ratios = (
            [one / other for one, other in zip(rates, reference, strict=True)] if reference else [np.nan] * 2
        )
        print(f"{name:20} {rates[0]:12,.0f} {ratios[0]:10.2f} {rates[1]:12,.0f} {ratios[1]:10.2f}")


if __name__ == "__main__":
    main()
