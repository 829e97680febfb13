"""Training: set-up, weights of classes, early stopping, errors."""

import sys
import warnings
from xml.etree import ElementTree

import keras
import numpy as np
import pytest
import training_example as example
from sklearn.utils.class_weight import compute_class_weight

from eolab import models, training
from eolab.core import machine
from eolab.core.errors import EolabWarning, ParameterError, RunError
from eolab.models.layers import settle_keras
from eolab.training import callbacks, live
from eolab.training.batches import Batches, balanced_weights
from eolab.training.checkpoint import Progress
from eolab.training.setup import keep_memory


@pytest.mark.slow
def test_same_seed_same_result_other_seed_another(tmp_path):
    """What networks of two seeds begin with, states of dropout too, in one network: compiled once."""
    net, losses, ends = example.model(), {}, {}
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        training.assign(net.variables, example.model(seed).variables)
        losses[name] = example.fit(tmp_path / name, net=net, epochs=2)[1]["loss"]
        ends[name] = [np.array(variable) for variable in net.variables]
    np.testing.assert_allclose(losses["a"], losses["b"], rtol=1e-6)
    for ours, theirs in zip(ends["a"], ends["b"], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert not np.allclose(losses["a"], losses["c"], rtol=1e-3)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is kept where the C library is glibc")
def test_memory_that_arrays_leave_is_not_asked_for_again():
    import resource

    keep_memory()
    np.ones(2**20).sum()  # 8 MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.ones(2**20).sum()
    asked = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    assert asked < 50 * 2**23 / resource.getpagesize() / 10


def test_set_up_says_what_it_runs_on_and_refuses_what_is_not_there():
    setup = training.set_up(5)
    assert str(setup).count("\n") == 2
    assert setup.precision == "float32"
    one = keras.random.normal((3,))
    training.set_up(5)
    np.testing.assert_array_equal(np.array(one), np.array(keras.random.normal((3,))))
    with pytest.raises(ParameterError, match="did you mean 'bfloat16'"):
        training.set_up(5, "bfloat61")
    if not training.setup.accelerator():
        with pytest.raises(ParameterError, match="needs a GPU"):
            training.set_up(5, "float16")


@pytest.fixture
def idle_gpu(tmp_path, monkeypatch):
    """A driver that lists one GPU, and a backend that sees none."""
    (tmp_path / "0000:07:00.0").mkdir()
    (tmp_path / "0000:07:00.0/information").write_text("Model: \t\t NVIDIA L4\nIRQ:   \t\t 145\n")
    names = machine.nvidia_gpus(tmp_path)
    assert names == ["NVIDIA L4"]
    monkeypatch.setattr(training.setup, "nvidia_gpus", lambda: names)
    monkeypatch.setattr(training.setup, "accelerator", lambda: "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_a_gpu_that_the_backend_does_not_see_is_named_with_what_to_install(idle_gpu):
    with pytest.warns(EolabWarning, match=r"has an NVIDIA L4 that \w+ does not see.*install .* with pip"):
        training.set_up(5)


def test_a_gpu_that_the_user_hides_is_not_spoken_of(idle_gpu, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training.set_up(5)


@pytest.mark.parametrize(("status", "expected"), [(0, ["NVIDIA T4", "NVIDIA T4"]), (9, [])])
def test_without_files_of_the_driver_nvidia_smi_is_asked(tmp_path, monkeypatch, status, expected):
    command = tmp_path / "nvidia-smi"
    command.write_text(f"#!/bin/sh\necho NVIDIA T4\necho NVIDIA T4\nexit {status}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert machine.nvidia_gpus(tmp_path / "none") == expected
    command.unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine.nvidia_gpus(tmp_path / "none") == []


@pytest.fixture
def foreign_keras():
    """Settings that a keras.json or a variable KERAS_… may hold."""
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    keras.config.set_epsilon(0.01)
    keras.config.set_max_epochs(1)
    yield
    settle_keras()


def test_settings_of_the_user_s_keras_change_no_network(tmp_path, foreign_keras):
    """Of tempcnn, channels_first took the dates for features, without a word."""
    settle_keras()
    sizes = {"channels": 2, "times": 6, "outputs": 3, "filters": 4, "dense": 4}
    rng = np.random.default_rng(0)
    inputs = {"image": rng.normal(size=(4, 6, 2)), "valid": np.ones((4, 6)), "day": np.ones((4, 6))}
    inputs = {name: values.astype("float32") for name, values in inputs.items()}
    networks = [models.build("tempcnn", **sizes)]
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float16")
    networks.append(models.build("tempcnn", **sizes))
    networks[0].save(tmp_path / "net.keras")
    keras.config.set_image_data_format("channels_first")
    networks.append(models.load(tmp_path / "net.keras"))
    assert keras.config.image_data_format() == "channels_last"
    first, *others = (np.array(one(inputs, training=False)) for one in networks)
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_set_up_names_settings_that_it_replaces(foreign_keras):
    setup = training.set_up(5)
    assert setup.unused == {
        "image_data_format": "channels_first", "floatx": "float16", "epsilon": 0.01, "max_epochs": 1,
    }  # fmt: skip
    assert "Not used, of keras.json or KERAS_ variables: image_data_format channels_first" in str(setup)
    assert (keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon()) == (
        "channels_last", "float32", 1e-7,
    )  # fmt: skip
    assert keras.config.max_epochs() is None  # else a training ends before its last epoch
    assert not training.set_up(5).unused


@pytest.mark.parametrize(
    ("rounds", "expected"),
    [
        ((True, True), "bfloat16"),
        ((True, False), "bfloat16, float32 in recurrent layers"),
        ((False, False), "float32, as this processor has no bfloat16 units"),
    ],
)
def test_the_precision_that_is_recorded_is_that_of_the_products(monkeypatch, rounds, expected):
    """bfloat16 was recorded where the LSTM, or all, was computed in float32."""
    if keras.backend.backend() != "tensorflow" or training.setup.accelerator():
        pytest.skip("about oneDNN's graph option")
    measured = training.setup._rounds()
    assert measured in ((False, False), (True, False), (True, True))
    monkeypatch.setattr(training.setup, "_rounds", lambda: rounds)
    try:
        assert training.set_up(0, "bfloat16").precision == expected
    finally:
        assert training.set_up(0).precision == "float32"


@pytest.mark.slow
def test_bfloat16_trains_with_weights_in_float32(tmp_path):
    data = example.arrays()
    try:
        net = example.model()
        training.set_up(3, "bfloat16")
        _, history = example.fit(tmp_path, net=net, data=example.batches(data), epochs=1)
    finally:
        training.set_up(3)
    assert np.isfinite(history["loss"]).all()
    assert {str(v.dtype) for v in net.trainable_variables} == {"float32"}
    assert net(data[0], training=False).dtype == "float32"


def test_balanced_weights_are_those_of_sklearn():
    label = np.array([0, 0, 0, 1, 3, 3, 255, 255], np.uint8)
    found = balanced_weights(label, 5)
    known = label[label != 255]
    expected = compute_class_weight("balanced", classes=np.unique(known), y=known)
    assert list(found) == [0, 1, 3]
    assert list(found.values()) == pytest.approx(list(expected))


def test_class_weights_reach_the_batches_and_ignored_samples_count_nothing():
    inputs, label = example.arrays()
    batches = example.batches((inputs, label), 50, class_weights={0: 3.0})
    weights = np.concatenate([batches[i][2] for i in range(batches.num_batches)])
    np.testing.assert_array_equal(weights, np.where(label == 255, 0, np.where(label == 0, 3, 1)))
    for weights in ({-1: 1.0}, {255: 1.0}, {0: -1.0}):
        with pytest.raises(ParameterError, match="class indices and weights of 0 or more"):
            example.batches((inputs, label), 50, class_weights=weights)


def test_order_is_a_function_of_seed_and_epoch():
    inputs, label = example.arrays()
    inputs["image"][:, 0, 0] = np.arange(len(label))

    def order(seed, epoch):
        batches = Batches(example.ArraySamples(inputs, label), 64, seed=seed, shuffle=True).at_epoch(epoch)
        return np.concatenate([batches[i][0]["image"][:, 0, 0] for i in range(batches.num_batches)])

    np.testing.assert_array_equal(order(1, 2), order(1, 2))
    found = np.concatenate([order(1, epoch) for epoch in range(15)])  # 15 epochs of 320 are 16 passes
    assert (np.bincount(found.astype(int)) == 16).all()
    assert (order(1, 2) != order(1, 3)).any()
    assert (order(1, 2) != order(2, 2)).any()


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_ignored_samples_do_not_change_the_training(tmp_path):
    inputs, label = example.arrays()
    other = {**inputs, "image": inputs["image"].copy()}
    other["image"][:7] += 5  # samples with label 255
    losses = []
    training.set_up(0)
    image = keras.Input((example.TIMES, example.BANDS), name="image")
    net = keras.Model(
        {"image": image}, keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(image))
    )
    start = [np.array(variable) for variable in net.variables]
    for data in (inputs, other):
        training.assign(net.variables, start)
        folder = tmp_path / str(len(losses))
        data = example.batches(({"image": data["image"]}, label), 50, shuffle=True)
        history = training.fit(net, data, folder=folder, epochs=2, progress=False)
        losses.append(history["loss"].to_numpy())
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)


@pytest.mark.slow
def test_early_stopping_gives_back_the_best_epoch(tmp_path):
    """Labels of the validation data are wrong on purpose: the better the training, the worse they are."""
    inputs, label = example.arrays()
    wrong = np.where(label == 255, 255, (label + 2) % 4).astype(np.uint8)
    net = example.model()
    history = training.fit(
        net, example.batches((inputs, label), shuffle=True), example.batches((inputs, wrong)),
        folder=tmp_path, epochs=20, learning_rate=0.01, patience=2, progress=False,
    )  # fmt: skip
    best = int(history["val_loss"].idxmin())
    assert len(history) == best + 1 + 2 < 20
    assert history.attrs["best_epoch"] == best + 1
    again = example.evaluate(net, example.batches((inputs, wrong)))
    assert again["loss"] == pytest.approx(history["val_loss"].min(), rel=1e-4)


@pytest.mark.slow
@pytest.mark.usefixtures("eager")
def test_loss_that_is_no_number_stops_with_a_sentence(tmp_path):
    inputs, label = example.arrays()
    inputs["image"][200] = np.nan
    data = example.batches((inputs, label), 50, shuffle=True)
    with pytest.raises(RunError, match=r"no number after .*learning rate"):
        training.fit(example.model(), data, folder=tmp_path, epochs=3, progress=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "adamm"}, "did you mean 'adam'"),
        ({"optimizer_options": {"weight_dcay": 1}}, "does not take"),
        ({"schedule": "steps"}, "did you mean 'step'"),
        ({"epochs": 0}, "epochs must be 1 or more, found 0"),
        ({"patience": -1}, "patience must be 1 or more, found -1"),
        ({"learning_rate": 1e6}, "learning_rate must be above 0 and at most 10, found 1000000.0"),
        ({"learning_rate": float("nan")}, "learning_rate must be above 0"),
        ({"clipnorm": -1.0}, "clipnorm must be above 0"),
        ({"optimizer": "adm"}, "no optimizer 'adm'"),
        ({"schedule": "cosin"}, "no schedule 'cosin': did you mean 'cosine'"),
        ({"monitor": "val_f1"}, "no 'val_f1' to monitor"),
    ],
)
@pytest.mark.usefixtures("eager")
def test_impossible_parameters_are_refused(tmp_path, options, message):
    with pytest.raises(ParameterError, match=message):
        example.fit(tmp_path, **{"epochs": 1, **options})


