"""Scaling of the bands with the constants of the official loader: bands alone are scaled."""

from __future__ import annotations

import numpy as np
import pytest

from eolab.data.layouts import landslide4sense as reader
from eolab.studies.landslide import channels
from eolab.studies.landslide.samples import demo_predict, sample_producer, sample_table, stored_images
from eolab.synthetic import landslide4sense as twin
from eolab.tasks import Channels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("scaled") / "data"
    twin.write(path, seed=1, train=3, validation=1, test=1)
    return path


def test_indices_are_of_values_as_published_whatever_the_scaling(folder):
    """They were computed of scaled bands, some of them below 0, where an index means nothing."""
    rows = sample_table(reader.index(folder), folder, progress=False).iloc[:2]
    plain, scaled = (sample_producer(folder, name)(rows)["image"] for name in ("none", "official"))
    bands = len(reader.BANDS)
    np.testing.assert_array_equal(plain[..., bands:], scaled[..., bands:])
    image = reader.read_image(folder / rows["image"].iloc[0], "official")
    np.testing.assert_array_equal(scaled[0, ..., :bands], image)
    assert not np.allclose(plain[..., :bands], scaled[..., :bands])


def test_a_patch_that_is_brought_is_scaled_as_the_store_was(folder):
    image = reader.read_image(reader.index(folder)["image"].iloc[0])
    chosen = Channels(reader.BANDS, (0.0,) * 14, (1.0,) * 14, channels.STORED)
    seen = []

    def predictor(inputs):
        seen.append(inputs["image"])
        return np.zeros((1, *image.shape[:2], 2))

    demo_predict(predictor, chosen, "official")(image)
    np.testing.assert_array_equal(seen[0], stored_images(image[None], "official")[..., :14])
