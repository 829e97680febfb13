"""Figures of the flood study on a small twin: right numbers, nothing clipped, nothing blank."""

from __future__ import annotations

import itertools
import warnings

import legible
import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection

from eolab import plots
from eolab.core.errors import DataError
from eolab.data.layouts import sen12flood as reader
from eolab.studies.flood import delay, explore
from eolab.studies.flood import figures as flood
from eolab.synthetic import sen12flood as twins


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def twin(shared_twin):
    return shared_twin(twins, seed=3, train=8, test=4, size=48)


@pytest.fixture(scope="module")
def images(twin) -> pd.DataFrame:
    return reader.index(twin)


@pytest.fixture(scope="module")
def sequence(images) -> str:
    wet = images[images["flooded"] & (images["filename"] != "")].groupby("sequence")["sensor"].nunique()
    return str(wet.index[wet == 2][0])


@pytest.fixture(scope="module")
def series(twin, images, sequence):
    return {
        sensor: reader.read_series(twin, reader.of_sequence(images, sequence, sensor), bands, (32, 32))[0]
        for sensor, bands in (("S1", ["VH"]), ("S2", ["B04", "B03", "B02"]))
    }


@pytest.fixture(scope="module")
def probabilities(images) -> pd.DataFrame:
    table = reader.passes(images)[["sequence", "date", "flooded"]].copy()
    noise = np.random.default_rng(0).normal(0, 1.2, len(table))
    return table.assign(probability=1 / (1 + np.exp(-(4 * table["flooded"] - 2 + noise))))


SCORES = pd.DataFrame(
    [(s, p, e + 0.1 * p, e - 0.06, e + 0.2) for s, e in (("accuracy", 0.8), ("f1", 0.6)) for p in (0, 1)],
    columns=["statistic", "padded", "value", "low", "high"],
)
REGIONS = pd.DataFrame(
    [(f"R{r}", name, 0.9 - r / 10, 0.8 - r / 10, 0.95 - r / 20, 10 - r) for r in (1, 2, 3) for name in "ab"],
    columns=["region", "model", "value", "low", "high", "groups"],
)
REASONS = pd.DataFrame(
    {
        "reason": ["has values in … of the pixels of its date, expected … or more", "is damaged"],
        "files": [1200, 7],
    }
)
WEIGHTS = pd.DataFrame(
    [(s, f"B{k:02d}_change_p{k}", (-1) ** k * k / 10) for s in ("S1", "S2") for k in range(9)],
    columns=["sensor", "feature", "weight"],
)
DAYS = pd.DataFrame({"days": [0.0, 12.0, np.nan, 6.0, np.nan]})


def strip(series, probabilities, **options):
    clouds = pd.Series(
        np.linspace(0, 1, series["S2"].sizes["time"]), pd.DatetimeIndex(series["S2"]["time"].to_numpy())
    )
    return flood.sequence_over_time(series, {"ConvLSTM": probabilities}, {"ConvLSTM": 0.5}, clouds, **options)