def test_a_watched_training_says_its_best_epoch_and_the_time_of_those_to_come(monkeypatch):
    shown: list[tuple[str, str]] = []
    monkeypatch.setattr(live.InPlace, "show", lambda _, *content: shown.append(content))
    rows = [{"epoch": n, "loss": 1 / n, "val_f1": n / 10, "seconds": 7.0 + n} for n in (1, 2, 3, 4)]
    state = Progress({}, rows, best_epoch=3, best=0.3)
    watched = live.Live(10, 50, "val_f1")
    watched.epoch(state)
    watched.step(state, 25, {"loss": 0.2}, 5.0)  # at once: nothing new is shown
    monkeypatch.setattr(watched, "_said", -live.EVERY_S - 1)
    watched.step(state, 25, {"loss": 0.2}, 5.0)
    texts = [text for text, _ in shown]
    assert texts == [
        "epoch 4 of 10, loss 0.25, val_f1 0.4, best val_f1 so far 0.3 in epoch 3, time left 1 min 0 s",
        "epoch 5 of 10, step 25 of 50, loss 0.2, val_f1 –, best val_f1 so far 0.3 in epoch 3, time left 55 s",
    ]
    curves = [ElementTree.fromstring(f"<a>{markup.partition('</table>')[2]}</a>") for _, markup in shown]
    assert [len(one.findall("svg")) for one in curves] == [2, 2]  # the loss, and what decides
    assert [len(one.findall(".//polyline")) for one in curves] == [2, 2]
    points = curves[0].find(".//polyline").get("points").split()
    assert points[0] == "50.0,30.0"  # the first epoch, the highest loss
    assert points[-1] == "290.0,90.0"


