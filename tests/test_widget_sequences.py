"""The explorer of sequences without a browser: what is shown, what is read, and what is said of bad files."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import rasterio

from eolab.core.errors import DataError, ParameterError
from eolab.data.layouts import sen12flood as reader
from eolab.studies.flood import explorer as sequence_explorer
from eolab.studies.flood.explorer import SequenceExplorer
from eolab.synthetic import sen12flood as twins

pytestmark = pytest.mark.slow

SIZE = (32, 32)


@pytest.fixture(scope="module")
def twin(shared_twin) -> Path:
    return shared_twin(twins, seed=3, train=8, test=4, size=48)


@pytest.fixture(scope="module")
def images(twin) -> pd.DataFrame:
    return reader.index(twin)


@pytest.fixture(scope="module")
def faults(twin) -> pd.DataFrame:
    table = pd.read_csv(twin / "truth/images.csv", dtype={"sequence": str}, keep_default_na=False)
    return table[table["fault"] != ""]


@pytest.fixture
def explorer(twin, images, monkeypatch) -> SequenceExplorer:
    """A panel that draws its PNG for nobody: figures are asked for where a test needs one."""
    monkeypatch.setenv("EOLAB_HEADLESS", "1")
    return SequenceExplorer(twin, images, size=SIZE)


@pytest.fixture
def seen(twin, images) -> SequenceExplorer:
    """A panel as somebody has it on the screen."""
    return SequenceExplorer(twin, images, size=SIZE)


@pytest.fixture
def read(monkeypatch) -> list[tuple[str, ...]]:
    """Channels of every reading of files."""
    calls: list[tuple[str, ...]] = []
    original = reader.read_series

    def noted(root, chosen, channels, *rest):
        calls.append((str(chosen["sensor"].iloc[0]), *channels))
        return original(root, chosen, channels, *rest)

    monkeypatch.setattr(reader, "read_series", noted)
    return calls


def shown(explorer):
    """Axes of the image and of the other sensor's, and of the map."""
    return explorer.figure().axes[:3]


def good_place(explorer) -> int:
    """An image of the series that can be read with its neighbour in time."""
    for place in range(len(explorer.date.options)):
        explorer.date.value = place
        if not explorer.message.value:
            return place
    raise AssertionError("no image of the series can be read")


def test_it_starts_with_the_first_image_of_the_first_sequence(explorer, images):
    first = images[(images["sequence"] == "0001") & (images["sensor"] == "S1")].iloc[0]
    label = "flooded" if first["flooded"] else "dry"
    assert explorer.sequence.value == "0001"
    assert explorer.title.value == f"Sequence 0001 · Sentinel-1 VH, {first['date']:%Y-%m-%d} · label: {label}"
    assert explorer.sequence.options == tuple(images["sequence"].unique())
    assert not explorer.date.continuous_update
    assert explorer.panel._dom_classes == ("eolab-sequence-explorer",)


def test_the_slider_goes_through_the_images_with_a_file_by_date(explorer, images):
    explorer.sensor.value = "S2"
    own = images[(images["sequence"] == "0001") & (images["sensor"] == "S2") & (images["filename"] != "")]
    names = [name for name, _ in explorer.date.options]
    assert names == sorted(own["date"].dt.strftime("%Y-%m-%d"))
    for place, (day, flooded) in enumerate(zip(own["date"], own["flooded"], strict=True)):
        explorer.date.value = place
        label = "flooded" if flooded else "dry"
        assert explorer.title.value.endswith(f"RGB, {day:%Y-%m-%d} · label: {label}")


def test_the_picture_holds_the_pixels_of_the_file(twin, images, monkeypatch):
    monkeypatch.setenv("EOLAB_HEADLESS", "1")
    # Read at the size of the file, so that nothing is resampled.
    explorer = SequenceExplorer(twin, images, size=(48, 48))
    explorer.sensor.value, explorer.band.value = "S2", "B08"
    explorer.date.value = good_place(explorer)
    name = f"S2_{explorer.date.options[explorer.date.value][0]}"
    with rasterio.open(twin / "0001" / f"{name}_B08.tif") as file:
        digital = file.read(1).astype(float)
    drawn = shown(explorer)[0].images[0].get_array()
    np.testing.assert_allclose(drawn.filled(np.nan), np.where(digital > 0, digital / 1e4, np.nan), rtol=1e-5)
    explorer.band.value = "RGB"
    pixels = shown(explorer)[0].images[0].get_array()
    with rasterio.open(twin / "0001" / f"{name}_B03.tif") as file:
        green = file.read(1) / 1e4
    seen = green > 0
    np.testing.assert_allclose(pixels[..., 1][seen], np.clip(green / 0.3, 0, 1)[seen], atol=1e-5)


