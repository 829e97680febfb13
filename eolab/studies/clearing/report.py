"""The numbers of Svensson (2020), and what follows from them.

The source is E. Svensson, AI classification of need for clearing from Sen2 satellite images, Örebro
University, 2020.
"""

from importlib.resources import files

import numpy as np
import pandas as pd

from eolab import evaluation
from eolab.evaluation.divided import SPLIT_BY


def published_tables() -> pd.DataFrame:
    """Return tables 1 and 2 of Svensson (2020): precision, recall, F1 and support by class, split by date."""
    with (files("eolab.studies.clearing") / "published.csv").open() as content:
        return pd.read_csv(content)


def implied(table: pd.DataFrame) -> pd.DataFrame:
    """Return what the supports of the tables imply, a row a network.

    The supports of two networks on the same data differ, so they were tested on other samples.

    Args:
        table: Result of :func:`published_tables`.

    Returns:
        Columns data, model, support, majority_accuracy (of always predicting the larger class), accuracy, and
        accuracy_of_recalls, which the recalls of both classes and their supports give.
    """
    rows = []
    for (data, model), part in table.groupby(["data", "model"], sort=False):
        found = part.set_index("class")
        support, recall = (
            found.loc[["clear", "need"], name].to_numpy(float) for name in ("support", "recall")
        )
        facts = {"data": data, "model": model, "support": int(support.sum())}
        facts |= {"majority_accuracy": support.max() / support.sum(), "accuracy": found.loc["accuracy", "f1"]}
        rows.append(facts | {"accuracy_of_recalls": float(np.dot(recall, support) / support.sum())})
    return pd.DataFrame(rows)


def beside(published: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracies of Svensson (2020) and ours in one table.

    Args:
        published: Result of :func:`published_tables`.
        ours: Rows of the accuracy in a score table with the kind of split.

    Returns:
        Columns by, model, data (of Svensson (2020)), split_by, accuracy and samples.
    """
    theirs = published[published["class"] == "accuracy"]
    first = pd.DataFrame({"by": "report", "model": theirs["model"], "data": theirs["data"], SPLIT_BY: "date"})
    first = first.assign(accuracy=theirs["f1"].map("{:.2f}".format), samples=theirs["support"])
    texts = [evaluation.in_words(row) for row in ours.rename(columns={"n_groups": "groups"}).itertuples()]
    second = pd.DataFrame({"by": "here", "model": ours["model"], "data": "", SPLIT_BY: ours[SPLIT_BY]})
    return pd.concat([first, second.assign(accuracy=texts, samples=ours["n"])], ignore_index=True)
