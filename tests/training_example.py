"""A small training for tests, of arrays or of a store."""

from pathlib import Path

import keras
import numpy as np

from eolab import training
from eolab.training import outputs
from eolab.training.batches import Batches, StoreSamples, balanced_weights

SAMPLES, TIMES, BANDS, CLASSES = 300, 5, 3, 4


_networks = {}


def shared(build, *arguments, key=""):
    """Return a network with its first weights, one object for all calls alike, which keeps its graph."""
    key = (build, arguments, key)
    if key not in _networks:
        net = build(*arguments)
        _networks[key] = net, [np.array(variable) for variable in net.variables]
    net, first = _networks[key]
    training.assign(net.variables, first)
    return net


def arrays(seed=0):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, CLASSES, SAMPLES).astype(np.uint8)
    image = rng.normal(size=(SAMPLES, TIMES, BANDS)).astype(np.float32) + label[:, None, None]
    label[:7] = 255
    return {"image": image, "valid": np.ones((SAMPLES, TIMES), bool)}, label


def model(seed=3):
    """Everything that carries a state: dropout in and after the LSTM, batch statistics."""
    training.set_up(seed)
    image = keras.Input((TIMES, BANDS), name="image")
    valid = keras.Input((TIMES,), dtype="bool", name="valid")
    hidden = keras.layers.LSTM(8, dropout=0.2, unroll=True, seed=seed)(image, mask=valid)
    hidden = keras.layers.BatchNormalization()(keras.layers.Dropout(0.4, seed=seed)(hidden))
    return keras.Model(
        {"image": image, "valid": valid}, keras.layers.Dense(CLASSES, activation="softmax")(hidden)
    )


def masks(seed=0, samples=24):
    """Images (8, 8, 3) whose class shows in the bands, with labels of pixels and of the whole image."""
    rng = np.random.default_rng(seed)
    label = np.kron(rng.random((samples, 4, 4)) < 0.2, np.ones((2, 2), bool)).astype(np.uint8)
    label[: samples // 4] = 0
    image = rng.normal(size=(samples, 8, 8, 3)).astype(np.float32) + 1.5 * label[..., None]
    patch = label.any(axis=(1, 2)).astype(np.uint8)
    label[:, 0, :2] = 255
    return {"image": image}, {"mask": label, "patch": patch, "fine": label.repeat(2, 1).repeat(2, 2)}


def labels(data, *outputs):
    return data[0], {name: data[1][name] for name in outputs}


def mask_model(*outputs, seed=3):
    """A small network for images; its layers are not called like its outputs, and dropout has a state."""
    training.set_up(seed)
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(6, 3, padding="same", activation="relu")(image)
    x = keras.layers.Dropout(0.2, seed=seed)(keras.layers.BatchNormalization()(x))
    features = {
        "mask": lambda: x,
        "patch": lambda: keras.layers.GlobalMaxPooling2D()(x),
        "fine": lambda: keras.layers.UpSampling2D()(x),
    }
    return keras.Model(
        {"image": image},
        {name: keras.layers.Dense(2, activation="softmax")(features[name]()) for name in outputs},
    )


class StopAt(keras.callbacks.Callback):
    """Calls a function at a batch of an epoch, both counted from 0."""

    def __init__(self, epoch, batch, stop):
        super().__init__()
        self.at, self.stop, self.epoch = (epoch, batch), stop, None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.at:
            self.stop()


class ArraySamples:
    """Samples of arrays (N, …) by name, with labels (N, …) or such arrays by output."""

    lengths = None

    def __init__(self, inputs, labels):
        self.inputs, self.labels = inputs, labels

    def __len__(self):
        return len(next(iter(self.inputs.values())))

    def read(self, positions):
        return keras.tree.map_structure(
            lambda values: np.asarray(values)[positions], (self.inputs, self.labels)
        )

    def facts(self):
        return {}


def batches(data, batch_size=32, **options):
    """Batches of arrays (inputs, labels): label 255 gets weight 0, or stays where labels are by output."""
    ignore = "keep" if isinstance(data[1], dict) else "weight"
    return Batches(ArraySamples(*data), batch_size, ignore=ignore, **options)


def graph_of(options):
    """What of the options of a training its graph depends on."""
    return repr({name: value for name, value in options.items() if name not in ("callbacks", "resume")})


def fit(folder, net=None, data=None, **options):
    """Train a shared network; what two trainings end with is compared by copies of the weights."""
    defaults = {"epochs": 5, "learning_rate": 5e-3, "schedule": "one_cycle", "clipnorm": 1.0}
    net = shared(model, key=graph_of(options)) if net is None else net
    if data is None:
        weights = balanced_weights(arrays()[1], CLASSES)
        data = batches(arrays(), seed=7, shuffle=True, class_weights=weights)
    history = training.fit(net, data, batches(arrays(1)), folder=folder, **{**defaults, **options})
    return net, history


def fit_masks(folder, *outputs, net=None, batch_size=7, **options):
    defaults = {"epochs": 4, "learning_rate": 0.02, "progress": False}
    outputs = outputs or ("mask",)
    net = net or shared(mask_model, *outputs, key=graph_of(options))
    data = batches(labels(masks(0), *outputs), batch_size, seed=7, shuffle=True)
    validation = batches(labels(masks(1), *outputs), batch_size)
    return net, training.fit(net, data, validation, folder=folder, **{**defaults, **options})


def evaluate(net, data, loss=None):
    """Return what a validation of a trained network would say."""
    of_outputs = outputs.loss_of(net, loss)
    model = outputs.Trained(net, of_outputs, of_outputs, outputs.metrics_of(net, None))
    model.compile("sgd", jit_compile=False)
    return model.evaluate(data, verbose=0, return_dict=True)


def fit_stored(folder: Path, store: Path, ema: float, callbacks=()) -> None:
    """Train on a store, with averages of the weights."""
    from eolab.data.store import open_store

    samples = StoreSamples(open_store(store))
    weights = balanced_weights(samples.store.arrays["label"][:], CLASSES)
    data = Batches(samples, batch_size=32, seed=7, shuffle=True, class_weights=weights)
    fit(folder, data=data, callbacks=list(callbacks), ema=ema)
