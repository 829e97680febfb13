"""One table of scores for every task, in long form, and the views of it."""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.evaluation import bootstrap, metrics
from eolab.evaluation.bootstrap import Evaluated
from eolab.evaluation.classes import Binary, Patches, of_labels
from eolab.evaluation.multilabel import MultiLabel
from eolab.evaluation.postprocess import decide
from eolab.evaluation.regression import Values

# Column of the replicates, see :mod:`eolab.evaluation.paired`; a run saves them beside its table
DRAWN = "drawn"
COLUMNS = ("model", "is_baseline", "split", "scope", "statistic", "value", "low", "high", "n", "n_groups")
NUMBERS = ("value", "low", "high", "n", "n_groups", DRAWN)
FACTS = ("support", "predicted", "threshold")  # what is counted or was chosen has no interval
CLASS_STATISTICS = tuple(f"class.{name}" for name in ("precision", "recall", "f1", "iou", "support"))
LABEL_STATISTICS = tuple(
    f"class.{name}"
    for name in ("support", "predicted", "threshold", "precision", "recall", "f1", "f2", "average_precision")
)
WORDS = (
    {word: word.upper() for word in ("f1", "f2", "roc", "auc", "mse", "mae")}
    | {"iou": "IoU", "r2": "R²"}
    | {"spearman": "rank correlation"}
)
COUNT = "groups"  # column of paired gains that stands in place of n


def score_table(
    predictions: Mapping[str, Any],
    truth: Any = None,
    *,
    class_names: Sequence[str] = (),
    thresholds: Mapping[str, Any] | None = None,
    groups: Any = None,
    statistics: Sequence[str] = (),
    baselines: Collection[str] = (),
    split: str = "test",
    batch: int = 16,
    replicates: int = 1000,
    seed: int = 0,
    every: bool = False,
) -> pd.DataFrame:
    """Score models on the same samples, each score with its averaging and its 95 % interval.

    What is scored follows from the truth:

    ==================================== =====================================================================
    class indices (N,)                   one class a sample; predictions are class indices (N,) or
                                         probabilities (N, K)
    class indices (N, H, W)              masks, pixels pooled; predictions are class indices of that shape, or
                                         with thresholds probabilities of the second of two classes
    0 and 1 (N,), with thresholds        two classes; predictions are scores (N,) of the second class, or
                                         probabilities (N, 2)
    0 and 1 (N, K), with thresholds      several labels a sample; predictions are probabilities (N, K)
    float (N, …), NaN = not known        values; predictions are values of that shape
    none                                 predictions are confusion matrices (N, K, K) of N patches
    ==================================== =====================================================================

    Args:
        predictions: By the model's name.
        truth: See above; 255 = not known.
        class_names: Names of the K classes; of two classes with thresholds the second name is that which the
            score speaks for.
        thresholds: By model, chosen on validation samples; of several labels a number, or one a class (K,).
        groups: Group of each sample (block, scene, tile), drawn as a whole; None to draw samples.
        statistics: "scope.statistic", such as "macro.f1" or "all.accuracy"; the scope is the name of a class,
            "class" for every class, or an average; see :mod:`eolab.evaluation.metrics`,
            :mod:`~eolab.evaluation.multilabel` and :mod:`~eolab.evaluation.regression`. The usual ones of the
            task where empty.
        baselines: Names of models that are baselines.
        split: Which samples these are.
        batch: Patches a batch of the scope "batch_macro".
        replicates: Bootstrap replicates, at least 100; every model and every statistic sees the same draws.
        seed: Seed of the draws.
        every: Whether classes among more than two keep their replicates too.

    Returns:
        Columns :data:`COLUMNS` and "drawn", a row a model and statistic; n is the number of samples with a
        known truth, n_groups that of the groups that the score rests on: of a class, those that have it.
        Values are NaN where undefined; low and high are NaN of fewer than 8 groups, see
        :mod:`eolab.evaluation.bootstrap`, and where every draw has the same score, which does not make it
        certain. drawn holds the replicates, for :func:`eolab.evaluation.gains`;
        None of a class among more than two unless asked for, and of facts.

    Raises:
        DataError: If shapes differ, nothing is labelled, or a value is no class, score or number.
        ParameterError: If there is no such statistic, or too few replicates.
    """
    evaluated = _evaluated(predictions, truth, class_names, thresholds, groups, batch)
    rows = []
    for model, one in evaluated.items():
        names = _expanded(statistics or one.default, class_names)
        for name, (value, drawn, n) in bootstrap.resample(one, names, replicates, seed).items():
            scope, _, statistic = name.rpartition(".")
            interval = bootstrap.interval(value, drawn[:0] if statistic in FACTS else drawn, n)
            kept = statistic not in FACTS and (every or scope not in class_names or len(class_names) == 2)
            key = f"{one.key} {seed} {replicates}"
            draws = bootstrap.Drawn(key, drawn.astype(np.float32)) if kept else None
            rows.append((model, model in baselines, split, scope, statistic, *interval, one.n, n, draws))
    return pd.DataFrame(rows, columns=[*COLUMNS, DRAWN])


