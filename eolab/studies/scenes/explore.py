"""Exploration of the patches: counts and published counts, spectra, seasons, example patches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError
from eolab.data.layouts import bigearthnet_v1, bigearthnet_v2
from eolab.data.layouts.bigearthnet_patch import BANDS, read_patch
from eolab.data.schemes.bigearthnet import PUBLISHED_BY_CODE, PUBLISHED_PATCHES, ClassSet, class_set
from eolab.studies.scenes.balance import class_frequencies
from eolab.studies.scenes.samples import PUBLISHED as TOTALS

if TYPE_CHECKING:
    from eolab.data.catalog import DataEntry

READERS = {"bigearthnet_v1": bigearthnet_v1, "bigearthnet_v2": bigearthnet_v2}
_FACTS = {
    "patches": tuple(TOTALS.values()),
    "listed to train on": (269_695, 237_871),
    "listed for validation": (123_723, 122_342),
    "listed for the test": (125_866, 119_825),
    "under seasonal snow": (61_707, 60_773),
    "under clouds or shadows": (9_280, 8_677),
    "without a class of the 19": (57, 0),
}
"""Patches of version 1 and version 2, counted in the official lists and tables."""


def index(entry: DataEntry, progress: bool = True) -> pd.DataFrame:
    """Return the patches of a data set of the catalogue, of either version.

    Raises:
        DataError: If its layout is none of BigEarthNet's.
    """
    if entry.layout not in READERS:
        raise DataError(
            f"{entry.name} has the layout {entry.layout}: this study reads {' and '.join(READERS)}."
        )
    return READERS[entry.layout].index(entry.path, progress=progress)


def own_classes(entry: DataEntry) -> ClassSet:
    """Return the class set of a data set's labels: 43 classes in version 1, 19 in version 2."""
    return class_set("43" if entry.layout == "bigearthnet_v1" else "19")


def facts(patches: pd.DataFrame) -> pd.DataFrame:
    """Return counts of the patches and of the two published data sets.

    Args:
        patches: Result of :func:`index`.

    Returns:
        Columns fact, here, version 1, version 2. The split lists leave out patches under snow or clouds.
    """
    hidden = patches["snow"] | patches["cloud"]
    split = patches["split"].where(~hidden, "")
    classes = class_set("19")
    none = sum(not classes.encode(labels).any() for labels in patches["labels"])
    here = [len(patches), *(int((split == name).sum()) for name in ("train", "validation", "test"))]
    here += [int(patches["snow"].sum()), int(patches["cloud"].sum()), none]
    one, two = zip(*_FACTS.values(), strict=True)
    return pd.DataFrame({"fact": list(_FACTS), "here": here, "version 1": one, "version 2": two})


def frequencies(patches: pd.DataFrame, classes: ClassSet) -> pd.DataFrame:
    """Return how often each class occurs, with the published share.

    Args:
        patches: Result of :func:`index`.
        classes: Class set of the labels.

    Returns:
        The columns of :func:`class_frequencies` and ``published``: the share of the 590,326 patches of
        version 1 that have the class (Sumbul et al. 2019); NaN for a class that joins several published ones,
        since a patch may have two of them.
    """
    table = class_frequencies(classes.encode_all(patches["labels"], warn=False), classes.scheme)
    known = {
        name: PUBLISHED_BY_CODE.get(codes[0], np.nan) / PUBLISHED_PATCHES if len(codes) == 1 else np.nan
        for name, codes in zip(classes.scheme.names, classes.members, strict=True)
    }
    return table.assign(published=table["class"].map(known))


def seasons(patches: pd.DataFrame) -> pd.DataFrame:
    """Return patches by month: month (1 to 12), clear, snow, cloud; empty where no patch has a date."""
    dated = patches[patches["date"].notna()]
    month = pd.to_datetime(dated["date"]).dt.month
    kind = np.select([dated["snow"], dated["cloud"]], ["snow", "cloud"], "clear")
    table = pd.crosstab(month, pd.Series(kind, index=dated.index))
    table = table.reindex(columns=["clear", "snow", "cloud"], fill_value=0)
    if len(dated):
        table = table.reindex(range(1, 13), fill_value=0)
    return table.rename_axis("month").rename_axis(None, axis=1).reset_index()


