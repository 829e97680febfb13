import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from eolab.core.errors import EolabWarning, ParameterError
from eolab.data import splits

SEEDS = range(6)


def samples(n=3000, seed=0, classes=5, groups=60):
    """Samples in a square of 6 km whose classes come in patches of ground."""
    rng = np.random.default_rng(seed)
    x, y = 600_000 + 6000 * rng.random(n), 5_300_000 + 6000 * rng.random(n)
    centres = np.stack([600_000 + 6000 * rng.random(40), 5_300_000 + 6000 * rng.random(40)], axis=1)
    patch = cdist(np.stack([x, y], axis=1), centres).argmin(axis=1)
    return pd.DataFrame(
        {
            "x": x,
            "y": y,
            "label": patch % classes,
            "group": rng.integers(0, groups, n),
            "date": np.datetime64("2020-01-01") + rng.integers(0, 300, n).astype("timedelta64[D]"),
        },
        index=np.arange(n) * 3 + 7,
    )


def shares(fractions):
    return dict(zip(("train", "validation", "test"), fractions, strict=True))


def whole(column, units):
    """Whether every unit has one value in the column."""
    return len(pd.DataFrame({"c": column.astype(str), "u": units}).drop_duplicates()) == len(set(units))


ALL = {
    "random": {"stratify": "label", "seed": 3},
    "group": {"label": "label", "seed": 3},
    "block": {"block_m": 500, "buffer_m": 60, "seed": 3},
    "date": {},
    "k_fold": {"k": 4, "group": "group", "seed": 3},
}


@pytest.mark.parametrize("kind", ALL)
def test_a_split_is_a_column_of_the_table_and_the_same_each_time(kind):
    table = samples()
    before = table.copy()
    split = splits.assign(table, kind, **ALL[kind])
    assert split.index.equals(table.index)
    pd.testing.assert_series_equal(split, splits.assign(table, kind, **ALL[kind]))
    pd.testing.assert_frame_equal(table, before)
    if kind == "k_fold":
        assert split.name == "fold"
        assert set(split) == set(range(4))
    else:
        assert split.name == "split"
        assert split.cat.categories.tolist() == ["train", "validation", "test", "none"]
    if "seed" in ALL[kind]:
        assert not split.equals(splits.assign(table, kind, **{**ALL[kind], "seed": 4}))


@pytest.mark.parametrize("fractions", [(0.6, 0.2, 0.2), (0.8, 0, 0.2), (0.5, 0.2, 0.1), (1, 0, 0)])
@pytest.mark.parametrize("kind", ["random", "group", "block", "date"])
def test_fractions_are_met_approximately_and_empty_ones_exactly(kind, fractions):
    split = splits.assign(
        samples(), kind, **shares(fractions), **({"block_m": 500} if kind == "block" else {})
    )
    share = split.value_counts(normalize=True)
    for name, wanted in zip(("train", "validation", "test"), fractions, strict=True):
        assert share[name] == pytest.approx(wanted, abs=0.03)
        assert wanted or share[name] == 0
    assert share["none"] == pytest.approx(1 - sum(fractions), abs=0.03)


def test_random_is_exact_within_each_stratum():
    table = samples(n=2000)
    split = splits.random(table, 0.25, 0.25, stratify="label")
    shares = pd.crosstab(table["label"], split, normalize="index")
    sizes = table["label"].value_counts().sort_index()
    assert ((shares["train"] - 0.5).abs() * sizes <= 0.5001).all()
    assert ((shares["test"] - 0.25).abs() * sizes <= 1).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_no_group_is_in_two_splits(seed):
    table = samples(seed=seed)
    split = splits.by_group(table, label="label", seed=seed)
    assert whole(split, table["group"])


@pytest.mark.parametrize("seed", SEEDS)
def test_no_block_is_in_two_splits_and_every_class_is_in_all(seed):
    table = samples(seed=seed, classes=12)
    split = splits.by_block(table, 600, seed=seed).astype(str)
    blocks = splits.block_numbers(table, 600)
    assert whole(split, blocks)
    counts = pd.crosstab(table["label"], split)
    in_blocks = pd.Series(blocks, table.index).groupby(table["label"]).nunique()
    assert (counts["train"] > 0).all()
    assert (counts.loc[in_blocks >= 3, ["validation", "test"]] > 0).all(axis=None)


