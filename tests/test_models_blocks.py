"""Blocks and backbones against NumPy and by hand; their sizes against the papers."""

from __future__ import annotations

from contextlib import nullcontext

import keras
import numpy as np
import pytest
import tensorflow as tf
from model_harness import planned, shallow, trainable
from scipy import ndimage

from eolab import models
from eolab.core.errors import ParameterError
from eolab.models import resnet
from eolab.models.attention import EfficientAttention
from eolab.models.blocks import (
    AtrousConv2D,
    BatchNormalization,
    Resize,
    conv_norm,
    depthwise_norm,
    inverted_residual,
    padded,
    scaled,
    skip_branch,
    squeeze_excite,
)
from eolab.models.images import deeplabv3 as deeplab
from eolab.models.images.mobilenets import lite_pyramid
from eolab.models.images.segformer import mix_ffn
from eolab.models.images.unets import fire, residual_stage
from eolab.models.layers import Seeds

STRIDES = {
    "deeplabv3": 8,
    "deeplabv3_small": 8,
    "mobilenetv3": 16,
    "efficientnetv2": 32,
    "segformer_b0": 32,
    "vnet": 16,
    "squeeze_unet": 16,
}
BACKBONES = ("deeplabv3", "deeplabv3_small", "mobilenetv3", "efficientnetv2")  # keep strides where shallow
ENCODERS = {  # trainable weights on three channels, as published implementations count them
    "deeplabv3": 25_557_032 - 2_049_000,  # ResNet-50 without its classifier
    "deeplabv3_small": 3_504_872 - 1_281_000 - 412_160,  # MobileNetV2 without classifier and last convolution
    "efficientnetv2": 21_458_488 - 1_281_000 - 330_240,  # EfficientNetV2-S likewise
    "segformer_b0": 3_319_392,  # MiT-B0
}


GIVEN = {"height": 64, "width": 64, "channels": 3, "outputs": 2, "width_multiplier": 0.0625}


def build(name: str, **options) -> keras.Model:
    return models.build(name, **GIVEN | options)


def part(function, shape: tuple[int, ...], *args, **options) -> keras.Model:
    """A model of one part, in inference: batch normalisation divides by √(1 + ε) alone."""
    x = keras.Input(shape)
    return keras.Model(x, function(x, *args, **options))


def run(model, x) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(x, training=False))