def spectra(
    patches: pd.DataFrame, classes: ClassSet, n_classes: int = 8, max_samples: int = 12
) -> pd.DataFrame:
    """Return the mean and standard deviation of each band over patches that have a single class.

    Args:
        patches: Result of :func:`index`; patches under snow or clouds are left out.
        classes: Class set of the labels.
        n_classes: Number of classes, those with the most such patches.
        max_samples: Largest number of patches read for each class.

    Returns:
        Columns class, band, mean and std (digital numbers, over the patches), patches.
    """
    clear = patches[~(patches["snow"] | patches["cloud"])]
    present = classes.encode_all(clear["labels"], warn=False)
    alone = present.sum(axis=1) == 1
    counts = (present[alone] == 1).sum(axis=0)
    rows: list[dict[str, Any]] = []
    for k in np.argsort(-counts, kind="stable")[:n_classes]:
        own = clear[alone & (present[:, k] == 1)].head(max_samples)
        images = [_read(row) for row in own.itertuples()]
        means = np.array(
            [image.reshape(-1, len(BANDS)).mean(axis=0) for image in images if image is not None]
        )
        if len(means):
            found = zip(BANDS, means.mean(axis=0), means.std(axis=0), strict=True)
            name = classes.scheme.names[k]
            rows += [
                {"class": name, "band": band, "mean": mean, "std": std, "patches": len(means)}
                for band, mean, std in found
            ]
    return pd.DataFrame(rows, columns=["class", "band", "mean", "std", "patches"])


def examples(patches: pd.DataFrame, classes: ClassSet, n_examples: int) -> pd.DataFrame:
    """Return example patches: one for each class, the most frequent class first.

    Args:
        patches: Result of :func:`index`; patches without snow and clouds are preferred.
        classes: Class set of the labels.
        n_examples: Largest number of patches.
    """
    hidden = (patches["snow"] | patches["cloud"]).to_numpy()
    present = classes.encode_all(patches["labels"], warn=False)
    chosen: list[int] = []
    for k in np.argsort(-present.sum(axis=0), kind="stable"):
        own = np.flatnonzero(present[:, k])
        own = own[np.lexsort((present[own].sum(axis=1), hidden[own]))]  # clear ones, then those of few labels
        chosen += [int(row) for row in own if row not in chosen][:1]
    return patches.iloc[chosen[:n_examples]].reset_index(drop=True)


def images(rows: pd.DataFrame, radar: bool = True) -> dict[str, np.ndarray]:
    """Read patches to draw: ``colour`` (n, 120, 120, 3), and ``radar`` in dB if all patches have it.

    Args:
        rows: Rows of the index.
        radar: Whether to read VV and VH (n, 120, 120, 2) too.
    """
    with_radar = radar and bool((rows["s1"] != "").all())
    found = [read_patch(row, ["B04", "B03", "B02"], radar=with_radar) for row in rows.itertuples()]
    arrays = {"colour": np.stack([one["image"] for one in found])}
    return arrays | ({"radar": np.stack([one["radar"] for one in found])} if with_radar else {})


def left_out(table: pd.DataFrame) -> pd.DataFrame:
    """Return how many patches a sample table leaves out: columns reason, patches."""
    found: Mapping[str, int] = table.attrs["left_out"]
    return pd.DataFrame({"reason": list(found), "patches": list(found.values())})


def _read(row: Any) -> np.ndarray | None:
    """Return the bands of a patch; None if a file is damaged."""
    try:
        return read_patch(row)["image"]
    except DataError:
        return None


def unusable(patches: pd.DataFrame) -> pd.DataFrame:
    """Return the patches that the index rejects without reading an image: file, status, reason."""
    found = pd.DataFrame(patches.attrs["rejected"], columns=["file", "reason"])
    return found.assign(status="rejected")[["file", "status", "reason"]]
