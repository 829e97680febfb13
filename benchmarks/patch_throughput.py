"""Training and prediction of ResNet-50 on patches: Keras beside the same network in plain PyTorch.

    PYTHONPATH=<folder of PyTorch> python benchmarks/patch_throughput.py
    PYTHONPATH=<folder of PyTorch> python benchmarks/patch_throughput.py --precision bfloat16

PyTorch's network is measured as written, and at its best: bfloat16 products and channels last in memory, on a
GPU compiled too. Keras begins with its weights, and both must answer alike before anything is measured.
Rates are images a second of wall time and of processor time, medians of some rounds after a warm-up, in which
the contestants take turns. Each has one thread unless told otherwise: on a machine that others use, PyTorch's
wait for each other.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from sequence_throughput import Contestant, has_torch, limit_threads, print_rates, rates

TOLERANCE = {"float32": 1e-4, "bfloat16": 0.05, "float16": 0.05}  # of probabilities
LEARNING_RATE = 1e-3


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32, help="patches a step")
    parser.add_argument("--steps", type=int, default=2, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--size", type=int, default=120, help="pixels of a patch's side")
    parser.add_argument("--bands", type=int, default=12)
    parser.add_argument("--threads", type=int, default=1, help="of each library")
    parser.add_argument("--classes", type=int, default=19)
    parser.add_argument(
        "--precision", default="float32", help="of Keras: float32, bfloat16, on a GPU float16"
    )
    return parser.parse_args()


def data(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return patches (N, H, W, C) and labels (N, K)."""
    rng, count = np.random.default_rng(0), options.batch * options.steps
    image = rng.standard_normal((count, options.size, options.size, options.bands), np.float32)
    return image, (rng.random((count, options.classes)) < 0.15).astype(np.float32)


def keras_network(options: argparse.Namespace) -> Any:
    from eolab import models
    from eolab.training import losses

    sizes = {"height": options.size, "width": options.size, "channels": options.bands}
    network = models.build("resnet50_patch", outputs=options.classes, activation="sigmoid", **sizes)
    network.compile("adam", losses.build("bce"), jit_compile=False)
    return network


def keras_contestant(network: Any, options: argparse.Namespace) -> Contestant:
    image, labels = data(options)
    inputs = {"image": image}
    return Contestant(
        lambda: network.fit(inputs, labels, batch_size=options.batch, verbose=0),
        lambda: network.predict(inputs, batch_size=options.batch, verbose=0),
        sum(int(np.prod(weight.shape)) for weight in network.trainable_weights),
    )


def torch_contestants(options: argparse.Namespace, network: Any) -> dict[str, Contestant]:
    """Return the ways of PyTorch, none where it is missing; puts its weights into the Keras network."""
    if not has_torch():
        return {}
    import torch
    from torch_resnet import ResNet50

    made = torch_networks(lambda: ResNet50(options.bands, options.classes), options.threads)
    copy_weights(made["as written"], network, options)
    check(made["as written"], network, options)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    return {
        f"PyTorch, {way}": torch_contestant(one, way, data(options), options.batch, loss, torch.sigmoid)
        for way, one in made.items()
    }


def torch_networks(make: Callable[[], Any], threads: int) -> dict[str, Any]:
    """Return a network for each way to run PyTorch; on a GPU it is compiled too."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    ways = ["as written", "at its best", *(["compiled"] if torch.cuda.is_available() else [])]
    return {way: make() for way in ways}


def copy_weights(source: Any, network: Any, options: argparse.Namespace) -> None:
    from safetensors.numpy import save_file

    from eolab.models import weights

    bands = [str(number) for number in range(options.bands)]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "resnet50.safetensors"
        save_file({name: values.numpy() for name, values in source.state_dict().items()}, file)
        weights.load(network, file, bands, published=bands)
    last = source.fc.weight.detach().numpy().T, source.fc.bias.detach().numpy()
    network.get_layer("logits").set_weights(last)


def check(source: Any, network: Any, options: argparse.Namespace) -> None:
    """Stop where the two do not answer alike."""
    import torch

    image = data(options)[0][: options.batch]
    with torch.inference_mode():
        expected = torch.sigmoid(source.eval()(torch.from_numpy(image).permute(0, 3, 1, 2))).numpy()
    found = np.asarray(network.predict_on_batch({"image": image}), np.float32)
    difference = float(np.abs(found - expected).max())
    print(f"Largest difference of probabilities: {difference:.1e} (spread {expected.std():.1e})")
    if not difference <= TOLERANCE[options.precision]:
        sys.exit(f"The networks are not the same: expected up to {TOLERANCE[options.precision]:g}.")


def torch_contestant(
    network: Any,
    way: str,
    given: tuple[np.ndarray, np.ndarray],
    batch: int,
    loss_of: Callable[[Any, Any], Any],
    activation: Callable[[Any], Any],
    learning_rate: float = LEARNING_RATE,
) -> Contestant:
    """Plain loops over batches of images (N, H, W, C); but "as written", in bfloat16 and channels last."""
    import torch

    best = way != "as written"
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = (torch.from_numpy(values) for values in given)
    images = images.permute(0, 3, 1, 2)  # (N, C, H, W), still channels last in memory
    images = images if best else images.contiguous()
    network = network.to(device, memory_format=torch.channels_last) if best else network.to(device)
    optimizer = torch.optim.Adam(network.parameters(), learning_rate, eps=1e-7)  # that of Keras
    call = torch.compile(network) if way == "compiled" else network
    half = torch.autocast(device.type, dtype=torch.bfloat16, enabled=best)

    def train() -> float:
        network.train()
        for rows in torch.randperm(len(images)).split(batch):
            optimizer.zero_grad()
            inputs, truth = images[rows].to(device), labels[rows].to(device)
            with half:
                outputs = call(inputs.contiguous(memory_format=torch.channels_last) if best else inputs)
            loss = loss_of(outputs.float(), truth)
            loss.backward()
            optimizer.step()
        return loss.item()

    def predict() -> np.ndarray:
        network.eval()
        with torch.inference_mode(), half:
            found = [activation(call(rows.to(device)).float()).cpu() for rows in images.split(batch)]
        return torch.cat(found).numpy()

    return Contestant(train, predict, sum(weight.numel() for weight in network.parameters()))


def main() -> None:
    options = arguments()
    import keras

    from eolab import training

    limit_threads(options.threads)
    print(training.set_up(0, options.precision))
    network = keras_network(options)
    others = torch_contestants(options, network)
    contestants = {f"Keras, {options.precision}": keras_contestant(network, options), **others}
    found = rates(contestants, options.batch * options.steps, options.rounds)
    print(
        f"ResNet-50, {options.bands} x {options.size} x {options.size}, batch {options.batch}, "
        f"{next(iter(contestants.values())).weights:,} weights, backend {keras.backend.backend()}, "
        f"threads {options.threads}, load {os.getloadavg()[0]:.1f}"
    )
    print_rates(found, "images/s", "PyTorch, as written")


if __name__ == "__main__":
    main()
