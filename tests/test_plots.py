"""Figures show the right numbers, clip nothing, and leave matplotlib's settings alone."""

from __future__ import annotations

import inspect
import itertools

import geopandas as gpd
import legible
import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr
from matplotlib.figure import Figure

from eolab import plots
from eolab.core.errors import DataError
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.data.schemes.landcover import LANDCOVER
from eolab.evaluation import change
from eolab.plots import geometry

HEIGHT, WIDTH, DATES = 30, 44, 9


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def make_series() -> xr.Dataset:
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(HEIGHT * WIDTH) // 110, 1).reshape(HEIGHT, WIDTH).astype(np.uint8)
    label[0, :7] = IGNORE
    image = rng.uniform(0.02, 0.5, (DATES, 6, HEIGHT, WIDTH)).astype(np.float32)
    coords = {
        "time": pd.date_range("2020-01-05", periods=DATES, freq="40D"),
        "band": ["B02", "B03", "B04", "B08", "B11", "B12"],
        "y": 4_800_000 - 10 * np.arange(HEIGHT) - 5.0,
        "x": 431_000 + 10 * np.arange(WIDTH) + 5.0,
    }
    return xr.Dataset(
        {
            "image": (("time", "band", "y", "x"), image, {"units": "reflectance"}),
            "clear": (("time", "y", "x"), rng.random((DATES, HEIGHT, WIDTH)) < 0.7),
            "label": (("y", "x"), label),
        },
        coords=coords,
    )


SERIES = make_series()
LABEL = SERIES["label"]
CHANGE = LABEL.copy(
    data=change.change_cases(
        LABEL, np.roll(LABEL, 3), np.where(np.arange(WIDTH) < 20, LABEL, np.roll(LABEL, 1)), np.roll(LABEL, 1)
    )
)
FLOWS = np.random.default_rng(0).dirichlet(np.full(12, 0.4), 2)[..., None] * np.eye(12) * 900
FLOWS += np.random.default_rng(1).uniform(0, 9, FLOWS.shape) * (np.arange(144) % 5 == 0).reshape(12, 12)
BLUE = SERIES["image"].sel(band="B02", drop=True).rename("B02")


def make_history() -> pd.DataFrame:
    epoch = np.arange(1, 13)
    loss = np.exp(-epoch / 4)
    return pd.DataFrame(
        {
            "epoch": epoch,
            "loss": loss,
            "val_loss": loss + 0.02 * (epoch - 7) ** 2,
            "accuracy": 1 - loss,
            "val_accuracy": 0.9 - loss,
            "learning_rate": 0.001 / epoch,
        }
    )


def make_confusion() -> np.ndarray:
    matrix = np.random.default_rng(1).integers(0, 40, (12, 12)) + 3000 * np.eye(12, dtype=int)
    matrix[3] = matrix[:, 3] = 0
    return matrix


def pixels_of(series: xr.DataArray) -> np.ndarray:
    """Return the series (sample, time) of all pixels."""
    return series.transpose("y", "x", "time").to_numpy().reshape(-1, series.sizes["time"])


def statistics() -> pd.DataFrame:
    return plots.class_statistics(BLUE, SERIES["clear"], LABEL, LANDCOVER)


def scores() -> pd.DataFrame:
    rows = [("LSTM with attention", 0.78, 0.75, 0.81, False), ("Random forest", 0.7, 0.66, 0.73, True)]
    rows.append(("Majority class", 0.06, np.nan, np.nan, True))
    table = pd.DataFrame(rows, columns=["model", "value", "low", "high", "is_baseline"])
    both = [table.assign(against="old map"), table.assign(against="truth", value=table["value"] * 0.9)]
    return pd.concat(both, ignore_index=True).assign(scope="macro", statistic="f1")


