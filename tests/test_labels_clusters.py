"""Clusters of the samples of each class, and the rule that keeps the frequent and pure ones."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import GaussianMixture

from eolab.core.errors import EolabWarning, ParameterError
from eolab.data.labels import clusters


def blobs(*centres: tuple[float, float], size: int = 60, spread: float = 0.3, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.normal(centre, spread, (size, 2)) for centre in centres])


THREE = blobs((0, 0), (6, 0), (0, 6))


@pytest.mark.parametrize("method", list(clusters.METHODS))
@pytest.mark.parametrize("criterion", list(clusters.CRITERIA))
def test_the_number_of_well_separated_clusters_is_found(method, criterion):
    model = clusters.fit(THREE, method, range(1, 6), criterion)
    member = model.nearness(THREE).argmax(axis=1).reshape(3, 60)
    assert model.nearness(THREE).shape == (180, 3)
    assert [len(set(own)) for own in member.tolist()] == [1, 1, 1]
    assert len(set(member[:, 0])) == 3


def test_one_cloud_is_one_cluster_by_bic():
    for method in clusters.METHODS:
        assert clusters.fit(blobs((1, 1), size=200), method, range(1, 6)).nearness(THREE).shape[1] == 1


def test_numbers_of_clusters_that_samples_cannot_fill_are_left_out():
    assert clusters.fit(THREE[:11], "kmeans", range(1, 9)).nearness(THREE).shape[1] <= 2
    assert clusters.fit(THREE[:3], "gaussian_mixture", [2, 4]).nearness(THREE).shape[1] == 2
    assert clusters.fit(THREE[:1], "kmeans", [2]).nearness(THREE).shape[1] == 1


def test_bic_of_centres_is_that_of_a_mixture_of_hard_spheres():
    """Reference: log likelihood summed sample by sample from the density of its own sphere."""
    centres = np.array([[0.2, 0.1], [5.8, 0.0], [0.1, 6.1]])
    nearest = np.array([min(range(3), key=lambda k: ((row - centres[k]) ** 2).sum()) for row in THREE])
    errors = sum(((row - centres[k]) ** 2).sum() for row, k in zip(THREE, nearest, strict=True))
    variance = errors / (2 * (180 - 3))
    likelihood = 0.0
    for row, k in zip(THREE, nearest, strict=True):
        weight = (nearest == k).mean()
        distance = ((row - centres[k]) ** 2).sum()
        likelihood += np.log(weight / (2 * np.pi * variance)) - distance / (2 * variance)
    parameters = 2 + 3 * 2 + 1
    expected = parameters * np.log(180) - 2 * likelihood
    assert clusters.bic_of_centres(THREE, centres) == pytest.approx(expected)


def test_nearness_of_a_mixture_is_the_log_of_weight_times_density():
    model = clusters.fit(THREE, "gaussian_mixture", [3])
    mixture: GaussianMixture = model.mixture
    expected = np.empty((180, 3))
    for k in range(3):
        variance = mixture.covariances_[k]
        density = np.exp(-((THREE - mixture.means_[k]) ** 2 / (2 * variance)).sum(axis=1))
        expected[:, k] = mixture.weights_[k] * density / np.sqrt((2 * np.pi * variance).prod())
    np.testing.assert_allclose(model.nearness(THREE), np.log(expected), rtol=1e-6)


def slow_map(features, height, width, epochs, seed):
    """The batch map, sample by sample and unit by unit."""
    rng, count = np.random.default_rng(seed), height * width
    units = features[rng.choice(len(features), count, replace=False)].copy()
    for epoch in range(epochs):
        start = max(height, width) / 2
        sigma = start * (0.3 / start) ** (epoch / (epochs - 1))
        winner = [min(range(count), key=lambda u: ((row - units[u]) ** 2).sum()) for row in features]
        moved = units.copy()
        for unit in range(count):
            above, below = np.zeros(features.shape[1]), 0.0
            for row, own in zip(features, winner, strict=True):
                dy, dx = unit // width - own // width, unit % width - own % width
                h = np.exp(-(dy**2 + dx**2) / (2 * sigma**2))
                above, below = above + h * row, below + h
            moved[unit] = above / below
        units = moved
    return units


def test_the_self_organising_map_is_its_definition_sample_by_sample():
    features = blobs((0, 0), (3, 1), size=20, spread=1.0)
    found = clusters.self_organising_map(features, 2, 3, epochs=7, seed=3)
    np.testing.assert_allclose(found, slow_map(features, 2, 3, 7, 3), rtol=1e-9)


def test_units_of_a_map_keep_the_order_of_a_line():
    line = np.random.default_rng(1).uniform(0, 1, (500, 1)) * [1.0, 2.0]
    units = clusters.self_organising_map(line, 1, 6)
    steps = np.diff(units[:, 0])
    assert (steps > 0).all() or (steps < 0).all()


# === Frequent and pure ===


def contaminated() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two classes; a fifth of the samples labelled 0 really show class 1."""
    features = np.concatenate(
        [blobs((0, 0), size=80), blobs((6, 0), size=20, seed=1), blobs((6, 0), size=100, seed=2)]
    )
    labels = np.repeat([0, 1], 100)
    return features, labels, np.repeat([0, 1], [80, 120])


