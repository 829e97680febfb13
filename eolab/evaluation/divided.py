"""Scores of one model under several divisions of the same samples, such as by date and by region.

Example:
    >>> tested = gather(divisions, predictions)             # of eolab.data.splits.divisions.divide
    >>> same = same_samples(tested)                         # tested under both
    >>> differences(same, truth, regions, ["all.accuracy"], class_names=names)
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report

from eolab.core.errors import ParameterError
from eolab.data.splits.divisions import Division
from eolab.evaluation.paired import paired_gains
from eolab.evaluation.tables import score_table, title

SPLIT_BY = "split_by"
"""Column of score tables that names the kind of split."""

ENDS = ("gain", "low", "high")


class Tested(NamedTuple):
    """What the trainings of one kind of split predicted.

    Attributes:
        rows: Rows of the store that were tested, ascending.
        predictions: Predictions of these rows by model.
    """

    rows: np.ndarray
    predictions: dict[str, np.ndarray]


def gather(divisions: Sequence[Division], predictions: Mapping[str, Mapping[str, Any]]) -> dict[str, Tested]:
    """Put the tests of the trainings of one kind together.

    Args:
        divisions: The trainings.
        predictions: By name of the training and model, predictions of its test rows.
    """
    found = {}
    for kind in dict.fromkeys(one.kind for one in divisions):
        parts = [one for one in divisions if one.kind == kind]
        rows = np.concatenate([one.rows["test"] for one in parts])
        order = np.argsort(rows, kind="stable")
        by_model = {
            model: np.concatenate([np.asarray(predictions[one.name][model]) for one in parts])[order]
            for model in predictions[parts[0].name]
        }
        found[kind] = Tested(rows[order], by_model)
    return found


def same_samples(tested: Mapping[str, Tested]) -> dict[str, Tested]:
    """Return the tests of the samples that every kind of split has tested.

    Raises:
        ParameterError: If there is none.
    """
    shared = sorted(set.intersection(*(set(one.rows.tolist()) for one in tested.values())))
    if not shared:
        raise ParameterError("No sample is tested by both splits: hold out regions that have later dates.")
    found = {}
    for kind, one in tested.items():
        at = np.searchsorted(one.rows, shared)
        found[kind] = Tested(np.array(shared), {name: values[at] for name, values in one.predictions.items()})
    return found


def on_same_samples(scores: pd.DataFrame, like: pd.DataFrame, kind: str = "region") -> pd.DataFrame:
    """Return the scores under one kind of split that rest on as many samples and groups as those of a run.

    Args:
        scores: Scores of several runs, see :func:`scores`.
        like: Scores of the run; others that held out other regions, or had one kind of split alone, were
            tested on other samples.
        kind: The kind of split.
    """
    counts = ["n", "n_groups"]
    known, rows = (one[one[SPLIT_BY] == kind] for one in (like, scores))
    return rows[pd.MultiIndex.from_frame(rows[counts]).isin(pd.MultiIndex.from_frame(known[counts]))]


def scores(tested: Mapping[str, Tested], truth: Any, regions: Any, **options: Any) -> pd.DataFrame:
    """Return the score table with the kind of split in a column; intervals are over regions.

    Args:
        tested: Tests by kind of split.
        truth: Labels of all rows of the store.
        regions: Region of all rows.
        **options: Arguments of :func:`eolab.evaluation.score_table`.
    """
    return _by_kind(score_table, tested, truth, regions, **options)


def _by_kind(
    table: Callable[..., pd.DataFrame], tested: Mapping[str, Tested], truth: Any, regions: Any, **options: Any
) -> pd.DataFrame:
    """Return the table of each kind of split, one below the other, with the kind in a column."""
    tables = []
    for kind, one in tested.items():
        groups = np.asarray(regions)[one.rows]
        found = table(one.predictions, truth[one.rows], groups=groups, **options)
        tables.append(found.assign(**{SPLIT_BY: kind}))
    return pd.concat(tables, ignore_index=True)


def gains(
    tested: Mapping[str, Tested],
    truth: Any,
    regions: Any,
    model: str,
    statistics: Sequence[str],
    **options: Any,
) -> pd.DataFrame:
    """Return what a model gains over each other one by kind of split, with paired intervals over regions.

    Args:
        tested: Tests by kind of split.
        truth: Labels of all rows of the store.
        regions: Region of all rows.
        model: The model that gains.
        statistics: Which scores.
        **options: Arguments of :func:`eolab.evaluation.paired_gains`.
    """
    return _by_kind(paired_gains, tested, truth, regions, model=model, statistics=statistics, **options)


def nested_gains(gained: pd.DataFrame) -> dict[str, Any]:
    """Return the values of :func:`gains` as metrics: split.model.statistic → gain, low and high."""
    found: dict[str, Any] = {}
    for row in gained.to_dict("records"):
        place = found.setdefault(row[SPLIT_BY], {}).setdefault(row["model"], {})
        place[row["statistic"]] = dict(zip(ENDS, (row["value"], row["low"], row["high"]), strict=True))
    return found


def gains_said(nested: Mapping[str, Any], model: str, statistic: str, kind: str) -> str:
    """Say which others a model is better than under a split, worse than, or not shown to be better than.

    Args:
        nested: Result of :func:`nested_gains`, also as a run has kept it.
        model: The model that gains.
        statistic: Which score, such as "macro.f1"; higher is better.
        kind: The kind of split; nothing is said where the model was not tested by it.
    """
    scope, name = statistic.split(".")
    clauses: dict[str, list[str]] = {"better": [], "worse": [], "not shown to be better": []}
    for other, gained in nested.get(kind, {}).items():
        gain, low, high = (np.nan if gained[name][end] is None else gained[name][end] for end in ENDS)
        which = "better" if low > 0 else "worse" if high < 0 else "not shown to be better"
        ends = "no interval" if np.isnan(low) else f"95 % interval {low:+.3f} to {high:+.3f}"
        clauses[which].append(f"{other} ({gain:+.3f}, {ends})")
    said = [f"{which} than {', '.join(others)}" for which, others in clauses.items() if others]
    if not said:
        return ""
    return f"In {title(scope, name)} under the split by {kind}, {model} is " + "; ".join(said) + "."


def differences(
    tested: Mapping[str, Tested], truth: Any, regions: Any, statistics: Sequence[str], **options: Any
) -> pd.DataFrame:
    """Return what each model gains where its training has seen the tested regions on other dates.

    Args:
        tested: Tests of the same samples by both kinds, see :func:`same_samples`.
        truth: Labels of all rows of the store.
        regions: Region of all rows.
        statistics: Which scores.
        **options: Arguments of :func:`eolab.evaluation.paired_gains`.

    Returns:
        A row a model and statistic: value is the score of the split by date less that by region, with its
        paired interval over regions.
    """
    rows, tables = tested["date"].rows, []
    baselines: Collection[str] = options.pop("baselines", ())
    for model in tested["date"].predictions:
        pair = {kind: one.predictions[model] for kind, one in tested.items()}
        gained = paired_gains(
            pair,
            truth[rows],
            model="date",
            statistics=statistics,
            groups=np.asarray(regions)[rows],
            **options,
        )
        tables.append(gained.assign(model=model, is_baseline=model in baselines))
    return pd.concat(tables, ignore_index=True)


# === Classes and values ===


def classification_reports(
    tested: Mapping[str, Tested], truth: Any, model: str, classes: Sequence[str]
) -> pd.DataFrame:
    """Return scikit-learn's classification report of each kind of split.

    Returns:
        Columns split_by, class (the classes, "macro avg", "weighted avg" and "accuracy", which stands in the
        column f1-score), precision, recall, f1-score, support.
    """
    tables = []
    for kind, one in tested.items():
        found = classification_report(
            truth[one.rows],
            one.predictions[model].argmax(axis=-1),
            labels=range(len(classes)),
            target_names=list(classes),
            output_dict=True,
            zero_division=np.nan,
        )
        accuracy = found.pop("accuracy", found.get("micro avg", {}).get("f1-score"))
        found.pop("micro avg", None)
        found["accuracy"] = {"f1-score": accuracy, "support": len(one.rows)}
        table = pd.DataFrame(found).T.rename_axis("class").reset_index()
        tables.append(table.assign(support=table["support"].astype(int)))
        tables[-1].insert(0, SPLIT_BY, kind)
    return pd.concat(tables, ignore_index=True)


def value_calibration(predicted: Any, value: Any, bins: int = 10) -> pd.DataFrame:
    """Return the mean true value by predicted value, a row a bin of equal width that has pixels.

    Returns:
        Columns probability (mean predicted value), frequency (mean true value) and share of the pixels.
    """
    known = np.isfinite(value)
    found, true = np.clip(np.asarray(predicted)[known], 0, 1), np.asarray(value)[known]
    rows = pd.DataFrame({"probability": found, "frequency": true})
    groups = rows.groupby(np.minimum((found * bins).astype(int), bins - 1))
    return groups.mean().assign(share=groups.size() / len(rows)).reset_index(drop=True)
