"""What a flood network is given beside the bands: the change against the dry state of a sequence."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from eolab.runs import study
from eolab.studies.flood import sensors
from eolab.studies.flood.sensors import dry_state


@pytest.mark.parametrize("reference_images", [1, 2, 3, 9])
def test_the_dry_state_is_the_median_of_the_first_images_up_to_a_date(reference_images):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 6, 6, 2)).astype("float32")
    values[rng.random(values.shape) < 0.5] = np.nan
    dry = dry_state(values, reference_images)
    assert dry.dtype == values.dtype
    for time in range(5):
        for y, x, channel in np.ndindex(6, 6, 2):
            first = values[: min(time + 1, reference_images), y, x, channel]
            seen = first[np.isfinite(first)]
            expected = np.median(seen) if len(seen) else np.nan
            np.testing.assert_array_equal(dry[time, y, x, channel], np.float32(expected))


def test_pixels_that_nothing_saw_give_no_warning():
    """Hidden by catch_warnings, the warning came through where threads overlapped, into reports."""
    values = np.full((3, 4, 4, 1), np.nan, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isnan(dry_state(values, 2)).all()


def test_the_notebook_allows_every_channel_that_there_is():
    """An unknown channel is refused before the files are checked, which takes long."""
    declared = {one.name: one for one in study.load("flood").notebooks["02_preprocess"].parameters}
    assert set(declared["optical"].choices) == set(sensors.Optical.known)
    assert set(declared["radar"].choices) == set(sensors.Radar.known)
