"""Sample table, splits, the producer that writes patches to a store, and what of a store is used."""

import multiprocessing
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, ParameterError, check_known
from eolab.data import splits
from eolab.data.catalog import DataEntry
from eolab.data.layouts.bigearthnet import BANDS, PIXEL_M, RADAR, SIZE, Resampling, read_patch
from eolab.data.layouts.common import attempt
from eolab.data.schemes import IGNORE
from eolab.data.schemes.bigearthnet import PUBLISHED_PATCHES, ClassSet, class_set, indices
from eolab.data.splits import SEPARATOR, balance
from eolab.data.splits.dealing import NONE, SPLITS
from eolab.data.store import ArraySpec, Store, open_store
from eolab.runs.history import load
from eolab.studies.protocol import Produce
from eolab.studies.scenes import own

PART = 64  # patches that are read, computed and written at once
FILES = ("s2", "s1", "reference")  # columns that name files
PUBLISHED = {"version 1": PUBLISHED_PATCHES, "version 2": 549_488}
"""Patches of the two published data sets."""

Facts = Mapping[str, Any]
MOST_CELLS = 1_000_000  # columns and rows of patches in an image
KINDS = ("official", "tile", "country", "random")
_NO_LISTS = (
    "version 1 takes it from its lists (train.csv, val.csv, test.csv, or packed as .csv.bz2), put them into "
    "the folder of the data set, patches of one's own from the column split of their table; or choose the "
    "split 'tile' or 'random'"
)
_TILE = r"_T(\d{2}[A-Z]{3})(?:_|$)"


