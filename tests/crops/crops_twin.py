"""Twin of the crop study: images by date and polygons of parcels, simulated."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
from crops import CROPS
from rasterio.features import shapes
from rasterio.transform import from_origin
from shapely.geometry import shape

from eolab.synthetic.patterns import make_parcels
from eolab.synthetic.writing import mark, whole

VERSION = 1
GREEN = {"Barley": (95, 175), "Maize": (165, 265), "Grass": (80, 310)}  # days of the year it is green between


def write(folder: Path, seed: int = 0, size: int = 160, dates: int = 9, progress: bool = True) -> Path:
    """Write the twin: ``YYYY-MM-DD.tif`` (B04, B08 in 1/10,000, 0 = clouds) and ``parcels.gpkg``."""
    rng = np.random.default_rng(seed)
    parcels = make_parcels((size, size), rng)
    crop = rng.integers(0, len(CROPS.names), parcels.max() + 1)
    shift, vigour = rng.normal(0, 9, len(crop)), rng.normal(1, 0.08, len(crop))
    start, end = np.array([GREEN[name] for name in CROPS.names], float)[crop].T
    place = from_origin(400_000, 5_000_000, 10, 10)
    profile = {"driver": "GTiff", "width": size, "height": size, "count": 2, "dtype": "uint16", "nodata": 0}
    with whole(folder) as path:
        for date in pd.date_range("2020-03-01", "2020-10-20", periods=dates).normalize():
            day = date.dayofyear - shift
            green = vigour / (1 + np.exp(-(day - start) / 8)) / (1 + np.exp((day - end) / 8))
            field = green[parcels] + rng.normal(0, 0.08, parcels.shape)
            image = np.stack([0.12 - 0.08 * field, 0.18 + 0.25 * field])
            image[:, rng.random(parcels.shape) < rng.uniform(0, 0.4)] = 0
            with rasterio.open(
                path / f"{date:%Y-%m-%d}.tif", "w", crs="EPSG:32631", transform=place, **profile
            ) as file:
                file.write((image * 10_000).clip(0, 65_535).astype(np.uint16))
        outlines = [(shape(one), int(value)) for one, value in shapes(parcels, transform=place)]
        table = pd.DataFrame({"crop": [CROPS.names[crop[number]] for _, number in outlines]})
        gpd.GeoDataFrame(table, geometry=[one for one, _ in outlines], crs="EPSG:32631").to_file(
            path / "parcels.gpkg"
        )
        mark(path, "crops_twin", VERSION, seed=seed, size=size, dates=dates)
    return folder
