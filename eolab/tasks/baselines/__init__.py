"""Baselines of every task, built on scikit-learn: what a network must beat.

=================== ===================================================================================
majority            the share of each class or label in the training samples, whatever the input
mean                the mean of the training values, whatever the input
image_statistics    mean, spread and minimum, maximum or percentiles of each band → logistic regression
random_forest       Breiman (2001) on all dates and bands of a series, or on the values of a pixel
svm                 Cortes and Vapnik (1995) on all dates and bands, standardised: linear, or with an RBF
                    kernel by Nyström's approximation
random_convolutions responses to random pieces of training images (Rolf et al. 2021,
                    :class:`~eolab.tasks.baselines.readers.RandomConvolutions`) → ridge or logistic regression
pixel_boosting      gradient-boosted trees on the values of the pixel alone
linear              linear regression of the values of a pixel
nearest             the label of the training image most like it by ``image_statistics``, or the value of the
                    training pixel most like it (Cover and Hart 1967): what memory alone answers
=================== ===================================================================================

:data:`BASELINES` holds those of each task, the most trivial first.
A study adds its own as a mapping `more` of makers by name: functions of ``seed`` and options that return
:class:`Parts`. :func:`threshold_rule` returns such a maker. A baseline with
:class:`~eolab.tasks.baselines.readers.Columns` reads a table with a row a sample instead of a store.

Example:
    >>> baseline = build("series_classification", "random_forest", classes=12).fit(store, rows["train"])
    >>> baseline.predict(store, rows["test"]).shape
    (6000, 12)
    >>> baseline = build("segmentation", "pixel_boosting").fit(store, rows["train"])
    >>> baseline.predict(store, rows["test"]).shape
    (570, 128, 128)
"""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from eolab.core import files
from eolab.core.errors import check_all, check_known
from eolab.tasks.baselines import readers, shared
from eolab.tasks.baselines.base import Baseline, ClassWeight, Reader
from eolab.tasks.baselines.estimators import (
    KERNELS,
    Boosting,
    LabelRidge,
    PerLabel,
    SupportVectorMachine,
    ThresholdRule,
)
from eolab.tasks.task import check_class_weights


class Parts(NamedTuple):
    """What a baseline is made of: reader, estimator, and most training samples (None for all)."""

    reader: Reader
    estimator: BaseEstimator
    max_samples: int | None = None


Maker = Callable[..., Parts]
OWN = {"seed", "class_weight", "labels", "values", "conditions"}  # arguments of makers that are no options


def names(task: str, more: Mapping[str, Maker] | None = None) -> list[str]:
    """Return the names of a task's baselines, the most trivial first, then those that a study adds.

    Args:
        task: Name of the task.
        more: Makers of a study by name.

    Raises:
        ParameterError: Unknown task.
    """
    check_known(task, BASELINES, f"There are no baselines for a task {task!r}")
    return list(BASELINES[task] | dict(more or {}))


def chosen(task: str, wanted: Sequence[str], more: Mapping[str, Maker] | None = None) -> list[str]:
    """Return names as given, or those of all baselines for the one word "all".

    Raises:
        ParameterError: If a name is unknown.
    """
    known = names(task, more)
    if list(wanted) == ["all"]:
        return known
    check_all(wanted, known, "There is no baseline")
    return list(wanted)