def test_a_class_in_a_single_block_is_learnt():
    table = samples()
    table.loc[splits.block_numbers(table, 600) == 17, "label"] = 99
    for seed in SEEDS:
        split = splits.by_block(table, 600, seed=seed)
        assert set(split[table["label"] == 99]) == {"train"}


def test_blocks_are_squares_of_the_given_side():
    table = pd.DataFrame({"x": [0.0, 99, 100, 0, 250], "y": [0.0, 99, 0, 100, 250]})
    numbers = splits.block_numbers(table, 100)
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 4


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_a_buffer_leaves_out_what_lies_too_near(seed):
    table = samples(seed=seed)
    without = splits.by_block(table, 800, seed=seed)
    split = splits.by_block(table, 800, buffer_m=100, seed=seed)
    kept = split != "none"
    assert 0 < (~kept).sum() < len(table) / 2
    assert (split[kept] == without[kept]).all()
    assert (split[without == "test"] == "test").all()
    place = table[["x", "y"]].to_numpy()
    for a, b in (("train", "test"), ("train", "validation"), ("validation", "test")):
        apart = cdist(place[split == a], place[split == b]).min()
        assert apart >= 100
        assert cdist(place[without == a], place[without == b]).min() < 100
    # nothing is left out without reason
    far = np.isin(without, ["validation", "test"])
    near = cdist(place[(split == "none") & (without == "train")], place[far]).min(axis=1)
    assert (near < 100).all()


def distances(table, split, one, other):
    """Distances between the samples of two parts, by brute force."""
    place = table[["x", "y"]].to_numpy()
    return cdist(place[split == one], place[split == other])


def test_keep_apart_worked_example():
    table = pd.DataFrame({"x": [0.0, 50, 100, 150, 300, 400], "y": 0.0, "group": list("aabbca")})
    split = pd.Series(["train", "train", "validation", "test", "train", "validation"])
    kept = splits.keep_apart(table, split, buffer_m=60)
    assert kept.tolist() == [
        "train",
        "train",
        "none",
        "test",
        "train",
        "validation",
    ]  # the first validation goes
    kept = splits.keep_apart(table, split, buffer_m=110)
    assert kept.tolist() == ["train", "none", "none", "test", "none", "validation"]
    kept = splits.keep_apart(table, split, buffer_m=110, validation=False)
    assert kept.tolist() == ["train", "none", "none", "test", "train", "validation"]
    kept = splits.keep_apart(table, split, group="group")
    assert kept.tolist() == ["none", "none", "none", "test", "train", "validation"]


@pytest.mark.parametrize("seed", SEEDS[:3])
def test_no_group_is_on_both_sides_of_blocks_kept_apart(seed):
    table = patches(seed)
    without = splits.by_block(table, 500, seed=seed).astype(str)
    split = splits.by_block(table, 500, apart="group", buffer_m=50, seed=seed).astype(str)
    assert not whole(without[without != "none"], table["group"][without != "none"])
    assert whole(split[split != "none"], table["group"][split != "none"])
    assert (split[without == "test"] == "test").all()
    assert distances(table, split, "train", "test").min() >= 50


def patches(seed, n=4000, classes=6):
    """Samples in a square of 6 km in about 60 polygons, each of one class."""
    rng = np.random.default_rng(seed)
    place = 6000 * rng.random((n, 2))
    polygon = cdist(place, 6000 * rng.random((60, 2))).argmin(axis=1)
    return pd.DataFrame({"x": place[:, 0], "y": place[:, 1], "group": polygon, "label": polygon % classes})


@pytest.mark.parametrize("seed", SEEDS)
def test_apart_blocks_keep_the_distance_and_share_no_polygon(seed):
    """Every pair of samples is looked at: a polygon of 60 in 36 km2 has a side of 775 m."""
    table = patches(seed)
    found = splits.apart_blocks(table, 600, 775, test=0.3, seed=seed)
    split, without = found.split.astype(str), found.without.astype(str)
    assert found.buffer_m == found.wanted_m == 775
    for part in ["train", "validation"]:
        assert distances(table, split, part, "test").min() >= 775
        assert not set(table["group"][split == part]) & set(table["group"][split == "test"])
    assert distances(table, without, "train", "test").min() < 775
    # the same test samples in the same blocks, with and without what is left out
    assert whole(without, splits.block_numbers(table, 600))
    assert ((split == "test") == (without == "test")).all()
    assert (split[split != "none"] == without[split != "none"]).all()
    assert (split == "test").mean() == pytest.approx(0.3, abs=0.05)
    # what stays can be learned from and scored
    counts = pd.crosstab(table["label"], split)[["train", "validation", "test"]]
    assert (counts[["train", "test"]] > 0).all(axis=None)
    assert (split == "train").sum() >= (without == "train").sum() / 3
    if found.validation:
        assert distances(table, split, "train", "validation").min() >= 775
        assert not set(table["group"][split == "train"]) & set(table["group"][split == "validation"])
        assert (counts > 0).all(axis=None)
    again = splits.apart_blocks(table, 600, 775, test=0.3, seed=seed)
    pd.testing.assert_series_equal(found.split, again.split)


