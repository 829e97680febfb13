"""How long after its onset a flood is detected: days and images from the first flooded image to the alarm.

An alarm is an image whose probability is at least a threshold. Alarms before the onset are false ones; they
detect nothing and are counted on their own. A flood that is never detected is no missing number: its delay is
longer than was watched, so that quantiles over all flooded sequences count it as infinite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from eolab.core.errors import DataError, ParameterError

NEEDED = ("sequence", "date", "flooded", "probability")
READABLE = [
    *("name", "sensors", "flooded sequences", "detected", "days (50 %)", "days (75 %)"),
    *("alarm before the flood", "alarm in a dry sequence"),
]
COLUMNS = ["sequence", "onset", "detected", "days", "images_until", "early", "images_after"]


def onsets(tables: Iterable[pd.DataFrame]) -> pd.Series:
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
            :func:`eolab.studies.flood.predict`, or the images of a baseline with its score. Sequences
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
    days = _onsets(images, onsets)
    rows = []
    for sequence, part in images.groupby("sequence", sort=False):
        onset = days.get(sequence, pd.NaT)
        if not pd.isna(onset):
            rows.append((sequence, onset, *_detection(part, onset, threshold)))
    kinds = {
        **dict.fromkeys(("onset", "detected"), "datetime64[ns]"),
        **dict.fromkeys(("days", "images_until"), "float64"),
        **{"early": "bool", "images_after": "int64"},
    }
    return pd.DataFrame(rows, columns=COLUMNS).astype(kinds)


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
    rows = [
        {
            "name": name,
            "sensors": (sensors or {}).get(name, ""),
            "flooded sequences": int(one["sequences"]),
            "detected": f"{one['detected']:.0%}",
            "days (50 %)": _days(one["days_median"]),
            "days (75 %)": _days(one["days_q75"]),
            "alarm before the flood": f"{one['early']:.0%}",
            "alarm in a dry sequence": f"{one['dry_alarms']:.0%}",
        }
        for name, one in summaries.items()
    ]
    return pd.DataFrame(rows, columns=READABLE)


def _days(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


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
    return images.assign(sequence=images["sequence"].astype(str), date=pd.to_datetime(images["date"]))


def _onsets(images: pd.DataFrame, given: Mapping[str, Any] | pd.Series | None) -> Mapping[Any, Any]:
    """Return the day of the onset by sequence."""
    if given is not None:
        return {str(sequence): pd.Timestamp(day) for sequence, day in given.items()}
    return onsets([images]).to_dict()


def _detection(images: pd.DataFrame, onset: pd.Timestamp, threshold: float) -> tuple[Any, ...]:
    """Return detected, days, images_until, early and images_after of one sequence."""
    ordered = images.sort_values("date", kind="stable")
    alarm = ordered["probability"].to_numpy() >= threshold
    since = ordered["date"].to_numpy() >= onset.to_datetime64()
    early, after = bool(alarm[~since].any()), alarm[since]
    if not after.any():
        return pd.NaT, math.nan, math.nan, early, len(after)
    first = int(after.argmax())
    day = ordered["date"][since].iloc[first]
    return day, float((day - onset).days), float(first + 1), early, len(after)


def _quantile(days: pd.Series, share: float) -> float:
    """Return the days within which this share of all sequences is detected, infinite where fewer are."""
    if not len(days):
        return math.nan
    ordered = days.fillna(math.inf).sort_values().to_numpy()
    return float(ordered[math.ceil(share * len(ordered)) - 1])