def test_radar_is_shown_in_decibels(twin, images, explorer):
    explorer.band.value = "VV"
    place = good_place(explorer)
    rows = explorer.reader.of("0001", "S1")["rows"].iloc[[place]]
    series, _ = reader.read_series(twin, reader.slices_of(images, rows), ["VV"], SIZE, 0.0)
    ax = shown(explorer)[0]
    expected = np.maximum(10 * np.log10(series["image"].to_numpy()[0, 0]), -35)
    np.testing.assert_allclose(ax.images[0].get_array().filled(np.nan), expected, rtol=1e-4)
    assert ax.images[0].get_clim() == sequence_explorer.LIMITS["VV"]
    assert any(one.get_ylabel() == "VV (dB)" for one in ax.child_axes)


def test_the_other_sensor_follows_the_date(explorer, images):
    optical = images[(images["sequence"] == "0001") & (images["sensor"] == "S2") & (images["filename"] != "")]
    for place, day in enumerate(explorer.reader.of("0001", "S1")["date"]):
        explorer.date.value = place
        beside = explorer._shown()[1][0]
        apart = (optical["date"] - day).abs().min().days
        assert ("the same day" if not apart else f"{apart} day") in beside
        assert beside.startswith("Sentinel-2 RGB, ")


def test_every_change_draws_another_picture(seen):
    pictures = [seen.image.value]
    for control, value in ((seen.date, 2), (seen.band, "VV"), (seen.sensor, "S2"), (seen.sequence, "2")):
        control.value = value
        pictures.append(seen.image.value)
    assert len(set(pictures)) == 5
    pixels = plt.imread(io.BytesIO(pictures[-1]), format="png")
    assert pixels[..., :3].std() > 0.05
    assert seen.out.outputs == ()


def test_another_sensor_keeps_the_date_and_remembers_its_band(explorer):
    explorer.date.value = len(explorer.date.options) // 2
    day = pd.Timestamp(explorer.date.options[explorer.date.value][0].split()[0])
    explorer.sensor.value = "S2"
    days = explorer.reader.of("0001", "S2")["date"]
    assert abs(days[explorer.date.value] - day) == (days - day).abs().min()
    assert explorer.band.options == ("RGB", *reader.OPTICAL_BANDS)
    explorer.band.value = "B11"
    explorer.sensor.value = "S1"
    assert explorer.band.value == "VH"
    assert "Sentinel-2 B11" in shown(explorer)[1].get_title(loc="left")
    explorer.sensor.value = "S2"
    assert explorer.band.value == "B11"


def test_only_what_is_shown_is_read_and_the_last_pictures_are_remembered(explorer, read):
    explorer.sensor.value, explorer.band.value = "S2", "B08"
    read.clear()
    explorer.date.value = 4
    assert set(read) <= {("S2", "B08"), ("S1", "VH")}
    assert ("S2", "B08") in read
    explorer.date.value = 3
    read.clear()
    explorer.date.value = 4
    explorer.figure()
    assert not read
    for image in explorer.reader.passes[:20].itertuples():
        explorer.reader.read(image, "VV" if image.sensor == "S1" else "B01")
    assert explorer.reader._remembered.cache_info().currsize == sequence_explorer.REMEMBERED


def test_the_map_highlights_the_sequence(explorer, images, twin):
    rings = reader.sequences(twin, images)["ring"]
    for sequence in ("0001", "2"):
        explorer.sequence.value = sequence
        ax = shown(explorer)[2]
        every, own = ax.collections
        assert len(every.get_paths()) == len(rings)
        np.testing.assert_allclose(own.get_paths()[0].vertices[:5], rings[sequence])
        middle = rings[sequence].mean(axis=0)
        assert ax.get_xlim()[0] < middle[0] < ax.get_xlim()[1]
        assert ax.get_ylim()[0] < middle[1] < ax.get_ylim()[1]
        assert f"Sequence {sequence}" in ax.get_title(loc="left")


def test_places_are_written_with_their_hemisphere():
    assert sequence_explorer._degrees(-57.6, -27.4) == "27.40° S, 57.60° W"
    assert sequence_explorer._degrees(34.8, 19.8) == "19.80° N, 34.80° E"


def test_a_sequence_is_as_large_as_published(explorer):
    left, right, bottom, top = sequence_explorer._extent_km(explorer.reader.rings["0001"])
    assert (left, bottom) == (0, 0)
    assert (right, top) == pytest.approx((5.12, 5.19), rel=0.01)  # 0.0489 and 0.0466 degrees at 19.8° S


