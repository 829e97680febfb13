"""Networks that predict pixels: every name, its shapes and numbers of weights; heads and attention."""

from __future__ import annotations

import re
from functools import cache

import keras
import model_harness as harness
import numpy as np
import pytest
from scipy.stats import norm

from eolab import models
from eolab.core.errors import ParameterError
from eolab.models import attention, heads
from eolab.models.layers import Gelu, Normalize, Seeds

NAMES = models.names("images", "mask")
H, C, K = 32, 3, 2
STATISTICS = harness.PIXEL_STATISTICS
MILLIONS = {  # of weights with 23 channels, two classes and three resolutions, as the landslide study reports
    "unet": 31.4,
    "unet_cbam": 31.9,
    "unet_se": 31.6,
    "unet_multi_attention": 31.8,
    "unet_residual": 24.4,
    "rau_net_1": 24.8,
    "rau_net_2": 24.8,
    "mobilenetv3": 2.6,
    "vnet": 2.6,
    "squeeze_unet": 2.6,
    "deeplabv3_small": 2.6,
    "unet_residual_small": 2.6,
    "rau_net_small": 2.6,
}
# Published without these heads and channels: U-Net++ 9.04 M (Zhou et al. 2018, table 2), SegFormer-B0 3.8 M
# (Xie et al. 2021, table 1).
PUBLISHED = {"unet_plus_plus": 9.04, "segformer_b0": 3.8}
EACH = [pytest.param(name, marks=() if name == "unet" else pytest.mark.slow) for name in NAMES]


def build(name: str, seed: int = 0, head: str = "multi", outputs: int = K, **options) -> keras.Model:
    given = {"height": H, "width": H, "width_multiplier": 0.0625, **STATISTICS, **options}
    return models.build(name, channels=C, outputs=outputs, seed=seed, head=head, **given)


def planned(name: str, **options) -> keras.Model:
    given = {"height": 128, "width": 128, "channels": 23, "outputs": K, "head": "multi", **options}
    return harness.planned(name, **given)


def size_of(name: str) -> tuple[int, int]:
    """Height and width of a narrow network: odd and even ones; smaller than the stride, and larger."""
    return (31, 31) if NAMES.index(name) % 2 else (67, 70)


@cache
def wide(name: str) -> tuple[int, list[type], dict[str, tuple[int, int]]]:
    """Number of weights, layers, and sizes of the outputs for images of 67 × 70, at the published width."""
    model = planned(name, height=67, width=70)
    sizes = {key: tuple(one.shape[1:3]) for key, one in model.output.items()}
    return model.count_params(), layers_of(model), sizes


def layers_of(model: keras.Model) -> list[type]:
    """Layers whatever the size of the image, to which it is padded and cropped."""
    of_size = (keras.layers.ZeroPadding2D, keras.layers.Cropping2D)
    return [type(layer) for layer in model.layers if not isinstance(layer, of_size)]


