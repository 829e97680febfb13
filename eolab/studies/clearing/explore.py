"""What a data set holds: images by date, regions by class, the season of indices, points of clearing work."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import xarray as xr
from odc.geo.geobox import GeoBox

from eolab import plots
from eolab.core.errors import DataError, ParameterError, check_all
from eolab.core.progress import track
from eolab.data import indices, regions, tables, tracks
from eolab.data.catalog import DataEntry
from eolab.data.regions import Regions
from eolab.data.schemes import ClassScheme
from eolab.plots.geometry import thin
from eolab.studies.clearing import samples, truth
from eolab.widgets.explorer import View, views

OBJECT = "clearing object"


# === Images ===


def open_series(entry: DataEntry, acquired: pd.DataFrame, **options: Any) -> xr.Dataset:
    """Open what figures need: bands of true colour and of the indices, and where there are no clouds.

    Args:
        entry: Data set of layout ``rasters``.
        acquired: Its acquisitions, see :func:`eolab.data.layouts.rasters.index`; of both levels Level-2A is
            opened.
        **options: dates, bounds and tile, see :func:`eolab.data.layouts.rasters.open_layout`; empty for all.

    Returns:
        Lazy ``image (time, band, y, x)``, ``clear (time, y, x)``, True where there is a value and no cloud,
        and ``scl`` where the images have a scene classification.

    Raises:
        DataError: If the images have neither bands nor indices.
    """
    level = next((one for one in ("L2A", "L1C") if one in set(acquired["level"])), None)
    held = set(" ".join(acquired.loc[acquired["level"] == (level or ""), "bands"]).split())
    needed = dict.fromkeys((*plots.TRUE_COLOUR, *indices.bands_for(samples.INDICES)))
    bands = [band for band in needed if band in held]
    found = entry.open(level=level, bands=bands, **{name: value for name, value in options.items() if value})
    parts = [found["reflectance"]] if "reflectance" in found else []
    if "indices" in found:
        parts.append(found["indices"].rename(index="band"))
    if "true_colour" in found and not {*plots.TRUE_COLOUR} <= {*bands}:
        colour = found["true_colour"].rename(colour="band")
        parts.append(colour.assign_coords(band=list(samples.TRUE_COLOUR)))
    if not parts:
        raise DataError(f"{entry.path} has neither bands nor indices: expected images of reflectance.")
    image = xr.concat(parts, "band", coords="minimal", compat="override", combine_attrs="override")
    series = xr.Dataset({"image": image.transpose("time", "band", "y", "x")})
    if "scl" not in found:
        return series.assign(clear=np.isfinite(series["image"].isel(band=0, drop=True)))
    scl = found["scl"]
    return series.assign(scl=scl, clear=(scl != 0) & ~scl.isin(samples.CLOUDS))


def acquisitions(series: xr.Dataset, acquired: pd.DataFrame, progress: bool = True) -> pd.DataFrame:
    """Return a row a date of a series: time, orbit, level, the shares clear, cloud and missing, name, text.

    Where there is no scene classification cloud is NaN. The text names the date and its shares.
    """
    small, rows = thin(series), []
    kinds = acquired.groupby("time")[["orbit", "level"]].agg(set)
    times = pd.DatetimeIndex(series["time"].to_numpy())
    for number, time in enumerate(track(times, "scene classifications", unit="date", progress=progress)):
        clear, cloud = float(small["clear"][number].mean()), np.nan
        if "scl" in small:
            cloud = float(small["scl"][number].isin(samples.CLOUDS).mean())
        missing = max(1 - clear - float(np.nan_to_num(cloud)), 0.0)
        orbit, level = (", ".join(sorted(filter(None, texts))) for texts in kinds.loc[[time]].to_numpy()[0])
        text = "clouds not known" if np.isnan(cloud) else f"{100 * cloud:.0f} % clouds"
        name = " · ".join(filter(None, (f"{time:%Y-%m-%d}", orbit and f"orbit {orbit}", level)))
        text = f"{name} · {text} · {100 * missing:.0f} % without data"
        rows.append((time, orbit, level, clear, cloud, missing, name, text))
    return pd.DataFrame(rows, columns=["time", "orbit", "level", "clear", "cloud", "missing", "name", "text"])


def picture_view(series: xr.Dataset) -> View:
    """Return how regions are shown: true colour, or the first view that a series has."""
    return next(iter(views([str(band) for band in series["band"].to_numpy()]).values()))


def picture(series: xr.Dataset, view: View, number: int) -> xr.DataArray:
    """Return a view of one date at the resolution of a screen."""
    return view.of(thin(series["image"][number].sel(band=list(view.bands))).compute())


# === Regions ===


class Areas(NamedTuple):
    """Stands and clearing objects on the grid of the images.

    Attributes:
        scheme: The classes of the stands.
        stands: Regions of these classes; None where they are not asked for.
        objects: Clearing objects, likewise.
        left_out: File, id and reason of each feature that is not used.
    """

    scheme: ClassScheme
    stands: Regions | None
    objects: Regions | None
    left_out: pd.DataFrame

    @property
    def table(self) -> gpd.GeoDataFrame:
        """All regions, the label of objects being :data:`OBJECT`."""
        parts = [] if self.stands is None else [self.stands.table]
        parts += [] if self.objects is None else [self.objects.table.assign(label=OBJECT)]
        return gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=parts[0].crs)

    @property
    def colors(self) -> dict[str, str]:
        """Colour of each label."""
        return dict(zip(self.scheme.names, self.scheme.colors, strict=True)) | {OBJECT: "#000000"}

    def summary(self) -> pd.DataFrame:
        """Return a row a label: regions, their areas in hectares, pixels, and odd shapes."""
        table = self.table
        sizes = table.groupby("label")["area_ha"].agg(["size", "sum", "median", "min", "max"])
        sizes.columns = ["regions", "area (ha)", "median (ha)", "smallest (ha)", "largest (ha)"]
        sizes["pixels"] = table.groupby("label")["pixels"].sum()
        for note in ("repaired", "several parts", "partly outside"):
            sizes[note] = table["note"].str.contains(note).groupby(table["label"]).sum()
        return sizes.reindex([name for name in self.colors if name in sizes.index]).reset_index()


def areas(
    entry: DataEntry, grid: GeoBox, stands: str, objects: str = "", classes: Sequence[str] = ()
) -> Areas:
    """Read the regions that an entry names.

    Args:
        entry: The entry.
        grid: Grid of the images.
        stands: Name of the labels with the stands of each class; empty for none.
        objects: Name of those with clearing objects, whose classes do not count; empty for none.
        classes: Classes in order; empty for all that there are.

    Raises:
        ParameterError: If both names are empty, or no stand has one of the classes.
        DataError: If no region lies in the images.
    """
    if not stands and not objects:
        raise ParameterError("stands and objects are empty: name the labels of one of them.")
    placed, left_out = {}, []
    for name in dict.fromkeys(filter(None, (stands, objects))):
        found = regions.of_entry(entry, name, keep_unlabelled=name == objects)
        placed[name] = regions.on_grid(found, grid)
        left_out.append(placed[name].left_out.assign(file=name))
        if placed[name].table.empty:
            raise DataError(f"No region of {name} lies in the images: check bounds and reference systems.")
    if stands:
        table = placed[stands].table
        check_all(classes, sorted(set(table["label"])), f"{stands} has no region of class")
        classes = classes or sorted(set(table["label"]) - {""})
        other = table[~table["label"].isin(classes)]
        reasons = other["label"].map("has the class {!r}".format)
        left_out.append(pd.DataFrame({"id": other["id"], "reason": reasons, "file": stands}))
        kept = table.drop(other.index).reset_index(drop=True)
        placed[stands] = placed[stands]._replace(table=kept)
    scheme = samples.scheme(classes or ["no class"])
    reasons = pd.concat(left_out, ignore_index=True)[["file", "id", "reason"]]
    return Areas(scheme, placed.get(stands), placed.get(objects), reasons)


def examples(
    series: xr.Dataset, stands: Regions, number: int, count: int
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Return stands of each class in turn, cropped and padded as by Svensson (2020).

    Args:
        series: Result of :func:`open_series`.
        stands: The stands.
        number: Number of the date.
        count: Most stands.

    Returns:
        True colour (N, H, W, 3), NaN where padded; masks of the stands (N, H, W); and titles.
    """
    table, view, grid = stands.table, picture_view(series), series.odc.geobox
    groups = [part.index[tables.evenly(len(part), count)] for _, part in table.groupby("label")]
    ranks = pd.concat([pd.Series(np.arange(len(group)), group) for group in groups])
    chosen: Any = table.loc[ranks.sort_values(kind="stable").index[:count]]
    size = samples.common_size(table)
    rgb, masks = np.full((len(chosen), *size, 3), np.nan, np.float32), np.zeros((len(chosen), *size), bool)
    for k, region in enumerate(chosen.itertuples()):
        y, x = window = samples.window_of(region)
        at = samples.placement(region.height, region.width, size, "upper_left")
        crop = view.of(series["image"][number, :, y, x].sel(band=list(view.bands)).compute()).to_numpy()
        rgb[(k, *at)] = np.moveaxis(crop if crop.ndim == 3 else crop[None], 0, -1)
        masks[(k, *at)] = regions.pixels_of(region.geometry, grid[window])
    return rgb, masks, [f"{region.label} (region {region.id})" for region in chosen.itertuples()]


