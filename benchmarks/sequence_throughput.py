"""Training and prediction of a ConvLSTM of two sensors: Keras beside the same network in plain PyTorch.

The network is that of Wiesniakowski et al. (2024): two ConvLSTM branches, VH and red, green, blue, read a
sequence of images of one place, and two dense layers predict for each image. PyTorch's is written as a user
would: a cell, a loop over the dates, both kernels in one convolution. It gets the weights of the Keras
network, and both must predict alike, before and after training steps, or nothing is measured. Rates are
sequences a second of wall time and of processor time, medians of some rounds after a warm-up, in which the
contestants take turns in one process. Each has one thread unless told otherwise: on a machine that others
use, PyTorch's wait for each other, and two were measured 20 times as slow as one. Memory is the peak of a
process for each, above what it held before the first prediction.

    PYTHONPATH=<folder of PyTorch> python benchmarks/sequence_throughput.py
    python benchmarks/sequence_throughput.py --size 64 64 --batch 4 --threads 2 --xla
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

BANDS = {"s1": 1, "s2": 3}
DROPOUT, L2, LEARNING_RATE = 0.2, 1e-4, 0.01
TOLERANCE = 1e-4  # of probabilities
CHECKED = {"size": [24, 20], "batch": 2, "times": 5, "steps": 10}  # training steps that are compared
Data = tuple[dict[str, np.ndarray], np.ndarray]
Rates = dict[str, dict[str, tuple[float, float]]]  # by contestant and action, of wall and of processor time


class Contestant(NamedTuple):
    """A training step and a prediction of one batch, and how many weights are trained."""

    train: Callable[[], object]
    predict: Callable[[], np.ndarray]
    weights: int


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", type=int, nargs=2, default=[522, 544], help="rows and columns of the images"
    )
    parser.add_argument("--times", type=int, default=10, help="images of a sequence, of each sensor")
    parser.add_argument("--filters", type=int, default=2, help="maps of each ConvLSTM")
    parser.add_argument("--hidden", type=int, default=2, help="units of the first dense layer")
    parser.add_argument("--batch", type=int, default=1, help="sequences a step")
    parser.add_argument("--missing", type=float, default=0.1, help="share of steps without an image")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--threads", type=int, default=1, help="of each library")
    parser.add_argument("--xla", action="store_true", help="measure Keras with jit_compile=True too")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    return parser.parse_args()


def limit_threads(threads: int) -> None:
    """Limit those of TensorFlow, before it computes anything; PyTorch's are set with its network."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)


def data(options: argparse.Namespace) -> Data:
    """Return the inputs (B, T, H, W, C), their ``valid`` and ``day`` (B, T), and labels (B, T)."""
    rng = np.random.default_rng(0)
    steps = (options.batch, options.times)
    inputs = {}
    for sensor, bands in BANDS.items():
        inputs[sensor] = rng.standard_normal((*steps, *options.size, bands), np.float32)
        inputs[f"{sensor}_valid"] = (rng.random(steps) >= options.missing).astype(np.float32)
        inputs[f"{sensor}_day"] = np.tile(np.arange(options.times, dtype=np.float32) * 6, (options.batch, 1))
    return inputs, rng.integers(0, 2, steps).astype(np.int32)


def keras_network(options: argparse.Namespace, dropout: float = DROPOUT, xla: bool = False) -> Any:
    import keras

    from eolab import models

    given = {"filters": options.filters, "hidden": options.hidden, "dropout": dropout, "l2": L2}
    height, width = options.size
    network = models.build("convlstm", channels=BANDS, outputs=2, height=height, width=width, **given)
    network.compile(keras.optimizers.SGD(LEARNING_RATE), "sparse_categorical_crossentropy", jit_compile=xla)
    return network


def keras_contestant(network: Any, inputs: dict[str, np.ndarray], labels: np.ndarray) -> Contestant:
    return Contestant(
        lambda: network.train_on_batch(inputs, labels),
        lambda: np.asarray(network.predict_on_batch(inputs))[..., 1],
        sum(int(np.prod(weight.shape)) for weight in network.trainable_weights),
    )


