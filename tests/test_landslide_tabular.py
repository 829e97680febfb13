"""Tables of patches and pixels, boosting on them, importance of features, and stacking."""

from __future__ import annotations

import joblib
import landslide_example as example
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from sklearn import inspection
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score
from threadpoolctl import threadpool_limits

from eolab.core.errors import DataError, ParameterError
from eolab.data.store import Store
from eolab.evaluation.distributions import QUANTILES
from eolab.studies.landslide import stacking, tabular

ROWS = np.arange(example.PATCHES)
TRAIN, HELD = ROWS[:28], ROWS[28:]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return example.write(tmp_path_factory.mktemp("tabular") / "store")


@pytest.fixture(scope="module")
def pixels(store: Store) -> pd.DataFrame:
    return tabular.pixel_table(store, TRAIN, per_patch=96)


@pytest.fixture(scope="module")
def model(pixels: pd.DataFrame) -> tabular.Boosting:
    return tabular.fit_boosting(pixels, "label")


# === Patches ===


def test_a_patch_is_described_by_the_distribution_of_its_channels(store: Store) -> None:
    table = tabular.patch_table(store, ROWS)
    assert table["id"].tolist() == [100 + row for row in ROWS]
    assert tabular.features_of(table)[:5] == ["B01_mean", "B01_std", "B01_p05", "B01_p50", "B01_p95"]
    assert len(tabular.features_of(table)) == 5 * len(tabular.CHANNELS) == 90
    for row in (0, 17, 39):
        image, _ = example.patch(row)
        for name in ("B08", "slope", "NDVI"):
            values = image[..., example.NAMES.index(name)].astype(float).ravel()
            expected = [values.mean(), values.std(), *np.quantile(values, [0.05, 0.5, 0.95])]
            found = table.loc[row, [f"{name}_{s}" for s in ("mean", "std", "p05", "p50", "p95")]]
            np.testing.assert_allclose(found.to_numpy(float), expected, rtol=1e-5, atol=1e-6)


def test_unknown_pixels_count_in_neither_label_nor_share(store: Store) -> None:
    table = tabular.patch_table(store, ROWS)
    for row in ROWS:
        _, label = example.patch(row)
        known = label[label != 255]
        if row == example.UNKNOWN:
            assert table.loc[row, "landslide"] == 255
            assert np.isnan(table.loc[row, "landslide_share"])
        else:
            assert table.loc[row, "landslide"] == int((known == 1).any())
            assert table.loc[row, "landslide_share"] == pytest.approx((known == 1).mean())
    assert table.loc[list(example.EMPTY), "landslide"].tolist() == [0, 0]