def distances() -> pd.DataFrame:
    table = {"distance": [20, 90, 600, 900], "score": [0.9, 0.8, 0.6, np.nan], "count": [3000, 400, 20, 0]}
    return pd.DataFrame(table).assign(
        low=[0.88, 0.75, 0.5, np.nan], high=[0.92, 0.85, 0.7, np.nan], nearest_neighbour=0.5
    )


def comparison() -> dict[str, pd.DataFrame]:
    values = {"simulated": [0.1, 0.3, 0.2], "real": [0.12, np.nan, 0.21], "real_low": 0.05, "real_high": 0.3}
    days = pd.DataFrame({"date": pd.date_range("2020-01-01", periods=3, freq="90D"), **values})
    return {"band_means": pd.DataFrame({"band": ["B02", "B03", "B04"], **values}), "seasonal_curve": days}


def samples() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    table = pd.DataFrame(rng.uniform(0, 5000, (300, 2)), columns=["x", "y"])
    return table.assign(split=rng.choice(["train", "validation", "test"], 300))


def class_scores() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    table = pd.DataFrame(rng.uniform(0, 1, (12, 3)), columns=["precision", "recall", "f1"])
    table = table.assign(
        low=0.8 * table["f1"], high=0.5 + table["f1"] / 2, support=rng.integers(20, 4000, 12)
    )
    return table.assign(**{"class": LANDCOVER.names})


PATCHES = (
    np.random.default_rng(0).random((3, 20, 20, 3)),
    np.pad(np.ones((3, 5, 5), np.uint8), ((0, 0), (4, 11), (7, 8))),
)
PROBABILITY = np.linspace(0, 1, 1200).reshape(3, 20, 20)
CURVE = pd.DataFrame({"threshold": np.linspace(0.01, 0.99, 99)}).assign(
    f1=lambda t: 0.6 - (t["threshold"] - 0.4) ** 2
)
BINS = pd.DataFrame(
    {"probability": [0.1, 0.5, 0.9], "frequency": [0.02, 0.3, 0.7], "share": [0.9, 0.06, 0.04]}
)
SIZES = pd.DataFrame({"size": ["1", "2–4", "5–9", "10–99", "≥ 100"], "count": [9, 30, 21, 40, 12]}).assign(
    found=[0.1, 0.4, 0.6, 0.9, 1.0], pixels_found=[0.1, 0.3, 0.5, 0.6, 0.8]
)
FOLDS = pd.DataFrame({"kind": ["contiguous"] * 5 + ["shuffled"] * 5, "fold": [1, 2, 3, 4, 5] * 2}).assign(
    value=lambda t: 0.5 + 0.05 * t["fold"], low=0.4, high=0.85
)
QUANTILES = pd.DataFrame(
    [
        (f, k, 0.1, 0.2, 0.3 + n, 0.5 + n, 0.9 + n)
        for f in ("slope", "NDVI", "dem")
        for n, k in enumerate("ab")
    ],
    columns=["feature", "class", "q05", "q25", "q50", "q75", "q95"],
)


def clear_shares():
    return SERIES["clear"].mean(("y", "x")).to_series()


REGIONS = gpd.GeoDataFrame(
    {"label": ["low", "high"]},
    geometry=[shapely.box(431_100 + x, 4_799_800, 431_150 + x, 4_799_900) for x in (0, 100)],
)
PERIODS = pd.DataFrame(np.linspace(0.2, 0.8, 9).reshape(3, 3), [2018, 2019, 2020], [2018, 2019, 2020])


def trials() -> pd.DataFrame:
    """Trials of a search: the best one first, the last ones without a value."""
    random, n = np.random.default_rng(0), 12
    values = np.append(np.sort(random.uniform(0.4, 1.2, n - 3)), [np.nan] * 3)
    chosen = random.choice(["[16, 16]", "32"], n)
    return pd.DataFrame({"val_loss": values, "rate": 10 ** random.uniform(-4, -1, n), "units": chosen})