def _evaluated(
    predictions: Mapping[str, Any],
    truth: Any,
    class_names: Sequence[str],
    thresholds: Mapping[str, Any] | None,
    groups: Any,
    batch: int = 16,
) -> Mapping[str, Evaluated]:
    """Return the predictions of each model counted against the truth."""
    _check(predictions, class_names, thresholds, batch)
    if truth is None:
        return {key: Patches(counts, groups, class_names, batch) for key, counts in predictions.items()}
    true = np.asarray(truth)
    if true.dtype.kind == "f":
        if class_names:
            raise DataError(
                f"The truth has {true.dtype} values and classes have names: give class indices, or leave "
                "class_names out to score values."
            )
        return {key: Values(true, found, groups) for key, found in predictions.items()}
    if not class_names:
        raise ParameterError(
            "class_names is empty: give the names of the classes, as their class scheme does."
        )
    if thresholds is None:
        found = {key: _labels(values, true) for key, values in predictions.items()}
        if true.ndim == 1:
            return dict(zip(found, of_labels(true, list(found.values()), groups, class_names), strict=True))
        return {
            key: Patches(metrics.confusions(true, labels, len(class_names)), groups, class_names, batch)
            for key, labels in found.items()
        }
    if true.ndim > 2:
        masks = {key: decide(values, thresholds[key]) for key, values in predictions.items()}
        return _evaluated(masks, true, class_names, None, groups, batch)
    kind: Callable[..., Evaluated] = Binary if true.ndim == 1 else MultiLabel
    return {
        key: kind(true, values, thresholds[key], groups, class_names) for key, values in predictions.items()
    }


def _check(
    predictions: Mapping[str, Any],
    class_names: Sequence[str],
    thresholds: Mapping[str, Any] | None,
    batch: int,
) -> None:
    """Refuse settings that no score can be computed with.

    Raises:
        ParameterError: If there is no model, two classes share a name, a model has no threshold or one that
            is no number, or a batch has no patch.
    """
    if not predictions:
        raise ParameterError("predictions is empty: give the predictions of at least one model.")
    if len(set(class_names)) < len(class_names):
        raise ParameterError(
            f"class_names is {list(class_names)}: expected a name of its own for each class."
        )
    if batch < 1:
        raise ParameterError(f"batch is {batch}: expected 1 patch or more.")
    for model in predictions if thresholds is not None else ():
        check_known(model, thresholds or {}, f"thresholds has none of the model {model!r}")
        if not np.isfinite(np.asarray((thresholds or {})[model], float)).all():
            raise ParameterError(
                f"The threshold of {model!r} is {(thresholds or {})[model]}: expected numbers."
            )


def _labels(values: Any, truth: np.ndarray) -> np.ndarray:
    """Return class indices, of probabilities (…, K) the likeliest class.

    Raises:
        DataError: If values are neither: a single probability needs a threshold.
    """
    values = np.asarray(values)
    metrics.check_finite(values)
    found = values.argmax(axis=-1) if values.ndim > truth.ndim and values.shape[-1] > 1 else values
    metrics.check_indices(found)
    return found


def _expanded(statistics: Sequence[str], class_names: Sequence[str]) -> list[str]:
    """Return names of statistics in which "class" is replaced by the name of each class."""
    names: list[str] = []
    for statistic in statistics:
        scope, _, name = statistic.rpartition(".")
        names += [f"{one}.{name}" for one in class_names] if scope == "class" else [statistic]
    return names


def nested(scores: pd.DataFrame, model: str = "") -> dict[str, Any]:
    """Return the values of a score table as ``run.metrics`` takes them.

    The path of a number is ``split[.key …].scope.statistic``, with the columns that a notebook has added to
    the table (level, rule) as keys; spaces and dots within a name become underscores.

    Args:
        scores: Result of :func:`score_table`.
        model: The model whose numbers stand at the top, a baseline too, beside ``baselines.<name>`` and other
            models by name; empty for every model, baselines too, below its own name.

    Example:
        >>> run.metrics(evaluation.nested(scores, "unet"))  # test.macro.f1, baselines.majority.test.macro.f1
    """
    found: dict[str, Any] = {}
    for path, value in zip(paths(scores, model), scores["value"], strict=True):
        *above, last = path.split(".")
        place = found
        for part in above:
            place = place.setdefault(part, {})
        place[last] = float(value)
    return found


def paths(scores: pd.DataFrame, model: str = "") -> list[str]:
    """Return the dotted path of each row of a score table in the metrics, see :func:`nested`."""
    keys = ["split", *keys_of(scores), "scope", "statistic"]
    found = []
    for row in scores.to_dict("records"):
        below = [*(["baselines"] if model and row["is_baseline"] else []), row["model"]]
        top = below if row["model"] != model else []
        found.append(".".join(re.sub("[ .]", "_", str(part)) for part in (*top, *(row[key] for key in keys))))
    return found


def pick(scores: pd.DataFrame, *statistics: str) -> pd.DataFrame:
    """Return the rows of some statistics, each "scope.statistic"; a scope that is left out may be any."""
    full = scores["scope"].astype(str) + "." + scores["statistic"].astype(str)
    return scores[full.isin(statistics) | scores["statistic"].isin(statistics)]


