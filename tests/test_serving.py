"""The network of a run as an HTTP service: what it answers, what it refuses, what it withstands."""

from __future__ import annotations

import asyncio
import io
import json
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import own_example
import pytest
import rasterio
import scene_example
from rasterio.io import MemoryFile

pytest.importorskip("fastapi", reason="needs eolab[serve]")
pytest.importorskip("httpx", reason="FastAPI's test client needs httpx")

import httpx
from fastapi.testclient import TestClient

from eolab import cli, prediction, tasks
from eolab.core.errors import ParameterError
from eolab.data.store import ArraySpec
from eolab.prediction.serving import Joined, joining, server, service
from eolab.studies import products, served

BANDS = own_example.BANDS
CLASSES = ("elsewhere", "slide & scar", "water")
FACTS = {"coords": {"band": list(BANDS)}, "dataset": "mine"}
SIZE = (16, 12)


@pytest.fixture(autouse=True)
def _own(monkeypatch):
    monkeypatch.setenv("EOLAB_CATALOG", "")


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """A network that gives each pixel of images of 16 × 12 one of three classes."""
    facts = FACTS | {"class_scheme": scene_example.scheme(*CLASSES)}
    options = {"shape": {"height": 16, "width": 12}, "head": "mask", "filters": 4, "levels": 2}
    root = tmp_path_factory.mktemp("runs")
    return scene_example.run(root, "mine", "segmentation", "unet", BANDS, facts, **options)


@pytest.fixture(scope="module")
def loaded(run):
    return served.load(run, "keras", 4)


@pytest.fixture(scope="module")
def client(loaded):
    limits = service.Limits(megabytes=1, seconds=20)
    with TestClient(service.app(service.Service(*loaded, limits)), raise_server_exceptions=False) as made:
        yield made


def images(count: int = 1, height: int = 16, width: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, height, width, len(BANDS)), np.float32)


def npy(values: np.ndarray, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, values, **options)
    return file.getvalue()


def tiff(image: np.ndarray, names: tuple[str, ...] = (), **options) -> bytes:
    """Return a GeoTIFF of an image (H, W, C)."""
    profile = {"driver": "GTiff", "height": image.shape[0], "width": image.shape[1], "count": image.shape[2]}
    profile |= {
        "dtype": image.dtype,
        "crs": own_example.CRS,
        "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
    }
    with MemoryFile() as memory:
        with memory.open(**profile | options) as file:
            file.write(np.moveaxis(image, -1, 0))
            if names:
                file.descriptions = names
        return bytes(memory.read())


def hdf5(write) -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        write(file)
    return content.getvalue()


def refused(client: TestClient, content: bytes, status: int, words: str, **options) -> None:
    """Send what is refused; the answer is a status and one sentence, and the next request is answered."""
    found = client.post("/predict", content=content, **options)
    assert found.status_code == status, found.text
    assert list(found.json()) == ["error"]
    assert re.search(words, found.json()["error"]), found.json()
    assert client.get("/health").json()["inside"] == 0


# === What is answered ===


@pytest.fixture(scope="module")
def expected(run):
    """What `predict` says of an image."""
    image = images()
    return image, tasks.load(run).predict({"image": image})["mask"]  # (1, H, W, K)


@pytest.mark.parametrize("kind", ["npy", "tiff", "hdf5"])
def test_the_mask_of_the_service_is_that_of_predict(client, expected, kind):
    image, probabilities = expected
    content = {
        "npy": lambda: npy(image[0]),
        "tiff": lambda: tiff(image[0], BANDS),
        "hdf5": lambda: hdf5(lambda file: file.create_dataset("img", data=image[0], compression="gzip")),
    }[kind]()
    found = client.post("/predict", content=content).json()
    np.testing.assert_array_equal(found["mask"], probabilities[0].argmax(-1))
    assert found["classes"] == list(CLASSES)
    assert sum(found["pixels"].values()) == image[0, ..., 0].size
    assert found["warnings"] == []


def test_several_images_have_a_mask_each(client, run):
    several = images(5)
    found = client.post("/predict", content=npy(several)).json()
    expected = tasks.load(run).predict({"image": several})["mask"]
    np.testing.assert_array_equal(found["mask"], expected.argmax(-1))