def sample_table(
    index: pd.DataFrame,
    root: str | Path,
    class_set_name: str = "19",
    files: pd.DataFrame | None = None,
    with_radar: bool = False,
    with_reference: bool = False,
    snow_and_clouds: bool = False,
) -> pd.DataFrame:
    """Return one row per usable patch.

    Args:
        index: Result of the reader's ``index``, of either version.
        root: Folder of the data set; the table names files below it.
        class_set_name: Name for :func:`eolab.data.schemes.bigearthnet.class_set`; patches without a class of
            the set are left out.
        files: Table of the check (file, status, reason): patches with a damaged file are left out. Without
            it they are found while the store is written, see :func:`leave_out_damaged`.
        with_radar: Whether patches need Sentinel-1.
        with_reference: Whether patches need a reference map.
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
    start = f"{root}/"  # below the root by its text: half a million paths take half a minute
    names = table[list(FILES)].map(lambda file: file and file.removeprefix(start))
    table["classes"] = [int(classes.encode(labels).sum()) for labels in table["labels"]]
    bad = set() if files is None else set(files.loc[files["status"] != "ok", "file"])
    needed = [name for name, wanted in zip(FILES, (True, with_radar, with_reference), strict=True) if wanted]
    reasons = _reasons(table, names[needed], bad, snow_and_clouds)
    usable = reasons == ""
    kept = table[usable].reset_index(drop=True)
    if kept.empty:
        found = ", ".join(f"{count} {reason}" for reason, count in reasons.value_counts().items())
        raise DataError(f"{root} has no patch that can be used: {found or 'the index is empty'}.")
    tiles = kept["tile"].astype(str)
    result = pd.DataFrame(
        {
            "id": np.arange(len(kept)),
            "patch": kept["id"],
            **names[usable].reset_index(drop=True),
            "labels": kept["labels"].map(SEPARATOR.join),
            "classes": kept["classes"],
            "published": kept["split"].replace("", "none"),
            "country": kept["country"],
            "tile": tiles.str.extract(_TILE)[0].fillna(tiles),
            **kept[["date", "snow", "cloud"]],
            "part": _parts(len(kept)),
        }
    )
    result.attrs["left_out"] = {str(k): int(n) for k, n in reasons[~usable].value_counts().items()}
    return result


def _reasons(table: pd.DataFrame, names: pd.DataFrame, bad: set[str], snow_and_clouds: bool) -> pd.Series:
    """Return why each patch is left out, by the files that it needs; empty where it is not."""
    reasons = pd.Series("", index=table.index)
    reasons[table["classes"] == 0] = "without a class"
    if not snow_and_clouds:
        reasons[table["cloud"].astype(bool)] = "under clouds or shadows"
        reasons[table["snow"].astype(bool)] = "under snow"
    for column, reason in {"s1": "without Sentinel-1", "reference": "without a reference map"}.items():
        if column in names:
            reasons[names[column] == ""] = reason
    reasons[names.isin(bad).any(axis=1)] = "with a damaged file"
    return reasons


def _parts(count: int) -> list[str]:
    """Return the part that each of so many samples is written in."""
    return [f"{place // PART:06d}" for place in range(count)]


def split_column(
    table: pd.DataFrame, split: str = "official", validation: float = 0.2, test: float = 0.2, seed: int = 0
) -> pd.Series:
    """Return the split of each sample.

    Args:
        table: Result of :func:`sample_table`.
        split: "official": as published; "tile" or "country": whole tiles or countries are held out; "random":
            sample by sample, stratified by label. Neighbouring patches are similar: the random split, and the
            official one of the published data, give optimistic scores.
        validation: Share of the samples for validation, not used for "official".
        test: Share of the samples for the test, not used for "official".
        seed: Seed of the draw.

    Raises:
        ParameterError: If the split is unknown, the table has no country (version 1), or no patch is left for
            the training, the validation or the test.
    """
    check_known(split, KINDS, f"There is no split {split!r}")
    shares = {"validation": validation, "test": test, "seed": seed}
    if split == "official":
        found = splits.assign(table, "official", column="published")
    elif split == "random":
        found = splits.assign(table, "labels", **shares)
    elif (table[split].fillna("") == "").any():
        raise ParameterError(
            f"Some patches have no {split}, as in version 1: split by tile, or take version 2."
        )
    else:
        found = splits.assign(table, "group", group=split, **shares)
    empty = [name for name in SPLITS if not (found == name).any()]
    if empty:
        raise ParameterError(
            f"The split {split!r} leaves none of {len(table):,} patches for {' and '.join(empty)}: "
            f"{_NO_LISTS if split == 'official' else 'take more patches or larger shares'}."
        )
    return found


def neighbours(patches: pd.DataFrame, split: pd.Series) -> dict[str, float]:
    """Return how near the test patches lie to training patches.

    Patches of an image are numbered by column and row at the end of their names.

    Args:
        patches: Result of the reader's ``index``.
        split: Split by name of the patch.

    Returns:
        ``test``, the number of test patches, and shares of them: ``in_image`` and ``in_tile``, those in an
        image and in a tile (of any date) that training patches are in, and ``touching``, those that touch a
        training patch of the same image, by side or corner.
    """
    parts = patches["id"].map(split).to_numpy(object)
    if "column" in patches:  # of one's own
        image, tile = (pd.factorize(patches[name])[0] for name in ("projection", "tile"))
        column, row = (patches[name].to_numpy(int) for name in ("column", "row"))
    else:
        names = [str(name).rsplit("_", 2) for name in patches["id"]]
        listed = zip(patches["tile"], names, strict=True)
        image, known = pd.factorize(np.array([tile or name[0] for tile, name in listed], object))
        tile = pd.factorize(pd.Series(known).str.extract(_TILE)[0].fillna(pd.Series(known)))[0][image]
        column, row = np.array([name[1:] for name in names], int).T
    code = (image * MOST_CELLS + column + 1) * MOST_CELLS + row + 1
    train, test = (parts == name for name in ("train", "test"))
    taken, touching = np.unique(code[train]), np.zeros(int(test.sum()), bool)
    for step in (MOST_CELLS * across + down for across in (-1, 0, 1) for down in (-1, 0, 1)):
        touching |= np.isin(code[test] + step, taken)
    found = {"in_image": np.isin(image[test], image[train]), "in_tile": np.isin(tile[test], tile[train])}
    shares = {name: float(np.mean(values)) for name, values in (found | {"touching": touching}).items()}
    return {"test": int(test.sum()), **shares}


def subset(table: pd.DataFrame, classes: str, fraction: float, seed: int = 0) -> pd.DataFrame:
    """Return a part of a sample table, stratified by label, with new ids and parts.

    Args:
        table: Result of :func:`sample_table`.
        classes: Name of the class set.
        fraction: Fraction of the rows, above 0 and up to 1.
        seed: Seed of the draw.
    """
    if fraction == 1:
        return table
    rows = balance.fraction(encode(table, classes), np.arange(len(table)), fraction, seed)
    kept = table.iloc[rows].reset_index(drop=True)
    return kept.assign(id=np.arange(len(kept)), part=_parts(len(kept)))


def store_arrays(
    classes: str = "19",
    with_radar: bool = False,
    with_reference: bool = False,
    image: Facts | None = None,
) -> dict[str, ArraySpec]:
    """Return the arrays of the study's store.

    Args:
        classes: Name of the set of classes of the labels and of the reference map.
        with_radar: Whether Sentinel-1 is kept.
        with_reference: Whether the reference map is kept.
        image: What ``attrs["image"]`` of an index says of patches of one's own; None for BigEarthNet.
    """
    area, count = (SIZE, SIZE), len(class_set(classes))
    arrays = {
        "image": ArraySpec(
            ("y", "x", "band"), (*area, len(BANDS)), "uint16", {"long_name": "digital numbers"}
        ),
        "label": ArraySpec(("class",), (count,), "uint8", {"long_name": "1 = the patch has the class"}),
    }
    if image:
        shape, attrs = (*image["size"], len(image["bands"])), {"long_name": "values of the bands"}
        arrays["image"] = ArraySpec(("y", "x", "band"), shape, "float32", attrs, "forbid")
    if with_radar:
        shape = (*area, len(RADAR))
        arrays["radar"] = ArraySpec(("y", "x", "polarisation"), shape, "float32", {"units": "dB"}, "forbid")
    if with_reference:
        arrays["reference"] = ArraySpec(
            ("y", "x"), area, "uint8", {"long_name": f"class index, {IGNORE} = not known"}
        )
    return arrays


def sample_producer(
    root: str | Path,
    resampling: Resampling = "nearest",
    with_radar: bool = False,
    with_reference: bool = False,
    classes: str = "19",
    kept: Store | None = None,
    image: Facts | None = None,
) -> Produce:
    """Return the function that reads and computes one part of the store.

    A patch that cannot be read stops nothing: its pixels are 0 and it has no label; see
    :func:`leave_out_damaged`.

    Args:
        root: Folder of the data set.
        resampling: How bands of 20 and 60 m come to 10 m: nearest, bilinear or cubic.
        with_radar: Whether Sentinel-1 is kept.
        with_reference: Whether the reference map is kept.
        classes: Name of the set of classes of the labels and of the reference map.
        kept: An earlier store of the same data set and options: its sound patches are taken from it, and
            their files are not read again.
        image: What ``attrs["image"]`` of an index says of patches of one's own; None for BigEarthNet.

    Raises:
        ParameterError: If the resampling is "native", a store has one pixel size; or the earlier store is of
            other data or options.
    """
    if resampling == "native":
        raise ParameterError("A store has one pixel size: choose nearest, bilinear or cubic, not native.")
    chosen, specs = class_set(classes), store_arrays(classes, with_radar, with_reference, image)
    read = _reader(image, resampling=resampling, with_radar=with_radar, with_reference=with_reference)
    known = _sound_patches(kept, specs, resampling, classes) if kept is not None else {}

    def produce(rows: pd.DataFrame) -> dict[str, np.ndarray]:
        arrays = {name: np.zeros((len(rows), *one.shape), one.dtype) for name, one in specs.items()}
        arrays["label"] = encode(rows, chosen)
        files = rows[list(FILES)].map(lambda file: file and f"{root}/{file}")
        for place, (name, row) in enumerate(zip(rows["patch"], files.itertuples(), strict=True)):
            if kept is not None and name in known:
                found = {array: kept.arrays[array][known[name]] for array in specs if array != "label"}
            else:
                found = attempt(read, row)[0] or {}
                if "reference" in found:
                    found["reference"] = indices(found["reference"], chosen)
                arrays["label"][place] *= bool(found)
            for array, values in found.items():
                arrays[array][place] = values
        return arrays

    return produce


def _reader(image: Facts | None, **options: Any) -> Callable[[Any], dict[str, np.ndarray]]:
    """Return the function that reads the arrays of a patch, of one's own where its facts are given."""
    if image is None:
        return partial(read_patch, **options)
    start = f"{image['root']}/"
    return lambda row: {"image": own.read(str(row.s2).removeprefix(start), image)}