def norm(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt(1 + 1e-3)  # of a new batch normalisation


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


# === Convolutions ===


def test_channels_are_those_of_the_paper_or_multiples_of_4():
    assert [scaled(number, 1.0) for number in (7, 64, 992.0)] == [7, 64, 992]
    assert [scaled(number, 0.25) for number in (7, 64, 90)] == [4, 16, 24]


@pytest.mark.parametrize(("layer", "rate"), [(conv_norm, 1), (conv_norm, 6), (depthwise_norm, 4)])
def test_an_atrous_convolution_sees_nine_pixels_that_far_apart(layer, rate):
    sizes = (3, 3) if layer is conv_norm else (3,)
    model = part(layer, (21, 21, 3), *sizes, Seeds(0), dilation=rate, activation=None)
    impulse = np.zeros((1, 21, 21, 3), "float32")
    impulse[0, 10, 10] = 1
    answer = np.abs(run(model, impulse)).sum(axis=(0, 3))
    expected = {(10 + i, 10 + j) for i in (-rate, 0, rate) for j in (-rate, 0, rate)}
    assert {(int(i), int(j)) for i, j in np.argwhere(answer > 0)} == expected


@pytest.mark.parametrize(
    ("size", "kernel", "rate", "summed"),
    [
        ((9, 9), 3, 3, True),
        ((9, 9), 3, 9, True),  # only the middle of the kernel sees anything
        ((5, 12), 3, (4, 6), True),
        ((7, 6), 4, 3, True),  # TensorFlow pads an even kernel by one pixel more behind
        ((9, 9), 3, 2, False),
        ((32, 32), 3, 6, False),
    ],
)
def test_an_atrous_convolution_and_its_gradients_are_those_of_keras(size, kernel, rate, summed, monkeypatch):
    layers = [
        kind(5, kernel, padding="same", dilation_rate=rate, use_bias=False)
        for kind in (AtrousConv2D, keras.layers.Conv2D)
    ]
    x = tf.constant(np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32"))
    found = []
    for layer in layers:
        layer.build(x.shape)
        layer.kernel.assign(np.random.default_rng(1).normal(size=layer.kernel.shape))
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x)
            loss = tf.reduce_sum(y**3)
        found.append([y, *tape.gradient(loss, [x, layer.kernel.value])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())
    monkeypatch.setattr(keras.layers.Conv2D, "convolution_op", lambda *given: "Keras's")
    assert isinstance(layers[0].convolution_op(x, layers[0].kernel), str) is not summed
    assert isinstance(keras.layers.deserialize(keras.layers.serialize(layers[0])), AtrousConv2D)


@pytest.mark.parametrize("xla", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["graph", "xla"])
@pytest.mark.parametrize("shape", [(6, 5), (3, 7, 5), (2, 4, 3, 5), (1, 1, 1, 5), (2, 3, 4, 2, 5)], ids=str)
def test_fused_batch_normalisation_learns_as_that_of_keras(shape, xla):
    """Values, gradients and averages, and nothing of them where the layer is frozen."""
    rng = np.random.default_rng(0)
    maps = rng.normal(3, 2, shape).astype("float32")
    weights = [rng.normal(1, 0.3, 5), rng.normal(size=5), rng.normal(size=5), rng.random(5)]
    toward = rng.normal(size=shape).astype("float32")  # else gradients of the maps would be 0

    def of(kind, frozen: bool) -> list[np.ndarray]:
        layer = kind(momentum=0.7)
        layer.build(shape)
        layer.set_weights(weights)
        layer.trainable = not frozen

        @tf.function(jit_compile=xla)
        def step(x):
            with tf.GradientTape() as tape:
                tape.watch(x)
                found = layer(x, training=True)
                loss = tf.reduce_sum(found * toward)
            learnt = [weight.value for weight in layer.trainable_weights]
            return found, *tape.gradient(loss, [x, *learnt])

        return [np.asarray(one) for one in (*step(tf.constant(maps)), *layer.get_weights())]

    for frozen in (False, True):
        for ours, theirs in zip(
            of(BatchNormalization, frozen), of(keras.layers.BatchNormalization, frozen), strict=True
        ):
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"scale": False}, {"center": False}, {"renorm": True}, {"axis": 1}, {"dtype": "float64"}],
    ids=str,
)
def test_batch_normalisation_with_other_options_is_that_of_keras(options):
    maps = np.random.default_rng(0).normal(3, 2, (4, 3, 3, 5)).astype("float32")
    ours, theirs = BatchNormalization(**options), keras.layers.BatchNormalization(**options)
    np.testing.assert_array_equal(ours(maps, training=True), theirs(maps, training=True))
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "bfloat16", "mixed_float16"])
def test_fused_batch_normalisation_in_half_precision(policy):
    maps = np.random.default_rng(0).normal(3, 2, (4, 6, 6, 5)).astype("float32")
    layer, exact = BatchNormalization(dtype=policy), keras.layers.BatchNormalization()
    found = keras.ops.convert_to_numpy(keras.ops.cast(layer(maps, training=True), "float32"))
    np.testing.assert_allclose(found, exact(maps, training=True), atol=0.05)
    for one, other in zip(layer.get_weights(), exact.get_weights(), strict=True):
        np.testing.assert_allclose(one.astype("float32"), other, rtol=0.01, atol=0.01)


def test_batch_normalisation_is_fused_in_training_and_plain_in_predictions():
    layer = BatchNormalization()
    layer.build((2, 4, 4, 3))
    for training, expected in ((True, {"FusedBatchNormV3"}), (False, set())):
        graph = tf.function(lambda x, training=training: layer(x, training=training)).get_concrete_function(
            tf.TensorSpec((2, 4, 4, 3))
        )
        assert {one.type for one in graph.graph.get_operations()} & {"FusedBatchNormV3"} == expected