# --- Every name --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EACH)
def test_every_name_takes_images_of_any_size_and_gives_probabilities_at_its_full_depth(name):
    """A narrow network, which is run, has the layers of the wide one."""
    height, width = size_of(name)
    inputs, label = harness.pixels(height, width)
    labels = heads.targets(label, "multi")
    case = harness.Case(lambda _: build(name, height=height, width=width), inputs, labels, K)
    harness.check_output(case)
    narrow = case.model
    assert narrow.output["mask"].shape[1:3] == (height, width)
    assert narrow.output["half"].shape[1:3] == (-(-height // 2), -(-width // 2))
    assert narrow.output["double"].shape[1:3] == (2 * height, 2 * width)
    count, layers, sizes = wide(name)
    assert sizes == {"mask": (67, 70), "half": (34, 35), "double": (134, 140)}
    assert layers_of(narrow) == layers
    assert narrow.count_params() < count / 8


@pytest.mark.slow
@pytest.mark.parametrize("name", [*MILLIONS, *PUBLISHED])
def test_numbers_of_weights_are_those_of_the_report_or_paper(name):
    assert wide(name)[0] / 1e6 == pytest.approx((MILLIONS | PUBLISHED)[name], rel=0.02)


@pytest.mark.slow
def test_attention_adds_weights_in_the_order_of_the_report():
    counts = {name: wide(name)[0] for name in MILLIONS}
    family = ("unet_residual", "unet", "unet_se", "unet_multi_attention", "unet_cbam")
    assert sorted(family, key=counts.__getitem__) == list(family)
    assert counts["unet_residual"] < counts["rau_net_2"] <= counts["rau_net_1"]
    assert counts["unet_residual_small"] < counts["rau_net_small"]


def test_the_unet_has_the_weights_of_its_paper():
    """Ronneberger et al.: 31.03 M with one band and two classes; batch normalisation in place of biases."""
    sizes = [64, 128, 256, 512, 1024]
    down = sum(9 * a * b + 9 * b * b for a, b in zip([1, *sizes], sizes, strict=False))
    up = sum(4 * a * b + b + 9 * 2 * b * b + 9 * b * b for a, b in zip(sizes[1:], sizes, strict=False))
    norms = sum(2 * 4 * b for b in [*sizes, *sizes[:-1]])
    model = planned("unet", channels=1, head="mask")
    statistics = 2  # mean and standard deviation of the band
    assert model.count_params() == down + up + norms + 64 * K + K + statistics


def test_describe_lists_networks_with_their_weights(monkeypatch):
    some = {name: models.ARCHITECTURES[name] for name in ("unet", "unet_se", "resnet18_patch", "lstm")}
    monkeypatch.setattr(models, "ARCHITECTURES", some)
    table = models.describe("images", "multi", channels=23, outputs=K)
    drawn = []
    monkeypatch.setattr(keras.Variable, "_deferred_initialize", drawn.append)
    build("unet", levels=2)  # where Keras drew what was described
    assert not drawn
    assert list(table.index) == ["unet", "unet_se"]
    assert "Ronneberger" in table.loc["unet", "paper"]
    assert "attention=none" in table.loc["unet", "options"]
    assert table["weights"].tolist() == [wide("unet")[0], wide("unet_se")[0]]


# --- Outputs -----------------------------------------------------------------------------------------------


def test_one_output_is_a_sigmoid_at_any_height_and_width():
    model = build("unet", height=67, width=70, outputs=1, levels=3)
    found = harness.predict(model, harness.pixels(67, 70)[0])
    shapes = {key: values.shape for key, values in found.items()}
    assert shapes == {"mask": (4, 67, 70, 1), "half": (4, 34, 35, 1), "double": (4, 134, 140, 1)}
    for values in found.values():
        assert ((values > 0) & (values < 1)).all()
        assert values.std() > 0


@pytest.mark.parametrize(("head", "outputs"), [("values", 1), ("values", 3), ("labels", 4)])
def test_values_of_pixels_and_labels_of_the_image(head, outputs):
    activation = "linear" if head == "values" else "sigmoid"
    model = build("unet", head=head, outputs=outputs, activation=activation, levels=3)
    found = harness.predict(model, harness.pixels(H, H)[0])
    assert (list(found) == ["values"]) if head == "values" else (found.shape == (4, outputs))
    if head == "values":
        assert found["values"].shape == (4, H, H, outputs)
        assert not found["values"].any()  # regression: values began far outside of what labels hold
        last = model.get_layer("values_logits")
        last.set_weights([np.random.default_rng(0).standard_normal(one.shape) for one in last.get_weights()])
        found = harness.predict(model, harness.pixels(H, H)[0])
        assert found["values"].min() < 0 < found["values"].max()  # no activation
    else:
        assert not any(layer.name.startswith("decoder") for layer in model.layers)
    label = np.zeros((4, H, H), "float32")
    assert list(heads.targets(label, "values")) == ["values"]


@pytest.mark.slow
def test_layers_are_named_by_their_place():
    """The encoder is what the deepest features depend on; stages are powers of two of the stride."""
    names = [layer.name for layer in planned("unet").layers if layer.weights]
    assert names[0] == "normalize"
    encoder = [name for name in names if name.startswith("encoder")]
    assert len(encoder) == 5 * 4
    stages = [re.sub(r"encoder_(stage\d)?_?.*", r"\1", name) for name in encoder]
    assert sorted(stages) == sorted(4 * ["", "stage1", "stage2", "stage3", "stage4"])
    assert sum(name.startswith("decoder") for name in names) == 4 * 5 + 2  # and those of the double mask
    assert {"mask_logits", "half_logits", "double_logits"} <= set(names)
    again = [layer.name for layer in planned("unet").layers if layer.weights]
    assert again == names  # however many layers Keras has made before
    resnet = {layer.name for layer in planned("unet_resnet").layers}
    assert {"encoder_conv1", "encoder_bn1", "encoder_layer4_2_conv3"} <= resnet


# --- Heads -------------------------------------------------------------------------------------------------


def test_targets_are_those_of_a_loop():
    rng = np.random.default_rng(0)
    label = rng.choice([0, 1, 255], (5, 8, 8), p=[0.5, 0.1, 0.4]).astype("uint8")
    label[0], label[1] = 255, 0
    label[2, :4] = 255
    multi, dual = heads.targets(label, "multi"), heads.targets(label, "dual")
    assert (list(multi), list(dual)) == (["mask", "half", "double"], ["mask", "patch"])
    assert list(heads.targets(label, "mask")) == ["mask"]

    def highest(values: np.ndarray) -> int:
        known = [int(v) for v in values.ravel() if v != 255]
        return max(known) if known else 255

    for b in range(5):
        assert dual["patch"][b] == highest(label[b])
        for y, x in np.ndindex(4, 4):
            assert multi["half"][b, y, x] == highest(label[b, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2])
        for y, x in np.ndindex(16, 16):
            assert multi["double"][b, y, x] == label[b, y // 2, x // 2]
    assert all(values.dtype == np.uint8 for values in (multi | dual).values())
    np.testing.assert_array_equal(multi["mask"], label)


def test_targets_name_what_is_wrong():
    with pytest.raises(ParameterError, match=r"no head 'dul'.*did you mean 'dual'"):
        heads.targets(np.zeros((1, 4, 4), "uint8"), "dul")


def test_normalize_takes_images_without_a_mask():
    image = np.array([[[[4.0, np.nan, 0.3]]]], "float32")  # (1, 1, 1, 3)
    np.testing.assert_allclose(Normalize(**STATISTICS)(image), [[[[1.0, 0.0, 1.0]]]], atol=1e-6)


# --- Attention ---------------------------------------------------------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def weighed(kind: str, x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """What an attention makes of features, and its weights, biases being no longer 0."""
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, attention.attend(inputs, kind, Seeds(1)))
    rng = np.random.default_rng(2)
    model.set_weights([w + rng.normal(0, 0.1, w.shape) for w in model.get_weights()])
    return harness.predict(model, x), model.get_weights()


def test_squeeze_and_excitation_is_the_formula():
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 32)).astype("float32")
    got, (first, b1, second, b2) = weighed("se", x)
    hidden = np.maximum(x.mean(axis=(1, 2)) @ first.reshape(32, -1) + b1, 0)
    gate = sigmoid(hidden @ second.reshape(-1, 32) + b2)
    np.testing.assert_allclose(got, x * gate[:, None, None], atol=1e-5)