def test_rows_come_in_the_order_asked_for_whatever_is_in_memory(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tabular.patch_table(store, ROWS).set_index("id")
    drawn = tabular.pixel_table(store, ROWS, 8)
    monkeypatch.setattr(tabular, "AT_ONCE", 3)
    some = np.array([31, 4, 12, 5])
    pd.testing.assert_frame_equal(tabular.patch_table(store, some).set_index("id"), whole.loc[100 + some])
    pd.testing.assert_frame_equal(tabular.pixel_table(store, ROWS, 8), drawn)
    mask = np.isin(ROWS, some)
    assert tabular.patch_table(store, mask)["id"].tolist() == [104, 105, 112, 131]


def test_few_patches_are_in_memory_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    gather = Store.gather
    monkeypatch.setattr(
        Store, "gather", lambda self, rows, names: asked.append(len(rows)) or gather(self, rows, names)
    )
    tabular.patch_table(store, ROWS)
    tabular.pixel_table(store, ROWS)
    assert sum(asked) == 2 * len(ROWS)
    assert max(asked) <= tabular.AT_ONCE < len(ROWS)


def test_a_missing_channel_and_missing_rows_are_named(store: Store) -> None:
    with pytest.raises(DataError, match="no channel 'NDWI': did you mean 'NDVI'"):
        tabular.patch_table(store, ROWS, ["NDWI"])
    with pytest.raises(DataError, match="No patch is given"):
        tabular.pixel_table(store, [])
    with pytest.raises(DataError, match="No patch is given"):
        tabular.patch_table(store, np.zeros(len(ROWS), bool))


# === Pixels ===


def test_drawn_pixels_are_those_of_the_store(store: Store) -> None:
    table = tabular.pixel_table(store, ROWS, per_patch=20)
    patch, y, x = table["id"] - 100, table["row"], table["col"]
    image, label = store.arrays["image"], store.arrays["label"]
    np.testing.assert_array_equal(table["slope"], image[patch, y, x, example.SLOPE])
    np.testing.assert_array_equal(table["B03"], image[patch, y, x, example.NAMES.index("B03")])
    np.testing.assert_array_equal(table["label"], label[patch, y, x])
    assert set(table["label"]) == {0, 1}
    assert not table.duplicated(["id", "row", "col"]).any()
    assert 100 + example.UNKNOWN not in set(table["id"])


def test_half_of_the_pixels_are_landslides_and_weights_restore_their_share(store: Store) -> None:
    table = tabular.pixel_table(store, ROWS, per_patch=20)
    for row in ROWS[ROWS != example.UNKNOWN]:
        part, (_, label) = table[table["id"] == 100 + row], example.patch(row)
        inside, outside = (label == 1).sum(), (label == 0).sum()
        assert len(part) == 20
        assert (part["label"] == 1).sum() == min(inside, 10)
        assert part["weight"].sum() == pytest.approx(inside + outside)
        assert part.loc[part["label"] == 1, "weight"].sum() == pytest.approx(inside)


def test_a_patch_with_fewer_pixels_gives_them_all(store: Store) -> None:
    table = tabular.pixel_table(store, [0, 3], per_patch=10_000)
    known = [(example.patch(row)[1] != 255).sum() for row in (0, 3)]
    assert table.groupby("id").size().tolist() == known
    assert (table["weight"] == 1).all()


def test_one_class_fills_up_where_the_other_is_short() -> None:
    label = np.full(100, 1, np.uint8)
    label[:3] = 0
    drawn, weight = tabular._draw(label, 20, np.random.default_rng(0))
    assert (label[drawn] == 0).sum() == 3
    assert len(drawn) == 20
    assert weight.sum() == pytest.approx(100)


def test_the_draw_of_a_patch_depends_on_seed_and_patch_alone(store: Store) -> None:
    alone = tabular.pixel_table(store, [12], 16, seed=1)
    among = tabular.pixel_table(store, ROWS[::-1], 16, seed=1)
    among = among[among["id"] == 112].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, among)
    other = tabular.pixel_table(store, [12], 16, seed=2)
    assert not other["row"].equals(alone["row"])


def test_too_few_pixels_are_refused(store: Store) -> None:
    with pytest.raises(ParameterError, match="per_patch is 1"):
        tabular.pixel_table(store, ROWS, per_patch=1)


def test_tables_survive_parquet(store: Store, pixels: pd.DataFrame, tmp_path) -> None:
    for name, table in (("pixels", pixels), ("patches", tabular.patch_table(store, ROWS))):
        table.to_parquet(tmp_path / f"{name}.parquet")
        pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / f"{name}.parquet"), table)


# === Distributions ===


def test_distributions_against_numpy_and_pairs() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"same": rng.integers(0, 5, 60), "apart": rng.normal(0, 1, 60)})
    table["label"] = np.array([0, 1, 1, 255] * 15)
    table["apart"] += 3 * (table["label"] == 1)
    found = tabular.feature_distributions(table, "label")
    assert found["feature"].tolist() == ["apart", "apart", "same", "same"]
    assert found["class"].tolist() == ["elsewhere", "landslide"] * 2
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
    found, expected = (tabular.feature_distributions(t, "label") for t in (table, repeated))
    assert found["auc"].to_numpy() == pytest.approx(expected["auc"].to_numpy())
    np.testing.assert_allclose(found.filter(like="q"), expected.filter(like="q"), atol=0.01)
    unweighted = tabular.feature_distributions(table, "label", weight=np.ones(3000))
    assert unweighted["auc"][0] != pytest.approx(found["auc"][0], abs=1e-6)


