"""Change between maps of two years against the change on the ground, told apart from corrections and errors.

A map that differs from an older one shows a change on the ground, a correction of an error of the older map,
or an error of its own. The true maps of both years tell which.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from odc.geo.geobox import GeoBox

from eolab.core.errors import DataError
from eolab.data.ground import class_areas_m2
from eolab.data.schemes import IGNORE, ClassScheme
from eolab.evaluation import metrics
from eolab.evaluation.paired import gains
from eolab.evaluation.tables import score_table

CASES = ClassScheme(
    name="Change",
    codes=tuple(range(12)),
    names=(
        "No change, map correct",
        "No change, error of the label kept",
        "Change on the ground, found",
        "Change on the ground, wrong new class",
        "Change on the ground, missed",
        "Change on the ground, mapped before",
        "Correction of the label",
        "New error",
        "New error in place of an old one",
        "Not known",
        "Class as labelled",
        "Another class than labelled",
    ),
    colors=(
        "#f7f5ec",
        "#c7b09b",
        "#0672b1",
        "#58b6eb",
        "#9b2c6f",
        "#ca7fb7",
        "#089864",
        "#d55e00",
        "#e69f00",
        "#8c8c8c",
        "#f7f5ec",
        "#0672b1",
    ),
)
"""What two maps of a pixel make of it; each pixel is one case. The last two are used where no truth is known.