def test_cbam_is_the_formula():
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 32)).astype("float32")
    got, (first, b1, second, b2, kernel) = weighed("cbam", x)
    mlp = [np.maximum(z @ first + b1, 0) @ second + b2 for z in (x.mean(axis=(1, 2)), x.max(axis=(1, 2)))]
    x = x * sigmoid(mlp[0] + mlp[1])[:, None, None]
    summary = np.pad(np.stack([x.mean(-1), x.max(-1)], -1), ((0, 0), (3, 3), (3, 3), (0, 0)))
    for i, j in np.ndindex(5, 6):
        logit = np.einsum("bijc,ijc->b", summary[:, i : i + 7, j : j + 7], kernel[..., 0])
        np.testing.assert_allclose(got[:, i, j], x[:, i, j] * sigmoid(logit)[:, None], atol=1e-5)


def test_gelu_is_x_times_the_normal_distribution():
    x = np.linspace(-5, 5, 101, dtype="float32")
    np.testing.assert_allclose(Gelu()(x), x * norm.cdf(x), atol=1e-6)


def test_multi_attention_is_the_formula():
    rows, columns, channels = 3, 5, 128
    x = np.random.default_rng(0).normal(size=(2, rows, columns, channels)).astype("float32")
    got, (project, merge, bias) = weighed("multi", x)
    tokens = np.concatenate([x.mean(2), x.mean(1), x.mean((1, 2))[:, None]], axis=1)  # (B, H + W + 1, C)
    tokens = (tokens - tokens.mean(-1, keepdims=True)) / np.sqrt(tokens.var(-1, keepdims=True) + 1e-3)
    query, key, value = np.split(tokens @ project, [4, 8], axis=-1)  # four heads, of 1, 1 and 2 features
    for b in range(2):
        seen = np.empty((rows + columns + 1, 8))
        for h in range(4):
            odds = np.exp(np.outer(query[b, :, h], key[b, :, h]))
            seen[:, 2 * h : 2 * h + 2] = odds / odds.sum(-1, keepdims=True) @ value[b, :, 2 * h : 2 * h + 2]
        out = seen @ merge + bias
        for i, j in np.ndindex(rows, columns):
            gate = 4 * sigmoid(out[i] + out[-1]) * sigmoid(out[rows + j] + out[-1])
            np.testing.assert_allclose(got[b, i, j], x[b, i, j] * gate, atol=1e-5)


