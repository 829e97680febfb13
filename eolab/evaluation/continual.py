"""What a model that learns period after period forgets, and what it carries over.

R[i, j] is the score on period j of the model that has learned up to period i; there are T periods. After
Lopez-Paz and Ranzato (2017, https://arxiv.org/abs/1706.08840) and Chaudhry et al. (2018,
https://arxiv.org/abs/1801.10112):

================= ========================================= ==============================================
average           mean over j of R[T, j]                    of the last model over all periods
backward_transfer mean over j < T of R[T, j] − R[j, j]      what learning on has changed in earlier periods
forgetting        mean over j < T of max R[i, j] − R[T, j]  against the best model before, i < T
forward_transfer  mean over j > 1 of R[j − 1, j] − b[j]     before a period is learned, against an
                                                            untrained model's score b
================= ========================================= ==============================================
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError
from eolab.evaluation import bootstrap
from eolab.evaluation.tables import COLUMNS, DRAWN, in_words, score_table, title

MEASURES = ("average", "backward_transfer", "forgetting", "forward_transfer")
Predicted = Mapping[Any, Mapping[Any, Any]]
"""Predictions by the last period learned and the period predicted."""


def continual_scores(
    predictions: Mapping[str, Predicted], truth: Mapping[Any, Any], **options: Any
) -> pd.DataFrame:
    """Score models that learn period after period on all periods.

    Args:
        predictions: By model, by the last period learned, and by the period predicted, in order.
        truth: By period, see :func:`eolab.evaluation.score_table`.
        **options: Further arguments of that function.

    Returns:
        Its table with the columns "learned" and "scored": the last period learned, the period predicted.
    """
    tables = [
        score_table(
            {model: found[last][period] for model, found in predictions.items()}, true, **options
        ).assign(learned=last, scored=period)
        for last in next(iter(predictions.values()))
        for period, true in truth.items()
    ]
    return pd.concat(tables, ignore_index=True)


def measures(scores: pd.DataFrame, untrained: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return average score, backward transfer, forgetting and forward transfer of each model, with intervals.

    All are computed within each bootstrap replicate, which draws the same groups in every period, so that
    :func:`eolab.evaluation.gains` compares models in pairs.

    Args:
        scores: Result of :func:`continual_scores`, rows of one statistic.
        untrained: The same of an untrained model, rows of that statistic with the column "scored"; without
            it there is no forward transfer.

    Returns:
        The columns of a score table, a row a model and measure; scope is the statistic.

    Raises:
        DataError: If there are several statistics or fewer than two periods.
    """
    kinds = scores[["scope", "statistic"]].drop_duplicates()
    periods = list(dict.fromkeys(scores["scored"]))
    if len(kinds) != 1 or len(periods) < 2:
        raise DataError(
            f"The table has {len(kinds)} statistics and {len(periods)} periods: expected one statistic and "
            "at least two periods."
        )
    name, count = title(*kinds.iloc[0]), len(periods)
    square = pd.MultiIndex.from_product([periods, periods])
    begun = None if untrained is None else untrained.set_index("scored").loc[periods]
    rows = []
    for model, own in scores.groupby("model", sort=False):
        cells = own.set_index(["learned", "scored"]).loc[square]
        used = [cells] if begun is None else [cells, begun]
        shape = [(count, count), (count,)]
        values = [one["value"].to_numpy(float).reshape(size) for one, size in zip(used, shape, strict=False)]
        found, drawn, key = of_matrix(*values), dict[str, Any](), _alike(pd.concat(used))
        if key:
            draws = [np.array([one.values for one in table[DRAWN]], float) for table in used]
            drawn = of_matrix(*[one.reshape(*size, -1) for one, size in zip(draws, shape, strict=False)])
        first = cells.iloc[0]
        for measure, value in found.items():
            again = np.asarray(drawn.get(measure, ()), float)
            ends = bootstrap.interval(float(value), again, int(first["n_groups"]))
            kept = bootstrap.Drawn(key, again.astype(np.float32)) if key else None
            about = (model, first["is_baseline"], first["split"], name, measure)
            rows.append((*about, *ends, first["n"], first["n_groups"], kept))
    return pd.DataFrame(rows, columns=[*COLUMNS, DRAWN])


def _alike(rows: pd.DataFrame) -> str:
    """Return a key of rows whose replicates have drawn the same groups, empty where they have not."""
    drawn = list(rows[DRAWN])
    if not all(isinstance(one, bootstrap.Drawn) for one in drawn):
        return ""
    draws = {(groups, one.key.partition(" ")[2]) for groups, one in zip(rows["n_groups"], drawn, strict=True)}
    return " ".join(dict.fromkeys(one.key for one in drawn)) if len(draws) == 1 else ""


def of_matrix(matrix: np.ndarray, untrained: np.ndarray | None = None) -> dict[str, Any]:
    """Return the measures of a matrix of scores.

    Args:
        matrix: R (T, T, …): learned up to the period of the row, scored on that of the column; further axes
            are kept.
        untrained: Scores b (T, …) of an untrained model on the periods.

    Returns:
        Each measure by name, a number or an array (…).
    """
    last, own = matrix[-1], np.stack([matrix[k, k] for k in range(len(matrix))])
    found = {
        "average": last.mean(axis=0),
        "backward_transfer": (last - own)[:-1].mean(axis=0),
        "forgetting": (matrix[:-1].max(axis=0) - last)[:-1].mean(axis=0),
    }
    if untrained is not None:
        before = np.stack([matrix[k - 1, k] for k in range(1, len(matrix))])
        found["forward_transfer"] = (before - untrained[1:]).mean(axis=0)
    return found


def matrices(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the matrix R of each model: a row a period learned, a column a period scored.

    Args:
        scores: Result of :func:`continual_scores`, rows of one statistic.
    """
    return {
        str(model): rows.set_index(["learned", "scored"])["value"].unstack("scored", sort=False)  # noqa: PD010
        for model, rows in scores.groupby("model", sort=False)
    }


def forgetting_said(gained: pd.DataFrame, models: Sequence[str] = ()) -> str:
    """Say which models forget less than another one.

    Args:
        gained: Result of :func:`eolab.evaluation.gains` of :func:`measures`.
        models: The models that are named; all by default.

    Returns:
        A sentence such as "replay forgets less than naive: -0.021 (-0.040 to -0.002) macro F1; …".
    """
    words = {"better": "forgets less", "worse": "forgets more"}
    rows = list[Any](gained[gained["statistic"] == "forgetting"].itertuples())
    said = [
        f"{row.model} {words.get(row.verdict, 'is not shown to forget less')} than {row.over}: "
        f"{in_words(row._replace(verdict=''), '+.3f')} {row.scope}"
        for row in rows
        if not models or row.model in models
    ]
    return f"{'; '.join(said)}." if said else ""
