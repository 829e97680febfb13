"""Baselines of the flood study: their numbers by hand, what they find, and what they refuse."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from eolab.core.errors import DataError, ParameterError
from eolab.data.layouts import sen12flood as reader
from eolab.data.store import write_store
from eolab.studies import flood
from eolab.studies.flood import baselines
from eolab.studies.flood.scoring import choose_threshold, make_sequences

H, W = 12, 10
SENSORS = {"S1": flood.samples.Radar(("VV", "VH")), "S2": flood.samples.Optical(("B04", "MNDWI"))}


def image(sensor: str, number: int, flooded: bool) -> np.ndarray:
    """A flooded image has 40 % water: 8 dB darker in radar, a positive index in optical images."""
    rng = np.random.default_rng(number)
    water = np.zeros((H, W), bool)
    water[:, :4] = flooded
    if sensor == "S1":
        decibels = np.where(water, -26.0, -18.0) + rng.normal(0, 0.3, (H, W))
        return np.stack([decibels + 6, decibels], axis=-1)
    index = np.where(water, 0.5, -0.4) + rng.normal(0, 0.05, (H, W))
    return np.stack([rng.uniform(0.05, 0.2, (H, W)), index], axis=-1)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    rows = [
        (sequence, pd.Timestamp("2019-01-01") + pd.Timedelta(days=6 * k))
        for sequence in "abcdef"
        for k in range(6)
    ]
    table = pd.DataFrame(rows, columns=["sequence", "date"])
    table.insert(0, "id", np.arange(len(table)))
    table["flooded"] = (table["sequence"] < "d") & (table.groupby("sequence").cumcount() >= 4)
    found = {}
    for sensor, channels in SENSORS.items():

        def produce(part, sensor=sensor):
            images = [image(sensor, n, f) for n, f in zip(part["id"], part["flooded"], strict=True)]
            stack = np.stack(images).astype("float32")
            stack[0, 0] = np.nan  # a row without values
            return {"image": stack, "label": part["flooded"].to_numpy("uint8")}

        metadata = {"coords": {"band": list(channels.channels)}, "sensor": sensor}
        found[sensor] = write_store(
            tmp_path_factory.mktemp(sensor) / "store",
            table,
            flood.store_arrays(channels, (H, W)),
            "sequence",
            produce,
            {},
            metadata,
            progress=False,
        )
    return found


def test_statistics_are_those_of_numpy(stores):
    table = flood.samples.image_table(stores["S1"], progress=False)
    values = stores["S1"].gather(np.array([7]), ["image"])["image"][0, ..., 1].ravel()
    row = table.iloc[7]
    assert (row["sequence"], row["flooded"]) == ("b", False)
    assert row["VH_mean"] == pytest.approx(np.nanmean(values), rel=1e-5)
    assert row["VH_std"] == pytest.approx(np.nanstd(values), rel=1e-4)
    assert row["VH_p95"] == pytest.approx(np.nanpercentile(values, 95), rel=1e-5)


def test_water_and_dark_pixels_are_shares_of_those_with_a_value(stores):
    optical = flood.samples.image_table(stores["S2"], progress=False)
    assert optical.loc[optical["flooded"], "water"].tolist() == pytest.approx([0.4] * 6)
    assert (optical.loc[~optical["flooded"], "water"] == 0).all()
    radar = flood.samples.image_table(stores["S1"], progress=False)
    assert (radar.loc[radar["flooded"], "dark"].between(0.35, 0.55)).all()  # a window blurs the edge
    assert (radar.loc[~radar["flooded"], "dark"] < 0.02).all()
    assert "water" not in radar
    assert "dark" not in optical


@pytest.mark.parametrize(
    ("sensor", "name"),
    [
        (sensor, name)
        for name, sensor in baselines.SENSOR_OF.items()
        if name != "majority" and sensor != baselines.NO_SENSOR
    ],
)
def test_a_baseline_finds_floods_of_sequences_that_it_did_not_see(stores, sensor, name):
    table = flood.samples.image_table(stores[sensor], progress=False)
    train, test = (table[table["sequence"].isin(list(sequences))] for sequences in ("abde", "cf"))
    score = baselines.score(baselines.fit(name, train), test)
    assert score.shape == (12,)
    assert (score >= 0).all()
    assert (score <= 1).all()
    assert score[test["flooded"]].min() > score[~test["flooded"]].max()


def test_the_majority_gives_the_share_of_training(stores):
    table = flood.samples.image_table(stores["S1"], progress=False)
    score = baselines.score(baselines.fit("majority", table), table[:3])
    np.testing.assert_allclose(score, 6 / 36)


def test_what_is_missing_is_named(stores):
    table = flood.samples.image_table(stores["S1"], progress=False)
    with pytest.raises(ParameterError, match="no baseline 'majorty'"):
        baselines.fit("majorty", table)
    with pytest.raises(ParameterError, match="needs a store with a water index"):
        baselines.fit("water_index", table)


# === Predictions at every step, and scores on own images ===

SPLITS = dict(zip("abcdef", ["train", "train", "validation", "train", "validation", "test"], strict=True))
DAYS = {"S1": [1, 3, 7, 9, 12], "S2": [2, 3, 8]}  # of January 2019


def image_numbers(sensor: str, seed: int = 0) -> pd.DataFrame:
    """Numbers of images without a store: 12 sequences, every other one flooded from the 7th on."""
    rng = np.random.default_rng((seed, len(DAYS[sensor])))
    rows = [
        (f"{sequence}{n}", pd.Timestamp(2019, 1, day), split, n == 1 and day >= 7)
        for sequence, split in SPLITS.items()
        for n in range(2)
        for day in DAYS[sensor]
    ]
    table = pd.DataFrame(rows, columns=["sequence", "date", "split", "flooded"])
    noise = rng.normal(0, 0.2, (len(table), 3))
    table["VH_mean"] = -18 - 4 * table["flooded"] + 5 * noise[:, 0]
    table["VH_p50"] = np.where(rng.random(len(table)) < 0.1, np.nan, table["VH_mean"] + noise[:, 1])
    share = (0.2 + 0.4 * table["flooded"] + noise[:, 2]).clip(0, 1)
    place = {"x": 5000.0 * table["sequence"].str[1].astype(int), "y": 100.0 * table["sequence"].map(ord_of)}
    return table.assign(**{"dark" if sensor == "S1" else "water": share}, **place)


def ord_of(sequence: str) -> int:
    return ord(sequence[0])


@pytest.fixture
def numbers():
    return {sensor: image_numbers(sensor) for sensor in DAYS}


@pytest.fixture
def lines(numbers):
    made = make_sequences(numbers, "union")
    return {part: [line for line in made if SPLITS[line.name[0]] == part] for part in ("validation", "test")}


def regression(train: pd.DataFrame) -> tuple[LogisticRegression, list[str], pd.Series, pd.Series]:
    """The baseline of statistics anew: the fit, its columns, and what they are centred and scaled by."""
    columns = ["VH_mean", "VH_p50"]
    means = train[columns].mean()
    filled = train[columns].fillna(means)
    centre, scale = filled.mean(), filled.std(ddof=0)
    model = LogisticRegression(max_iter=2000, class_weight="balanced")
    model.fit(((filled - centre) / scale).to_numpy(), train["flooded"])
    return model, columns, centre, scale


def test_each_baseline_answers_every_step_of_every_sequence(numbers, lines):
    found = baselines.predict_steps(baselines.NAMES, numbers, lines)
    assert list(found) == list(baselines.NAMES)
    for name, parts in found.items():
        assert list(parts) == ["validation", "test"]
        for part, table in parts.items():
            assert table["sequence"].unique().tolist() == [line.name for line in lines[part]], name
            assert len(table) == 4 * 7 if part == "validation" else 2 * 7
            assert table["probability"].between(0, 1).all()


def test_a_baseline_stands_by_its_word_from_image_to_image(numbers, lines):
    table = baselines.predict_steps(["water_index"], numbers, lines)["water_index"]["test"]
    images = numbers["S2"]
    before = images.loc[images["split"] == "train", "water"].median()
    for sequence in ("f0", "f1"):
        one, two, three = images.loc[images["sequence"] == sequence, "water"]
        days = table.loc[table["sequence"] == sequence, "date"].dt.day.tolist()
        assert days == [1, 2, 3, 7, 8, 9, 12]
        expected = [before, one, two, two, three, three, three]
        assert table.loc[table["sequence"] == sequence, "probability"].tolist() == pytest.approx(expected)


def test_the_majority_says_the_same_at_every_step(numbers, lines):
    table = baselines.predict_steps(["majority"], numbers, lines)["majority"]["validation"]
    share = numbers["S1"].query("split == 'train'")["flooded"].mean()
    assert table["probability"].tolist() == pytest.approx([share] * 28)


def test_statistics_are_answered_by_a_regression_on_training_images_alone(numbers, lines):
    found = baselines.predict_steps(["statistics_s1"], numbers, lines)["statistics_s1"]["test"]
    images = numbers["S1"]
    model, columns, centre, scale = regression(images[images["split"] == "train"])
    own = images[images["sequence"] == "f1"]
    filled = own[columns].fillna(images.loc[images["split"] == "train", columns].mean())
    expected = model.predict_proba(((filled - centre) / scale).to_numpy())[:, 1]
    seen = found[(found["sequence"] == "f1") & found["S1"]]
    assert seen["probability"].tolist() == pytest.approx(expected.tolist(), abs=1e-4)
    changed = {k: table.copy() for k, table in numbers.items()}
    changed["S1"].loc[images["split"] != "train", "flooded"] ^= True
    again = baselines.predict_steps(["statistics_s1"], changed, lines)["statistics_s1"]["test"]
    pd.testing.assert_frame_equal(again, found)


def test_scores_on_own_images_are_those_of_scikit_learn_with_the_threshold_of_validation(numbers):
    scores = baselines.own_scores(["dark_radar", "water_index"], numbers, replicates=100)
    for name, sensor, column in (("dark_radar", "S1", "dark"), ("water_index", "S2", "water")):
        images = numbers[sensor]
        held, test = (images[images["split"] == split] for split in ("validation", "test"))
        own = scores[scores["model"] == name].set_index("statistic")
        truth, values = test["flooded"], test[column]
        assert own.loc["average_precision", "value"] == pytest.approx(
            reference.average_precision_score(truth, values)
        )
        limit = choose_threshold(held.assign(probability=held[column], padded=False))
        said = values >= limit
        assert own.loc["balanced_accuracy", "value"] == reference.balanced_accuracy_score(truth, said)
        assert own.loc["f1", "value"] == pytest.approx(reference.f1_score(truth, said))
        assert set(own["n"]) == {len(test)}
        assert own["is_baseline"].all()


def test_labels_of_the_test_choose_no_threshold(numbers):
    """With all test labels turned, a flood found is a false alarm: one threshold, two sides of it."""
    turned = {k: table.copy() for k, table in numbers.items()}
    turned["S1"].loc[turned["S1"]["split"] == "test", "flooded"] ^= True
    one, other = (
        baselines.own_scores(["dark_radar"], some, replicates=100).set_index("statistic")["value"]
        for some in (numbers, turned)
    )
    assert one["accuracy"] != 0.5
    assert other["accuracy"] == pytest.approx(1 - one["accuracy"])
    assert other["balanced_accuracy"] == pytest.approx(1 - one["balanced_accuracy"])


def test_the_threshold_is_the_same_whichever_test_images_count(numbers):
    images = numbers["S2"]
    clear = pd.Series(np.arange(len(images)) % 2 == 0)
    scores = [
        baselines.own_scores(["water_index"], numbers, among, replicates=100).set_index("statistic")
        for among in (None, {"S2": clear}, {"S2": ~clear}, {"S1": clear})
    ]
    whole, one, other, unchanged = (table["value"]["accuracy"] for table in scores)
    counts = [table["n"].iloc[0] for table in scores]
    assert counts == [6, 3, 3, 6]
    assert whole * 6 == pytest.approx(one * 3 + other * 3)
    assert unchanged == whole


def test_weights_are_those_of_the_regression_on_training_images(numbers):
    table = baselines.weight_table(numbers)
    assert list(table.columns) == ["sensor", "feature", "weight"]
    assert table["sensor"].tolist() == ["S1", "S1", "S2", "S2"]
    for sensor, part in table.groupby("sensor"):
        train = numbers[sensor].query("split == 'train'")
        model, columns, _, _ = regression(train)
        assert part["feature"].tolist() == columns
        assert part["weight"].tolist() == pytest.approx(model.coef_[0].tolist(), rel=1e-3)
    assert (table.loc[table["feature"] == "VH_mean", "weight"] < 0).all()  # darker is wetter


# === Baselines that see no image ===


def test_the_neighbour_says_whether_the_nearest_training_sequence_was_flooded_by_the_day(numbers, lines):
    """Sequences ending in 1 flood on the 7th; all lie 5 km east of those that do not."""
    found = baselines.predict_steps(["neighbour"], numbers, lines)["neighbour"]["test"]
    expected = found["sequence"].str.endswith("1") & (found["date"].dt.day >= 7)
    assert found["probability"].tolist() == expected.astype(float).tolist()
    scores = baselines.own_scores(["neighbour"], numbers, replicates=100).set_index("statistic")
    assert scores["value"]["balanced_accuracy"] == 1
    assert scores["n"].iloc[0] == 2 * (len(DAYS["S1"]) + len(DAYS["S2"]))  # images of both sensors


def test_the_neighbours_flood_counts_from_the_first_image_of_either_sensor(numbers, lines):
    for table in numbers.values():
        table["x"] = 0.0
        table["y"] = np.where(table["sequence"] == "b1", 0.0, 9e9)
        table.loc[table["split"] != "train", "y"] = 0.0
    numbers["S1"].loc[numbers["S1"]["date"].dt.day < 9, "flooded"] = False  # S1 sees it from the 9th on
    found = baselines.predict_steps(["neighbour"], numbers, lines)["neighbour"]["test"]
    assert found.loc[found["sequence"] == "f0", "probability"].tolist() == [
        0,
        0,
        0,
        0,
        1,
        1,
        1,
    ]  # S2: the 8th


def test_the_calendar_reads_nothing_but_the_day(numbers, lines):
    found = baselines.predict_steps(["calendar"], numbers, lines)["calendar"]["test"]
    one, other = (
        found.loc[found["sequence"] == sequence, "probability"].to_numpy() for sequence in ("f0", "f1")
    )
    np.testing.assert_array_equal(one, other)
    late = found.loc[found["sequence"] == "f0", "date"].dt.day.to_numpy() >= 7
    assert one[late].min() > one[~late].max()
    changed = {
        sensor: table.assign(
            VH_mean=0.0, x=0.0, y=0.0, flooded=table["flooded"] ^ (table["split"] != "train")
        )
        for sensor, table in numbers.items()
    }
    again = baselines.predict_steps(["calendar"], changed, lines)["calendar"]["test"]
    pd.testing.assert_frame_equal(again, found)


def test_two_images_of_a_day_are_told_by_the_calendars_of_both_sensors(numbers):
    images = baselines.without_sensor(numbers)
    calendar = baselines.fit("calendar", images[images["split"] == "train"])
    day = images[images["date"].dt.day == 3].iloc[:1]
    s1, s2, both = (
        baselines.score(calendar, day.assign(S1=first, S2=second))[0]
        for first, second in ((True, False), (False, True), (True, True))
    )
    assert both == pytest.approx((s1 + s2) / 2)


def test_without_places_or_with_one_label_it_is_said(numbers, lines):
    bare = {sensor: table.drop(columns=["x", "y"]) for sensor, table in numbers.items()}
    with pytest.raises(ParameterError, match="needs the places of sequences"):
        baselines.predict_steps(["neighbour"], bare, lines)
    baselines.predict_steps(["calendar"], bare, lines)
    dry = {sensor: table.assign(flooded=False) for sensor, table in numbers.items()}
    with pytest.raises(DataError, match="show 1 class: calendar needs 2"):
        baselines.predict_steps(["calendar"], dry, lines)


@pytest.mark.slow
def test_on_the_real_lists_the_neighbour_is_always_right_and_the_calendar_nearly(real_data):
    """Who sees no pixel: place and date give the labels of the official test away."""
    root = real_data / "sen12flood_lists"
    images = reader.index(root)
    places = flood.samples.sequence_places(reader.sequences(root, images))
    listed = reader.passes(images)
    split = flood.samples.sequence_splits([listed], 0.25)
    known = listed.join(places, on="sequence").assign(split=listed["sequence"].map(split))
    tables = {sensor: table.reset_index(drop=True) for sensor, table in known.groupby("sensor")}
    held = flood.samples.possible_splits([listed], reader.sequences(root, images), "regions", 0.2, 0.25, 0)
    found = baselines.without_pixels(tables, {"published": split, "regions": held["regions"]})
    found = found.set_index(["split", "rule", "images"]).sort_index()
    assert found.loc["published", "number"].groupby("images").first().to_dict() == {
        "S1": 722,
        "S2": 456,
        "both": 1178,
    }
    assert (found.loc[("published", "neighbour"), ["accuracy", "balanced_accuracy"]] == 1).all(axis=None)
    calendar = found.loc[("published", "calendar"), "accuracy"]
    assert calendar["S1"] == pytest.approx(0.867, abs=0.03)
    assert calendar["S2"] == pytest.approx(0.941, abs=0.03)
    far = found.loc["regions"]
    dry = 1 - listed.loc[listed["sequence"].map(held["regions"]) == "test", "flooded"].mean()
    for rule in ("always dry", "neighbour"):
        assert far.loc[(rule, "both"), "accuracy"] == pytest.approx(dry)
        assert far.loc[(rule, "both"), "balanced_accuracy"] == 0.5


def test_a_subset_without_a_clouded_test_image_has_no_score_of_them(numbers):
    """The cell on clouds ended in a DataError."""
    none = pd.Series(False, index=numbers["S2"].index)
    assert baselines.own_scores(["statistics_s2"], numbers, among={"S2": none}, replicates=10).empty


def test_training_images_of_one_label_leave_the_always_dry_rule_alone(numbers):
    dry = {sensor: table.assign(flooded=False) for sensor, table in numbers.items()}
    split = pd.concat(dry.values()).groupby("sequence")["split"].first()
    found = baselines.without_pixels(dry, {"published": split})
    assert "calendar" not in set(found["rule"])
    assert (found.loc[found["rule"] == "always dry", "accuracy"] == 1).all()
    assert found["balanced_accuracy"].isna().all()


@pytest.mark.parametrize("use", ["answer", "own_scores"])
def test_a_name_or_a_sensor_that_is_not_there_is_said(numbers, lines, use):
    def call(name, tables):
        if use == "answer":
            return baselines.predict_steps([name], tables, lines)
        return baselines.own_scores([name], tables, replicates=100)

    with pytest.raises(ParameterError, match="no baseline 'dark': did you mean 'dark_radar'"):
        call("dark", numbers)
    with pytest.raises(ParameterError, match="'water_index' reads images of S2, found tables of S1"):
        call("water_index", {"S1": numbers["S1"]})
