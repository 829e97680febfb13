"""Layers frozen by name or depth that thaw at an epoch: what learns when, and the same after a stop."""

from itertools import pairwise

import keras
import numpy as np
import pandas as pd
import pytest
import training_example as example

from eolab import training
from eolab.core.errors import ParameterError, RunError
from eolab.training import schedules
from eolab.training.freezing import phases, weighted_layers

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_module")]  # trains networks

THAW = {"3": "encoder_2", 4: ["*"]}
TIMES, BATCH, STEPS = 2, 100, 3  # dates, samples a batch, batches an epoch


class Weights(keras.callbacks.Callback):
    """Keeps the variables of each layer after each epoch."""

    def __init__(self):
        super().__init__()
        self.found = []

    def on_epoch_end(self, epoch, logs=None):
        self.found.append(values(self.model))


def values(net):
    if hasattr(net, "jax_state_sync"):
        net.jax_state_sync()
    return {
        names: [np.array(keras.ops.convert_to_numpy(w)) for w in layer.weights]
        for layer, names in weighted_layers(net)
    }


def model():
    """An encoder of two blocks inside, with batch statistics, and a head."""
    training.set_up(3)
    image = keras.Input((TIMES, example.BANDS), name="image")
    x = keras.layers.Dense(6, activation="relu", name="encoder_1")(image)
    x = keras.layers.BatchNormalization(name="encoder_1_norm")(x)
    x = keras.layers.SimpleRNN(5, dropout=0.2, unroll=True, seed=1, name="encoder_2")(x)
    inner = keras.Input((5,))
    decoder = keras.Model(inner, keras.layers.Dense(6, name="mixing")(inner), name="decoder")
    head = keras.layers.Dense(example.CLASSES, activation="softmax", name="head")
    return keras.Model({"image": image}, head(keras.layers.Dropout(0.2, seed=2)(decoder(x))))


def fit(folder, net=None, **options):
    inputs, label = example.arrays()
    defaults = {
        "epochs": 4,
        "learning_rate": 0.02,
        "schedule": "cosine",
        "freeze": "encoder",
    }
    net = net or example.shared(model, key=example.graph_of(options))
    data = {"image": inputs["image"][:, :TIMES]}, label
    train, validation = example.batches(data, BATCH, shuffle=True), example.batches(data, BATCH)
    history = training.fit(net, train, validation, folder=folder, progress=False, **{**defaults, **options})
    return net, history


def changed(before, after):
    """Names of the layers of which some weight changed."""
    return {
        names[-1]
        for names, weights in before.items()
        if any((a != b).any() for a, b in zip(weights, after[names], strict=True))
    }


EVERY = {"encoder_1", "encoder_1_norm", "simple_rnn_cell", "mixing", "head"}


RUNS = {
    "None-thaw0": (None, {3: "*"}, [3]),  # stopped where all learn
    "0.6-thaw1": (0.6, THAW, [0, 2, 3]),  # stopped before, at the start of and after an epoch of thawing
}
HEAD = {"mixing", "head"}
CHANGES = {
    "None-thaw0": [HEAD, HEAD, EVERY, EVERY],
    "0.6-thaw1": [HEAD, HEAD, {*HEAD, "simple_rnn_cell"}, EVERY],
}


@pytest.fixture(scope="module", params=RUNS)
def whole(request, tmp_path_factory, eager_module):
    """A training that nothing stops: its name, weights before and after each epoch, history and end."""
    ema, thaw, _ = RUNS[request.param]
    options = {"thaw": thaw, "ema": ema}
    net, weights = example.shared(model, key=example.graph_of(options)), Weights()
    first = values(net)
    _, history = fit(tmp_path_factory.mktemp("whole"), net, **options, callbacks=[weights])
    assert all(layer.trainable for layer, _ in weighted_layers(net))
    return request.param, [first, *weights.found], history, [np.array(variable) for variable in net.variables]


def test_layers_thaw_at_their_epoch_and_nothing_of_them_changes_before(whole):
    name, steps, history, _ = whole
    assert [changed(one, other) for one, other in pairwise(steps)] == CHANGES[name]
    rate = schedules.build("cosine", 0.02, STEPS, 4)  # it goes on where layers thaw
    np.testing.assert_allclose(history["learning_rate"], [rate(STEPS * n) for n in range(1, 5)], rtol=1e-5)


def test_stopped_training_ends_as_the_unbroken_one(tmp_path, whole):
    def interrupt():
        raise KeyboardInterrupt

    name, _, history, unbroken = whole
    ema, thaw, stops = RUNS[name]
    for epoch in stops:
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, thaw=thaw, ema=ema, callbacks=[example.StopAt(epoch, 2, interrupt)])
    again, resumed = fit(tmp_path, thaw=thaw, ema=ema)
    assert resumed.attrs["resumed_at"] == stops[-1]
    drop = {"columns": "seconds"}
    pd.testing.assert_frame_equal(resumed.drop(**drop), history.drop(**drop), rtol=1e-5, atol=1e-7)
    for ours, theirs in zip(again.variables, unbroken, strict=True):
        np.testing.assert_allclose(np.array(ours), theirs, rtol=1e-5, atol=1e-6)
    with pytest.raises(RunError, match=r"begun with freeze .*'encoder'"):
        fit(tmp_path, ema=ema)