def test_depthwise_kernels_start_with_the_variance_of_he():
    kernel = part(depthwise_norm, (9, 9, 512), 5, Seeds(0)).get_weights()[0]
    assert kernel.std() == pytest.approx(np.sqrt(2 / 25), rel=0.05)


@pytest.mark.parametrize("padding", ["first", "mixed", "last"])
@pytest.mark.parametrize("size", [64, 96])
def test_padding_keeps_features_in_the_middle_of_their_cells(padding, size):
    """Means over windows of a ramp are the positions of their centres."""
    first = {"first": 3, "mixed": 2, "last": 0}[padding]
    x = inputs = keras.Input((size, size, 1))
    for one in first * ["first"] + (3 - first) * ["same"]:
        x = depthwise_norm(x, 3, Seeds(0), strides=2, activation=None, padding=one)
    model = keras.Model(inputs, x)
    model.set_weights([np.full(w.shape, 1 / 9) if w.ndim == 4 else w for w in model.get_weights()])
    ramp = np.broadcast_to(np.arange(size, dtype="float32")[None, None, :, None], (1, size, size, 1))
    got = run(model, ramp)[0, 3, 2:-2, 0] * (1 + 1e-3) ** 1.5
    middle = 8 * np.arange(2, size // 8 - 2) + 3.5
    drift = {"first": -3.5, "mixed": 0.5, "last": 3.5}[padding]
    np.testing.assert_allclose(got, middle + drift, atol=1e-2)


@pytest.mark.parametrize(("kernel", "size"), [(3, 8), (3, 9), (7, 10), (7, 11)])
def test_padding_rounds_the_size_up(kernel, size):
    x = keras.Input((size, size, 2))
    for padding in ("first", "symmetric", "same"):
        wider, left = padded(x, kernel, padding)
        assert keras.layers.Conv2D(1, kernel, 2, left)(wider).shape[1:3] == (-(-size // 2),) * 2


@pytest.mark.parametrize(("before", "after"), [(8, 32), (13, 100), (1, 7), (16, 5)])
def test_resizing_is_bilinear_between_the_centres_of_pixels(before, after):
    x = random(2, before, before, 3)
    place = np.clip((np.arange(after) + 0.5) * before / after - 0.5, 0, before - 1)  # in pixels of x
    grid = np.meshgrid(place, place, indexing="ij")
    expected = [
        [ndimage.map_coordinates(x[b, ..., c].astype(float), grid, order=1, mode="nearest") for c in range(3)]
        for b in range(2)
    ]
    np.testing.assert_allclose(run(Resize(after, after), x), np.moveaxis(expected, 1, -1), atol=1e-4)


def test_stochastic_depth_drops_whole_samples_and_keeps_the_mean():
    x = np.ones((400, 2, 2, 3), "float32")
    model = part(skip_branch, (2, 2, 3), 0.25, Seeds(0))
    got = keras.ops.convert_to_numpy(model(x, training=True)).reshape(400, -1)
    assert (got == got[:, :1]).all()
    np.testing.assert_allclose(np.unique(got), [0, 4 / 3], rtol=1e-6)
    assert got.mean() == pytest.approx(1, abs=0.1)
    np.testing.assert_array_equal(run(model, x), x)
    again = part(skip_branch, (2, 2, 3), 0.25, Seeds(0))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(again(x, training=True)).reshape(400, -1), got)


# === Inverted residuals and fire modules ===


def test_an_inverted_residual_has_the_weights_and_the_shape_counted_by_hand():
    options = {"expansion": 6, "kernel": 5, "strides": 2, "squeezed": 8}
    model = part(inverted_residual, (10, 10, 16), 24, Seeds(0), **options)
    assert model.output.shape == (None, 5, 5, 24)
    expand, depthwise, project = 16 * 96 + 2 * 96, 25 * 96 + 2 * 96, 96 * 24 + 2 * 24
    excite = (96 * 8 + 8) + (8 * 96 + 96)
    assert trainable(model) == expand + depthwise + excite + project
    fused = part(inverted_residual, (10, 10, 16), 16, Seeds(0), expansion=4, fused=True, shortcut=True)
    assert trainable(fused) == (9 * 16 * 64 + 2 * 64) + (64 * 16 + 2 * 16)
    whole = part(inverted_residual, (10, 10, 16), 16, Seeds(0), fused=True, shortcut=True)
    assert trainable(whole) == 9 * 16 * 16 + 2 * 16


@pytest.mark.parametrize("options", [{"expansion": 4}, {"expansion": 4, "fused": True}, {"fused": True}])
def test_an_inverted_residual_adds_to_its_input(options):
    x = random(2, 6, 6, 8)
    model = part(inverted_residual, (6, 6, 8), 8, Seeds(0), shortcut=True, **options)
    assert np.abs(run(model, x) - x).max() > 1e-3
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)][-1]
    last.gamma.assign(np.zeros(8))
    np.testing.assert_allclose(run(model, x), x, atol=1e-6)