SPACE = {"rate": "log_uniform", "units": "choice"}
GALLERY = {
    "importances": lambda: plots.importances({"training.learning_rate": 0.7, "options": 0.3}),
    "parallel_coordinates": lambda: plots.parallel_coordinates(trials(), "val_loss", SPACE),
    "rgb": lambda: plots.rgb(SERIES["image"][2], title="2020-03-25"),
    "index_map": lambda: plots.index_map(BLUE[0].where(SERIES["clear"][0])),
    "confidence_map": lambda: plots.confidence_map(LABEL.copy(data=np.full(LABEL.shape, 0.4))),
    "class_map": lambda: plots.class_map(LABEL, LANDCOVER, title="CORINE 2018"),
    "compare_maps": lambda: plots.compare_maps([("Old", LABEL), ("New", LABEL[::-1])], LANDCOVER),
    "change_map": lambda: plots.change_map(CHANGE),
    "sankey": lambda: plots.sankey(FLOWS, (2018, 2019, 2020), LANDCOVER, title="Change of area"),
    "pixel_series": lambda: plots.pixel_series(
        SERIES["image"][:, :, 4, 4], SERIES["clear"][:, 4, 4], current="2020-05-04", title="One pixel"
    ),
    "class_curves": lambda: plots.class_curves(statistics(), LANDCOVER, "Reflectance"),
    "twin_vs_real": lambda: plots.twin_vs_real(comparison()),
    "dates": lambda: plots.dates(SERIES["image"], (1, 4)),
    "split_map": lambda: plots.split_map(samples(), title="block").figure,
    "dates_overview": lambda: plots.dates_overview(clear_shares(), title="Tile 31TCJ"),
    "confusion": lambda: plots.confusion(make_confusion(), LANDCOVER),
    "score_bars": lambda: plots.score_bars(scores()),
    "per_class": lambda: plots.per_class(class_scores()),
    "leakage": lambda: plots.leakage({"random": distances(), "block": distances().assign(score=0.6)}),
    "learning_curves": lambda: plots.learning_curves(make_history()),
    "label_curves": lambda: plots.label_curves(few_and_all_labels()),
    "lr_range": lambda: plots.lr_range(
        pd.DataFrame({"learning_rate": np.geomspace(1e-5, 1, 60), "loss": (np.linspace(-3, 2, 60)) ** 2})
    ),
    "patches": lambda: plots.patches(*PATCHES, titles=["train 1", "train 2", "train 10"], columns=3),
    "predictions": lambda: plots.predictions(
        PATCHES[0], PATCHES[1], PROBABILITY, 0.4, ["train 1", "train 2", "train 10"]
    ),
    "channels": lambda: plots.channels(np.tile(PATCHES[0][0], 3), [f"channel_{n}" for n in range(9)]),
    "threshold_curve": lambda: plots.threshold_curve(
        {"validation": CURVE, "test": CURVE.assign(f1=0.9 * CURVE["f1"])}, chosen={"chosen": 0.35}
    ),
    "calibration": lambda: plots.calibration(
        {"as trained": BINS, "T = 1.7": BINS.assign(frequency=BINS["probability"])}
    ),
    "sizes": lambda: plots.sizes(
        {"U-Net": SIZES, "boosting": SIZES.assign(found=SIZES["found"] ** 2)}, "landslides"
    ),
    "folds": lambda: plots.folds(FOLDS),
    "size_histograms": lambda: plots.size_histograms(
        np.geomspace(6e-5, 0.4, 80), np.geomspace(1, 7000, 99).round(), "landslide"
    ),
    "along_numbers": lambda: plots.along_numbers(
        pd.DataFrame({"number": range(1, 101), "fold": np.repeat(range(1, 6), 20)}).assign(
            B04=lambda t: t["fold"] % 3, B08=1.0, dem=lambda t: np.sin(t["number"])
        )
    ),
    "portable": lambda: plots.portable(
        pd.DataFrame(
            {
                "engine": ["keras", "litert", "litert", "openvino"],
                "precision": ["float32", "float16", "int8", "bfloat16"],
                "size_mb": [2.1, 1.0, 0.5, np.nan],
                "milliseconds": [31.0, 20.0, 12.0, np.nan],
            }
        )
    ),
    "importance": lambda: plots.importance(
        pd.DataFrame({"feature": ["slope", "NDVI", "B04"], "mean": [0.3, 0.2, -0.01], "std": [0.02] * 3})
    ),
    "distributions": lambda: plots.distributions(QUANTILES),
    "example_series": lambda: plots.example_series(
        xr.DataArray(pixels_of(BLUE), {"time": BLUE["time"]}, ("sample", "time"), name="B02"),
        pixels_of(SERIES["clear"]),
        LABEL.to_numpy().ravel(),
        {"kept": np.arange(LABEL.size) % 3 > 0, "refused": np.arange(LABEL.size) % 3 == 0},
        LANDCOVER,
    ),
    "period_scores": lambda: plots.period_scores({"naive": PERIODS, "replay": PERIODS + 0.1}, "Macro F1"),
    "season_curves": lambda: plots.season_curves({"Blue": statistics(), "Red": statistics()}, LANDCOVER),
    "acquisitions": lambda: plots.acquisitions(
        clear_shares().rename("clear").reset_index(name="clear").assign(name="a date", cloud=0.1, missing=0.0)
    ),
    "region_map": lambda: plots.region_map(
        SERIES["image"][0].sel(band=["B04", "B03", "B02"]), REGIONS, {"low": "#0072B2", "high": "#D55E00"}
    ),
    "map_gallery": lambda: plots.map_gallery({"one": BLUE[0].to_numpy(), "two": np.eye(9)}, "Value"),
    "count_histogram": lambda: plots.count_histogram(np.arange(400) % 90, 45, "Percentile 97"),
}


