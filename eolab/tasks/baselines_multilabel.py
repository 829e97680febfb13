"""Baselines of images with several labels, built on scikit-learn: what a network must beat.

=================== =========================================================================================
prior               the share of each label in the training images, whatever the image
image_statistics    per band mean, standard deviation and five percentiles → logistic regression a label
random_convolutions responses to random pieces of training images (Rolf et al. 2021,
                    :mod:`eolab.tasks.random_convolutions`) → ridge or logistic regression a label
=================== =========================================================================================

They take rows of a store with arrays ``image`` (H, W, C) and ``label`` (K,), 1 where the image has the label,
and read a few images at a time: only the features of up to `max_samples` training images are in memory at
once, with ridge regression not even those.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from eolab.core import files
from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.core.progress import track
from eolab.data.store import Store
from eolab.tasks import baselines, random_convolutions

Features = Callable[[np.ndarray], np.ndarray]
PERCENTILES = (5, 25, 50, 75, 95)
_AT_ONCE = 32  # images read at once


class Head(Protocol):
    """A regression of labels on features."""

    def fit(self, parts: Iterator[tuple[np.ndarray, np.ndarray]], samples: int) -> Head:
        """Learn from parts (n, F) and (n, K), `samples` rows in all."""

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return a score from 0 to 1 of each label (n, K)."""


class Baseline:
    """A classifier of images with several labels.

    Attributes:
        name: One of :func:`names`.
        head: The regression; None for the prior.
        make_features: From a store and its training rows to the function of images (n, H, W, C).
        classes: Number of labels K.
        seed: Of everything random in it.
        max_samples: Most training images used; None for all.
        bands: Names of the bands it reads; None for all.
    """

    def __init__(
        self,
        name: str,
        head: Head | None,
        make_features: Callable[[Store, np.ndarray, np.ndarray | None], Features],
        *,
        classes: int,
        seed: int,
        max_samples: int | None,
        bands: Sequence[str] | None,
    ) -> None:
        self.name, self.head, self.make_features = name, head, make_features
        self.classes, self.seed, self.max_samples = classes, seed, max_samples
        self.bands = None if bands is None else tuple(bands)

    def fit(self, store: Store, rows: Any, *, progress: bool = False) -> Baseline:
        """Learn from some rows of a store.

        Args:
            store: Images and labels.
            rows: Training rows.
            progress: Whether to show progress.

        Raises:
            DataError: If the labels have another shape, or no training image has a label.
            ParameterError: If the store has no such band.
        """
        labels = store.gather(rows, ["label"])["label"]
        if labels.shape[1:] != (self.classes,):
            raise DataError(
                f"{store.path} has labels of shape {labels.shape[1:]}: expected ({self.classes},), a 0 or 1 "
                "for each class."
            )
        if not (labels == 1).any():
            raise DataError(f"None of {len(labels)} training images has a label: nothing can be learnt.")
        self.prior = (labels == 1).mean(axis=0).astype(np.float32)
        if self.head is None:
            return self
        chosen = _drawn(np.asarray(rows), labels == 1, self.max_samples, self.seed)
        self.index = _indices(store, self.bands)
        self.features = self.make_features(store, chosen, self.index)
        self.head.fit(self._parts(store, chosen, progress, f"Fitting {self.name}"), len(chosen))
        return self

    def predict_proba(self, store: Store, rows: Any, *, progress: bool = False) -> np.ndarray:
        """Return the probability of each label, float32 (N, K).

        Those of ridge regression rank the images, but are not calibrated.
        """
        rows = np.asarray(rows)
        if self.head is None:
            return np.tile(self.prior, (len(rows), 1))
        parts = self._parts(store, rows, progress, f"Predicting by {self.name}")
        return np.concatenate([self.head.predict(found) for found, _ in parts]).astype(np.float32)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the baseline to a ``.joblib`` file; an unfinished file never bears the name."""
        return files.write_joblib(self, path)

    def _parts(
        self, store: Store, rows: np.ndarray, progress: bool, title: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield features (n, F) and labels (n, K) of some rows, a few at a time."""
        steps = range(0, len(rows), _AT_ONCE)
        for start in track(steps, title, total=len(steps), unit="batch", progress=progress):
            data = store.gather(rows[start : start + _AT_ONCE], ["image", "label"])
            image = data["image"] if self.index is None else data["image"][..., self.index]
            yield self.features(image), data["label"] == 1
            store.release()