def test_the_line_of_an_epoch_leaves_losses_of_single_outputs_to_the_history():
    row = {
        "epoch": 2,
        "loss": 1.5,
        "half_loss": 0.5,
        "mask_f1": 0.25,
        "val_loss": 1.25,
        "val_half_loss": 0.5,
        "val_mask_loss": 0.75,
        "val_mask_f1": 0.5,
        "learning_rate": 0.1,
        "seconds": 3.2,
    }
    said = callbacks.line(row, 9, "val_mask_f1", True)
    assert said == "epoch 2/9, 22 s left: loss 1.5, mask_f1 0.25, val_loss 1.25, val_mask_f1 0.5 (best), 3 s"
    assert "val_mask_loss 0.75 (best)" in callbacks.line(row, 9, "val_mask_loss", True)


@pytest.mark.slow
def test_a_training_whose_validation_is_no_number_in_any_epoch_is_stopped(tmp_path):
    """Each epoch was the best so far, and the last one was kept without a word."""
    inputs, label = example.arrays(1)
    validation = example.batches(({**inputs, "image": inputs["image"] * np.nan}, label))
    net = example.shared(example.model)
    with pytest.raises(RunError, match="val_loss is no number in any of 1 epochs, so none can be chosen"):
        training.fit(net, example.batches(example.arrays()), validation, folder=tmp_path, epochs=1)
