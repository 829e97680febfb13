"""The demo of masks without a browser: what is shown, measured and refused."""

from __future__ import annotations

import io
from datetime import UTC, datetime

import h5py
import matplotlib as mpl

mpl.use("Agg")

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from rasterio.io import MemoryFile
from rasterio.transform import from_origin

from eolab.core.errors import DataError, ParameterError
from eolab.data.layouts import landslide4sense
from eolab.widgets import MaskDemo, PatchReader

SIZE, BANDS = 24, 14
ROWS, COLS = np.mgrid[:SIZE, :SIZE]
HILL = (0.9 - np.hypot(ROWS - 8, COLS - 8) / 12).clip(0, 1)  # falls from 0.9 at (8, 8)
CALLS: list[tuple[int, ...]] = []


def image(seed: int = 0) -> np.ndarray:
    """An image whose last band holds the probability that `predict` reads there."""
    values = np.random.default_rng(seed).uniform(0.5, 2, (SIZE, SIZE, BANDS)).astype(np.float32)
    values[..., 13] = HILL if seed == 0 else np.where((ROWS // 6 + COLS // 6) % 2, 0.8, 0.3)
    return values


def predict(values: np.ndarray) -> np.ndarray:
    CALLS.append(values.shape)
    return values[..., 13]


def demo_of(predicted, patches, **options) -> MaskDemo:
    names = {"class_name": "landslide", "plural": "landslides"}
    bands, open_file = landslide4sense.BANDS, landslide4sense.open_patch
    return MaskDemo(PatchReader(predicted, patches, bands, open_file, **names, **options))


def h5_bytes(values: np.ndarray, key: str = "img") -> bytes:
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        file[key] = values.astype(np.float64)
    return content.getvalue()


def tif_bytes(values: np.ndarray, metres: float = 0, crs: str | None = None) -> bytes:
    height, width, bands = values.shape
    place = {"crs": crs, "transform": from_origin(500_000, 3_000_000, metres, metres)} if crs else {}
    with MemoryFile() as file:
        with file.open(
            driver="GTiff", height=height, width=width, count=bands, dtype="float32", **place
        ) as raster:
            raster.write(np.moveaxis(values, -1, 0))
        return bytes(file.read())


def bring(demo: MaskDemo, name: str, content: bytes) -> None:
    """What ipywidgets does when somebody picks a file."""
    demo.upload.value = (
        {
            "name": name,
            "type": "",
            "size": len(content),
            "content": memoryview(content),
            "last_modified": datetime.now(UTC),
        },
    )


@pytest.fixture
def demo() -> MaskDemo:
    CALLS.clear()
    return demo_of(predict, {"hill": image(), "board": lambda: image(1)}, pixel_area_m2=100.0)


@pytest.mark.slow
def test_area_is_that_of_pixels_at_or_above_the_threshold(demo):
    for threshold in (0.5, 0.7, 0.31):
        demo.threshold.value = threshold
        pixels = sum(bool(value >= threshold) for value in image()[..., 13].ravel())
        assert demo.measured.pixels == pixels
        assert demo.area.value.startswith(f"{pixels * 100:,} m² ({pixels / 100:,.2f} ha, ")
        assert demo.area.value.endswith("in 1 landslide")
    demo.threshold.value = 0.95
    assert demo.area.value == "0 m² (0.00 ha, 0.0 % of the patch) in 0 landslides"


def test_objects_touch_at_sides_and_corners():
    probability = np.zeros((6, 6), np.float32)
    probability[0, 0] = probability[1, 1] = 0.9  # one, over the corner
    probability[4, 4:] = 0.6
    given = np.repeat(probability[..., None], BANDS, axis=-1)
    reader = PatchReader(predict, {"a": given}, landslide4sense.BANDS, open_file=None, pixel_area_m2=25.0)
    assert reader.measure("a", 0.5).objects == 2
    assert reader.measure("a", 0.5).area_m2 == 100.0
    assert reader.measure("a", 0.9).objects == 1, "0.9 counts at a threshold of 0.9"
    assert reader.measure("a", 0.0).pixels == 36


@pytest.mark.slow
def test_each_patch_is_read_and_predicted_once(demo):
    demo.threshold.value = 0.6
    demo.patch.value = "board"
    assert "board" in demo.figure().axes[0].get_title(loc="left")
    assert demo.measured.pixels == int((image(1)[..., 13] >= 0.6).sum())
    demo.patch.value = "hill"
    demo.threshold.value = 0.2
    assert CALLS == [(SIZE, SIZE, BANDS)] * 2


@pytest.mark.slow
def test_the_picture_follows_threshold_and_patch(demo):
    shown = [demo.image.value]
    demo.threshold.value = 0.8
    shown.append(demo.image.value)
    demo.patch.value = "board"
    shown.append(demo.image.value)
    assert len(set(shown)) == 3
    for png in shown:
        assert np.asarray(Image.open(io.BytesIO(png)).convert("L")).std() > 20


def test_the_figure_has_true_colour_outline_and_probability(demo):
    figure = demo.figure("hill")
    left, right = figure.axes[:2]
    colours = left.images[0].get_array()
    red, green, blue = (image()[..., band] for band in (3, 2, 1))
    for channel, band in enumerate((red, green, blue)):
        order = np.corrcoef(np.asarray(colours[..., channel]).ravel(), band.ravel())[0, 1]
        assert order > 0.98, "stretched, not mixed"
    np.testing.assert_array_equal(right.images[0].get_array(), image()[..., 13])
    mask = np.pad(image()[..., 13] >= 0.5, 1)
    edges = sum(int((np.diff(mask.astype(int), axis=axis) != 0).sum()) for axis in (0, 1))
    assert len(left.collections[0].get_segments()) == edges
    assert left.get_xlabel() == demo.area.value
    with pytest.raises(ParameterError, match="no patch 'hil': did you mean 'hill'"):
        demo.figure("hil")


@pytest.mark.slow
def test_an_h5_file_is_added_and_shown(demo):
    bring(demo, "image_7.h5", h5_bytes(image(1)))
    assert demo.message.value == ""
    assert demo.patch.value == "image_7.h5"
    assert demo.patch.options == ("hill", "board", "image_7.h5")
    assert demo.measured.area_m2 == 100 * int((image(1)[..., 13] >= 0.5).sum())
    assert demo.upload.value == ()
    demo.patch.value = "hill"
    bring(demo, "image_7.h5", h5_bytes(image(0)))
    assert demo.measured.pixels == int((image()[..., 13] >= 0.5).sum()), "the newer content"
    assert demo.patch.options == ("hill", "board", "image_7.h5")


@pytest.mark.slow
def test_a_geotiff_has_its_own_pixel_area(demo):
    bring(demo, "a.tif", tif_bytes(image(1)))
    pixels = int((image(1)[..., 13] >= 0.5).sum())
    assert demo.measured.area_m2 == 100 * pixels
    bring(demo, "b.tif", tif_bytes(image(1), 20.0, "EPSG:32645"))
    assert demo.measured.area_m2 == pytest.approx(400 * pixels, rel=0.01)  # the map's scale is 0.9996 there
    demo.patch.value = "hill"
    assert demo.measured.area_m2 == 100 * demo.measured.pixels


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("notes.txt", b"hello", "notes.txt is neither HDF5 nor GeoTIFF"),
        ("mask_1.h5", h5_bytes(np.zeros((SIZE, SIZE)), "mask"), "mask_1.h5"),
        ("cut.h5", h5_bytes(image())[:2000], "cut.h5"),
        ("rgb.tif", tif_bytes(image()[..., :3]), "rgb.tif has 3 bands, expected 14"),
    ],
)
def test_wrong_files_end_in_a_sentence_and_the_patch_shown_stays(demo, name, content, sentence):
    before = demo.area.value
    bring(demo, name, content)
    assert sentence in demo.message.value
    assert "Traceback" not in demo.message.value
    assert demo.message.value.count("\n") == 0
    assert (demo.patch.value, demo.area.value, demo.patch.options) == ("hill", before, ("hill", "board"))
    assert demo.out.outputs == ()
    bring(demo, "image_7.h5", h5_bytes(image(1)))
    assert demo.message.value == "", "a good file takes the sentence away"


