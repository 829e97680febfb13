"""Class schemes: CORINE against the colours published with BigEarthNet, recoding, and the study's classes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import combinations

import numpy as np
import pytest
import xarray as xr

from eolab.core.errors import DataError, ParameterError
from eolab.data.preprocess import clear_mask
from eolab.data.schemes import COLORS, IGNORE, ClassScheme, corine, lookup
from eolab.data.schemes.bigearthnet import CLASSES_19
from eolab.data.schemes.landcover import (
    CLASSES,
    CORINE_TO_UPDATE,
    LANDCOVER,
    between,
    classes_of,
    from_corine,
    read_classes,
)
from eolab.evaluation.change import CASES, UNKNOWN
from eolab.plots import maps
from eolab.studies.clearing import samples
from eolab.studies.landslide import products


def test_corine_codes_and_colours_are_the_official_ones(real_data):
    listed = json.loads((real_data / "bigearthnet_v2_metadata" / "clc_metadata.json").read_text())["clc_data"]
    official = {
        int(item["code"]): "#{:02x}{:02x}{:02x}".format(*item["color"][:3])
        for item in listed
        if item["code"].isdigit() and int(item["code"]) in set(corine.CORINE["code"])
    }
    assert len(official) == 44
    assert dict(zip(corine.CORINE["code"], corine.CORINE["color"], strict=True)) == official


def test_corine_levels():
    assert [len(corine.scheme(level)) for level in (1, 2, 3)] == [5, 15, 44]
    assert list(corine.CORINE["grid_code"]) == list(range(1, 45))
    assert not corine.CORINE.isna().any(axis=None)
    row = corine.CORINE.set_index("code").loc[312]
    assert (row["level1_name"], row["level2_name"], row["level3_name"]) == (
        "Forest and semi natural areas",
        "Forests",
        "Coniferous forest",
    )
    for level in (1, 2, 3):
        assert len(set(corine.scheme(level).colors)) == len(corine.scheme(level))
    with pytest.raises(ParameterError, match="levels 1, 2 and 3"):
        corine.scheme(4)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "float32"])
def test_recode_grid_codes(dtype):
    values = np.array([[0, 1, 12], [44, 45, 48]]).astype(dtype)
    result = corine.recode(values)
    assert result.dtype == np.uint16
    assert result.tolist() == [[0, 111, 211], [523, 0, 0]]


def test_recode_takes_recoded_rasters_and_any_nodata():
    assert corine.recode(np.array([111, 523, 112, 999, 143])).tolist() == [111, 523, 112, 0, 0]
    assert corine.recode(np.array([-128, -1, 5], np.int8)).tolist() == [0, 0, 123]
    assert corine.recode(np.array([255, 5], np.uint8)).tolist() == [0, 123]
    assert corine.recode(np.array([1, 5], np.uint8), nodata=1).tolist() == [0, 123]
    assert corine.recode(np.array([np.nan, 1.0, 1.5])).tolist() == [0, 111, 0]


def test_update_scheme_covers_what_its_names_say():
    assert len(LANDCOVER) == 12
    classes = from_corine(np.array([112, 211, 312, 511, 335, 523, 242, 0]))
    assert classes.dtype == np.uint8
    names = [LANDCOVER.names[k] if k != IGNORE else "ignore" for k in classes]
    assert names == ["Urban", "Not irrigated crops", "Conifers", "Lake", "Snow", "ignore", "ignore", "ignore"]
    assert from_corine(np.array([2, 24], np.uint8)).tolist() == [0, LANDCOVER.names.index("Conifers")]
    assert set(CORINE_TO_UPDATE.values()) == set(range(12))
    assert set(CORINE_TO_UPDATE) <= set(corine.CORINE["code"])
    assert len(CORINE_TO_UPDATE) == 25


# Machado, Oliveira and Fernandes (2009), doi 10.1109/TVCG.2009.113: severity 1.0, on linear RGB
EYES = {
    "normal": np.eye(3),
    "protan": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deutan": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritan": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def lab(color: str, eye: np.ndarray) -> np.ndarray:
    """CIELAB (D65) of an sRGB colour as an eye sees it."""
    rgb = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ np.clip(eye @ linear, 0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def nearest(colors: Iterable[str], eyes: Iterable[str]) -> float:
    """The smallest distance of two of some colours in CIELAB (1976), to the worst of some eyes."""
    seen = [[lab(color, EYES[eye]) for color in colors] for eye in eyes]
    return min(float(np.linalg.norm(a - b)) for one in seen for a, b in combinations(one, 2))


def test_update_colours_differ_for_eyes_that_take_red_for_green():
    assert nearest(LANDCOVER.colors, ["normal", "protan", "deutan"]) > 24


@pytest.mark.parametrize(
    ("colors", "least"),
    [  # the more colours, the nearer they come; those of CORINE are official, and many are one to such eyes
        (LANDCOVER.colors, 18),
        (CASES.colors[: UNKNOWN + 1], 15),
        (CASES.colors[UNKNOWN:], 15),
        (CLASSES_19.colors, 12.5),
        (products.SCHEME.colors, 15),
        (maps.SPLITS.values(), 15),
        (samples.COLORS, 15),
        (COLORS, 13),
    ],
    ids=[
        "landcover",
        "change",
        "change without truth",
        "BigEarthNet",
        "landslides",
        "splits",
        "degree",
        "own",
    ],
)
def test_every_pair_of_colours_of_a_map_and_no_data_are_told_apart_by_all_eyes(colors, least):
    assert nearest([*colors, maps.NODATA_COLOR], EYES) > least


def test_scl_codes_are_those_of_real_metadata(real_data):
    (file,) = (real_data / "s2_safe_metadata").glob("S2A_MSIL2A_20190212*/MTD_MSIL2A.xml")
    stated = {
        int(code): name
        for name, code in re.findall(
            r"CLASSIFICATION_TEXT>SC_(\w+)<.*?CLASSIFICATION_INDEX>(\d+)<", file.read_text(), re.DOTALL
        )
    }
    clear = clear_mask(xr.DataArray(sorted(stated), dims="code")).to_numpy()
    assert [stated[code] for code in np.flatnonzero(clear)] == [
        *("VEGETATION", "NOT_VEGETATED", "WATER", "UNCLASSIFIED"),
    ]
    for code, word in ((3, "CLOUD_SHADOW"), (10, "THIN_CIRRUS"), (11, "SNOW_ICE")):
        assert stated[code] == word


def test_scheme_table_index_and_colours():
    scheme = ClassScheme("two", (3, 7), ("a", "b"), ("#ff0000", "#0000ff"))
    assert len(scheme) == 2
    assert scheme.index_of(7) == 1
    assert scheme.table().loc[1].tolist() == [7, "b", "#0000ff"]
    colors, norm = scheme.colormap()
    drawn = colors(norm(np.array([0, 1, IGNORE])))
    assert drawn.tolist() == [[1, 0, 0, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    with pytest.raises(ParameterError, match=r"no class with code 4: Known: 3, 7"):
        scheme.index_of(4)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (((1, 2), ("a",), ("#000000",)), "2 codes, 1 names and 1 colours"),
        (((1, 1), ("a", "b"), ("#000000", "#111111")), "code twice"),
        (((1,), ("a",), ("red",)), "write it as #rrggbb"),
        (((), (), ()), "0 codes"),
    ],
)
def test_scheme_that_does_not_fit(columns, words):
    with pytest.raises(ParameterError, match=words):
        ClassScheme("bad", *columns)


@pytest.mark.parametrize("kind", [np.int16, np.uint16, np.int64, np.float32, np.float64])
def test_codes_of_any_size_and_number_type_are_looked_up(kind):
    """Regression: codes above 255 ended in an IndexError, or stood for the code that is left modulo 256."""
    codes = np.array([[3, 3000, 2999], [184, 0, 3001]], kind)  # 3000 % 256 = 184
    assert lookup(codes, {3: 1, 3000: 2}).tolist() == [[1, 2, 255], [255, 255, 255]]
    assert lookup(np.tile(codes, (300, 200)), {3: 1, 3000: 2})[-2:, -3:].tolist() == [[1, 2, 255], [255] * 3]


def test_fractions_nan_and_huge_codes_have_no_class():
    assert lookup([1.5, np.nan, 1, np.inf, 2**40], {1: 0, 2**40: 1}).tolist() == [255, 255, 0, 255, 1]


# === A table of classes of one's own ===


def written(path, text: str):
    path.write_text(text)
    return path


def test_a_table_of_ones_own_makes_the_classes(tmp_path):
    file = written(
        tmp_path / "own.csv", "name,color,corine\nForest,#117733,311 312 313\nWater, #88ccee ,512\n"
    )
    rows = read_classes(file)
    assert json.loads(json.dumps(rows)) == rows
    scheme, indices = classes_of(rows)
    assert (scheme.names, scheme.colors) == (("Forest", "Water"), ("#117733", "#88ccee"))
    assert from_corine(np.array([312, 313, 512, 111]), indices).tolist() == [0, 0, 1, IGNORE]
    assert classes_of(CLASSES) == (LANDCOVER, CORINE_TO_UPDATE)


def test_classes_of_the_study_are_found_in_another_table_where_all_their_codes_are_in_one_class(tmp_path):
    text = "name,color,corine\nWood,#117733,311 312\nPasture,#ccf24d,231\nCity,#cc79a7,"
    text += "111 112 121 122 123 124 131\n"
    found = between(read_classes(written(tmp_path / "own.csv", text)))
    assert {LANDCOVER.names[old]: new for old, new in found.items()} == {
        "Broadleaves": 0,
        "Conifers": 0,
        "Urban": 2,
    }
    assert between(CLASSES) == {index: index for index in range(12)}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name;color;corine\nA;#112233;111\n", "no column 'name' but name;color;corine"),
        ("name,color\nA,#112233\n", "no column 'corine'"),
        ("name,color,corine\nA,#112233,111\n", "two or more"),
        ("name,color,corine\nA,#112233,111\nA,#112233,112\n", "a name of its own"),
        ("name,color,corine\nA,#112233,111\n,#112233,112\n", "a name of its own"),
        ("name,color,corine\nA,#112233,111\nB,#112233,\n", "no CORINE code for 'B'"),
        ("name,color,corine\nA,#112233,111\nB,#112233,11\n", "'B' the CORINE code '11', which is none"),
        ("name,color,corine\nA,#112233,111\nB,#112233,112;121\n", "'112;121', which is none"),
        ("name,color,corine\nA,#112233,111\nB,#112233,112 111\n", "111 to 'A' and to 'B'"),
        ("name,color,corine\nA,#112233,111\nB,green,112\n", "colour 'green'.*#rrggbb"),
        ("", "cannot be read"),
    ],
)
def test_a_table_of_classes_that_is_not_possible_is_refused_in_one_sentence(tmp_path, text, said):
    file = written(tmp_path / "own.csv", text)
    with pytest.raises(DataError, match=said) as error:
        read_classes(file)
    assert str(error.value).startswith(f"The table of classes {file} ")
    with pytest.raises(DataError, match="cannot be read"):
        read_classes(tmp_path / "none.csv")
