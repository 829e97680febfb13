"""The benchmarks compare equals: small sizes of what they measure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _folder(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")


@pytest.mark.parametrize(("kind", "count"), [("regions", 60), ("points", 5_000)])
def test_regions_and_points_are_laid_on_the_grid_as_by_loops(kind, count, tmp_path):
    import regions_and_points as benchmark

    size, file = 270, tmp_path / ("regions.gpkg" if kind == "regions" else "points.csv")
    benchmark.WRITERS[kind](file, count, size)
    found = [make(file, benchmark.grid_of(size)) for make in benchmark.CONTESTANTS[kind].values()]
    for other in found[1:]:
        for one, expected in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(one, expected)
    labels, pixels = found[0]
    if kind == "regions":
        assert (labels != benchmark.IGNORE).sum() < pixels.sum()  # some overlap
    else:
        assert 0 < pixels < 50 < labels.sum() < count


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("convlstm", "unet", "rau_net", "resnet50", "transfer", "deeplabv3"),
        *("lstm", "tempcnn", "ltae", "transformer", "utae"),
    ],
)
def test_twins_in_pytorch_predict_and_learn_as_our_networks(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: name a CPU build in PYTHONPATH")
    import processor
    import torch_weights
    from gpu_cases import small
    from gpu_keras import KerasNetwork
    from gpu_torch import TorchNetwork

    case = small(processor.cases([name])[name])
    if name == "resnet50":  # normalised over two pixels, its last maps would be chance
        case = case._replace(batch=8, sizes={**case.sizes, "height": 96, "width": 96})
    ours, theirs = KerasNetwork(case, "float32"), TorchNetwork(case, compile_it=False, best=False)
    if name == "lstm":  # PyTorch's has no mask
        ours.samples.inputs["valid"][:] = 1
    layers = torch_weights.inside(ours.network)
    without_dropout(layers, theirs.network)
    shake(ours.network.trainable_variables, layers)
    torch_weights.share(ours.network, theirs.network)
    learnt = sum(one.numel() for key, one in theirs.network.named_parameters() if one.requires_grad)
    second_bias = theirs.network.recurrent.bias_hh_l0.numel() if name == "lstm" else 0
    assert learnt - second_bias == sum(int(np.prod(one.shape)) for one in ours.network.trainable_variables)

    batches = ours.from_memory(1)
    given, truth = theirs.to_card(torch.from_numpy(batches.order()[0]))
    found = ours.network.predict_on_batch(batches[0][0])
    found = next(iter(found.values())) if isinstance(found, dict) else found
    theirs.network.eval()
    with torch.inference_mode():
        expected = theirs.network(*theirs.read(given))
    if ours.task.activation != "linear":
        several = case.outputs > 1 and name not in ("convlstm", "resnet50")
        expected = expected.softmax(1) if several else expected.sigmoid()
    found = found[..., 1] if name == "convlstm" else np.moveaxis(found, -1, 1) if found.ndim == 4 else found
    scale = float(expected.std())
    np.testing.assert_allclose(found.reshape(expected.shape) / scale, expected / scale, atol=1e-3)

    trained, losses = ours.compiled(jit_compile=False), []
    for _ in range(3):
        one = float(trained.train_on_batch(*batches[0], return_dict=True)["loss"])
        theirs.network.train()
        other = theirs.loss_of(theirs.network(*theirs.read(given)).float(), truth)
        theirs.learn([(given, truth)])
        losses.append((one, float(other.detach())))
    np.testing.assert_allclose(*np.transpose(losses), atol=0.01 * losses[0][0])
    assert losses[-1][0] < losses[0][0]


def without_dropout(layers, twin):
    """Let both learn alike."""
    for layer in layers:
        if hasattr(layer, "rate"):
            layer.rate = 0
    for module in twin.modules():
        if type(module).__name__ == "Dropout":
            module.p = 0
        elif type(module).__name__ == "MultiheadAttention":
            module.dropout = 0


def shake(trainable, layers):
    """Let no two weights be alike, as biases and statistics are at first."""
    rng = np.random.default_rng(0)
    norms = [layer for layer in layers if type(layer).__name__.endswith("BatchNormalization")]
    variables = [*trainable, *(one for layer in norms for one in layer.weights)]
    for variable in {one.path: one for one in variables}.values():
        values = np.asarray(variable) + 0.05 * rng.standard_normal(variable.shape)
        variable.assign(np.abs(values) if variable.path.endswith("variance") else values)