def axes(figure: Figure):
    return figure.axes[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_nothing_is_clipped_overlaps_or_changes_settings(name):
    before = dict(mpl.rcParams)
    figure = GALLERY[name]()
    legible.fitted(figure)
    figure.canvas.draw()
    assert dict(mpl.rcParams) == before
    inner = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert inner.x0 >= -1
    assert inner.y0 >= -1
    assert inner.x1 <= figure.bbox.x1 + 1
    assert inner.y1 <= figure.bbox.y1 + 1
    for ax in figure.axes:
        for axis, low, high in ((ax.xaxis, "x0", "x1"), (ax.yaxis, "y0", "y1")):
            if axis is ax.xaxis and any(label.get_rotation() for label in axis.get_ticklabels()):
                continue
            boxes = [t.get_window_extent() for t in axis.get_ticklabels() if t.get_visible() and t.get_text()]
            boxes = sorted((b for b in boxes if b.width), key=lambda box: getattr(box, low))
            for one, two in itertools.pairwise(boxes):
                assert getattr(one, high) <= getattr(two, low) + 1, f"tick labels of {name} overlap"
    assert np.asarray(figure.canvas.buffer_rgba())[..., :3].std() > 5, "a blank picture"


def test_gallery_holds_every_figure():
    tables = {
        "class_statistics",
        "robust_limits",
        "style",
        "true_colour",
        "write_chips",
    }
    figures = {name for name, one in vars(plots).items() if inspect.isfunction(one)} - tables
    elsewhere = {  # in test_plots_flood, test_plots_labels, test_plots_patch_maps and test_local_accuracy
        "accuracy_by_bins",
        "activations",
        "class_areas",
        "class_frequencies",
        "class_spectra",
        "contact_sheet",
        "label_matrix",
        "labels_per_patch",
        "padding_effect",
        "patch_gallery",
        "patch_maps",
        "prediction_gallery",
        "region_scores",
        "rejected",
        "sample_map",
        "seasons",
        "split_frequencies",
        "value_maps",
    }
    assert set(GALLERY) == figures - elsewhere


def test_robust_limits_are_not_spoilt_by_snow():
    ground = np.linspace(0.02, 0.18, 900)
    low, high = plots.robust_limits(np.append(ground, np.full(100, 0.9)))
    assert low == pytest.approx(np.percentile(np.append(ground, np.full(100, 0.9)), 2))
    assert high == pytest.approx(4 * np.median(np.append(ground, np.full(100, 0.9))))
    assert plots.robust_limits(ground)[1] == pytest.approx(np.percentile(ground, 98))
    assert plots.robust_limits(np.full(5, np.nan)) == (0.0, 1.0)


def test_rgb_draws_equal_values_in_equal_colours():
    tile = SERIES["image"][0]
    other = xr.concat([tile, tile * 2], "x")  # a brighter neighbour
    limits = (0.05, 0.4)
    one = axes(plots.rgb(tile, limits=limits)).images[0].get_array()
    two = axes(plots.rgb(other, limits=limits)).images[0].get_array()
    np.testing.assert_array_equal(one, two[:, :WIDTH])
    red = tile.sel(band="B04").to_numpy()
    np.testing.assert_allclose(one[..., 0], np.clip((red - 0.05) / 0.35, 0, 1), atol=1e-6)


def test_rgb_says_how_it_was_scaled():
    image = SERIES["image"][1]
    low, high = np.percentile(image.sel(band=["B04", "B03", "B02"]), (2, 98))
    text = axes(plots.rgb(image)).get_xlabel()
    assert f"black {low:.3g}, white {high:.3g} reflectance" in text
    assert "2–98 of this image" in text
    assert "of this image" not in axes(plots.rgb(image, limits=(0, 1))).get_xlabel()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.rgb(SERIES["image"]), "select a date first"),
        (lambda: plots.rgb(SERIES["image"][0], bands=("B4", "B03", "B02")), "no band B4.*B04"),
        (lambda: plots.index_map(np.zeros(3)), "shape"),
        (lambda: plots.learning_curves(make_history(), metric="f1"), "no metric f1.*accuracy"),
    ],
)
def test_bad_input_ends_in_one_sentence(call, message):
    with pytest.raises(DataError, match=message):
        call()


