"""PyTorch's side of `gpu.py`: the same networks, trained as a careful user does, eager and compiled."""

# ruff: noqa: D102 (each method is a way to be measured; the class documents them)

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable
from typing import Any

from gpu_cases import KEPT, LEARNING_RATE, Case, Way, samples

from eolab.core.machine import instructions

Twin = tuple[Any, Callable[[dict[str, Any]], tuple[Any, ...]], Callable[..., Any]]


def twin(case: Case) -> Twin:
    """Return the network in PyTorch, what it takes of the inputs on the card, and its loss."""
    if case.network == "convlstm":
        return flood_twin(case)
    return twin_of_images(case) if "times" not in case.sizes else twin_of_series(case)


def entropy(logits: Any, label: Any) -> Any:
    from torch.nn import functional

    return functional.cross_entropy(logits, label.long())


def twin_of_images(case: Case) -> Twin:
    from torch.nn import functional
    from torch_deeplabv3 import DeepLabV3
    from torch_resnet import ResNet50
    from torch_unet import KNOWN as UNETS
    from torch_unet import UNet

    def image(inputs: dict[str, Any]) -> tuple[Any, ...]:
        return (inputs["image"].permute(0, 3, 1, 2),)  # (B, C, H, W), channels last in memory

    bands, classes = case.sizes["channels"], case.outputs
    if case.network in UNETS:
        width = case.sizes.get("width_multiplier", 1.0)
        return UNet(bands, classes, width, *UNETS[case.network]), image, entropy
    if case.network == "deeplabv3":
        return DeepLabV3(bands), image, masked_mse
    network = ResNet50(bands, classes)
    if case.frozen:
        return frozen(network), image, entropy
    return network, image, functional.binary_cross_entropy_with_logits


def twin_of_series(case: Case) -> Twin:
    import torch
    from torch_series import LSTM, LTAE, TempCNN, Transformer
    from torch_utae import UTAE

    bands, classes, times = case.sizes["channels"], case.outputs, case.sizes["times"]

    def maps(inputs: dict[str, Any]) -> tuple[Any, ...]:
        valid = inputs["valid"][..., None]
        return torch.cat([inputs["image"] * valid, valid], -1).permute(0, 1, 4, 2, 3), inputs["day"]

    def some(*names: str) -> Callable[[dict[str, Any]], tuple[Any, ...]]:
        return lambda inputs: tuple(inputs[name] for name in names)

    if case.network == "utae_mask":
        return UTAE(bands + 1, classes), maps, entropy
    if case.network == "tempcnn":
        return TempCNN(times, bands, classes), some("image", "valid"), entropy
    if case.network in ("ltae", "transformer"):
        made = LTAE if case.network == "ltae" else Transformer
        return made(bands, classes), some("image", "valid", "day"), entropy
    return LSTM(bands, classes), some("image"), entropy


def masked_mse(prediction: Any, truth: Any) -> Any:
    """Return the mean squared error over the pixels whose truth is known, shapes known beforehand."""
    known = ~truth.isnan()
    errors = (prediction - truth.nan_to_num()).square() * known
    return errors.sum() / known.sum()


def frozen(network: Any) -> Any:
    """Return a network whose last layer alone learns."""
    import torch

    class Transfer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.fc = network.eval().requires_grad_(False), network.fc.requires_grad_(True)

        def train(self, mode: bool = True) -> Any:
            self.fc.train(mode)
            return self

        def forward(self, x: Any) -> Any:
            with torch.no_grad():
                features = self.encoder.features(x)
            return self.fc(features)

    return Transfer()


def flood_twin(case: Case) -> Twin:
    """Return the ConvLSTM."""
    import torch
    from torch_convlstm import ConvLSTM

    network = ConvLSTM(*(case.sizes[name] for name in ("channels", "height", "width")))

    def both(inputs: dict[str, Any]) -> tuple[Any, ...]:
        return ({k: v.permute(0, 1, 4, 2, 3) if v.ndim == 5 else v for k, v in inputs.items()},)

    def loss(logits: Any, label: Any) -> Any:
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(logits, label.float())
        return entropy + network.penalty()

    return network, both, loss


