"""BigEarthNet's classes against the tables published with it."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.data.schemes import IGNORE
from eolab.data.schemes.bigearthnet import CLASSES_19, CLASSES_43, class_set, codes_of, indices
from eolab.data.schemes.corine import CORINE

SETS = ("43", "19", "level1", "level2", "level3")


@pytest.fixture(scope="module")
def published(real_data) -> pd.DataFrame:
    file = real_data / "bigearthnet_v2_metadata" / "clc_metadata.json"
    table = pd.DataFrame(json.loads(file.read_text())["clc_data"])
    return table[table["code"] != "999"].astype({"code": int})


def dropped(classes) -> tuple[int, ...]:
    """CORINE's codes that belong to no class."""
    return tuple(code for code in CORINE["code"].tolist() if code not in classes.index_of_code)


def test_43_names_codes_and_colours_are_the_published_ones(published):
    rows = published[published["code"] != 335]
    assert list(CLASSES_43.codes) == rows["code"].tolist()
    assert list(CLASSES_43.names) == rows["name_clc"].tolist()
    assert list(CLASSES_43.colors) == ["#{:02x}{:02x}{:02x}".format(*color[:3]) for color in rows["color"]]
    assert len(CLASSES_43) == 43


def test_19_classes_join_the_published_codes_and_drop_the_others(published):
    classes = class_set("19")
    for name, rows in published.groupby("name_19"):
        codes = tuple(rows["code"])
        if name == "UNLABELED":
            assert dropped(classes) == codes == (122, 123, 124, 131, 132, 133, 141, 142, 332, 334, 335, 423)
        else:
            assert classes.members[CLASSES_19.names.index(name)] == codes


def test_19_classes_stand_in_the_official_order():
    assert CLASSES_19.codes == tuple(range(19))
    assert CLASSES_19.names[:4] == (
        "Urban fabric",
        "Industrial or commercial units",
        "Arable land",
        "Permanent crops",
    )
    assert CLASSES_19.names[11] == "Natural grassland and sparsely vegetated areas"
    assert CLASSES_19.names[13] == "Transitional woodland, shrub"
    assert CLASSES_19.names[18] == "Marine waters"
    assert list(CLASSES_19.names) != sorted(CLASSES_19.names)
    assert len(set(CLASSES_19.colors)) == 19


@pytest.mark.parametrize(("name", "size"), zip(SETS, (43, 19, 5, 15, 44), strict=True))
def test_every_code_is_in_one_class_or_dropped(name, size):
    classes = class_set(name)
    assert len(classes) == len(classes.scheme) == len(classes.members) == size
    grouped = [code for codes in classes.members for code in codes]
    assert sorted([*grouped, *dropped(classes)]) == CORINE["code"].tolist()
    assert dropped(class_set("43")) == (335,)
    if name.startswith("level"):
        assert dropped(classes) == ()
        digits = int(name[-1])
        for code, codes in zip(classes.scheme.codes, classes.members, strict=True):
            assert {int(str(member)[:digits]) for member in codes} == {code}


def test_names_of_both_spellings_and_codes_encode_alike():
    classes = class_set("19")
    for labels in (
        ["Transitional woodland/shrub", "Peatbogs"],  # version 1
        ["Transitional woodland, shrub", "Inland wetlands"],  # version 2
        ["Transitional woodland-shrub", "Peat bogs"],  # CORINE
        [324, 412],
        ["324", np.int64(411), 412],
    ):
        encoded = classes.encode(labels)
        assert encoded.dtype == np.uint8
        assert np.flatnonzero(encoded).tolist() == [13, 15]
    assert classes.names_of(encoded) == ("Transitional woodland, shrub", "Inland wetlands")


def test_grouping_goes_up_the_levels():
    labels = ["Olive groves", "Vineyards", "Sea and ocean"]
    assert class_set("level1").names_of(class_set("level1").encode(labels)) == (
        "Agricultural areas",
        "Water bodies",
    )
    assert class_set("level2").names_of(class_set("level2").encode(labels)) == (
        "Permanent crops",
        "Marine waters",
    )
    assert class_set("43").encode(CLASSES_43.names).all()
    assert class_set("level1").encode(CLASSES_19.names).all()


def test_a_label_of_the_19_that_a_set_keeps_apart_says_so():
    words = "'Permanent crops' joins the CORINE classes 221, 222, 223, 241, which CORINE level 2 keeps apart"
    with pytest.raises(DataError, match=words):
        class_set("level2").encode(["Permanent crops"])
    with pytest.raises(DataError, match="which BigEarthNet, 43 classes keeps apart: take the 19"):
        class_set("43").encode(["Urban fabric"])
    assert class_set("43").encode(["Pastures"]).sum() == 1


def test_dropped_labels_are_allowed_and_counted():
    assert not class_set("19").encode(["Burnt areas", "Airports", 335]).any()
    with pytest.warns(UserWarning, match=r"2 of 3 patches have no label among BigEarthNet, 19 classes"):
        table = class_set("19").encode_all([["Burnt areas"], ["Pastures"], []])
    assert table.sum(axis=1).tolist() == [0, 1, 0]
    assert class_set("19").encode_all([]).shape == (0, 19)


def test_unknown_labels_and_sets_are_named():
    with pytest.raises(DataError, match=r"'Peatbog' is no class name of BigEarthNet: did you mean 'Peat"):
        class_set("43").encode(["Pastures", "Peatbog"])
    for label in (999, 48, "", None):
        with pytest.raises(DataError, match="is no class name"):
            codes_of(label)
    with pytest.raises(ParameterError, match="no set of classes 'level4': did you mean"):
        class_set("level4")
    assert did_you_mean("xa", ["q", "xb", "a"], most=2) == "did you mean 'a'? Known: a, xb and 1 more."
    assert did_you_mean("x", "ab", most=2) == "Known: a, b."


def test_no_other_band_is_suggested_and_a_name_that_was_begun_is():
    assert did_you_mean("B08", ["B04", "B03"]) == "Known: B03, B04."
    known = ["04_train_pixels", "07_pretrain"]
    assert did_you_mean("04_train", known).startswith("did you mean '04_train_pixels'?")


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_reference_codes_become_class_indices(dtype):
    codes = np.array([[111, 112, 122], [523, 999, 241]]).astype(dtype)
    found = indices(codes, "19")
    assert found.dtype == np.uint8
    assert found.tolist() == [[0, 0, IGNORE], [18, IGNORE, 3]]
    assert indices(codes, class_set("level1")).tolist() == [[0, 0, 0], [4, IGNORE, 1]]
    assert indices(np.array([0, 1, 44, 110, 524, 65535, 335], np.uint16), "43").tolist() == [IGNORE] * 7
    assert indices(np.array([np.nan, -1.0, 312.0]), "19").tolist() == [IGNORE, IGNORE, 9]


def test_reference_codes_agree_with_the_labels_code_by_code():
    for name in SETS:
        classes = class_set(name)
        for code in CORINE["code"]:
            (index,) = indices(np.array([code]), classes)
            expected = np.flatnonzero(classes.encode([code])).tolist()
            assert expected == ([] if index == IGNORE else [index])
