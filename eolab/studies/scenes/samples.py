"""Sample table, splits and the producer that writes patches to a store."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, did_you_mean
from eolab.data import splits
from eolab.data.layouts.bigearthnet_patch import BANDS, RADAR, SIZE, Resampling, read_patch
from eolab.data.schemes import IGNORE
from eolab.data.schemes.bigearthnet import PUBLISHED_PATCHES, ClassSet, class_set, indices
from eolab.data.splits import SEPARATOR
from eolab.data.store import ArraySpec

if TYPE_CHECKING:
    from eolab.data.catalog import DataEntry

PART = 64  # patches that are read, computed and written at once
PUBLISHED = {"version 1": PUBLISHED_PATCHES, "version 2": 549_488}
"""Patches of the two published data sets."""

KINDS = ("official", "tile", "country", "random")
_TILE = r"_T(\d{2}[A-Z]{3})(?:_|$)"


def sample_table(
    index: pd.DataFrame,
    root: str | Path,
    class_set_name: str = "19",
    files: pd.DataFrame | None = None,
    radar: bool = False,
    reference: bool = False,
    snow_and_clouds: bool = False,
) -> pd.DataFrame:
    """Return one row per usable patch.

    Args:
        index: Result of the reader's ``index``, of either version.
        root: Folder of the data set; the table names files below it.
        class_set_name: Name for :func:`eolab.data.schemes.bigearthnet.class_set`; patches without a class of
            the set are left out.
        files: Table of the check (file, status, reason): patches with a damaged file are left out. Without
            it, the conversion stops at a damaged file.
        radar: Whether patches need Sentinel-1.
        reference: Whether patches need a reference map.
        snow_and_clouds: Whether patches under seasonal snow, clouds or their shadows are taken too.

    Returns:
        Columns id, patch (name), s2, s1 and reference (below the root), labels (published names, joined by
        "; "), classes (how many of the set), published (train, validation, test or none), country, tile,
        date, snow, cloud, part. ``attrs["left_out"]`` counts what was left out, by reason.

    Raises:
        DataError: If no patch is left.
    """
    classes = class_set(class_set_name)
    table = index.reset_index(drop=True)
    number = np.array([int(classes.encode(labels).sum()) for labels in table["labels"]])
    reasons = _reasons(table, number, Path(root), files, radar, reference, snow_and_clouds)
    usable = (reasons == "").to_numpy()
    kept = table[usable].reset_index(drop=True)
    if kept.empty:
        found = ", ".join(f"{count} {reason}" for reason, count in reasons.value_counts().items())
        raise DataError(f"{root} has no patch that can be used: {found or 'the index is empty'}.")
    tiles = kept["tile"].astype(str)
    result = pd.DataFrame(
        {
            "id": np.arange(len(kept)),
            "patch": kept["id"],
            **{name: [_below(root, file) for file in kept[name]] for name in ("s2", "s1", "reference")},
            "labels": kept["labels"].map(SEPARATOR.join),
            "classes": number[usable],
            "published": kept["split"].replace("", "none"),
            "country": kept["country"],
            "tile": tiles.str.extract(_TILE)[0].fillna(tiles),
            **{name: kept[name] for name in ("date", "snow", "cloud")},
            "part": [f"{place // PART:06d}" for place in range(len(kept))],
        }
    )
    result.attrs["left_out"] = {str(k): int(n) for k, n in reasons[~usable].value_counts().items()}
    return result


def _reasons(
    table: pd.DataFrame,
    number: np.ndarray,
    root: Path,
    files: pd.DataFrame | None,
    radar: bool,
    reference: bool,
    snow_and_clouds: bool,
) -> pd.Series:
    """Return why each patch is left out; empty where it is not."""
    reasons = pd.Series("", index=table.index)
    reasons[number == 0] = "without a class"
    if not snow_and_clouds:
        reasons[table["cloud"].astype(bool)] = "under clouds or shadows"
        reasons[table["snow"].astype(bool)] = "under snow"
    needed = ["s2", *(["s1"] if radar else []), *(["reference"] if reference else [])]
    titles = {"s1": "without Sentinel-1", "reference": "without a reference map"}
    for column in needed[1:]:
        reasons[table[column] == ""] = titles[column]
    if files is not None:
        bad = set(files.loc[files["status"] != "ok", "file"])
        for column in needed:
            reasons[[_below(root, file) in bad for file in table[column]]] = "with a damaged file"
    return reasons


def split_column(
    table: pd.DataFrame, kind: str = "official", validation: float = 0.2, test: float = 0.2, seed: int = 0
) -> pd.Series:
    """Return the split of each sample.

    Args:
        table: Result of :func:`sample_table`.
        kind: "official": as published; "tile" or "country": whole tiles or countries are held out; "random":
            sample by sample, stratified by label. Neighbouring patches are similar: the random split, and the
            official one of the published data, give optimistic scores.
        validation: Share of the samples for validation, not used for "official".
        test: Share of the samples for the test, not used for "official".
        seed: Seed of the draw.

    Raises:
        ParameterError: If the kind is unknown, or the table has no country (version 1).
    """
    if kind not in KINDS:
        raise ParameterError(f"There is no split {kind!r}: {did_you_mean(kind, KINDS)}")
    if kind == "official":
        return splits.assign(table, "official", column="published")
    if kind == "random":
        return splits.assign(table, "labels", validation=validation, test=test, seed=seed)
    if (table[kind].fillna("") == "").any():
        raise ParameterError(
            f"Some patches have no {kind}, as in version 1: split by tile, or take version 2."
        )
    return splits.assign(table, "group", group=kind, validation=validation, test=test, seed=seed)


def store_arrays(classes: str = "19", radar: bool = False, reference: bool = False) -> dict[str, ArraySpec]:
    """Return the arrays of the study's store.

    Args:
        classes: Name of the set of classes of the labels and of the reference map.
        radar: Whether Sentinel-1 is kept.
        reference: Whether the reference map is kept.
    """
    area, count = (SIZE, SIZE), len(class_set(classes))
    arrays = {
        "image": ArraySpec(
            ("y", "x", "band"), (*area, len(BANDS)), "uint16", {"long_name": "digital numbers"}
        ),
        "label": ArraySpec(("class",), (count,), "uint8", {"long_name": "1 = the patch has the class"}),
    }
    if radar:
        shape = (*area, len(RADAR))
        arrays["radar"] = ArraySpec(("y", "x", "polarisation"), shape, "float32", {"units": "dB"}, "forbid")
    if reference:
        arrays["reference"] = ArraySpec(
            ("y", "x"), area, "uint8", {"long_name": f"class index, {IGNORE} = not known"}
        )
    return arrays


def sample_producer(
    root: str | Path,
    resampling: Resampling = "nearest",
    radar: bool = False,
    reference: bool = False,
    classes: str = "19",
) -> Callable[[pd.DataFrame], dict[str, np.ndarray]]:
    """Return the function that reads and computes one part of the store.

    Args:
        root: Folder of the data set.
        resampling: How bands of 20 and 60 m come to 10 m: nearest, bilinear or cubic.
        radar: Whether Sentinel-1 is kept.
        reference: Whether the reference map is kept.
        classes: Name of the set of classes of the labels and of the reference map.

    Raises:
        ParameterError: If the resampling is "native": a store has one pixel size.
    """
    if resampling == "native":
        raise ParameterError("A store has one pixel size: choose nearest, bilinear or cubic, not native.")
    folder, chosen = Path(root), class_set(classes)

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        for place, row in enumerate(rows.itertuples()):
            for name, pixels in _read(folder, row, resampling, radar, reference).items():
                if not place:
                    arrays[name] = np.empty((len(rows), *pixels.shape), pixels.dtype)
                arrays[name][place] = pixels
        if reference:
            arrays["reference"] = indices(arrays["reference"], chosen)
        return arrays | {"label": encode(rows, chosen)}

    return produce


def encode(table: pd.DataFrame, classes: ClassSet | str) -> np.ndarray:
    """Return which classes of a set the samples of a table have, uint8 (sample, class)."""
    chosen = class_set(classes) if isinstance(classes, str) else classes
    return chosen.encode_all([text.split(SEPARATOR) for text in table["labels"]])


def _read(
    root: Path, row: Any, resampling: Resampling, radar: bool, reference: bool
) -> dict[str, np.ndarray]:
    names = {name: getattr(row, name) for name in ("s2", "s1", "reference")}
    place = SimpleNamespace(**{name: f"{root}/{file}" if file else "" for name, file in names.items()})
    return read_patch(place, resampling=resampling, radar=radar, reference=reference)


def store_metadata(
    entry: DataEntry, resampling: str, classes: str = "19", radar: bool = False
) -> dict[str, Any]:
    """Return the metadata of a store of the study.

    Args:
        entry: The data set's entry in the catalogue.
        resampling: How bands of 20 and 60 m came to 10 m.
        classes: Name of the set of classes.
        radar: Whether Sentinel-1 is kept.
    """
    scheme = class_set(classes).scheme
    coords = {"band": list(BANDS), "class": list(scheme.names)}
    return {
        "coords": coords | ({"polarisation": list(RADAR)} if radar else {}),
        "dataset": entry.name,
        **entry.origin,
        "resampling": resampling,
        "classes": classes,
        "colors": list(scheme.colors),
    }


def projection(
    seconds: float, bytes_written: int, patches: int, published: Mapping[str, int] | None = None
) -> pd.DataFrame:
    """Extrapolate a measured conversion to the published data sets, at the same speed.

    Args:
        seconds: Duration of the conversion.
        bytes_written: Size of the store, :attr:`eolab.data.store.Store.nbytes`.
        patches: Number of patches converted.
        published: Number of patches by name; the two versions by default.

    Returns:
        A row a data set: data, patches, patches_per_s, hours, gigabytes (10⁹ bytes).

    Raises:
        ParameterError: If nothing was measured.
    """
    if patches < 1 or seconds <= 0:
        raise ParameterError(f"{patches} patches in {seconds} s are no measurement: convert some first.")
    rows = [
        {
            "data": name,
            "patches": count,
            "patches_per_s": patches / seconds,
            "hours": count * seconds / patches / 3600,
            "gigabytes": count * bytes_written / patches / 1e9,
        }
        for name, count in (PUBLISHED if published is None else published).items()
    ]
    return pd.DataFrame(rows)


def _below(root: str | Path, file: str) -> str:
    return Path(file).relative_to(root).as_posix() if file else ""