def earlier_store(folder: str, entry: DataEntry) -> Store | None:
    """Return the store of an earlier run of ``02_preprocess``, None for no folder.

    Raises:
        ParameterError: If it is of another data set.
        RunError: If the folder is none of a run, or the run has no store.
    """
    if not folder:
        return None
    store = open_store(load(folder).path("store"))
    if store.metadata["dataset"] != entry.name:
        raise ParameterError(
            f"{store.path} is of {store.metadata['dataset']}, expected a run of {entry.name}."
        )
    return store


def _sound_patches(
    kept: Store, specs: Mapping[str, ArraySpec], resampling: str, classes: str
) -> dict[str, int]:
    """Return the rows by name of the patches of an earlier store that were not damaged.

    Raises:
        ParameterError: If the store has other options.
    """
    have = kept.metadata.get("resampling"), kept.metadata.get("classes"), *sorted(kept.arrays_spec)
    need = resampling, classes, *sorted(specs)
    if have != need:
        raise ParameterError(
            f"{kept.path} has {', '.join(map(str, have))}, expected {', '.join(need)}: keep patches of a run "
            "with the same resampling, classes, radar and reference maps."
        )
    return {str(kept.table["patch"].iloc[row]): int(row) for row in np.flatnonzero(_labelled(kept))}


