"""A labelled image series in memory, and catalogue entries, for the tests of the land-cover study."""

from pathlib import Path

import numpy as np
import rioxarray  # noqa: F401  (registers the .rio accessor)
import xarray as xr
from rasterio.transform import from_origin

from eolab.data.catalog import DataEntry

TIMES = ["2020-01-03T10:05", "2020-01-20T10:05", "2020-02-11T10:05", "2020-03-02T10:05", "2020-12-31T10:05"]


def place(data: xr.Dataset | xr.DataArray, cell_x: float = 10, cell_y: float = 10):
    """Give data in UTM a grid with its corner at 500 km east, 5,000 km north."""
    height, width = data.sizes["y"], data.sizes["x"]
    transform = from_origin(500_000, 5_000_000, cell_x, cell_y)
    x = 500_000 + cell_x * (np.arange(width) + 0.5)
    y = 5_000_000 - cell_y * (np.arange(height) + 0.5)
    return data.assign_coords(x=x, y=y).rio.write_crs("EPSG:32633").rio.write_transform(transform)


def labels(height: int, width: int) -> np.ndarray:
    """Three classes in patches with shares of about 6, 3 and 1; a strip of 255."""
    row, col = np.mgrid[:height, :width]
    label = np.where((row // 4 + col // 5) % 3 == 0, 1, 0).astype(np.uint8)
    label[(row > height * 0.6) & (col > width * 0.7)] = 2
    label[:, 3] = 255
    return label


def series(height: int = 23, width: int = 31, seed: int = 0, **cells: float) -> xr.Dataset:
    """Random reflectance of two bands with clouds and holes; truth and truth before differ from the label."""
    rng = np.random.default_rng(seed)
    image = rng.random((len(TIMES), 2, height, width)).astype(np.float32)
    image[rng.random(image.shape) < 0.02] = np.nan
    clear = rng.random((len(TIMES), height, width)) < 0.6
    label = labels(height, width)
    truth = np.where(rng.random(label.shape) < 0.2, rng.integers(0, 3, label.shape), label).astype(np.uint8)
    before = np.where(rng.random(label.shape) < 0.1, 2, label).astype(np.uint8)
    data = xr.Dataset(
        {
            "image": (("time", "band", "y", "x"), image, {"units": "reflectance"}),
            "clear": (("time", "y", "x"), clear),
            "label": (("y", "x"), label),
            "truth": (("y", "x"), truth),
            "truth_before": (("y", "x"), before),
        },
        coords={"time": np.array(TIMES, "datetime64[ns]"), "band": ["B04", "B08"]},
        attrs={
            "label_cell_m": 100.0,
            "class_scheme": '{"name": "toy", "codes": [1, 2, 3], "names": ["Wood", "Field", "Town"],'
            ' "colors": ["#117733", "#ccf24d", "#cc79a7"]}',
        },
    )
    return place(data, **cells)


def entry(path: Path, layout: str = "sentinel2_corine", **changes) -> DataEntry:
    """Return a catalogue entry of a folder."""
    metadata = {"license": "CC0-1.0", "citation": "Simulated by eolab"}
    given = {"name": "toy", "uri": str(path), "layout": layout, "file": path / "c.yaml", "root": path}
    return DataEntry(**{**given, "metadata": metadata, **changes})