GALLERY = {
    "acquisition_calendar": lambda d: flood.acquisition_calendar(d["images"]),
    "images_per_sequence": lambda d: flood.images_per_sequence(d["images"]),
    "rejected": lambda d: plots.rejected(REASONS, title="Twin"),
    "sequence_map": lambda d: flood.sequence_map(d["sequences"], explore.regions(d["sequences"])),
    "sequence_over_time": lambda d: strip(d["series"], d["probabilities"]),
    "delays": lambda d: flood.delays({"ConvLSTM": DAYS, "nothing": DAYS.assign(days=np.nan)}),
    "padding_effect": lambda d: plots.padding_effect(SCORES),
    "region_scores": lambda d: plots.region_scores(REGIONS),
    "importance": lambda d: plots.importance(WEIGHTS, "weight", by="sensor", max_features=6),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", GALLERY)
def test_nothing_is_clipped_overlaps_or_changes_settings(name, twin, images, series, probabilities):
    data = {"images": images, "sequences": reader.sequences(twin, images)}
    before = dict(mpl.rcParams)
    figure = GALLERY[name](data | {"series": series, "probabilities": probabilities})
    legible.fitted(figure)
    figure.canvas.draw()
    assert dict(mpl.rcParams) == before
    inner = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert min(inner.x0, inner.y0) >= -1
    assert inner.x1 <= figure.bbox.x1 + 1
    assert inner.y1 <= figure.bbox.y1 + 1
    for ax in figure.axes:
        assert ax.get_window_extent().height > 30, "the layout left no room"
        for axis, low, high in ((ax.xaxis, "x0", "x1"), (ax.yaxis, "y0", "y1")):
            boxes = [t.get_window_extent() for t in axis.get_ticklabels() if t.get_visible() and t.get_text()]
            boxes = sorted((b for b in boxes if b.width), key=lambda box: getattr(box, low))
            for one, two in itertools.pairwise(boxes):
                assert getattr(one, high) <= getattr(two, low) + 1, f"tick labels of {name} overlap"
    assert np.asarray(figure.canvas.buffer_rgba())[..., :3].std() > 5, "a blank picture"
    assert any(ax.get_xlabel() or ax.get_ylabel() for ax in figure.axes), "no axis says what it shows"


def test_gallery_holds_every_figure():
    own = {k for k, f in vars(flood).items() if getattr(f, "__module__", "") == flood.__name__}
    shared = {"rejected", "padding_effect", "region_scores", "importance"}  # figures of any study, used here
    assert set(GALLERY) - shared == {name for name in own if not name.startswith("_")}


# === What there is ===


def test_the_calendar_marks_every_image_that_has_a_file(images):
    listed = images[images["filename"] != ""]
    ax = flood.acquisition_calendar(images).axes[0]
    drawn = {
        (line.get_marker(), line.get_color()): len(line.get_xdata())
        for line in ax.lines
        if len(line.get_xdata())
    }
    counts = listed.groupby(["sensor", "flooded"]).size()
    assert drawn == {
        (flood.MARKERS[sensor], flood.LABEL_COLORS[flooded]): count
        for (sensor, flooded), count in counts.items()
    }
    assert [t.get_text() for t in ax.get_yticklabels()] == list(images["sequence"].unique())
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["Sentinel-1", "Sentinel-2", "Dry", "Flooded"]


def test_a_mark_stands_in_its_sequences_line_at_its_date(images):
    names = list(images["sequence"].unique()[:3])
    images = images[images["sequence"].isin(names)]
    ax = flood.acquisition_calendar(images).axes[0]
    (line,) = [
        one for one in ax.lines if one.get_marker() == "s" and one.get_color() == flood.LABEL_COLORS[0]
    ]
    for place, name in enumerate(names):
        own = images[(images["sequence"] == name) & (images["sensor"] == "S2") & ~images["flooded"]]
        at = np.abs(line.get_ydata() - place) < 0.5
        days = own.loc[own["filename"] != "", "date"]
        np.testing.assert_array_equal(line.get_xdata()[at].astype("datetime64[D]"), days.to_numpy("M8[D]"))


def test_the_calendar_has_forty_sequences_of_many(images):
    many = pd.concat(
        [images.assign(sequence=[f"{name}-{k}" for name in images["sequence"]]) for k in range(5)]
    )  # 60 sequences
    ax = flood.acquisition_calendar(many).axes[0]
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert len(names) == 40
    assert len(set(names)) == 40


def test_images_per_sequence_are_counted(images):
    left, right = flood.images_per_sequence(images).axes
    listed = images[images["filename"] != ""]
    for bars, (sensor, own) in zip(left.containers, listed.groupby("sensor"), strict=True):
        assert sum(bar.get_height() for bar in bars) == own["sequence"].nunique()
        total = sum(bar.get_height() * round(bar.get_x() + bar.get_width() / 2) for bar in bars)
        assert total == len(own), sensor
    shares = [bar.get_height() for bar in right.containers[0]]
    own = listed[listed["sensor"] == "S1"]
    wet = own.loc[own["flooded"], "sequence"].nunique() / own["sequence"].nunique()
    assert shares == pytest.approx([100 * own["flooded"].mean(), 100 * wet])


def test_rejected_files_are_counted():
    ax = plots.rejected(REASONS).axes[0]
    assert [bar.get_width() for bar in ax.containers[0]] == [1200, 7]
    assert [text.get_text() for text in ax.texts] == ["1,200", "7"]
    assert "1,207 in all" in ax.get_xlabel()
    none = plots.rejected(REASONS[:0])
    none.canvas.draw()
    assert "(0 in all)" in none.axes[0].get_xlabel()


def test_the_map_has_every_sequence_once_and_the_largest_regions_from_near(twin, images):
    sequences = reader.sequences(twin, images)
    regions = pd.Series([f"R{1 + k // 3}" for k in range(12)], index=sequences.index)
    world, *near = flood.sequence_map(sequences, regions).axes
    at = [c.get_offsets() for c in world.collections if isinstance(c, PathCollection)]
    places = np.sort(np.concatenate(at), axis=0)
    np.testing.assert_allclose(places, np.sort(sequences[["longitude", "latitude"]].to_numpy(), axis=0))
    assert [len(one) for one in at] == [8, 4]
    assert [ax.get_title(loc="left") for ax in near] == [f"R{k} (3 sequences)" for k in range(1, 5)]
    many = pd.Series([f"R{1 + k}" for k in range(12)], index=sequences.index)
    figure = flood.sequence_map(sequences, many)
    assert len(figure.axes) == 1 + flood.NEAR
    assert "6 more regions (6 sequences)" in [text.get_text() for text in figure.legends[0].get_texts()]


# === One sequence over time ===


def pictures(figure):
    return [ax for ax in figure.axes if ax.images]


def test_the_strip_draws_ten_pictures_a_sensor_framed_by_their_labels(series, probabilities, sequence):
    figure = strip(series, probabilities)
    assert figure.get_suptitle() == f"Sequence {sequence}"
    titles = [ax.get_title() for ax in pictures(figure)]
    expected = []
    for one in series.values():
        count = one.sizes["time"]
        days = np.datetime_as_string(one["time"].to_numpy(), unit="D")
        shown = np.unique(np.linspace(0, count - 1, min(count, 10)).round().astype(int))
        expected += list(days[shown])
    assert titles == expected
    labels = dict(zip(expected, [None] * len(expected), strict=True))
    for one in series.values():
        for day, wet in zip(one["time"].to_numpy(), one["flooded"].to_numpy(), strict=True):
            labels[str(day)[:10]] = bool(wet)
    for ax in pictures(figure):
        color = mpl.colors.to_hex(ax.spines["left"].get_edgecolor()).upper()
        assert color == flood.LABEL_COLORS[labels[ax.get_title()]]


def test_radar_is_in_decibels_with_the_same_limits_at_all_dates(series, probabilities):
    figure = strip(series, probabilities)
    decibels = 10 * np.log10(series["S1"]["image"].to_numpy())
    decibels = np.maximum(decibels, -35)
    places = np.unique(np.linspace(0, len(decibels) - 1, min(len(decibels), 10)).round().astype(int))
    low, high = np.nanpercentile(decibels[places], (2, 98))
    drawn = np.stack([ax.images[0].get_array()[..., 0] for ax in pictures(figure)[: len(places)]])
    seen = np.isfinite(decibels[places, 0])
    expected = np.clip((decibels[places, 0] - low) / (high - low), 0, 1)
    np.testing.assert_allclose(drawn[seen], expected[seen], atol=1e-4)
    assert f"black {low:.3g}" in pictures(figure)[0].get_ylabel()


def test_curves_thresholds_label_and_clouds_share_one_date_axis(series, probabilities, sequence):
    figure = strip(series, probabilities)
    curves, clouds = (ax for ax in figure.axes if not ax.images)
    assert curves.get_xlim() == clouds.get_xlim()
    own = probabilities[probabilities["sequence"] == sequence].sort_values("date")
    np.testing.assert_allclose(curves.lines[0].get_ydata(), own["probability"])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"ConvLSTM", "Threshold of ConvLSTM: 0.50", flood.SINCE} <= set(texts)
    (shade,) = curves.patches
    onset = min(one["time"].to_numpy()[one["flooded"].to_numpy()].min() for one in series.values())
    assert shade.get_x() == pytest.approx(mpl.dates.date2num(onset))
    heights = [segment[1, 1] for segment in clouds.collections[1].get_segments()]
    np.testing.assert_allclose(heights, np.linspace(0, 100, series["S2"].sizes["time"]))