def test_a_geotiff_is_what_the_command_map_writes_of_it(client, run, tmp_path):
    content = tiff(images(1, 40, 50)[0], BANDS)
    found = client.post("/predict", content=content, headers={"accept": "image/tiff"})
    assert found.headers["content-type"] == "image/tiff"
    (tmp_path / "S_2020-07-01.tif").write_bytes(content)
    mapped = products.map_scene(run, tmp_path / "S_2020-07-01.tif", tmp_path / "map.tif")
    with MemoryFile(found.content) as memory, memory.open() as ours, rasterio.open(mapped) as theirs:
        np.testing.assert_array_equal(ours.read(), theirs.read())
        assert (ours.crs, ours.transform, ours.nodata) == (theirs.crs, theirs.transform, theirs.nodata)
        assert ours.descriptions == theirs.descriptions
        assert ours.colormap(1) == theirs.colormap(1)
        assert ours.colorinterp == theirs.colorinterp
        assert ours.tags(1)["classes"] == theirs.tags(1)["classes"]


def test_bands_are_found_by_their_names(client, expected):
    image, probabilities = expected
    order = [2, 0, 3, 1]
    names = tuple(BANDS[number] for number in order)
    more = np.concatenate([image[0][..., order], image[0][..., :1]], axis=-1)
    for content, query in ((tiff(more, (*names, "B12")), ""), (npy(more), f"?bands={','.join(names)},B12")):
        found = client.post(f"/predict{query}", content=content).json()
        np.testing.assert_array_equal(found["mask"], probabilities[0].argmax(-1))


def test_pixels_without_a_value_have_no_class(client):
    image = images()[0]
    image[:3, 0, 1] = np.nan
    image[3, 0, 1] = np.inf
    found = client.post("/predict", content=npy(image)).json()
    assert [row[0] for row in found["mask"][:5]] == [255, 255, 255, 255, found["mask"][4][0]]
    assert found["mask"][4][0] != 255
    stated = np.where(np.isfinite(image), image, -1)
    same = client.post("/predict", content=tiff(stated, BANDS, nodata=-1)).json()
    assert same["mask"] == found["mask"]


def test_an_image_of_another_landscape_is_answered_with_a_warning(client):
    content = npy(images()[0] + 1.5)
    found = client.post("/predict", content=content).json()
    assert "not like those" in found["warnings"][0]
    file = client.post("/predict?format=geotiff", content=content).content
    with MemoryFile(file) as memory, memory.open() as answer:
        assert "not like those" in answer.tags()["warnings"]


def test_labels_of_whole_images_have_a_probability_each(tmp_path):
    run = scene_example.run(
        tmp_path, "mine", "multilabel_classification", "shallow_cnn", BANDS,
        FACTS | {"class_scheme": scene_example.scheme(*CLASSES)}, shape={"height": 8, "width": 8},
        head="labels", activation="sigmoid",
    )  # fmt: skip
    model, predict = served.load(run, "keras", 4)
    client = TestClient(service.app(service.Service(model, predict, service.Limits())))
    several = images(2, 8, 8)
    found = client.post("/predict", content=npy(several)).json()
    expected = tasks.load(run).predict({"image": several})["labels"]
    np.testing.assert_allclose(found["probability"], expected, atol=1e-4)
    assert found["classes"] == list(CLASSES)
    refused(client, npy(images(1, 9, 8)), 422, "reads 8 × 8 × 4: cut or resample")
    refused(client, npy(several), 422, "mask of one image; ask for JSON", headers={"accept": "image/tiff"})


@pytest.fixture(scope="module")
def series_client(tmp_path_factory):
    """A network of series of pixels on five dates."""
    root = tmp_path_factory.mktemp("series")
    run = scene_example.run(
        root, "mine", "series_classification", "tempcnn", BANDS,
        FACTS | {"class_scheme": scene_example.scheme(*CLASSES)}, shape={"times": 5}, head="labels",
    )  # fmt: skip
    client = TestClient(service.app(service.Service(*served.load(run, "keras", 4), service.Limits())))
    return run, client


def test_series_of_pixels_have_a_class_each(series_client):
    run, client = series_client
    image = np.random.default_rng(1).random((7, 5, len(BANDS)), np.float32)
    valid, day = np.ones((7, 5), bool), np.arange(5, dtype=np.float32) * 30
    valid[:, 2] = False
    given = {"image": image, "valid": valid, "day": np.tile(day, (7, 1))}
    expected = tasks.load(run).predict(given)["classes"]

    def write(file):
        file["image"], file["valid"], file["day"] = image, valid, day

    def gaps(file):  # a date without a value is not valid
        file["image"], file["day"] = np.where(valid[..., None], image, np.nan), given["day"]

    for content in (hdf5(write), hdf5(gaps)):
        found = client.post("/predict", content=content).json()
        assert found["class"] == expected.argmax(-1).tolist()
        np.testing.assert_allclose(found["probability"], expected, atol=1e-4)


