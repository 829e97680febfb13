"""Baselines of images with several labels against plain NumPy and scikit-learn."""

from __future__ import annotations

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from eolab.core.errors import DataError, ParameterError
from eolab.data.store import ArraySpec, write_store
from eolab.data.tables import image_statistics
from eolab.tasks import baselines
from eolab.tasks.baselines import readers

TASK = "multilabel_classification"
SAMPLES, SIDE, K = 160, 16, 4
BANDS = ["B02", "B03", "B04", "B08"]
TRAIN, TEST = np.arange(110), np.arange(110, SAMPLES)


def image(number):
    """Label 0: bright in the first band; 1: stripes that leave the mean as it is; 2: by chance; 3: never."""
    rng = np.random.default_rng(number)
    has = rng.random(K) < (0.5, 0.4, 0.2, 0.0)
    values = rng.normal(1000, 100, (SIDE, SIDE, len(BANDS)))
    values[..., 0] += 200 * has[0]
    if has[1]:
        stripes = 80 * (-1) ** np.arange(SIDE)
        values[..., 1:3] += stripes[:, None, None] if number % 2 else stripes[None, :, None]
    return values.clip(0).astype(np.uint16), has.astype(np.uint8)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    def produce(rows):
        images, labels = zip(*(image(n) for n in rows["number"]), strict=True)
        return {"image": np.stack(images), "label": np.stack(labels)}

    number = np.arange(SAMPLES)
    return write_store(
        tmp_path_factory.mktemp("images") / "store",
        pd.DataFrame({"id": number, "number": number, "part": number // 64}),
        {
            "image": ArraySpec(("y", "x", "band"), (SIDE, SIDE, len(BANDS)), "uint16"),
            "label": ArraySpec(("class",), (K,), "uint8"),
        },
        "part",
        produce,
        {"images": SAMPLES},
        {"coords": {"band": BANDS}, "simulated": True},
        progress=False,
    )


def labels_of(store, rows):
    return store.gather(rows, ["label"])["label"]


def images_of(store, rows):
    return store.gather(rows, ["image"])["image"]


def fitted(store, name, rows=TRAIN, **options):
    small = {"filters": 32, "stride": 1} if name == "random_convolutions" else {}
    return baselines.build(TASK, name, classes=K, **small | options).fit(store, rows)


def precision(store, found, k, rows=TEST):
    return sk.average_precision_score(labels_of(store, rows)[:, k], found[:, k])


# === What they give ===


def test_the_prior_is_the_share_of_each_label(store):
    found = fitted(store, "majority").predict(store, TEST[:5])
    np.testing.assert_allclose(found, np.tile(labels_of(store, TRAIN).mean(axis=0), (5, 1)), rtol=1e-6)
    assert found.dtype == np.float32


def test_image_statistics_are_those_of_numpy_with_a_regression_a_label(store):
    images = images_of(store, np.arange(SAMPLES)).reshape(SAMPLES, -1, len(BANDS)).astype(float)
    ordered, pixels = np.sort(images, axis=1), images.shape[1]
    ranks = [ordered[:, int(q / 100 * (pixels - 1))] for q in (5, 25, 50, 75, 95)]
    table = np.stack([images.mean(1), images.std(1), *ranks], axis=-1).reshape(SAMPLES, -1)
    np.testing.assert_allclose(
        image_statistics(images_of(store, np.arange(SAMPLES)), method="lower").reshape(SAMPLES, -1),
        table,
        rtol=1e-4,
    )
    scaler = StandardScaler().fit(table[TRAIN])
    found = fitted(store, "image_statistics", C=0.5).predict(store, TEST)
    for k in range(K - 1):
        model = LogisticRegression(C=0.5, max_iter=1000)
        model.fit(scaler.transform(table[TRAIN]), labels_of(store, TRAIN)[:, k])
        expected = model.predict_proba(scaler.transform(table[TEST]))[:, 1]
        np.testing.assert_allclose(found[:, k], expected, atol=0.01)
    assert precision(store, found, 0) > 0.99


@pytest.mark.parametrize("head", ["logistic", "ridge"])
def test_random_convolutions_see_texture(store, head):
    found = fitted(store, "random_convolutions", head=head).predict(store, TEST)
    assert found.shape == (len(TEST), K)
    assert ((found >= 0) & (found <= 1)).all()
    assert precision(store, found, 0) > 0.9
    assert precision(store, found, 1) > 0.9


@pytest.mark.parametrize("name", ["image_statistics", "random_convolutions"])
def test_a_label_that_no_training_image_has_is_never_likely(store, name):
    assert not fitted(store, name).predict(store, TEST)[:, 3].any()


def test_ridge_regression_from_sums_is_that_of_scikit_learn(store):
    baseline = fitted(store, "random_convolutions", head="ridge", penalty=0.1)
    features, truth = (
        baseline.reader.table({"image": images_of(store, TRAIN)}),
        labels_of(store, TRAIN).astype(float),
    )
    scaler = StandardScaler().fit(features)
    model = Ridge(0.1 * len(TRAIN)).fit(scaler.transform(features), truth)
    expected = model.predict(scaler.transform(baseline.reader.table({"image": images_of(store, TEST)})))
    found = baseline.predict(store, TEST)
    np.testing.assert_allclose(found[:, :3], 1 / (1 + np.exp(2 - 4 * expected[:, :3])), atol=1e-4)


# === Random convolutions ===


def test_features_are_those_of_the_formula(store):
    """Piece by piece, in float64, from the whitened pieces themselves."""
    made = readers.RandomConvolutions(filters=5, size=3, stride=2, bias=0.5)
    made.prepare(store, TRAIN, 1)
    found = made.table({"image": images_of(store, TEST[:2])})
    assert found.shape == (2, 10)
    for row, one in enumerate(images_of(store, TEST[:2]).astype(float)):
        high, low = [], []
        for y in range(0, SIDE - 2, 2):
            for x in range(0, SIDE - 2, 2):
                piece = one[y : y + 3, x : x + 3].transpose(2, 0, 1).ravel()
                response = made.weights.astype(float) @ piece + made.offset
                high.append(np.maximum(response - 0.5, 0))
                low.append(np.maximum(-response - 0.5, 0))
        np.testing.assert_allclose(found[row], [*np.mean(high, 0), *np.mean(low, 0)], rtol=1e-3, atol=1e-5)


def test_responses_are_of_unit_spread_around_zero_and_hardly_correlated(store):
    made = readers.RandomConvolutions(filters=64)
    made.prepare(store, TRAIN, 2)
    pieces = made.pieces(store, TRAIN, 5000, 3)
    flat = pieces.reshape(len(pieces), -1)
    response = flat @ made.weights.T.astype(float) + made.offset
    np.testing.assert_allclose(response.mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(response.std(axis=0), 1, atol=0.1)
    between = np.abs(np.corrcoef(response.T)[np.triu_indices(64, 1)])
    plain = np.abs(np.corrcoef((flat @ (flat[:64] - flat.mean(0)).T).T)[np.triu_indices(64, 1)])
    assert between.mean() < 0.8 * plain.mean()


def test_a_constant_band_breaks_nothing(store):
    images = images_of(store, TRAIN)
    images[..., 0] = 7

    class Constant:
        path, arrays_spec, metadata = store.path, store.arrays_spec, store.metadata

        def gather(self, rows, names):
            return {"image": images[rows], "label": labels_of(store, rows)}

        def release(self):
            pass

        def batches(self, rows, names, size):
            for start in range(0, len(rows), size):
                at = slice(start, min(start + size, len(rows)))
                yield at, self.gather(rows[at], names)

    for head in ("logistic", "ridge"):
        baseline = fitted(Constant(), "random_convolutions", head=head)
        found = baseline.predict(Constant(), TRAIN)
        assert np.isfinite(found).all()
        images[..., 0] = 60_000  # says no more than before
        np.testing.assert_array_equal(baseline.predict(Constant(), TRAIN), found)
        images[..., 0] = 7


# === What they promise ===


@pytest.mark.parametrize("name", ["image_statistics", "random_convolutions"])
def test_same_seed_same_answer_and_few_images_at_a_time(store, name, monkeypatch):
    rows = TEST[:20]
    found = fitted(store, name, seed=3).predict(store, rows)
    monkeypatch.setattr(readers.Images, "at_once", 7)
    np.testing.assert_allclose(fitted(store, name, seed=3).predict(store, rows), found, atol=1e-5)


def test_bands_are_chosen_by_name(store):
    alone = fitted(store, "image_statistics", channels=["B08", "B03"]).predict(store, TEST)
    assert precision(store, alone, 0) < 0.9  # without the band that tells
    assert precision(store, fitted(store, "image_statistics", channels=["B02"]).predict(store, TEST), 0) > 0.9
    with pytest.raises(DataError, match="no channel 'B09'"):
        fitted(store, "image_statistics", channels=["B09"])


def test_a_cap_on_the_samples_loses_no_label(store):
    rows = np.append(TRAIN, TEST)
    labels = labels_of(store, rows) == 1
    drawn = rows[fitted(store, "image_statistics", rows, max_samples=10)._usable(labels)]
    assert 10 <= len(drawn) <= 13
    assert (labels_of(store, drawn).any(axis=0) == labels.any(axis=0)).all()
    assert len(fitted(store, "majority")._usable(labels)) == len(rows)


@pytest.mark.parametrize("name", baselines.names(TASK))
def test_a_saved_baseline_answers_alike(store, name, tmp_path):
    baseline = fitted(store, name)
    again = baselines.load(baseline.save(tmp_path / "b.joblib"))
    np.testing.assert_array_equal(again.predict(store, TEST), baseline.predict(store, TEST))
    assert list(tmp_path.iterdir()) == [tmp_path / "b.joblib"]


def test_what_cannot_be_is_said(store, tmp_path):
    with pytest.raises(ParameterError, match=r"no baseline 'majorty'.*did you mean 'majority'"):
        baselines.build(TASK, "majorty", classes=K)
    with pytest.raises(ParameterError, match=r"no option 'filtres'.*'filters'"):
        baselines.build(TASK, "random_convolutions", classes=K, filtres=2)
    with pytest.raises(ParameterError, match=r"no head 'rigde'.*'ridge'"):
        baselines.build(TASK, "random_convolutions", classes=K, head="rigde")
    with pytest.raises(ParameterError, match="110 images, 32, 17 and 1"):
        fitted(store, "random_convolutions", size=17)
    with pytest.raises(DataError, match=r"Labels have shape \(4,\): expected \(5,\)"):
        baselines.build(TASK, "majority", classes=5).fit(store, TRAIN)
    none = np.flatnonzero(~labels_of(store, np.arange(SAMPLES)).any(axis=1))
    with pytest.raises(DataError, match=f"None of {len(none)} training samples has a label"):
        fitted(store, "majority", none)
    joblib.dump("text", tmp_path / "b.joblib")
    with pytest.raises(DataError, match="found a str"):
        baselines.load(tmp_path / "b.joblib")
