"""How long after its onset a flood is detected: days and images from the first flooded image to the alarm.

An alarm is an image whose probability is at least a threshold. Alarms before the onset are false ones; they
detect nothing and are counted on their own. A flood that is never detected is no missing number: its delay is
longer than was watched, so that quantiles over all flooded sequences count it as infinite.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from eolab.core.errors import DataError, ParameterError

NEEDED = ("sequence", "date", "flooded", "probability")
READABLE = {
    "flooded sequences": ("sequences", "{:.0f}"),
    "detected": ("detected", "{:.0%}"),
    "days (50 %)": ("days_median", "{:.0f}"),
    "days (75 %)": ("days_q75", "{:.0f}"),
    "alarm before the flood": ("early", "{:.0%}"),
    "alarm in a dry sequence": ("dry_alarms", "{:.0%}"),
}
"""Titles of a table for people: which number of :func:`summary`, and how it is written."""


def onset_days(tables: Iterable[pd.DataFrame]) -> pd.Series:
    """Return the day of the first flooded image of each flooded sequence, whichever sensor took it.

    Args:
        tables: A row an image of each sensor: sequence, date, flooded.
    """
    images = pd.concat([table[["sequence", "date", "flooded"]] for table in tables], ignore_index=True)
    wet = images[images["flooded"].astype(bool)]
    return pd.to_datetime(wet["date"]).groupby(wet["sequence"]).min()


def detections(
    table: pd.DataFrame, threshold: float, onsets: Mapping[str, Any] | pd.Series | None = None
) -> pd.DataFrame:
    """Return when the flood of each flooded sequence was detected.

    Args:
        table: A row an image: sequence, date, flooded, probability; result of
            :func:`eolab.studies.flood.scoring.predict`, or the images of a baseline with its score. Sequences
            are compared by their names: "10" of a store is 10 of a table read from a file.
        threshold: An image of at least this probability is an alarm.
        onsets: Day of the onset by sequence, NaT for a dry one; sequences that are not named are dry. Without
            it the onset is the day of a sequence's first flooded image in the table, whatever its sensor:
            give the days to hold sensors with series of their own against the same onset.

    Returns:
        A row a flooded sequence that has images, in the order of the table:

        ============ ==============================================================================
        onset        day of the onset
        detected     day of the first alarm on or after it, NaT where there is none
        days         days between the two, NaN where there is none
        images_until images from the onset to that alarm: 1 where the first one is it, NaN for none
        early        whether an alarm stood before the onset
        images_after images on or after the onset; where it is 0 the series ends before the flood
        ============ ==============================================================================

    Raises:
        DataError: If a column is missing, or an image has no date or no finite probability.
        ParameterError: If the threshold is no number.
    """
    images = _checked(table, threshold)
    given = onset_days([images]) if onsets is None else onsets
    days = {str(sequence): pd.Timestamp(day) for sequence, day in given.items()}
    images["onset"] = pd.to_datetime(images["sequence"].map(days)).astype("datetime64[ns]")
    images = images[images["onset"].notna()]
    order = images["sequence"].unique()
    images = images.sort_values("date", kind="stable")
    alarm, after = images["probability"] >= threshold, images["date"] >= images["onset"]
    sequence = images["sequence"]
    images["images_until"] = after.groupby(sequence).cumsum()
    first = images[alarm & after].groupby("sequence").first()
    found = {
        "onset": images.groupby("sequence")["onset"].first(),
        "detected": first["date"],
        "days": (first["date"] - first["onset"]).dt.days.astype(float),
        "images_until": first["images_until"].astype(float),
        "early": (alarm & ~after).groupby(sequence).any(),
        "images_after": after.groupby(sequence).sum(),
    }
    return pd.DataFrame(found).reindex(order).rename_axis("sequence").reset_index()


def summary(
    table: pd.DataFrame, threshold: float, onsets: Mapping[str, Any] | pd.Series | None = None
) -> dict[str, float]:
    """Return how many floods are detected, how soon, and how many sequences have a false alarm.

    Args:
        table: Table of :func:`detections`, dry sequences too.
        threshold: An image of at least this probability is an alarm.
        onsets: Onsets of :func:`detections`.

    Returns:
        ``sequences``: number of flooded sequences; ``detected``: share of them detected; ``days_q25``,
        ``days_median`` and ``days_q75``: the days within which a quarter, half and three quarters of all
        flooded sequences are detected, infinite where fewer ever are; ``early``: share of them with an alarm
        before the onset; ``dry_sequences``: number of dry sequences; ``dry_alarms``: share of them with an
        alarm. Shares and quantiles of no sequence are NaN.

    Raises:
        DataError: Where :func:`detections` raises it.
        ParameterError: If the threshold is no number.
    """
    found = detections(table, threshold, onsets)
    dry = table[~table["sequence"].astype(str).isin(found["sequence"])]
    alarms = (dry["probability"] >= threshold).groupby(dry["sequence"]).any()
    return {
        "sequences": len(found),
        "detected": float(found["detected"].notna().mean()),
        "days_q25": _quantile(found["days"], 0.25),
        "days_median": _quantile(found["days"], 0.5),
        "days_q75": _quantile(found["days"], 0.75),
        "early": float(found["early"].mean()),
        "dry_sequences": len(alarms),
        "dry_alarms": float(alarms.mean()),
    }


def readable(
    summaries: Mapping[str, Mapping[str, float]], sensors: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Return a table for people, a row a model: shares of sequences, and days to detect half and 75 %.

    Args:
        summaries: Results of :func:`summary` by name.
        sensors: What each reads, such as "S1" or "S1 + S2"; empty by default.
    """
    rows = []
    for name, one in summaries.items():
        texts = {title: text.format(one[key]) for title, (key, text) in READABLE.items()}
        rows.append({"name": name, "sensors": (sensors or {}).get(name, "")} | texts)
    table = pd.DataFrame(rows, columns=["name", "sensors", *READABLE]).replace("inf", "never")
    return table.astype({"flooded sequences": int})


def _checked(table: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Return the needed columns."""
    if not math.isfinite(threshold):
        raise ParameterError(f"threshold is {threshold}: expected a number, such as 0.5.")
    missing = [name for name in NEEDED if name not in table]
    if missing:
        raise DataError(
            f"The table has no {', '.join(missing)}: expected a row an image with {', '.join(NEEDED)}."
        )
    images = table[list(NEEDED)]
    for name, remedy in (
        ("date", "predict image by image, with the fusion 'union' instead of 'late'"),
        ("probability", "predict them again"),
    ):
        bad = int((images[name].isna() | images[name].isin([math.inf, -math.inf])).sum())
        if bad:
            raise DataError(f"{bad} of {len(images)} images have no {name}: {remedy}.")
    date = pd.to_datetime(images["date"]).astype("datetime64[ns]")
    return images.assign(sequence=images["sequence"].astype(str), date=date)


def _quantile(days: pd.Series, share: float) -> float:
    """Return the days within which this share of all sequences is detected, infinite where fewer are."""
    if not len(days):
        return math.nan
    ordered = days.fillna(math.inf).sort_values().to_numpy()
    return float(ordered[math.ceil(share * len(ordered)) - 1])