def test_values_of_pixels_are_null_where_there_is_none(tmp_path):
    label = {"label": ArraySpec(("y", "x"), SIZE, "float32", {"long_name": "height", "units": "m"})}
    run = scene_example.run(
        tmp_path, "mine", "regression", "unet", BANDS, FACTS, shape={"height": 16, "width": 12},
        head="values", outputs=1, activation="linear", filters=4, levels=2, arrays=label,
    )  # fmt: skip
    client = TestClient(service.app(service.Service(*served.load(run, "keras", 4), service.Limits())))
    image = images()
    expected = tasks.load(run).predict({"image": image})["values"][0]
    image[0, 0, 0] = np.nan
    found = client.post("/predict", content=npy(image)).json()
    assert (found["value"], found["unit"], found["values"][0][0]) == ("height", "m", None)
    np.testing.assert_allclose(np.array(found["values"][8:]), expected[8:], atol=2e-3)


def test_paths_say_what_is_served_without_the_network(client):
    assert client.get("/health").json()["status"] == "ok"
    facts = client.get("/model").json()
    assert facts["bands"] == list(BANDS)
    assert facts["shape"] == [*SIZE, len(BANDS)]
    assert facts["limits"]["megabytes"] == 1
    assert client.get("/openapi.json").json()["paths"].keys() == {"/predict", "/health", "/model"}
    page = client.get("/docs").text
    assert "slide &amp; scar" in page
    assert not re.findall(r"<script|<link|src=|href=\"?https?:|@import|url\(", page)


# === What is refused ===


def test_a_request_over_the_limit_is_refused_before_it_is_read(client):
    refused(client, bytes(1_000_001), 413, "more than 1 MB")
    refused(client, iter([bytes(600_000)] * 2), 413, "more than 1 MB")  # without its length


def test_a_tiff_that_declares_a_huge_image_is_refused_before_it_is_unpacked(client):
    options = {"driver": "GTiff", "height": 60_000, "width": 60_000, "count": 4, "dtype": "float32"}
    with MemoryFile() as memory:
        memory.open(**options, SPARSE_OK=True, tiled=True, blockxsize=4096, blockysize=4096).close()
        bomb = bytes(memory.read())
    assert len(bomb) < 100_000
    refused(client, bomb, 413, "declares 60,000 × 60,000 × 4")


def test_a_tiff_whose_blocks_are_huge_is_refused(client):
    content = tiff(
        images()[0], tiled=True, blockxsize=2048, blockysize=2048, compress="deflate", SPARSE_OK=True
    )
    refused(client, content, 413, "declares 2,048 × 2,048 × 4")


def test_an_hdf5_file_that_unpacks_to_gigabytes_is_refused(client):
    shape = (30_000, 30_000, 4)
    content = hdf5(lambda file: file.create_dataset("img", shape, "f4", compression="gzip"))
    refused(client, content, 413, "declares 30,000 × 30,000 × 4")
    shape, chunks = (16, 12, 4), (8192, 8192, 4)  # a chunk is unpacked whole
    content = hdf5(
        lambda file: file.create_dataset("img", shape, "f4", chunks=chunks, maxshape=(None, None, 4))
    )
    refused(client, content, 413, "declares 8,192 × 8,192 × 4")


def test_an_npy_header_of_a_huge_array_is_refused(client):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": "<f4", "fortran_order": False, "shape": (10**9, 10**9, 4)}
    )
    refused(client, file.getvalue(), 413, "declares 1,000,000,000 ×")
    refused(client, npy(images())[:-7], 422, "cannot be read as npy")


@pytest.mark.parametrize("header", ["{'descr': '<f4'", "[" * 5000, "{'descr': 'O', 'shape': 1}", "x" * 9000])
def test_a_damaged_npy_header_is_refused(client, header):
    body = header.encode()
    refused(client, b"\x93NUMPY\x01\x00" + len(body).to_bytes(2, "little") + body, 422, "npy|objects")


class Burglar:
    def __reduce__(self):
        return os.mkdir, ("burgled",)


