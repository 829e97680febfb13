"""Every builder of networks through one harness: outputs, gaps, files, seeds, training, precision.

Images have sides that no stride divides. Deep networks have one or two blocks a stage here: the tables of
their stages are data, and what builds them is the same; every name at its full depth is in the tests of its
kind.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
import model_harness as harness
import numpy as np
import pytest

from eolab import models
from eolab.models import heads
from eolab.models.blocks import MOMENTUM, batch_norm
from eolab.models.sequences.inputs import ImageNorm
from eolab.training import outputs

SERIES = {
    "lstm": {"units": 16},
    "tempcnn": {"filters": 16, "dense": 32, "dropout": 0.1, "l2": 0.0},
    "ltae": {"units": 32, "heads": 4},
    "transformer": {"units": 16, "heads": 2},
}
PIXELS = {
    "unet": {"levels": 3, "dropout": 0.1},
    "rau_net_1": {"levels": 3},
    "unet_resnet": {"backbone": "resnet18"},
    "deeplabv3": {},
    "deeplabv3_small": {},
    "mobilenetv3": {},
    "efficientnetv2": {"width_multiplier": 0.125, "drop_path": 0.0},
    "vnet": {},
    "squeeze_unet": {},
    "unet_plus_plus": {"levels": 3},
    "segformer_b0": {"layers": 1},
}
DUAL = ("rau_net_1", "squeeze_unet", "vnet", "efficientnetv2", "segformer_b0", "deeplabv3_small")
PATCHES = {
    "shallow_cnn": {},
    "three_branch_cnn": {},
    "resnet18_patch": {},
    "resnet50_patch": {},
    "convnext_tiny": {"scale": 0.5, "drop_path": 0.0},
    "resnet18_fusion": {},
}
SEQUENCES = {
    "convlstm": {"filters": 4, "hidden": 8, "l2": 0.0},
    "resnet50": {"width_multiplier": 0.0625},
    "resnet18_gru": {"width_multiplier": 0.0625, "units": 6},
    "utae": {"width_multiplier": 0.5, "heads": 2, "dropout": 0.0},
    "date_transformer": {"width_multiplier": 0.5, "units": 16, "heads": 2, "layers": 1},
}
IMAGE_SERIES = {
    "utae_mask": {"width_multiplier": 0.125, "heads": 4, "dropout": 0.0},
    "tsvit": {"units": 16, "heads": 2, "temporal_layers": 1, "spatial_layers": 1, "expansion": 2},
    "convlstm_mask": {"filters": 4, "dropout": 0.0},
}
BUILDERS = {**SERIES, **PIXELS, **PATCHES, **SEQUENCES, **IMAGE_SERIES}
PLAIN = {"unet", "deeplabv3", "resnet18_patch", "resnet50"}  # the same function builds more by another name
QUICK = (*SERIES, "unet", "shallow_cnn", "convlstm")
DIVIDING = {"unet": 4, "rau_net_1": 4, "unet_resnet": 32, "vnet": 4, "squeeze_unet": 4, "unet_plus_plus": 4}
SIZE = {"height": 35, "width": 38}


def slow(names) -> list:
    """Parameters, slow but for a few."""
    return [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in names]


@pytest.fixture(scope="module", autouse=True)
def shallow() -> Iterator[None]:
    with harness.shallow():
        yield


def case_of(name: str, **options) -> harness.Case:
    given = BUILDERS[name] | options
    if name in SERIES:
        inputs, labels = harness.series()
        given |= {"times": 5, "channels": 4, "outputs": 3, **harness.SERIES_STATISTICS}
    elif name in PIXELS:
        head = "dual" if name in DUAL else "multi"
        inputs, label = harness.pixels(*SIZE.values())
        labels = heads.targets(label, head)
        given |= {**SIZE, "channels": 3, "outputs": 2, "head": head, **harness.PIXEL_STATISTICS}
        given = {"width_multiplier": 0.0625} | given
    elif name in PATCHES:
        inputs, labels = harness.patches(*SIZE.values(), radar="fusion" in name), harness.SEVERAL
        given |= {**SIZE, "channels": 12, "outputs": 3, "activation": "sigmoid", **harness.PATCH_STATISTICS}
        given |= {"width_multiplier": 0.125}
    elif name in IMAGE_SERIES:
        inputs, label = harness.image_series(13, 11)
        labels = {"mask": label}
        given |= {"height": 13, "width": 11, "times": 5, "channels": 4, "outputs": 3}
        given |= harness.SERIES_STATISTICS
    else:
        inputs, labels = harness.sequences(13, 11)
        given |= {"height": 13, "width": 11, "channels": harness.BANDS, "outputs": 2}
        given |= harness.SEQUENCE_STATISTICS
    mask = {"masked": "s1", "mask": "s1_valid"} if name in SEQUENCES else {}
    return harness.Case(
        lambda seed: models.build(name, seed=seed, **given),
        inputs,
        labels,
        given["outputs"],
        several=name in PATCHES,
        **mask,
    )


@pytest.fixture(scope="module")
def case(request) -> harness.Case:
    return case_of(request.param)


every = pytest.mark.parametrize("case", slow(BUILDERS), indirect=True)


def test_every_builder_is_here():
    """By function: names of the same function differ in options."""
    functions = {name: models._function(name) for name in models.names()}
    assert set(functions.values()) == {functions[name] for name in BUILDERS}


@every
def test_probabilities_whatever_is_missing(case):
    harness.check_output(case)
    if case.mask in case.inputs:
        harness.check_mask(case)
    else:
        statistics = harness.PATCH_STATISTICS if case.several else harness.PIXEL_STATISTICS
        harness.check_missing(case, np.array(statistics["mean"]))


@pytest.mark.parametrize("case", QUICK, indirect=True)
def test_losses_read_the_logits_of_every_output(case):
    kind = "bce" if case.several else "ce"
    of_outputs = outputs.loss_of(case.model, kind)
    trained = outputs.Trained(case.model, of_outputs, of_outputs, {})
    assert set(trained.output[1]) == set(of_outputs)
    found, logits = trained(case.inputs)
    for name, loss in of_outputs.items():
        label = outputs.part_of(case.labels, name)
        expected = float(loss(label, outputs.part_of(found, name)))
        assert float(loss.mean(label, logits[name])[0]) == pytest.approx(expected, rel=1e-4)


@every
def test_every_batch_normalisation_forgets_at_one_rate(case):
    norms = [one for one in case.model.layers if isinstance(one, keras.layers.BatchNormalization)]
    assert {one.momentum for one in norms} <= {MOMENTUM}


@pytest.mark.parametrize("name", ["batch_norm", "ImageNorm"])
def test_averages_are_the_true_statistics_after_a_short_training(name):
    """Those of Keras, which follow a hundred batches, are seven times too large after these sixty."""
    maps = keras.Input((4, 4, 2))
    layer = ImageNorm() if name == "ImageNorm" else batch_norm(maps)._keras_history.operation
    rng, given = np.random.default_rng(0), ([np.ones(8)] if name == "ImageNorm" else [])
    for _ in range(60):
        layer(3 + 0.1 * rng.normal(size=(8, 4, 4, 2)).astype("float32"), *given, training=True)
    np.testing.assert_allclose(np.array(layer.moving_mean), 3, rtol=0.01)
    np.testing.assert_allclose(np.sqrt(np.array(layer.moving_variance)), 0.1, rtol=0.15)


@every
def test_the_seed_fixes_all_that_is_random(case):
    harness.check_seed(case)


@every
def test_a_file_holds_the_whole_model(case, tmp_path):
    loaded = harness.check_saved(case, tmp_path)
    if case.model.name in PLAIN:  # the others train below, in mixed precision
        harness.check_trains(case, loaded)


@pytest.mark.parametrize("case", slow(name for name in BUILDERS if name not in PLAIN), indirect=True)
def test_training_in_mixed_precision(case):
    """Once a function, by the name that has more of its layers."""
    wide = 0.05 if case.model.name in (*SERIES, *PIXELS) else 0.1
    harness.check_trains(case, harness.check_precision(case, "mixed_bfloat16", tolerance=wide))


@pytest.mark.slow
@pytest.mark.parametrize("case", [*SERIES, "unet"], indirect=True)
def test_half_precision(case):
    harness.check_step(harness.check_precision(case, "mixed_float16"), case)


@pytest.mark.parametrize("case", list(SERIES), indirect=True)
def test_series_without_dates(case):
    harness.check_nothing_observed(case)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "few"),
    [("lstm", {}), ("ltae", {}), ("transformer", {"layers": 1}), ("convlstm", {"layers": 1})],
)
def test_the_examples_can_be_learnt(name, few):
    """With a graph: networks with a memory or attention, which no task learns with in its tests."""
    harness.check_learns(case_of(name, **few), steps=15)


@pytest.mark.parametrize("case", slow(DIVIDING), indirect=True)
def test_an_image_that_the_stride_does_not_divide_is_padded_with_the_mean_and_cropped(case):
    """A larger image that is empty around it gives the same."""
    name, image = case.model.name, case.inputs["image"]
    height, width = (-(-side // DIVIDING[name]) * DIVIDING[name] for side in SIZE.values())
    padded = np.full((len(image), height, width, 3), np.nan, "float32")
    padded[:, : SIZE["height"], : SIZE["width"]] = image
    given = BUILDERS[name] | {"height": height, "width": width, "width_multiplier": 0.0625, "head": "multi"}
    given |= {"channels": 3, "outputs": 2, "seed": harness.SEED, **harness.PIXEL_STATISTICS}
    expected = harness.predict(models.build(name, **given), {"image": padded})
    sides = {"mask": (35, 38), "half": (18, 19), "double": (70, 76)}
    for key in sides.keys() & case.expected.keys():
        rows, columns = sides[key]
        np.testing.assert_allclose(case.expected[key], expected[key][:, :rows, :columns], atol=1e-5)
