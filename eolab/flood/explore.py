"""What the flood data hold: facts beside published ones, images by date, reasons of what is left out."""

from __future__ import annotations

import re

import pandas as pd

from eolab.readers.sen12flood import SENSORS

# Counted in the complete published lists; see the reader's tests.
PUBLISHED = {
    "scenes": 335,
    "scenes to train on": 267,
    "scenes to test on": 68,
    "Sentinel-1 images": 3957,
    "Sentinel-1 images of a flooded scene (%)": 34.7,
    "Sentinel-2 entries": 3131,
    "Sentinel-2 entries with a file": 2237,
    "Sentinel-2 images of a flooded scene (%)": 23.6,
    "Sentinel-1 images with one polarisation": 15,
    "scenes out of date order": 50,
    "scenes with two images of one date and orbit": 56,
    "scenes flooded in Sentinel-1": 135,
    "scenes flooded in Sentinel-2": 201,
}


def facts(images: pd.DataFrame) -> pd.DataFrame:
    """Return the lists in numbers: fact, here, published.

    Args:
        images: Result of :func:`eolab.readers.sen12flood.index`.
    """
    split = images.groupby("scene")["published"].first()
    s1, s2 = (images[images["sensor"] == sensor] for sensor in SENSORS)
    files = s2[s2["filename"] != ""]
    ordered = s1.sort_values("number").groupby("scene")["date"].agg(lambda days: days.is_monotonic_increasing)
    twice = s1[s1.duplicated(["scene", "date", "orbit"])]["scene"].nunique()
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
        int((~ordered).sum()),
        twice,
        int(s1.groupby("scene")["flooded"].any().sum()),
        int(s2.groupby("scene")["flooded"].any().sum()),
    ]
    return pd.DataFrame({"fact": list(PUBLISHED), "here": here, "published": list(PUBLISHED.values())})


def reasons(files: pd.DataFrame) -> pd.DataFrame:
    """Return why files are left out: reason, files, an example.

    Args:
        files: Table of the check: file, status, reason. Numbers and what stands in brackets are taken out of
            the reasons, so that like ones are counted together.
    """
    rejected = files[files["status"] != "ok"]
    short = rejected["reason"].map(_short)
    table = rejected.assign(short=short).groupby("short")["file"].agg(["size", "first"])
    table = table.sort_values("size", ascending=False).reset_index()
    return table.set_axis(["reason", "files", "example"], axis=1)


def _short(reason: str) -> str:
    """Return a reason without its remedy, its numbers and what stands in brackets."""
    text = re.sub(r"\(.*\)", "", reason.split(": ")[0] if "damaged" not in reason else "is damaged")
    text = re.sub(r"\d{4}-\d\d-\d\d|\d+(,\d+)*%?( bytes)?", "…", text)
    return re.sub(r"\s+", " ", text).strip(" :,")


def regions(scenes: pd.DataFrame, apart_deg: float = 1.5) -> pd.Series:
    """Return the region of each scene: scenes of one region lie in a chain, each near the next.

    Args:
        scenes: Result of :func:`eolab.readers.sen12flood.scenes`.
        apart_deg: Scenes further apart than this in degrees belong to different regions.

    Returns:
        "R1", "R2", … by the scenes' index, the largest region first.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    places = scenes[["longitude", "latitude"]].to_numpy()
    if len(places) < 2:
        return pd.Series("R1", index=scenes.index)
    cluster = pd.Series(fcluster(linkage(places, "single"), apart_deg, "distance"), index=scenes.index)
    order = cluster.value_counts(sort=False).sort_values(ascending=False, kind="stable").index
    return cluster.map({number: f"R{rank}" for rank, number in enumerate(order, start=1)})