def test_nothing_is_unpickled(client, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(client, npy(np.array([Burglar()], object), allow_pickle=True), 422, "objects, which are not read")
    refused(client, pickle.dumps(Burglar()), 415, "no GeoTIFF, HDF5 or npy")
    archive = io.BytesIO()
    np.savez(archive, np.array([Burglar()], object))
    refused(client, archive.getvalue(), 415, "no GeoTIFF, HDF5 or npy")
    assert not list(tmp_path.iterdir())


def test_files_of_the_server_are_not_read(client, tmp_path):
    secret = tmp_path / "secret.raw"
    secret.write_bytes(images()[0].tobytes())
    shape = (*SIZE, len(BANDS))

    def linked(file):
        with h5py.File(tmp_path / "other.h5", "w") as other:
            other["img"] = images()[0]
        file["img"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "img")

    def virtual(file):
        layout = h5py.VirtualLayout(shape, "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "img", shape)
        file.create_virtual_dataset("img", layout)

    def external(file):
        file.create_dataset("img", shape, "f4", external=[(str(secret), 0, h5py.h5f.UNLIMITED)])

    for write in (linked, virtual, external):
        refused(client, hdf5(write), 422, "no data set 'image' of its own")
    vrt = f'<VRTDataset rasterXSize="12" rasterYSize="16"><VRTRasterBand><SimpleSource>{secret}'
    refused(client, vrt.encode(), 415, "no GeoTIFF, HDF5 or npy")
    for path in ("/../../etc/passwd", "/predict/..%2f..%2fetc/passwd", "//etc/passwd"):
        assert client.get(path).status_code == 404


@pytest.mark.parametrize("share", [0.02, 0.3, 0.95])
def test_a_truncated_tiff_is_refused(client, share):
    content = tiff(images(1, 60, 60)[0], BANDS, compress="deflate")
    refused(client, content[: int(share * len(content))], 422, "cannot be read as GeoTIFF")


def test_damaged_files_never_end_the_service(client):
    """A byte in twenty is another one: each is answered or refused, and never with status 500."""
    rng = np.random.default_rng(0)
    whole = [tiff(images()[0], BANDS), hdf5(lambda file: file.create_dataset("img", data=images()[0]))]
    for content in whole:
        for _ in range(40):
            values = np.frombuffer(content, np.uint8).copy()
            places = rng.integers(8, 400, 8)  # in the headers
            values[places] = rng.integers(0, 256, 8)
            assert client.post("/predict", content=values.tobytes()).status_code in (200, 413, 415, 422)


def test_text_and_nothing_are_refused(client):
    for content in (b"", b"hello", b"II*\0", b"\x93NUMPY", b'{"image": [[1]]}'):
        refused(
            client, content, 415 if content in (b"", b"hello", b'{"image": [[1]]}') else 422, "What was sent"
        )


def test_an_image_without_any_value_is_refused(client):
    refused(client, npy(np.full_like(images(), np.nan)), 422, "No pixel of the image has a value")
    several = images(3)
    several[1, ..., 2] = np.nan
    refused(client, npy(several), 422, "No pixel of sample 1 of 3")


def test_wrong_bands_are_refused_by_name(client):
    image = images()[0]
    refused(client, npy(image[..., :3]), 422, r"3 bands without names, and the network reads 4 bands: B02")
    refused(client, tiff(image, ("B02", "B03", "B04", "B12")), 422, r"without B08")
    refused(client, npy(image), 422, "2 names were given of 4 bands", params={"bands": "B02,B03"})
    refused(client, npy(image), 422, "several times", params={"bands": "B02,B02,B03,B08"})


@pytest.mark.parametrize("dtype", ["complex64", "U3", "datetime64[s]", "S5", [("a", "f4")]])
def test_arrays_of_anything_but_numbers_are_refused(client, dtype):
    refused(client, npy(np.zeros((*SIZE, 4), dtype)), 422, "expected numbers")


@pytest.mark.parametrize("shape", [(), (4,), (0, 12, 4), (2, 2, 2, 2, 4)])
def test_arrays_of_other_axes_are_refused(client, shape):
    refused(client, npy(np.zeros(shape, np.float32)), 422, "shape|expected numbers")


def test_images_off_the_scale_of_training_are_refused(client):
    refused(client, npy(images() * 10_000), 422, "look like digital numbers")
    refused(client, npy((images() * 10_000).astype(np.uint16)), 422, "look like digital numbers")
    refused(client, npy(images() / 10_000), 422, "like reflectance where digital numbers")


def test_series_without_their_days_or_of_other_dates_are_refused(series_client):
    _, client = series_client
    refused(client, npy(np.ones((2, 6, 4), np.float32)), 422, "reads 5 × 4")
    refused(client, npy(np.ones((2, 5, 4), np.float32)), 422, "day is missing")

    def write(file):
        file["image"], file["valid"] = np.ones((2, 5, 4), np.float32), np.ones((3, 5))

    refused(client, hdf5(write), 422, r"valid has the shape \(3, 5\)")


def test_another_kind_of_answer_is_refused(client):
    refused(client, npy(images()), 406, "not text/html", headers={"accept": "text/html"})
    refused(client, npy(images()), 422, "format is json or geotiff", params={"format": "xml"})


# === Load ===


def held(loaded, limits: service.Limits):
    """Return a client whose model waits until an event is set, that event, and one set when it waits."""
    go, begun = threading.Event(), threading.Event()

    def compute(inputs):
        begun.set()
        go.wait(20)
        return loaded[1].compute(inputs)

    made = service.Service(loaded[0], Joined(compute, limits.batch), limits)
    return made, TestClient(service.app(made)), go, begun


def together(client: TestClient, contents: list[bytes], begun) -> tuple[list[threading.Thread], list]:
    """Send one request, and the others as soon as it is in work; return their threads and answers."""
    found: list = [None] * len(contents)

    def send(number: int) -> None:
        found[number] = client.post("/predict", content=contents[number])

    threads = [threading.Thread(target=send, args=(number,)) for number in range(len(contents))]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    return threads, found


def wait(until) -> None:
    end = time.monotonic() + 10
    while not until():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_a_full_service_says_so_at_once(loaded):
    made, client, go, begun = held(loaded, service.Limits(requests=2))
    threads, found = together(client, [npy(images())] * 2, begun)
    wait(lambda: made.inside == 2)
    third = client.post("/predict", content=npy(images()))
    assert (third.status_code, third.headers["retry-after"]) == (503, "1")
    assert client.get("/health").json()["inside"] == 2  # others are answered all the same
    go.set()
    for thread in threads:
        thread.join()
    assert [one.status_code for one in found] == [200, 200]
    wait(lambda: made.inside == 0)


def test_requests_that_wait_are_predicted_together(loaded):
    made, client, go, begun = held(loaded, service.Limits(batch=4))
    contents = [npy(images(seed=number)) for number in range(5)]
    threads, found = together(client, contents, begun)
    wait(lambda: made.predict._waiting.qsize() == 4)  # one is in work
    go.set()
    for thread in threads:
        thread.join()
    assert (made.predict.batches, made.predict.samples) == (2, 5)
    alone = [TestClient(service.app(service.Service(*loaded, service.Limits()))).post("/predict", content=one)
             for one in contents]  # fmt: skip
    assert [one.json() for one in found] == [one.json() for one in alone]


def test_a_request_that_fails_does_no_harm_to_those_it_was_joined_with():
    def compute(inputs):
        begun.set()
        if (inputs["a"] < 0).any():
            raise ValueError("negative")
        started.wait(5)
        return inputs["a"] * 2

    started, begun = threading.Event(), threading.Event()
    joined, found = Joined(compute, 8), {}

    def ask(value):
        try:
            found[value] = joined({"a": np.array([value])}, time.monotonic() + 5).tolist()
        except ValueError as error:
            found[value] = str(error)

    threads = [threading.Thread(target=ask, args=(value,)) for value in (1.0, -2.0, 3.0)]
    threads[0].start()
    assert begun.wait(10)  # the others wait until it is done
    for thread in threads[1:]:
        thread.start()
    wait(lambda: joined._waiting.qsize() == 2)
    started.set()
    for thread in threads:
        thread.join()
    assert found == {1.0: [2.0], -2.0: "negative", 3.0: [6.0]}
    joined.close()


def test_an_answer_that_takes_too_long_is_given_up(loaded):
    made, client, go, _ = held(loaded, service.Limits(seconds=0.2))
    found = client.post("/predict", content=npy(images()))
    assert (found.status_code, found.json()["error"][:18]) == (504, "No answer within 0")
    go.set()
    wait(lambda: made.inside == 0)


def test_a_request_that_was_given_up_is_not_computed():
    computed, go = [], threading.Event()

    def compute(inputs):
        computed.append(len(inputs["a"]))
        go.wait(5)
        return inputs["a"]

    joined = Joined(compute, 1)
    for _ in range(2):
        with pytest.raises(joining.LateError):
            joined({"a": np.zeros(1)}, time.monotonic() + 0.05)
    go.set()
    assert joined({"a": np.ones(1)}, time.monotonic() + 5).tolist() == [1]
    assert len(computed) == 2  # the second was not
    joined.close()


@pytest.mark.parametrize(("ending", "status"), [("never", 408), ("gone", 499)])
def test_a_request_that_is_never_sent_to_its_end_leaves_its_place(loaded, ending, status):
    made = service.Service(*loaded, service.Limits(seconds=0.1))
    lines: list[str] = []
    messages = [{"type": "http.request", "body": b"II*\0", "more_body": True}]
    sent: list[dict] = []

    async def receive():
        if messages:
            return messages.pop()
        if ending == "gone":
            return {"type": "http.disconnect"}
        return await asyncio.sleep(60)

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b"",
        "http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 80), "root_path": "",
    }  # fmt: skip
    asyncio.run(service.app(made, lines.append)(scope, receive, send))
    assert sent[0]["status"] == status
    assert made.inside == 0
    assert re.fullmatch(rf"\d\d:\d\d:\d\d POST /predict {status} \d+ ms", lines[0])


def test_a_line_of_the_log_is_one_line_whatever_the_path(client, loaded):
    lines: list[str] = []
    made = TestClient(service.app(service.Service(*loaded, service.Limits()), lines.append))
    made.get("/a%0Ab%1b[31m" + "x" * 500)
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert len(lines[0]) < 120


# === The command ===


def test_a_network_of_sequences_is_refused_before_it_is_loaded(tmp_path):
    folder = tmp_path / "03_train" / "run-1"
    folder.mkdir(parents=True)
    (folder / "model.keras").write_bytes(b"no model, and nobody finds out")
    (folder / "task.json").write_text(
        json.dumps({"task": "sequence_classification", "model": "convlstm", "channels": {}})
    )
    record = {"study": "mine", "notebook": "03_train", "run": "run-1"}
    (folder / "run.json").write_text(json.dumps(record | {"upstream": {"preprocessed": record}}))
    with pytest.raises(ParameterError, match="reads sequences of several sensors, which are not served"):
        served.load(folder, "onnx", 4)


def test_without_the_extra_a_sentence_says_what_to_install(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "eolab.prediction.serving.server")
    monkeypatch.delattr("eolab.prediction.serving.server")
    assert cli.main(["serve", str(run)]) == 2
    assert "pip install 'eolab[serve]'" in capsys.readouterr().err


def test_a_port_that_is_taken_is_said_in_a_sentence(run, capsys):
    with server.listen("127.0.0.1", 0) as taken:
        assert cli.main(["serve", str(run), "--port", str(taken.getsockname()[1])]) == 2
    assert "Nothing can listen on 127.0.0.1" in capsys.readouterr().err


def asked_slowly(address: tuple[str, int], part: bytes) -> float:
    """Send the beginning of a request and return the seconds until the server closes the connection."""
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(part)
        started = time.monotonic()
        while connection.recv(1000):
            pass
        return time.monotonic() - started


@pytest.mark.slow
def test_the_server_answers_without_tensorflow_and_closes_slow_connections(run, expected, tmp_path):
    prediction.load(run, engine="onnx")  # makes the export
    command = [sys.executable, "-c", "from eolab.prediction.serving import server\n"
               "server.HEADER_SECONDS = 1\nfrom eolab import cli\nimport sys\nsys.exit(cli.main())",
               "serve", str(run), "--port", "0", "--timeout", "2"]  # fmt: skip
    environment = {
        name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")
    }
    environment["HOME"] = str(tmp_path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            first = process.stdout.readline()
            assert "with engine 'onnx'" in first
            url = re.search(r"http://127\.0\.0\.1:\d+", first)[0]
            address = ("127.0.0.1", int(url.rpartition(":")[2]))
            image, probabilities = expected
            found = httpx.post(f"{url}/predict", content=tiff(image[0], BANDS)).json()
            np.testing.assert_array_equal(found["mask"], probabilities[0].argmax(-1))
            assert "tensorflow" not in Path(f"/proc/{process.pid}/maps").read_text()
            begun = b"POST /predict HTTP/1.1\r\nHost: a\r\n"
            assert asked_slowly(address, begun) < 5
            assert asked_slowly(address, b"") < 5
            assert asked_slowly(address, begun + b"Content-Length: 100\r\n\r\nII*") < 8
            assert httpx.get(f"{url}/health").json()["inside"] == 0
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
        assert process.wait(20) == 0
    assert rest.splitlines()[-1] == "Stopped."
    assert "POST /predict 408" in rest
    assert not list(tmp_path.rglob("*onnxruntime*"))  # regression: it kept usage data there, and sent them
