"""Reference points: drawn from a class map by strata, handed to interpreters as a GeoPackage, and read back.

The interpreter's layer says nothing of the map, so that nobody is led by it: the stratum and the weight of
each point are in a table of their own in the same file.

Example:
    >>> points = draw(new_map, scheme, numbers=[50] * len(scheme), seed=0)
    >>> write(points, "points.gpkg", scheme)          # fill in the column ``reference``, for example in QGIS
    >>> interpreted = read("points.gpkg", scheme)
    >>> interpreted.table[["stratum", "reference"]], interpreted.left_out
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import geopandas as gpd
import numpy as np
import odc.geo.xr  # noqa: F401  (registers the .odc accessor)
import pandas as pd
import pyogrio
import rasterio.transform
import xarray as xr
from odc.geo.geobox import GeoBox
from pyogrio.errors import DataLayerError, DataSourceError
from scipy.spatial import cKDTree

from eolab.core.errors import DataError, did_you_mean, reason_of
from eolab.core.files import replacing
from eolab.data.ground import class_areas_m2, pixel_size_m
from eolab.data.schemes import IGNORE, ClassScheme

BLOCK_PX = 1024  # side of the parts of a map that are in memory at once
_DESIGN = [
    "row",
    "col",
    "stratum",
    "mapped",
    "pixels",
    "probability",
    "weight",
    "seed",
    "x",
    "y",
    "pixel",
    "crs",
]


class Interpreted(NamedTuple):
    """Points with a reference class, and what was left out.

    Attributes:
        table: A row a point: id, reference (class index), geometry and, of drawn points, the columns of
            :func:`draw`.
        left_out: A row a point that has none: id, reason.
    """

    table: gpd.GeoDataFrame
    left_out: pd.DataFrame


# === Drawing ===


def blocks(labels: xr.DataArray, side: int = BLOCK_PX) -> Iterator[tuple[int, int, np.ndarray]]:
    """Read a map (y, x) part by part: first row, first column and values of each.

    A file opened with ``rioxarray.open_rasterio(path, cache=False)`` is never in memory as a whole.
    """
    for row in range(0, labels.sizes["y"], side):
        for col in range(0, labels.sizes["x"], side):
            part = labels.isel(y=slice(row, row + side), x=slice(col, col + side))
            yield row, col, np.asarray(part)


def sizes(labels: xr.DataArray, scheme: ClassScheme) -> pd.DataFrame:
    """Count pixels and hectares of each class of a map, part by part.

    Args:
        labels: Class indices (y, x); other values, such as 255, are no part of the map.
        scheme: The classes.

    Returns:
        A row a class: class, pixels, area_ha.
    """
    pixels, area = np.zeros(len(scheme), np.int64), np.zeros(len(scheme))
    grid = labels.odc.geobox
    for row, col, values in blocks(labels):
        pixels += np.bincount(values.ravel(), minlength=256)[: len(scheme)]
        part = grid[row : row + values.shape[0], col : col + values.shape[1]]
        area += class_areas_m2(values, part, len(scheme)) / 1e4
    return pd.DataFrame({"class": scheme.names, "pixels": pixels, "area_ha": area})


def draw(
    labels: xr.DataArray, scheme: ClassScheme, numbers: Sequence[int], seed: int = 0
) -> gpd.GeoDataFrame:
    """Draw a stratified random sample of pixels whose strata are the classes of a map.

    Args:
        labels: Class indices (y, x) uint8 with a reference system, lazy or not; read twice, part by part.
        scheme: The classes.
        numbers: Points of each class (K,), see :func:`eolab.evaluation.areas.allocate`.
        seed: Seed of the draw.

    Returns:
        A row a point, in random order, so that the first points are a smaller sample of the same kind: id,
        row, col, stratum (class index in the map), mapped (its name), pixels (those of the stratum),
        probability (of being drawn), weight (pixels that it stands for), seed, x, y and geometry (centre
        of the pixel), pixel (its side) and crs.

    Raises:
        DataError: If a class has fewer pixels than points.
    """
    rng = np.random.default_rng(seed)
    counts = np.stack(
        [np.bincount(values.ravel(), minlength=256)[: len(scheme)] for _, _, values in blocks(labels)]
    )  # (parts, K)
    total, wanted = counts.sum(axis=0), np.asarray(numbers)
    if (wanted > total).any():
        k = int(np.flatnonzero(wanted > total)[0])
        raise DataError(
            f"The map has {total[k]} pixels of {scheme.names[k]}, fewer than the {wanted[k]} points wanted: "
            "ask for fewer."
        )
    ranks = [np.sort(rng.choice(total[k], wanted[k], replace=False)) for k in range(len(scheme))]
    before = np.cumsum(counts, axis=0) - counts
    found = []
    for number, (row, col, values) in enumerate(blocks(labels)):
        for k, rank in enumerate(ranks):
            own = rank[(rank >= before[number, k]) & (rank < before[number, k] + counts[number, k])]
            if len(own):
                places = np.flatnonzero(values.ravel() == k)[own - before[number, k]]
                rows, cols = np.divmod(places, values.shape[1])
                found.append(np.stack([rows + row, cols + col, np.full(len(own), k)], axis=1))
    place = rng.permutation(np.concatenate(found)) if found else np.zeros((0, 3), int)
    rows, cols, stratum = place.T
    grid = labels.odc.geobox
    x, y = rasterio.transform.xy(grid.transform, rows, cols)
    table = pd.DataFrame({"id": np.arange(len(place)), "row": rows, "col": cols, "stratum": stratum})
    table["mapped"] = np.array(scheme.names)[stratum]
    table["pixels"] = total[stratum]
    table["probability"] = (wanted / np.maximum(total, 1))[stratum]
    table["weight"] = 1 / table["probability"]
    table["seed"], table["x"], table["y"] = seed, x, y
    table["pixel"], table["crs"] = float(np.sqrt(abs(grid.transform.determinant))), str(grid.crs)
    return gpd.GeoDataFrame(table, geometry=gpd.points_from_xy(x, y), crs=grid.crs)


def values_at(labels: xr.DataArray, points: gpd.GeoDataFrame) -> np.ndarray:
    """Return the class of a map at each point, uint8; 255 outside of the map."""
    return _classes_at(labels, *_pixels(labels, points))


def _classes_at(labels: xr.DataArray, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    inside = (row >= 0) & (row < labels.sizes["y"]) & (col >= 0) & (col < labels.sizes["x"])
    found = np.full(len(row), IGNORE, np.uint8)
    if inside.any():
        rows, cols = (xr.DataArray(axis[inside], dims="point") for axis in (row, col))
        found[inside] = np.asarray(labels.isel(y=rows, x=cols))
    return found


def strata_pixels(points: pd.DataFrame, count: int) -> np.ndarray:
    """Return the pixels of each stratum of the map that points were drawn from; 0 without points."""
    found = points.groupby("stratum")["pixels"].first()
    return found.reindex(range(count), fill_value=0).to_numpy()


# === The file of the interpreters ===


def write(points: gpd.GeoDataFrame, file: str | Path, scheme: ClassScheme) -> Path:
    """Write points for interpreters as a GeoPackage.

    The layer ``points`` has id, reference (empty, to be filled in with a name of the layer ``classes``),
    comment and, where there are any, chip (path of a picture); the table ``design`` has what the estimates
    need.

    Args:
        points: Result of :func:`draw`, with a column chip or without.
        file: The file.
        scheme: The classes that can be filled in.

    Raises:
        DataError: If the file holds answers already.
    """
    file = Path(file)
    if file.exists() and (answered := int(_answers(_layer(file, "points")).notna().sum())):
        raise DataError(
            f"{file} holds {answered} points that are filled in: give it as the file of points, or move it "
            "away before new points are written."
        )
    seen = points[[name for name in ("id", "chip") if name in points] + ["geometry"]].copy()
    seen.insert(1, "reference", "")
    seen.insert(2, "comment", "")
    classes = pd.DataFrame({"name": scheme.names, "color": scheme.colors})
    design = pd.DataFrame(points[["id", *_DESIGN]])
    return _written(file, {"points": seen, "classes": classes, "design": design})


def _written(file: Path, layers: Mapping[str, pd.DataFrame]) -> Path:
    with replacing(file, ".gpkg") as temporary:
        for name, table in layers.items():
            pyogrio.write_dataframe(table, temporary, layer=name, driver="GPKG")
    return file


def fill_in(file: str | Path, to: str | Path, answers: Sequence[str]) -> Path:
    """Copy the file of the interpreters with answers filled in, for simulated interpreters.

    Args:
        file: A file of :func:`write`.
        to: The copy.
        answers: Name of a class, or "", for each point in the order of its id.
    """
    layers = {name: _layer(Path(file), name) for name in ("points", "classes", "design")}
    layers["points"]["reference"] = np.asarray(answers)[layers["points"]["id"]]
    return _written(Path(to), layers)


def read(file: str | Path, scheme: ClassScheme, column: str = "reference") -> Interpreted:
    """Read points that interpreters have filled in.

    Points without an answer, and points that were moved off their pixel, are left out with the reason.

    Args:
        file: A file of :func:`write`; its table ``design`` says which pixel each point stands for.
        scheme: The classes, by the names of which the answers are known.
        column: Column of the answers.

    Raises:
        DataError: If the file is not one of :func:`write`, a point stands twice, or an answer is no class.
    """
    file = Path(file)
    points, design = _layer(file, "points"), _layer(file, "design")
    if column not in points or not {"id", *_DESIGN} <= set(design):
        raise DataError(
            f"{file} has the columns {', '.join(points.columns)}, expected id and {column} in the layer "
            "points and the table design: give the file that was written for the interpreters, filled in."
        )
    if points["id"].duplicated().any() or not points["id"].isin(design["id"]).all():
        odd = points["id"][points["id"].duplicated() | ~points["id"].isin(design["id"])].iloc[0]
        raise DataError(f"{file} has a point {odd} that stands twice or was not drawn: remove it.")
    answers = _answers(points, column)
    index = {name.casefold(): k for k, name in enumerate(scheme.names)}
    unknown = answers.dropna()[~answers.dropna().str.casefold().isin(index)]
    if len(unknown):
        raise DataError(
            f"{file}: point {points['id'][unknown.index[0]]} and {len(unknown) - 1} more have the answer "
            f"{unknown.iloc[0]!r}, which is no class; {did_you_mean(unknown.iloc[0], scheme.names)}"
        )
    design = design.set_index("id")
    drawn = design.loc[points["id"]].reset_index()
    if points.crs is not None and str(points.crs) != drawn["crs"].iloc[0]:
        points = points.to_crs(drawn["crs"].iloc[0])
    moved = np.maximum(abs(points.geometry.x - drawn["x"]), abs(points.geometry.y - drawn["y"]))
    reason = np.select(
        [answers.isna(), moved > drawn["pixel"] / 2], ["has no answer", "was moved off its pixel"], ""
    )
    removed = design.index.difference(points["id"])
    left_out = pd.DataFrame(
        {
            "id": [*points["id"][reason != ""], *removed],
            "reason": [*reason[reason != ""], *["was removed"] * len(removed)],
        }
    )
    kept = reason == ""
    table = gpd.GeoDataFrame(drawn, geometry=points.geometry.to_numpy(), crs=points.crs)[kept]
    table["reference"] = answers[kept].str.casefold().map(index).to_numpy(np.int64)
    return Interpreted(table.reset_index(drop=True), left_out)


def _answers(points: pd.DataFrame, column: str = "reference") -> pd.Series:
    """Return the answers as text, missing where there is none."""
    text = points[column].astype("string").str.strip()
    return text.mask(text == "")


def _layer(file: Path, layer: str) -> Any:
    try:
        return pyogrio.read_dataframe(file, layer=layer)
    except (DataLayerError, DataSourceError, OSError, ValueError) as error:
        why = f"has no layer {layer!r} ({reason_of(error)})" if file.exists() else "does not exist"
        raise DataError(f"{file} {why}: give the GeoPackage that was written for the interpreters.") from None


# === On the map ===


def on_map(points: Interpreted, labels: xr.DataArray, scheme: ClassScheme) -> Interpreted:
    """Bring points of any origin to a map: row, col, stratum (class of the map) and mapped (its name).

    Points outside of the map, and where it has no class, are left out.
    """
    table = points.table.copy()
    rows, cols = _pixels(labels, table)
    table["row"], table["col"] = rows, cols
    table["stratum"] = _classes_at(labels, rows, cols).astype(np.int64)
    there = (table["stratum"] < len(scheme)).to_numpy()
    outside = pd.DataFrame({"id": table["id"][~there], "reason": "lies where the map has no class"})
    table = table[there].reset_index(drop=True)
    table["mapped"] = np.array(scheme.names)[table["stratum"]]
    return Interpreted(table, pd.concat([points.left_out, outside], ignore_index=True))


def _pixels(labels: xr.DataArray, points: gpd.GeoDataFrame) -> tuple[np.ndarray, np.ndarray]:
    grid: GeoBox = labels.odc.geobox
    placed = points.geometry.to_crs(grid.crs)
    row, col = rasterio.transform.rowcol(grid.transform, placed.x.to_numpy(), placed.y.to_numpy())
    return np.asarray(row), np.asarray(col)


def distance_m(points: pd.DataFrame, others: pd.DataFrame, grid: GeoBox) -> np.ndarray:
    """Return the distance in metres from each point to the nearest of others; both have row and col."""
    size = np.array(pixel_size_m(grid))
    places = (table[["row", "col"]].to_numpy(float) * size for table in (points, others))
    near, far = places
    return np.asarray(cKDTree(far).query(near)[0])
