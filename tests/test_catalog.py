"""The data catalogue: paths, variables, errors, twins, and the project's own file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
import types
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import xarray as xr
import yaml
from safe_factory import image_path, write_safe

from eolab.cli import main
from eolab.core import files
from eolab.core.errors import CatalogError, DataError, EolabError
from eolab.data import catalog
from eolab.data.layouts import LAYOUTS
from eolab.synthetic import writing

ROOT = Path(__file__).resolve().parents[1]
ENTRY = "tile:\n  uri: {uri}\n  layout: sentinel2_safe\n"


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "data_catalog.yaml"
    file.write_text(text)
    return file


def test_relative_paths_start_at_the_catalogue_not_at_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    plain = write(tmp_path / "a", ENTRY.format(uri="data/x"))
    assert catalog.load(plain)["tile"].path == tmp_path / "a" / "data" / "x"
    rooted = write(tmp_path / "b", "meta: {root: ../elsewhere}\n" + ENTRY.format(uri="x"))
    assert catalog.load(rooted)["tile"].path == tmp_path / "elsewhere" / "x"
    absolute = write(tmp_path / "c", ENTRY.format(uri="/somewhere/x"))
    assert catalog.load(absolute)["tile"].path == Path("/somewhere/x")


def test_default_is_the_projects_catalogue(tmp_path, monkeypatch):
    write(tmp_path, ENTRY.format(uri="x"))
    monkeypatch.setenv("EOLAB_ROOT", str(tmp_path))
    assert list(catalog.load()) == ["tile"]


def test_variables(tmp_path, monkeypatch):
    file = write(
        tmp_path,
        ENTRY.format(uri="${EOLAB_T1:-fall/back}/x")
        + ENTRY.format(uri="${EOLAB_T2}/x").replace("tile", "other"),
    )
    monkeypatch.delenv("EOLAB_T1", raising=False)
    monkeypatch.delenv("EOLAB_T2", raising=False)
    known = catalog.load(file)
    assert known["tile"].path == tmp_path / "fall" / "back" / "x"
    assert not known["other"].exists()
    with pytest.raises(CatalogError) as caught:
        known["other"].ensure()
    assert all(part in str(caught.value) for part in ("EOLAB_T2", "'other'", str(file)))
    monkeypatch.setenv("EOLAB_T1", "/set")
    monkeypatch.setenv("EOLAB_T2", str(tmp_path))
    assert known["tile"].path == Path("/set/x"), "variables are resolved when they are needed"
    assert known["other"].path == tmp_path / "x"
    nested = write(tmp_path / "nested", ENTRY.format(uri="${EOLAB_T3:-${EOLAB_T1:-fall}/y}/x"))
    monkeypatch.delenv("EOLAB_T3", raising=False)
    assert catalog.load(nested)["tile"].path == Path("/set/y/x"), "a default may name a variable"
    monkeypatch.setenv("EOLAB_T3", "${EOLAB_T1}")
    assert catalog.load(nested)["tile"].path == tmp_path / "nested/${EOLAB_T1}/x", "a value is taken as it is"


def test_one_variable_moves_all_published_and_simulated_data(monkeypatch):
    """A job mounts one folder; published data sets stayed in the folder of the code."""
    for name in list(os.environ):
        if name.startswith("EOLAB_") and name not in ("EOLAB_ROOT", "EOLAB_REAL_DATA"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("EOLAB_DATA", "/mount")
    found = [one for one in catalog.load().values() if "EOLAB_REAL_DATA" not in one.uri]
    assert len(found) > 10
    assert not [one.name for one in found if Path("/mount") not in one.path.parents]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tile:\n  uri: x\n  layuot: sentinel2_safe\n", "unknown key 'layuot': did you mean 'layout'"),
        ("tile:\n  uri: x\n  layout: sentinel2_saef\n", "did you mean 'sentinel2_safe'"),
        ("tile:\n  uri: x\n", "has no layout"),
        ("tile:\n  layout: sentinel2_safe\n", "has no uri"),
        ("tile: 5\n", "must be a mapping of names, found 5"),
        ("[1, 2]\n", r"must be a mapping of names, found \[1, 2\]"),
        ("meta: {rooot: .}\n", "did you mean 'root'"),
        (ENTRY.format(uri="x") + "  metadata: {licence: MIT}\n", "did you mean 'license'"),
        (ENTRY.format(uri="$HOME/x"), r"written \$\{VAR\}"),
        (ENTRY.format(uri="x") + "  twin: {seed: 0}\n", "no writer"),
        ("tile: {uri: [\n", "no YAML"),
        ("tile: {uri: a}\ntile: {uri: b}\n", "'tile' is written twice"),
    ],
)
def test_mistakes_in_the_file_are_one_sentence(tmp_path, text, words):
    file = write(tmp_path, text)
    with pytest.raises(CatalogError, match=words) as caught:
        catalog.load(file)["tile"]
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ("{uri: x, uri: y, layout: sentinel2_safe}", "the key 'uri' is written twice .line 4"),
        ("{uri: [x], layout: sentinel2_safe}", "has no uri"),
        ("{uri: '', layout: sentinel2_safe}", "has no uri"),
        ('{uri: "a\\0b", layout: sentinel2_safe}', "expected the path of a file or folder"),
        ("{uri: 's3://bucket/x', layout: sentinel2_safe}", "fetch data that lie elsewhere"),
        ("{uri: '~nobody-here/x', layout: sentinel2_safe}", "has no such user"),
        ("{uri: x, layout: sentinel2_safe, description: 5}", "description 5, expected text"),
        ("{uri: x, layout: sentinel2_safe, metadata: [1]}", "must be a mapping of names"),
        ("{uri: x, layout: sentinel2_safe, metadata: {crs: {a: b}}}", "has crs {'a': 'b'}, expected text"),
        ("{uri: x, layout: sentinel2_safe, metadata: {size: 2020-01-01}}", "has size datetime.date"),
        ("{uri: x, layout: sentinel2_safe, metadata: {size: 2020-13-45}}", "month must be in 1..12"),
        ("{uri: x, layout: sentinel2_safe, pixels: {scale: 0}}", "scale 0, expected a number above 0"),
        ("{uri: x, layout: sentinel2_safe, pixels: {offset: '-0.1'}}", "offset '-0.1', expected a number"),
        (f"{{uri: x, layout: sen12flood, pixels: {{nodata: {'9' * 400}}}}}", "nodata 99.*expected a number"),
        (
            f"{{uri: x, layout: sen12flood, pixels: {{scale: {'9' * 400}}}}}",
            "scale 99.*expected a number above",
        ),
        (f"{{uri: {'x' * 5000}, layout: sentinel2_safe}}", "is missing, .* does not exist"),
        ("{uri: x, layout: sentinel2_safe, pixels: {ofset: 1}}", "did you mean 'offset'"),
        ("{uri: x, layout: landslide4sense, pixels: {offset: 1}}", "takes what the files state"),
        ("!!python/object/apply:os.system [ls]", "no YAML"),
        ("{uri: x, layout: sen12flood}", "layout sen12flood: missing a required argument: 'sequence'"),
        ("{uri: x, layout: os}", "no layout: it has no function open_layout"),
    ],
)
def test_a_bad_entry_stops_no_other(tmp_path, block, words):
    """One mistake anywhere in the file made every data set unusable."""
    file = write(
        tmp_path,
        ENTRY.format(uri="x")
        + f"other: {block}\n2020: {{}}\n"
        + ENTRY.format(uri="x").replace("tile", "last"),
    )
    known = catalog.load(file)
    assert {"tile", "last"} <= set(known)
    assert known["tile"].path == tmp_path / "x"
    (tmp_path / "x").mkdir()
    with pytest.raises(EolabError, match=words) as caught:
        known["other"].open()
    assert "\n" not in str(caught.value)
    with pytest.raises(CatalogError, match="the name 2020 in line 5 is no text"):
        known["2020"]


def test_a_link_to_itself_is_missing_data(tmp_path):
    """Regression: `eolab data list` ended in a RuntimeError for all data sets."""
    (tmp_path / "x").symlink_to(tmp_path / "x")
    entry = catalog.load(write(tmp_path, ENTRY.format(uri="x")))["tile"]
    assert not entry.exists()
    with pytest.raises(DataError, match=r"is missing, .* does not exist"):
        entry.open()


def test_a_bomb_of_references_is_refused_at_once(tmp_path):
    lines = "\n".join(f"  a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12))
    file = write(tmp_path, f"tile:\n  a0: &a0 [x]\n{lines}\n")
    with pytest.raises(CatalogError, match="unknown key"):
        catalog.load(file)["tile"]
    file.write_text(
        f"tile:\n  uri: x\n  layout: sentinel2_safe\n  metadata:\n   crs: {'[' * 600}{']' * 600}\n"
    )
    with pytest.raises(CatalogError, match="nested too deeply"):
        catalog.load(file)


def test_entries_take_keys_over_from_a_block_with_an_anchor(tmp_path):
    """Regression: << was "could not determine a constructor for the tag"."""
    file = write(
        tmp_path,
        "tile: &tile {uri: x, layout: sentinel2_safe, description: a}\n"
        "other:\n  <<: *tile\n  uri: y\n"
        "twice: {<<: *tile, uri: y, uri: z}\n"
        "<<: {uri: z}\n",
    )
    loaded = catalog.load(file)
    assert [(loaded[name].uri, loaded[name].description) for name in ("tile", "other")] == [
        ("x", "a"),
        ("y", "a"),
    ]
    with pytest.raises(CatalogError, match="the key 'uri' is written twice"):
        loaded["twice"]
    with pytest.raises(CatalogError, match="<< in line 6 stands outside of a block: write the names out"):
        loaded["<<"]


def test_the_catalogue_goes_before_the_metadata_of_products(tmp_path):
    """A harmonised product, whose offset was added before, could not be read right."""
    write_safe(tmp_path / "x", "2022-05-06T10:40:31", baseline="04.00", size=12)
    file = write(tmp_path, ENTRY.format(uri="x") + "  pixels: {offset: 0}\n")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        stated = catalog.load(file)["tile"].open(bands=["B02"])["reflectance"]
        file.write_text(ENTRY.format(uri="x"))
        plain = catalog.load(file)["tile"].open(bands=["B02"])["reflectance"]
    assert float((stated - plain).mean()) == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize(
    ("twin", "words"),
    [
        (
            "{writer: tiny, sead: 1}",
            "Data set 'tile' of .*, block 'twin': (missing .* 'seed'|got an unexpected .*'sead')",
        ),
        ("{writer: tiny, seed: 1, tree: x}", "got an unexpected keyword argument 'tree'"),
        ("{writer: landslide4sense, seed: x}", "block 'twin' has seed 'x', expected int"),
        ("{writer: landslide4sense, train: true}", "block 'twin' has train True, expected int"),
        ("{writer: nothing_here}", "has the writer 'nothing_here', expected a module"),
        ("{writer: json}", "has the writer 'json', expected a module"),
    ],
)
def test_twins_that_cannot_be_written_are_one_sentence(tmp_path, monkeypatch, twin, words):
    module = types.ModuleType("tiny")
    module.write = lambda folder, progress, seed: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tiny", module)
    file = write(tmp_path, ENTRY.format(uri="twin") + f"  twin: {twin}\n")
    with pytest.raises(CatalogError, match=words):
        catalog.load(file)["tile"].make()


def test_unknown_name_and_missing_file(tmp_path):
    known = catalog.load(write(tmp_path, ENTRY.format(uri="x")))
    with pytest.raises(CatalogError, match="did you mean 'tile'"):
        known["tilee"]
    with pytest.raises(CatalogError, match="cannot be read"):
        catalog.load(tmp_path / "none.yaml")


def test_missing_real_data_says_where_to_get_them(tmp_path):
    text = (
        ENTRY.format(uri="x") + "  metadata: {url: 'https://example.org/tile', license: MIT, citation: c}\n"
    )
    entry = catalog.load(write(tmp_path, text))["tile"]
    for use in (entry.ensure, entry.open, entry.check):
        with pytest.raises(DataError, match=r"get them at https://example.org/tile"):
            use()
    with pytest.raises(DataError, match="real and cannot be made"):
        entry.make()


@pytest.fixture
def twin(tmp_path, monkeypatch):
    """A catalogue with a twin whose writer is a tiny one."""
    module = types.ModuleType("eolab.synthetic.tiny")

    def make(folder: Path, progress: bool = True, **parameters: int) -> None:
        write_safe(folder, seed=parameters["seed"], size=24)
        (folder / "twin.json").write_text(json.dumps({"simulated": True, **parameters}))
        module.calls += 1  # type: ignore[attr-defined]

    module.write, module.calls = make, 0  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "eolab.synthetic.tiny", module)
    if "eolab.synthetic" not in sys.modules:
        package = types.ModuleType("eolab.synthetic")
        package.__path__ = []
        monkeypatch.setitem(sys.modules, "eolab.synthetic", package)

    def entry(seed: int = 0) -> catalog.DataEntry:
        text = ENTRY.format(uri="twin") + f"  twin: {{writer: tiny, seed: {seed}}}\n"
        return catalog.load(write(tmp_path, text + "  metadata: {license: CC0-1.0, citation: c}\n"))["tile"]

    return types.SimpleNamespace(entry=entry, module=module)


def test_twin_is_made_once_and_again_when_its_parameters_change(twin):
    entry = twin.entry()
    assert entry.simulated
    with pytest.raises(DataError, match="eolab data make tile"):
        entry.open()
    assert entry.ensure(progress=False).exists()
    entry.ensure(progress=False)
    assert twin.module.calls == 1
    changed = twin.entry(seed=1)
    changed.ensure(progress=False)
    assert twin.module.calls == 2
    assert json.loads((changed.path / "twin.json").read_text())["seed"] == 1


def test_a_changed_twin_is_replaced_when_the_new_one_is_whole(twin, monkeypatch):
    """Its folder was removed first, with all that lay in it: a failed writer left nothing."""
    path = twin.entry().ensure(progress=False).path
    write_tiny = twin.module.write

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(twin.module, "write", fail)
    with pytest.raises(OSError, match="No space left"):
        twin.entry(seed=1).make(progress=False)
    assert json.loads((path / "twin.json").read_text())["seed"] == 0
    monkeypatch.setattr(twin.module, "write", write_tiny)
    (path / "notes.txt").write_text("mine")
    twin.entry(seed=1).make(progress=False)
    assert json.loads((path / "twin.json").read_text())["seed"] == 1
    assert (path.with_name("twin.before") / "notes.txt").read_text() == "mine"


def test_of_two_processes_that_write_one_twin_the_slower_takes_that_of_the_faster(tmp_path):
    """It ended in OSError: [Errno 39] Directory not empty."""
    place = tmp_path / "twin"

    def write(nested: bool, seed: int = 0) -> None:
        with writing.whole(place) as building:
            (building / "image.tif").write_text("pixels")
            writing.mark(building, "tiny", 1, seed=seed)
            if nested:
                write(False)

    write(True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["twin"]
    written = json.loads((place / "twin.json").read_text())["files"]
    assert written == files.names_digest(place, "twin.json")
    (place / "notes.txt").touch()
    assert written != files.names_digest(place, "twin.json")


def test_a_twin_that_two_notebooks_need_at_once_is_made_once(twin, monkeypatch):
    write_tiny, begun = twin.module.write, threading.Event()

    def slow(folder: Path, **options: Any) -> None:
        begun.set()
        time.sleep(0.3)
        write_tiny(folder, **options)

    monkeypatch.setattr(twin.module, "write", slow)
    first = threading.Thread(target=twin.entry().make, kwargs={"progress": False})
    first.start()
    assert begun.wait(10)
    assert (twin.entry().make(progress=False) / "twin.json").is_file()
    first.join()
    assert twin.module.calls == 1
    assert [path.name for path in twin.entry().path.parent.glob(".*")] == []


def test_a_twin_of_an_older_generator_is_made_again(twin):
    """It stayed, and runs went on with what the writer no longer writes."""
    twin.entry().ensure(progress=False)
    twin.module.VERSION = 2
    twin.entry().ensure(progress=False)
    assert twin.module.calls == 2


def test_the_origin_of_data_is_whether_they_are_simulated_their_licence_and_their_citation(twin, tmp_path):
    assert twin.entry().origin == {"simulated": True, "license": "CC0-1.0", "citation": "c"}
    text = ENTRY.format(uri="x") + "  metadata: {citation: ESA 2020, url: 'https://x.org', size: 1 MB}\n"
    real = catalog.load(write(tmp_path / "real", text))["tile"]
    assert real.origin == {"simulated": False, "citation": "ESA 2020"}
    assert json.loads(json.dumps(real.origin)) == real.origin
    bare = catalog.load(write(tmp_path / "bare", ENTRY.format(uri="x")))["tile"]
    assert bare.origin == {"simulated": False}


def test_opened_data_say_where_they_come_from(twin):
    entry = twin.entry().ensure(progress=False)
    attributes = entry.open(bands=["B04"]).attrs
    assert {name: attributes[name] for name in entry.origin} == entry.origin
    assert attributes["simulated"] == 1


def test_a_folder_of_something_else_is_never_removed(twin):
    entry = twin.entry()
    entry.path.mkdir()
    (entry.path / "thesis.txt").write_text("years of work")
    with pytest.raises(DataError, match="move it away"):
        entry.make(progress=False)
    assert (entry.path / "thesis.txt").exists()


def test_open_and_check(twin):
    entry = twin.entry().ensure(progress=False)
    dataset = entry.open(bands=["B04"])
    assert isinstance(dataset, xr.Dataset)
    assert dataset.attrs["simulated"] == 1
    assert (dataset.attrs["license"], dataset.attrs["data_set"]) == ("CC0-1.0", "tile")
    assert (entry.check(progress=False).ok, entry.check(progress=False).rejected) == (13, 0)
    product = next(entry.path.glob("*.SAFE"))
    image_path(product, "B05").write_bytes(b"")
    report = entry.check(progress=False)
    assert report.ok == 0
    assert report.rejected == 1
    assert report.files["reason"].str.contains("B05 is empty").all()
    assert list(report.files.columns) == ["file", "status", "reason"]


def test_files_are_checked_once_until_one_changes_or_it_is_asked_for(twin, monkeypatch):
    """Each notebook of a study that reads the data set began with reading every pixel of it again."""
    entry = twin.entry().ensure(progress=False)
    (entry.path / "checked_at").write_text("1")
    reader, count = catalog.layouts.reader(entry.layout), []

    def read(path, progress):
        count.append(path)
        return pd.DataFrame({"file": ["a"], "status": ["ok"], "reason": [f"reading {len(count)}"]})

    monkeypatch.setattr(reader, "check_layout", read)
    found = [entry.check(progress=False).files["reason"][0] for _ in range(2)]
    (entry.path / "checked_at").write_text("2")  # of the same size, at once
    found += [entry.check(progress=False).files["reason"][0] for _ in range(2)]
    found += [entry.check(again=True).files["reason"][0]]
    monkeypatch.setattr(catalog.sources, "digests", lambda: {"eolab/data/catalog.py": "other"})
    found += [entry.check(progress=False).files["reason"][0]]
    assert found == [f"reading {number}" for number in (1, 1, 2, 2, 3, 4)]

    def unreadable(*arguments):
        raise DataError("it cannot be read")

    monkeypatch.setattr(catalog.fingerprints, "fingerprint", unreadable)
    assert [entry.check(progress=False).files["reason"][0] for _ in range(2)] == ["reading 5", "reading 6"]


# === The project's catalogue ===


def test_every_data_set_has_a_licence_a_citation_and_a_known_layout():
    entries = catalog.load(ROOT / "data_catalog.yaml")
    assert {"landcover_twin", "slovenia_eopatch", "sentinel2_t56jmm", "corine_2018"} <= set(entries)
    for entry in entries.values():
        assert entry.metadata.get("license"), entry.name
        assert entry.metadata.get("citation"), entry.name
        assert entry.description, entry.name
        assert entry.layout in LAYOUTS
        assert entry.simulated or entry.metadata.get("url"), entry.name


def test_no_secret_and_no_machine_path_in_the_catalogue():
    text = (ROOT / "data_catalog.yaml").read_text().lower()
    assert not any(word in text for word in ("password", "token", "sig=", "accountkey", "/home/", "/Users/"))


@pytest.mark.slow
def test_real_data_sets_open_and_check(real_data, monkeypatch):
    monkeypatch.setenv("EOLAB_REAL_DATA", str(real_data))
    entries = catalog.load(ROOT / "data_catalog.yaml")
    for name, crs in (("slovenia_eopatch", 32633), ("sentinel2_t56jmm", 32756)):
        entry = entries[name].ensure()
        dataset = entry.open()
        assert dataset.rio.crs.to_epsg() == crs == int(entry.metadata["crs"].removeprefix("EPSG:"))
        assert dataset.attrs["simulated"] == 0
        assert list(dataset["band"].values) == entry.metadata["bands"]
        report = entry.check(progress=False)
        assert report.rejected == 0
        assert report.ok > 10


def test_importing_the_catalogue_loads_no_heavy_library():
    heavy = "'keras', 'tensorflow', 'rasterio', 'xarray', 'pandas', 'dask', 'geopandas'"
    code = f"import sys, eolab.data.catalog; print([m for m in ({heavy}) if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.slow
def test_readers_never_import_keras():
    modules = ", ".join(LAYOUTS.values())
    heavy = "'keras', 'tensorflow', 'torch', 'jax'"
    code = f"import sys, {modules}; print([m for m in ({heavy}) if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_like_reasons_are_counted_together():
    files = pd.DataFrame(
        [
            ("a", "ok", ""),
            ("b", "rejected", "of 1,234 bytes is damaged (tifffile: x; GDAL: y): fetch it again"),
            ("c", "rejected", "of 99 bytes is damaged (tifffile: z; GDAL: y): fetch it again"),
            ("d", "rejected", "has values in 60% of the pixels of its date, expected 75% or more"),
            ("e", "rejected", "names no file for 2019-03-28"),
            ("f", "rejected", "has no B8A, expected S2A_MSIL2A_20171201T112431_9_17_B8A.tif: fetch it again"),
        ],
        columns=["file", "status", "reason"],
    )
    table = catalog.CheckReport(files).reasons()
    assert table["files"].tolist() == [2, 1, 1, 1]
    assert table.loc[0, "reason"] == "is damaged"
    assert table.loc[0, "example"] == "b"
    assert set(table["reason"]) == {
        "is damaged",
        "has values in … of the pixels of its date, expected … or more",
        "names no file for …",
        "has no B8A, expected …",
    }
    assert catalog.CheckReport(files).in_words() == (
        "1 of 6 files can be used; the others: is damaged (2), has no B8A, expected … (1) and 2 more reasons."
    )
    assert catalog.CheckReport(files[:1]).in_words() == "1 of 1 files can be used."
    assert catalog.CheckReport(files[3:4]).in_words().startswith("Files that cannot be used: has values in")
    assert catalog.CheckReport(files[:0]).in_words() == ""


def test_a_module_of_ones_own_reads_and_writes_a_layout(tmp_path, monkeypatch):
    """A study from outside brings its reader and its twin as modules."""
    (tmp_path / "my_ponds.py").write_text(
        "import xarray as xr\n"
        "VERSION = 2\n"
        "def open_layout(path, **options): return xr.Dataset(attrs={'read': path.name})\n"
        "def write(folder, progress=True, depth=1):\n"
        "    from eolab.synthetic.writing import mark\n"
        "    folder.mkdir(parents=True)\n"
        "    mark(folder, 'my_ponds', VERSION, depth=depth)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "data_catalog.yaml"
    entry = "  uri: ponds\n  layout: my_ponds\n  twin: {writer: my_ponds, depth: 3}\n"
    file.write_text(f"ponds:\n{entry}")
    found = catalog.load(file)["ponds"]
    assert found.ensure().open().attrs["read"] == "ponds"
    assert found.simulated
    file.write_text(f"ponds:\n{entry.replace('layout: my_ponds', 'layout: my_pond')}")
    with pytest.raises(CatalogError, match=r"unknown layout 'my_pond'.*name of a module"):
        catalog.load(file)["ponds"]


# === Labels ===


def test_labels_are_files_below_the_data_with_what_they_do_not_say(tmp_path, monkeypatch):
    monkeypatch.setenv("MY_POINTS", str(tmp_path / "elsewhere"))
    for file in ("data/stands.gpkg", "elsewhere/points.csv"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("x")
    labels = {"stands": {"file": "stands.gpkg", "column": "need", "crs": 3006}}
    labels |= {"points": {"file": "${MY_POINTS}/points.csv"}, "gone": {"file": "gone.gpkg"}}
    entry = {"uri": "data", "layout": "rasters", "labels": labels}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"mine": entry}))
    mine = catalog.load(tmp_path / "mine.yaml")["mine"]
    assert mine.label_file("stands") == (tmp_path / "data/stands.gpkg", {"column": "need", "crs": 3006})
    assert mine.label_file("points") == (tmp_path / "elsewhere/points.csv", {})
    with pytest.raises(
        DataError, match=r"gone\.gpkg is missing, which .* names for 'gone': correct its block"
    ):
        mine.label_file("gone")
    with pytest.raises(CatalogError, match="names no labels 'stand': did you mean 'stands'"):
        mine.label_file("stand")


@pytest.mark.parametrize(
    ("labels", "fault"),
    [
        ({"stands": {"column": "need"}}, "name no file"),
        ({"stands": {"file": "a", "colum": "need"}}, "did you mean 'column'"),
        ({"stands": {"file": "a", "column": 3}}, "have the column 3, expected text"),
        ({"stands": "a.gpkg"}, "stands"),
        (["a.gpkg"], "labels"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path, labels, fault):
    (tmp_path / "mine.yaml").write_text(
        yaml.safe_dump({"mine": {"uri": ".", "layout": "rasters", "labels": labels}})
    )
    with pytest.raises(CatalogError, match=fault):
        catalog.load(tmp_path / "mine.yaml")["mine"]


# === A catalogue of one's own ===


def test_a_catalogue_of_ones_own_is_used_beside_the_projects(tmp_path, monkeypatch, capsys):
    (tmp_path / "img").mkdir()
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"my_stands": {"uri": "img", "layout": "rasters"}}))
    monkeypatch.setenv("EOLAB_CATALOG", str(tmp_path / "mine.yaml"))
    found = catalog.load()
    assert found["my_stands"].path == tmp_path / "img"
    assert "landcover_twin" in found
    monkeypatch.delenv("EOLAB_CATALOG")
    with pytest.raises(CatalogError, match="no data set 'my_stands'"):
        catalog.load()["my_stands"]
    monkeypatch.setenv("EOLAB_CATALOG", "")  # what the command sets is taken back after the test
    assert main(["--catalog", str(tmp_path / "mine.yaml"), "data", "list"]) == 0
    assert "my_stands" in capsys.readouterr().out


def test_a_catalogue_of_ones_own_that_cannot_be_used_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("EOLAB_CATALOG", str(tmp_path / "gone.yaml"))
    with pytest.raises(CatalogError, match=r"gone\.yaml"):
        catalog.load()
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump({"landcover_twin": {"uri": ".", "layout": "rasters"}}))
    monkeypatch.setenv("EOLAB_CATALOG", str(tmp_path / "mine.yaml"))
    with pytest.raises(CatalogError, match=r"names landcover_twin, which .* names too: call it"):
        catalog.load()
