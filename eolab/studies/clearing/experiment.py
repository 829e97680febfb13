"""The experiment of this study: a model learns from other dates, or other regions, than it is tested on.

Both kinds test the same samples, so that the difference of their scores is what the split alone makes.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import classification_report

from eolab import evaluation
from eolab.core.errors import ParameterError, check_known
from eolab.data import splits
from eolab.data.store import Store
from eolab.evaluation import metrics, postprocess
from eolab.studies.clearing.truth import non_zero

KINDS = ("date", "region")
SPLIT_BY = "split_by"
"""Column of score tables that names the kind of split."""

Rows = dict[str, np.ndarray]


class Division(NamedTuple):
    """The samples of one training.

    Attributes:
        kind: "date" or "region".
        name: Name of the training, of a folder too.
        rows: Rows of the store for "train", "validation" and "test".
    """

    kind: str
    name: str
    rows: Rows

    def as_column(self, table: pd.DataFrame) -> np.ndarray:
        """Return the part of each sample of the table, "none" where it is in none."""
        column = np.full(len(table), "none", object)
        for part, rows in self.rows.items():
            column[rows] = part
        return column


class Tested(NamedTuple):
    """What the trainings of one kind of split predicted.

    Attributes:
        rows: Rows of the store that were tested, ascending.
        predictions: Predictions of these rows by model.
    """

    rows: np.ndarray
    predictions: dict[str, np.ndarray]


# === Splits ===


def split_by_date(table: pd.DataFrame, validation: float = 0.1, test: float = 0.1) -> pd.Series:
    """Return the report's split: of each region the last dates are the test, those before them validation.

    Args:
        table: Result of :func:`eolab.studies.clearing.samples.sample_table`.
        validation: Share of each region's samples, at least one where a region has three or more.
        test: Share of each region's samples, likewise.
    """
    split = pd.Series("train", index=table.index)
    for rows in table.groupby("region").groups.values():
        ordered = table.loc[rows].sort_values("date").index
        if len(ordered) < 3:
            continue
        n_test = max(1, round(test * len(ordered)))
        n_validation = max(1, round(validation * len(ordered)))
        split[ordered[-n_test:]] = "test"
        split[ordered[-n_test - n_validation : -n_test]] = "validation"
    return split


def divide(
    table: pd.DataFrame,
    kinds: Sequence[str] = KINDS,
    n_folds: int = 5,
    validation: float = 0.1,
    test: float = 0.1,
    held_out: Mapping[str, Sequence[str]] | None = None,
    fraction: float = 1.0,
    seed: int = 0,
) -> list[Division]:
    """Return the trainings: one for the split by date, one for each fold of regions.

    Args:
        table: Sample table of the store; samples whose column ``zero_area`` is true are only trained on.
        kinds: "date", "region" or both.
        n_folds: Folds of regions, each the test once; 0 for as many as there are regions.
        validation: Share for validation: of each region's dates, or of the regions that are not tested.
        test: Share of each region's dates that is tested.
        held_out: Names of regions for "test" and, where given, "validation", in place of folds.
        fraction: Share of the training samples that is used, drawn at random.
        seed: Seed of folds and draws.

    Raises:
        ParameterError: If a kind or a region is unknown, or there are too few regions.
    """
    zero = table["zero_area"].to_numpy(bool) if "zero_area" in table else np.zeros(len(table), bool)
    own, extra = table[~zero], table.index[zero].to_numpy()
    found = []
    for kind in dict.fromkeys(kinds):
        check_known(kind, KINDS, f"There is no split by {kind!r}")
        if kind == "date":
            found.append(Division(kind, kind, _rows(split_by_date(own, validation, test), extra)))
            continue
        folds = _named(own, held_out) if held_out and held_out.get("test") else _folds(own, n_folds, seed)
        for number, (tested, judged) in enumerate(folds, start=1):
            split = pd.Series("train", own.index)
            rest = own[~own["region"].isin(tested)]
            drawn = _drawn(rest, validation, seed + number) if not judged else rest["region"].isin(judged)
            split[rest.index[drawn]] = "validation"
            split[own.index[own["region"].isin(tested)]] = "test"
            found.append(Division(kind, f"{kind}_{number}", _rows(split, extra)))
    for one in found:
        empty = [part for part in ("train", "validation", "test") if not len(one.rows[part])]
        if empty:
            raise ParameterError(
                f"The split by {one.kind} leaves no sample for {empty[0]}: it needs three dates of a region, "
                "or three regions; take more, or another split."
            )
        rng = np.random.default_rng(seed)
        train = rng.permutation(one.rows["train"])[: max(1, round(fraction * len(one.rows["train"])))]
        one.rows["train"] = np.sort(train)
    return found


def _rows(split: pd.Series, extra: np.ndarray) -> Rows:
    """Return the rows of each part; samples of areas without need are trained on."""
    rows = {part: split.index[split == part].to_numpy() for part in ("train", "validation", "test")}
    return rows | {"train": np.sort(np.concatenate([rows["train"], extra]))}


def _folds(table: pd.DataFrame, n_folds: int, seed: int) -> list[tuple[list[str], ...]]:
    """Return the regions of each fold."""
    regions = table["region"].unique()
    if not n_folds:
        return [([region], []) for region in regions]
    label = "label" if "label" in table else None
    fold = splits.k_fold(table, n_folds, group="region", label=label, seed=seed)
    return [(table["region"][fold == number].unique().tolist(), []) for number in range(n_folds)]


def _named(table: pd.DataFrame, held_out: Mapping[str, Sequence[str]]) -> list[tuple[list[str], ...]]:
    """Return the regions that are named for test and validation."""
    for part, names in held_out.items():
        check_known(part, ("test", "validation"), f"held_out has no {part!r}")
        for name in names:
            check_known(str(name), set(table["region"]), f"There is no region {name!r}")
    return [
        ([str(name) for name in held_out["test"]], [str(name) for name in held_out.get("validation", ())])
    ]


def _drawn(rest: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """Return which samples are of the regions drawn for validation, at least one region."""
    regions = rest["region"].nunique()
    label = "label" if "label" in rest else None
    share = max(share, 1 / max(regions, 2))
    split = splits.by_group(rest, "region", validation=share, test=0.0, label=label, seed=seed)
    return (split == "validation").to_numpy()


# === Scores ===


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


def scores(tested: Mapping[str, Tested], truth: Any, regions: Any, **options: Any) -> pd.DataFrame:
    """Return the score table with the kind of split in a column; intervals are over regions.

    Args:
        tested: Tests by kind of split.
        truth: Labels of all rows of the store.
        regions: Region of all rows.
        **options: Arguments of :func:`eolab.evaluation.score_table`.
    """
    tables = []
    for kind, one in tested.items():
        groups = np.asarray(regions)[one.rows]
        table = evaluation.score_table(one.predictions, truth[one.rows], groups=groups, **options)
        tables.append(table.assign(**{SPLIT_BY: kind}))
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
    tables = []
    for kind, one in tested.items():
        groups = np.asarray(regions)[one.rows]
        table = evaluation.paired_gains(
            one.predictions, truth[one.rows], model=model, statistics=statistics, groups=groups, **options
        )
        tables.append(table.assign(**{SPLIT_BY: kind}))
    return pd.concat(tables, ignore_index=True)


def nested_gains(gained: pd.DataFrame) -> dict[str, Any]:
    """Return the values of :func:`gains` as metrics: split.model.statistic → gain, low and high."""
    found: dict[str, Any] = {}
    for row in gained.to_dict("records"):
        place = found.setdefault(row[SPLIT_BY], {}).setdefault(row["model"], {})
        place[row["statistic"]] = {"gain": row["value"], "low": row["low"], "high": row["high"]}
    return found


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
        gained = evaluation.paired_gains(
            pair,
            truth[rows],
            model="date",
            statistics=statistics,
            groups=np.asarray(regions)[rows],
            **options,
        )
        tables.append(gained.assign(model=model, is_baseline=model in baselines))
    return pd.concat(tables, ignore_index=True)


# === Classes ===


def classification_reports(
    tested: Mapping[str, Tested], truth: Any, model: str, classes: Sequence[str]
) -> pd.DataFrame:
    """Return scikit-learn's classification report of each kind of split, as the report's tables 1 and 2.

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


