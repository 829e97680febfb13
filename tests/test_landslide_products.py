"""A Sentinel-2 product and an elevation model as the 14 channels of Landslide4Sense, and maps of them."""

from __future__ import annotations

import numpy as np
import pytest
import rasterio
import safe_factory
from rasterio.transform import from_origin
from rasterio.windows import Window

from eolab.core.errors import DataError, ParameterError
from eolab.data.layouts import landslide4sense as reader
from eolab.prediction import mapping
from eolab.studies.landslide import channels
from eolab.studies.landslide import products as scenes
from eolab.studies.products import Wanted
from eolab.tasks import Channels

SIZE = 144
LEFT, TOP = safe_factory.WEST, safe_factory.NORTH


def write_dem(
    path,
    pixel_m=10.0,
    crs="EPSG:32631",
    left=LEFT,
    top=TOP,
    side=SIZE,
    tilt=(0.2, 0.1),
    dtype="float32",
    unit="",
):
    """A plane that rises by tilt metres a metre to the east and to the south."""
    row, col = np.mgrid[:side, :side] + 0.5
    heights = 400 + pixel_m * (tilt[0] * col + tilt[1] * row)
    place = {"crs": crs, "transform": from_origin(left, top, pixel_m, pixel_m)} if crs else {}
    with rasterio.open(
        path, "w", driver="GTiff", dtype=dtype, count=1, height=side, width=side, **place
    ) as file:
        file.write(heights.astype(dtype), 1)
        file.units = [unit]
    return path


def write_product(folder):
    """Write a product with an offset of 1,000 and without data in its last rows; return it."""
    rng = np.random.default_rng(0)
    values = {}
    for band, divisor in zip(reader.BANDS[:12], reader.DIVISORS[:12], strict=True):
        side = {"B01": 24, "B09": 24, "B10": 24}.get(
            band, 72 if band in ("B05", "B06", "B07", "B11", "B12") else 144
        )
        image = rng.uniform(0.5, 2, (side, side)) * divisor + 1000
        image[-side // 12 :] = 0
        values[band] = image.astype(np.uint16)
    facts = {"level": "L1C", "baseline": "04.00", "offset": -1000.0, "time": "2022-05-06T10:40:31"}
    return safe_factory.write_safe(folder, size=SIZE, values=values, **facts)


@pytest.fixture(scope="module")
def product(tmp_path_factory):
    return write_product(tmp_path_factory.mktemp("product"))


@pytest.fixture(scope="module")
def scene(product, tmp_path_factory):
    file = tmp_path_factory.mktemp("dem") / "dem.tif"
    return scenes.open_scene(product, write_dem(file, left=LEFT - 100, top=TOP + 100, side=SIZE + 20))


def test_a_product_and_a_dem_give_the_published_scale(scene, product):
    window = scene.read(10, 20, 64, 48)
    assert not window["nodata"].any()
    with rasterio.open(safe_factory.image_path(product, "B08")) as image:
        numbers = image.read(1)[10:74, 20:68].astype(float) - 1000
    np.testing.assert_allclose(window["image"][..., 7], numbers / 1941.32229668, rtol=1e-5)
    slope = np.degrees(np.arctan(np.hypot(0.2, 0.1)))  # 12.6 degrees
    np.testing.assert_allclose(window["image"][..., 12], slope / 20.29228266, rtol=1e-4)
    row, col = np.mgrid[20:84, 30:78] + 0.5  # the model begins ten pixels before the product
    np.testing.assert_allclose(window["image"][..., 13], (400 + 2 * col + row) / 772.83144788, rtol=1e-5)
    assert reader.unit_of(window["image"]) == "as published"
    assert scene.read(100, 100, 44, 44)["nodata"].sum() == 12 * 44


def test_a_patch_is_cut_around_a_place_and_one_outside_is_refused(scene):
    x, y = LEFT + 640, TOP - 640
    (longitude,), (latitude,) = scenes.to_crs("EPSG:32631", "EPSG:4326", [x], [y])
    np.testing.assert_array_equal(scene.patch(longitude, latitude), scene.read(0, 0, 128, 128)["image"])
    with pytest.raises(DataError, match="no 128 × 128 pixels with data around longitude 5"):
        scene.patch(5.0, 50.0)


def test_a_dem_in_degrees_gives_degrees_of_slope_on_the_scene(product, tmp_path):
    """A slope of heights in metres over degrees of longitude would be 90."""
    (west, east), (south, north) = scenes.to_crs(
        "EPSG:32631", "EPSG:4326", [LEFT - 500, LEFT + 2000], [TOP - 2000, TOP + 500]
    )
    step = (east - west) / 40
    file = write_dem(tmp_path / "dem.tif", step, "EPSG:4326", west, north + (north - south), 120, (0, 0))
    window = scenes.open_scene(product, file).read(0, 0, 96, 96)
    assert np.nanmax(window["image"][..., 12]) < 1
    holes = write_dem(tmp_path / "holes.tif", side=72)  # half of the scene
    window = scenes.open_scene(product, holes).read(0, 0, 96, 96)
    assert 0.4 < window["nodata"].mean() < 0.5
    assert np.isfinite(window["image"]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"left": LEFT + 90_000}, "has no height on the scene"),
        ({"crs": None}, "has no CRS, expected one band of heights with a CRS"),
        ({"tilt": (90.0, 0.0)}, "expected metres"),
        ({"unit": "ft"}, "states heights in ft, expected metres"),
        ({"crs": "EPSG:32631+6360"}, "states heights in US survey foot, expected metres"),
        (
            {"dtype": "uint8", "tilt": (0.1, 0.0)},
            "holds uint8, as pictures have .a hillshade., expected heights",
        ),
        ({"crs": 'LOCAL_CS["site",UNIT["metre",1]]'}, "cannot be read as an elevation model"),
    ],
)
def test_a_dem_that_cannot_be_used_is_a_sentence(product, tmp_path, options, said):
    with pytest.raises(DataError, match=said):
        scenes.open_scene(product, write_dem(tmp_path / "dem.tif", **options))