def test_a_file_that_cannot_be_read_is_said_by_its_reason(explorer, faults):
    whats = {"zero": "no value in any pixel", "truncated": "is damaged", "missing": "is missing"}
    optical = faults[(faults["sensor"] == "S2") & (faults["filename"] != "")]
    assert len(optical), "the twin has no optical image with a fault"
    explorer.sensor.value = "S2"
    for one in optical.itertuples():
        explorer.sequence.value = one.sequence
        explorer.date.value = [name for name, _ in explorer.date.options].index(one.date[:10])
        assert whats[one.fault] in explorer.message.value
        assert f"{one.sequence}/S2_{one.date[:10]}_B04.tif (and 2 more)" in explorer.message.value
        ax = shown(explorer)[0]
        assert not ax.images
        assert "RGB is not shown" in ax.texts[0].get_text().replace("\n", " ")
    explorer.sequence.value, explorer.sensor.value = "0001", "S1"
    good_place(explorer)
    assert not explorer.message.value


def test_an_image_without_vh_says_so(explorer, images):
    single = images[images["channels"] == "VV"]
    assert len(single), "the twin has no image without VH"
    one = single.iloc[0]
    explorer.sequence.value = one["sequence"]
    dates = list(explorer.reader.of(one["sequence"], "S1")["date"])
    explorer.date.value = dates.index(one["date"])
    assert "was taken without VH" in explorer.message.value
    explorer.band.value = "VV"
    assert "without VH" not in explorer.message.value


def test_files_that_are_gone_raise_nothing(twin, tmp_path):
    copy = tmp_path / "twin"
    copy.mkdir()
    for name in ("S1list.json", "S2list.json"):
        shutil.copy(twin / name, copy)
    explorer = SequenceExplorer(copy, reader.index(copy))
    assert explorer.message.value.count("is missing") == 2  # of both sensors
    explorer.date.value = 1
    explorer.sensor.value = "S2"
    assert "RGB is not shown" in explorer.message.value


@pytest.mark.parametrize(("kept", "lost"), [("S1", "Sentinel-2"), ("S2", "Sentinel-1")])
def test_a_sequence_with_one_sensor_alone_is_shown(twin, images, monkeypatch, kept, lost):
    monkeypatch.setenv("EOLAB_HEADLESS", "1")
    there = images[(images["sensor"] == kept) | (images["sequence"] != "2")]
    explorer = SequenceExplorer(twin, there, size=SIZE)
    for sensor in ("S1", "S2"):
        explorer.sequence.value, explorer.sensor.value = "0001", sensor
        explorer.sequence.value = "2"
        assert f"sequence 2 has no image of {lost} with a file" in explorer.message.value
        assert (explorer.date.options[0][0] == "no image") == (sensor != kept)
        assert len(shown(explorer)) == 3
        explorer.sensor.value = "S2" if sensor == "S1" else "S1"  # to and from the empty series
        assert f"sequence 2 has no image of {lost} with a file" in explorer.message.value


def test_errors_of_the_panel_are_caught_by_its_output(seen, monkeypatch):
    entered = []
    monkeypatch.setattr(type(seen.out), "__enter__", lambda out: entered.append(out))
    seen.date.value = 1
    assert entered == [seen.out]


def test_in_a_batch_run_nothing_is_drawn_but_the_figure(monkeypatch, twin, images, capsys):
    monkeypatch.setenv("EOLAB_HEADLESS", "1")
    explorer = SequenceExplorer(twin, images, "2", SIZE)
    explorer.date.value = 1
    assert explorer.image.value == b""
    assert explorer.title.value.startswith("Sequence 2 · ")
    assert len(shown(explorer)) == 3
    explorer._ipython_display_()
    assert capsys.readouterr().out.startswith("Interactive panel (not shown in batch runs)")


def test_the_static_figure_clips_nothing(explorer):
    good_place(explorer)
    figure = explorer.figure()
    figure.canvas.draw()
    inner = figure.get_tightbbox().transformed(figure.dpi_scale_trans)
    assert min(inner.x0, inner.y0) >= -1
    assert inner.x1 <= figure.bbox.x1 + 1
    assert inner.y1 <= figure.bbox.y1 + 1


def test_bad_input_is_named(twin, images, tmp_path):
    with pytest.raises(ParameterError, match=r"no sequence '001'.*0001"):
        SequenceExplorer(twin, images, sequence="001")
    with pytest.raises(ParameterError, match="No image of the table has a file"):
        SequenceExplorer(twin, images[:0])
    with pytest.raises(DataError):
        SequenceExplorer(tmp_path, images)
