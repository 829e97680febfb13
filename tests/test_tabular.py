"""Boosting on tables of pixels, importance and distributions of features."""

from __future__ import annotations

import joblib
import landslide_example as example
import numpy as np
import pandas as pd
import pytest
from scipy.special import logit
from sklearn import inspection
from sklearn.base import clone
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from threadpoolctl import threadpool_limits

from eolab.core.errors import DataError, ParameterError
from eolab.data import tables
from eolab.data.store import Store
from eolab.evaluation.distributions import QUANTILES
from eolab.studies.landslide.channels import PIXEL_CHANNELS
from eolab.tasks import tabular

ROWS = np.arange(example.PATCHES)
TRAIN, HELD = ROWS[:28], ROWS[28:]
CLASSES = ("elsewhere", "landslide")


def pixel_table(store: Store, rows, per_patch: int = 64) -> pd.DataFrame:
    return tables.pixel_table(store, rows, per_patch, channels=PIXEL_CHANNELS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return example.write(tmp_path_factory.mktemp("tabular") / "store")


@pytest.fixture(scope="module")
def pixels(store: Store) -> pd.DataFrame:
    return pixel_table(store, TRAIN, per_patch=96)


@pytest.fixture(scope="module")
def model(pixels: pd.DataFrame) -> tabular.Boosting:
    return tabular.fit_boosting(pixels, "label")


# === Distributions ===


def test_distributions_against_numpy_and_pairs() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"same": rng.integers(0, 5, 60), "apart": rng.normal(0, 1, 60)})
    table["label"] = np.array([0, 1, 1, 255] * 15)
    table["apart"] += 3 * (table["label"] == 1)
    found = tabular.feature_distributions(table, "label", CLASSES)
    assert found["feature"].tolist() == ["apart", "apart", "same", "same"]
    assert found["class"].tolist() == list(CLASSES) * 2
    for name in ("same", "apart"):
        one, zero = (table.loc[table["label"] == kind, name].to_numpy() for kind in (1, 0))
        pairs = (one[:, None] > zero).mean() + 0.5 * (one[:, None] == zero).mean()
        assert found.loc[found["feature"] == name, "auc"].to_numpy() == pytest.approx(pairs)
        rows = found[found["feature"] == name].set_index("class").filter(like="q")
        expected = np.quantile(one, QUANTILES, method="hazen")
        np.testing.assert_allclose(rows.loc["landslide"], expected)


def test_weighted_distributions_are_those_of_repeated_rows() -> None:
    rng = np.random.default_rng(1)
    table = pd.DataFrame({"f": rng.normal(0, 1, 3000), "label": np.arange(3000) % 2})
    table["weight"] = rng.integers(1, 6, 3000)
    repeated = table.loc[table.index.repeat(table["weight"])].assign(weight=1.0)
    found, expected = (tabular.feature_distributions(t, "label", CLASSES) for t in (table, repeated))
    assert found["auc"].to_numpy() == pytest.approx(expected["auc"].to_numpy())
    np.testing.assert_allclose(found.filter(like="q"), expected.filter(like="q"), atol=0.01)
    unweighted = tabular.feature_distributions(table.assign(weight=1.0), "label", CLASSES)
    assert unweighted["auc"][0] != pytest.approx(found["auc"][0], abs=1e-6)


def test_distributions_name_what_the_landslides_differ_in(pixels: pd.DataFrame) -> None:
    found = tabular.feature_distributions(pixels, "label", CLASSES)
    assert set(found["feature"][:4]) == {"slope", "NDVI"}
    assert found.loc[found["feature"] == "slope", "auc"].iloc[0] > 0.75
    assert found.loc[found["feature"] == "NDVI", "auc"].iloc[0] < 0.25
    empty = tabular.feature_distributions(pixels[pixels["label"] == 0], "label", CLASSES, ["slope"])
    assert empty["auc"].isna().all()
    assert empty["q50"].isna().tolist() == [False, True]


# === Boosting ===


def test_boosting_finds_held_out_landslides_with_the_shares_of_the_patches(
    store: Store, model: tabular.Boosting
) -> None:
    held = pixel_table(store, HELD, per_patch=10_000)  # every known pixel
    found = model.probability(held)
    assert roc_auc_score(held["label"], found) > 0.97
    share = held["label"].mean()
    assert found.mean() == pytest.approx(share, rel=0.1)
    constant = log_loss(held["label"], np.full(len(held), share))
    assert log_loss(held["label"], found) < 0.5 * constant


def test_without_weights_probabilities_would_be_those_of_the_draw(pixels: pd.DataFrame) -> None:
    plain = tabular.fit_boosting(pixels, "label", weight=np.ones(len(pixels)), iterations=20)
    drawn, real = pixels["label"].mean(), np.average(pixels["label"], weights=pixels["weight"])
    assert drawn > 2 * real
    assert plain.probability(pixels).mean() == pytest.approx(drawn, rel=0.1)
    assert plain.prior_ == pytest.approx(logit(drawn))


