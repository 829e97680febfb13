"""What the patches and the published numbers say: counts, spectra, seasons, example patches, scores."""

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab import plots
from eolab.core import yamls
from eolab.core.errors import DataError
from eolab.data import tables
from eolab.data.catalog import DataEntry
from eolab.data.cutting import cut_table
from eolab.data.layouts import bigearthnet_v1, bigearthnet_v2
from eolab.data.layouts.bigearthnet import BANDS, read_patch
from eolab.data.layouts.common import attempt
from eolab.data.layouts.patches import colour_bands
from eolab.data.schemes import ClassScheme
from eolab.data.schemes.bigearthnet import JOINT, PUBLISHED_BY_CODE, PUBLISHED_PATCHES, ClassSet, class_set
from eolab.data.store import Store
from eolab.runs.history import RunRecord
from eolab.studies.scenes import own
from eolab.studies.scenes.samples import PART
from eolab.studies.scenes.samples import PUBLISHED as TOTALS

READERS = {"bigearthnet_v1": bigearthnet_v1, "bigearthnet_v2": bigearthnet_v2}
PUBLISHED = yamls.read(Path(__file__).with_name("published.yaml"))
"""Counts of the official lists and tables, and scores that others published."""
_FACTS = {"patches": tuple(TOTALS.values()), **PUBLISHED["facts"]}
"""Patches of version 1 and version 2."""
_TRIES = 10  # patches of a class that are tried until one can be read
SCORE_COLUMNS = ["source", "model", "data", "averaging", "recall", "f1"]


def index(entry: DataEntry, progress: bool = True) -> pd.DataFrame:
    """Return the patches of a data set of the catalogue: of either version, or of one's own.

    Raises:
        DataError: If its layout is another.
    """
    if entry.layout == "rasters":
        found = own.index(entry, progress)
    elif entry.layout not in READERS:
        raise DataError(
            f"{entry.name} has the layout {entry.layout}: this study reads {', '.join(READERS)} and rasters."
        )
    else:
        found = READERS[entry.layout].index(entry.path, progress=progress)
    if not (entry.bounds or entry.dates):
        return found
    return cut_table(found, entry, found["x"], found["y"], found["projection"])


def own_classes(entry: DataEntry, patches: pd.DataFrame) -> ClassSet:
    """Return the class set of a data set's labels: 43 classes in version 1, 19 in version 2, or one's own."""
    return class_set(patches.attrs.get("classes") or ("43" if entry.layout == "bigearthnet_v1" else "19"))


def joined_classes(patches: pd.DataFrame) -> ClassSet:
    """Return the 19 classes, or those of one's own."""
    return class_set(patches.attrs.get("classes", "19"))


def class_sets(classes: ClassSet, joined: ClassSet) -> dict[str, ClassSet]:
    """Return the class sets that labels are counted in by title, fine ones first."""
    sets = {f"{len(one)} classes": one for one in (classes, joined)}
    own_names = JOINT in classes.name
    return sets if own_names else sets | {"5 classes of CORINE's level 1": class_set("level1")}


def colours(images: np.ndarray, samples: Store) -> np.ndarray:
    """Return red, green and blue (..., 3) of images of a store, or its first bands where it lacks them."""
    bands = list(samples.metadata["coords"]["band"])
    return plots.true_colour(images, bands, colour_bands(bands))


def coarse_labels(labels: pd.Series, classes: str) -> list[str]:
    """Return the classes of CORINE's level 1 that patches have, or those of one's own, as text to compare.

    Args:
        labels: Column ``labels`` of a sample table.
        classes: Name of the store's class set.
    """
    chosen = class_set(classes if JOINT in classes else "level1")
    rows = chosen.encode_all([text.split(JOINT) for text in labels])
    return ["".join(map(str, row)) for row in rows]


def facts(patches: pd.DataFrame) -> pd.DataFrame:
    """Return counts of the patches and of the two published data sets.

    Args:
        patches: Result of :func:`index`.

    Returns:
        Columns fact, here, version 1, version 2. The split lists leave out patches under snow or clouds.
    """
    hidden = patches["snow"] | patches["cloud"]
    split = patches["split"].where(~hidden, "")
    classes = joined_classes(patches)
    none = int((~classes.encode_all(patches["labels"], warn=False).any(axis=1)).sum())
    here = [len(patches), *(int((split == name).sum()) for name in ("train", "validation", "test"))]
    here += [int(patches["snow"].sum()), int(patches["cloud"].sum()), none]
    one, two = zip(*_FACTS.values(), strict=True)
    return pd.DataFrame({"fact": list(_FACTS), "here": here, "version 1": one, "version 2": two})