@pytest.mark.parametrize("method", list(clusters.METHODS))
def test_a_cluster_of_wrong_labels_is_refused_and_the_right_ones_are_kept(method):
    features, labels, truth = contaminated()
    own, table = clusters.class_clusters(features, labels, method=method, counts=range(1, 5))
    kept = (clusters.refused_clusters(table, 0.05, 0.5) == "").to_numpy()[own]
    np.testing.assert_array_equal(kept, labels == truth)


def test_purity_weighs_classes_by_their_shares_and_counts_each_sample_once():
    features, labels, _ = contaminated()
    own, table = clusters.class_clusters(features, labels, {0: 9.0, 1: 1.0}, method="kmeans", counts=[2])
    models = [clusters.fit(features[labels == k], "kmeans", [2]) for k in (0, 1)]
    nearness = np.concatenate([model.nearness(features) for model in models], axis=1)
    nearest = nearness.argmax(axis=1)
    for cluster, row in table.iterrows():
        near = labels[nearest == cluster]
        mine = (near == row["label"]).sum() * (9.0 if row["label"] == 0 else 1.0)
        other = (near != row["label"]).sum() * (1.0 if row["label"] == 0 else 9.0)
        assert row["purity"] == pytest.approx(mine / (mine + other))
        assert row["samples"] == (own == cluster).sum()
        assert row["frequency"] == pytest.approx(row["samples"] / 100)
    assert table["samples"].sum() == 200
    np.testing.assert_array_equal(table["label"].to_numpy()[own], labels)


def facts(**columns) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    base = {"label": [0] * size, "samples": [10] * size, "frequency": [0.5] * size}
    return pd.DataFrame({**base, "purity": [0.9] * size, "prevails": [True] * size, **columns})


def test_reasons_of_refused_clusters_worked_example():
    table = facts(
        frequency=[0.5, 0.02, 0.2, 0.2], purity=[0.8, 0.9, 0.3, 0.6], prevails=[True, True, True, False]
    )
    reasons = clusters.refused_clusters(table, 0.05, 0.4)
    assert reasons.tolist() == ["", "rare cluster", "impure cluster", "impure cluster"]


def test_a_class_without_a_pure_cluster_keeps_its_purest_one_with_a_warning():
    table = facts(
        label=[0, 3, 3, 3],
        purity=[0.9, 0.2, 0.3, 0.99],
        prevails=[True, False, False, False],
        samples=[9, 9, 9, 0],
    )
    with pytest.warns(EolabWarning, match="No cluster of class 3"):
        reasons = clusters.refused_clusters(table, 0.05, 0.5)
    assert reasons.tolist() == ["", "impure cluster", "", "impure cluster"]


@pytest.mark.parametrize(
    ("how", "said"),
    [({"method": "kmean"}, "'kmeans'"), ({"criterion": "aic"}, "bic"), ({"counts": []}, "whole numbers")],
)
def test_a_clustering_that_does_not_exist_is_refused(how, said):
    with pytest.raises(ParameterError, match=said):
        clusters.fit(THREE, **how)