@pytest.mark.parametrize("south_first", [False, True])
def test_maps_are_north_up_in_kilometres(south_first):
    values = xr.zeros_like(BLUE[0])
    values[:3] = 1.0  # the northernmost rows
    values = values[::-1] if south_first else values
    ax = axes(plots.index_map(values, limits=(0, 1), cmap="gray"))
    ax.figure.canvas.draw()
    pixels = np.asarray(ax.figure.canvas.buffer_rgba())[::-1, :, 0]
    box = ax.get_window_extent()
    column = pixels[int(box.y0) + 3 : int(box.y1) - 3, int((box.x0 + box.x1) / 2)]
    assert column[-4:].min() > 200
    assert column[: len(column) // 2].max() < 50
    assert (*ax.get_xlim(), *ax.get_ylim()) == pytest.approx((431.0, 431.44, 4799.7, 4800.0))
    assert ax.get_aspect() == 1.0


def test_large_maps_are_thinned_and_keep_their_extent():
    large = xr.DataArray(np.zeros((50, 4000), np.uint8), dims=("y", "x"))
    assert geometry.thin(large).shape == (17, 1334)
    ax = axes(plots.class_map(large, LANDCOVER))
    assert ax.get_images()[0].get_extent()[:2] == [-0.5, 3999.5]


def test_legend_lists_the_classes_that_are_there():
    labels = np.array([[0, 0, 8], [8, 10, IGNORE]], np.uint8)
    legend = axes(plots.class_map(labels, LANDCOVER)).get_legend()
    texts = [text.get_text() for text in legend.get_texts()]
    assert texts == ["Urban", "Conifers", "Lake", "No label or no data"]
    colors = [mpl.colors.to_hex(patch.get_facecolor()) for patch in legend.get_patches()]
    assert colors[:3] == [LANDCOVER.colors[k] for k in (0, 8, 10)]


def test_change_map_says_in_its_legend_what_the_table_says():
    """Regression: the map called "right" and "wrong" what the table counted as changed and kept."""
    drawn = plots.change_map(CHANGE)
    texts = [text.get_text() for text in axes(drawn).get_legend().get_texts()]
    table = change.case_table(CHANGE)
    assert texts == [f"{100 * row.share:.1f} %  {row.case}" for row in table.itertuples()]
    assert any("Correction of the label" in text for text in texts)
    colors = [mpl.colors.to_hex(one.get_facecolor()) for one in axes(drawn).get_legend().get_patches()]
    assert colors == [change.CASES.colors[change.CASES.names.index(case)] for case in table["case"]]


def test_change_map_calls_nothing_right_without_truth():
    drawn = plots.change_map(LABEL.copy(data=change.change_cases(LABEL, np.roll(LABEL, 3))))
    texts = " ".join(text.get_text() for text in axes(drawn).get_legend().get_texts())
    assert "Another class than labelled" in texts
    assert not any(word in texts for word in ("correct", "error", "ground"))


def test_the_bands_of_a_sankey_have_the_heights_of_their_areas_and_fill_their_classes():
    ax = axes(plots.sankey(FLOWS, (2018, 2019, 2020), LANDCOVER))
    most = FLOWS.sum(axis=(1, 2)).max()
    ends = {}
    for band in ax.patches:
        if not (name := band.get_gid()):
            continue
        one, two = (LANDCOVER.names.index(end) for end in name.split(" > "))
        corners = band.get_path().vertices
        year = int(corners[0, 0])
        expected = FLOWS[year, one, two] / most
        assert corners[0, 1] - corners[7, 1] == pytest.approx(expected)
        assert corners[3, 1] - corners[4, 1] == pytest.approx(expected)
        assert mpl.colors.to_hex(band.get_facecolor()) == LANDCOVER.colors[one]
        ends.setdefault((year, "out", one), []).append((corners[0, 1], corners[7, 1]))
        ends.setdefault((year + 1, "in", two), []).append((corners[3, 1], corners[4, 1]))
    assert len(ends) == 48
    for parts in ends.values():  # bands of a class lie one below the other
        parts = sorted(parts, reverse=True)
        assert all(above[1] == pytest.approx(below[0]) for above, below in itertools.pairwise(parts))
    names = [text.get_text() for text in ax.texts]
    assert names[0] == f"Urban  {100 * FLOWS[0, 0].sum() / most:.1f} %"
    assert len(names) == 24


def test_names_beside_a_sankey_do_not_overlap():
    figure = plots.sankey(FLOWS, (2018, 2019, 2020), LANDCOVER)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes(figure).texts]
    for one, two in itertools.combinations(boxes, 2):
        assert not one.overlaps(two)


