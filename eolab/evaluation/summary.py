"""What a score table says in short: the main score, its gain over the best baseline, what to take care of."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from eolab.core.errors import check_known
from eolab.core.numbers import of
from eolab.evaluation.bootstrap import MIN_GROUPS
from eolab.evaluation.paired import LOWER, gain_in_words, gains
from eolab.evaluation.tables import FACTS, in_words, keys_of, pick, title

MAIN = ("macro.average_precision", "macro.f1", "all.balanced_accuracy", "all.r2")
FEW_GROUPS = 20  # with fewer an interval is rough
SHOWN = 2  # kinds of score, such as against two maps
WORSE = "{} is worse than {}"
SAME = "{} scores the same as {} on these samples"
NOT_SHOWN = "{} is not shown to be better than {}, the difference may be chance"


class Summary(NamedTuple):
    """Sentences: what was found, and what to take care of; and whether each score is the best possible."""

    found: list[str]
    cautions: list[str]
    perfect: bool = False


def summary(scores: pd.DataFrame, statistic: str = "", model: str = "", over: str = "") -> Summary:
    """Say what a score table shows, with the intervals and digits that its readable form has.

    Args:
        scores: Result of :func:`eolab.evaluation.score_table`; of columns that a notebook has added, the
            first two combinations are said.
        statistic: The score, as "scope.statistic"; :func:`main_statistic` where empty.
        model: Whose score; of the best model that is no baseline where empty, or not in the table.
        over: The model that it is compared with; the best baseline where empty.

    Returns:
        A sentence a kind of score, and cautions: where the model is worse than the other or not shown to be
        better, and where few groups make intervals rough or leave none. Nothing for an empty table.

    Raises:
        ParameterError: If the table has no such statistic.
    """
    known = scores.dropna(subset="value")
    statistic = statistic or main_statistic(known)
    rows = pick(known, statistic)
    if rows.empty:
        if len(known):
            full = known["scope"].astype(str) + "." + known["statistic"].astype(str)
            check_known(statistic, full, f"The table has no scores {statistic!r}")
        return Summary([], [])
    keys = [*(["split"] if len(set(rows["split"])) > 1 else []), *keys_of(rows)]
    kinds = [rows] if not keys else [one for _, one in rows.groupby(keys, sort=False, dropna=False)]
    found, verdicts, groups, best = [], dict[str, list[str]](), list[int](), []
    for kind in kinds[:SHOWN]:
        which = ", ".join(f"{key.replace('_', ' ')} {kind[key].iloc[0]}" for key in keys)
        own = _own(kind, model)
        best.append(bool(own["value"] == (0 if own["statistic"] in LOWER else 1)))
        alone = bool(own["is_baseline"]) and own["model"] != model  # the best baseline, there is no model
        said, verdict = ("", "") if alone and not over else _compared(kind, own, over)
        scored = title(own["scope"], own["statistic"]) + f" ({which})" * bool(which)
        found.append(f"{scored[0].upper()}{scored[1:]}: {_named(kind, own, model)} {_score(own)}{said}.")
        if verdict:
            verdicts.setdefault(verdict, []).append(which)
        if own["n_groups"] < min(FEW_GROUPS, own["n"] if own["n"] > 0 else np.inf):
            groups.append(int(own["n_groups"]))
    cautions = [_caution(verdict, kinds) for verdict, kinds in verdicts.items()]
    if groups:
        what = "there are no intervals" if min(groups) < MIN_GROUPS else "intervals are rough"
        cautions.append(f"Only {of(min(groups), 'groups')}: {what}.")
    return Summary(found, cautions, all(best))


def main_statistic(scores: pd.DataFrame) -> str:
    """Return the main score of a table, as "scope.statistic".

    The first one where it is an F1, else the first of :data:`MAIN` that the table has, else the first one.
    """
    rows = scores[~scores["statistic"].isin(FACTS)]
    names = list(dict.fromkeys(rows["scope"].astype(str) + "." + rows["statistic"].astype(str)))
    if not names or names[0].endswith(".f1"):
        return names[0] if names else ""
    return next((name for name in MAIN if name in names), names[0])


def _own(kind: pd.DataFrame, model: str) -> pd.Series:
    """Return the row of a model; where it has none, the best of those that are no baselines, or of all."""
    named = kind[kind["model"] == model]
    return _best(named if len(named) else kind[~kind["is_baseline"].astype(bool)], kind)


def _best(rows: pd.DataFrame, otherwise: pd.DataFrame) -> pd.Series:
    rows = rows if len(rows) else otherwise
    sign = -1 if rows["statistic"].iloc[0] in LOWER else 1
    return rows.iloc[int(np.argmax(sign * rows["value"].to_numpy()))]


def _named(kind: pd.DataFrame, own: pd.Series, model: str) -> str:
    baseline = kind["is_baseline"].astype(bool)
    if own["model"] == model:
        return f"{model}, a baseline," if own["is_baseline"] else model
    alike, what = (baseline, " baselines") if own["is_baseline"] else (~baseline, "")
    return f"{own['model']}, the best of {alike.sum()}{what}," if alike.sum() > 1 else str(own["model"])


def _score(own: pd.Series) -> str:
    """Return a score with its interval and what it rests on."""
    row = _row(own.rename({"n_groups": "groups"}))
    if not own["n"] > 0:
        return in_words(row)
    groups = f" in {of(int(own['n_groups']), 'groups')}" if own["n_groups"] < own["n"] else ""
    return f"{in_words(row)} on {own['n']:,.0f} {own['split']} samples{groups}"


def _compared(kind: pd.DataFrame, own: pd.Series, over: str) -> tuple[str, str]:
    """Return the gain over another model in words, and a caution with {} for the kinds of score."""
    others = kind[kind["model"] == over] if over else kind[kind["is_baseline"].astype(bool)]
    others = others[others["model"] != own["model"]]
    if others.empty:
        return "", ""
    other = _best(others, others)
    of_both = kind[kind["model"].isin([own["model"], other["model"]])]
    gain = _row(gains(of_both, over=str(other["model"])).iloc[0])
    cautions = {"worse": WORSE, "no difference shown": NOT_SHOWN}
    if own["value"] == other["value"]:
        cautions = dict.fromkeys(cautions, SAME)
    caution = cautions.get(gain.verdict, "").format(own["model"], other["model"])
    best = "the best other baseline" if own["is_baseline"] else "the best baseline"
    which = f", {best}," if not over and len(others) > 1 else ""
    return f"; gain over {other['model']}{which} {gain_in_words(gain)}", caution


def _caution(verdict: str, kinds: Sequence[str]) -> str:
    which = "; ".join(kind for kind in kinds if kind)
    return f"{verdict}{f' ({which})' if which else ''}."


def _row(row: pd.Series) -> Any:
    """Return a row of a table as :func:`in_words` takes it."""
    return next(row.to_frame().T.itertuples(index=False))