def test_distributions_name_what_the_landslides_differ_in(pixels: pd.DataFrame) -> None:
    found = tabular.feature_distributions(pixels, "label")
    assert set(found["feature"][:4]) == {"slope", "NDVI"}
    assert found.loc[found["feature"] == "slope", "auc"].iloc[0] > 0.75
    assert found.loc[found["feature"] == "NDVI", "auc"].iloc[0] < 0.25
    empty = tabular.feature_distributions(pixels[pixels["label"] == 0], "label", ["slope"])
    assert empty["auc"].isna().all()
    assert empty["q50"].isna().tolist() == [False, True]


# === Boosting ===


def test_boosting_finds_held_out_landslides_with_the_shares_of_the_patches(
    store: Store, model: tabular.Boosting
) -> None:
    held = tabular.pixel_table(store, HELD, per_patch=10_000)  # every known pixel
    found = tabular.probability(model, held)
    assert roc_auc_score(held["label"], found) > 0.97
    share = held["label"].mean()
    assert found.mean() == pytest.approx(share, rel=0.1)
    constant = log_loss(held["label"], np.full(len(held), share))
    assert log_loss(held["label"], found) < 0.5 * constant


def test_without_weights_probabilities_would_be_those_of_the_draw(pixels: pd.DataFrame) -> None:
    plain = tabular.fit_boosting(pixels, "label", weight=np.ones(len(pixels)), iterations=20)
    drawn, real = pixels["label"].mean(), np.average(pixels["label"], weights=pixels["weight"])
    assert drawn > 2 * real
    assert tabular.probability(plain, pixels).mean() == pytest.approx(drawn, rel=0.1)
    assert plain.prior_ == pytest.approx(logit(drawn))


def test_boosting_is_repeatable_and_leaves_out_unknown_rows(pixels: pd.DataFrame) -> None:
    first = tabular.probability(tabular.fit_boosting(pixels, "label", seed=3, iterations=20), pixels)
    noise = pixels.assign(label=255, slope=1000.0)
    mixed = pd.concat([pixels, noise], ignore_index=True)
    again = tabular.probability(tabular.fit_boosting(mixed, "label", seed=3, iterations=20), pixels)
    np.testing.assert_array_equal(first, again)


def test_boosting_takes_the_features_it_is_told(pixels: pd.DataFrame) -> None:
    blind = tabular.fit_boosting(pixels, "label", ["B01", "dem"], iterations=5)
    assert list(blind.feature_names_in_) == ["B01", "dem"]
    assert not set(tabular.features_of(pixels)) & {"id", "row", "col", "label", "weight"}
    with pytest.raises(ParameterError, match="no column 'slop': did you mean 'slope'"):
        tabular.fit_boosting(pixels, "label", ["slop"])
    with pytest.raises(ParameterError, match="no column 'labels': did you mean 'label'"):
        tabular.fit_boosting(pixels, "labels")


def test_boosting_of_patches_knows_which_have_a_landslide(store: Store) -> None:
    table = tabular.patch_table(store, ROWS)
    table["landslide"] = np.where(table["landslide_share"] > table["landslide_share"].median(), 1, 0)
    table.loc[example.UNKNOWN, "landslide"] = 255
    fitted = tabular.fit_boosting(table, "landslide")
    assert len(fitted.feature_names_in_) == 90
    known = table["landslide"] != 255
    assert roc_auc_score(table["landslide"][known], tabular.probability(fitted, table)[known]) > 0.9


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
    np.testing.assert_array_equal(tabular.probability(loaded, pixels), tabular.probability(model, pixels))
    np.testing.assert_array_equal(model.predict(pixels), tabular.probability(model, pixels) >= 0.5)


# === Importance ===


def test_importance_is_the_fall_of_a_named_score(store: Store, pixels: pd.DataFrame) -> None:
    names = ["B01", "NDVI", "dem", "slope"]
    small = tabular.fit_boosting(pixels, "label", names, iterations=20)
    held = tabular.pixel_table(store, HELD, per_patch=32)
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


def test_importance_is_repeatable_and_leaves_out_unknown_rows(store: Store, model: tabular.Boosting) -> None:
    held = tabular.pixel_table(store, HELD, per_patch=8)
    first = tabular.permutation_importance(model, held, "label", repeats=2, seed=5)
    mixed = pd.concat([held, held.assign(label=255)], ignore_index=True)
    pd.testing.assert_frame_equal(
        first, tabular.permutation_importance(model, mixed, "label", repeats=2, seed=5)
    )


# === Stacking ===


