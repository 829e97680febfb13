"""A small training for tests: run as a script it trains in a folder, and kills itself where told."""

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np

from eolab import training
from eolab.batches import StoreBatches

SAMPLES, TIMES, BANDS, CLASSES = 300, 5, 3, 4


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
    hidden = keras.layers.LSTM(8, dropout=0.2)(image, mask=valid)
    hidden = keras.layers.BatchNormalization()(keras.layers.Dropout(0.4)(hidden))
    return keras.Model(
        {"image": image, "valid": valid}, keras.layers.Dense(CLASSES, activation="softmax")(hidden)
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


def fit(folder, net=None, data=None, **options):
    defaults = {
        "epochs": 5,
        "batch_size": 32,
        "learning_rate": 5e-3,
        "schedule": "one_cycle",
        "class_weights": "balanced",
        "clipnorm": 1.0,
        "seed": 7,
    }
    net = model() if net is None else net
    data = arrays() if data is None else data
    history = training.fit(net, data, arrays(1), folder=folder, **{**defaults, **options})
    return net, history


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def main(folder: Path, store: Path, epoch: int) -> None:
    """Train on a store; an epoch of -1 is an unbroken training."""
    from eolab.store import open_store

    os.environ["EOLAB_HEADLESS"] = "1"
    data = StoreBatches(open_store(store), batch_size=32, seed=7, shuffle=True)
    callbacks = [StopAt(epoch, 4, kill)] if epoch >= 0 else []
    fit(folder, data=data, callbacks=callbacks)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
