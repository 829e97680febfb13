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
def test_deeplabv3_learns_as_the_same_network_in_pytorch():
    pytest.importorskip("torch", reason="PyTorch is not installed: name a CPU build in PYTHONPATH")
    import deeplabv3_throughput as benchmark

    small = ["--size", "27", "30", "--batch", "2", "--steps", "1", "--dropout", "0"]
    ours, theirs, _ = benchmark.contestants(benchmark.arguments(small)).values()
    assert ours.weights == theirs.weights
    before = ours.predict()
    for contestant in (ours, theirs):
        contestant.train()
    assert np.abs(ours.predict() - theirs.predict()).max() < 0.02 * np.abs(ours.predict() - before).max()


@pytest.mark.parametrize("name", ["tempcnn", "ltae"])
def test_twins_of_pixel_series_predict_as_our_networks(name):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: name a CPU build in PYTHONPATH")
    import torch_series
    from utae_training import fill

    from eolab import models

    times, bands, classes = 6, 3, 4
    network = models.build(name, times=times, channels=bands, outputs=classes)
    of_name = {"tempcnn": lambda: torch_series.TempCNN(times, bands, classes)}
    other = of_name.get(name, lambda: torch_series.LTAE(bands, classes))().eval()
    kinds = {"Conv1D": "Conv1d", "Dense": "Linear", "BatchNormalization": "BatchNorm1d"}
    kinds["LayerNormalization"] = "LayerNorm"
    for ours, theirs in kinds.items():
        layers = [layer for layer in network.layers if type(layer).__name__ == ours]
        modules = [module for module in other.modules() if type(module).__name__ == theirs]
        for layer, module in zip(layers, modules, strict=True):
            values = [np.asarray(weight).transpose() for weight in layer.weights]
            if values[0].shape[-1] == 64 * times:  # of features at dates, in PyTorch of dates of features
                values[0] = values[0].reshape(-1, times, 64).transpose(0, 2, 1).reshape(values[0].shape)
            for place, value in zip([*module.parameters(), *module.buffers()], values, strict=False):
                fill(place, value)
    for layer in [layer for layer in network.layers if type(layer).__name__ == "MasterQueryAttention"]:
        fill(other.query, np.asarray(layer.query))
        fill(other.key, np.asarray(layer.key))
    rng = np.random.default_rng(0)
    inputs = {"image": rng.normal(size=(5, times, bands)), "valid": rng.random((5, times)) > 0.3}
    inputs |= {"day": np.tile(np.arange(times) * 18, (5, 1))}
    inputs = {name: values.astype("float32") for name, values in inputs.items()}
    given = list(inputs)[: 2 if name == "tempcnn" else 3]
    found = other(*(torch.from_numpy(inputs[one]) for one in given)).softmax(1).detach().numpy()
    np.testing.assert_allclose(found, network.predict_on_batch(inputs), atol=1e-5)
    assert sum(one.numel() for one in other.parameters()) == sum(
        int(np.prod(one.shape)) for one in network.trainable_weights
    )
