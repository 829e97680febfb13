"""Clusters of the samples of each class, and which of them still show their class.

Where labels come from an old map, the samples of a class are a mixture: most show the class, others what has
replaced it or what the map has generalised away. The samples of each class are clustered by their features;
a cluster is kept where it is frequent within its class and where, among the samples of all classes that lie
nearest to it, its own class prevails (:func:`class_clusters`). After the idea of Paris, Bruzzone and
Fernández-Prieto (2019, https://doi.org/10.1109/TGRS.2018.2890404).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.mixture import GaussianMixture
from threadpoolctl import threadpool_limits

from eolab.core.errors import ParameterError, check_known, warn

MOST_COMPARED = 2_000  # samples whose silhouette is computed, which takes a distance for each pair
LEAST = 5  # samples a cluster should have at least, in the mean, for its number to be tried


class Model(Protocol):
    """Clusters of samples."""

    def nearness(self, features: np.ndarray) -> np.ndarray:
        """Return how near samples (N, F) are to each cluster, (N, K): comparable between models of a kind."""

    def bic(self, features: np.ndarray) -> float:
        """Return the Bayesian information criterion of the samples that were clustered."""


class Centres(NamedTuple):
    """Clusters that are their centres (K, F); a sample belongs to the nearest one."""

    centres: np.ndarray

    def nearness(self, features: np.ndarray) -> np.ndarray:
        """Return the negative squared distances to the centres, (N, K)."""
        return -cdist(features, self.centres, "sqeuclidean")

    def bic(self, features: np.ndarray) -> float:
        """See :func:`bic_of_centres`."""
        return bic_of_centres(features, self.centres)


class Mixture(NamedTuple):
    """Clusters that are the components of a Gaussian mixture; a sample belongs to the likeliest one."""

    mixture: GaussianMixture

    def nearness(self, features: np.ndarray) -> np.ndarray:
        """Return the log density of each component times its weight, (N, K)."""
        return self.mixture._estimate_weighted_log_prob(features)

    def bic(self, features: np.ndarray) -> float:
        """Return the criterion of the mixture."""
        return float(self.mixture.bic(features))


def fit(
    features: np.ndarray,
    method: str = "kmeans",
    counts: Sequence[int] = tuple(range(1, 9)),
    criterion: str = "bic",
    seed: int = 0,
) -> Model:
    """Cluster samples into the number of clusters that a criterion finds best.

    Args:
        features: Features (N, F), finite, of one scale.
        method: ``kmeans``, ``gaussian_mixture`` (each component with variances of its own) or ``som``, see
            :func:`self_organising_map`.
        counts: Numbers of clusters to try; those with fewer than 5 samples a cluster are left out, but the
            smallest.
        criterion: ``bic``: the lowest Bayesian information criterion (Schwarz 1978), for centres see
            :func:`bic_of_centres`; ``silhouette``: the highest mean silhouette (Rousseeuw 1987), which
            compares two clusters or more.
        seed: Seed of the starts.

    Raises:
        ParameterError: Unknown method or criterion, or no number of clusters to try.
    """
    check_known(method, METHODS, f"There is no clustering {method!r}")
    check_known(criterion, CRITERIA, f"There is no criterion {criterion!r}")
    if not len(counts) or min(counts) < 1:
        raise ParameterError(f"The numbers of clusters to try are {list(counts)}: give whole numbers from 1.")
    possible = [k for k in sorted(set(counts)) if k * LEAST <= len(features)] or [min(counts)]
    with threadpool_limits(1):  # several cores wait longer for each other than so few samples take
        models = [METHODS[method](features, min(k, len(features)), seed) for k in possible]
        costs = [CRITERIA[criterion](features, model, seed) for model in models]
    return models[int(np.argmin(costs))]


def _kmeans(features: np.ndarray, count: int, seed: int) -> Centres:
    return Centres(KMeans(count, n_init=4, random_state=seed).fit(features).cluster_centers_)


def _mixture(features: np.ndarray, count: int, seed: int) -> Mixture:
    mixture = GaussianMixture(count, covariance_type="diag", reg_covar=1e-3, random_state=seed)
    return Mixture(mixture.fit(features))


def _map(features: np.ndarray, count: int, seed: int) -> Centres:
    height = max(k for k in range(1, int(count**0.5) + 1) if count % k == 0)
    return Centres(self_organising_map(features, height, count // height, seed=seed))


METHODS: dict[str, Callable[[np.ndarray, int, int], Model]] = {
    "kmeans": _kmeans,
    "gaussian_mixture": _mixture,
    "som": _map,
}


def self_organising_map(
    features: np.ndarray, height: int, width: int, epochs: int = 20, seed: int = 0
) -> np.ndarray:
    """Fit a self-organising map in its batch form (Kohonen 2013, https://doi.org/10.1016/j.neunet.2012.09.018).

    In each epoch every sample is given to its nearest unit; a unit then moves to the mean of all samples,
    weighted by ``exp(-d² / 2σ²)`` with the distance d on the grid between it and the sample's unit. σ falls
    geometrically from half of the grid's longer side to 0.3 units, so that units end near the means of their
    own samples and neighbours on the grid stay alike.

    Args:
        features: Features (N, F).
        height: Rows of the grid of units.
        width: Columns of the grid.
        epochs: Passes over the samples.
        seed: Seed of the samples that units start at.

    Returns:
        Units (height · width, F), row by row.
    """
    rng, count = np.random.default_rng(seed), height * width
    place = np.stack(np.unravel_index(np.arange(count), (height, width)), axis=1)
    apart = cdist(place, place, "sqeuclidean")  # (K, K) on the grid
    units = features[rng.choice(len(features), count, replace=len(features) < count)].astype(float)
    for sigma in np.geomspace(max(max(height, width) / 2, 0.3), 0.3, epochs):
        nearest = cdist(features, units, "sqeuclidean").argmin(axis=1)
        own = np.bincount(nearest, minlength=count).astype(float)  # (K,)
        sums = np.zeros_like(units)
        np.add.at(sums, nearest, features)
        weight = np.exp(-apart / (2 * sigma**2))
        total = weight @ own
        units = np.where(total[:, None] > 0, (weight @ sums) / np.maximum(total, 1e-300)[:, None], units)
    return units


def bic_of_centres(features: np.ndarray, centres: np.ndarray) -> float:
    """Return the Bayesian information criterion of centres as a mixture of Gaussian spheres.

    Samples belong to their nearest centre; spheres have one variance, and weights by their samples (Pelleg
    and Moore 2000, "X-means"). Empty clusters count with their parameters.
    """
    (n, dims), k = features.shape, len(centres)
    squared = cdist(features, centres, "sqeuclidean")
    own = np.bincount(squared.argmin(axis=1), minlength=k)
    variance = max(squared.min(axis=1).sum() / (dims * max(n - k, 1)), 1e-12)
    filled = own[own > 0]
    fit_of = -0.5 * dims * (n * np.log(2 * np.pi * variance) + max(n - k, 1))
    likelihood = fit_of + (filled * np.log(filled / n)).sum()
    return float((k * dims + k) * np.log(n) - 2 * likelihood)  # k - 1 weights, k centres, 1 variance


def _bic(features: np.ndarray, model: Model, seed: int) -> float:
    return model.bic(features)


def _silhouette(features: np.ndarray, model: Model, seed: int) -> float:
    """Return the negative mean silhouette of some samples; infinite where all are in one cluster."""
    chosen = np.random.default_rng(seed).permutation(len(features))[:MOST_COMPARED]
    member = model.nearness(features[chosen]).argmax(axis=1)
    if not 1 < len(np.unique(member)) < len(chosen):
        return float("inf")
    return -float(silhouette_score(features[chosen], member))


CRITERIA = {"bic": _bic, "silhouette": _silhouette}


def class_clusters(
    features: np.ndarray,
    labels: np.ndarray,
    shares: Mapping[int, float] | None = None,
    **how: Any,
) -> tuple[np.ndarray, pd.DataFrame]:
    """Cluster the samples of each class, and measure how frequent and how pure each cluster is.

    Purity asks which label the samples have that lie in the cluster's part of feature space: every sample of
    every class is given to the nearest cluster of all classes, and each class weighs as much as its share
    says. A cluster of wrong labels lies among the samples of the class that it really shows, and these
    outweigh it.

    Args:
        features: Features (N, F), finite, of one scale for all classes.
        labels: Class indices (N,).
        shares: What the samples of each class weigh together; None for the same of each.
        **how: method, counts, criterion and seed of :func:`fit`.

    Returns:
        Number of the cluster of each sample, a row of the table; and the table: label, samples, frequency
        (share of the class's samples), purity (weighted share of the class among the samples that are
        nearest to it, 0 of none) and prevails (whether no other class has a larger share).
    """
    classes, at = np.unique(labels, return_inverse=True)
    models = [fit(features[at == k], **how) for k in range(len(classes))]
    nearness = [model.nearness(features) for model in models]  # (N, K) of each class
    sizes = [values.shape[1] for values in nearness]
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    own = np.empty(len(labels), int)
    for k, values in enumerate(nearness):
        own[at == k] = first[k] + values[at == k].argmax(axis=1)
    nearest = np.concatenate(nearness, axis=1).argmax(axis=1)
    wanted = np.array([1.0 if shares is None else shares[label] for label in classes.tolist()])
    weight = (wanted / np.bincount(at))[at]
    found = np.zeros((sum(sizes), len(classes)))
    np.add.at(found, (nearest, at), weight)
    of_class = np.repeat(np.arange(len(classes)), sizes)
    mine = found[np.arange(len(found)), of_class]
    samples = np.bincount(own, minlength=len(found))
    table = pd.DataFrame(
        {
            "label": classes[of_class],
            "samples": samples,
            "frequency": samples / np.bincount(at)[of_class],
            "purity": mine / np.maximum(found.sum(axis=1), 1e-12),
            "prevails": (mine > 0) & (mine >= found.max(axis=1)),
        }
    )
    return own, table.rename_axis("cluster").reset_index()


def refused_clusters(table: pd.DataFrame, min_frequency: float, min_purity: float) -> pd.Series:
    """Return why each cluster is refused: "rare cluster", "impure cluster", or "" where it is kept.

    A cluster is impure where another class prevails in it or its purity is below the least. A class of which
    no cluster is left keeps its purest one, with a warning.

    Args:
        table: Result of :func:`class_clusters`.
        min_frequency: Least share of its class's samples.
        min_purity: Least purity.
    """
    impure = ~table["prevails"] | (table["purity"] < min_purity)
    rare = table["frequency"] < min_frequency
    reasons = np.select([rare, impure], ["rare cluster", "impure cluster"], "")
    label, purity = table["label"].to_numpy(), table["purity"].where(table["samples"] > 0, -1).to_numpy()
    for one in np.unique(label):
        if (reasons[label == one] != "").all():
            reasons[np.where(label == one, purity, -2).argmax()] = ""
            warn(f"No cluster of class {one} is frequent and pure: its purest one is kept.")
    return pd.Series(reasons, table.index)


def refusals(
    features: np.ndarray,
    labels: np.ndarray,
    strata: np.ndarray,
    shares: Mapping[int, float] | None = None,
    min_frequency: float = 0.05,
    min_purity: float = 0.5,
    **how: Any,
) -> tuple[np.ndarray, np.ndarray, pd.DataFrame]:
    """Cluster the samples of each class in each stratum, and say which are refused by their clusters.

    Args:
        features: See :func:`class_clusters`.
        labels: Class indices (N,).
        strata: What is clustered for itself (N,), such as the year of each sample.
        shares: What the samples of each class weigh together; None for the same of each.
        min_frequency: Least share of its class's samples in a cluster.
        min_purity: Least purity of a cluster.
        **how: method, counts, criterion and seed of :func:`fit`.

    Returns:
        Number of the cluster of each sample, a row of the table; reasons (N,), see :func:`refused_clusters`;
        and the table of :func:`class_clusters` with stratum and reason.
    """
    own, reasons = np.empty(len(labels), int), np.full(len(labels), "", object)
    tables: list[pd.DataFrame] = []
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        member, table = class_clusters(features[rows], labels[rows], shares, **how)
        table["reason"] = refused_clusters(table, min_frequency, min_purity)
        reasons[rows] = table["reason"].to_numpy(object)[member]
        own[rows] = member + sum(len(one) for one in tables)
        tables.append(table.assign(stratum=stratum))
    joined = pd.concat(tables, ignore_index=True)
    return own, reasons, joined.assign(cluster=joined.index)


def summary(table: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Return a row a class: its clusters and samples by what became of them, and their mean purity.

    Args:
        table: Table of :func:`refusals`.
        names: Names of the classes.
    """
    what = table.assign(reason=table["reason"].replace("", "kept"), pure=table["purity"] * table["samples"])
    by = what.groupby(["label", "reason"])[["samples", "pure"]].sum()
    by["clusters"] = what.groupby(["label", "reason"]).size()
    by["mean purity"] = by["pure"] / by["samples"].clip(lower=1)
    shown = by.reset_index().assign(label=lambda rows: [names[label] for label in rows["label"]])
    return shown.rename(columns={"label": "class", "reason": "became"}).drop(columns="pure")
