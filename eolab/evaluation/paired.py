"""Comparison of models in pairs from the replicates that their score tables keep, also of several runs."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, check_known
from eolab.core.files import replacing
from eolab.evaluation.bootstrap import MIN_GROUPS, Drawn, Interval, interval
from eolab.evaluation.tables import COLUMNS, COUNT, DRAWN, in_words, keys_of, score_table, title

LOWER = (
    "mse",
    "mae",
    "forgetting",
    "coverage_error",
    "ranking_loss",
    "hamming_loss",
)  # the lower, the better
ROUNDED = 1e-6  # of the largest score: replicates are kept as float32


def paired_gains(
    predictions: Mapping[str, Any],
    truth: Any = None,
    *,
    model: str,
    statistics: Sequence[str],
    baselines: Collection[str] = (),
    **options: Any,
) -> pd.DataFrame:
    """Return what a model gains over each other one on the same samples, drawn together in each replicate.

    An interval that excludes 0 says that the two differ.

    Args:
        predictions: By the model's name.
        truth: See :func:`score_table`.
        model: The model that gains.
        statistics: Which scores.
        baselines: Names of models that are baselines.
        **options: Further arguments of :func:`score_table`.

    Returns:
        The columns of :func:`score_table`, a row another model and statistic: value is the gain over that
        model; in place of n and n_groups stands groups, the number of groups that it rests on.

    Raises:
        DataError: For the reasons of :func:`score_table`, and if matrices have counted different truths.
    """
    check_known(model, predictions, f"There are no predictions of the model {model!r}")
    supports = [np.asarray(counts).sum(axis=-1) for counts in predictions.values()] if truth is None else []
    if any(not np.array_equal(one, supports[0]) for one in supports[1:]):
        raise DataError("The matrices of the models count different pixels: score all on the same patches.")
    scores = score_table(
        predictions, truth, statistics=statistics, baselines=baselines, every=True, **options
    )
    mine = scores["model"] == model
    own = {(row["scope"], row["statistic"]): row for _, row in scores[mine].iterrows()}
    others = scores[~mine]
    ends = [_paired(own[row["scope"], row["statistic"]], row, 1)[0] for _, row in others.iterrows()]
    gained = others.assign(**{name: [getattr(end, name) for end in ends] for name in Interval._fields})
    return gained.drop(columns=["n", DRAWN]).rename(columns={"n_groups": COUNT}).reset_index(drop=True)


def gains(scores: pd.DataFrame, over: str = "") -> pd.DataFrame:
    """Return what the models of a score table gain over one of them on the same samples, in pairs.

    Each replicate draws the same groups for both. That the intervals of two scores overlap says nothing: the
    difference can be certain although they do.

    Args:
        scores: Result of :func:`score_table` or :func:`join_scores`, also of several runs.
        over: Name of the other model; in each kind of score the best baseline where empty, or the best model
            where there is no baseline.

    Returns:
        A row a model and kind of score, without baselines where the other is the best of them: the columns of
        :func:`paired_gains`, "over" and "verdict". That is "better", "worse", "no difference shown", "too few
        groups", "the same in every draw", or "not paired" where two models were scored on other samples, or
        by a run that kept no replicates.
    """
    if over:
        check_known(over, set(scores["model"]), f"The table has no scores of the model {over!r}")
    rows: list[dict[str, Any]] = []
    by = ["split", *keys_of(scores), "scope", "statistic"]
    for _, same in scores.dropna(subset="value").groupby(by, sort=False, dropna=False):
        baseline = same["is_baseline"].to_numpy(bool)
        sign = -1 if same["statistic"].iloc[0] in LOWER else 1
        known = same[same["model"] == over] if over else same[baseline]
        if over and not len(known):
            continue
        among = known if len(known) else same
        other = among.iloc[int(np.argmax(sign * among["value"].to_numpy()))]
        models = same if over or not len(known) else same[~baseline]
        for _, own in models[models["model"] != other["model"]].iterrows():
            gain, verdict = _paired(own, other, sign)
            ends = gain._asdict()
            rows.append(own.to_dict() | ends | {"over": str(other["model"]), "verdict": verdict})
    columns = [*COLUMNS, *keys_of(scores), "over", "verdict"]
    return pd.DataFrame(rows, columns=columns).drop(columns="n").rename(columns={"n_groups": COUNT})


def gains_said(gained: pd.DataFrame) -> str:
    """Say of a table of gains whether each model is better or worse than the other, or not shown to be.

    Args:
        gained: Result of :func:`gains`.

    Returns:
        A sentence for each kind of score, such as "In macro F1 against the truth, lstm is worse than
        random_forest: -0.062 (-0.110 to -0.021)."; empty for an empty table.
    """
    keys = [name for name in keys_of(gained) if name != "over"]
    said = []
    for _, rows in gained.groupby(["scope", "statistic", *keys], sort=False, dropna=False):
        first = rows.iloc[0]
        which = "".join(f" {key} the {first[key]}" for key in keys)
        models, listed = list[str](), list[Any](rows.itertuples())
        for row in listed:
            found = row.verdict if row.verdict in ("better", "worse") else "not shown to be better"
            models.append(f"{row.model} is {found} than {row.over}: {gain_in_words(row)}")
        said.append(f"In {title(first['scope'], first['statistic'])}{which}, {'; '.join(models)}.")
    return " ".join(said)


def gain_in_words(row: Any) -> str:
    """Return a row of :func:`gains` with its interval, without its verdict: "-0.062 (-0.110 to -0.021)"."""
    return in_words(row if row.verdict == "not paired" else row._replace(verdict=""), "+.3f")


def mean_gain(own: Sequence[pd.Series], other: Sequence[pd.Series]) -> tuple[Interval, str]:
    """Return what the mean of a statistic over some runs gains over that of other runs, in pairs.

    The interval is of the test samples; how far the runs of one setting differ is not in it.

    Args:
        own: Rows of one statistic in score tables with replicates, one a run.
        other: The rows of the runs that are compared with.

    Returns:
        The gain with its interval, and the verdict, see :func:`gains`.
    """
    sign = -1 if own[0]["statistic"] in LOWER else 1
    return _paired(_mean(own), _mean(other), sign)


def _mean(rows: Sequence[pd.Series]) -> pd.Series:
    """Return the first row with the mean value and the mean of each replicate, where all drew alike."""
    drawn = [row[DRAWN] for row in rows]
    alike = all(isinstance(one, Drawn) for one in drawn) and len({one.key for one in drawn}) == 1
    mean = rows[0].copy()
    mean["value"] = np.mean([row["value"] for row in rows])
    mean[DRAWN] = Drawn(drawn[0].key, np.mean([one.values for one in drawn], axis=0)) if alike else None
    return mean


def _paired(own: pd.Series, other: pd.Series, sign: int) -> tuple[Interval, str]:
    """Return the gain of one row of a score table over another, and what it shows."""
    value, none = own["value"] - other["value"], float("nan")
    a, b = own.get(DRAWN), other.get(DRAWN)
    if not isinstance(a, Drawn) or not isinstance(b, Drawn) or a.key != b.key:
        return Interval(value, none, none), "not paired"
    drawn = a.values - b.values
    known = drawn[np.isfinite(drawn)]
    most = max(np.max(np.abs(one.values), where=np.isfinite(one.values), initial=0) for one in (a, b))
    told = known.size > 0 and np.ptp(known) > ROUNDED * most
    gain = interval(value, drawn if told else drawn[:0], int(own["n_groups"]))
    if np.isnan(gain.low):
        few = own["n_groups"] < MIN_GROUPS
        same = "the same in every draw" if value else "no difference shown"
        return gain, "too few groups" if few else same
    low, high = sorted((sign * gain.low, sign * gain.high))
    return gain, "better" if low > 0 else "worse" if high < 0 else "no difference shown"


def write_drawn(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Write the replicates of a score table to a file, and return the table without them.

    Args:
        table: Any table; one without replicates is returned as it is.
        path: The ``.npz`` file; one of before is removed.
    """
    path.unlink(missing_ok=True)
    if DRAWN not in table:
        return table
    none = Drawn("", np.empty(0, np.float32))
    kept = [one if isinstance(one, Drawn) else none for one in table[DRAWN]]
    keys, values = [one.key for one in kept], [one.values for one in kept]
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary, temporary.open("wb") as file:
        ends = np.cumsum([len(one) for one in values])
        np.savez(file, keys=np.array(keys, str), values=np.concatenate([*values, []], dtype="f4"), ends=ends)
    return table.drop(columns=DRAWN)


def read_drawn(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table with the replicates that :func:`write_drawn` has written, if it has.

    A table of another length is returned as it is.
    """
    if not path.is_file():
        return table
    with np.load(path) as kept:
        keys, ends, values = kept["keys"], kept["ends"], kept["values"]
    if len(keys) != len(table):
        return table
    parts = np.split(values, ends[:-1])[: len(keys)]  # of nothing there is one part
    drawn = [Drawn(str(key), part) if key else None for key, part in zip(keys, parts, strict=True)]
    return table.assign(drawn=pd.Series(drawn, table.index, dtype=object))
