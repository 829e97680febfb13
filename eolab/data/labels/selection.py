"""Samples that are refused step by step, and features that they are compared by."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from eolab.core.errors import DataError
from eolab.data.preprocess.gaps import fill
from eolab.data.store import Store, with_day


class Selection:
    """Samples that are refused step by step, each with its reason.

    Args:
        count: Number of samples N.

    Attributes:
        reason: Why each sample is refused (N,), "" while it is kept.
        steps: By name of each step, in order: which samples were kept after it (N,).
    """

    def __init__(self, count: int) -> None:
        self.reason = np.full(count, "", object)
        self.steps = {"all labels": self.kept}

    @property
    def kept(self) -> np.ndarray:
        """Which samples are kept so far, bool (N,)."""
        return np.asarray(self.reason == "")

    def refuse(self, step: str, reasons: Any) -> None:
        """Take a step.

        Args:
            step: Name of the step.
            reasons: Why each sample that was kept so far is refused now, "" where it is still kept.

        Raises:
            DataError: If no sample is left.
        """
        reasons = np.asarray(reasons, object)
        if not (reasons == "").any():
            raise DataError(
                f"The step {step!r} refuses all {len(reasons):,} samples that were left: make it milder."
            )
        self.reason[self.kept] = reasons
        self.steps[step] = self.kept

    def counts(self, classes: Any, names: Sequence[str]) -> pd.DataFrame:
        """Return how many samples of each class are kept, and refused for each reason.

        Args:
            classes: Class index of each sample (N,).
            names: Names of the classes.
        """
        label = pd.Series(np.asarray(classes)).map(dict(enumerate(names)))
        reason = pd.Series(self.reason).replace("", "kept")
        found = pd.crosstab(label, reason)
        order = ["kept", *dict.fromkeys(one for one in self.reason.tolist() if one)]
        order = sorted(found, key=lambda name: (name != "kept", order.index(name)))
        shown = found.reindex([name for name in names if name in found.index])[order]
        shown.insert(0, "samples", shown.sum(axis=1))
        return shown.rename_axis("class").rename_axis(columns=None).reset_index()


def series_features(store: Store, rows: Any, share: float = 0.98, most: int = 20) -> np.ndarray:
    """Return few features of pixel series in which distances mean something.

    Missing observations are filled linearly in time, and with the mean of the samples where a series has
    none; every band of every date is brought to mean 0 and deviation 1; the leading principal components are
    kept, which drops the noise of single dates and makes densities of few samples possible.

    Args:
        store: Samples with ``image`` (T, C), ``valid`` (T,) and dates, of all or of each.
        rows: Rows of the store.
        share: Share of the variance that is kept.
        most: Most components.

    Returns:
        float64 (N, F).

    Raises:
        DataError: If the store has no dates.
    """
    if store.day is None:
        raise DataError(f"The samples of {store.path} have no dates: gaps in them cannot be filled in time.")
    data = with_day(store, store.gather(rows, ["image", "valid", *store.own_day]))
    filled = np.empty(data["image"].shape, np.float32)
    for days in np.unique(data["day"], axis=0):  # samples of other years have other dates
        own = (data["day"] == days).all(axis=1)
        image = np.moveaxis(data["image"][own], 0, -1)[..., None]  # (T, C, n, 1)
        valid = data["valid"][own].T[..., None].astype(bool)
        filled[own] = np.moveaxis(fill(image, valid, days, "linear")[0][..., 0], -1, 0)
    table = filled.reshape(len(filled), -1).astype(float)  # (N, T · C)
    table = table[:, np.isfinite(table).any(axis=0)]
    table = np.where(np.isfinite(table), table, np.nanmean(table, axis=0))
    scaled = StandardScaler().fit_transform(table)
    components = PCA(min(most, *scaled.shape), random_state=0, svd_solver="full").fit(scaled)
    enough = int(np.searchsorted(np.cumsum(components.explained_variance_ratio_), share)) + 1
    return components.transform(scaled)[:, :enough]