def test_patches_that_cannot_be_predicted_are_sentences(demo):
    demo.reader.patches |= {"flat": np.zeros((4, 4)), "cold": image() - 5}
    demo._quietly(demo.patch, options=demo.reader.names)
    demo.patch.value = "flat"
    assert "flat has shape (4, 4): expected (H, W, 14)" in demo.message.value
    assert demo.patch.value == "hill"
    demo.patch.value = "cold"
    assert "cold is not a probability: it goes from -5" in demo.message.value
    demo.threshold.value = 0.6
    assert demo.message.value == ""
    with pytest.raises(DataError, match=r"has shape \(24, 24, 14\): expected \(24, 24\)"):
        demo_of(lambda values: values, {"a": image()})


def test_errors_of_the_panel_itself_are_no_sentences(demo):
    """Without a front end they are raised; in a browser they stand in the panel."""
    demo.reader.measure = None
    with pytest.raises(TypeError, match="not callable"):
        demo.threshold.value = 0.6
    assert demo.message.value == ""


def test_bad_arguments_are_sentences():
    with pytest.raises(ParameterError, match="no patches"):
        demo_of(predict, {})
    with pytest.raises(ParameterError, match="pixel_area_m2 is 0"):
        demo_of(predict, {"a": image()}, pixel_area_m2=0)


def test_css_classes_and_the_notebooks_backend_stay(demo):
    assert demo.panel._dom_classes == ("eolab-mask-demo",)
    assert mpl.get_backend().lower() == "agg"


@pytest.mark.slow
def test_in_a_batch_run_it_leaves_one_line_and_no_widget_state(monkeypatch):
    monkeypatch.setenv("EOLAB_HEADLESS", "1")
    code = """
import numpy as np
from eolab.widgets import MaskDemo, PatchReader
image = np.random.default_rng(0).random((16, 16, 14))
patches, bands = {"a": image, "b": image[::-1]}, [f"B{k}" for k in range(14)]
reader = PatchReader(lambda values: values[..., 0], patches, bands, None, rgb_bands=("B3", "B2", "B1"))
demo = MaskDemo(reader)
demo.threshold.value = 0.9
demo.patch.value = "b"
assert demo.measured.pixels == int((image[..., 0].astype("float32") >= 0.9).sum())
figure = demo.figure("b")
demo
"""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    assert "widgets" not in notebook.metadata
    (output,) = notebook.cells[0].outputs
    assert output.output_type == "stream"
    assert output.text.startswith("Interactive panel")
    assert len(output.text.splitlines()) == 1