def confusion(tested: Tested, truth: Any, model: str, classes: int) -> np.ndarray:
    """Return the confusion matrix (K, K) of a model, truth in rows."""
    return metrics.confusion(truth[tested.rows], tested.predictions[model].argmax(axis=-1), classes)


def most_wrong(
    tested: Tested, truth: Any, table: pd.DataFrame, model: str, classes: Sequence[str], count: int
) -> tuple[np.ndarray, list[list[str]]]:
    """Return the rows that a model gets wrong, most certain first, and the lines below their pictures."""
    probability, true = tested.predictions[model], truth[tested.rows].astype(int)
    found = probability.argmax(axis=-1)
    of_truth = probability[np.arange(len(true)), true]
    worst = [k for k in np.argsort(of_truth, kind="stable") if found[k] != true[k]][:count]
    rows = tested.rows[worst]
    lines = [
        [
            f"{classes[true[k]]}, stand {table['region'][row]}",
            f"predicted {classes[found[k]]} {1 - of_truth[k]:.0%}",
        ]
        for k, row in zip(worst, rows, strict=True)
    ]
    return rows, lines


# === Degrees ===


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


def degree_calibration(predicted: Any, degree: Any, bins: int = 10) -> pd.DataFrame:
    """Return the mean true degree by predicted degree, a row a bin of equal width that has pixels.

    Returns:
        Columns probability (mean predicted degree), frequency (mean true degree) and share of the pixels.
    """
    known = np.isfinite(degree)
    found, true = np.clip(np.asarray(predicted)[known], 0, 1), np.asarray(degree)[known]
    rows = pd.DataFrame({"probability": found, "frequency": true})
    groups = rows.groupby(np.minimum((found * bins).astype(int), bins - 1))
    return groups.mean().assign(share=groups.size() / len(rows)).reset_index(drop=True)


def one_per_region(table: pd.DataFrame, rows: np.ndarray, count: int) -> np.ndarray:
    """Return places among the rows of one sample of each region, the first ones."""
    return np.sort(np.unique(table["region"].to_numpy()[rows], return_index=True)[1])[:count]


# === Extra areas ===


def by_kind(
    models: Mapping[tuple[str, str], tuple[Any, float]], areas: Store, need: Collection[str]
) -> pd.DataFrame:
    """Return what models predict in areas of known kind: means over areas of the mean over their dates.

    Args:
        models: By name and training: predicted degrees (n, y, x), and the value from which on one counts.
        areas: Store of the areas, whose label is known inside of them.
        need: Kinds that need clearing.

    Returns:
        Columns kind, needs_clearing, areas, images, model, zero_areas (the training), mean_degree and
        non_zero_share.
    """
    inside = np.isfinite(areas.arrays["label"][:])
    weight = inside / np.maximum(inside.sum((1, 2), keepdims=True), 1)
    facts = areas.table.groupby("kind", sort=False).agg(areas=("region", "nunique"), images=("id", "size"))
    tables = []
    for (model, training), (values, threshold) in models.items():
        shares = {"mean_degree": values, "non_zero_share": np.asarray(values) >= threshold}
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
        place[row["kind"].replace(" ", "_")] = row["non_zero_share"]
    return found