def test_a_strip_of_one_dry_sensor_and_two_models_with_their_thresholds(series, probabilities):
    dry = series["S1"].isel(time=~series["S1"]["flooded"].to_numpy())
    tables = {"one": probabilities, "two": probabilities[:4]}
    figure = flood.sequence_over_time({"S1": dry}, tables, {"two": 0.3})
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "Threshold of two: 0.30" in texts
    assert flood.SINCE not in texts
    assert len([ax for ax in figure.axes if not ax.images]) == 1
    with pytest.raises(DataError, match="no image"):
        flood.sequence_over_time({"S1": dry.isel(time=slice(0))})


# === Scores ===


@pytest.mark.slow
def test_delays_count_sequences_that_are_never_detected():
    ax = flood.delays({"ConvLSTM": DAYS, "nothing": DAYS.assign(days=np.nan)}).axes[0]
    some, none = ax.lines
    np.testing.assert_allclose(some.get_xdata(), [0, 0, 6, 12, 12.6])
    np.testing.assert_allclose(some.get_ydata(), [0, 20, 40, 60, 60])
    np.testing.assert_allclose(none.get_ydata(), 0)
    assert some.get_drawstyle() == "steps-post"
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["ConvLSTM: 3 of 5 sequences detected", "nothing: 0 of 5 sequences detected"]


