"""What a backend gives, against what TensorFlow gave: tests for a process of that backend.

They are run by :mod:`test_backends`, which writes what TensorFlow gave to the folder ``EOLAB_EXPECTED``.
"""

import os
from pathlib import Path

import keras
import loss_cases
import model_harness as harness
import numpy as np
import pytest

from eolab import models

EXPECTED = Path(os.environ.get("EOLAB_EXPECTED", "."))
NETWORKS = [path.stem for path in sorted(EXPECTED.glob("*.keras"))]
TRAINED = ["lstm", "ltae", "transformer", "convlstm"]  # convolutions and averages: tests of trainings


@pytest.mark.parametrize("name", NETWORKS)
def test_a_saved_network_predicts_the_same_and_a_small_one_trains(name):
    case = dict(np.load(EXPECTED / f"{name}.npz"))
    labels, expected = case.pop("labels"), case.pop("expected")
    with harness.undrawn():  # JAX would compile a draw of each shape
        model = models.load(EXPECTED / f"{name}.keras", compiled=False)
    found = model.predict(case, verbose=0)
    found = found["mask"] if isinstance(found, dict) else found
    np.testing.assert_allclose(found, expected, atol=1e-4)
    if name in TRAINED:  # a first step of the others takes a minute without optimisations
        loss = "binary" if labels.shape == found.shape else "sparse_categorical"
        model.compile(keras.optimizers.Adam(0.003), loss + "_crossentropy")
        losses = [float(model.train_on_batch(case, labels)) for _ in range(15)]
        assert losses[-1] < losses[0], losses


def test_losses_have_the_same_values_gradients_and_scores():
    """All losses with their options, all shapes of labels."""
    expected, found = np.load(EXPECTED / "losses.npz"), loss_cases.run()
    assert set(found) == set(expected)
    assert [
        name for name in found if not np.allclose(found[name], expected[name], rtol=2e-5, atol=1e-6)
    ] == []