def test_a_compiled_network_is_trained_again_with_the_same_layers_frozen(tmp_path):
    """One network for several folds: the second training begins frozen, with an optimizer of its own."""
    net = model()
    start = [np.array(variable) for variable in net.variables]
    first = fit(tmp_path / "a", net, thaw={2: "*"}, epochs=2)[1]
    training.assign(net.variables, start)
    second = fit(tmp_path / "b", net, thaw={2: "*"}, epochs=2)[1]
    pd.testing.assert_frame_equal(first.drop(columns="seconds"), second.drop(columns="seconds"), rtol=1e-5)


def test_early_stopping_while_layers_are_frozen_ends_the_training(tmp_path):
    _, history = fit(tmp_path, thaw={4: "*"}, epochs=9, learning_rate=1e-9, schedule="constant", patience=1)
    assert len(history) < 4
    _, again = fit(tmp_path, thaw={4: "*"}, epochs=9, learning_rate=1e-9, schedule="constant", patience=1)
    pd.testing.assert_frame_equal(history, again)


def frozen(net, freeze, thaw=None, epochs=9):
    names = {id(layer): names[-1] for layer, names in weighted_layers(net)}
    return [
        (phase.start, phase.end, {names[id(layer)] for layer in phase.layers})
        for phase in phases(net, epochs, freeze, thaw)
    ]


def test_layers_are_named_by_prefix_pattern_model_around_and_depth():
    net = model()
    assert [names for _, names in weighted_layers(net)] == [
        *(
            ("encoder_1",),
            ("encoder_1_norm",),
            ("encoder_2", "simple_rnn_cell"),
            ("decoder", "mixing"),
            ("head",),
        )
    ]
    encoder = {"encoder_1", "encoder_1_norm", "simple_rnn_cell"}
    assert frozen(net, None) == [(0, 9, set())]
    assert (
        frozen(net, "encoder") == frozen(net, 3) == frozen(net, ["enc*_1", "encoder_2"]) == [(0, 9, encoder)]
    )
    assert frozen(net, ["decoder", "simple_rnn_cell"]) == [(0, 9, {"mixing", "simple_rnn_cell"})]
    assert frozen(net, 4, {8: 0, "5": 1}) == [
        (0, 4, encoder | {"mixing"}),
        (4, 7, {"encoder_1"}),
        (7, 9, set()),
    ]


def test_a_number_of_layers_may_be_text_as_the_command_line_gives_it():
    net = model()
    assert frozen(net, "2", {"4": "*"}) == frozen(net, 2, {4: "*"})
    assert len(frozen(net, "2")[0][2]) == 2


@pytest.mark.parametrize(
    ("freeze", "thaw", "message"),
    [
        ("encodr", None, r"No layer is called 'encodr': did you mean 'encoder_"),
        ("*", None, r"freeze is '\*': no layer is left to train"),
        (99, None, r"no layer is left to train"),
        ("encoder", {1: "*"}, r"epochs from 2 to 9, such as .*: got \{1: '\*'\}"),
        ("encoder", {12: "*"}, r"epochs from 2 to 9"),
        ("encoder", {"soon": "*"}, r"epochs from 2 to 9"),
        ("encoder", {3: "decodr"}, r"No layer is called 'decodr'"),
        (None, {3: "*"}, r"no layer is frozen: give freeze too"),
    ],
)
def test_what_cannot_be_frozen_is_refused(freeze, thaw, message):
    with pytest.raises(ParameterError, match=message):
        phases(model(), 9, freeze, thaw)


def test_the_training_dict_of_a_notebook_is_checked():
    given = {"epochs": 3, "ema": 0, "freeze": "", "thaw": {}, "class_weights": "", "learning_rate": 1}
    found = training.options(given, batch_size=8, epochs=20, patience=5)
    nothing = dict.fromkeys(("ema", "freeze", "thaw", "class_weights"))
    assert found == {"epochs": 3, "batch_size": 8, "patience": 5, "learning_rate": 1, **nothing}
    with pytest.raises(ParameterError, match=r"training has no 'epoch': did you mean 'epochs'"):
        training.options({"epoch": 3})
    with pytest.raises(ParameterError, match=r"training: learning_rate must be int or float, found '1e-3'"):
        training.options({"learning_rate": "1e-3"})
    with pytest.raises(ParameterError, match=r"training: epochs must be int, found True"):
        training.options({"epochs": True})
