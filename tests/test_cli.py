from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import safe_factory
import store_example

from eolab import __version__
from eolab.cli import commands as cli
from eolab.core.errors import ParameterError


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert __version__ in capsys.readouterr().out


@pytest.mark.parametrize("command", ["run", "sweep", "runs", "report", "data"])
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    assert f"eolab {command}" in capsys.readouterr().out.partition("examples:")[2]


def test_the_command_starts_without_heavy_imports() -> None:
    code = (
        "import sys, eolab.cli\nprint([m for m in ('numpy','pandas','yaml','papermill') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["run", "mimi"], 2, "did you mean 'mini'"),
        (["run", "mini", "--profile", "smok"], 2, "did you mean 'smoke'"),
        (["run", "mini", "--set", "sead=3"], 2, "did you mean 'seed'"),
        (["run", "mini", "--set", "count=three"], 2, "'count' must be int, found 'three'"),
        (["run", "mini", "--only", "02_used"], 2, "did you mean '02_use'"),
        (["run", "mini", "--only", "02_use"], 1, "needs a run of 01_make"),
        (["sweep", "mini", "factor"], 2, "did you mean 'factors'"),
        (["report", "nowhere"], 1, "nowhere is no run folder"),
        (["data", "check", "toy_twim"], 2, "did you mean 'toy_twin'"),
        (["data", "make"], 2, "needs a name"),
        (["data", "make", "toy_real"], 2, "is real and cannot be made"),
    ],
)
def test_bad_input_ends_in_one_sentence(
    project: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], status: int, sentence: str
) -> None:
    assert cli.main(arguments) == status
    streams = capsys.readouterr()
    assert sentence in streams.err
    assert streams.err.splitlines()[-1].startswith("eolab: ")
    assert len(streams.err.splitlines()) == 1


def test_nothing_is_written_when_the_input_is_bad(project: Path) -> None:
    cli.main(["run", "mini", "--set", "sead=3"])
    assert not (project / "runs").exists()


def test_debug_shows_the_traceback(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EOLAB_DEBUG", "1")
    with pytest.raises(cli.EolabError):
        cli.main(["run", "mimi"])


def test_jobs_is_a_number_from_one(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["sweep", "mini", "factors", "--jobs", "0"])
    assert end.value.code == 2
    assert "whole number from 1" in capsys.readouterr().err


def test_data_list_says_what_is_here_and_why_not(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["data", "list"]) == 0
    head, twin, real = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "here", "data", "size", "licence", "how", "to", "get", "it"]
    assert "yes" in twin
    assert "simulated" in twin
    assert re.search(r"no .* set [A-Z_]+ to its folder", real)


def add(project: Path, name: str, layout: str, folder: Path) -> None:
    with (project / "data_catalog.yaml").open("a") as file:
        file.write(f"\n{name}: {{uri: {folder}, layout: {layout}}}\n")


@pytest.mark.parametrize(
    ("layout", "expected"),
    [
        ("sentinel2_safe", "MTD_MSIL2A.xml"),
        ("sentinel2_corine", "sentinel2"),
        ("eolearn_patch", "bbox.geojson"),
        ("landslide4sense", "TrainData/img/image_1.h5"),
        ("sen12flood", "S1list.json"),
        ("bigearthnet_v1", "BigEarthNet-v1.0"),
        ("bigearthnet_v2", "metadata.parquet"),
        ("corine_raster", "CORINE"),
    ],
)
def test_data_check_says_what_is_expected_where_nothing_is_found(
    project: Path, capsys: pytest.CaptureFixture[str], layout: str, expected: str
) -> None:
    (project / "empty").mkdir()
    add(project, "mine", layout, project / "empty")
    assert cli.main(["data", "check", "mine"]) == 1
    streams = capsys.readouterr()
    assert expected in streams.err
    assert streams.err.splitlines()[-1].startswith("eolab: ")


def test_data_check_has_the_status_of_the_study(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its files could be read, the study could not open them: two tiles, and none chosen."""
    for tile in ("31UFT", "31UFU"):
        safe_factory.write_safe(project / "both" / "sentinel2", tile=tile, size=12)
    add(project, "mine", "sentinel2_safe", project / "both")
    assert cli.main(["data", "check", "mine"]) == 2
    streams = capsys.readouterr()
    assert "mine: 26 files can be used, 0 cannot." in streams.out
    assert "holds the tiles 31UFT, 31UFU: choose one" in streams.err


def test_a_bad_entry_is_listed_with_its_reason(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add(project, "mine", "sentinel2_saef", project)
    assert cli.main(["data", "list"]) == 0
    assert "cannot be used: Data set 'mine'" in capsys.readouterr().out


def test_data_check_compares_a_sample_store_with_its_digests(
    project: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = store_example.write(tmp_path / "store").path
    assert cli.main(["data", "check", str(folder)]) == 0
    assert cli.main(["data", "check", str(tmp_path)]) == 0, "the folder of its run"
    with (folder / "image.npy").open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"!")
    assert cli.main(["data", "check", str(folder)]) == 2
    assert "image.npy (from sample 0 on) is not what was written" in capsys.readouterr().err


def test_studies(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["studies"]) == 0
    text = capsys.readouterr().out
    for word in ("mini", "A miniature study", "01_make, 02_use", "smoke", "factors"):
        assert word in text


def test_parameters_are_listed_and_a_typo_names_the_nearest_ones(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A typo in --set was answered with 125 names."""
    from eolab.runs import chain, study

    assert cli.main(["studies", "mini/02_use"]) == 0
    text = capsys.readouterr().out
    assert "mini/02_use\n" in text
    assert re.search(r"factor +1.0 +what the numbers are multiplied with", text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EOLAB_ROOT", str(Path(__file__).parents[1]))
        for key, where in (("epoch", "landcover"), ("04_train_pixels.epoch", "landcover/04_train_pixels")):
            with pytest.raises(ParameterError, match=rf"'training.epochs'.* `eolab studies {where}`") as told:
                chain.settings(study.load("landcover"), [f"{key}=3"])
            assert len(str(told.value).split()) < 45


@pytest.mark.parametrize("command", [("run",), ("sweep", "models")])
def test_a_data_set_that_is_in_no_catalogue_is_refused_before_any_notebook_runs(
    command, tmp_path, monkeypatch, capsys
):
    mine = tmp_path / "eolab_catalog.yaml"
    mine.write_text("{}\n")
    monkeypatch.setenv("EOLAB_CATALOG", str(mine))
    what, *sweep = command
    named = ["--set", "dataset=landcover_twn", "--out", str(tmp_path / "runs")]
    assert cli.main([what, "landcover", *sweep, *named]) == 2
    said = capsys.readouterr().err
    assert f"Neither {mine} nor " in said
    assert "has a data set 'landcover_twn'" in said
    assert "did you mean 'landcover_twin'" in said
    assert not (tmp_path / "runs").exists()