def test_nothing_is_left_out_of_apart_blocks_without_reason():
    table = patches(1)
    found = splits.apart_blocks(table, 600, 400, seed=1)
    split, without = found.split.astype(str), found.without.astype(str)
    out = (split == "none") & (without == "train")
    others = without.isin(["validation", "test"] if found.validation else ["test"])
    place = table[["x", "y"]].to_numpy()
    near = cdist(place[out], place[others]).min(axis=1) < 400
    assert (near | table["group"][out].isin(table["group"][others])).all()


def test_a_buffer_that_leaves_too_little_is_limited_and_the_words_say_so():
    table = patches(0)
    found = splits.apart_blocks(table, 600, 5000, seed=0)
    assert 0 < found.buffer_m < found.wanted_m == 5000
    assert (found.split == "train").sum() >= (found.without == "train").sum() / 3
    assert distances(table, found.split, "train", "test").min() >= found.buffer_m
    assert (
        f"Test samples lie {found.buffer_m:,.0f} m or more from all others (limited from 5,000 m"
        in found.said
    )


def test_a_polygon_as_large_as_the_scene_is_cut_and_the_others_are_not():
    """Regression: of the forest that covers three quarters of a scene nothing was left to learn from."""
    table = patches(2)
    forest = table["group"] % 4 > 0
    table.loc[forest, ["group", "label"]] = [100, 9]
    found = splits.apart_blocks(table, 600, 300, seed=2)
    split = found.split.astype(str)
    assert found.cut == 1
    assert "No group is on both sides, except 1 with more than 25% of the samples" in found.said
    assert set(split[forest]) >= {"train", "test"}
    rest = table["group"][~forest]
    assert not set(rest[split == "test"]) & set(rest[split == "train"])
    assert distances(table, split, "train", "test").min() >= 300
    assert (found.unit[forest].nunique(), found.unit[~forest].nunique()) == (
        len(set(splits.block_numbers(table, 600)[forest])),
        rest.nunique(),
    )


def test_a_class_of_one_polygon_is_learnt_and_a_lost_class_is_warned_of():
    table = patches(3)
    table.loc[table["group"] == 0, "label"] = 77
    found = splits.apart_blocks(table, 600, 500, seed=3)
    assert set(found.split[table["label"] == 77].astype(str)) <= {"train", "none"}
    assert (found.split[table["label"] == 77] == "train").any()
    assert found.missing == {}
    lone = pd.DataFrame({"x": 100.0 * np.arange(6), "y": 0.0, "group": range(6), "label": list("abcdef")})
    with pytest.warns(EolabWarning, match=r"Classes missing from train: [a-f], [a-f]\."):
        splits.apart_blocks(lone, 100, 0, validation=0.2, test=0.2)


def test_apart_blocks_need_three_blocks():
    with pytest.raises(ParameterError, match=r"There are 1 blocks of 1e\+06 m, fewer than the 3 parts"):
        splits.apart_blocks(patches(0), 1e6, 0)


def test_training_is_before_validation_is_before_test():
    table = samples()
    split = splits.by_date(table, validation=0.3, test=0.2)
    dates = table["date"].groupby(split.astype(str))
    assert dates.max()["train"] < dates.min()["validation"]
    assert dates.max()["validation"] < dates.min()["test"]


def test_dates_are_cut_where_told():
    table = pd.DataFrame({"date": ["2020-01-01", "2020-05-31", "2020-06-01", "2020-09-01", "2021-01-01"]})
    split = splits.by_date(table, cuts=("2020-06-01", "2020-09-01"))
    assert split.tolist() == ["train", "train", "validation", "test", "test"]


@pytest.mark.parametrize("counts", [(1, 1, 1), (100, 1, 1), (1, 1, 100), (1, 50, 1, 1)])
def test_each_split_gets_a_date_however_uneven_they_are(counts):
    days = pd.date_range("2020-01-01", periods=len(counts))
    table = pd.DataFrame({"date": np.repeat(days, counts)})
    split = splits.by_date(table)
    assert set(split) == {"train", "validation", "test"}
    assert whole(split, table["date"])


