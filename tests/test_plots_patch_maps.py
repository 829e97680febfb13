"""Figures of what stands where in patches: nothing clipped, nothing blank, legends of what is there."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import itertools

import matplotlib.pyplot as plt
import numpy as np
import pytest

from eolab import plots
from eolab.data.schemes.bigearthnet import CLASSES_19
from eolab.plots.style import WIDEST

COUNT, SIZE, K = 4, 24, len(CLASSES_19)


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def colours() -> np.ndarray:
    return np.random.default_rng(0).integers(200, 3000, (COUNT, SIZE, SIZE, 3)).astype(np.uint16)


def boxes(figure: plt.Figure) -> tuple[np.ndarray, list]:
    """Return the figure's size in pixels, and what its texts cover."""
    figure.canvas.draw()
    found = [text for ax in figure.axes for text in (ax.title, ax._left_title, ax.yaxis.label)]
    found += [text for legend in figure.legends for text in legend.get_texts()]
    return figure.bbox.size, [text.get_window_extent() for text in found if text.get_text()]


def test_values_stand_under_their_patches_with_one_colour_bar(colours):
    measured = np.random.default_rng(0).normal(20, 5, (COUNT, SIZE, SIZE))
    measured[0, :5] = np.nan
    maps = {"Measured": measured, "Predicted": measured * 0 + 20}
    figure = plots.value_maps(colours, maps, "Height (m)", ["A", "B", "C", "D"])
    assert len(figure.axes) == 3 * COUNT + 1
    assert figure.axes[-1].get_ylabel() == "Height (m)"
    drawn = [ax.images[0] for ax in figure.axes[COUNT : 3 * COUNT]]
    assert {one.get_clim() for one in drawn} == {drawn[0].get_clim()}
    np.testing.assert_array_equal(drawn[0].get_array().mask, np.isnan(measured[0]))
    figure_of_shares = plots.value_maps(colours, maps, "Degree", ["A", "B", "C", "D"], limits=(0, 1))
    assert figure_of_shares.axes[COUNT].images[0].get_clim() == (0, 1)
    size, texts = boxes(figure)
    assert all(box.x0 >= 0 and box.y0 >= 0 and (box.max <= size).all() for box in texts)


def test_maps_stand_under_their_patches_with_one_legend_of_what_is_there(colours):
    maps = {
        "Reference map": np.full((COUNT, SIZE, SIZE), 4, np.uint8),
        "A map with a long name": np.full((COUNT, SIZE, SIZE), 255, np.uint8),
    }
    maps["Reference map"][0, :5] = 6
    titles = ["S2A_MSIL2A_20171221T112501_73_11"] * COUNT
    figure = plots.patch_maps(colours, maps, CLASSES_19, titles)
    size, texts = boxes(figure)
    for box in texts:
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= size[0]
        assert box.y1 <= size[1]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names[0] == "Pastures"
    assert names[-1] == "No label or no data"
    assert len(names) == 3
    assert all(len(name) <= WIDEST for name in names)
    assert len(figure.axes) == 3 * COUNT


def test_titles_of_neighbouring_patches_do_not_meet(colours):
    titles = ["S2A_MSIL2A_20171221T112501_73_11"] * COUNT
    figure = plots.patch_maps(colours, {"Map": np.zeros((COUNT, SIZE, SIZE), np.uint8)}, CLASSES_19, titles)
    figure.canvas.draw()
    drawn = [ax._left_title.get_window_extent() for ax in figure.axes[:COUNT]]
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(drawn))


def test_activations_share_one_scale_that_is_even_about_zero(colours):
    maps = np.random.default_rng(1).normal(0, 2, (COUNT, SIZE, SIZE, K)).astype(np.float32)
    shown = [[0, 1], [2, 3], [4, 6], [6, 18]]
    figure = plots.activations(colours, maps, shown, CLASSES_19.names)
    images = [ax.images[0] for ax in figure.axes[COUNT : 3 * COUNT]]
    limits = {image.get_clim() for image in images}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high < 0
    np.testing.assert_array_equal(images[5].get_array(), maps[1, ..., 3])
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert "Added to the label's logit" in labels