def build(
    name: str,
    *,
    classes: int,
    seed: int = 0,
    class_weight: str | None = None,
    bands: Sequence[str] | None = None,
    **options: Any,
) -> Baseline:
    """Return an untrained baseline.

    Args:
        name: One of :func:`names`.
        classes: Number of labels K.
        seed: Of everything random in it.
        class_weight: ``"balanced"`` or None; of logistic regression.
        bands: Names of the bands it reads; all by default.
        **options: ``C`` and ``max_samples`` of ``image_statistics``; ``filters``, ``size``, ``stride``,
            ``bias``, ``head`` ("ridge" or "logistic"), ``C``, ``penalty`` and ``max_samples`` of
            ``random_convolutions``.

    Raises:
        ParameterError: Unknown name or option.
    """
    make = baselines.maker(name, BASELINES, options)
    head, make_features, max_samples = make(seed=seed, class_weight=class_weight, **options)
    given: dict[str, Any] = {"classes": classes, "seed": seed, "max_samples": max_samples, "bands": bands}
    return Baseline(name, head, make_features, **given)


def names() -> list[str]:
    """Return the names of the baselines, the most trivial first."""
    return list(BASELINES)


def load(path: str | os.PathLike[str]) -> Baseline:
    """Read a baseline that :meth:`Baseline.save` wrote. The format runs code: open only files you trust.

    Raises:
        DataError: The file is missing, unreadable or holds something else.
    """
    return files.read_joblib(path, Baseline)


def image_statistics(images: np.ndarray) -> np.ndarray:
    """Return per band mean, standard deviation and percentiles of images (N, H, W, C), float32 (N, 7 C)."""
    flat = images.reshape(len(images), -1, images.shape[-1])  # (N, pixels, C)
    levels = np.percentile(flat, PERCENTILES, axis=1, method="lower")  # (5, N, C)
    values = [flat.mean(axis=1), flat.std(axis=1), *levels]
    return np.concatenate(values, axis=1).astype(np.float32)


def _indices(store: Store, bands: Sequence[str] | None) -> np.ndarray | None:
    """Return the places of bands in a stored image; None for all."""
    if bands is None:
        return None
    known = list(store.metadata.get("coords", {}).get("band", ()))
    for band in bands:
        if band not in known:
            raise ParameterError(f"{store.path} has no band {band!r}: {did_you_mean(band, known)}")
    return np.array([known.index(band) for band in bands])


def _drawn(rows: np.ndarray, labels: np.ndarray, most: int | None, seed: int) -> np.ndarray:
    """Return at most about `most` training rows, among them the first one of each label, ascending."""
    if most is None or len(rows) <= most:
        return rows
    first = labels.argmax(axis=0)[labels.any(axis=0)]
    drawn = np.random.default_rng(seed).choice(len(rows), most, replace=False)
    return rows[np.union1d(drawn, first)]


# === Heads ===