def test_multi_attention_turns_with_the_map():
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 16)).astype("float32")
    layer = attention.MultiAttention(seed=3)
    turned = keras.ops.convert_to_numpy(layer(np.rot90(x, axes=(1, 2)).copy()))
    np.testing.assert_allclose(turned, np.rot90(layer(x), axes=(1, 2)), atol=1e-6)


@pytest.mark.slow
def test_every_attention_passes_the_harness(tmp_path):
    """In one small network: what a network of any of them needs."""

    def make(seed: int) -> keras.Model:
        inputs, seeds = keras.Input((8, 8, C), name="image"), Seeds(seed)
        x = keras.layers.Conv2D(16, 3, padding="same", kernel_initializer=seeds.he())(inputs)
        for kind in attention.KINDS:
            x = attention.attend(x, kind, seeds)
        kernel = seeds.glorot()
        x = keras.layers.Conv2D(K, 1, activation="softmax", dtype="float32", kernel_initializer=kernel)(x)
        return keras.Model({"image": inputs}, {"mask": x})

    inputs, label = harness.pixels(8, 8)
    scaled = (inputs["image"] - np.array(STATISTICS["mean"])) / np.array(STATISTICS["std"])
    case = harness.Case(make, {"image": scaled.astype("float32")}, {"mask": label}, K)
    harness.check_output(case)
    harness.check_trains(case, harness.check_saved(case, tmp_path))
    harness.check_step(harness.check_precision(case, "mixed_bfloat16"), case)


def test_no_attention_leaves_features_alone():
    x = keras.Input((4, 4, 8))
    assert attention.attend(x, "none", Seeds(0)) is x


# --- Names and errors --------------------------------------------------------------------------------------


def test_names_belong_to_kinds():
    assert len(NAMES) == 18
    assert "unet" not in models.names("series")
    assert set(NAMES) < set(models.names("images", "labels")) < set(models.names())
    with pytest.raises(ParameterError, match=r"no input 'image'.*did you mean 'images'"):
        models.names("image")
    with pytest.raises(ParameterError, match=r"no head 'masks'.*did you mean 'mask'"):
        models.names(head="masks")


def test_what_a_name_fixes_is_no_option():
    assert models.options("unet")["attention"] == "none"
    assert "attention" not in models.options("unet_se")
    with pytest.raises(ParameterError, match="no option 'attention'"):
        build("unet_se", attention="cbam")


def test_wrong_sizes_and_names_are_named():
    with pytest.raises(ParameterError, match=r"no head 'mul'.*did you mean 'multi'"):
        build("unet", head="mul")
    with pytest.raises(ParameterError, match=r"'resnet18_patch' has no head 'mask', only labels; .*'mask'"):
        build("resnet18_patch", head="mask")
    with pytest.raises(ParameterError, match=r"no activation 'softmx'.*did you mean 'softmax'"):
        build("unet", activation="softmx")
    with pytest.raises(ParameterError, match="outputs is 0, expected a whole number of 1 or more"):
        models.build("unet", height=32, width=32, channels=3, outputs=0)
    with pytest.raises(ParameterError, match=r"no attention 'cban'.*did you mean 'cbam'"):
        build("unet", attention="cban")
    with pytest.raises(ParameterError, match="'unet' needs height"):
        models.build("unet", channels=3, outputs=2)
    with pytest.raises(ParameterError, match="'lstm' has no option 'size'"):
        models.build("lstm", times=3, channels=3, outputs=2, size=32)
