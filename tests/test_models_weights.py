"""Published weights: files of PyTorch read without it, networks that answer as PyTorch's and Keras's do."""

from __future__ import annotations

import json
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from functools import cache
from pathlib import Path

import h5py
import keras
import model_harness as harness
import numpy as np
import pytest

from eolab.data.layouts import weights as layout
from eolab.models import resnet, weights

sys.path.insert(0, str(Path(__file__).parents[1] / "docs"))
import checkpoint_to_safetensors as checkpoints

from eolab import cli, models, tasks
from eolab.core.errors import DataError, ParameterError
from eolab.data import catalog
from eolab.data.bands import L1C_BANDS, L2A_BANDS
from eolab.studies.clearing import samples as clearing

SIZE, WIDTH, K = 40, 0.0625, 3
GIVEN = {"height": SIZE, "width": SIZE, "channels": 12, "outputs": K, "width_multiplier": WIDTH}
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
WITHOUT_B10 = [L1C_BANDS.index(band) for band in L2A_BANDS]


def build(name: str = "resnet50_patch", **options) -> keras.Model:
    return models.build(name, **GIVEN | options)


@cache
def narrow_early() -> keras.Model:
    """A network that takes Keras's weights but for its width; nothing is put into it."""
    return build(early=True)


def features(network: keras.Model) -> keras.Model:
    return keras.Model(network.inputs, network.get_layer("pool").output)


# --- PyTorch's ResNet in NumPy, from weights in timm's names -----------------------------------------------


def random_state(depth: int = 50, bands: int = 13, filters: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights and random running statistics of a ResNet, in timm's names and PyTorch's layout."""
    rng, state = np.random.default_rng(seed), {}

    def conv(name: str, inside: int, outside: int, side: int) -> None:
        scale = np.sqrt(2 / (inside * side * side))
        state[f"{name}.weight"] = rng.normal(0, scale, (outside, inside, side, side)).astype("float32")

    def norm(name: str, number: int, scale: float = 1.0) -> None:
        state[f"{name}.weight"] = (scale * rng.uniform(0.5, 1.5, number)).astype("float32")
        state[f"{name}.bias"] = rng.normal(0, 0.2, number).astype("float32")
        state[f"{name}.running_mean"] = rng.normal(0, 0.3, number).astype("float32")
        state[f"{name}.running_var"] = rng.uniform(0.5, 2, number).astype("float32")
        state[f"{name}.num_batches_tracked"] = np.array(7, "int64")

    conv("conv1", bands, filters, 7)
    norm("bn1", filters)
    inside, expansion = filters, 1 if depth < 50 else 4
    for stage, blocks in enumerate(BLOCKS[depth]):
        middle = filters * 2**stage
        for block in range(blocks):
            place, wide = f"layer{stage + 1}.{block}", expansion * middle
            sides = (3, 3) if depth < 50 else (1, 3, 1)
            for number, side in enumerate(sides, start=1):
                last = number == len(sides)
                conv(
                    f"{place}.conv{number}", inside if number == 1 else middle, wide if last else middle, side
                )
                norm(f"{place}.bn{number}", wide if last else middle, 0.3 if last else 1.0)
            if block == 0 and (stage or inside != wide):
                conv(f"{place}.downsample.0", inside, wide, 1)
                norm(f"{place}.downsample.1", wide)
            inside = wide
    state["fc.weight"] = rng.normal(0, 0.1, (1000, inside)).astype("float32")
    return state


def convolve(x: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Conv2d with padding k // 2: (B, C, H, W), (F, C, k, k) → (B, F, H/stride, W/stride)."""
    side = kernel.shape[-1]
    pad = side // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    seen = np.lib.stride_tricks.sliding_window_view(x, (side, side), axis=(2, 3))[:, :, ::stride, ::stride]
    return np.einsum("bchwij,fcij->bfhw", seen, kernel, optimize=True)


def numpy_resnet(state: dict[str, np.ndarray], x: np.ndarray, depth: int = 50) -> np.ndarray:
    """Averages of the last features (B, F) of images (B, C, H, W), as PyTorch's ResNet in evaluation."""

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        gamma, beta, mean, var = (
            state[f"{name}.{part}"][:, None, None]
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * gamma + beta

    def step(x: np.ndarray, place: str, number: int, stride: int = 1) -> np.ndarray:
        return norm(convolve(x, state[f"{place}conv{number}.weight"], stride), f"{place}bn{number}")

    x = np.maximum(step(x, "", 1, 2), 0)
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::2, ::2].max((-2, -1))
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            place, stride = f"layer{stage + 1}.{block}.", 2 if stage and not block else 1
            y = np.maximum(step(x, place, 1, stride if depth < 50 else 1), 0)
            y = step(y, place, 2, 1 if depth < 50 else stride)
            y = y if depth < 50 else step(np.maximum(y, 0), place, 3)
            if f"{place}downsample.0.weight" in state:
                x = norm(convolve(x, state[f"{place}downsample.0.weight"], stride), f"{place}downsample.1")
            x = np.maximum(x + y, 0)
    return x.mean((2, 3))


def digital_numbers(bands: int = 13, seed: int = 1, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 6000, (2, size, size, bands)).astype("float32")


# --- Files -------------------------------------------------------------------------------------------------


def write_safetensors(path, state: dict[str, np.ndarray]) -> None:
    header, raw = {"__metadata__": {"format": "pt"}}, b""
    kinds = {"<f4": "F32", "<f8": "F64", "<f2": "F16", "<i8": "I64"}
    for name, values in state.items():
        end = len(raw) + values.nbytes
        header[name] = {
            "dtype": kinds[values.dtype.str],
            "shape": list(values.shape),
            "data_offsets": [len(raw), end],
        }
        raw += values.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + raw)