def build(
    task: str,
    name: str,
    *,
    classes: int | None = None,
    seed: int = 0,
    class_weight: ClassWeight = None,
    channels: Sequence[str] | None = None,
    more: Mapping[str, Maker] | None = None,
    **options: Any,
) -> Baseline:
    """Return an untrained baseline.

    Args:
        task: Name of the task.
        name: One of :func:`names`.
        classes: Number of classes K; None is 2 for masks, else taken from the labels of the training samples.
        seed: Seed of everything random in it.
        class_weight: ``"balanced"``, a weight by class index, or None.
        channels: Names of the channels of an image that are read; None for all. A baseline that reads
            none, or some of its own, has no use for them.
        more: Makers of a study by name; they come before those of the task.
        **options: Options of the baseline: ``trees`` and ``min_leaf`` of ``random_forest``;
            ``kernel`` ("rbf" or "linear"), ``components``, ``C``, ``gamma`` and ``max_samples`` of ``svm``;
            ``C`` and ``max_samples`` of ``image_statistics``; ``filters``, ``size``, ``stride``, ``bias``,
            ``head`` ("ridge" or "logistic"), ``C``, ``penalty`` and ``max_samples`` of
            ``random_convolutions``; ``max_samples`` (images) or ``max_pixels`` of
            ``nearest``; ``iterations`` of ``pixel_boosting``; ``steps`` of a rule; ``per_patch`` of those
            that read pixels.

    Raises:
        ParameterError: Unknown task, name, option or class weights.
    """
    [name] = chosen(task, [name], more)
    make = (BASELINES[task] | dict(more or {}))[name]
    check_all(options, set(inspect.signature(make).parameters) - OWN, f"Baseline {name!r} has no option")
    check_class_weights(class_weight)
    if task == "multilabel_classification" and name != "majority":  # weights of each label of its own
        options["class_weight"], class_weight = class_weight, None
    classes = classes or (2 if task == "segmentation" else None)
    parts = make(seed=seed, **options)
    if channels is not None and parts.reader.channels is None:
        parts.reader.channels = channels
    return Baseline(name, parts.reader, parts.estimator, classes, class_weight, seed, parts.max_samples)


def fit_baselines(
    task: str,
    wanted: Sequence[str],
    store: Any,
    rows: Mapping[str, np.ndarray],
    *,
    folder: str | os.PathLike[str] | None = None,
    parts: Sequence[str] = ("validation", "test"),
    options: Mapping[str, Mapping[str, Any]] | None = None,
    progress: bool = True,
    **settings: Any,
) -> dict[str, dict[str, np.ndarray]]:
    """Fit baselines by name, save them, and predict some parts of the samples with each.

    Where a folder is given, a baseline that was fitted on the same samples before is not fitted again, see
    :mod:`eolab.tasks.baselines.shared`.

    Args:
        task: Name of the task.
        wanted: Names of baselines, ``["all"]`` for all, ``[]`` for none.
        store: The samples.
        rows: Rows for "train" and for each part.
        folder: Where ``<name>/model.joblib`` goes, and for predictions of pixels ``<name>/<part>_mask.npy``;
            None writes nothing.
        parts: Parts that are predicted.
        options: Options of :func:`build` by name of the baseline.
        progress: Whether to show progress.
        **settings: ``classes``, ``seed``, ``class_weight``, ``channels`` and ``more`` of :func:`build`.

    Returns:
        Predictions by name and part, see :meth:`Baseline.predict`.

    Raises:
        ParameterError: Unknown task, name or option.
    """
    found = {}
    for name in chosen(task, wanted, settings.get("more")):
        baseline = build(task, name, **{**settings, **dict((options or {}).get(name, {}))})
        into = None if folder is None else Path(folder) / name
        if into is None:
            found[name] = _fitted(baseline, store, rows, None, parts, progress)
            continue
        into.mkdir(parents=True, exist_ok=True)
        place = shared.place(baseline, store, rows, parts)
        known = shared.load(place, into, parts)
        if known is None:
            known = _fitted(baseline, store, rows, into, parts, progress)
            shared.keep(place, into, known)
        elif progress:
            print(f"Baseline {name}: as another run fitted it on the same samples.")
        found[name] = known
    return found


