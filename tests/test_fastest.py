"""The table of the fastest ways to compile networks, and that a way changes no weights."""

import numpy as np
import pandas as pd
import pytest
from training_example import BANDS, CLASSES, TIMES, arrays, batches

from eolab import models, training
from eolab.core import machine
from eolab.training import fastest

COLUMNS = ["backend", "processor", "network", "jit_compile", "steps_per_execution", "samples_per_s", "gain"]


@pytest.fixture
def table(monkeypatch):
    """A table of one network on one kind of processor, which this is, and no GPU."""
    values = ["tensorflow", "avx2", "ltae", True, 4, 1000.0, 1.2]
    monkeypatch.setattr(fastest, "measured", lambda: pd.DataFrame([dict(zip(COLUMNS, values, strict=True))]))
    monkeypatch.setattr(fastest, "instructions", lambda: "avx2")
    monkeypatch.setattr(fastest, "accelerator", lambda: "")


def test_the_table_is_of_networks_that_exist_and_no_way_in_it_is_slower_than_the_usual_one():
    found = fastest.measured()
    assert list(found.columns) == COLUMNS
    assert set(found["network"]) <= set(models.names())
    assert set(found["backend"]) <= {"tensorflow", "jax"}
    assert set(found["processor"]) <= set(machine.INSTRUCTIONS)
    assert not found.duplicated(["backend", "processor", "network"]).any()
    assert ((found["gain"] == 1) | (found["gain"] >= fastest.GAIN)).all()
    assert (found["samples_per_s"] > 0).all()


@pytest.mark.usefixtures("table")
def test_a_network_that_was_measured_is_compiled_as_was_fastest():
    assert fastest.compile_options("ltae") == {"jit_compile": True, "steps_per_execution": 4}
    assert fastest.compile_options("lstm") == {"jit_compile": "auto", "steps_per_execution": 16}
    assert fastest.compile_options("unet") == {"jit_compile": "auto", "steps_per_execution": 1}


@pytest.mark.usefixtures("table")
def test_other_processors_and_gpus_compile_in_the_usual_way(monkeypatch):
    usual = {"jit_compile": "auto", "steps_per_execution": 16}
    monkeypatch.setattr(fastest, "instructions", lambda: "avx512f")
    assert fastest.compile_options("ltae") == usual
    monkeypatch.setattr(fastest, "instructions", lambda: "avx2")
    monkeypatch.setattr(fastest, "accelerator", lambda: "NVIDIA H200")
    assert fastest.compile_options("ltae") == usual


def test_rows_of_networks_that_were_measured_again_are_replaced(tmp_path):
    file, row = (
        tmp_path / "fastest.csv",
        dict(zip(COLUMNS, ["jax", "avx2", "lstm", True, 1, 10.0, 1.0], strict=True)),
    )
    fastest.keep(pd.DataFrame([row, row | {"network": "ltae"}]), file)
    fastest.keep(pd.DataFrame([row | {"samples_per_s": 20.0}]), file)
    assert pd.read_csv(file)[["network", "samples_per_s"]].values.tolist() == [["lstm", 20.0], ["ltae", 10.0]]


SMALL = {"lstm": {"units": 8}, "tempcnn": {"filters": 4, "dense": 8}}


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_weights_after_ten_steps_are_the_same_however_a_network_is_compiled(name, tmp_path):
    weights = []
    for way in ({"steps_per_execution": 1}, {"steps_per_execution": 16}, {"jit_compile": True}):
        training.set_up(0)
        sizes = {"times": TIMES, "channels": BANDS, "outputs": CLASSES}
        network = models.build(name, **sizes, **SMALL[name], dropout=0.0)  # XLA draws other numbers
        inputs, label = arrays()
        inputs["day"] = np.tile(np.arange(TIMES, dtype=np.float32), (len(label), 1))
        data = batches((inputs, label), batch_size=30)
        given = {"optimizer": "sgd", "learning_rate": 0.1, "epochs": 1, "progress": False}
        training.fit(
            network, data, folder=tmp_path / str(len(weights)), **given, **{"jit_compile": False, **way}
        )
        weights.append(np.concatenate([np.ravel(each) for each in network.get_weights()]))
    for other in weights[1:]:
        np.testing.assert_allclose(other, weights[0], rtol=0, atol=1e-5)
