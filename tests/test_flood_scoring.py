"""Predictions of the flood study: tables by hand, thresholds by trying all, scores of scikit-learn."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from interval_levels import levels
from sklearn import metrics as reference
from sklearn.metrics import balanced_accuracy_score

from eolab.core.errors import DataError
from eolab.data.store import ArraySpec, write_store
from eolab.studies import flood
from eolab.studies.flood import scoring
from eolab.studies.flood.scoring import make_sequences, sequences_of

S1_DAYS = {"a": ["2019-01-01", "2019-01-07", "2019-01-13"], "b": ["2019-02-01"]}
S2_DAYS = {"a": ["2019-01-04", "2019-01-07"], "c": ["2019-03-01"]}
FLOODED = {"2019-01-13", "2019-03-01"}


def sensor_table(days: dict[str, list[str]]) -> pd.DataFrame:
    rows = [(sequence, pd.Timestamp(day), day in FLOODED) for sequence, some in days.items() for day in some]
    return pd.DataFrame(rows, columns=["sequence", "date", "flooded"])


@pytest.fixture
def tables():
    return {"S1": sensor_table(S1_DAYS), "S2": sensor_table(S2_DAYS)}


def made(rows, **columns) -> pd.DataFrame:
    """A table of predictions from rows (sequence, flooded, probability)."""
    table = pd.DataFrame(rows, columns=["sequence", "flooded", "probability"])
    table["step"] = table.groupby("sequence").cumcount()
    table["date"] = pd.Timestamp("2019-01-01") + pd.to_timedelta(6 * table["step"], unit="D")
    table = table.assign(S1=True, S2=False, padded=False, **columns)
    return table.astype({"flooded": bool})[scoring.COLUMNS]


def drawn(seed: int, sequences: int = 9, steps: int = 7, digits: int = 2) -> pd.DataFrame:
    """Predictions with ties, half of the sequences flooded from some step on."""
    rng = np.random.default_rng(seed)
    rows = []
    for sequence in range(sequences):
        onset = rng.integers(1, steps) if sequence % 2 else steps
        truth = np.arange(steps) >= onset
        values = np.round(np.clip(0.35 + 0.3 * truth + rng.normal(0, 0.25, steps), 0, 1), digits)
        rows += [(f"s{sequence}", *pair) for pair in zip(truth, values, strict=True)]
    return made(rows)


def with_padding(table: pd.DataFrame, length: int, probability: float) -> pd.DataFrame:
    """Make all sequences as long, with dry steps behind their own."""
    parts = []
    for sequence, part in table.groupby("sequence", sort=False):
        extra = made([(sequence, False, probability)] * (length - len(part))).assign(
            padded=True, S1=False, date=pd.NaT
        )
        extra["step"] += len(part)
        parts += [part, extra]
    return pd.concat(parts, ignore_index=True)


# === Tables ===


def test_the_table_of_the_union_has_a_row_a_date(tables):
    sequences = make_sequences(tables, "union")
    found = scoring.prediction_table(
        sequences, [np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5]), np.array([0.6])]
    )
    expected = pd.DataFrame(
        [
            ("a", 0, "2019-01-01", False, 0.1, True, False, False),
            ("a", 1, "2019-01-04", False, 0.2, False, True, False),
            ("a", 2, "2019-01-07", False, 0.3, True, True, False),
            ("a", 3, "2019-01-13", True, 0.4, True, False, False),
            ("b", 0, "2019-02-01", False, 0.5, True, False, False),
            ("c", 0, "2019-03-01", True, 0.6, False, True, False),
        ],
        columns=scoring.COLUMNS,
    )
    expected["date"] = pd.to_datetime(expected["date"])
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_a_step_of_two_dates_has_the_later_one(tables):
    """With the earlier one a flood of the later image began up to 36 days too soon."""
    a = make_sequences(tables, "pad")[0]
    found = scoring.prediction_table([a], [np.array([0.1, 0.2, 0.3])])
    assert found["date"].astype(str).tolist() == ["2019-01-04", "2019-01-07", "2019-01-13"]
    swapped = make_sequences({"S1": tables["S2"], "S2": tables["S1"]}, "pad")[0]
    found = scoring.prediction_table([swapped], [np.array([0.1, 0.2, 0.3])])
    assert found["date"].astype(str).tolist() == ["2019-01-04", "2019-01-07", "2019-01-13"]
    late = tables["S2"].assign(date=tables["S2"]["date"] - pd.Timedelta(days=5))
    a = make_sequences(tables | {"S2": late}, "pad")[0]
    found = scoring.prediction_table([a], [np.array([0.1, 0.2, 0.3])])
    assert found["date"].astype(str).tolist() == ["2019-01-01", "2019-01-07", "2019-01-13"]
    assert found["S2"].tolist() == [True, True, False]


def test_steps_behind_a_series_are_marked(tables):
    b = make_sequences(tables, "pad")[1]
    found = scoring.prediction_table([b], [np.array([0.5, 0.9, 0.8])])
    assert found["padded"].tolist() == [False, True, True]
    assert found["date"].isna().tolist() == [False, True, True]
    assert not found.loc[1:, ["S1", "S2", "flooded"]].to_numpy().any()


def test_late_lines_have_one_answer(tables):
    sequences = make_sequences(tables, "late")
    found = scoring.prediction_table(sequences, [np.array([p]) for p in (0.1, 0.2, 0.3)])
    assert found[["sequence", "step", "flooded", "S1", "S2", "padded"]].to_numpy().tolist() == [
        ["a", 0, True, True, True, False],
        ["b", 0, False, True, False, False],
        ["c", 0, True, False, True, False],
    ]


def test_no_sequence_gives_an_empty_table_and_a_missing_answer_is_an_error(tables):
    assert scoring.prediction_table([], []).columns.tolist() == scoring.COLUMNS
    with pytest.raises(ValueError, match="shorter"):
        scoring.prediction_table(make_sequences(tables, "union"), [np.array([0.1] * 4)])


@pytest.mark.parametrize(
    ("sensor", "expected"),
    [
        ("S1", [[0.1, 0.1, 0.2, 0.3], [0.4], [9.0]]),  # rows 0 to 3 of S1
        ("S2", [[9.0, 0.1, 0.2, 0.2], [9.0], [0.3]]),
    ],
)
def test_who_sees_one_image_stands_by_his_word_until_the_next(tables, sensor, expected):
    scores = np.array([0.1, 0.2, 0.3, 0.4])
    found = scoring.carry_forward(make_sequences(tables, "union"), sensor, scores, before=9.0)
    assert found.groupby("sequence")["probability"].apply(list).tolist() == expected


def test_steps_of_the_report_are_answered_image_by_image(tables):
    found = scoring.carry_forward(make_sequences(tables, "pad"), "S2", np.array([0.1, 0.2, 0.3]), before=9.0)
    assert found.groupby("sequence")["probability"].apply(list).tolist() == [[0.1, 0.2, 0.2], [9.0], [0.3]]


def test_a_sensor_that_was_not_read_is_never_seen(tables):
    found = scoring.carry_forward(
        make_sequences({"S1": tables["S1"]}, "union"), "S2", np.array([0.1]), before=0.7
    )
    assert found["probability"].tolist() == [0.7] * 4
    assert not found["S2"].any()


def test_one_label_a_sequence_is_no_series(tables):
    sequences = make_sequences(tables, "late")
    with pytest.raises(DataError, match="union or pad, not late"):
        scoring.carry_forward(sequences, "S1", np.zeros(4), 0.5)
    with pytest.raises(DataError, match="union or pad, not late"):
        scoring.hidden_sequences(sequences, pd.Series(np.zeros(3)))


def test_a_sequence_s_answer_is_the_highest_of_its_images():
    table = made([("b", 0, 0.2), ("b", 1, 0.7), ("b", 1, 0.4), ("a", 0, 0.3), ("a", 0, 0.1)], extra=1)
    table.loc[2, "S2"] = True
    found = scoring.of_sequences(with_padding(table, 5, probability=0.99))
    assert found.columns.tolist() == scoring.COLUMNS
    assert found["sequence"].tolist() == ["b", "a"]
    assert found["flooded"].tolist() == [True, False]
    assert found["probability"].tolist() == [0.7, 0.3]
    assert found["S2"].tolist() == [True, False]
    assert found["date"].astype(str).tolist() == ["2019-01-01"] * 2
    assert not found["padded"].any()


# === Thresholds ===


def best_balanced_accuracy(table: pd.DataFrame) -> float:
    """Of all thresholds that tell the predictions apart in another way, by trying them."""
    values = np.unique(table["probability"])
    limits = [*values, np.inf]
    return max(balanced_accuracy_score(table["flooded"], table["probability"] >= limit) for limit in limits)


@pytest.mark.parametrize("digits", [1, 2, 9])
@pytest.mark.parametrize("seed", range(6))
def test_no_threshold_is_better_than_the_chosen_one(seed, digits):
    table = drawn(seed, digits=digits)
    limit = scoring.choose_threshold(table)
    said = table["probability"] >= limit
    assert balanced_accuracy_score(table["flooded"], said) == pytest.approx(
        best_balanced_accuracy(table), abs=1e-12
    )
    values = np.unique(table["probability"])
    place = np.searchsorted(values, limit)
    assert limit == (values[place - 1] + values[place]) / 2


def test_of_equally_good_thresholds_the_nearest_to_a_half_is_taken():
    table = made([("a", 0, 0.1), ("a", 0, 0.2), ("a", 1, 0.6), ("a", 1, 0.9)])
    assert scoring.choose_threshold(table) == pytest.approx(0.4)
    # as good at 0.2 as at 0.7; between them is worse
    table = made([("a", 0, 0.1), ("a", 1, 0.3), ("a", 0, 0.5), ("a", 1, 0.9)])
    assert scoring.choose_threshold(table) == pytest.approx(0.7)
    table = made([("a", 0, 0.3), ("a", 1, 0.5), ("a", 0, 0.7), ("a", 1, 1.0)])
    assert scoring.choose_threshold(table) == pytest.approx(0.4)  # the middle one was 0.85


def test_a_threshold_that_is_almost_as_good_is_no_tie():
    """Of 2,001 predictions the second best threshold is worse by 5e-7."""
    order = [0] * 500 + [1, 0, 1, 0] + [1] * 998 + [0] * 499
    table = made([("a", label, k / 2001) for k, label in enumerate(order)])
    assert scoring.choose_threshold(table) == pytest.approx(499.5 / 2001)


@pytest.mark.parametrize("column", ["flooded", "probability"])
def test_one_label_or_one_answer_alone_gives_one_half(column):
    table = drawn(0)
    assert scoring.choose_threshold(table.assign(**{column: True})) == 0.5
    assert scoring.choose_threshold(table.assign(**{column: False})) == 0.5
    assert scoring.choose_threshold(table[:0]) == 0.5


def test_padding_chooses_no_threshold():
    table = made([("a", 0, 0.1), ("a", 0, 0.2), ("a", 1, 0.6), ("a", 1, 0.9)])
    padded = with_padding(table, 12, probability=0.7)
    assert scoring.choose_threshold(padded) == scoring.choose_threshold(table) == pytest.approx(0.4)
    assert scoring.choose_threshold(padded.assign(padded=False)) == pytest.approx(0.8)


def test_answers_that_are_no_numbers_are_counted():
    table = drawn(0)
    table.loc[[3, 5], "probability"] = np.nan
    with pytest.raises(DataError, match=r"2 of 63 predictions have no finite probability"):
        scoring.choose_threshold(table)


def test_thresholds_are_chosen_for_images_and_for_sequences():
    tables = {"net": drawn(1), "simple": drawn(2)}
    found = scoring.thresholds(tables)
    highest = {name: table.groupby("sequence").max(numeric_only=True) for name, table in tables.items()}
    for name, table in tables.items():
        assert found["image"][name] == scoring.choose_threshold(table)
        said = highest[name]["probability"] >= found["sequence"][name]
        truth = table.groupby("sequence")["flooded"].any()
        assert balanced_accuracy_score(truth, said) == pytest.approx(best_balanced_accuracy(highest[name]))


# === Scores ===

LIMITS = {"image": {"net": 0.5, "simple": 0.4}, "sequence": {"net": 0.7, "simple": 0.6}}


def expected_scores(truth, probability, limit) -> dict[str, float]:
    """Of scikit-learn."""
    said = np.asarray(probability) >= limit
    return {
        "all.accuracy": reference.accuracy_score(truth, said),
        "all.balanced_accuracy": reference.balanced_accuracy_score(truth, said),
        "flooded.precision": reference.precision_score(truth, said),
        "flooded.recall": reference.recall_score(truth, said),
        "flooded.f1": reference.f1_score(truth, said),
        "flooded.average_precision": reference.average_precision_score(truth, probability),
    }


def estimates(scores: pd.DataFrame, level: str, name: str = "net") -> dict[str, float]:
    rows = scores[(scores["level"] == level) & (scores["model"] == name)]
    return dict(zip(rows["scope"] + "." + rows["statistic"], rows["value"], strict=True))


def pair() -> dict[str, pd.DataFrame]:
    """Two tables of the same steps."""
    net = drawn(1)
    noise = np.random.default_rng(5).normal(0, 0.1, len(net))
    return {"net": net, "simple": net.assign(probability=(net["probability"] + noise).clip(0, 1))}


def test_scores_of_images_and_sequences_are_those_of_scikit_learn():
    tables = pair()
    scores = scoring.scores(tables, LIMITS, baselines=["simple"], replicates=100)
    assert scores["level"].unique().tolist() == ["image", "sequence"]
    for name, table in tables.items():
        by_image = expected_scores(table["flooded"], table["probability"], LIMITS["image"][name])
        assert estimates(scores, "image", name) == pytest.approx(by_image)
        sequences = table.groupby("sequence")[["flooded", "probability"]].max()
        by_sequence = expected_scores(
            sequences["flooded"], sequences["probability"], LIMITS["sequence"][name]
        )
        assert estimates(scores, "sequence", name) == pytest.approx(by_sequence)
    assert scores.groupby("level")["n"].unique().map(list).to_dict() == {"image": [63], "sequence": [9]}
    assert (scores["is_baseline"] == (scores["model"] == "simple")).all()
    some = scores.dropna(subset="low")
    assert ((some["low"] <= some["value"]) & (some["value"] <= some["high"])).all()
    assert (scores["low"].isna() == (scores["n_groups"] < 8)).all()


def test_intervals_draw_whole_sequences():
    """Sequences of one answer each: the interval must be that of 9 sequences, not of 630 images."""
    rows = [(f"s{k}", k % 2, 0.9 if k in (1, 3, 5, 2) else 0.1) for k in range(9) for _ in range(70)]
    scores = scoring.scores({"net": made(rows)}, LIMITS, levels=["image"], statistics=["all.accuracy"])
    rng = np.random.default_rng(1)
    right = np.array([(0.9 if k in (1, 3, 5, 2) else 0.1) >= 0.5 for k in range(9)]) == np.arange(9) % 2
    means = right[rng.integers(0, 9, (4000, 9))].mean(axis=1)
    row = scores.iloc[0]
    assert row["value"] == pytest.approx(7 / 9)
    assert [row["low"], row["high"]] == pytest.approx(np.quantile(means, levels(9)), abs=0.06)


def test_only_the_chosen_sequences_and_statistics_count():
    tables = pair()
    chosen = ["s1", "s4", "s7"]
    scores = scoring.scores(
        tables,
        LIMITS,
        levels=["image"],
        sequences=chosen,
        statistics=["flooded.f1", "flooded.recall"],
        replicates=100,
    )
    own = tables["net"][tables["net"]["sequence"].isin(chosen)]
    expected = expected_scores(own["flooded"], own["probability"], 0.5)
    assert estimates(scores, "image") == pytest.approx(
        {key: expected[key] for key in ("flooded.f1", "flooded.recall")}
    )
    assert set(scores["n"]) == {21}


def test_padding_counts_as_dry_images_only_where_asked():
    table = drawn(1)
    padded = {"net": with_padding(table, 12, probability=0.8)}
    told = {"replicates": 100, "levels": ["image"]}
    alone = scoring.scores({"net": table}, LIMITS, **told)
    pd.testing.assert_frame_equal(scoring.scores(padded, LIMITS, **told), alone)
    counted = scoring.scores(padded, LIMITS, padded=True, **told)
    expected = expected_scores(
        [*table["flooded"], *[False] * 45], [*table["probability"], *[0.8] * 45], LIMITS["image"]["net"]
    )
    assert estimates(counted, "image") == pytest.approx(expected)
    assert set(counted["n"]) == {9 * 12}


def test_padding_never_speaks_for_a_sequence():
    table = drawn(1)
    padded = {"net": with_padding(table, 12, probability=1.0)}
    told = {"replicates": 100, "levels": ["sequence"], "padded": True}
    pd.testing.assert_frame_equal(
        scoring.scores(padded, LIMITS, **told), scoring.scores({"net": table}, LIMITS, **told)
    )


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: t.assign(flooded=~t["flooded"])])
def test_tables_of_other_steps_are_refused_by_name(change):
    tables = pair()
    with pytest.raises(DataError, match=r"'simple' predicts 6[23] steps that are not the 63 of 'net'"):
        scoring.scores(tables | {"simple": change(tables["simple"])}, LIMITS, replicates=100)


def test_no_sequence_left_is_said():
    with pytest.raises(DataError, match="nothing to score"):
        scoring.scores(pair(), LIMITS, sequences=["elsewhere"], replicates=100)


def test_one_sequence_alone_has_scores_without_an_interval():
    """The bootstrap of one sequence raised an error; four published regions test one sequence."""
    tables = pair()
    scores = scoring.scores(tables, LIMITS, sequences=["s3"], replicates=100)
    own = tables["net"][tables["net"]["sequence"] == "s3"]
    expected = expected_scores(own["flooded"], own["probability"], 0.5)
    assert estimates(scores, "image") == pytest.approx(expected)
    assert scores[["low", "high"]].isna().all(None)
    assert scores.groupby("level")["n"].unique().map(list).to_dict() == {"image": [7], "sequence": [1]}


def test_scores_by_region_are_those_of_their_sequences():
    tables = pair()
    regions = pd.Series(dict.fromkeys(["s0", "s1", "s2"], "R10") | dict.fromkeys(["s3", "s4"], "R2"))
    regions["s5"], regions["s8"], regions["elsewhere"] = "R3", "R4", "R5"
    found = scoring.region_scores(tables, LIMITS, regions, replicates=100)
    assert found.columns.tolist() == ["region", "model", "groups", "value", "low", "high"]
    assert found["region"].tolist() == [region for region in ("R2", "R3", "R4", "R10") for _ in tables]
    rows = found[found["model"] == "simple"].set_index("region")
    assert rows["groups"].to_dict() == {"R2": 2, "R3": 1, "R4": 1, "R10": 3}
    for region in ("R2", "R3", "R10"):
        sequences = regions.index[regions == region]
        own = tables["simple"][tables["simple"]["sequence"].isin(sequences)]
        expected = balanced_accuracy_score(own["flooded"], own["probability"] >= 0.4)
        assert rows.loc[region, "value"] == pytest.approx(expected)
    assert rows["low"].isna().to_dict() == dict.fromkeys(
        ["R2", "R3", "R4", "R10"], True
    )  # of three sequences and fewer
    assert np.isnan(rows.loc["R4", "value"])  # never flooded: no balanced accuracy


def test_a_region_of_one_label_has_no_balanced_accuracy_of_sequences_but_an_accuracy():
    regions = pd.Series({"s1": "R1", "s3": "R1"})  # both flood
    by_sequence = scoring.region_scores(pair(), LIMITS, regions, "sequence", replicates=100)
    assert by_sequence["value"].isna().all()
    by_sequence = scoring.region_scores(pair(), LIMITS, regions, "sequence", "all.accuracy", replicates=100)
    assert by_sequence["value"].notna().all()


# === Hidden floods ===


def test_a_flood_is_hidden_where_all_optical_images_since_are_bright(tables):
    """Five sequences by hand; the brightness of each optical image stands beside its date."""
    s1 = {sequence: ["2019-01-01", "2019-01-13"] for sequence in "abcde"}
    s2 = {
        "a": [("2019-01-04", 0.0), ("2019-01-13", 0.4)],  # clear before, cloudy since: hidden
        "b": [("2019-01-13", 0.9), ("2019-01-20", 0.1)],  # the second shows it
        "c": [("2019-01-04", 0.0)],  # no image since: hidden
        "d": [("2019-01-13", 0.39)],
    }  # of e there is none: hidden
    onset = pd.Timestamp("2019-01-13")
    found = {}
    for sensor, days in (("S1", s1), ("S2", {k: [day for day, _ in v] for k, v in s2.items()})):
        table = sensor_table(days)
        found[sensor] = table.assign(flooded=table["date"] >= onset)
    bright = pd.Series([share for images in s2.values() for _, share in images], index=range(10, 16))
    sequences = make_sequences(found, "union")
    assert scoring.hidden_sequences(sequences, bright) == ["a", "c", "e"]
    assert scoring.hidden_sequences(sequences, bright, min_share=0.5) == ["c", "e"]
    dry = {sensor: table.assign(flooded=False) for sensor, table in found.items()}
    assert scoring.hidden_sequences(make_sequences(dry, "union"), bright) == []
    radar = make_sequences({"S1": found["S1"]}, "union")
    assert scoring.hidden_sequences(radar, bright) == list("abcde")


# === Padding of a network ===

SIZE = (8, 8)
LENGTHS = {"S1": [5, 3, 4, 2, 6, 3], "S2": [2, 4, 0, 3, 2, 1]}  # images of each sequence
PARTS = ["train", "train", "validation", "test", "test", "test"]


@pytest.fixture(scope="module")
def views(tmp_path_factory):
    """Stores of random images of six sequences."""
    rng, stores = np.random.default_rng(0), {}
    for number, (sensor, lengths) in enumerate(LENGTHS.items()):
        rows = [
            (f"s{k}", pd.Timestamp(2019, 1, 2 + 4 * n + number), PARTS[k], n >= 2 and k % 2 == 0)
            for k, length in enumerate(lengths)
            for n in range(length)
        ]
        table = pd.DataFrame(rows, columns=["sequence", "date", "split", "flooded"])
        table.insert(0, "id", np.arange(len(table)))
        images = rng.normal(size=(len(table), *SIZE, 2)).astype("float32")
        stores[sensor] = write_store(
            tmp_path_factory.mktemp(sensor) / "store",
            table,
            {"image": ArraySpec(("y", "x", "band"), (*SIZE, 2), "float32", {}, "allow")},
            "sequence",
            lambda rows, images=images: {"image": images[rows["id"]]},
            {},
            {"coords": {"band": ["one", "two"]}},
            progress=False,
        )
    return stores


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("fusion", ["union", "pad"])
def test_what_stands_in_padding_changes_no_score(views, tmp_path, monkeypatch, fusion):
    from eolab import tasks
    from eolab.tasks import fitted as module

    channels = flood.scoring.select(views, {"S1": ["one", "two"], "S2": ["two"]})
    sequences = {part: sequences_of(views, part, fusion) for part in ("train", "validation", "test")}
    fitted = tasks.fit(
        "sequence_classification", "convlstm", views, sequences, folder=tmp_path, channels=channels,
        training={"epochs": 1, "learning_rate": 1e-4, "class_weights": "balanced"},
        options={"filters": 4, "hidden": 8, "pool": "mean", "layers": 1, "l2": 0.0}, progress=False,
    )  # fmt: skip

    def predict(pad):
        folder = tmp_path / "probabilities"
        return flood.scoring.predict(
            fitted, views, sequences["test"], folder, "test", pad=pad, progress=False
        )

    plain, padded = predict(False), predict(True)

    class Filled(module.SequenceSamples):
        """Sequences with noise and other days where there is no image, or else where there is one."""

        present = 0

        def read(self, positions):
            inputs, labels = super().read(positions)
            rng = np.random.default_rng(positions)
            for key in ("s1", "s2"):
                chosen = inputs[f"{key}_valid"] == self.present
                inputs[key][chosen] = rng.normal(3, 5, inputs[key][chosen].shape)
                inputs[f"{key}_day"][chosen] = rng.integers(0, 400, chosen.sum())
            return inputs, labels

    monkeypatch.setattr(module, "SequenceSamples", Filled)
    filled = predict(True)
    Filled.present = 1
    spoilt = predict(True)
    assert (spoilt["probability"] - padded["probability"])[~padded["padded"]].abs().max() > 1e-3

    steps = {"union": [5, 8, 4], "pad": [3, 6, 3]}[fusion]
    assert plain.groupby("sequence").size().tolist() == steps
    assert padded.groupby("sequence").size().tolist() == [max(steps)] * 3
    for table in (padded, filled):
        real = table[~table["padded"]].reset_index(drop=True)
        pd.testing.assert_frame_equal(real, plain, rtol=0, atol=1e-6)
    limits = scoring.thresholds({"net": plain})
    scores = [scoring.scores({"net": table}, limits, replicates=100) for table in (plain, padded, filled)]
    pd.testing.assert_frame_equal(scores[1], scores[0])
    pd.testing.assert_frame_equal(scores[2], scores[0])


def answered(*rows: tuple[str, str, bool, float, bool, bool]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["sequence", "date", "flooded", "probability", "S1", "S2"])
    return table.assign(step=range(len(table)), padded=False, date=pd.to_datetime(table["date"]))


def test_images_of_one_sensor_count_alone():
    table = answered(
        ("a", "2019-01-01", False, 0.1, True, False),
        ("a", "2019-01-02", True, 0.2, True, False),
        ("b", "2019-01-01", False, 0.9, False, True),
        ("b", "2019-01-02", True, 0.8, True, True),
    )
    options = {"levels": ["image"], "statistics": ["all.accuracy", "flooded.recall"], "replicates": 100}
    limits = {"image": {"net": 0.5}}
    found = {
        sensor: scoring.scores({"net": table}, limits, sensor=sensor, **options)["value"].tolist()
        for sensor in ("", "S1", "S2")
    }
    assert found[""] == [0.5, 0.5]
    assert found["S1"] == [pytest.approx(2 / 3), 0.5]
    assert found["S2"] == [0.5, 1.0]


def test_balanced_accuracy_of_one_label_is_undefined():
    """Of flooded sequences alone it is their recall under another name."""
    table = answered(("a", "2019-01-01", True, 0.1, True, True), ("b", "2019-01-02", True, 0.9, True, True))
    found = scoring.scores({"net": table}, {"image": {"net": 0.5}}, levels=["image"], replicates=100)
    by_name = found.set_index("statistic")["value"]
    assert np.isnan(by_name["balanced_accuracy"])
    assert by_name["recall"] == 0.5


def test_scores_by_sensor_are_those_of_the_steps_with_its_images():
    table = answered(
        ("a", "2019-01-01", False, 0.1, True, False),
        ("a", "2019-01-02", True, 0.2, True, False),
        ("b", "2019-01-02", True, 0.8, True, True),
    )
    options = {"statistics": ["all.accuracy"], "replicates": 100}
    found = scoring.sensor_scores({"net": table}, {"image": {"net": 0.5}}, **options)
    rows = found.set_index("level")[["value", "n"]]
    assert rows.to_dict("index") == {
        "image, S1": {"value": pytest.approx(2 / 3), "n": 3},
        "image, S2": {"value": 1.0, "n": 1},
    }
    alone = scoring.sensor_scores({"net": table.assign(S2=False)}, {"image": {"net": 0.5}}, **options)
    assert set(alone["level"]) == {"image, S1"}


def test_a_flood_that_the_other_sensor_saw_is_none_in_a_series_of_one(tables):
    seen = {"S1": tables["S1"].assign(flooded=False), "S2": tables["S2"].assign(flooded=True)}
    alone, both = make_sequences({"S1": seen["S1"]}, "late"), make_sequences(seen, "late")
    assert [int(sequences[0].labels[0]) for sequences in (alone, both)] == [0, 1]
    told = scoring.prediction_table(alone, [np.array([0.4]) for _ in alone])
    options = {"levels": ["sequence"], "statistics": ["all.accuracy"], "replicates": 100}
    found = scoring.series_scores("net", told, told, "S1", **options)
    assert found.loc[0, ["level", "value", "n"]].tolist() == ["sequence, S1", 1.0, len(alone)]