def two_models(shape: tuple[int, ...], seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return probabilities whose best combination is 0.7 and 0.4 times their logits, and a truth."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(-1, 2, (2, *shape))
    truth = (rng.random(shape) < expit(-0.5 + 0.7 * logits[0] + 0.4 * logits[1])).astype(np.uint8)
    return dict(zip(("network", "table"), expit(logits), strict=True)), truth


def test_stacking_is_the_logistic_regression_of_scikit_learn() -> None:
    probabilities, truth = two_models((300,))
    truth[::10] = 255
    fitted = tabular.stack(probabilities, truth)
    known = truth != 255
    table = logit(np.clip(np.stack(list(probabilities.values()), axis=1), stacking.EDGE, 1 - stacking.EDGE))
    reference = LogisticRegression(C=1.0, tol=1e-10, max_iter=1000).fit(table[known], truth[known])
    assert list(fitted.weights) == ["network", "table"]
    assert list(fitted.weights.values()) == pytest.approx(reference.coef_[0].tolist(), rel=1e-4)
    assert fitted.intercept == pytest.approx(reference.intercept_[0], rel=1e-4)
    expected = reference.predict_proba(table)[:, 1]
    np.testing.assert_allclose(fitted.predict(probabilities), expected, atol=1e-5)


def test_stacking_recovers_the_combination_that_made_the_truth() -> None:
    probabilities, truth = two_models((40, 50, 20), seed=1)
    fitted = tabular.stack(probabilities | {"noise": np.random.default_rng(9).random(truth.shape)}, truth)
    assert fitted.weights["network"] == pytest.approx(0.7, abs=0.04)
    assert fitted.weights["table"] == pytest.approx(0.4, abs=0.04)
    assert fitted.weights["noise"] == pytest.approx(0, abs=0.04)
    assert fitted.intercept == pytest.approx(-0.5, abs=0.04)
    found = fitted.predict(probabilities | {"noise": np.full(truth.shape, 0.5), "more": truth})
    assert found.shape == truth.shape
    assert found.dtype == np.float32
    losses = [log_loss(truth.ravel(), p.ravel()) for p in (found, *probabilities.values())]
    assert losses[0] == min(losses)
    assert "logit(network)" in str(fitted)


def test_stacking_in_parts_from_files_is_the_same(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    probabilities, truth = two_models((30, 8, 8))
    half = {name: values.astype(np.float16) for name, values in probabilities.items()}
    whole = tabular.stack(half, truth)
    files = {}
    for name, values in half.items():
        np.save(tmp_path / f"{name}.npy", values)
        files[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    sizes = []
    design = stacking._design
    monkeypatch.setattr(stacking, "AT_ONCE", 200)
    monkeypatch.setattr(stacking, "_design", lambda arrays: sizes.append(arrays[0].size) or design(arrays))
    parted = tabular.stack(files, truth)
    assert max(sizes) <= 200
    assert parted.weights == pytest.approx(whole.weights, rel=1e-9)
    np.testing.assert_allclose(parted.predict(files), whole.predict(half), rtol=1e-6)


def test_stacking_of_separable_patches_stays_finite() -> None:
    truth = np.array([0, 0, 0, 1, 1])
    fitted = tabular.stack({"sure": np.array([0.0, 0.1, 0.2, 0.9, 1.0])}, truth)
    found = fitted.predict({"sure": np.array([0.0, 1.0])})
    assert np.isfinite(list(fitted.weights.values())).all()
    assert found[0] < 0.1 < 0.9 < found[1]


def test_stacking_says_what_does_not_fit() -> None:
    probabilities, truth = two_models((20,))
    with pytest.raises(DataError, match=r"'network' have shape \(20,\): expected \(10,\)"):
        tabular.stack(probabilities, truth[:10])
    with pytest.raises(DataError, match="0 landslide and 20 other samples"):
        tabular.stack(probabilities, np.zeros(20))
    with pytest.raises(DataError, match="0 landslide and 0 other samples"):
        tabular.stack(probabilities, np.full(20, 255))
    with pytest.raises(DataError, match="No model is given"):
        tabular.stack({}, truth)
    fitted = tabular.stack(probabilities, truth)
    with pytest.raises(DataError, match="needs 'table'"):
        fitted.predict({"network": truth})