def torch_network(options: argparse.Namespace, dropout: float = DROPOUT) -> Any:
    """Return the network in PyTorch: images (B, T, C, H, W) and ``valid`` (B, T) to logits (B, T)."""
    import torch
    from torch import nn

    class ConvLSTMCell(nn.Module):
        def __init__(self, bands: int) -> None:
            super().__init__()
            self.bands = bands
            self.gates = nn.Conv2d(bands + options.filters, 4 * options.filters, 3, padding=1)

        def forward(
            self, x: torch.Tensor, hidden: torch.Tensor, carry: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            write, keep, new, read = self.gates(torch.cat([x, hidden], 1)).chunk(4, 1)  # (B, F, H, W) each
            carry = torch.sigmoid(keep) * carry + torch.sigmoid(write) * torch.tanh(new)
            return torch.sigmoid(read) * torch.tanh(carry), carry

        def series(self, images: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
            """Return maps (B, T, F, H, W); a step without an image passes the state on."""
            state = images.new_zeros(len(images), options.filters, *options.size)
            state, maps = (state, state), []
            for step in range(images.shape[1]):
                there = seen[:, step, None, None, None]
                found = self(images[:, step], *state)
                state = tuple(torch.where(there, new, old) for new, old in zip(found, state, strict=True))
                maps.append(state[0])
            return torch.stack(maps, 1)

    class Branch(nn.Module):
        def __init__(self, bands: int) -> None:
            super().__init__()
            self.first, self.second = ConvLSTMCell(bands), ConvLSTMCell(options.filters)
            self.norm = nn.BatchNorm2d(options.filters, eps=1e-3, momentum=0.01)
            self.dropout = nn.Dropout(dropout)

        def forward(self, images: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
            seen = valid > 0.5
            images = torch.where(seen[:, :, None, None, None], images, 0)
            x = self.first.series(images, seen)
            x = torch.zeros_like(x).masked_scatter(seen[:, :, None, None, None], self.norm(x[seen]))
            x = self.dropout(self.second.series(self.dropout(x), seen))
            return x.flatten(2)  # (B, T, F H W)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branches = nn.ModuleDict({sensor: Branch(bands) for sensor, bands in BANDS.items()})
            features = len(BANDS) * options.filters * options.size[0] * options.size[1]
            self.dense, self.answer = nn.Linear(features, options.hidden), nn.Linear(options.hidden, 1)

        def forward(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
            maps = [branch(inputs[name], inputs[f"{name}_valid"]) for name, branch in self.branches.items()]
            return self.answer(torch.relu(self.dense(torch.cat(maps, -1)))).squeeze(-1)

        def penalty(self) -> torch.Tensor:
            cells = [cell for cell in self.modules() if isinstance(cell, ConvLSTMCell)]
            return L2 * sum(cell.gates.weight[:, : cell.bands].square().sum() for cell in cells)

    torch.set_num_threads(options.threads)
    return Network()


def copy_weights(source: Any, target: Any, options: argparse.Namespace) -> None:
    """Put the weights of the Keras network into PyTorch's: kernels (3, 3, C, F) become (F, C, 3, 3)."""
    import keras
    import torch

    from eolab.models.sequences.recurrent import ConvLSTM

    def layers(kind: Any) -> list[Any]:
        """Return the layers of a kind as they were made: Keras numbers their names."""
        found = [layer for layer in source.layers if isinstance(layer, kind)]
        return sorted(found, key=lambda layer: (len(layer.name), layer.name))

    def put(parameter: torch.Tensor, values: np.ndarray) -> None:
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(values)))

    branches = list(target.branches.values())
    cells = [cell for branch in branches for cell in (branch.first, branch.second)]
    for layer, cell in zip(layers(ConvLSTM), cells, strict=True):
        weights = (layer.kernel, layer.recurrence.cell.recurrent, layer.bias)
        kernel, recurrent, bias = map(keras.ops.convert_to_numpy, weights)
        put(cell.gates.weight, np.concatenate([kernel, recurrent], 2).transpose(3, 2, 0, 1))
        put(cell.gates.bias, bias)
    for layer, branch in zip(layers(keras.layers.BatchNormalization), branches, strict=True):
        norm = branch.norm
        for parameter, values in zip(
            (norm.weight, norm.bias, norm.running_mean, norm.running_var), layer.get_weights(), strict=True
        ):
            put(parameter, values)
    dense, answer = (layer.get_weights() for layer in layers(keras.layers.Dense))
    maps = dense[0].reshape(len(BANDS), *options.size, options.filters, options.hidden)  # channels last
    put(target.dense.weight, maps.transpose(4, 0, 3, 1, 2).reshape(options.hidden, -1))
    put(target.answer.weight, answer[0].T)
    put(target.dense.bias, dense[1])
    put(target.answer.bias, answer[1])


def torch_contestant(network: Any, inputs: dict[str, np.ndarray], labels: np.ndarray) -> Contestant:
    import torch

    given = {
        name: torch.from_numpy(np.moveaxis(values, -1, 2).copy() if values.ndim == 5 else values)
        for name, values in inputs.items()
    }
    truth = torch.from_numpy(labels).float()
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE)

    def train() -> float:
        network.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(given), truth)
        (loss + network.penalty()).backward()
        optimizer.step()
        return loss.item()

    def predict() -> np.ndarray:
        network.eval()
        with torch.inference_mode():
            return torch.sigmoid(network(given)).numpy()

    return Contestant(train, predict, sum(weight.numel() for weight in network.parameters()))


def pair(options: argparse.Namespace, dropout: float = DROPOUT) -> dict[str, Contestant]:
    """Return both networks with the same weights on the same data, or Keras alone."""
    inputs, labels = data(options)
    network = keras_network(options, dropout)
    found = {"Keras": keras_contestant(network, inputs, labels)}
    try:
        other = torch_network(options, dropout)
    except ModuleNotFoundError:
        return found
    copy_weights(network, other, options)
    return {**found, "PyTorch": torch_contestant(other, inputs, labels)}


