"""Strategies of learning on: what each learns from, begins with and leaves, on a small store."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest

from eolab import models, tasks
from eolab.core.errors import ParameterError
from eolab.data.store import ArraySpec, write_store
from eolab.tasks import continual

COUNT, TIMES, BANDS, K = 240, 4, 2, 3
TASK, SMALL = "series_classification", {"filters": 4, "dense": 8}
TRAINING = {"epochs": 1, "batch_size": 16, "learning_rate": 0.01}
ARRAYS = {
    "image": ArraySpec(("time", "band"), (TIMES, BANDS), "float32"),
    "valid": ArraySpec(("time",), (TIMES,), "bool"),
    "label": ArraySpec((), (), "uint8"),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Three years of pixels whose classes differ in level."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, K, COUNT).astype(np.uint8)
    image = rng.normal(label[:, None, None], 0.3, (COUNT, TIMES, BANDS)).astype(np.float32)
    given = {"image": image, "valid": np.ones((COUNT, TIMES), bool), "label": label}
    split = np.array(["train", "train", "validation", "test"])[np.arange(COUNT) % 4]
    return write_store(
        tmp_path_factory.mktemp("continual") / "store",
        pd.DataFrame(
            {"id": np.arange(COUNT), "split": split, "year": 2018 + np.arange(COUNT) // 80, "part": 0}
        ),
        ARRAYS,
        "part",
        lambda rows: {name: values[rows["id"]] for name, values in given.items()},
        fingerprint={"toy": 1},
        metadata={"coords": {"time": [f"2019-0{m}-15" for m in (2, 4, 6, 8)], "band": ["B04", "B08"]}},
        progress=False,
    )


@pytest.fixture(scope="module")
def periods(store):
    table = store.table
    return {
        int(year): {
            part: np.flatnonzero((table["year"] == year) & (table["split"] == part))
            for part in ("train", "validation", "test")
        }
        for year in (2018, 2019, 2020)
    }


def learn(store, periods, strategy, folder, **options):
    given = {"training": TRAINING, "outputs": K, "options": SMALL, "progress": False}
    return continual.learn(TASK, "tempcnn", store, periods, strategy, folder=folder, **given, **options)


def test_as_many_are_drawn_of_each_group_as_far_as_it_has_them():
    groups, rows = np.repeat([0, 1, 2], [50, 3, 20])[:, None], np.arange(73)
    drawn = continual._drawn(rows, groups, 23, seed=1)
    assert np.bincount(groups[drawn, 0]).tolist() == [10, 3, 10]
    assert len(set(drawn)) == 23
    assert continual._drawn(rows, groups, 1000, seed=0).tolist() == list(range(73))
    assert continual._drawn(rows, groups, 23, seed=2).tolist() != drawn.tolist()


@pytest.fixture(scope="module")
def calls(store, periods, tmp_path_factory):
    """What each strategy gives to the training of each period, without training."""

    def of(strategy, **memory):
        seen = []

        class Stop:
            network = type("Network", (), {"variables": [], "input": {}})
            history = pd.DataFrame({"seconds": [1.0]})

        def fit(*arguments, **options):
            seen.append(
                {"rows": arguments[3], "weights": options["sample_weights"], "begun": options["make"].args}
            )
            return Stop()

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(continual, "fit", fit)
            patch.setattr(continual, "_predicted", lambda *_: {})
            patch.setattr(continual, "_importance", lambda *_: [np.ones(1)])
            costs = learn(store, periods, strategy, "", memory=continual.Memory(**memory))[1]
        return seen, costs

    return of


@pytest.mark.parametrize("strategy", ["naive", "ewc"])
def test_naive_and_ewc_learn_from_the_new_period_alone(calls, periods, strategy):
    seen, costs = calls(strategy)
    for one, rows in zip(seen, periods.values(), strict=True):
        assert one["rows"]["train"].tolist() == rows["train"].tolist()
        assert one["rows"]["validation"].tolist() == rows["validation"].tolist()
    assert costs["samples_kept"].tolist() == [0, 0, 0]


def test_ewc_holds_what_all_periods_before_need(calls):
    """The Fisher information of the periods is added; the first period is held by nothing."""
    importance = [one["begun"][2] for one in calls("ewc")[0]]
    assert importance[0] is None
    assert [float(one[0][0]) for one in importance[1:]] == [1, 2]


def test_decay_and_scratch_learn_from_all_periods_so_far_and_decay_weighs_them_by_age(calls, periods):
    seen, costs = calls("decay", decay=0.5)
    assert [len(one["rows"]["train"]) for one in seen] == [40, 80, 120]
    assert [len(one["rows"]["validation"]) for one in seen] == [20, 40, 60]
    assert seen[0]["weights"] is None
    assert seen[2]["weights"].tolist() == [0.25] * 40 + [0.5] * 40 + [1.0] * 40
    assert costs["samples_kept"].tolist() == [0, 40, 80]
    seen, _ = calls("scratch")
    assert [len(one["rows"]["train"]) for one in seen] == [40, 80, 120]
    assert all(one["begun"][1] is None for one in seen)
    assert all(one["weights"] is None for one in seen)


def test_replay_keeps_as_many_of_each_class_and_period_and_never_takes_back_what_it_dropped(
    calls, store, periods
):
    seen, _ = calls("replay", replay=18)
    label, year = store.gather(np.arange(COUNT), ["label"])["label"], store.table["year"].to_numpy()
    second, third = (one["rows"]["train"][:18] for one in seen[1:])
    assert np.bincount(label[second]).tolist() == [6, 6, 6]
    assert set(year[second]) == {2018}
    counted = pd.crosstab(year[third], label[third])
    assert (counted == 3).all(axis=None)
    assert counted.index.tolist() == [2018, 2019]
    assert set(third[year[third] == 2018]) <= set(second)
    assert seen[2]["rows"]["validation"].tolist() == periods[2020]["validation"].tolist()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strategy": "nave"}, "no strategy 'nave'"),
        ({"periods": {2018: {}}}, "two periods or more, found 1"),
    ],
)
def test_what_cannot_be_learned_on_is_refused(store, periods, options, said):
    given = {"strategy": "naive", "periods": periods} | options
    with pytest.raises(ParameterError, match=said):
        learn(store, given["periods"], given["strategy"], "")
    with pytest.raises(ParameterError, match=r"decay=0.*a decay above 0"):
        continual.Memory(decay=0)


@pytest.mark.slow
def test_a_finished_period_is_not_trained_again_and_ewc_moves_less_than_naive(store, periods, tmp_path):
    """Trainings of three steps; both strategies begin with the same network of the first period."""
    given = {"folder": tmp_path, "networks": tasks.Networks()}
    two = {year: periods[year] for year in (2018, 2019)}
    found, costs = learn(store, two, "naive", **given)
    again, same = learn(store, two, "naive", **given)
    held, cost = learn(store, two, "ewc", **given, memory=continual.Memory(strength=1e3))
    pd.testing.assert_frame_equal(costs, same)
    moved = {"naive": found, "again": again, "ewc": held}
    for name, one in moved.items():
        np.testing.assert_array_equal(one[2018][2018], found[2018][2018])
        moved[name] = np.abs(np.asarray(one[2019][2018]) - one[2018][2018]).mean()
    assert moved["again"] == moved["naive"]
    assert 0 < moved["ewc"] < 0.8 * moved["naive"]
    assert costs["steps"].tolist() == cost["steps"].tolist() == [3, 3]
    assert costs["samples_seen"].tolist() == [48, 48]  # three batches of 16
    assert {path.name for path in tmp_path.iterdir()} == {"first", "naive", "ewc_1000_200"}


@pytest.mark.slow
def test_a_period_after_a_finished_one_ends_as_in_an_unbroken_run(store, periods, tmp_path):
    """The state of dropout of a finished period was lost where its weights came from the saved network."""
    two = {year: periods[year] for year in (2018, 2019)}
    whole, _ = learn(store, two, "naive", folder=tmp_path, networks=tasks.Networks())
    shutil.rmtree(tmp_path / "naive")
    resumed, _ = learn(store, two, "naive", folder=tmp_path, networks=tasks.Networks())
    for year in two:
        np.testing.assert_array_equal(resumed[2019][year], whole[2019][year])


@pytest.mark.slow
def test_a_network_that_is_held_again_learns_as_a_new_one_does(store, periods, tmp_path, monkeypatch):
    given = {"memory": continual.Memory(strength=1e3)}
    again, _ = learn(store, periods, "ewc", tmp_path / "again", **given)
    monkeypatch.setattr(
        tasks.Networks, "build", lambda self, name, use="", /, **options: models.build(name, **options)
    )
    new, _ = learn(store, periods, "ewc", tmp_path / "new", **given)
    for last, predictions in new.items():
        for year, expected in predictions.items():
            np.testing.assert_allclose(again[last][year], expected, atol=1e-4)