def test_delays_take_what_detections_returns(probabilities):
    found = delay.detections(probabilities, 0.5)
    line = flood.delays({"a": found}).axes[0].lines[0]
    assert line.get_ydata()[-1] == pytest.approx(100 * delay.summary(probabilities, 0.5)["detected"])


def test_padding_pairs_stand_beside_each_other():
    ax = plots.padding_effect(SCORES).axes[0]
    assert [text.get_text() for text in ax.texts if text.get_text()] == ["0.800", "0.600", "0.900", "0.700"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["Accuracy", "F1"]
    bars = [c for c in ax.containers if isinstance(c, mpl.container.BarContainer) and len(c)]
    alone, padded = bars
    assert alone[0].get_y() + alone[0].get_height() == pytest.approx(padded[0].get_y(), abs=0.05)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["Images alone", "With padded steps"]


def test_regions_have_a_dot_an_interval_and_their_number_of_sequences():
    lost = REGIONS.assign(**REGIONS[["low", "high"]].where(REGIONS["model"] == "a"))
    ax = plots.region_scores(lost, label="F1").axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["R1 (9)", "R2 (8)", "R3 (7)"]
    assert ax.get_xlabel() == "F1"
    for name, container in zip("ab", ax.containers, strict=True):
        rows = REGIONS[REGIONS["model"] == name]
        np.testing.assert_allclose(container.lines[0].get_xdata().astype(float), rows["value"])
        segments = [one[:, 0] for one in container.lines[2][0].get_segments() if len(one)]
        np.testing.assert_allclose(segments, rows[["low", "high"]] if name == "a" else [])


def test_the_largest_weights_of_each_sensor_are_drawn_largest_first():
    figure = plots.importance(WEIGHTS, "weight", by="sensor", max_features=6)
    for ax, sensor in zip(figure.axes, ("S1", "S2"), strict=True):
        assert ax.get_title(loc="left") == sensor
        assert [t.get_text() for t in ax.get_yticklabels()] == [f"B{k:02d} change p{k}" for k in range(3, 9)]
        assert [bar.get_width() for bar in ax.patches] == pytest.approx([-0.3, 0.4, -0.5, 0.6, -0.7, 0.8])


@pytest.mark.parametrize("days", [None, [], [np.nan, np.nan]])
def test_delays_of_nobody_who_detects_anything_are_drawn(days):
    """A network without an alarm ended the results in a TypeError, no network in a warning."""
    tables = {} if days is None else {"net": pd.DataFrame({"days": np.array(days, float)})}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fig = flood.delays(tables)
    assert (fig.axes[0].get_legend() is None) == (days is None)
    assert fig.axes[0].get_xlim()[1] > 1