def check(contestants: dict[str, Contestant], what: str) -> None:
    """Stop where the two do not answer alike."""
    one, other = (contestant.predict() for contestant in contestants.values())
    difference = float(np.abs(one - other).max())
    print(f"Largest difference of probabilities, {what}: {difference:.1e} (spread {np.std(one):.1e})")
    if not difference <= TOLERANCE:
        sys.exit(f"The networks are not the same: expected differences up to {TOLERANCE:g}.")


def check_training(options: argparse.Namespace) -> None:
    """Compare small networks without dropout after some training steps."""
    small = argparse.Namespace(**{**vars(options), **CHECKED})
    contestants = pair(small, dropout=0.0)
    for contestant in contestants.values():
        for _ in range(small.steps):
            contestant.train()
    height, width = small.size
    check(contestants, f"{small.steps} training steps on {height} x {width} pixels")


def rates(contestants: dict[str, Contestant], sequences: int, rounds: int) -> Rates:
    """Return sequences a second of training and of prediction, from rounds in which all take turns."""
    taken: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for turn in range(rounds + 1):
        for name, contestant in contestants.items():
            for action, run in (("train", contestant.train), ("predict", contestant.predict)):
                wall, processor = time.perf_counter(), time.process_time()
                run()
                spent = time.perf_counter() - wall, time.process_time() - processor
                taken.setdefault((name, action), []).extend([spent] if turn else [])
    found: Rates = {name: {} for name in contestants}
    for (name, action), times in taken.items():
        wall, processor = (statistics.median(column) for column in zip(*times, strict=True))
        found[name][action] = sequences / wall, sequences / processor
    return found


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def memory(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Return the peak memory in MB of this process in training and in prediction, above that of its start."""
    inputs, labels = data(options)
    if name == "PyTorch":
        contestant = torch_contestant(torch_network(options), inputs, labels)
    else:
        limit_threads(options.threads)
        contestant = keras_contestant(keras_network(options, xla=name.endswith("XLA")), inputs, labels)
    start = peak_mb()
    contestant.predict()
    predicting = peak_mb() - start
    for _ in range(2):
        contestant.train()
    return {"train": peak_mb() - start, "predict": predicting}


def memories(names: list[str]) -> dict[str, dict[str, float]]:
    """Measure in a process for each; called while this one is small, for a child starts with its peak."""
    found = {}
    for name in names:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[name] = json.loads(output.splitlines()[-1])
    return found


def has_torch() -> bool:
    import importlib.util

    if importlib.util.find_spec("torch"):
        return True
    print("PyTorch is missing, Keras is measured alone: name a folder with a CPU build in PYTHONPATH.")
    return False


def main() -> None:
    options = arguments()
    if options.only:
        print(json.dumps(memory(options.only, options)))
        return
    names = ["Keras", *(["Keras, XLA"] if options.xla else []), *(["PyTorch"] if has_torch() else [])]
    held = memories(names)
    limit_threads(options.threads)
    contestants = pair(options)
    if "PyTorch" in contestants:
        check(contestants, "untrained")
        check_training(options)
    if options.xla:
        contestants["Keras, XLA"] = keras_contestant(keras_network(options, xla=True), *data(options))
    found = rates(contestants, options.batch, options.rounds)
    report(options, contestants, found, held)


def report(
    options: argparse.Namespace,
    contestants: dict[str, Contestant],
    found: Rates,
    held: dict[str, dict[str, float]],
) -> None:
    import keras

    print(
        f"backend {keras.backend.backend()}, {options.size[0]} x {options.size[1]} pixels, {options.times} "
        f"images of each sensor, {options.filters} filters, {contestants['Keras'].weights:,} weights, "
        f"batch {options.batch}, threads {options.threads}, load {os.getloadavg()[0]:.1f}"
    )
    print_rates(found, "sequences/s", "PyTorch", {"peak MB": held})


def print_rates(
    found: Rates, unit: str, base: str, more: dict[str, dict[str, dict[str, float]]] | None = None
) -> None:
    """Print rates of wall and of processor time, each beside that of a contestant where it took part.

    Args:
        found: Result of :func:`rates`.
        unit: What the rates are.
        base: Name of the contestant.
        more: Further columns by title: a number by contestant and action.
    """
    further = more or {}
    titles = "".join(f" {title:>8}" for title in further)
    print(f"{unit:32} {'wall':>8} {'× PyTorch':>10} {'processor':>10} {'× PyTorch':>10}{titles}")
    for action in ("train", "predict"):
        usual = found.get(base, {}).get(action, (np.nan, np.nan))
        for name, actions in found.items():
            wall, processor = actions[action]
            numbers = "".join(f" {column[name][action]:8,.0f}" for column in further.values())
            print(
                f"{f'{action}, {name}':32} {wall:8.3f} {wall / usual[0]:10.2f} {processor:10.3f} "
                f"{processor / usual[1]:10.2f}{numbers}"
            )


if __name__ == "__main__":
    main()
