"""Images with masks of one's own in the landslide study: any size, any bands, channels as far as they go."""

from __future__ import annotations

import numpy as np
import own_example
import pandas as pd
import pytest
from own_example import image, numbers

from eolab.core.errors import DataError, ParameterError
from eolab.data import store
from eolab.studies import landslide

ENTRY = """\
  pixels: {scale: 0.0001, offset: 0}
  images: {files: 'images/{sample}.tif'}
  labels: {mask: {file: 'masks/{sample}.tif'}}
"""


def write(folder, count=12, side=16, names=own_example.BANDS):
    for number in range(count):
        mask = np.zeros((side, side), "uint8")
        mask[:4, :4] = number % 2
        mask[-1, -1] = 255
        image(folder / f"images/p{number:02d}.tif", numbers(len(names), side, side, seed=number), names=names)
        image(folder / f"masks/p{number:02d}.tif", mask)
    return folder


def test_images_and_masks_become_the_store_of_the_study(tmp_path):
    text = ENTRY + "  classes: [{code: 0, name: elsewhere}, {code: 1, name: slide}]\n"
    entry = own_example.entry(write(tmp_path), text)
    index, source = landslide.source.of_entry(entry)
    assert (source.bands, source.size, source.pixel_area_m2) == (own_example.BANDS, (16, 16), 100.0)
    table = landslide.sample_table(index, entry.path, progress=False, source=source)
    assert table["landslide_pixels"].tolist() == [0, 16] * 6
    made = {
        "produce": landslide.sample_producer(entry.path, source=source),
        "metadata": landslide.store_metadata(entry, "none", source),
    }
    arrays = landslide.store_arrays(source)
    samples = store.write_store(
        tmp_path / "store", table, arrays, "part", fingerprint={}, progress=False, **made
    )
    names = list(samples.channel_names())
    assert names[:4] == list(own_example.BANDS)
    assert "NDVI" in names
    assert "NBR" not in names, "it needs B12, which the images do not have"
    picture = np.moveaxis(numbers(4, 16, 16), 0, -1) * 1e-4
    np.testing.assert_allclose(samples.arrays["image"][0, ..., :4], picture, rtol=1e-5)
    red, infrared = picture[..., 2], picture[..., 3]
    ndvi = samples.arrays["image"][0, ..., names.index("NDVI")]
    np.testing.assert_allclose(ndvi, (infrared - red) / (infrared + red), rtol=1e-3, atol=1e-5)
    assert samples.arrays["label"][1, 0, 0] == 1
    assert samples.arrays["label"][1, -1, -1] == 255
    groups = landslide.channels.groups(samples.channel_names())
    assert groups["bands"] == groups["sentinel"] == own_example.BANDS
    assert "terrain" not in groups
    assert "nbr" not in groups
    chosen = landslide.channels.select(["bands", "ndvi", "rgb_global"], samples, np.arange(6))
    assert chosen.assemble(samples.gather([0])["image"]).shape == (1, 16, 16, 8)
    with pytest.raises(ParameterError, match="There are no channels 'terrain'"):
        landslide.channels.select(["terrain"], samples, np.arange(6))
    assert set(landslide.channels.baselines_of(samples)) == {"pixel_boosting"}
    kept = landslide.channels.possible_baselines(["majority", "slope_ndvi_rule"], samples)
    assert kept == ["majority"]


def test_images_without_colours_keep_their_bands_alone(tmp_path):
    named = ENTRY.replace("{sample}.tif'}\n  labels", "{sample}.tif', bands: [b1, b2]}\n  labels")
    entry = own_example.entry(write(tmp_path, 2, names=("", "")), named)
    _, source = landslide.source.of_entry(entry)
    assert landslide.channels.stored_channels(source.bands) == ("b1", "b2")


def test_data_that_the_study_cannot_use_say_what_to_write(tmp_path):
    folder = write(tmp_path, 2)
    without = ENTRY.replace("  labels: {mask: {file: 'masks/{sample}.tif'}}\n", "")
    with pytest.raises(DataError, match="have no masks: name them in its entry"):
        landslide.source.of_entry(own_example.entry(folder, without))
    with pytest.raises(
        DataError, match="reads landslide4sense, or rasters with patterns of images and masks"
    ):
        landslide.source.of_entry(own_example.entry(folder, "  images: {folder: images}\n"))
    three = ENTRY + "  classes: [{name: a}, {name: b}, {name: c}]\n"
    with pytest.raises(DataError, match="names 3 classes, expected two"):
        landslide.source.of_entry(own_example.entry(folder, three))
    image(folder / "masks/p00.tif", np.full((16, 16), 7, "uint8"))
    index, source = landslide.source.of_entry(
        own_example.entry(folder, ENTRY + "  classes: [{code: 0, name: a}, {code: 1, name: b}]\n")
    )
    with pytest.raises(DataError, match="expected the codes that the entry names, 0, 1"):
        source.mask(index["mask"][0])


def test_patches_that_all_have_landslides_leave_detection_out():
    """Regression: where every patch had one, 06_tabular ended in an error and 08_results was left out."""
    mixed, all_have = pd.DataFrame({"label": [0, 1, 255]}), pd.DataFrame({"label": [1, 1]})
    assert landslide.techniques.are_mixed({"train": mixed, "test": mixed})
    with pytest.warns(UserWarning, match="patches of train all have landslides, or none has"):
        assert not landslide.techniques.are_mixed({"train": all_have, "test": mixed})