def test_squeeze_and_excitation_is_the_formula():
    x = random(2, 5, 5, 8)
    model = part(squeeze_excite, (5, 5, 8), 4, Seeds(0), activation="relu", gate="hard_sigmoid")
    first, a, second, b = model.get_weights()
    hidden = np.maximum(x.mean(axis=(1, 2)) @ first[0, 0] + a, 0)
    gate = np.clip((hidden @ second[0, 0] + b + 3) / 6, 0, 1)
    np.testing.assert_allclose(run(model, x), x * gate[:, None, None], atol=1e-6)


def test_a_fire_module_has_the_weights_and_the_shape_counted_by_hand():
    model = part(fire, (6, 6, 32), 64, Seeds(0))
    assert model.output.shape == (None, 6, 6, 64)
    squeeze, one, three = 32 * 8 + 2 * 8, 8 * 32 + 2 * 32, 9 * 8 * 32 + 2 * 32
    assert trainable(model) == squeeze + one + three
    up = part(fire, (6, 6, 32), 64, Seeds(0), transposed=True)
    assert up.output.shape == (None, 12, 12, 64)
    assert trainable(up) == squeeze + one + three + 4 * 8 * 8 + 2 * 8


def test_a_fire_module_is_the_formula():
    x = random(1, 5, 5, 6)
    model = part(fire, (5, 5, 6), 16, Seeds(0))
    squeeze, one, three = (weight for weight in model.get_weights() if weight.ndim == 4)
    small = np.maximum(norm(x @ squeeze[0, 0]), 0)
    left = np.maximum(norm(small @ one[0, 0]), 0)
    padded = np.pad(small, ((0, 0), (1, 1), (1, 1), (0, 0)))
    right = sum(padded[:, i : i + 5, j : j + 5] @ three[i, j] for i in range(3) for j in range(3))
    expected = np.concatenate([left, np.maximum(norm(right), 0)], axis=-1)
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5)


def test_a_stage_of_vnet_adds_to_its_input_before_the_last_prelu():
    x = random(2, 6, 6, 4)
    model = part(residual_stage, (6, 6, 4), 3, 5, Seeds(0))
    assert trainable(model) == 3 * (25 * 4 * 4 + 2 * 4) + 3 * 4
    last = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)][-1]
    last.gamma.assign(np.zeros(4))
    np.testing.assert_allclose(run(model, x), np.where(x > 0, x, 0.25 * x), atol=1e-6)


# === Pyramids ===


@pytest.mark.parametrize("separable", [False, True])
def test_the_pyramid_sees_its_rates_and_spreads_the_mean_of_the_image(separable):
    """Far from an impulse only the branch of the mean answers, the same everywhere."""
    model = part(deeplab.atrous_pyramid, (25, 25, 16), 32, (2, 5), Seeds(0), separable=separable)
    images = np.zeros((2, 25, 25, 16), "float32")
    images[0, 4, 4] = images[1, 12, 12] = 500.0
    answer = run(model, images)
    far = answer[0, 12:, 12:]
    assert far.max() > 0
    np.testing.assert_allclose(far, np.broadcast_to(far[:1, :1], far.shape), atol=1e-5)
    near = np.abs(answer[1] - far[0, 0]).max(axis=-1) > 1e-4
    expected = {(12 + i, 12 + j) for rate in (0, 2, 5) for i in (-rate, 0, rate) for j in (-rate, 0, rate)}
    assert {(int(i), int(j)) for i, j in np.argwhere(near)} == expected


