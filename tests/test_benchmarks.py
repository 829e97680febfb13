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