@pytest.mark.slow
def test_boosting_is_repeatable_and_leaves_out_unknown_rows(pixels: pd.DataFrame) -> None:
    first = tabular.fit_boosting(pixels, "label", seed=3, iterations=20).probability(pixels)
    noise = pixels.assign(label=255, slope=1000.0)
    mixed = pd.concat([pixels, noise], ignore_index=True)
    again = tabular.fit_boosting(mixed, "label", seed=3, iterations=20).probability(pixels)
    np.testing.assert_array_equal(first, again)


def test_boosting_takes_the_features_it_is_told(pixels: pd.DataFrame) -> None:
    blind = tabular.fit_boosting(pixels, "label", ["B01", "dem"], iterations=5)
    assert list(blind.feature_names_in_) == ["B01", "dem"]
    assert not set(tables.features_of(pixels)) & {"id", "row", "col", "label", "weight"}
    with pytest.raises(ParameterError, match="no column 'slop': did you mean 'slope'"):
        tabular.fit_boosting(pixels, "label", ["slop"])
    with pytest.raises(ParameterError, match="no column 'labels': did you mean 'label'"):
        tabular.fit_boosting(pixels, "labels")


def test_boosting_of_patches_knows_which_have_a_landslide(store: Store) -> None:
    table = tables.patch_table(store, ROWS, PIXEL_CHANNELS)
    table["label"] = np.where(table["share"] > table["share"].median(), 1, 0)
    table.loc[example.UNKNOWN, "label"] = 255
    fitted = tabular.fit_boosting(table)
    assert len(fitted.feature_names_in_) == 90
    known = table["label"] != 255
    assert roc_auc_score(table["label"][known], fitted.probability(table)[known]) > 0.9


def test_one_class_alone_is_refused(pixels: pd.DataFrame, model: tabular.Boosting) -> None:
    for call in (tabular.fit_boosting, lambda *a: tabular.permutation_importance(model, *a)):
        with pytest.raises(DataError, match="all of one class"):
            call(pixels[pixels["label"] == 0], "label")
    with pytest.raises(DataError, match="weights have shape"):
        tabular.fit_boosting(pixels, "label", weight=[1.0])


def test_boosting_is_a_scikit_learn_classifier(
    model: tabular.Boosting, pixels: pd.DataFrame, tmp_path
) -> None:
    assert clone(model).get_params() == {"iterations": 100, "seed": 0}
    joblib.dump(model, tmp_path / "model.joblib")
    loaded = joblib.load(tmp_path / "model.joblib")
    np.testing.assert_array_equal(loaded.probability(pixels), model.probability(pixels))
    np.testing.assert_array_equal(model.predict(pixels), model.probability(pixels) >= 0.5)


# === Importance ===


def test_importance_is_the_fall_of_a_named_score(store: Store, pixels: pd.DataFrame) -> None:
    names = ["B01", "NDVI", "dem", "slope"]
    small = tabular.fit_boosting(pixels, "label", names, iterations=20)
    held = pixel_table(store, HELD, per_patch=32)
    found = tabular.permutation_importance(small, held, "label", repeats=3)
    assert found.columns.tolist() == ["feature", "mean", "std", "score", "unshuffled"]
    assert set(found["feature"][:2]) == {"slope", "NDVI"}
    assert found["mean"].is_monotonic_decreasing
    assert set(found["score"]) == {"average_precision"}
    labels, weights = held["label"], held["weight"]
    whole = average_precision_score(labels, small.predict_proba(held)[:, 1], sample_weight=weights)
    assert found["unshuffled"].to_numpy() == pytest.approx(whole)
    with threadpool_limits(1):
        reference = inspection.permutation_importance(  # the prior moves all odds alike: same ranks
            small.trees_,
            held[names],
            labels,
            scoring="average_precision",
            n_repeats=3,
            random_state=0,
            sample_weight=weights,
        )
    expected = pd.DataFrame({"mean": reference.importances_mean, "std": reference.importances_std}, names)
    np.testing.assert_allclose(found[["mean", "std"]], expected.loc[found["feature"]], atol=1e-9)


@pytest.mark.slow
def test_importance_is_repeatable_and_leaves_out_unknown_rows(store: Store, model: tabular.Boosting) -> None:
    held = pixel_table(store, HELD, per_patch=8)
    first = tabular.permutation_importance(model, held, "label", repeats=2, seed=5)
    mixed = pd.concat([held, held.assign(label=255)], ignore_index=True)
    pd.testing.assert_frame_equal(
        first, tabular.permutation_importance(model, mixed, "label", repeats=2, seed=5)
    )