def test_a_sankey_of_no_area_or_other_years_ends_in_one_sentence():
    for flows, years in ((np.zeros((1, 12, 12)), (1, 2)), (FLOWS, (1, 2)), ([], (1,))):
        with pytest.raises(DataError, match="expected areas"):
            plots.sankey(flows, years, LANDCOVER)


def test_confidence_takes_fractions_and_percent():
    fraction = np.array([[0.25, np.nan]], np.float32)
    percent = np.array([[25, IGNORE]], np.uint8)
    drawn = [axes(plots.confidence_map(values)).images[0].get_array() for values in (fraction, percent)]
    for array in drawn:
        assert array[0, 0] == pytest.approx(25)
        assert array.mask[0, 1]


def test_class_statistics_equal_those_of_pandas():
    table = plots.class_statistics(BLUE, SERIES["clear"], LABEL, LANDCOVER).set_index(["class", "time"])
    long = xr.Dataset({"value": BLUE, "clear": SERIES["clear"], "label": LABEL}).to_dataframe().reset_index()
    long = long[long["clear"] & (long["label"] != IGNORE)]
    expected = long.groupby(["label", "time"])["value"].quantile([0.25, 0.5, 0.75])
    expected = (
        expected.rename_axis(["label", "time", "q"])
        .reset_index()
        .pivot_table("value", ["label", "time"], "q")
    )
    expected.index = expected.index.set_levels(
        [LANDCOVER.names[k] for k in expected.index.levels[0]], level=0
    )
    found = table[["q25", "median", "q75"]].loc[expected.index]
    np.testing.assert_allclose(found.to_numpy(), expected.to_numpy(), rtol=1e-5)
    assert table["count"].sum() == len(long)