def seasons(
    series: xr.Dataset, areas: Areas, max_samples: int = 20_000, progress: bool = True
) -> dict[str, pd.DataFrame]:
    """Return median and quartiles of each index by class and date, over pixels of the stands without clouds.

    Args:
        series: Result of :func:`open_series`.
        areas: The regions, stands among them.
        max_samples: Most pixels of each class.
        progress: Whether to show progress.

    Returns:
        By name of the index, the ten of Svensson (2020) as far as the bands allow: result of
        :func:`eolab.plots.class_statistics`.
    """
    assert areas.stands is not None
    known = views([str(band) for band in series["band"].to_numpy()])
    table, drawn = areas.stands.table, [name for name in samples.INDICES if name in known]
    blocks = table.groupby([table["row"] // samples.BLOCK_PX, table["column"] // samples.BLOCK_PX])
    most, labels, clear, values = max(max_samples // len(blocks), 1), [], [], []
    for _, block in track(blocks, "seasons", len(blocks), "block", progress):
        ends = ((block[a], block[a] + block[b]) for a, b in (("row", "height"), ("column", "width")))
        y, x = (slice(int(first.min()), int(last.max())) for first, last in ends)
        numbers = block["label"].map(areas.scheme.names.index)
        label = regions.label_map(block, series.odc.geobox[y, x], numbers)[0].ravel()
        each = [np.flatnonzero(label == k) for k in range(len(areas.scheme))]
        taken = np.concatenate([one[tables.evenly(max(len(one), 1), most)[: len(one)]] for one in each])
        labels.append(label[taken])
        part = series["image"][:, :, y, x]
        clear.append(series["clear"][:, y, x].to_numpy().reshape(-1, label.size)[:, taken])
        dates = (image.compute().stack(pixel=("y", "x"), create_index=False) for image in part)  # noqa: PD013
        rows = [[known[name].of(image[:, taken]).to_numpy() for name in drawn] for image in dates]
        values.append(np.array(rows, np.float32).reshape(len(rows), len(drawn), len(taken)))
    whole, seen = np.concatenate(values, axis=-1), np.concatenate(clear, axis=-1)
    found = xr.DataArray(whole, {"time": series["time"].to_numpy()}, ("time", "index", "pixel"))
    label = np.concatenate(labels)
    return {
        name: plots.class_statistics(found[:, k], seen.T, label, areas.scheme) for k, name in enumerate(drawn)
    }


# === Points ===


def degree(
    entry: DataEntry, points: str, objects: Regions, grid: GeoBox, **options: Any
) -> tuple[truth.Degree, pd.DataFrame]:
    """Return the degree that points give, and how many points there are of each kind: kind, points.

    Args:
        entry: The data set.
        points: Name of its labels with the points.
        objects: The clearing objects.
        grid: Grid of the images.
        **options: how and percentile, see :func:`eolab.studies.clearing.truth.degree`.
    """
    still: dict[str, int] = {}

    def counted(chunks: Iterable[tracks.Points]) -> Iterator[tracks.Points]:
        for chunk in chunks:
            if chunk.table["time"].notna().any():
                times = tracks.still_time(chunk.table, chunk.crs)
                kinds = {"repeated at one place": times["repeated"]}
                kinds["before a pause of a minute or more"] = times["seconds"] >= 60
                still.update({kind: still.get(kind, 0) + int(found.sum()) for kind, found in kinds.items()})
            yield chunk

    found = truth.degree(counted(tracks.of_entry(entry, points)), objects, grid, **options)
    total = found.objects.groupby("used")["points"].sum()
    inside = {"in clearing objects": total.get(True, 0), "in regions that were none": total.get(False, 0)}
    report = {**found.report, **inside, **still}
    kinds = ["that can be used" if kind == "points" else kind for kind in report]
    return found, pd.DataFrame({"kind": kinds, "points": list(map(int, report.values()))})


def counts_of(found: truth.Degree, objects: Regions) -> dict[str, np.ndarray]:
    """Return the points in the pixels of each clearing object (y, x) by name, NaN outside of it."""
    used: Any = objects.table[found.objects["used"].to_numpy()]
    return {
        f"Object {name}": np.where(found.owner[at] == one.Index, found.counts[at], np.nan)
        for name, one in zip(samples.region_names(used), used.itertuples(), strict=True)
        for at in [samples.window_of(one)]
    }