def test_a_hole_that_the_file_does_not_state_is_no_slope(product, tmp_path):
    """Regression: a few pixels of -9999 between those that are looked at first were slopes of 88 degrees."""
    file = write_dem(tmp_path / "dem.tif")
    with rasterio.open(file, "r+") as raster:
        raster.write(np.full((1, 4, 4), -9999, "float32"), window=Window(13, 13, 4, 4))
    scene = scenes.open_scene(product, file)
    with pytest.raises(DataError, match=r"heights of -9999 to \d+, .* gdal_edit -a_nodata VALUE"):
        scene.read(0, 0, 48, 48)
    with rasterio.open(file, "r+") as raster:
        raster.nodata = -9999
    assert scene.read(0, 0, 48, 48)["image"][..., 12].max() < 1


def test_a_product_of_level_2a_is_refused_with_the_reason(tmp_path):
    product = safe_factory.write_safe(tmp_path, level="L2A")
    with pytest.raises((DataError, ParameterError), match=r"L1C|Level-1C"):
        scenes.open_scene(product, tmp_path / "dem.tif")


class TrainedStub:
    """A run that learned from published patches, without its files."""

    def __init__(self, channels, params):
        self.described, self.facts = ("segmentation", "unet", channels), {}
        self.option = params.get


def test_a_map_of_a_scene_has_its_grid_and_no_data_where_the_product_has_none(product, tmp_path):
    low, high = (0.2,) * 12 + (0.0, 0.0), (3.0,) * 12 + (4.0, 3.0)
    chosen = Channels(reader.BANDS, (1.0,) * 14, (0.3,) * 14, channels.STORED, low=low, high=high)

    class Predictor:
        def __init__(self):
            self.shapes, self.ranges = {"image": (128, 128, 14)}, {}

        def __call__(self, inputs):
            landslide = np.where(inputs["image"][..., 13] > 0.9, 0.75, 0.25)  # high ground
            return np.stack([1 - landslide, landslide], axis=-1)

    made = TrainedStub({"image": chosen}, {"normalise": "none"})
    wanted = Wanted(
        product, dem=write_dem(tmp_path / "dem.tif", left=LEFT - 100, top=TOP + 100, side=SIZE + 20)
    )
    opened = scenes.scene_of(made, wanted)
    path = mapping.map_scene(
        Predictor(), opened, tmp_path / "map.tif", trained=chosen.trained, progress=False
    )
    with rasterio.open(path) as found:
        assert (found.crs.to_epsg(), found.nodata) == (32631, 255)
        assert found.transform == from_origin(LEFT, TOP, 10, 10)
        classes, percent = found.read()
    row, col = np.mgrid[10 : SIZE + 10, 10 : SIZE + 10] + 0.5
    high_ground = (400 + 2 * col + row) / 772.83144788 > 0.9
    np.testing.assert_array_equal(classes[:132], high_ground[:132])
    assert (percent[:132] == 75).all()
    assert (classes[132:] == 255).all()


def test_a_network_of_published_patches_asks_for_heights(product):
    chosen = Channels(reader.BANDS, (1.0,) * 14, (0.3,) * 14, channels.STORED)
    with pytest.raises(ParameterError, match="read heights: give --dem FILE"):
        scenes.scene_of(TrainedStub({"image": chosen}, {"normalise": "none"}), Wanted(product))