def test_class_statistics_of_samples_equal_those_of_the_map():
    flat = BLUE.to_numpy().reshape(DATES, -1).T
    flat = xr.DataArray(flat, dims=("sample", "time"), coords={"time": BLUE["time"]})
    valid = SERIES["clear"].to_numpy().reshape(DATES, -1).T
    samples = plots.class_statistics(flat, valid, LABEL.to_numpy().ravel(), LANDCOVER)
    pd.testing.assert_frame_equal(samples, statistics())


def test_pixel_series_joins_clear_dates_only():
    clear = np.array([True, False, True, True, False, True, True, True, True])
    ax = axes(plots.pixel_series(BLUE[:, 0, 0], clear))
    joined, hollow = ax.lines[:2]
    np.testing.assert_array_equal(joined.get_ydata(), BLUE[:, 0, 0].to_numpy()[clear].astype(float))
    np.testing.assert_array_equal(hollow.get_ydata(), BLUE[:, 0, 0].to_numpy()[~clear].astype(float))
    assert hollow.get_linestyle() == "None"


def test_dates_overview_draws_shares():
    ax = axes(plots.dates_overview(clear_shares()))
    heights = [bar.get_height() for bar in ax.containers[1]]
    np.testing.assert_allclose(heights, 100 * SERIES["clear"].mean(("y", "x")))


@pytest.mark.parametrize(("normalise", "expected"), [("truth", "75"), ("prediction", "60"), ("none", "3")])
def test_confusion_writes_the_share_asked_for(normalise, expected):
    scheme = ClassScheme("two", (1, 2, 3), ("a", "b", "c"), ("#000000", "#111111", "#222222"))
    ax = axes(plots.confusion(np.array([[3, 1, 0], [2, 4, 0], [0, 0, 0]]), scheme, normalise))
    assert ax.texts[0].get_text() == expected
    assert [t.get_text() for t in ax.get_xticklabels()] == ["a", "b"]


def test_learning_curves_mark_the_epoch_of_lowest_validation_loss():
    table = make_history()
    best = int(table.loc[table["val_loss"].idxmin(), "epoch"])
    figure = plots.learning_curves(table)
    assert f"Best epoch: {best}" in [t.get_text() for t in figure.legends[0].get_texts()]
    assert "Best epoch: 12" in [
        t.get_text() for t in plots.learning_curves(table, best="max_val_metric").legends[0].get_texts()
    ]


def test_per_class_leaves_out_classes_without_samples():
    table = class_scores()
    table.loc[table["class"] == "Snow", "support"] = 0
    names = [t.get_text() for t in axes(plots.per_class(table)).get_yticklabels()]
    assert len(names) == 11
    assert not any("Snow" in name for name in names)


