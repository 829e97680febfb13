"""What the flood data and the published numbers say: counts, regions, images by date, test scores."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from eolab import evaluation
from eolab.core import yamls
from eolab.core.errors import check_known
from eolab.data.layouts.sen12flood import SENSORS, of_sequence, read_series
from eolab.data.splits.dealing import SPLITS

SHARES = ("dark", "water", "bright")
FACTS = yamls.read(Path(__file__).with_name("published.yaml"))["facts"]
"""Numbers of the published lists by fact."""
POOLED, SCENES = "all images pooled", "mean over sequences"
STATISTICS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1")
# Wiesniakowski et al. 2024: means over scenes of a split of their own. Were they scores of all steps pooled,
# the F1 of this precision and recall would be 0.0644. A scene without a flood counts 0, but in the accuracy.
CONVLSTM = {"accuracy": 0.6590, "precision": 0.0553, "recall": 0.0772, "f1": 0.0550}
# Accuracy of Rambour et al. 2020, ResNet-50 features and a GRU.
AUTHORS = {"Sentinel-1": 0.875, "Sentinel-2": 0.930, "both": 0.957}


def facts(images: pd.DataFrame) -> pd.DataFrame:
    """Return the lists in numbers: fact, here, published.

    Args:
        images: Result of :func:`eolab.data.layouts.sen12flood.index`.
    """
    split = images.groupby("sequence")["published"].first()
    s1, s2 = (images[images["sensor"] == sensor] for sensor in SENSORS)
    listed = images[images["filename"] != ""]
    files = listed[listed["sensor"] == "S2"]
    ordered = s1.sort_values("number").groupby("sequence")["date"].is_monotonic_increasing
    twice = s1[s1.duplicated(["sequence", "date", "orbit"])]["sequence"].nunique()
    wet = [set(part.loc[part["flooded"], "sequence"]) for part in (s1, s2)]
    first = listed.sort_values("date", kind="stable").groupby(["sensor", "sequence"])["flooded"].first()
    here = [
        len(split),
        int((split == "train").sum()),
        int((split == "test").sum()),
        len(s1),
        round(100 * s1["flooded"].mean(), 1),
        len(s2),
        len(files),
        round(100 * files["flooded"].mean(), 1),
        int((s1["channels"] == "VV").sum()),
        int((~ordered.astype(bool)).sum()),  # of no images there are days
        twice,
        len(wet[0]),
        len(wet[1]),
        len(wet[1] - wet[0]),
        int(first.sum()),
    ]
    numbers = {"here": here, "published": list(FACTS.values())}  # as objects: a count has no decimals
    return pd.DataFrame({"fact": list(FACTS), **numbers}, dtype=object)


def regions(sequences: pd.DataFrame, apart_deg: float = 1.5) -> pd.Series:
    """Return the region of each sequence: sequences of one region lie in a chain, each near the next.

    Args:
        sequences: Result of :func:`eolab.data.layouts.sen12flood.sequences`.
        apart_deg: Sequences further apart than this in degrees belong to different regions.

    Returns:
        "R1", "R2", … by the sequences' index, the largest region first.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    places = sequences[["longitude", "latitude"]].to_numpy()
    if len(places) < 2:
        return pd.Series("R1", index=sequences.index)
    cluster = pd.Series(fcluster(linkage(places, "single"), apart_deg, "distance"), index=sequences.index)
    order = cluster.value_counts(sort=False).sort_values(ascending=False, kind="stable").index
    return cluster.map({number: f"R{rank}" for rank, number in enumerate(order, start=1)})