def _fitted(
    baseline: Baseline,
    store: Any,
    rows: Mapping[str, np.ndarray],
    folder: Path | None,
    parts: Sequence[str],
    progress: bool,
) -> shared.Predictions:
    """Fit a baseline, save it in a folder, and return what it predicts by part."""
    baseline.fit(store, rows["train"], progress=progress)
    if folder is not None:
        baseline.save(folder / shared.MODEL)
    maps = folder if isinstance(baseline.reader, readers.Pixels | readers.PixelSeries) else None
    return {part: baseline.predict(store, rows[part], maps, part, progress) for part in parts}


def load(path: str | os.PathLike[str]) -> Baseline:
    """Read a baseline that :meth:`Baseline.save` wrote; a file that could run other code is refused.

    Raises:
        DataError: The file is missing, unreadable or holds something else.
    """
    return files.read_joblib(path, Baseline)


# === Series ===


def _standardised(classifier: BaseEstimator) -> Pipeline:
    """Put in front of a classifier what it needs: standard scale, mean for missing, and where values miss."""
    fill = SimpleImputer(strategy="mean", add_indicator=True, keep_empty_features=True)
    return Pipeline([("scale", StandardScaler()), ("fill", fill), ("model", classifier)])


def _majority(seed: int, labels: bool = False) -> Parts:
    share = DummyClassifier(strategy="prior")
    return Parts(readers.NoFeatures(), PerLabel(share) if labels else share)


def _series_statistics(seed: int, C: float = 1.0) -> Parts:
    classifier = LogisticRegression(C=C, max_iter=1000, random_state=seed)
    return Parts(readers.Series(readers.time_statistics), _standardised(classifier))


def _series_forest(seed: int, trees: int = 200, min_leaf: int = 1) -> Parts:
    forest = RandomForestClassifier(trees, min_samples_leaf=min_leaf, random_state=seed, n_jobs=-1)
    return Parts(readers.Series(readers.all_values), forest)


def _svm(
    seed: int,
    kernel: str = "rbf",
    components: int = 300,
    C: float = 1.0,
    gamma: float | str = "scale",
    max_samples: int | None = 20_000,
) -> Parts:
    check_known(kernel, KERNELS, f"svm has no kernel {kernel!r}")
    machine = SupportVectorMachine(kernel, components, C, gamma, seed)
    return Parts(readers.Series(readers.all_values), _standardised(machine), max_samples)


def _of_pixels(make: Maker) -> Maker:
    """Return the maker of a baseline of pixel series for the pixels of image series, with an option more."""

    def of_pixels(seed: int, per_patch: int = 64, **options: Any) -> Parts:
        parts = make(seed, **options)
        features = getattr(parts.reader, "features", readers.no_values)
        return parts._replace(reader=readers.PixelSeries(features, per_patch, parts.max_samples))

    own = inspect.signature(make)
    more = inspect.Parameter("per_patch", inspect.Parameter.KEYWORD_ONLY, default=64)
    of_pixels.__signature__ = own.replace(parameters=[*own.parameters.values(), more])  # type: ignore[attr-defined]
    return of_pixels


# === Images ===


def filled(classifier: BaseEstimator) -> Pipeline:
    """Put in front of a classifier of images the mean for missing values and standard scale."""
    fill = SimpleImputer(strategy="mean", keep_empty_features=True)
    return Pipeline([("fill", fill), ("scale", StandardScaler(copy=False)), ("model", classifier)])


def _image_statistics(
    seed: int,
    labels: bool = False,
    class_weight: Any = None,
    C: float = 1.0,
    max_samples: int | None = 50_000,
) -> Parts:
    logistic = LogisticRegression(C=C, class_weight=class_weight, max_iter=1000, random_state=seed)
    classifier = filled(PerLabel(logistic) if labels else logistic)
    return Parts(readers.ImageStatistics(), classifier, max_samples)


def _nearest_image(seed: int, max_samples: int | None = 50_000) -> Parts:
    return Parts(readers.ImageStatistics(), filled(KNeighborsClassifier(1)), max_samples)


