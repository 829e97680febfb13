"""Figures of patches with several labels: right numbers, nothing clipped, nothing blank."""

from __future__ import annotations

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from eolab import evaluation, plots
from eolab.data.schemes.bigearthnet import CLASSES_19, CLASSES_43
from eolab.evaluation import postprocess
from eolab.plots import galleries
from eolab.plots.style import WIDEST, short
from eolab.studies.scenes.explore import class_frequencies

NAMES = CLASSES_19.names


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def truth() -> np.ndarray:
    shares = np.linspace(0.4, 0.02, len(NAMES))
    return (np.random.default_rng(0).random((60, len(NAMES))) < shares).astype(int)


@pytest.fixture
def probability(truth) -> np.ndarray:
    return np.clip(0.6 * truth + 0.4 * np.random.default_rng(1).random(truth.shape), 0, 1)


@pytest.fixture
def colours() -> np.ndarray:
    return np.random.default_rng(2).integers(200, 1500, (5, 24, 24, 3)).astype(np.uint16)


def assert_whole(figure: Figure) -> None:
    """Everything that is drawn lies inside the figure, and texts of one panel do not lie on each other."""
    figure.canvas.draw()
    width, height = figure.get_size_inches() * figure.dpi
    box = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert box.x0 > -2
    assert box.y0 > -2
    assert box.x1 < width + 2
    assert box.y1 < height + 2
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3]
    assert pixels.std() > 5


@pytest.mark.slow
def test_frequencies_stand_beside_the_published_ones():
    held = np.eye(43, dtype=int)[np.arange(200) % 43]
    table = class_frequencies(held, CLASSES_43).assign(published=np.linspace(0.4, 0.0005, 43))
    figure = plots.class_frequencies(table)
    assert_whole(figure)
    ax = figure.axes[0]
    widths = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(widths, 100 * table["share"])
    np.testing.assert_allclose(ax.lines[0].get_xdata(), 100 * table["published"])
    assert ax.get_yticklabels()[0].get_text() == f"{table['class'][0]} ({table['patches'][0]})"


def test_frequencies_without_published_ones_have_no_marks(truth):
    figure = plots.class_frequencies(class_frequencies(truth, CLASSES_19))
    assert_whole(figure)
    assert not figure.axes[0].lines


def test_frequencies_by_split_are_shares_of_the_split(truth):
    split = np.array(["train"] * 40 + ["test"] * 20)
    table = class_frequencies(truth, CLASSES_19, split)
    figure = plots.split_frequencies(table, {"train": 40, "test": 20})
    assert_whole(figure)
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    np.testing.assert_allclose(widths[:19], 100 * table["train"] / 40)
    np.testing.assert_allclose(widths[19:], 100 * table["test"] / 20)


def test_labels_per_patch_add_up_to_all(truth):
    figure = plots.labels_per_patch({"19 classes": truth.sum(axis=1), "one": np.ones(60, int)})
    assert_whole(figure)
    heights = np.array([bar.get_height() for bar in figure.axes[0].patches]).reshape(2, -1)
    np.testing.assert_allclose(heights.sum(axis=1), 100)
    assert heights[1, 1] == 100


def test_seasons_stack_up(truth):
    table = pd.DataFrame({"month": range(1, 13), "clear": 5, "snow": [4, 3, *[0] * 10], "cloud": 1})
    figure = plots.seasons(table)
    assert_whole(figure)
    tops = [bar.get_y() + bar.get_height() for bar in figure.axes[0].patches[24:]]
    np.testing.assert_allclose(tops, table[["clear", "snow", "cloud"]].sum(axis=1))


def test_spectra_stand_at_their_wavelengths():
    rows = [
        {"class": name, "band": band, "mean": 1000.0 + k, "std": 50.0, "patches": 3}
        for name in NAMES[:7]
        for k, band in enumerate(("B02", "B04", "B8A", "B12"))
    ]
    figure = plots.class_spectra(pd.DataFrame(rows))
    assert_whole(figure)
    assert len(figure.axes[0].lines) == 7
    assert list(figure.axes[0].lines[0].get_ydata()) == [1000, 1001, 1002, 1003]


@pytest.mark.slow
def test_matrices_have_their_numbers_and_no_diagonal(truth):
    table = evaluation.co_occurrence(truth, NAMES)
    figure = plots.label_matrix(table)
    assert_whole(figure)
    shown = figure.axes[0].images[0].get_array()
    assert np.ma.getmaskarray(shown).diagonal().all()
    assert shown[0, 1] == pytest.approx(100 * table.iloc[0, 1])


def test_a_matrix_leaves_out_rows_that_are_not_known(truth):
    said = truth.copy()
    said[truth[:, 3] == 1, 3] = 0
    said[:, 5] = 1
    figure = plots.label_matrix(evaluation.label_confusion(said, truth, NAMES), row="Missed", column="Said")
    assert_whole(figure)
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == [NAMES[3]]


def test_calibration_is_drawn_for_each_state(truth, probability):
    tables = {name: postprocess.calibration_table(probability, truth) for name in ("as it is", "corrected")}
    figure = plots.calibration(tables)
    assert_whole(figure)
    np.testing.assert_allclose(figure.axes[0].lines[1].get_ydata(), tables["as it is"]["frequency"])


@pytest.mark.parametrize("radar", [True, False])
def test_the_gallery_writes_every_label(colours, radar):
    texts = [list(NAMES[k : k + k + 1]) for k in range(5)]
    shown = np.random.default_rng(0).normal(-12, 3, (5, 24, 24, 2)) if radar else None
    figure = plots.patch_gallery(colours, texts, shown)
    assert_whole(figure)
    widths = {ax.images[0].get_array().shape[1] for ax in figure.axes}
    assert widths == {24 + 2 + 24 if radar else 24}, "the radar image stands beside"
    written = " ".join(text.get_text().strip() for ax in figure.axes for text in ax.texts)
    assert all(name in written for names in texts for name in names)


def test_answers_are_marked_as_right_wrong_and_missed(colours):
    truth = np.zeros((5, 19), int)
    truth[:, [0, 1]] = 1
    probability = np.full((5, 19), 0.1)
    probability[:, [0, 2]] = 0.9
    figure = plots.prediction_gallery(
        colours, truth, probability, 0.5, NAMES, [f"patch {k}" for k in range(5)]
    )
    assert_whole(figure)
    for ax in figure.axes:
        first = [text.get_text() for text in ax.texts if not text.get_text().startswith(" ")]
        assert first[0] == f"+ {NAMES[0]} 0.90"
        assert first[1].startswith("− ")
        assert first[2] == f"× {NAMES[2]} 0.90"
        colors = [text.get_color() for text in ax.texts]
        assert (colors[0], colors[-1]) == (galleries.HIT, galleries.WRONG)


def test_long_names_are_cut_and_short_ones_kept():
    assert short("Pastures") == "Pastures"
    assert all(len(short(name)) <= WIDEST for name in CLASSES_43.names)