"Mapped before": the ground changed to the class that the old map had in error, and both maps have it.
"""
UNKNOWN, SAME, OTHER = 9, 10, 11
NAMES = ("no change", "change")
STATISTICS = ("change.precision", "change.recall", "change.f1", "no change.recall")
RIGHT = ("no change", "right change", "wrong change")
FALSE, FOUND, FOUND_RIGHT = ("no change", "recall"), ("change", "recall"), ("right change", "recall")


def change_cases(old: Any, new: Any, truth_before: Any | None = None, truth: Any | None = None) -> np.ndarray:
    """Return what each pixel of two maps is, an index of :data:`CASES`.

    Args:
        old: Map of the first year, class indices of any shape, 255 = unknown.
        new: Map of the second year, likewise.
        truth_before: True map of the first year.
        truth: True map of the second year. Without both true maps it is only known where the maps differ.

    Returns:
        uint8 of the same shape; 9 where any of the maps is unknown.

    Raises:
        DataError: If the shapes differ.
    """
    maps = [np.asarray(values) for values in (old, new, truth_before, truth) if values is not None]
    metrics.check_shapes("maps of one shape", len({one.shape for one in maps}) == 1, old=maps[0], new=maps[1])
    known = np.logical_and.reduce([one != IGNORE for one in maps])
    kept = maps[0] == maps[1]
    if truth_before is None or truth is None:
        found = np.where(kept, SAME, OTHER)
    else:
        before, after = np.asarray(truth_before), np.asarray(truth)
        was_right, is_right, changed = maps[0] == before, maps[1] == after, before != after
        cases = [kept & is_right, kept, is_right]
        on_the_ground = np.select(cases, (5, 4, 2), 3)
        of_the_maps = np.select([*cases, was_right], (0, 1, 6, 7), 8)
        found = np.where(changed, on_the_ground, of_the_maps)
    return np.where(known, found, UNKNOWN).astype(np.uint8)


def case_table(cases: Any, grid: GeoBox | None = None) -> pd.DataFrame:
    """Count the pixels of each case.

    Args:
        cases: Result of :func:`change_cases`, (y, x) where there is a grid.
        grid: Grid of the maps, for areas.

    Returns:
        A row a case that occurs: case, pixels, share of all pixels, share of those whose class changed from
        the old to the new map (NaN for other cases) and, with a grid, area_ha.
    """
    found = np.asarray(cases)
    pixels = np.bincount(found.ravel(), minlength=len(CASES))
    differ = np.isin(np.arange(len(CASES)), (2, 3, 6, 7, 8))
    table = pd.DataFrame({"case": CASES.names, "pixels": pixels, "share": pixels / max(found.size, 1)})
    table["share_of_mapped_change"] = np.where(differ, pixels / max(pixels[differ].sum(), 1), np.nan)
    if grid is not None:
        table["area_ha"] = class_areas_m2(found, grid, len(CASES)) / 10_000
    return table[pixels > 0].reset_index(drop=True)


def in_words(table: pd.DataFrame) -> str:
    """Return in a sentence what the pixels are whose class changed from the old to the new map.

    Args:
        table: Result of :func:`case_table`.
    """
    shares = table.set_index("case")["share_of_mapped_change"].reindex(CASES.names, fill_value=0).fillna(0)
    if not shares.sum():
        pixels = table.set_index("case")["pixels"].reindex(CASES.names, fill_value=0)
        differ = pixels.iloc[OTHER] / max(pixels.iloc[[SAME, OTHER]].sum(), 1)
        return (
            f"The class differs from the label in {100 * differ:.1f} % of the labelled pixels; without true "
            "maps no more is known."
        )
    found, corrected, wrong = (100 * shares.iloc[list(k)].sum() for k in ((2, 3), (6,), (7, 8)))
    return (
        f"Of the pixels whose class differs, {found:.1f} % changed on the ground, {corrected:.1f} % are "
        f"corrections of the labels, and {wrong:.1f} % are new errors."
    )


def transitions(old: Any, new: Any, grid: GeoBox, scheme: ClassScheme) -> pd.DataFrame:
    """Compute the area that goes from each class to each other.

    Args:
        old: Class indices (y, x), 255 = unknown (left out).
        new: Class indices (y, x), likewise.
        grid: Grid of both maps.
        scheme: Their K classes.

    Returns:
        Hectares (K, K), classes of the old map in rows, of the new one in columns.
    """
    old, new = np.asarray(old), np.asarray(new)
    rows = [
        class_areas_m2(np.where(old == k, new, IGNORE).astype(np.uint8), grid, len(scheme)) / 10_000
        for k in range(len(scheme))
    ]
    return pd.DataFrame(rows, index=pd.Index(scheme.names, name="from"), columns=scheme.names)


def yearly_transitions(maps: Any, grid: GeoBox, scheme: ClassScheme) -> list[pd.DataFrame]:
    """Return the :func:`transitions` from each year to the next of maps (year, y, x)."""
    return [transitions(one, two, grid, scheme) for one, two in itertools.pairwise(np.asarray(maps))]


def change_by_direction(
    old: Any, new: Any, truth_before: Any, truth: Any, grid: GeoBox, scheme: ClassScheme
) -> pd.DataFrame:
    """Score the change from each class to each other one.

    A change is found where both maps have the true classes of their years.

    Args:
        old: Map of the first year (y, x), 255 = unknown.
        new: Map of the second year.
        truth_before: True map of the first year; only pixels known in all four maps count.
        truth: True map of the second year.
        grid: Their grid.
        scheme: Their classes.

    Returns:
        A row a direction that is mapped or true, the largest true area first: from, to, ground_ha, mapped_ha,
        found_ha, precision (found of mapped area), recall (found of true area) and f1; NaN where undefined.
    """
    maps = [np.asarray(one) for one in (old, new, truth_before, truth)]
    known = np.logical_and.reduce([one != IGNORE for one in maps])
    right = known & (maps[0] == maps[2]) & (maps[1] == maps[3])
    areas = {
        "ground_ha": transitions(np.where(known, maps[2], IGNORE), maps[3], grid, scheme),
        "mapped_ha": transitions(np.where(known, maps[0], IGNORE), maps[1], grid, scheme),
        "found_ha": transitions(np.where(right, maps[0], IGNORE), maps[1], grid, scheme),
    }
    ways = {"from": np.repeat(scheme.names, len(scheme)), "to": np.tile(scheme.names, len(scheme))}
    table = pd.DataFrame(ways | {name: area.to_numpy().ravel() for name, area in areas.items()})
    table = table[(table["from"] != table["to"]) & (table[["ground_ha", "mapped_ha"]].sum(axis=1) > 0)]
    table = table.sort_values("ground_ha", ascending=False, ignore_index=True, kind="stable")
    return table.assign(**_scores(table["ground_ha"], table["mapped_ha"], table["found_ha"]))


def _scores(true: pd.Series, mapped: pd.Series, found: pd.Series) -> dict[str, pd.Series]:
    """Return precision, recall and F1 of amounts; NaN where undefined."""
    none = float("nan")
    return {
        "precision": found / mapped.where(mapped > 0, none),
        "recall": found / true.where(true > 0, none),
        "f1": 2 * found / (true + mapped).where(true + mapped > 0, none),
    }


def change_by_year(maps: Any, truth: Any, years: Sequence[int], grid: GeoBox) -> pd.DataFrame:
    """Score the change from each year to the next: where the map changes, and where the ground does.

    Here a change counts as found where map and ground both change, whatever the classes; a false change is
    one of the map alone.

    Args:
        maps: Class indices (year, y, x), 255 = unknown.
        truth: True class indices (year, y, x); only pixels known in map and truth of both years count.
        years: The years, ascending.
        grid: Grid of the maps.

    Returns:
        A row a pair of years: from, to, ground_ha, mapped_ha, found_ha, false_ha, precision, recall, f1 and
        false_share, the share of the unchanged ground that the map changes.
    """
    maps, truth = np.asarray(maps), np.asarray(truth)
    metrics.check_shapes("(year, y, x) of the same years", len(maps) == len(years), maps=maps, truth=truth)
    rows = []
    for one, two in itertools.pairwise(range(len(years))):
        outcome = (2 * changed(truth[one], truth[two]) + changed(maps[one], maps[two])).astype(int)
        known = np.logical_and.reduce([part[k] != IGNORE for part in (maps, truth) for k in (one, two)])
        areas = class_areas_m2(np.where(known, outcome, IGNORE).astype(np.uint8), grid, 4) / 10_000
        unchanged, false, missed, found = areas
        rows.append((years[one], years[two], missed + found, false + found, found, false, unchanged + false))
    names = ["from", "to", "ground_ha", "mapped_ha", "found_ha", "false_ha", "unchanged_ha"]
    table = pd.DataFrame(rows, columns=names)
    share = table["false_ha"] / table.pop("unchanged_ha").replace(0, np.nan)
    scores = _scores(table["ground_ha"], table["mapped_ha"], table["found_ha"])
    return table.assign(**scores, false_share=share)


def changed(old: Any, new: Any) -> np.ndarray:
    """Return where two maps differ: 1 or 0, and 255 where a class is unknown in one of them, int64."""
    old, new = np.asarray(old), np.asarray(new)
    known = (old != IGNORE) & (new != IGNORE)
    return np.where(known, old != new, IGNORE).astype(np.int64)


def change_scores(maps: Mapping[str, Any], truth: Any, blocks: Any, **options: Any) -> pd.DataFrame:
    """Score the yearly change of several series of maps, with intervals over blocks of ground.

    All pairs of consecutive years count together, and only pixels that every series and the truth know.
    Maps that change at random find much change, most of it to a wrong class: "right change" is found with
    the true classes of both years.

    Args:
        maps: Class indices (year, y, x) by name, 255 = unknown.
        truth: True class indices (year, y, x).
        blocks: Number of the block of each pixel (y, x), drawn as a whole; below 0 where it does not count.
        options: Further arguments of :func:`eolab.evaluation.score_table`, such as ``baselines``.

    Returns:
        See :func:`eolab.evaluation.score_table`: precision, recall and F1 of "change", recall of "right
        change", and recall of "no change": one minus it is the share of the unchanged ground that a map
        changes. :func:`eolab.evaluation.gains` compares the series in pairs.

    Raises:
        DataError: If shapes differ, or no pixel is known.
    """
    truth, blocks = np.asarray(truth), np.asarray(blocks)
    series = {name: np.asarray(values) for name, values in maps.items()}
    for values in series.values():
        metrics.check_shapes("(year, y, x) of the same years and pixels", truth=truth, map=values)
    counts: dict[str, Any] = dict.fromkeys(series, 0)
    rights: dict[str, Any] = dict.fromkeys(series, 0)
    for one, two in itertools.pairwise(range(len(truth))):
        differ = {name: changed(values[one], values[two]) for name, values in series.items()}
        ground = changed(truth[one], truth[two])
        known = np.logical_and.reduce([values != IGNORE for values in differ.values()])
        ground = np.where(known, ground, IGNORE)
        for name, values in differ.items():
            same = (series[name][one] == truth[one]) & (series[name][two] == truth[two])
            found = np.where((values == 1) & ~(same & (ground == 1)), 2, values)
            counts[name] = counts[name] + confusion_by_block(ground, values, blocks, 2)
            rights[name] = rights[name] + confusion_by_block(ground, found, blocks, 3)
    if not any(np.sum(one) for one in counts.values()):
        raise DataError("No pixel is known in the maps and the truth of two years: nothing to score.")
    table = score_table(counts, class_names=NAMES, statistics=STATISTICS, **options)
    right = score_table(rights, class_names=RIGHT, statistics=["right change.recall"], every=True, **options)
    return pd.concat([table, right], ignore_index=True)


def class_scores(
    maps: Mapping[str, Any], truth: Any, blocks: Any, class_names: Sequence[str], **options: Any
) -> pd.DataFrame:
    """Score the classes of several series of maps, all years together, as :func:`change_scores` does changes.

    Args:
        maps: Class indices (year, y, x) by name, 255 = unknown.
        truth: True class indices (year, y, x).
        blocks: Number of the block of each pixel (y, x), below 0 where it does not count.
        class_names: Names of the classes.
        options: Further arguments of :func:`eolab.evaluation.score_table`.

    Returns:
        Macro F1 and accuracy over the pixels and years that every series and the truth know.
    """
    series = {name: np.asarray(values) for name, values in maps.items()}
    truth = np.where(np.any([values == IGNORE for values in series.values()], axis=0), IGNORE, truth)
    places = np.broadcast_to(blocks, truth.shape)
    counts = {name: confusion_by_block(truth, of, places, len(class_names)) for name, of in series.items()}
    statistics = ["macro.f1", "all.accuracy"]
    return score_table(counts, class_names=class_names, statistics=statistics, **options)


def compared_in_words(scores: pd.DataFrame, name: str, over: str) -> str:
    """Return in a sentence what a series of maps makes of false and of true change, compared with another.

    Args:
        scores: Result of :func:`change_scores`.
        name: One of its series.
        over: The series that it is compared with.
    """
    value = scores.set_index(["model", "scope", "statistic"])["value"]
    paired = gains(scores[scores["model"].isin([name, over])], over=over)
    verdict = paired.set_index(["scope", "statistic"])["verdict"]

    def both(what: tuple[str, str]) -> str:
        mine, other = (value[(series, *what)] for series in (name, over))
        if what == FALSE:
            mine, other = 1 - mine, 1 - other
        sure = "" if verdict[what] in ("better", "worse") else f", {verdict[what]}"
        return f"{100 * mine:.1f} % ({over}: {100 * other:.1f} %{sure})"

    return (
        f"From year to year {name} changes {both(FALSE)} of the unchanged ground, and finds {both(FOUND)} of "
        f"the change on the ground, {both(FOUND_RIGHT)} with the right classes."
    )


def confusion_by_block(truth: Any, prediction: Any, blocks: Any, classes: int) -> np.ndarray:
    """Count pairs of true and predicted class in each block of a map.

    Args:
        truth: Class indices of any shape, 255 = not known.
        prediction: Class indices of the same shape; where it is 255, the truth must be too.
        blocks: Number of each pixel's block, the same shape; below 0 it does not count.
        classes: Number of classes K.

    Returns:
        int64 (blocks, K, K), truth in rows, one matrix for each number up to the largest.
    """
    truth, prediction, blocks = (np.asarray(values) for values in (truth, prediction, blocks))
    metrics.check_shapes("maps of one shape", truth=truth, prediction=prediction, blocks=blocks)
    inside = np.where(blocks < 0, IGNORE, truth)
    true, (predicted,) = metrics.labelled(inside, (prediction,), classes, IGNORE)
    n = max(int(blocks.max(initial=-1)) + 1, 1)
    cell = (blocks[inside != IGNORE].astype(np.int64) * classes + true) * classes + predicted
    return np.bincount(cell, minlength=n * classes**2).reshape(n, classes, classes)