def test_the_lite_pyramid_is_gated_by_the_mean_of_the_image():
    x = random(2, 5, 5, 6)
    model = part(lite_pyramid, (5, 5, 6), 8, Seeds(0))
    first, second = (weight[0, 0] for weight in model.get_weights() if weight.ndim == 4)
    features, gate = (first, second) if model.layers[1].name.startswith("conv") else (second, first)
    expected = np.maximum(norm(x @ features), 0) / (1 + np.exp(-x.mean(axis=(1, 2), keepdims=True) @ gate))
    np.testing.assert_allclose(run(model, x), expected, atol=1e-5)


@pytest.mark.slow
def test_the_output_stride_changes_the_maps_but_not_the_weights():
    sizes = {}
    for stride in (8, 16):
        model = planned("deeplabv3_small", **GIVEN, output_stride=stride, head="dual")
        deep = [layer for layer in model.layers if isinstance(layer, keras.layers.GlobalAveragePooling2D)]
        sizes[stride] = deep[-1].input.shape[1], model.count_params()
    assert sizes[8] == (8, sizes[16][1])
    assert sizes[16][0] == 4
    for name in ("deeplabv3", "deeplabv3_small"):
        with pytest.raises(ParameterError, match=f"{name}: output_stride is 4, expected one of 8 and 16"):
            build(name, output_stride=4)


# === SegFormer ===


def softmax(x: np.ndarray) -> np.ndarray:
    odds = np.exp(x - x.max(axis=-1, keepdims=True))
    return odds / odds.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize(("reduction", "side"), [(1, 4), (2, 6), (4, 6)])