def class_frequencies(labels: Any, scheme: ClassScheme, split: Any = None) -> pd.DataFrame:
    """Return how many patches have each class.

    Args:
        labels: 1 where a patch has the class, 0 elsewhere (N, K).
        scheme: Names of the classes.
        split: Name of the split of each patch (N,); None for no columns by split.

    Returns:
        A row a class, the most frequent first: class, patches, share, and the patches of each split.
    """
    present = np.asarray(labels).astype(bool)
    table = pd.DataFrame(
        {"class": scheme.names, "patches": present.sum(axis=0), "share": present.mean(axis=0)}
    )
    if split is not None:
        names = np.asarray(split, str)
        for name in pd.unique(names):
            table[name] = present[names == name].sum(axis=0)
    return table.sort_values("patches", ascending=False, kind="stable").reset_index(drop=True)


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
    facts = patches.attrs.get("image")
    clear = patches[~(patches["snow"] | patches["cloud"])]
    present = classes.encode_all(clear["labels"], warn=False)
    alone = present.sum(axis=1) == 1
    counts = (present[alone] == 1).sum(axis=0)
    rows: list[tuple[Any, ...]] = []
    for k in np.argsort(-counts, kind="stable")[:n_classes]:
        means = []
        for row in clear[alone & (present[:, k] == 1)].head(max_samples).itertuples():
            with contextlib.suppress(DataError):  # a damaged file
                image = own.read(str(row.s2), facts) if facts else read_patch(row)["image"]
                means.append(image.mean(axis=(0, 1)))
        if means:
            found = zip(
                facts["bands"] if facts else BANDS, np.mean(means, axis=0), np.std(means, axis=0), strict=True
            )
            rows += [(classes.scheme.names[k], *band_mean_std, len(means)) for band_mean_std in found]
    return pd.DataFrame(rows, columns=["class", "band", "mean", "std", "patches"])