class Logistic:
    """One logistic regression a label on standardised features; the share of a label that all or none have.

    Args:
        C: Inverse strength of the penalty.
        class_weight: ``"balanced"`` or None.
        seed: Of the solver.
    """

    def __init__(self, C: float, class_weight: str | None, seed: int) -> None:
        self.options = {"C": C, "class_weight": class_weight, "random_state": seed, "max_iter": 1000}

    def fit(self, parts: Iterator[tuple[np.ndarray, np.ndarray]], samples: int) -> Logistic:
        """Learn from parts; their features are put together."""
        table, labels, start = np.empty((0, 0)), np.empty((0, 0), bool), 0
        for found, known in parts:
            if not start:
                table = np.empty((samples, found.shape[1]), np.float32)
                labels = np.empty((samples, known.shape[1]), bool)
            table[start : start + len(found)], labels[start : start + len(found)] = found, known
            start += len(found)
        self.scale = StandardScaler(copy=False).fit(table)
        table = self.scale.transform(table)
        self.models = [self._model(table, labels[:, k]) for k in range(labels.shape[1])]
        return self

    def _model(self, table: np.ndarray, has: np.ndarray) -> LogisticRegression | float:
        if has.all() or not has.any():
            return float(has.mean())
        return LogisticRegression(**self.options).fit(table, has)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of each label (n, K)."""
        table = self.scale.transform(features.astype(np.float32))
        return np.stack(
            [
                np.full(len(table), model) if isinstance(model, float) else model.predict_proba(table)[:, 1]
                for model in self.models
            ],
            axis=1,
        )


class Ridge:
    """Least squares of all labels at once from sums over the parts, so that no table is held.

    The estimate s of a label's 0 or 1 becomes ``1 / (1 + exp(2 − 4 s))``: like s at one half, rising
    everywhere, so that no order is lost. A label that all or none have gets its share.

    Args:
        penalty: Added to each standardised feature's variance of 1.
    """

    def __init__(self, penalty: float) -> None:
        self.penalty = penalty

    def fit(self, parts: Iterator[tuple[np.ndarray, np.ndarray]], samples: int) -> Ridge:
        """Learn from parts, one after the other."""
        sums: list[np.ndarray] = []
        for found, known in parts:
            x, y = found.astype(np.float64), known.astype(np.float64)
            new = [x.sum(axis=0), y.sum(axis=0), x.T @ x, x.T @ y]
            sums = [a + b for a, b in zip(sums, new, strict=True)] if sums else new
        mean, share, xx, xy = (values / samples for values in sums)
        scale = np.sqrt(np.maximum(np.diag(xx) - mean**2, 0))
        scale = np.where(scale > 1e-9 * (1 + np.abs(mean)), scale, np.inf)  # a constant says nothing
        correlation = (xx - np.outer(mean, mean)) / np.outer(scale, scale)
        correlation[np.diag_indices_from(correlation)] += self.penalty
        weights = np.linalg.solve(correlation, (xy - np.outer(mean, share)) / scale[:, None])
        self.weights = weights / scale[:, None]  # (F, K), on raw features
        self.offset, self.share = share - mean @ self.weights, share
        return self

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return a score of each label (n, K)."""
        score = expit(4 * (features.astype(np.float64) @ self.weights + self.offset) - 2)
        return np.where((self.share > 0) & (self.share < 1), score, self.share)


# === Baselines ===

Made = tuple[Head | None, Callable[[Store, np.ndarray, np.ndarray | None], Features], int | None]


def _no_features(store: Store, rows: np.ndarray, index: np.ndarray | None) -> Features:
    raise NotImplementedError("a prior has no features")


def _statistics_of(store: Store, rows: np.ndarray, index: np.ndarray | None) -> Features:
    return image_statistics


class _Responses:
    """Draws filters from the training images; a class, since a lambda cannot be saved."""

    def __init__(self, **options: Any) -> None:
        self.options = options

    def __call__(self, store: Store, rows: np.ndarray, index: np.ndarray | None) -> Features:
        return random_convolutions.draw(store, rows, bands=index, **self.options).features


def _prior(seed: int, class_weight: str | None) -> Made:
    return None, _no_features, None


def _image_statistics(
    seed: int, class_weight: str | None, C: float = 10.0, max_samples: int | None = 50_000
) -> Made:
    return Logistic(C, class_weight, seed), _statistics_of, max_samples


def _random_convolutions(
    seed: int,
    class_weight: str | None,
    filters: int = 256,
    size: int = 3,
    stride: int = 2,
    bias: float = 1.0,
    head: str = "ridge",
    C: float = 0.5,
    penalty: float = 0.1,
    max_samples: int | None = 50_000,
) -> Made:
    if head not in ("ridge", "logistic"):
        raise ParameterError(f"There is no head {head!r}: {did_you_mean(head, ('ridge', 'logistic'))}")
    made: Head = Logistic(C, class_weight, seed) if head == "logistic" else Ridge(penalty)
    return made, _Responses(filters=filters, size=size, stride=stride, bias=bias, seed=seed), max_samples


BASELINES: dict[str, Callable[..., Made]] = {
    "prior": _prior,
    "image_statistics": _image_statistics,
    "random_convolutions": _random_convolutions,
}