@pytest.fixture
def state_file(tmp_path):
    path = tmp_path / "weights.safetensors"
    write_safetensors(path, random_state())
    return path


def test_safetensors_gives_back_what_was_written(tmp_path):
    rng = np.random.default_rng(0)
    state = {
        "a": rng.normal(size=(3, 2)).astype("<f4"),
        "b": rng.normal(size=4).astype("<f8"),
        "c": rng.normal(size=(2, 1, 2)).astype("<f2"),
        "d": np.array(7, "<i8"),
    }
    write_safetensors(tmp_path / "x.safetensors", state)
    found = layout.read(tmp_path / "x.safetensors")
    assert set(found) == set(state)
    for name, values in state.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].shape == values.shape


def test_bfloat16_becomes_float32(tmp_path):
    values = np.array([1.0, -2.5, 0.15625], "<f4")  # exact in bfloat16
    header = json.dumps({"a": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    raw = (values.view("<u4") >> 16).astype("<u2").tobytes()
    (tmp_path / "x.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + raw)
    found = layout.read(tmp_path / "x.safetensors")["a"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def test_damaged_safetensors_are_named(tmp_path, state_file):
    whole = state_file.read_bytes()
    path = tmp_path / "x.safetensors"
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}
    wrong = json.dumps({"a": entry}).encode()
    for content in (b"", b"abc", whole[:100], whole[:-1], len(wrong).to_bytes(8, "little") + wrong + b"abcd"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"x\.safetensors: expected a whole .safetensors file, found"):
            layout.read(path)


def test_files_that_are_none_are_named(tmp_path):
    with pytest.raises(
        DataError, match=r"no\.safetensors: expected a whole .safetensors file, found no file"
    ):
        layout.read(tmp_path / "no.safetensors")
    (tmp_path / "x.pth").write_bytes(b"1")
    with pytest.raises(DataError, match=r"found the ending '\.pth'.*docs/published_weights\.md"):
        layout.read(tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes(b"an older file")
    with pytest.raises(
        DataError, match=r"expected an archive of torch\.save, found a file that cannot be read"
    ):
        checkpoints.read_checkpoint(tmp_path / "x.pth")


class FakeStorage:
    def __init__(self, kind: type, key: str, numbers: np.ndarray) -> None:
        self.kind, self.key, self.numbers = kind, key, numbers


class FakeTensor:
    def __init__(self, storage: FakeStorage, offset: int, size: tuple, stride: tuple) -> None:
        self.parts = (storage, offset, size, stride, False, OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.parts


def _rebuild_tensor_v2(*parts):
    raise AssertionError("nothing of the file is run")


class Stranger:
    """An object as checkpoints hold them beside the weights."""

    def __init__(self) -> None:
        self.lr = 0.1


def write_checkpoint(path, content, monkeypatch) -> None:
    """The archive of torch.save, made without PyTorch."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    kinds = {"<f4": "FloatStorage", "<i8": "LongStorage"}
    for name in kinds.values():
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))
    monkeypatch.setattr(sys.modules[__name__]._rebuild_tensor_v2, "__module__", "torch._utils")
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)
    storages: list[np.ndarray] = []

    def fake(values):
        if isinstance(values, dict):
            return type(values)((key, fake(value)) for key, value in values.items())
        if not isinstance(values, np.ndarray):
            return values
        storages.append(values)
        kind = getattr(torch, kinds[values.dtype.str])
        steps = tuple(step // values.itemsize for step in values.strides)
        return FakeTensor(FakeStorage(kind, str(len(storages) - 1), values), 0, values.shape, steps)

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, FakeStorage):
                return ("storage", obj.kind, obj.key, "cpu", obj.numbers.size)
            return None

    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("archive/data.pkl", "w") as file:
            Pickler(file, protocol=2).dump(fake(content))
        for key, numbers in enumerate(storages):
            archive.writestr(f"archive/data/{key}", numbers.tobytes(order="A"))


def test_checkpoints_are_read_without_pytorch_and_nothing_in_them_is_run(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    state = OrderedDict(
        a=rng.normal(size=(3, 2)).astype("<f4"),
        b=np.asfortranarray(rng.normal(size=(2, 3)).astype("<f4")),
        c=np.array(7, "<i8"),
    )
    checkpoint = {"epoch": 99, "args": Stranger(), "optimizer": {"state": {0: {}}}, "state_dict": state}
    write_checkpoint(tmp_path / "x.pth", checkpoint, monkeypatch)
    checkpoints.convert(tmp_path / "x.pth", tmp_path / "x.safetensors")
    found = layout.read(tmp_path / "x.safetensors")
    assert set(found) == {"a", "b", "c"}
    for name, values in state.items():
        np.testing.assert_array_equal(found[name], values)


def test_a_checkpoint_without_weights_is_named(tmp_path, monkeypatch):
    write_checkpoint(tmp_path / "x.pth", {"epoch": 99, "state_dict": {}}, monkeypatch)
    with pytest.raises(DataError, match="expected weights by name, found a dictionary of epoch, state_dict"):
        checkpoints.read_checkpoint(tmp_path / "x.pth")


def test_a_tensor_beyond_its_numbers_is_an_error():
    storage = checkpoints._Storage(np.arange(6.0))
    np.testing.assert_array_equal(checkpoints._rebuild(storage, 1, (2, 2), (2, 1)), [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="beyond the end"):
        checkpoints._rebuild(storage, 3, (2, 2), (2, 1))


# --- Into networks -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 50, 101])
def test_a_network_answers_as_pytorch_would(depth, tmp_path, monkeypatch):
    """Of 101 layers, the third stage has a few here, and still numbers of two digits."""
    for known in (BLOCKS, resnet.BLOCKS):
        monkeypatch.setitem(known, 101, (3, 4, 12, 3))
    state = random_state(depth)
    write_safetensors(tmp_path / "x.safetensors", state)
    network = build(f"resnet{depth}_patch", channels=13, std=[10_000.0] * 13)
    last = network.get_layer("logits").get_weights()[0]
    weights.load(network, tmp_path / "x.safetensors", L1C_BANDS)
    image = digital_numbers()
    expected = numpy_resnet(state, image.transpose(0, 3, 1, 2) / 10_000, depth)
    got = harness.predict(features(network), {"image": image})
    np.testing.assert_allclose(got, expected, atol=1e-4)
    assert got.std() > 0.1
    np.testing.assert_array_equal(network.get_layer("logits").get_weights()[0], last)


@pytest.mark.slow
def test_bands_are_taken_by_name(state_file):
    """Without B10, and in any order, the answer is that of the published network where B10 is 0."""
    image = digital_numbers(12)
    full = np.zeros((2, SIZE, SIZE, 13), "float32")
    full[..., WITHOUT_B10] = image
    expected = numpy_resnet(random_state(), full.transpose(0, 3, 1, 2) / 10_000)
    network = build(std=[10_000.0] * 12)
    for order in (slice(None), slice(None, None, -1)):
        weights.load(network, state_file, L2A_BANDS[order])
        got = harness.predict(features(network), {"image": image[..., order]})
        np.testing.assert_allclose(got, expected, atol=1e-4)


@pytest.mark.slow
def test_weights_stand_behind_any_prefix(tmp_path):
    network = build("resnet18_patch", channels=13)
    states = [random_state(18, seed=seed) for seed in range(3)]
    for prefix, state in zip(("module.encoder_q.", "backbone."), states, strict=False):
        held = {f"module.encoder_k.{name}": v for name, v in states[2].items()} if "q" in prefix else {}
        write_safetensors(tmp_path / "x.safetensors", held | {prefix + name: v for name, v in state.items()})
        weights.load(network, tmp_path / "x.safetensors", L1C_BANDS)
        np.testing.assert_array_equal(
            network.get_layer("encoder_layer3_1_bn2").get_weights()[2], state["layer3.1.bn2.running_mean"]
        )


@pytest.mark.slow
def test_a_stem_of_red_green_blue_is_inflated(tmp_path):
    state = random_state(bands=3)
    write_safetensors(tmp_path / "x.safetensors", state)
    network = weights.build(
        "resnet50_patch",
        weights=tmp_path / "x.safetensors",
        band_names=L2A_BANDS,
        **GIVEN,
        mean=[5.0] * 12,
        scale=10_000,
    )
    normalize = network.get_layer("normalize")
    assert (normalize.mean, normalize.std) == ([0.0] * 12, [10_000.0] * 12)
    kernel = network.get_layer("encoder_conv1").get_weights()[0]
    given = state["conv1.weight"].transpose(2, 3, 1, 0)
    for place, band in enumerate(L2A_BANDS):
        known = {"B04": 0, "B03": 1, "B02": 2}.get(band)
        expected = given.mean(2) if known is None else given[:, :, known]
        np.testing.assert_allclose(kernel[:, :, place], expected / 4, rtol=1e-5)
    grey = np.ones((7, 7, 12), "float32")  # a grey pixel gives what it gave
    np.testing.assert_allclose(
        np.einsum("ijc,ijcf->f", grey, kernel), given.sum((0, 1, 2)), rtol=1e-3, atol=1e-4
    )


@pytest.mark.slow
def test_the_radar_of_a_fusion_begins_with_weights_of_its_own(tmp_path):
    for bands, name in ((13, "s2"), (2, "s1")):
        write_safetensors(tmp_path / f"{name}.safetensors", random_state(18, bands, seed=bands))
    network = build("resnet18_fusion")
    weights.load(network, tmp_path / "s2.safetensors", L2A_BANDS)
    weights.load(network, tmp_path / "s1.safetensors", ("VV", "VH"), prefix="encoder_radar_")
    for prefix, bands in (("encoder_", 13), ("encoder_radar_", 2)):
        expected = random_state(18, bands, seed=bands)["layer4.1.bn2.bias"]
        np.testing.assert_array_equal(network.get_layer(f"{prefix}layer4_1_bn2").get_weights()[1], expected)


@pytest.mark.slow
def test_what_does_not_fit_is_named_and_nothing_is_put_in(tmp_path, state_file):
    def refused(network, match, path=state_file, bands=L2A_BANDS, error=DataError, **options):
        before = network.get_weights()
        with pytest.raises(error, match=match):
            weights.load(network, path, bands, **options)
        for one, other in zip(before, network.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    usual, small, early = build(), build("resnet18_patch"), narrow_early()
    deep, narrow, odd = (tmp_path / f"{name}.safetensors" for name in ("deep", "narrow", "odd"))
    write_safetensors(deep, random_state(101))
    write_safetensors(narrow, random_state(18))
    write_safetensors(odd, random_state(bands=5))
    refused(usual, r"the file has 'layer3\.10\.bn1\.bias' and \d+ more: build", deep)
    refused(usual, r"the file lacks 'layer1\.0\.bn3\.bias' and \d+ more: build", narrow)
    wide = build("resnet18_patch", width_multiplier=0.125)
    refused(wide, "layer conv1 has weights of the shapes", narrow)
    refused(usual, "0 of its bands are known: name them all in published", odd)
    refused(usual, "2 of its bands are known", published=["B01", "B02"])
    refused(usual, "reads 12 bands, and bands names 3", bands=("B02", "B03", "B04"), error=ParameterError)
    refused(early, "build it with early=False", error=ParameterError)
    refused(build("shallow_cnn"), "has no layer encoder_conv1", error=ParameterError)
    refused(small, "no layer encoder_radar_conv1", error=ParameterError, prefix="encoder_radar_")
    write_safetensors(odd, {"fc.weight": np.zeros((2, 2), "float32")})
    refused(usual, "expected a ResNet's weights by the names of timm.*found fc.weight", odd)
    refused(
        early,
        "expected weights of ResNet-50 of ImageNet, found no file.*nothing is downloaded",
        tmp_path / "no.h5",
    )
    refused(usual, "build it with early=True", tmp_path / "no.h5", error=ParameterError)
    refused(small, "no ResNet-18", tmp_path / "no.h5", error=ParameterError)


def test_other_bands_for_a_first_convolution():
    kernel = np.arange(6.0).reshape(1, 1, 3, 2)
    np.testing.assert_array_equal(weights.adapt(kernel, "abc", "cab")[0, 0], [[4, 5], [0, 1], [2, 3]])
    np.testing.assert_array_equal(weights.adapt(kernel, "abc", "b")[0, 0], [[2, 3]])
    got = weights.adapt(kernel, "abc", "axyzbc")[0, 0]
    np.testing.assert_array_equal(got * 2, [[0, 1], [2, 3], [2, 3], [2, 3], [2, 3], [4, 5]])


def test_rules_for_the_first_convolution_of_other_bands():
    kernel, drawn = np.arange(6.0).reshape(1, 1, 3, 2), np.full((1, 1, 4, 2), -1.0)
    repeated = weights.adapt(kernel, "abc", "wxyz", "repeat")[0, 0]
    np.testing.assert_allclose(repeated * 4 / 3, [[0, 1], [2, 3], [4, 5], [0, 1]])
    copied = weights.adapt(kernel, "abc", "cxya", "copy", drawn)[0, 0]
    np.testing.assert_array_equal(copied, [[4, 5], [-1, -1], [-1, -1], [0, 1]])
    with pytest.raises(ParameterError, match=r"stem is 'men'.*did you mean 'mean'"):
        weights.adapt(kernel, "abc", "b", "men")


def test_the_first_channels_get_the_weights_of_the_file_whatever_they_show():
    """Svensson (2020): conv1.weight[:, :3] = first_layer_weights, the others as they were drawn."""
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=(64, 3, 7, 7))  # PyTorch's order: filters, channels, height, width
    new = rng.normal(size=(64, 10, 7, 7))
    kernel, drawn = theirs.transpose(2, 3, 1, 0), new.transpose(2, 3, 1, 0).copy()
    new[:, :3] = theirs
    for names in (clearing.INDICES, L2A_BANDS[:10], ["B02", "B03", "B04", *"abcdefg"]):
        found = weights.adapt(kernel, ("B04", "B03", "B02"), names, "first", drawn)
        np.testing.assert_array_equal(found, new.transpose(2, 3, 1, 0))
    one = weights.adapt(kernel, ("B04", "B03", "B02"), ["NDVI"], "first", drawn[:, :, :1])
    np.testing.assert_array_equal(one, kernel[:, :, :1])


def test_channels_of_the_clearing_study_get_the_weights_of_the_bands_that_they_show():
    kernel = np.arange(1.0, 14).reshape(1, 1, 13, 1)
    rgb = weights.adapt(kernel[:, :, :3], ("B04", "B03", "B02"), clearing.TRUE_COLOUR[::-1])
    np.testing.assert_array_equal(rgb.ravel(), [3, 2, 1])
    named = weights.adapt(kernel[:, :, :3], ("red", "green", "blue"), ("B02", "B03", "B04"))
    np.testing.assert_array_equal(named, rgb)
    above = weights.adapt(kernel, L1C_BANDS, clearing.GROUPS["toa"])
    np.testing.assert_array_equal(above, kernel)
    twice = weights.adapt(kernel, L1C_BANDS, ("TCI_red", "TOA_B04", *L1C_BANDS))  # red thrice: scaled
    np.testing.assert_allclose(twice.ravel(), np.array([4, 4, *range(1, 14)]) * 13 / 15)
    copied = weights.adapt(kernel, L1C_BANDS, ("NDRE", "TCI_blue"), "copy", np.full((1, 1, 2, 1), -1.0))
    np.testing.assert_array_equal(copied.ravel(), [-1, 2])


def test_three_bands_are_copied_and_the_others_keep_what_was_drawn(tmp_path):
    state = random_state(18, bands=3)
    write_safetensors(tmp_path / "x.safetensors", state)
    network = build("resnet18_patch")
    drawn = network.get_layer("encoder_conv1").get_weights()[0]
    weights.load(network, tmp_path / "x.safetensors", L2A_BANDS, stem="copy")
    kernel = network.get_layer("encoder_conv1").get_weights()[0]
    for place, band in enumerate(L2A_BANDS):
        known = {"B04": 0, "B03": 1, "B02": 2}.get(band)
        expected = drawn[:, :, place] if known is None else state["conv1.weight"][:, known].transpose(1, 2, 0)
        np.testing.assert_array_equal(kernel[:, :, place], expected)


@pytest.fixture
def named(tmp_path, monkeypatch):
    """A file and one that is missing, both named in a catalogue of one's own; B12 comes first in it."""
    write_safetensors(tmp_path / "mine.safetensors", random_state(18, bands=13))
    meta = f"metadata: {{bands: [{', '.join(L1C_BANDS[::-1])}], license: MIT, url: https://example.org/x}}"
    entries = [
        f"my_{n}: {{uri: {n}.safetensors, layout: weights, {meta}, pixels: {{scale: 0.0001}}}}\n"
        for n in ("mine", "gone")
    ]
    (tmp_path / "own.yaml").write_text("".join(entries))
    monkeypatch.setenv("EOLAB_CATALOG", str(tmp_path / "own.yaml"))
    return tmp_path


def test_weights_are_taken_by_their_name_in_the_catalogue(named):
    """With its bands and its scale; the scale of a training's own goes before it."""
    network = weights.build(
        "resnet18_patch", weights="my_mine", band_names=L2A_BANDS, std=[900.0] * 12, **GIVEN
    )
    assert network.get_layer("normalize").std == [10_000.0] * 12
    kernel = network.get_layer("encoder_conv1").get_weights()[0]
    expected = random_state(18, bands=13)["conv1.weight"][:, ::-1][:, WITHOUT_B10]
    np.testing.assert_array_equal(kernel, expected.transpose(2, 3, 1, 0))
    known = {"weights": "my_mine", "band_names": L2A_BANDS}
    with pytest.raises(ParameterError, match=r"pixels by 10,000.*standard deviation of 0.09 .*such as 1"):
        weights.build("resnet18_patch", **known, std=[0.09] * 12, **GIVEN)
    with pytest.raises(ParameterError, match="divided pixels by 1, and those here"):
        weights.build("resnet18_patch", **known, std=[900.0] * 12, scale=1, **GIVEN)


def test_weights_that_are_not_here_are_named_with_their_place(named):
    sentence = r"'my_gone' is missing, \S+gone\.safetensors does not exist: put.*example\.org/x, nothing"
    with pytest.raises(DataError, match=sentence):
        tasks.check("regression", "unet_resnet", training={"epochs": 1}, weights={"weights": "my_gone"})
    with pytest.raises(ParameterError, match="no weights 'my_min': did you mean 'my_mine'"):
        weights.find("my_min")
    assert weights.find("landcover.h5") == (Path("landcover.h5"), None, 0.0)


def test_the_catalogue_checks_weights(named, capsys):
    assert cli.main(["data", "check", "my_mine"]) == 0
    assert capsys.readouterr().out == "my_mine: 1 files can be used, 0 cannot.\n"
    for name in ("resnet18_imagenet", "resnet152_imagenet", "resnet50_sentinel2"):  # of the project's own
        assert catalog.load()[name].layout == "weights"
    assert cli.main(["data", "check", "my_gone"]) == 1
    assert "put the data there" in capsys.readouterr().err
    assert cli.main(["data", "list"]) == 0
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("my_mine")]
    assert line.split() == ["my_mine", "yes", "weights", "–", "MIT"]
    with pytest.raises(DataError, match="holds weights of a network, no images"):
        catalog.load()["my_mine"].open()
    whole = (named / "mine.safetensors").read_bytes()
    (named / "mine.safetensors").write_bytes(whole[:-1])
    assert catalog.load()["my_mine"].check(progress=False).rejected == 1
    for name, found in (("a.h5", ["b/c"]), ("a.keras", ["config.json"])):
        with h5py.File(named / "a.h5", "w") as file:
            file["b/c"] = np.zeros(3)
        with zipfile.ZipFile(named / "a.keras", "w") as archive:
            archive.writestr("config.json", "{}")
        assert layout.index(named / name) == found
        (named / name).write_bytes((named / name).read_bytes()[:40])
        with pytest.raises(DataError, match=f"{name}: expected a whole file of Keras's weights, found an"):
            layout.index(named / name)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [18, 50])
def test_the_encoder_of_a_unet_gives_the_published_features(depth, tmp_path):
    state = random_state(depth)
    write_safetensors(tmp_path / "x.safetensors", state)
    given = {"backbone": f"resnet{depth}", "head": "labels", "height": 64, "width": 64}
    network = build("unet_resnet", channels=13, std=[10_000.0] * 13, **given)
    weights.load(network, tmp_path / "x.safetensors", L1C_BANDS)
    image = digital_numbers(size=64)
    expected = numpy_resnet(state, image.transpose(0, 3, 1, 2) / 10_000, depth)
    np.testing.assert_allclose(harness.predict(features(network), {"image": image}), expected, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options", "prefix"),
    [
        ("deeplabv3", {"backbone": "resnet34", "head": "mask"}, "encoder_"),
        ("resnet18_gru", {"channels": {"s1": 2, "s2": 13}, "units": 4}, "encoder_s2_"),
    ],
)
def test_encoders_of_other_networks_begin_with_the_same_files(name, options, prefix, tmp_path):
    """And their normalisation divides as that of the file does."""
    state = random_state(34 if name == "deeplabv3" else 18)
    write_safetensors(tmp_path / "x.safetensors", state)
    network = build(name, **{"channels": 13, **options})
    weights.load(network, tmp_path / "x.safetensors", L1C_BANDS, prefix=prefix)
    kernel = network.get_layer(f"{prefix}layer4_1_conv2").get_weights()[0]
    np.testing.assert_array_equal(kernel, state["layer4.1.conv2.weight"].transpose(2, 3, 1, 0))
    norm = network.get_layer(f"{prefix}layer2_0_downsample_1")
    np.testing.assert_array_equal(norm.get_weights()[2], state["layer2.0.downsample.1.running_mean"])
    assert norm.epsilon == 1e-5


# --- Keras's own networks ----------------------------------------------------------------------------------


KERAS_MEAN = [103.939, 116.779, 123.68]  # of blue, green and red, which keras.applications takes off


@cache
def keras_resnet(top: bool) -> keras.Model:
    """ResNet-50 of keras.applications with random weights, biases and statistics, the same with a top."""
    with harness.undrawn():
        network = keras.applications.ResNet50(weights=None, include_top=top, input_shape=None)
    if not top:
        for layer in network.layers:
            layer.set_weights(keras_resnet(True).get_layer(layer.name).get_weights() if layer.weights else [])
        return network
    rng = np.random.default_rng(0)
    for layer in network.layers:
        held = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            last = 0.3 if layer.name.endswith("_3_bn") else 1.0
            bounds = [(0.5 * last, 1.5 * last), (-0.2, 0.2), (-0.3, 0.3), (0.5, 2)]
            layer.set_weights([rng.uniform(*b, w.shape) for b, w in zip(bounds, held, strict=True)])
        elif isinstance(layer, keras.layers.Conv2D):
            *side, inside, outside = held[0].shape
            scale = np.sqrt(2 / (np.prod(side) * (inside + outside)), dtype="float32")
            kernel = scale * rng.standard_normal(held[0].shape, "float32")
            layer.set_weights([kernel, rng.normal(0, 0.2, held[1].shape)])
    return network


@cache
def keras_features() -> tuple[np.ndarray, np.ndarray]:
    """Two images, and the averages of their last features."""
    image = np.random.default_rng(1).uniform(0, 255, (2, SIZE, SIZE, 3)).astype("float32")
    found = harness.predict(keras_resnet(False), image - np.array(KERAS_MEAN, "float32"))
    return image, found.mean((1, 2))


@cache
def early_resnet() -> keras.Model:
    """The network of the package that takes Keras's weights, at its published width, without numbers yet."""
    given = {"mean": KERAS_MEAN, "std": weights.KERAS_STD, "width_multiplier": 1.0, "early": True}
    with harness.undrawn():
        return build(channels=3, **given)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "top"), [(".weights.h5", False), (".weights.h5", True), (".h5", True), (".keras", True)]
)
def test_weights_of_keras_applications_give_its_features(ending, top, tmp_path):
    source, path = keras_resnet(top), tmp_path / f"resnet50{ending}"
    source.save_weights(path) if ending == ".weights.h5" else source.save(path)
    network = early_resnet()
    for layer in network.layers:
        if layer.name.startswith("encoder_"):  # what another test has put in
            layer.set_weights([np.zeros_like(values) for values in layer.get_weights()])
    with harness.undrawn():
        weights.load(network, path, ("B02", "B03", "B04"))
    image, expected = keras_features()
    got = harness.predict(features(network), {"image": image})
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("other", "count"), [("small", 0), ("deeper", 104)])
def test_a_file_of_another_keras_network_is_named(other, count, tmp_path, monkeypatch):
    """Regression: Keras only warns of layers that a file lacks; a filter of warnings is not for threads."""
    monkeypatch.setattr(keras.Model, "load_weights", lambda *given: pytest.fail("loaded all the same"))
    path = tmp_path / "x.weights.h5"
    if other == "small":
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save_weights(path)
    else:
        many = [keras.layers.Conv2D(1, 1) for _ in range(count)]  # as many as ResNet-101 has
        keras.Sequential([keras.Input((1, 1, 1)), *many]).save_weights(path)
    with (
        harness.undrawn(),
        pytest.raises(
            DataError, match=rf"x\.weights\.h5: expected weights of ResNet-50.*another network, with {count}"
        ),
    ):
        weights.load(narrow_early(), path, L2A_BANDS)