def examples(
    patches: pd.DataFrame, classes: ClassSet, n_examples: int
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Read example patches: one for each class, the most frequent class first; damaged ones are passed over.

    Args:
        patches: Result of :func:`index`; patches without snow and clouds are preferred.
        classes: Class set of the labels.
        n_examples: Largest number of patches.

    Returns:
        Their rows, and what to draw: ``colour`` (n, 120, 120, 3), and ``radar`` in dB if all have it.
    """
    hidden = (patches["snow"] | patches["cloud"]).to_numpy()
    present = classes.encode_all(patches["labels"], warn=False)
    found: dict[int, dict[str, np.ndarray]] = {}
    for k in np.argsort(-present.sum(axis=0), kind="stable"):
        if len(found) == n_examples:
            break
        own = np.flatnonzero(present[:, k])
        own = own[np.lexsort((present[own].sum(axis=1), hidden[own]))]  # clear ones, then those of few labels
        for row in [int(one) for one in own[: _TRIES + len(found)] if one not in found]:
            patch = patches.iloc[row]
            read = partial(_picture, facts=patches.attrs.get("image"))
            arrays, _ = attempt(read, patch, patch["s2"])
            if arrays is not None:
                found[row] = arrays
                break
    names = [name for name in ("image", "radar") if all(name in one for one in found.values())]
    stacked = {name: np.stack([one[name] for one in found.values()]) for name in names if found}
    drawn = {"colour" if name == "image" else name: values for name, values in stacked.items()}
    return patches.iloc[list(found)].reset_index(drop=True), drawn


def _picture(patch: Any, facts: dict[str, Any] | None) -> dict[str, np.ndarray]:
    """Return the colours of a patch, and its radar image where there is one."""
    if facts:
        return {"image": own.read(patch["s2"], facts, colour_bands(facts["bands"]))}
    return read_patch(patch, bands=plots.TRUE_COLOUR, with_radar=bool(patch["s1"]))


def image_features(store: Store, max_samples: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of the store and their image statistics (N, F), for the leakage check.

    Args:
        store: Store of the study.
        max_samples: Largest number of rows; if the store has more, they are drawn at random.
        seed: Seed of the draw.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(store.table))[:max_samples])
    parts = store.batches(rows, ["image"], PART)
    found = [tables.image_statistics(data["image"], method="lower") for _, data in parts]
    return rows, np.concatenate(found).reshape(len(rows), -1)


def example_predictions(
    truth: np.ndarray, probability: np.ndarray, threshold: Any, n_examples: int = 4
) -> dict[str, np.ndarray]:
    """Return example patches: those with the best, the worst and the most ambiguous predictions.

    Args:
        truth: True labels, 0 or 1 (N, K).
        probability: Predicted probability of each label (N, K).
        threshold: One threshold, or one a class (K,).
        n_examples: Number of patches of each kind, a third of all at most.

    Returns:
        Positions among the N patches by kind, each patch once where there are three or more. ``best`` and
        ``worst`` are ordered by the F1 of the patch's labels, then by cross entropy; ``confusing`` by the
        number of labels within 0.1 of their threshold.
    """
    true, given = np.asarray(truth) == 1, np.asarray(probability, np.float64)
    limit = np.broadcast_to(threshold, given.shape)
    predicted = given >= limit
    wrong = (predicted != true).sum(axis=1)
    f1 = 2 * (predicted & true).sum(axis=1) / np.maximum(predicted.sum(axis=1) + true.sum(axis=1), 1)
    likelihood = np.clip(np.where(true, given, 1 - given), 1e-7, 1)
    cross_entropy = -np.log(likelihood).mean(axis=1)
    near = (np.abs(given - limit) < 0.1).sum(axis=1)
    n_labels = true.sum(axis=1)
    order = {
        "best": np.lexsort((cross_entropy, -n_labels, -f1)),
        "worst": np.lexsort((-cross_entropy, -wrong, f1)),
        "confusing": np.lexsort((-cross_entropy, -near)),
    }
    found: dict[str, np.ndarray] = {}
    taken: list[int] = []
    most = min(n_examples, max(1, len(true) // len(order)))
    for kind, rows in order.items():
        free = [int(row) for row in rows if row not in taken][:most] or [int(rows[0])]
        found[kind], taken = np.array(free, int), [*taken, *free]
    return found


def neighbours_of(preprocessing: RunRecord) -> pd.DataFrame:
    """Return how near test patches are to training patches, one row; empty for a run of an earlier version.

    Args:
        preprocessing: Run of ``02_preprocess``.
    """
    near = preprocessing.metrics.get("neighbours")
    rows = [{"split": preprocessing.params["split"]} | near] if near else []
    return pd.DataFrame(rows, columns=["split", "test", "in_image", "in_tile", "touching"])


def unusable(patches: pd.DataFrame) -> pd.DataFrame:
    """Return the patches that the index rejects without reading an image: file, status, reason."""
    found = pd.DataFrame(patches.attrs["rejected"], columns=["file", "reason"])
    return found.assign(status="rejected")[["file", "status", "reason"]]


# === Published scores, with what is known of their averages ===


def published_scores() -> pd.DataFrame:
    """Return the published scores: source, model, data, averaging, recall, f1; NaN if not given."""
    return pd.DataFrame(PUBLISHED["scores"], columns=SCORE_COLUMNS)


def averages(scores: pd.DataFrame) -> pd.DataFrame:
    """Return precision, recall, F1, F2 and average precision of each model, one row per average.

    Args:
        scores: Result of :func:`eolab.evaluation.score_table`.

    Returns:
        Columns model, averaging (micro, macro or sample) and the statistics.
    """
    kept = scores[scores["scope"].isin(["micro", "macro", "sample"])]
    wide = kept.pivot_table("value", ["model", "scope"], "statistic", sort=False)
    return wide.rename_axis(None, axis=1).reset_index().rename(columns={"scope": "averaging"})


def with_published(averages: pd.DataFrame, model: str, entry: DataEntry, classes: int) -> pd.DataFrame:
    """Return the published scores followed by ours, one row per average.

    Args:
        averages: Result of :func:`averages`.
        model: Name of the network.
        entry: Data set of the training and the test.
        classes: Number of classes in the averages.
    """
    own = averages[averages["model"].isin([model, "random_convolutions"])]
    kind = "simulated data" if entry.simulated else entry.name
    ours = own.assign(source="Ours", data=f"{kind}, {classes} classes")
    return pd.concat([published_scores(), ours[SCORE_COLUMNS]], ignore_index=True)
