"""What the experiments of this study found: stands that are wrong, degrees that are not zero, extra areas."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import ParameterError, check_all
from eolab.data.regions import Regions
from eolab.data.splits.divisions import Division, Rows, divide
from eolab.data.store import Store
from eolab.evaluation import metrics, postprocess
from eolab.evaluation.divided import Tested
from eolab.studies.clearing.truth import non_zero


def confusion(tested: Tested, truth: Any, model: str, classes: int) -> np.ndarray:
    """Return the confusion matrix (K, K) of a model, truth in rows."""
    return metrics.confusion(truth[tested.rows], tested.predictions[model].argmax(axis=-1), classes)


def most_wrong(
    tested: Tested, truth: Any, table: pd.DataFrame, model: str, classes: Sequence[str], count: int
) -> tuple[np.ndarray, list[list[str]]]:
    """Return one row of each stand that a model gets wrong, most certain first, and the lines below it."""
    probability, true = tested.predictions[model], truth[tested.rows].astype(int)
    found = probability.argmax(axis=-1)
    of_truth = probability[np.arange(len(true)), true]
    wrong = np.array([k for k in np.argsort(of_truth, kind="stable") if found[k] != true[k]], int)
    worst = wrong[one_per_region(table, tested.rows[wrong], count)]
    rows = tested.rows[worst]
    lines = [
        [
            f"{classes[true[k]]}, stand {table['region'][row]}",
            f"predicted {classes[found[k]]} {probability[k, found[k]]:.0%}",
        ]
        for k, row in zip(worst, rows, strict=True)
    ]
    return rows, lines


# === Degrees ===


def divide_objects(
    table: pd.DataFrame, kinds: Sequence[str], division: Mapping[str, Any], seed: int
) -> list[Division]:
    """Return the trainings of the degree: clearing objects are tested, areas without need never.

    Args:
        table: Sample table of the store.
        kinds: See :func:`eolab.data.splits.divisions.divide`.
        division: Its further arguments, and zero_areas: samples of areas without need that are trained on for
            each sample of an object, drawn at random; 0 for none.
        seed: Seed of folds and draws.
    """
    options = dict(division)
    zero = table.index[table["zero_area"]].to_numpy()
    most = round(options.pop("zero_areas") * (len(table) - len(zero)))
    drawn = zero[np.random.default_rng(seed).permutation(len(zero))[:most]]
    used = table[~table["zero_area"] | table.index.isin(drawn)]
    return divide(used, kinds, **options, train_only="zero_area", seed=seed)


def check_validation(divisions: Sequence[Division], degree: Any) -> None:
    """Refuse trainings whose validation samples cannot choose a threshold, before the first begins.

    Args:
        divisions: The trainings.
        degree: True degrees of all rows of the store.

    Raises:
        ParameterError: If no pixel of those of a training is known to need clearing.
    """
    for one in divisions:
        if not (non_zero(degree[one.rows["validation"]]) == 1).any():
            raise ParameterError(
                f"No pixel of the validation samples of the training {one.name} is known to need clearing: "
                "take another split, or another seed."
            )


def rows_with(
    table: pd.DataFrame, kinds: Sequence[str], division: Mapping[str, Any], seed: int, zero_areas: float
) -> Rows:
    """Return the rows of the first training of :func:`divide_objects`, with other areas without need."""
    return divide_objects(table, kinds, {**division, "zero_areas": zero_areas}, seed)[0].rows


def check_without(settings: Mapping[str, Any]) -> None:
    """Refuse a training that has seen areas without need, where one without them is compared.

    Args:
        settings: Parameters of its run.

    Raises:
        ParameterError: If it has.
    """
    share = settings["division"]["zero_areas"]
    if share:
        raise ParameterError(
            f"trained is a run with division.zero_areas {share:g}, whose network has seen areas without need "
            "already: name a run of 05_train_degree with 0 there."
        )


def choose_thresholds(
    values: Mapping[str, Mapping[str, Any]], degree: Any, rows: Mapping[str, Any]
) -> dict[str, float]:
    """Return the value of each model from which on its degree counts as non-zero.

    Args:
        values: Predicted degrees by model and part.
        degree: True degrees of all rows of the store.
        rows: Rows of each part; those of "validation" choose, by intersection over union.
    """
    truth = non_zero(degree[rows["validation"]])
    return {
        name: postprocess.choose_threshold(np.clip(parts["validation"], 0, 1), truth, "iou")
        for name, parts in values.items()
    }


def decided(
    values: Mapping[str, Mapping[str, Any]], thresholds: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[str, np.ndarray]]:
    """Return which pixels are non-zero by training and model: predicted degrees at their thresholds."""
    return {
        training: {
            name: postprocess.decide(found, thresholds[training][name]).astype(np.uint8)
            for name, found in models.items()
        }
        for training, models in values.items()
    }


def one_per_region(table: pd.DataFrame, rows: np.ndarray, count: int) -> np.ndarray:
    """Return places among the rows of one sample of each region, the first ones."""
    return np.sort(np.unique(table["region"].to_numpy()[rows], return_index=True)[1])[:count]


# === Extra areas ===


def check_kinds(need: Collection[str], placed: Regions) -> None:
    """Refuse kinds that need clearing which no area has.

    Raises:
        ParameterError: If there is one.
    """
    check_all(need, sorted(set(placed.table["label"])), "No area in the images is of the kind")


def by_kind(
    models: Mapping[tuple[str, str], Any], areas: Store, need: Collection[str], least: float
) -> pd.DataFrame:
    """Return what models predict in areas of known kind: means over areas of the mean over their dates.

    Args:
        models: Predicted degrees (n, y, x) by name and training.
        areas: Store of the areas, whose label is known inside of them.
        need: Kinds that need clearing.
        least: Degree from which on a pixel counts as in need.

    Returns:
        Columns kind, needs_clearing, areas, images, model, zero_areas (the training), mean_degree and
        need_share, the share of the pixels in need.
    """
    inside = np.isfinite(areas.arrays["label"][:])
    weight = inside / np.maximum(inside.sum((1, 2), keepdims=True), 1)
    facts = areas.table.groupby("kind", sort=False).agg(areas=("region", "nunique"), images=("id", "size"))
    tables = []
    for (model, training), values in models.items():
        shares = {"mean_degree": values, "need_share": np.asarray(values) >= least}
        found = areas.table.assign(**{name: (weight * one).sum((1, 2)) for name, one in shares.items()})
        found = found[inside.any((1, 2))].groupby(["kind", "region"], sort=False)[list(shares)].mean()
        means = facts.join(found.groupby("kind").mean()).reset_index()
        means.insert(1, "needs_clearing", means["kind"].isin(list(need)))
        means.insert(4, "model", model)
        means.insert(5, "zero_areas", training)
        tables.append(means)
    return pd.concat(tables, ignore_index=True)


def as_scores(predicted: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return a column of :func:`by_kind` as the table that :func:`eolab.plots.score_bars` draws."""
    names = predicted["model"] + ", " + predicted["zero_areas"] + " zero areas"
    facts = {"model": names, "scope": predicted["kind"], "statistic": column, "value": predicted[column]}
    return pd.DataFrame({**facts, "low": np.nan, "high": np.nan, "is_baseline": False, "split": "extra"})


def nested_kinds(predicted: pd.DataFrame) -> dict[str, Any]:
    """Return the shares of :func:`by_kind` as metrics: training.model.kind."""
    found: dict[str, Any] = {}
    for row in predicted.to_dict("records"):
        place = found.setdefault(row["zero_areas"], {}).setdefault(row["model"], {})
        place[row["kind"].replace(" ", "_")] = row["need_share"]
    return found
