"""Predictions of images on another scale than those of training: refused, or said once."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
import store_example

from eolab import tasks
from eolab.core.errors import DataError
from eolab.prediction import loading, ranges
from eolab.tasks import baselines
from eolab.tasks.channels import Channels

RNG = np.random.default_rng(0)
REFLECTANCE = Channels(
    ("B04", "B08", "NDVI"), (0.1, 0.3, 0.5), (0.05, 0.1, 0.2), ("B04", "B08", "NDVI"),
    low=(0.01, 0.02, -0.4), high=(0.6, 0.8, 0.95),
)  # fmt: skip


def image(factor: float = 1.0) -> np.ndarray:
    bands = RNG.uniform((0.02, 0.1), (0.3, 0.5), (2, 16, 16, 2)) * factor
    return np.concatenate([bands, RNG.uniform(0.1, 0.9, (2, 16, 16, 1))], -1).astype(np.float32)


def trained(channels: Channels = REFLECTANCE) -> ranges.TrainedRange:
    found = ranges.TrainedRange.of(asdict(channels))
    assert found is not None
    return found


@pytest.fixture(autouse=True)
def _warnings_are_errors():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_images_on_the_scale_of_training_pass_with_gaps_and_other_landscapes():
    one = trained()
    one.check(image())
    gaps = image()
    gaps[:, :8] = np.nan
    one.check(gaps)
    one.check(np.full((4, 4, 3), np.nan))
    filled = image()
    filled[1] = -9999  # an image that does not count
    one.check(filled, valid=np.array([1, 0]))


def test_digital_numbers_are_refused_with_channel_found_and_expected():
    said = r"B04 is \d{4} \(median; 100% of the values lie outside\), in training it was 0\.01 to 0\.6; B08"
    with pytest.raises(
        DataError, match=said + r" is .*digital numbers \(× 10,000\): bring them to the scale"
    ):
        trained().check(image(10_000))
    with pytest.raises(DataError, match=r"They are about \d\d times as large as in training"):
        trained().check(image(70))


def test_reflectance_for_digital_numbers_and_db_for_linear_power_are_named():
    numbers = Channels(("B04", "B08"), (900.0, 2500.0), (500.0, 900.0), (), low=(0.0, 0.0), high=(9e3, 12e3))
    with pytest.warns(UserWarning, match="like reflectance where digital numbers"):
        trained(numbers).check(image()[..., :2])
    power = Channels(("VV",), (0.14,), (0.3,), (), low=(0.0,), high=(400.0,))
    with pytest.raises(DataError, match=r"VV is -1[12]\..* Their sign differs, as that of values in dB"):
        trained(power).check(RNG.normal(-12, 2, (8, 8, 1)))
    with pytest.warns(UserWarning, match="VV is 300"):
        trained(power).check(np.full((8, 8, 1), 300.0))  # amplitude: within the range, far from the mean


def test_another_landscape_is_said_once_and_refused_where_asked():
    one, snow = trained(), image()
    snow[..., 0] = 0.9
    said = r"B04 is 0\.9 \(median; 100% of the values lie outside\), .* That may be another landscape"
    with pytest.warns(UserWarning, match=said):
        one.check(snow)
    one.check(snow)  # not again
    lake = image()
    lake[..., 2] = -0.6  # NDVI of water
    with pytest.warns(UserWarning, match=r"NDVI is -0\.6 .* That may be another landscape"):
        trained().check(lake)
    with pytest.raises(DataError, match="B04 is 0"):
        one.check(snow, strict=True)


def test_no_factor_is_told_where_training_values_lie_around_0():
    """A change of 2.6 dB was "about -2.8e+02 times as large as in training"."""
    change = Channels(("VV_change",), (-0.01,), (1.0,), (), low=(-2.5,), high=(2.5,))
    with pytest.warns(UserWarning, match=r"outside\), in training .* may be another landscape"):
        trained(change).check(np.full((8, 8, 1), 2.8))


@pytest.mark.parametrize(("value", "share"), [(-9999, 0.3), (65535, 0.4), (-32768, 0.02)])
def test_fill_values_that_no_file_declares_are_named(value, share):
    """A third of -9999 left the median as it was, and the map was painted without a word."""
    filled = image()
    filled[RNG.random(filled.shape[:3]) < share] = value
    with pytest.warns(UserWarning, match=f"far off are {value}, .* a fill value: state it as nodata"):
        trained().check(filled)


def test_an_image_of_fill_values_alone_is_not_said_to_be_in_db():
    with pytest.raises(DataError, match="far off are -9999, which looks like a fill value"):
        trained().check(np.full((4, 8, 8, 3), -9999.0))
    infinite = image()
    infinite[..., 0] = np.inf
    with pytest.raises(DataError, match=r"B04 is inf .* far off are inf"):
        trained().check(infinite)


def test_ground_below_the_sea_is_another_landscape_and_no_db():
    """A polder at -3 m was refused as values in dB."""
    metres = Channels(("dem",), (500.0,), (300.0,), (), low=(0.0,), high=(2400.0,))
    with pytest.warns(UserWarning, match=r"dem is -[23].* That may be another landscape"):
        trained(metres).check(RNG.normal(-3, 0.2, (8, 8, 1)))
    slope = Channels(("slope",), (16.0,), (9.0,), (), low=(0.1,), high=(80.0,))
    with pytest.warns(UserWarning, match=r"slope is 0 .* That may be another landscape"):
        trained(slope).check(np.zeros((8, 8, 1)))


def test_models_of_before_without_ranges_predict_as_they_did():
    assert ranges.TrainedRange.of(asdict(Channels(("B04",), (0.1,), (0.1,), ("B04",)))) is None
    old = {key: value for key, value in asdict(REFLECTANCE).items() if key not in ("low", "high")}
    assert Channels.from_dict(old).low == ()
    assert ranges.TrainedRange.of(old) is None


def test_a_fitted_network_and_a_loaded_predictor_refuse_digital_numbers(tmp_path):
    network = SimpleNamespace(input=("image",), predict_on_batch=lambda inputs: inputs["image"])
    fitted = tasks.Fitted(tasks.get("segmentation"), "unet", network, {"image": REFLECTANCE})
    assert fitted.inputs({"image": image()})["image"].shape == (2, 16, 16, 3)
    with pytest.raises(DataError, match="digital numbers"):
        fitted.inputs({"image": image(10_000)})
    facts = {"channels": {"image": asdict(REFLECTANCE)}}
    (tmp_path / "task.json").write_text(json.dumps(facts))
    engine = SimpleNamespace(
        name="keras", dtypes={"image": "float32"}, shapes={"image": (16, 16, 3)}, fixed_batch=False,
        takes_nan=True,
    )  # fmt: skip
    predictor = loading.Predictor(engine, "")
    predictor.ranges = ranges.beside(tmp_path / "model.keras")
    with pytest.raises(DataError, match="digital numbers"):
        predictor({"image": image(10_000)})
    assert ranges.beside(tmp_path / "other" / "model.keras") == {}


@pytest.fixture(scope="module")
def forest(tmp_path_factory):
    """A forest on a store of pixel series whose bands run from about 0 to 39, saved and loaded."""
    folder = tmp_path_factory.mktemp("forest")
    store = store_example.write(folder / "store")
    fitted = baselines.build("series_classification", "random_forest", trees=2)
    fitted.fit(store, store.indices("train"))
    fitted.predict(store, store.indices("test"))
    return store, fitted.save(folder / "model.joblib")


def test_a_saved_baseline_refuses_digital_numbers_as_networks_do(forest):
    store, path = forest
    data = store.gather([0, 1, 2], ["image", "valid"])
    for predict in (loading.load(path), baselines.load(path).predict_on_batch):
        assert predict(data).shape == (3, 2)
        with pytest.raises(DataError, match=r"B02 is .* times as large as in training"):
            predict(data | {"image": data["image"] * 10_000})


def test_a_saved_baseline_refuses_a_store_with_other_channels_or_another_order(forest, tmp_path):
    _, path = forest
    turned = store_example.METADATA["coords"] | {"band": ["B04", "B03", "B02"]}
    other = store_example.write(tmp_path / "other", metadata=store_example.METADATA | {"coords": turned})
    with pytest.raises(
        DataError, match=r"has the channels B04, B03, B02; the model was fitted on .* B02, B03"
    ):
        baselines.load(path).predict(other, [0])
    with pytest.raises(DataError, match=r"expected \(..., 3\): give all channels of the store"):
        loading.load(path)({"image": np.ones((2, 5, 4), "float32"), "valid": np.ones((2, 5), bool)})


def test_baselines_of_before_and_constant_ones_predict_without_ranges(forest):
    store, path = forest
    old = baselines.load(path)
    del old.__dict__["seen"]
    data = store.gather([0], ["image", "valid"])
    assert old.predict_on_batch(data | {"image": data["image"] * 10_000}).shape == (1, 2)
    constant = baselines.build("series_classification", "majority").fit(store, store.indices("train"))
    assert constant.seen is None


def test_the_landslide_demo_refuses_patches_of_other_units_and_maps_published_ones():
    """A patch as digital numbers or reflectance was painted over and over."""
    from eolab.data.layouts.landslide4sense import BANDS
    from eolab.studies.landslide import channels
    from eolab.studies.landslide.samples import demo_predict

    low, high = (0.5,) * 12 + (0.0, 0.0), (2.0,) * 12 + (4.0, 3.0)
    chosen = Channels(BANDS, (1.0,) * 14, (0.3,) * 14, channels.STORED, low=low, high=high)
    predict = demo_predict(lambda inputs: np.full((1, 16, 16, 2), 0.5), chosen)
    patch = (0.6 + RNG.random((16, 16, 14))).astype(np.float32)
    assert predict(patch).shape == (16, 16)
    divisors = np.array([*range(1100, 500, -50), 20.0, 770.0], np.float32)
    reflectance = patch * divisors / ([10_000.0] * 12 + [1.0, 1.0])
    for other, said in ((patch * divisors, "times as large"), (reflectance.astype(np.float32), "slope is 2")):
        with pytest.raises(DataError, match=said):
            predict(other)