def test_published_splits_are_read():
    table = pd.DataFrame({"split": ["train", "val", "TEST", "Training"], "subset": ["a", "b", "c", "a"]})
    assert splits.official(table).tolist() == ["train", "validation", "test", "train"]
    mapping = {"a": "train", "b": "none", "c": "test"}
    assert splits.official(table, "subset", mapping).tolist() == ["train", "none", "test", "train"]


@pytest.mark.parametrize(
    "options", [{"group": "group"}, {"block_m": 500}, {"group": "group", "shuffle": False}]
)
def test_folds_keep_groups_whole_and_are_about_equal(options):
    table = samples()
    fold = splits.k_fold(table, 5, label="label", **options)
    units = table["group"] if "group" in options else pd.Series(splits.block_numbers(table, 500), table.index)
    assert whole(fold, units)
    assert fold.value_counts(normalize=True).between(0.15, 0.25).all()


def test_shuffled_folds_have_each_class_alike():
    table = samples(n=1003)
    fold = splits.k_fold(table, 5, label="label")
    assert np.ptp(fold.value_counts()) <= 1
    assert (np.ptp(pd.crosstab(table["label"], fold).to_numpy(), axis=1) <= 1).all()


def test_contiguous_folds_follow_the_table():
    fold = splits.k_fold(samples(n=10), 3, shuffle=False)
    assert fold.tolist() == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_degrees_are_no_metres_of_a_block():
    """Regression: "There are 1 blocks of 1000 m", and one block for all without a word."""
    table = samples(n=50)
    table = table.assign(x=14 + table["x"] / 1e6, y=46 + table["y"] / 1e8)
    for split in (splits.by_block, lambda *given: splits.k_fold(given[0], block_m=given[1])):
        with pytest.raises(ParameterError, match=r"look like degrees: .*ground\.positions_m"):
            split(table, 1000)
    near = table.assign(x=table["x"] * 1e5, y=table["y"] * 1e5)
    assert (splits.block_numbers(near, 1e6) == 0).all()


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("by_blok", {}, "did you mean 'block'"),
        ("by_block", {"blockm": 3}, "did you mean 'block_m'"),
        ("random", {"train": 0.9, "validation": 0.2}, "not more than 1 in sum"),
        ("random", {"validation": 0.5, "test": 0.5}, "above 0 for train"),
        ("random", {"validation": -0.1}, "0 or more"),
        ("random", {"stratify": "lable"}, "did you mean 'label'"),
        ("by_group", {"group": "region"}, "no column 'region'"),
        ("by_group", {"group": "one"}, "There are 1 groups in column 'one', fewer than the 3"),
        ("by_group", {"group": "holes"}, "without a group"),
        ("by_block", {"block_m": 0}, "above 0"),
        ("by_block", {"block_m": 1e6}, "There are 1 blocks of 1e.06 m"),
        ("by_date", {"date": "label_name"}, "no date"),
        ("by_date", {"date": "day"}, "1 dates, fewer than the 3"),
        ("by_date", {"cuts": ("2020-06-01",)}, "two dates in order"),
        ("official", {"column": "label_name"}, "which is no split"),
        ("k_fold", {"k": 1}, "2 folds or more"),
        ("k_fold", {"k": 100, "group": "group"}, "fewer than the 100 folds"),
        ("k_fold", {"group": "group", "block_m": 10}, "not both"),
    ],
)
def test_bad_splits_end_in_a_sentence(kind, options, message):
    table = samples(n=200).assign(one=1, label_name="forest", day="2020-01-01", holes=[None, *"ab" * 99, "c"])
    with pytest.raises(ParameterError, match=message):
        splits.assign(table, kind, **options)


def test_folds_have_regions_although_each_class_is_in_few_of_them():
    """Regression: four regions of four classes all came into the first of three folds."""
    rows = [(str(region), region % 4) for region in range(4) for _ in range(5)]
    table = pd.DataFrame(rows, columns=["region", "label"])
    for seed in range(5):
        fold = splits.k_fold(table, 3, group="region", label="label", seed=seed)
        assert fold.groupby(table["region"]).nunique().max() == 1
        assert sorted(fold.groupby(table["region"]).first().value_counts()) == [1, 1, 2]
