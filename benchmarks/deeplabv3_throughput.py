"""Training and prediction of DeepLabV3 for a value per pixel: Keras beside the same network in plain PyTorch.

    PYTHONPATH=<folder of PyTorch> python benchmarks/deeplabv3_throughput.py
    PYTHONPATH=<folder of PyTorch> python benchmarks/deeplabv3_throughput.py --backbone resnet101

The study `clearing` learns a degree so: Adam and the mean squared error over the pixels that count. PyTorch's
network is measured as written, and at its best: bfloat16 products and channels last in memory. Keras begins
with its weights; both must have as many, predict alike and have the same loss before anything is measured.
Rates are images a second of wall time and of processor time, medians of some rounds after a warm-up, in which
the contestants take turns.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from patch_throughput import torch_contestant, torch_networks
from sequence_throughput import Contestant, has_torch, limit_threads, print_rates, rates

LEARNING_RATE = 1e-4
KNOWN = 0.7  # share of the pixels that count
TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05, "float16": 0.05}  # times the spread of the predictions


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--backbone", default="resnet50", choices=["resnet50", "resnet101"])
    parser.add_argument("--batch", type=int, default=8, help="images a step")
    parser.add_argument("--steps", type=int, default=4, help="steps a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--size", type=int, nargs=2, default=[67, 70], help="rows and columns of an image")
    parser.add_argument("--bands", type=int, default=13)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--threads", type=int, default=1, help="of each library")
    parser.add_argument(
        "--precision", default="float32", help="of Keras: float32, bfloat16, on a GPU float16"
    )
    return parser.parse_args(given)


def data(options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Return images (N, H, W, C) and degrees (N, H, W), NaN where none is known."""
    rng, count = np.random.default_rng(0), options.batch * options.steps
    image = rng.standard_normal((count, *options.size, options.bands), np.float32)
    known = rng.random((count, *options.size)) < KNOWN
    return image, np.where(known, rng.random(known.shape), np.nan).astype(np.float32)


def keras_network(options: argparse.Namespace) -> Any:
    import keras

    from eolab import models
    from eolab.training import losses

    height, width = options.size
    sizes = {"height": height, "width": width, "channels": options.bands, "outputs": 1}
    given = {"backbone": options.backbone, "dropout": options.dropout}
    network = models.build("deeplabv3", head="values", activation="linear", **sizes, **given)
    optimizer = keras.optimizers.Adam(LEARNING_RATE)
    network.compile(optimizer, {"values": losses.build("mse")}, jit_compile=False)
    return network


def keras_contestant(network: Any, options: argparse.Namespace) -> Contestant:
    image, degree = data(options)
    inputs, truth, batch = {"image": image}, {"values": degree}, {"batch_size": options.batch, "verbose": 0}
    return Contestant(
        lambda: network.fit(inputs, truth, **batch),
        lambda: network.predict(inputs, **batch)["values"][..., 0],
        weights_of(network.trainable_weights),
    )


def weights_of(variables: Any) -> int:
    return sum(int(np.prod(each.shape)) for each in variables)


def masked_mse(prediction: Any, truth: Any) -> Any:
    """Return the mean squared error over the pixels whose truth is known."""
    known = ~truth.isnan()
    return (prediction[known] - truth[known]).square().mean()


def copy_weights(source: Any, network: Any) -> None:
    """Put PyTorch's weights into the Keras network: by name in the encoder, then layer by layer."""
    made: dict[str, int] = {}
    for name, module in source.named_modules():
        values = [each.detach().cpu().numpy() for each in (*module.parameters(False), *module.buffers(False))]
        if not values:
            continue
        kind = "batch_normalization"
        if values[0].ndim == 4:  # kernels (F, C, 3, 3) become (3, 3, C, F)
            values[0] = values[0].transpose(2, 3, 1, 0)
            kind = "conv2d" if module.dilation == (1, 1) else "atrous_conv2d"
        values = values[:4]  # PyTorch counts the batches of a normalisation too
        if name == "values":
            layer = "values_logits"
        elif name.startswith("encoder."):
            layer = name.replace(".", "_")
        else:
            made[kind] = made.get(kind, 0) + 1
            layer = f"decoder_{kind}_{made[kind]}"
        network.get_layer(layer).set_weights(values)


def check(source: Any, network: Any, options: argparse.Namespace) -> None:
    """Stop where the two have not as many weights, or do not predict alike, or have another loss."""
    import torch

    image, degree = (values[: options.batch] for values in data(options))
    with torch.inference_mode():
        expected = source.eval()(torch.from_numpy(image).permute(0, 3, 1, 2))
        loss = float(masked_mse(expected, torch.from_numpy(degree)))
    found = np.asarray(network.predict_on_batch({"image": image})["values"], np.float32)[..., 0]
    found_loss = float(network.test_on_batch({"image": image}, {"values": degree}))
    difference = float(np.abs(found - expected.numpy()).max() / expected.std())
    print(f"Largest difference of predictions: {difference:.1e} of their spread")
    print(f"Loss: {found_loss:.6f}, PyTorch {loss:.6f}")
    most, counts = TOLERANCE[options.precision], [weights_of(network.trainable_weights)]
    counts += [weights_of(source.parameters())]
    if counts[0] != counts[1]:
        sys.exit(f"The networks are not the same: {counts[0]:,} weights in Keras, {counts[1]:,} in PyTorch.")
    if not (difference <= most and abs(found_loss - loss) <= most * loss):
        sys.exit(f"The networks are not the same: expected differences up to {most:g}.")


def contestants(options: argparse.Namespace) -> dict[str, Contestant]:
    """Return Keras, and the ways of PyTorch where it is there, with the same weights."""
    network, others = keras_network(options), {}
    if has_torch():
        import torch
        from torch_deeplabv3 import DeepLabV3

        made = torch_networks(
            lambda: DeepLabV3(options.bands, options.backbone, options.dropout), options.threads
        )
        copy_weights(made["as written"], network)
        check(made["as written"], network, options)
        others = {
            f"PyTorch, {way}": torch_contestant(
                one, way, data(options), options.batch, masked_mse, torch.nn.Identity(), LEARNING_RATE
            )
            for way, one in made.items()
        }
    return {f"Keras, {options.precision}": keras_contestant(network, options), **others}


def main() -> None:
    options = arguments()
    import keras

    from eolab import training

    limit_threads(options.threads)
    print(training.set_up(0, options.precision))
    measured = contestants(options)
    found = rates(measured, options.batch * options.steps, options.rounds)
    height, width = options.size
    print(
        f"DeepLabV3 on {options.backbone}, {options.bands} x {height} x {width}, batch {options.batch}, "
        f"{next(iter(measured.values())).weights:,} weights, backend {keras.backend.backend()}, "
        f"threads {options.threads}, load {os.getloadavg()[0]:.1f}"
    )
    print_rates(found, "images/s", "PyTorch, as written")


if __name__ == "__main__":
    main()
