"""Training and prediction of U-TAE on series of images: Keras beside the same network in plain PyTorch.

    PYTHONPATH=<folder of PyTorch> python benchmarks/utae_training.py --threads 2
    PYTHONPATH=<folder of PyTorch> python benchmarks/utae_training.py --size 64 --times 20 --rounds 3

The network is that of the paper, of its width. PyTorch is given Keras's weights; both must have as many and
predict alike before anything is measured. Rates are series a second of wall time and of processor time,
medians of some rounds after a warm-up, in which the two take turns.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from deeplabv3_throughput import weights_of
from sequence_throughput import Contestant, has_torch, limit_threads, print_rates, rates

LEARNING_RATE, DROPOUT = 1e-3, 0.1
MISSING = 0.3  # share of the pixels without an observation
TOLERANCE = 1e-4  # of probabilities


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=32, help="rows and columns, a multiple of 8")
    parser.add_argument("--times", type=int, default=12, help="images of a series")
    parser.add_argument("--bands", type=int, default=12)
    parser.add_argument("--classes", type=int, default=12)
    parser.add_argument("--batch", type=int, default=4, help="series a step")
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--threads", type=int, default=1, help="of each library")
    return parser.parse_args(given)


def data(options: argparse.Namespace) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the inputs of a network of image series and the class of each pixel (N, H, W)."""
    rng, count = np.random.default_rng(0), options.batch * options.steps
    place = (count, options.times, options.size, options.size)
    valid = (rng.random(place) >= MISSING).astype(np.float32)
    image = rng.standard_normal((*place, options.bands), np.float32) * valid[..., None]
    day = np.tile(np.arange(options.times, dtype=np.float32) * 18, (count, 1))
    labels = rng.integers(0, options.classes, (count, *place[2:]))
    return {"image": image, "valid": valid, "day": day}, labels


def keras_network(options: argparse.Namespace) -> Any:
    import keras

    from eolab import models
    from eolab.training import losses

    sizes = {"times": options.times, "height": options.size, "width": options.size}
    sizes |= {"channels": options.bands, "outputs": options.classes}
    network = models.build("utae_mask", **sizes, dropout=DROPOUT)
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    network.compile(optimizer, {"mask": losses.build({"ce": 1})}, jit_compile=False)
    return network


def keras_contestant(network: Any, options: argparse.Namespace) -> Contestant:
    inputs, labels = data(options)
    batch = {"batch_size": options.batch, "verbose": 0}
    return Contestant(
        lambda: network.fit(inputs, {"mask": labels}, **batch),
        lambda: network.predict(inputs, **batch)["mask"],
        weights_of(network.trainable_weights),
    )


def torch_contestant(network: Any, options: argparse.Namespace) -> Contestant:
    """Plain loops over batches; the network reads which pixels were observed as one more channel."""
    import torch

    inputs, labels = data(options)
    series = np.concatenate([inputs["image"], inputs["valid"][..., None]], -1).transpose(0, 1, 4, 2, 3)
    image, day = torch.from_numpy(np.ascontiguousarray(series)), torch.from_numpy(inputs["day"])
    truth, loss = torch.from_numpy(labels), torch.nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(network.parameters(), LEARNING_RATE, eps=1e-7)  # that of Keras

    def train() -> None:
        network.train()
        for rows in torch.randperm(len(truth)).split(options.batch):
            optimizer.zero_grad()
            loss(network(image[rows], day[rows]), truth[rows]).backward()
            optimizer.step()

    def predict() -> np.ndarray:
        network.eval()
        with torch.inference_mode():
            parts = zip(image.split(options.batch), day.split(options.batch), strict=True)
            found = [network(*part).softmax(1).permute(0, 2, 3, 1) for part in parts]
        return torch.cat(found).numpy()

    return Contestant(train, predict, sum(weight.numel() for weight in network.parameters()))


def copy_weights(source: Any, target: Any) -> None:
    """Put Keras's weights into PyTorch's network: layers of each kind in their order, coder by coder."""
    import keras
    import torch

    kinds = {
        keras.layers.Conv2D: torch.nn.Conv2d,
        keras.layers.Conv2DTranspose: torch.nn.ConvTranspose2d,
        keras.layers.Dense: torch.nn.Linear,
        keras.layers.GroupNormalization: torch.nn.GroupNorm,
        keras.layers.BatchNormalization: torch.nn.BatchNorm2d,
        keras.layers.LayerNormalization: torch.nn.LayerNorm,
    }
    (attention,) = (each for each in source.layers if type(each).__name__ == "PixelAttention")
    fill(target.attention.query, np.asarray(attention.query))
    fill(target.attention.key.weight, np.asarray(attention.key).T)
    for ours, theirs in kinds.items():
        layers = [each for each in source.layers if isinstance(each, ours)]
        modules = [each for each in target.modules() if type(each) is theirs]
        modules = [each for each in modules if each is not target.attention.key]
        for layer, module in zip(layers, modules, strict=True):
            values = [np.asarray(each) for each in layer.weights]
            if values[0].ndim > 1:  # kernels (3, 3, C, F) become (F, C, 3, 3), and (C, F) become (F, C)
                values[0] = values[0].transpose((3, 2, 0, 1) if values[0].ndim == 4 else (1, 0))
            places = [module.weight, module.bias, *module.buffers()]
            for place, value in zip(places, values, strict=False):  # PyTorch counts batches too
                fill(place, value)


def fill(place: Any, value: np.ndarray) -> None:
    import torch

    if tuple(place.shape) != value.shape:
        sys.exit(f"The networks are not the same: weights {value.shape} in Keras, {tuple(place.shape)}.")
    with torch.no_grad():
        place.copy_(torch.from_numpy(np.ascontiguousarray(value)))


def contestants(options: argparse.Namespace) -> dict[str, Contestant]:
    """Return Keras, and PyTorch where it is there, with the same weights; stop where they differ."""
    network = keras_network(options)
    found = {"Keras": keras_contestant(network, options)}
    if has_torch():
        import torch
        from torch_utae import UTAE

        torch.set_num_threads(options.threads)
        other = UTAE(options.bands + 1, options.classes, DROPOUT)
        copy_weights(network, other)
        found["PyTorch"] = torch_contestant(other, options)
        counts = [each.weights for each in found.values()]
        if counts[0] != counts[1]:
            sys.exit(f"The networks are not the same: {counts[0]:,} weights in Keras, {counts[1]:,}.")
        expected = found["PyTorch"].predict()
        difference = float(np.abs(found["Keras"].predict() - expected).max())
        print(f"Largest difference of probabilities: {difference:.1e} (spread {expected.std():.1e})")
        if not difference <= TOLERANCE:
            sys.exit(f"The networks are not the same: expected differences up to {TOLERANCE:g}.")
    return found


def main() -> None:
    options = arguments()
    limit_threads(options.threads)
    measured = contestants(options)
    found = rates(measured, options.batch * options.steps, options.rounds)
    print(
        f"U-TAE, {options.times} images of {options.bands} x {options.size} x {options.size}, batch "
        f"{options.batch}, {measured['Keras'].weights:,} weights, threads {options.threads}, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    print_rates(found, "series/s", "PyTorch")


if __name__ == "__main__":
    main()