def class_table(scores: pd.DataFrame, model: str = "", interval: str = "f1") -> pd.DataFrame:
    """Return a row a class and a column a statistic, with the interval of one of them.

    Args:
        scores: Result of :func:`score_table` with "class." statistics, such as :data:`CLASS_STATISTICS`.
        model: Which model; the first one unless told.
        interval: Statistic whose interval stands in the columns low and high, right after it; then the
            number of groups that have the class.
    """
    rows = scores[scores["model"] == (model or scores["model"].iloc[0])]
    wide = rows.set_index(["scope", "statistic"])["value"].unstack("statistic", sort=False)  # noqa: PD010
    for name in {"support", "predicted"} & set(wide):
        wide[name] = wide[name].astype(int)
    ends = rows[rows["statistic"] == interval].set_index("scope").filter(["low", "high", "n_groups"])
    place = list(wide).index(interval)
    for shift, name in enumerate(map(str, ends), start=1):
        wide.insert(place + shift, name.removeprefix("n_"), ends[name])
    return wide.rename_axis("class").rename_axis(columns=None).reset_index()


def of_run(scores: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return a training run's table of scores with its model under another name; baselines keep theirs.

    Args:
        scores: Result of :func:`score_table`.
        name: Such as :func:`eolab.runs.named` gives.
    """
    return scores.assign(model=scores["model"].where(scores["is_baseline"].astype(bool), name))


def join_scores(tables: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Put score tables of several runs on the same samples together, each model once.

    Args:
        tables: Results of :func:`score_table`, the newest run first; of two rows for one model the newer one
            counts.

    Returns:
        One table: baselines first, then by name.
    """
    joined = pd.concat(list(tables), ignore_index=True)
    joined = joined.drop_duplicates([key for key in joined if key not in (*NUMBERS, "is_baseline")])
    order = ["is_baseline", "model"]
    return joined.sort_values(order, ascending=[False, True], kind="stable", ignore_index=True)


def readable(scores: pd.DataFrame) -> pd.DataFrame:
    """Return a score table for people: a row a model, "value (low to high)" by statistic.

    Samples and groups are counted, groups where they are not single samples.

    Args:
        scores: Result of :func:`score_table`, or of :func:`eolab.evaluation.paired_gains`, whose values get a
            sign; columns that a notebook has added name rows too.
    """
    form = "+.3f" if COUNT in scores else ".3f"
    keys = [*(["split"] if len(set(scores["split"])) > 1 else []), *keys_of(scores), "model"]
    titles = [title(*pair) for pair in zip(scores["scope"], scores["statistic"], strict=True)]
    groups = scores[COUNT] if COUNT in scores else scores.get("n_groups", np.nan)
    shown = scores.assign(title=titles, groups=groups).rename(columns={"n": "samples"})
    shown["text"] = [in_words(row, form) for row in shown.itertuples(index=False)]
    wide = shown.pivot_table(index=keys, columns="title", values="text", aggfunc="first", sort=False)
    alone = "samples" in shown and (shown["groups"].isna() | (shown["groups"] >= shown["samples"])).all()
    counts = ["samples"] if alone else [name for name in ("samples", "groups") if name in shown]
    for place, name in enumerate(counts):
        wide.insert(place, name, shown.groupby(keys)[name].max())
    return wide.rename_axis(columns=None).reset_index()


def title(scope: str, statistic: str) -> str:
    """Return a score's name as people write it: "macro F1", "water IoU", "balanced accuracy"."""
    words = [WORDS.get(word, word) for word in statistic.split("_")]
    return " ".join([*([] if scope == "all" else [scope.replace("_", " ")]), *words])


def keys_of(scores: pd.DataFrame) -> list[str]:
    """Return the columns that a notebook has added to name rows."""
    return [str(name) for name in scores if name not in (*COLUMNS, COUNT, DRAWN, "verdict")]


def in_words(row: Any, form: str = ".3f") -> str:
    """Return a score with its interval, or with the reason why there is none: "0.512 (0.430 to 0.590)".

    Args:
        row: A row of a score table or of gains, with ``n_groups`` as ``groups``.
        form: How numbers are written; "+.3f" for gains.
    """
    if pd.isna(row.value):
        return "undefined"
    if row.statistic in ("support", "predicted"):
        return f"{row.value:,.0f}"
    verdict = getattr(row, "verdict", "")
    if verdict == "not paired":
        return f"{row.value:{form}} (not paired)"
    if pd.isna(row.low):
        why = "1 group" if row.groups == 1 else f"{row.groups:.0f} groups"
        why = why if row.groups < bootstrap.MIN_GROUPS else "the same in every draw"
        unsaid = row.statistic in FACTS or pd.isna(row.groups)
        text = f"{row.value:{form}}" + ("" if unsaid else f" (no interval: {why})")
    else:
        text = f"{row.value:{form}} ({row.low:{form}} to {row.high:{form}})"
    return f"{text}, {verdict}" if verdict in ("better", "worse", "no difference shown") else text
