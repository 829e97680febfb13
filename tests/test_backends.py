"""What holds on TensorFlow holds on another Keras backend: networks, losses and trainings, in one process."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import loss_cases
import model_harness as harness
import numpy as np
import pytest
from conftest import HIDDEN
from test_models import case_of

PORTED = ["lstm", "ltae", "transformer", "rau_net_1", "segformer_b0", "three_branch_cnn", "convnext_tiny"]
PORTED += ["convlstm", "resnet18_gru", "utae", "date_transformer", "resnet18_patch", "deeplabv3"]
PORTED += ["utae_mask", "tsvit"]
OPTIONS = {"resnet18_patch": {"masked": True}, "deeplabv3": {"backbone": "resnet18"}}
# what a backend does with arrays and compiled steps; names, checks and messages are the same on all
TRAININGS = (
    "final_weights or validation_is or does_not_touch or interrupted "
    "or ((thaw_at or stopped_training) and not None-thaw0) or fit_sees or fisher or penalised"
)


def write_networks(folder: Path) -> None:
    """Save networks with all layers of the package, their inputs, labels and predictions.

    Networks without any layer of the package but Resize are Keras's own.
    """
    layers = set()
    with harness.shallow():
        for name in PORTED:
            case = case_of(name, **OPTIONS.get(name, {}))
            labels = case.labels["mask"] if isinstance(case.labels, dict) else case.labels
            case.model.save(folder / f"{name}.keras")
            expected = harness.named(case.expected).get("mask", case.expected)
            np.savez(folder / f"{name}.npz", labels=labels, expected=expected, **case.inputs)
            layers |= {type(layer) for layer in case.model.layers}
    made = [one for one in keras.saving.get_custom_objects().values() if isinstance(one, type)]
    own = {one for one in made if issubclass(one, keras.layers.Layer) and "eolab.models" in one.__module__}
    own = {one for one in own if not one.__subclasses__()}  # what others derive from stands in no network
    assert {layer.__name__ for layer in own - layers} == {"MapCell"}  # which stands in ConvLSTM


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_networks_losses_and_trainings_on_another_backend(backend, tmp_path):
    """One process runs it all, for each takes long to start; what fails there is named in its summary."""
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    write_networks(tmp_path)
    np.savez(tmp_path / "losses.npz", **loss_cases.run())
    here = Path(__file__).parent
    trainings = ("training_outputs", "training_average", "training_freeze", "batches", "consolidation")
    files = [here / "backend_cases.py", *(here / f"test_{name}.py" for name in trainings)]
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider"]
    command += ["-k", f"backend_cases or {TRAININGS}", *map(str, files)]
    paths = [path for path in os.environ["PYTHONPATH"].split(os.pathsep) if path != HIDDEN]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "KERAS_BACKEND": backend,
        "EOLAB_EXPECTED": str(tmp_path),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",  # which take two thirds of the compilation
        "JAX_COMPILATION_CACHE_DIR": os.environ["EOLAB_CACHE"],  # what is trained again is not compiled again
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
    }
    done = subprocess.run(
        command, env=environment, cwd=here.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    assert "passed" in done.stdout