def _random_convolutions(
    seed: int,
    labels: bool = False,
    class_weight: Any = None,
    filters: int = 256,
    size: int = 3,
    stride: int = 2,
    bias: float = 1.0,
    head: str = "logistic",
    C: float = 0.5,
    penalty: float = 0.1,
    max_samples: int | None = 50_000,
) -> Parts:
    reader = readers.RandomConvolutions(filters, size, stride, bias)
    logistic = LogisticRegression(C=C, class_weight=class_weight, max_iter=1000, random_state=seed)
    heads = {"ridge": LabelRidge(penalty), "logistic": PerLabel(logistic)}
    if not labels:
        heads = {"logistic": logistic}
    check_known(head, heads, f"There is no head {head!r}")
    return Parts(reader, filled(heads[head]), max_samples)


# === Pixels of images ===


def _pixel_majority(seed: int) -> Parts:
    return Parts(readers.Pixels([]), DummyClassifier(strategy="prior"))


def pixel_boosting(
    seed: int, channels: Sequence[str] | None = None, per_patch: int = 256, iterations: int = 100
) -> Parts:
    """Return reader and trees of ``pixel_boosting``, for masks of one class."""
    return Parts(readers.Pixels(channels, per_patch), Boosting(iterations, seed))


def threshold_rule(conditions: Mapping[str, str]) -> Maker:
    """Return the maker of a rule for masks of one class.

    Args:
        conditions: ``">="`` or ``"<="`` by channel; the thresholds are fitted.
    """
    return partial(_threshold_rule, conditions=dict(conditions))


def _threshold_rule(
    seed: int, conditions: Mapping[str, str], per_patch: int = 1024, steps: int = 256
) -> Parts:
    return Parts(readers.Pixels(list(conditions), per_patch), ThresholdRule(conditions, steps))


def _pixel_forest(
    seed: int, values: bool = False, per_patch: int = 64, trees: int = 100, min_leaf: int = 5
) -> Parts:
    kind = RandomForestRegressor if values else RandomForestClassifier
    forest = kind(trees, min_samples_leaf=min_leaf, random_state=seed, n_jobs=-1)
    return Parts(readers.Pixels(None, per_patch), forest)


def _mean(seed: int, per_patch: int = 256) -> Parts:
    return Parts(readers.Pixels([], per_patch), DummyRegressor(strategy="mean"))


def _linear(seed: int, per_patch: int = 256) -> Parts:
    return Parts(readers.Pixels(None, per_patch), filled(LinearRegression()))


def _nearest_pixel(seed: int, per_patch: int = 256, max_pixels: int | None = 100_000) -> Parts:
    return Parts(readers.Pixels(None, per_patch, max_pixels), filled(KNeighborsRegressor(1)))


_IMAGES: dict[str, Maker] = {
    "majority": _majority,
    "image_statistics": _image_statistics,
    "random_convolutions": _random_convolutions,
}
_SERIES: dict[str, Maker] = {
    "majority": _majority,
    "image_statistics": _series_statistics,
    "random_forest": _series_forest,
    "svm": _svm,
}
BASELINES: dict[str, dict[str, Maker]] = {
    "series_classification": _SERIES,
    "series_segmentation": {name: _of_pixels(make) for name, make in _SERIES.items()},
    "image_classification": _IMAGES | {"nearest": _nearest_image},
    "multilabel_classification": {
        "majority": partial(_majority, labels=True),
        "image_statistics": partial(_image_statistics, labels=True, C=10.0),
        "random_convolutions": partial(_random_convolutions, labels=True, head="ridge"),
    },
    "segmentation": {
        "majority": _pixel_majority,
        "random_forest": _pixel_forest,
        "pixel_boosting": pixel_boosting,
    },
    "regression": {
        "mean": _mean,
        "linear": _linear,
        "random_forest": partial(_pixel_forest, values=True),
        "nearest": _nearest_pixel,
    },
    "sequence_classification": _IMAGES,
}
