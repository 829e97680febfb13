"""Years of a pixel alone or together: what is learned, from what, and how it is said."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from eolab import models
from eolab.core.errors import ParameterError
from eolab.data.store import GroupedStore, Store, open_store
from eolab.runs import history


def task_of(sequence: Mapping[str, Any], model: str) -> tuple[str, dict[str, float]]:
    """Return the task and the loss of a model, from the parameter ``sequence`` of ``04_train_pixels``.

    Raises:
        ParameterError: If years alone are to be compared, or a baseline is to read them together.
    """
    penalty = sequence["change_penalty"]
    if sequence["years"] == "alone":
        if penalty:
            raise ParameterError(
                f"sequence has change_penalty {penalty:g}, and its years are alone: set years to together."
            )
        return "series_classification", {"ce": 1.0}
    if model not in models.names("series"):
        raise ParameterError(
            f"Baseline {model!r} reads years alone: set the years of sequence to alone, or take a network."
        )
    return "yearly_classification", {"ce": 1.0} | ({"change": penalty} if penalty else {})


def together(samples: Store, table: pd.DataFrame, column: str) -> GroupedStore:
    """Return the samples with all years of a pixel as one.

    Args:
        samples: The samples, a row a pixel and year.
        table: Their table, in which ``column`` is "refused" where a label is not to be learned.
        column: Split column.
    """
    return GroupedStore(samples, "pixel", "year", table[column] != "refused")


def learned_from(folder: Path, samples: Store) -> tuple[Store, int]:
    """Return the samples as the model of a run reads them, and how many of them make a good example.

    Args:
        folder: Folder of a run of ``04_train_pixels`` or ``05_train_patches``.
        samples: The samples of pixels.
    """
    if (folder / "store").is_dir():
        return open_store(folder / "store"), 8
    years = history.load(folder).params.get("sequence", {}).get("years")
    found = GroupedStore(samples, "pixel", "year") if years == "together" else samples
    return found, min(1024, len(found))


def in_words(params: Mapping[str, Any]) -> str:
    """Say what a model has learned of the order of years, from the parameters of its run."""
    sequence, options = params.get("sequence", {}), params.get("options", {})
    if sequence.get("years") != "together":
        return "The model has seen each year alone: it knows nothing of the others."
    carried = " and carries what it has seen from year to year" if options.get("carry") else ""
    penalty = sequence["change_penalty"]
    paid = f"with a penalty of {penalty:g} on changes" if penalty else "without a penalty on changes"
    return (
        f"The model reads all years of a pixel together{carried}; it was trained {paid}. "
        "So 'none' has the consistency that the network has learned."
    )
