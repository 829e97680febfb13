"""Training and prediction throughput of networks on the Keras backend in force, beside plain PyTorch.

    KERAS_BACKEND=jax python benchmarks/model_throughput.py --batch 1024 --samples 131072
    python benchmarks/model_throughput.py --model unet --size 128 --bands 14 --width 0.25 --batch 16
    python benchmarks/model_throughput.py --model unet --task regression --classes 1 --width 0.25
    python benchmarks/model_throughput.py --model resnet18_patch --task image_classification --size 64

Without ``--model`` all networks of pixel series are measured, else the one named. Where PyTorch is there,
its plain LSTM (no mask, less to do) or the same U-Net is measured in the same run, as written and at its
best: bfloat16, channels last, on a GPU compiled too. Of networks of images, exports to ONNX and OpenVINO
predict too. Rows are samples a second, the median of some rounds after a warm-up that compiles; the
contestants take turns, so that a busy machine is busy for all. On a GPU each round ends with the numbers back
in main memory.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

DATES = 20
OF_IMAGES = {  # what a network of images learns: head, activation, loss
    "segmentation": ("mask", "softmax", "sparse_categorical_crossentropy"),
    "regression": ("values", "linear", "mean_squared_error"),
    "image_classification": ("labels", "softmax", "sparse_categorical_crossentropy"),
}
EXPORTS = (("onnx", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"))


class Contestant(NamedTuple):
    """What is measured: one epoch of training (None: it only predicts), one prediction, how many weights."""

    train: Callable[[], object] | None
    predict: Callable[[], object]
    weights: int


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", default="segmentation", help=f"of images: {', '.join(OF_IMAGES)}")
    parser.add_argument("--model", help="a network of series or of images; all of series where not given")
    parser.add_argument("--samples", type=int, help="a round, 16,384 series or four batches of images")
    parser.add_argument("--batch", type=int, help="samples a step, 256 series or 16 images")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count")
    parser.add_argument("--precision", default="float32", help="float32, bfloat16, on a GPU float16")
    parser.add_argument("--bands", type=int, help="12 of series, 14 of images")
    parser.add_argument("--classes", type=int, help="12 of series, 2 of images")
    parser.add_argument("--size", type=int, default=128, help="pixels of an image's side")
    parser.add_argument("--width", type=float, default=1.0, help="of the network, images only")
    options = parser.parse_args()

    from eolab import models

    options.images = options.model is not None and options.model not in models.names("series")
    usual = {"batch": 256, "bands": 12, "classes": 12, "samples": 16_384}
    if options.images:
        usual = {"batch": 16, "bands": 14, "classes": 2, "samples": 4 * (options.batch or 16)}
    for key, value in usual.items():
        setattr(options, key, getattr(options, key) or value)
    return options


def data(options: argparse.Namespace) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    count, side = options.samples, options.size
    if options.images:
        image = rng.normal(size=(count, side, side, options.bands)).astype("float32")
        if options.task == "regression":
            return {"image": image}, image.mean(-1, keepdims=True)
        mask = (image[..., 0] > 0).astype("int32")
        return {"image": image}, mask if options.task == "segmentation" else mask[:, 0, 0]
    inputs = {
        "image": rng.normal(size=(count, DATES, options.bands)).astype("float32"),
        "valid": (rng.random((count, DATES)) > 1 / 3).astype("float32"),
        "day": np.tile(np.arange(DATES, dtype="float32") * 18, (count, 1)),
    }
    return inputs, rng.integers(0, options.classes, count).astype("int32")


def larger(options: argparse.Namespace) -> int:
    """Samples predicted at once: series are small."""
    return options.batch if options.images else 4 * options.batch


def keras_contestants(options: argparse.Namespace, names: list[str]) -> dict[str, Contestant]:
    import keras

    from eolab import models, prediction, training
    from eolab.core.errors import ParameterError

    training.set_up(0, options.precision)
    inputs, labels = data(options)
    given: dict[str, Any] = {"times": DATES}
    loss = "sparse_categorical_crossentropy"
    if options.images:
        head, activation, loss = OF_IMAGES[options.task]
        given = {"height": options.size, "width": options.size, "width_multiplier": options.width}
        given |= {"head": head, "activation": activation}
    target: Any = {head: labels} if options.images and head != "labels" else labels

    def contestants(name: str) -> Iterator[tuple[str, Contestant]]:
        model = models.build(name, channels=options.bands, outputs=options.classes, **given)
        fastest = models.compile_options(name) if keras.backend.backend() == "tensorflow" else {}
        model.compile("adam", loss, **fastest)
        weights = sum(math.prod(weight.shape) for weight in model.trainable_weights)
        yield (
            f"keras {name}",
            Contestant(
                lambda: model.fit(inputs, target, batch_size=options.batch, verbose=0),
                lambda: model.predict(inputs, batch_size=larger(options), verbose=0),
                weights,
            ),
        )
        if options.images and keras.backend.backend() == "tensorflow":
            for engine, precision in EXPORTS:
                with suppress(ParameterError):  # not installed, or no bfloat16 on this processor
                    predict = prediction.load(model, engine, batch_size=larger(options), precision=precision)
                    yield f"  as {engine}, {precision}", Contestant(None, partial(predict, inputs), weights)

    return dict(each for name in names for each in contestants(name))


def torch_contestants(options: argparse.Namespace) -> dict[str, Contestant]:
    try:
        import torch
    except ModuleNotFoundError:
        print("PyTorch is missing: Keras is measured alone.")
        return {}
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    if options.images and options.task != "segmentation":
        return {}
    if not options.images:
        return {"PyTorch lstm": torch_contestant(options, torch_lstm(options))}
    import torch_unet

    name = options.model if options.model in torch_unet.KNOWN else "unet"
    sizes = (options.bands, options.classes, options.width, *torch_unet.KNOWN[name])
    best = {"best": True}
    ways = {"": {}, ", at its best": best} | (
        {", compiled": best | {"compiled": True}} if torch.cuda.is_available() else {}
    )
    return {
        f"PyTorch {name}{way}": torch_contestant(options, torch_unet.UNet(*sizes), **how)
        for way, how in ways.items()
    }


def torch_lstm(options: argparse.Namespace) -> Any:
    import torch

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.recurrent = torch.nn.LSTM(options.bands, 64, batch_first=True)
            self.dense = torch.nn.Linear(64, options.classes)

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return self.dense(self.recurrent(image)[0][:, -1])

    return Network()


def torch_contestant(
    options: argparse.Namespace, network: Any, best: bool = False, compiled: bool = False
) -> Contestant:
    """Plain loops over batches; at its best with bfloat16 products and channels last in memory."""
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    inputs, labels = data(options)
    image, target = torch.from_numpy(inputs["image"]), torch.from_numpy(labels).long()
    if options.images:
        image = image.permute(0, 3, 1, 2)  # (N, C, H, W), still channels last in memory
        image = image if best else image.contiguous()
        network = network.to(memory_format=torch.channels_last) if best else network
    weights = sum(weight.numel() for weight in network.parameters())
    optimizer = torch.optim.Adam(network.parameters())
    call = torch.compile(network) if compiled else network
    half = torch.autocast(device.type, dtype=torch.bfloat16, enabled=best)

    def train() -> None:
        network.train()
        for rows in torch.randperm(len(image)).split(options.batch):
            optimizer.zero_grad()
            with half:
                logits = call(image[rows].to(device))
            loss = torch.nn.functional.cross_entropy(logits.float(), target[rows].to(device))
            loss.backward()
            optimizer.step()
        loss.item()

    def predict() -> None:
        network.eval()
        with torch.inference_mode(), half:
            for rows in image.split(larger(options)):
                call(rows.to(device)).float().softmax(1).cpu()

    return Contestant(train, predict, weights)


def rates(contestants: dict[str, Contestant], count: int, rounds: int) -> dict[str, tuple[float, float]]:
    """Return samples a second in training and in prediction, from rounds in which all take turns."""
    seconds: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in contestants}
    for turn in range(rounds + 1):
        for name, contestant in contestants.items():
            for run, spent in zip(contestant[:2], seconds[name], strict=True):
                start = time.perf_counter()
                if run is not None:
                    run()
                spent.extend([time.perf_counter() - start if run else np.nan] if turn else [])
    return {
        name: (count / statistics.median(train), count / statistics.median(predict))
        for name, (train, predict) in seconds.items()
    }


def main() -> None:
    options = arguments()
    import keras

    from eolab import models

    contestants = keras_contestants(options, [options.model] if options.model else models.names("series"))
    contestants |= torch_contestants(options)
    found = rates(contestants, options.samples, options.rounds)
    reference = next((rate for name, rate in found.items() if name.startswith("PyTorch")), (np.nan, np.nan))
    print(f"backend {keras.backend.backend()}, precision {options.precision}, batch {options.batch}")
    print(f"{'':30} {'weights':>11} {'train/s':>10} {'× PyTorch':>10} {'predict/s':>10} {'× PyTorch':>10}")
    for name, (train, predict) in found.items():
        print(
            f"{name:30} {contestants[name].weights:11,} {train:10,.1f} {train / reference[0]:10.2f}"
            f" {predict:10,.1f} {predict / reference[1]:10.2f}"
        )


if __name__ == "__main__":
    main()