def test_efficient_attention_is_softmax_attention_to_squares(reduction, side):
    x = random(2, side, side, 8)
    layer = EfficientAttention(8, 2, reduction)
    layer(x)
    rng = np.random.default_rng(1)
    layer.set_weights([rng.normal(0, 0.5, weight.shape) for weight in layer.get_weights()])
    got = run(layer, x)
    (wq, bq), (wkv, bkv), (wm, bm) = (part.get_weights() for part in (*layer.project, layer.merge))
    for b in range(2):
        squares = x[b].reshape(-1, 8)
        if reduction > 1:
            kernel, offset = layer.reduce.get_weights()
            cells = -(-side // reduction)
            before = (cells * reduction - side) // 2
            after = cells * reduction - side - before
            padded = np.pad(x[b], ((before, after), (before, after), (0, 0)))
            blocks = padded.reshape(cells, reduction, cells, reduction, 8)
            squares = np.einsum("iajbc,abcd->ijd", blocks, kernel).reshape(-1, 8) + offset
            gamma, beta = layer.norm.get_weights()
            centred = squares - squares.mean(axis=-1, keepdims=True)
            squares = centred / np.sqrt(squares.var(axis=-1, keepdims=True) + 1e-6) * gamma + beta
        query = x[b].reshape(-1, 8) @ wq + bq
        key, value = np.split(squares @ wkv + bkv, 2, axis=-1)
        parts = [
            softmax(query[:, h] @ key[:, h].T / np.sqrt(4)) @ value[:, h] for h in (slice(0, 4), slice(4, 8))
        ]
        expected = np.concatenate(parts, axis=-1) @ wm + bm
        np.testing.assert_allclose(got[b].reshape(-1, 8), expected, atol=2e-4)


@pytest.mark.slow
def test_mix_ffn_mixes_neighbours_and_nothing_beyond():
    model = part(mix_ffn, (9, 9, 4), 16, Seeds(0))
    assert trainable(model) == (4 * 16 + 16) + (9 * 16 + 16) + (16 * 4 + 4)
    x = random(1, 9, 9, 4)
    moved = x.copy()
    moved[0, 4, 4] += 1
    changed = np.abs(run(model, moved) - run(model, x)).max(axis=(0, 3)) > 1e-6
    expected = np.zeros((9, 9), bool)
    expected[3:6, 3:6] = True
    np.testing.assert_array_equal(changed, expected)


# === Whole networks ===


@pytest.mark.slow
@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_have_the_weights_of_published_ones(name):
    model = planned(name, **GIVEN | {"width_multiplier": 1.0, "head": "dual"})
    encoder = keras.Model(model.input, model.get_layer("patch_logits").input)
    assert trainable(encoder) == ENCODERS[name]


def smoothing(name: str, size: int) -> keras.Model:
    """The network with positive weights and no attention: the score of a class is a smoothed image.

    Blocks that only repeat others are left out, those that stride are not.
    """
    few = {"layers": 1} if name == "segformer_b0" else {}
    with shallow() if name in BACKBONES else nullcontext():
        model = build(name, height=size, width=size, dropout=0.0, **few)
    rng = np.random.default_rng(0)
    for layer in model.layers:
        kernels = [weight for weight in layer.weights if weight.path.endswith("kernel")]
        for kernel in kernels:
            fan = np.prod(kernel.shape[:2] if "depthwise" in layer.name else kernel.shape[:-1])
            kernel.assign(rng.uniform(0.5, 1.5, kernel.shape) / fan)
        if isinstance(layer, EfficientAttention):
            layer.merge.kernel.assign(np.zeros(layer.merge.kernel.shape))
    return keras.Model(model.input, model.get_layer("mask_logits").output)


def responses(model: keras.Model, size: int, places: np.ndarray) -> np.ndarray:
    """What a brighter pixel at each (row, column) adds to the scores of an even image: (N, H, W) from 0."""
    images = np.ones((len(places) + 1, size, size, 3), "float32")
    images[np.arange(len(places)), places[:, 0], places[:, 1]] += 1
    scores = run(model, {"image": images})[..., 1].astype(float)
    change = scores[:-1] - scores[-1]
    return change - change.min(axis=(1, 2), keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRIDES)
def test_mask_lies_over_the_image_and_moves_with_it(name):
    """Around mirrored pixels the network answers mirrored, but for how far the mask drifts to one side.

    A pixel moved by a stride moves the answer by a stride.
    """
    size, stride = 128, STRIDES[name]
    steps = np.arange(4) * 18 + 24  # all sorts of places within the cells of features
    places = np.stack([np.r_[steps, size - 1 - steps], np.r_[steps + 5, size - 6 - steps]], axis=1)
    pair = [[48, 48], [48 + stride, 48 + stride]]
    *change, one, moved = responses(smoothing(name, size), size, np.concatenate([places, pair]))
    change, index = np.stack(change), np.arange(size)
    rows = change.sum(axis=2) @ index / change.sum(axis=(1, 2)) - places[:, 0]
    columns = change.sum(axis=1) @ index / change.sum(axis=(1, 2)) - places[:, 1]
    assert abs(rows.mean()) < 2
    assert abs(columns.mean()) < 2
    window = slice(32, 64)
    a, b = one[window, window], moved[stride:, stride:][window, window]
    assert np.abs(a - b).max() < 0.15 * a.max()
    assert np.abs(a - b).max() < 0.5 * np.abs(a - moved[window, window]).max()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deeplabv3", "unet_resnet"])
def test_every_resnet_is_a_backbone(name, monkeypatch):
    """Each depth has a few blocks here, a number of its own; classifiers are counted at their full depth."""
    few = {depth: (1 + place, 1, 1, 1) for place, depth in enumerate(resnet.BLOCKS)}
    monkeypatch.setattr(resnet, "BLOCKS", few)
    for depth in few:
        model = planned(name, **GIVEN, backbone=f"resnet{depth}", head="labels")
        assert trainable(model) == trainable(planned(f"resnet{depth}_patch", **GIVEN))
    with pytest.raises(ParameterError, match=r"no backbone 'resnet20'.*did you mean 'resnet"):
        build(name, backbone="resnet20")