def split_counts(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return split, sensor, sequences, images and the share of images that is flooded.

    Args:
        tables: Sample table with a column ``split`` by sensor.
    """
    rows = [
        (split, sensor, part["sequence"].nunique(), len(part), float(part["flooded"].mean()))
        for split in SPLITS
        for sensor, table in tables.items()
        for part in [table[table["split"] == split]]
    ]
    return pd.DataFrame(rows, columns=["split", "sensor", "sequences", "images", "flooded"])


def image_distributions(numbers: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return how dry and flooded training images differ in the median of each channel and in some shares.

    Args:
        numbers: Result of :func:`eolab.studies.flood.samples.image_table` with a column ``split`` by sensor.

    Returns:
        See :func:`eolab.evaluation.distributions`.
    """
    parts = []
    for sensor, table in numbers.items():
        train = table[table["split"] == "train"]
        shown = [str(name) for name in train if str(name).endswith("_p50") or name in SHARES]
        titles = {name: f"{sensor} {name.replace('_p50', ' median')}" for name in shown}
        features = train[shown].rename(columns=titles)
        parts.append(evaluation.distributions(features, train["flooded"].to_numpy(), ("dry", "flooded")))
    return pd.concat(parts, ignore_index=True)


def pictures(
    root: str | Path, images: pd.DataFrame, sequence: str, size: tuple[int, int] = (128, 128)
) -> dict[str, xr.Dataset]:
    """Return what a strip of a sequence shows by sensor: VH, or red, green and blue, where it has them.

    Args:
        root: Folder of the data set.
        images: Result of :func:`eolab.data.layouts.sen12flood.index`.
        sequence: Its name.
        size: Height and width.

    Raises:
        ParameterError: If there is no such sequence.
    """
    names = images["sequence"].unique().tolist()
    check_known(sequence, names, f"There is no sequence {sequence!r}")
    channels = {"S1": ["VH"], "S2": ["B04", "B03", "B02"]}
    own = images[(images["sequence"] == sequence) & (images["filename"] != "")]
    return {
        sensor: read_series(root, of_sequence(images, sequence, sensor), shown, size)[0]
        for sensor, shown in channels.items()
        if all(set(shown) <= set(one.split("+")) for one in own.loc[own["sensor"] == sensor, "channels"])
        and (own["sensor"] == sensor).any()
    }


def bright_share(numbers: Mapping[str, pd.DataFrame], sequence: str) -> pd.Series | None:
    """Return the share of bright pixels of a sequence's optical images by date, None where it is not known.

    Args:
        numbers: Result of :func:`eolab.studies.flood.samples.image_table` by sensor.
        sequence: Its name.
    """
    if "bright" not in numbers.get("S2", ()):
        return None
    own = numbers["S2"][numbers["S2"]["sequence"] == sequence]
    return own.set_index("date")["bright"]


def example_sequences(predictions: pd.DataFrame, first: Sequence[str], n_examples: int) -> list[str]:
    """Return sequences worth a look: one whose flood is hidden, then those that are predicted worst.

    Args:
        predictions: See :mod:`eolab.studies.flood.scoring`.
        first: Sequences of which the one with most steps comes first.
        n_examples: How many.
    """
    error = (predictions["probability"] - predictions["flooded"]).abs()
    wrong = error.groupby(predictions["sequence"]).mean().sort_values(ascending=False, kind="stable")
    own = predictions[predictions["sequence"].isin(set(first))]
    steps = own.groupby("sequence").size().sort_values(kind="stable")
    return list(dict.fromkeys([*steps.index[-1:], *wrong.index]))[:n_examples]


# === Published test scores, and those of a model that always predicts "dry" ===


def published_scores() -> pd.DataFrame:
    """Return the published scores: source, sensors, averaging, the statistics; NaN where none is given."""
    rows = [
        {"source": "Wiesniakowski et al. 2024, ConvLSTM", "sensors": "both", "averaging": SCENES, **CONVLSTM}
    ]
    rows += [
        {"source": "Rambour et al. 2020, ResNet-50 + GRU", "sensors": sensors, "accuracy": value}
        for sensors, value in AUTHORS.items()
    ]
    table = pd.DataFrame(rows, columns=["source", "sensors", "averaging", *STATISTICS])
    return table.fillna({"averaging": "not stated"})


def always_dry(images: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the scores of always predicting "dry": images, number, averaging, and the statistics.

    Args:
        images: Tables with a column ``flooded``, by name.
    """
    rows = []
    for name, table in images.items():
        dry = float(1 - table["flooded"].mean())
        scores = {"accuracy": dry, "balanced_accuracy": 0.5, "precision": np.nan, "recall": 0.0, "f1": 0.0}
        rows.append({"images": name, "number": len(table), "averaging": POOLED, **scores})
    return pd.DataFrame(rows)


def padded_scores(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the published ConvLSTM's scores and ours, by averaging, padded steps counted and left out.

    Args:
        runs: Table "padding" of a training run by its name: statistic, padded, value, and averaging, which
            runs of earlier versions lack.
    """
    rows: list[dict[str, Any]] = [
        {"source": "Wiesniakowski et al. 2024", "padded steps": "not stated", "averaging": SCENES, **CONVLSTM}
    ]
    for name, table in runs.items():
        table = table.assign(averaging=table.get("averaging", POOLED))
        for (averaging, padded), part in table.groupby(["averaging", "padded"], sort=False):
            found = dict(zip(part["statistic"].astype(str), part["value"], strict=True))
            steps = "counted" if padded else "left out"
            rows.append({"source": name, "padded steps": steps, "averaging": averaging, **found})
    return pd.DataFrame(rows, columns=["source", "padded steps", "averaging", *STATISTICS])