def test_a_score_without_an_interval_has_no_bar_of_one():
    """A bar of width 0 with caps looked like a certain score where four groups give no interval."""
    table = pd.DataFrame({
        "model": ["few", "net"], "is_baseline": [False, False], "scope": "macro", "statistic": "f1",
        "value": [0.4, 0.5], "low": [np.nan, 0.4], "high": [np.nan, 0.6],
    })  # fmt: skip
    ax = axes(plots.score_bars(table))
    ends = [one for one in ax.containers if isinstance(one, mpl.container.ErrorbarContainer)]
    assert [one.lines[2][0].get_segments()[0][:, 0].tolist() for one in ends] == [[0.4, 0.6]]
    assert sorted(text.get_text() for text in ax.texts if text.get_text()) == ["0.400", "0.500"]


def few_and_all_labels() -> pd.DataFrame:
    """Scores with 1 and 100 % of the labels, those with all labels first."""
    parts = [scores().assign(percent=percent) for percent in (100.0, 1.0)]
    parts[1][["value", "low", "high"]] *= 0.5
    return pd.concat(parts, ignore_index=True)


def test_label_curves_go_from_few_labels_to_many_with_their_intervals():
    table = few_and_all_labels()
    figure = plots.label_curves(table)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles == [f"Against the {name}" for name in pd.unique(table["against"])]
    ax = figure.axes[0]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == list(pd.unique(table["model"]))
    for name, drawn in zip(names, ax.containers, strict=True):
        rows = table[(table["model"] == name) & (table["against"] == table["against"][0])].sort_values(
            "percent"
        )
        at, values = (np.asarray(one, float) for one in drawn.lines[0].get_data())
        np.testing.assert_allclose(values, rows["value"].to_numpy(float))
        np.testing.assert_allclose(at, [1, 100], rtol=0.05)  # beside each other
        ends = [one[:, 1] for one in drawn.lines[2][0].get_segments() if len(one)]
        known = rows[["low", "high"]].dropna().to_numpy()
        np.testing.assert_allclose(np.reshape(ends, (-1, 2))[: len(known)], known)


def test_score_bars_show_each_estimate_against_each_truth():
    ax = axes(plots.score_bars(scores()))
    assert [text.get_text() for text in ax.texts] == ["0.780", "0.700", "0.060", "0.702", "0.630", "0.054"]
    assert ax.get_xlabel() == "Macro F1"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "Against the old map",
        "Against the truth",
        "Baseline",
    ]


def test_leakage_leaves_out_empty_bins():
    ax = axes(plots.leakage({"random": distances()}))
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [20, 90, 600])
    assert "3,420 test samples" in ax.get_legend().get_texts()[0].get_text()


def test_twin_vs_real_leaves_out_what_is_not_known():
    figure = plots.twin_vs_real(comparison())
    simulated, real = figure.axes[1].lines
    np.testing.assert_array_equal(simulated.get_ydata(), [0.1, 0.3, 0.2])
    np.testing.assert_array_equal(real.get_ydata(), [0.12, 0.21])
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["Band means", "Seasonal curve"]


def test_a_histogram_of_counts_names_what_is_counted():
    """Regression: seconds were drawn as points."""
    axes = plots.count_histogram(np.arange(400) % 90, 45, "Percentile 97", unit="seconds").axes[0]
    assert axes.get_xlabel() == "Seconds in a pixel"
    assert axes.get_legend_handles_labels()[1] == ["Percentile 97: 45 seconds"]


def test_scores_of_periods_are_drawn_with_one_scale_for_all_models():
    table = pd.DataFrame([[0.5, 0.25], [0.4, 0.75]], index=[2018, 2019], columns=[2018, 2019])
    figure = plots.period_scores({"naive": table, "replay": table + 0.1}, "Macro F1")
    panels = [ax for ax in figure.axes if ax.get_xlabel() == "Scored on"]
    assert [ax.get_title(loc="left") or ax.get_title() for ax in panels] == ["naive", "replay"]
    assert [text.get_text() for text in panels[1].texts] == ["0.60", "0.35", "0.50", "0.85"]
    assert {ax.images[0].get_clim() for ax in panels} == {(0.25, 0.85)}