class TorchNetwork:
    """A network in PyTorch as a careful user trains it, eager or compiled; or as written.

    A processor without instructions for bfloat16 trains in float32: PyTorch has no LSTM in bfloat16 there. As
    written is in float32, images with their channels first, and Adam a weight after the other.
    """

    def __init__(self, case: Case, compile_it: bool, best: bool = True) -> None:
        import torch

        self.case, self.on_gpu = case, torch.cuda.is_available()
        self.device = torch.device("cuda" if self.on_gpu else "cpu")
        inputs, label = samples(case, KEPT * case.batch)
        self.held = {name: torch.from_numpy(values) for name, values in inputs.items()}
        self.label = torch.from_numpy(label)
        self.card = [self.to_card(rows) for rows in torch.arange(len(label)).split(case.batch)]
        network, self.read, self.loss_of = twin(case)
        if not best and list(self.held) == ["image"]:
            self.read = lambda inputs: (inputs["image"].permute(0, 3, 1, 2).contiguous(),)
        self.network = network.to(self.device)
        if "height" in case.sizes and best:
            self.network = self.network.to(memory_format=torch.channels_last)
        learnt = [weight for weight in self.network.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.Adam(learnt, LEARNING_RATE, eps=1e-7, fused=best)  # that of Keras
        backend = "inductor" if self.on_gpu else "eager"  # whose compiler for processors is slow
        given = {"dynamic": False, "backend": backend}
        self.call = torch.compile(self.network, **given) if compile_it else self.network
        low = best and (self.on_gpu or "bf16" in instructions())
        self.half = torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=low)

    def to_card(self, rows: Any) -> tuple[dict[str, Any], Any]:
        """Return inputs and labels of some samples on the card."""
        return {k: v[rows].to(self.device) for k, v in self.held.items()}, self.label[rows].to(self.device)

    def learn(self, batches: Iterable[tuple[dict[str, Any], Any]]) -> None:
        self.network.train()
        for given, truth in batches:
            self.optimizer.zero_grad()
            with self.half:
                found = self.call(*self.read(given))
            loss = self.loss_of(found.float(), truth)
            loss.backward()
            self.optimizer.step()
        loss.item()

    def train(self, steps: int) -> None:
        self.learn(self.card[index % KEPT] for index in range(steps))

    def from_memory(self, steps: int) -> None:
        import torch

        rows = itertools.cycle(torch.randperm(len(self.label)).split(self.case.batch))
        self.learn(map(self.to_card, itertools.islice(rows, steps)))

    def predict(self, steps: int) -> None:
        import torch

        self.network.eval()
        several = self.case.outputs > 1 and self.case.network != "convlstm"
        with torch.inference_mode(), self.half:
            for index in range(steps):
                found = self.call(*self.read(self.card[index % len(self.card)][0])).float()
                (found.softmax(1) if several else found).cpu()

    def taken(self, run: Way) -> int:
        """Return the bytes of a step: those that it adds, and those of weights, optimizer and batch."""
        import torch

        if not self.on_gpu:
            return 0
        self.optimizer.zero_grad()
        kept = [*self.network.parameters(), *self.network.buffers(), *self.card[0][0].values()]
        if run != self.predict:
            kept += [one for state in self.optimizer.state.values() for one in state.values()]
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run(2)
        added = torch.cuda.max_memory_allocated() - before
        return int(added + sum(one.numel() * one.element_size() for one in kept))


def torch_ways(case: Case) -> tuple[dict[str, Way], dict[str, Any]]:
    """Return the ways of PyTorch by name and action, and facts as :func:`keras_ways`."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 8))  # they wait for each other on a busy machine
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("high")
    ways: dict[str, Way] = {}
    facts: dict[str, Any] = {"versions": f"PyTorch {torch.__version__}"}
    for name, compile_it in (("PyTorch", False), ("PyTorch compiled", True)):
        one = TorchNetwork(case, compile_it)
        made = {f"train, {name}": one.train, f"predict, {name}": one.predict}
        made |= {f"train, {name}, from memory": one.from_memory} if compile_it else {}
        for key, run in made.items():
            run(3)
            facts[key] = one.taken(run)
        ways |= made
        learnt = [(key, weight) for key, weight in one.network.named_parameters() if weight.requires_grad]
        facts["weights"] = sum(
            weight.numel() for key, weight in learnt if "bias_hh" not in key
        )  # cuDNN's own
    return ways, facts