# --- PyTorch itself ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_pytorch_network_answers_alike(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: name a CPU build in PYTHONPATH")
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")
    from torch_resnet import ResNet50

    torch.manual_seed(0)
    source = ResNet50(13, 10)
    for name, values in source.state_dict().items():
        if name.endswith("running_mean"):
            values.normal_(0, 0.3)
        elif name.endswith("running_var"):
            values.uniform_(0.5, 2)
        elif ("bn" in name or "downsample.1" in name) and values.ndim:
            last = 0.3 if "bn3.weight" in name else 1.0
            values.uniform_(0.5 * last, 1.5 * last) if name.endswith("weight") else values.normal_(0, 0.2)
    source.eval()
    optimizer = torch.optim.SGD(source.parameters(), 0.1, momentum=0.9)
    prefixed = {f"module.encoder_q.{name}": values for name, values in source.state_dict().items()}
    torch.save(
        {"epoch": 99, "arch": "resnet50", "state_dict": prefixed, "optimizer": optimizer.state_dict()},
        tmp_path / "checkpoint.pth",
    )
    torch.save(source.state_dict(), tmp_path / "plain.pth")
    write_safetensors(
        tmp_path / "x.safetensors", {name: v.numpy() for name, v in source.state_dict().items()}
    )
    image = digital_numbers(size=120)
    with torch.inference_mode():
        expected = source.features(torch.from_numpy(image.transpose(0, 3, 1, 2) / 10_000)).numpy()
    for file in ("checkpoint", "plain"):
        checkpoints.convert(tmp_path / f"{file}.pth", tmp_path / f"{file}.safetensors")
    for file in ("checkpoint.safetensors", "plain.safetensors", "x.safetensors"):
        network = build(channels=13, std=[10_000.0] * 13, width_multiplier=1.0, height=120, width=120)
        weights.load(network, tmp_path / file, L1C_BANDS)
        got = harness.predict(features(network), {"image": image})
        np.testing.assert_allclose(got, expected, atol=1e-4)
    assert expected.std() > 0.05