def _labelled(store: Store) -> np.ndarray:
    """Return which patches of a store have a label, bool (N,): all but the damaged ones."""
    return (np.asarray(store.arrays["label"]) == 1).any(axis=1)


def leave_out_damaged(store: Store, root: str | Path, image: Facts | None = None) -> pd.DataFrame:
    """Take the patches that could not be read out of the split of a store; return patch, file and reason.

    Args:
        store: Store that was written with :func:`sample_producer`.
        root: Folder of the data set.
        image: What ``attrs["image"]`` of an index says of patches of one's own; None for BigEarthNet.
    """
    damaged = ~_labelled(store)
    if damaged.any() and "split" in store.table:
        store.update({"split": store.table["split"].astype(str).where(~damaged, NONE)})
    radar, maps = ("radar" in store.arrays_spec, "reference" in store.arrays_spec)
    read = _reader(image, with_radar=radar, with_reference=maps)
    rows = []
    for row in store.table[damaged].itertuples():
        files = {name: getattr(row, name) and f"{root}/{getattr(row, name)}" for name in FILES}
        _, reason = attempt(read, SimpleNamespace(**files), files["s2"])
        rows.append((row.patch, row.s2, reason or "could not be read before, and can be read now"))
    return pd.DataFrame(rows, columns=["patch", "file", "reason"])


def encode(table: pd.DataFrame, classes: ClassSet | str) -> np.ndarray:
    """Return which classes of a set the samples of a table have, uint8 (sample, class)."""
    chosen = class_set(classes) if isinstance(classes, str) else classes
    return chosen.encode_all([text.split(SEPARATOR) for text in table["labels"]])


def store_metadata(
    entry: DataEntry,
    resampling: str,
    classes: str = "19",
    with_radar: bool = False,
    image: Facts | None = None,
) -> dict[str, Any]:
    """Return the metadata of a store of the study.

    Args:
        entry: The data set's entry in the catalogue.
        resampling: How bands of 20 and 60 m came to 10 m.
        classes: Name of the set of classes.
        with_radar: Whether Sentinel-1 is kept.
        image: What ``attrs["image"]`` of an index says of patches of one's own; None for BigEarthNet.
    """
    scheme = class_set(classes).scheme
    coords = {"band": list(image["bands"] if image else BANDS), "class": list(scheme.names)}
    coords |= {"polarisation": list(RADAR)} if with_radar else {}
    how: dict[str, Any] = {"resampling": resampling, "classes": classes, "colors": list(scheme.colors)}
    how["pixel_m"] = image.get("pixel_m") if image else PIXEL_M
    return {"coords": coords, "dataset": entry.name, **entry.origin, "study": "scenes", **how}


# === Speed ===


class TimedProducer:
    """Producer that counts patches and time, so that a resumed conversion measures its own part alone.

    Args:
        produce: Function that reads one part of the store.
    """

    def __init__(self, produce: Produce) -> None:
        self.produce, self._start = produce, time.perf_counter()
        self._patches = multiprocessing.Value("q", 0)  # also of what other processes convert

    @property
    def patches(self) -> int:
        """Number of patches that were converted."""
        return int(self._patches.value)

    def __call__(self, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        """Return the arrays of a part."""
        arrays = dict(self.produce(rows))
        with self._patches.get_lock():
            self._patches.value += len(rows)
        return arrays

    def seconds(self, table: pd.DataFrame) -> float:
        """Return the seconds since the start; if the store was complete, the time to convert one part."""
        if not self.patches:
            self._start = time.perf_counter()
            self(table.head(PART))
        return time.perf_counter() - self._start


def projection(seconds: float, bytes_written: int, patches: int) -> pd.DataFrame:
    """Extrapolate a measured conversion to the published data sets, at the same speed.

    Args:
        seconds: Duration of the conversion.
        bytes_written: Size of the store, :attr:`eolab.data.store.Store.nbytes`.
        patches: Number of patches converted.

    Returns:
        A row a data set: data, patches, patches_per_s, hours, gigabytes (10⁹ bytes).

    Raises:
        ParameterError: If nothing was measured.
    """
    if patches < 1 or seconds <= 0:
        raise ParameterError(f"{patches} patches in {seconds} s are no measurement: convert some first.")
    counts = pd.Series(PUBLISHED, name="patches").rename_axis("data").reset_index()
    return counts.assign(
        patches_per_s=patches / seconds,
        hours=counts["patches"] * seconds / patches / 3600,
        gigabytes=counts["patches"] * bytes_written / patches / 1e9,
    )


# === Rows and classes of a store ===


def split_rows(store: Store, fraction: float = 1.0, seed: int = 0) -> dict[str, np.ndarray]:
    """Return the rows of train, validation and test that have a label.

    Args:
        store: Store of the study.
        fraction: Fraction of the training rows, stratified by label.
        seed: Seed of the draw.

    Raises:
        DataError: If a split is empty.
    """
    split, labelled = store.table["split"].astype(str).to_numpy(), _labelled(store)
    rows = {name: np.flatnonzero((split == name) & labelled) for name in SPLITS}
    empty = [name for name, found in rows.items() if not len(found)]
    if empty:
        raise DataError(f"{store.path} has no patch for {' and '.join(empty)}: choose another split.")
    if fraction != 1:
        rows["train"] = balance.fraction(store.arrays["label"], rows["train"], fraction, seed)
    return rows


def counted_classes(store: Store, min_count: int) -> np.ndarray:
    """Return which classes have enough training patches to count in averages, bool (K,).

    A class with a handful of patches can be neither learned nor scored, but in a macro average it would weigh
    as much as any other.

    Args:
        store: Store of the study, with its whole training split.
        min_count: Training patches that a class needs, 0 for all classes.

    Raises:
        ParameterError: If no class has that many training patches.
    """
    patches = np.asarray(store.arrays["label"])[split_rows(store)["train"]].sum(axis=0)
    if not (patches >= min_count).any():
        raise ParameterError(
            f"No class has {min_count} training patches, the most frequent one has {patches.max()}: take "
            "more patches, or lower reporting.min_count."
        )
    return patches >= min_count


def with_classes(store: Store, classes: str) -> Store:
    """Return the store with the labels of another class set; its files stay unchanged.

    Args:
        store: Store of the study, whose table has the published labels.
        classes: Name of the class set; empty for the store's own.

    Raises:
        DataError: If a published label joins classes that the set keeps apart.
    """
    if classes in ("", store.metadata["classes"]):
        return store
    view, scheme = open_store(store.path), class_set(classes).scheme
    labels = encode(view.table, classes)
    spec = ArraySpec(("class",), (len(scheme),), "uint8", dict(view.arrays_spec["label"].attrs))
    view.arrays_spec = view.arrays_spec | {"label": spec}
    view.arrays = view.arrays | {"label": labels}
    coords = view.metadata["coords"] | {"class": list(scheme.names)}
    view.metadata = view.metadata | {"coords": coords, "classes": classes, "colors": list(scheme.colors)}
    return view
