"""A small training for tests of several processes and devices, as a program and in a notebook.

``python distributed_example.py FOLDER STORE`` trains in this process, which may be one of several; on
TensorFlow on one device and on two.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np

from eolab import training
from eolab.data.store import open_store
from eolab.training import distributed
from eolab.training.batches import Batches, StoreSamples

KILL = "kill"  # file in the store's folder that names the process to kill in the second epoch


def network(seed: int) -> Any:
    """A network with dropout and batch normalisation."""
    training.set_up(seed)
    image = keras.Input((4, 3), name="image")
    x = keras.layers.Dense(8, activation="relu")(keras.layers.Flatten()(image))
    x = keras.layers.Dropout(0.3, seed=seed)(keras.layers.BatchNormalization()(x))
    return keras.Model({"image": image}, keras.layers.Dense(4, activation="softmax")(x))


class Kill(keras.callbacks.Callback):
    """Kills the process that a file names, in the middle of the second epoch."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.file, self.epoch = file, 0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        there = (self.epoch, batch) == (1, 2) and self.file.exists()
        if there and int(self.file.read_text()) == distributed.join().rank:
            self.file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)


def train(folder: Path, store: Path, epochs: int = 3, seed: int = 3) -> Any:
    """Train on a store, whose last batch of an epoch is odd; return the network."""
    net, samples = network(seed), open_store(store)
    rows = np.arange(len(samples))
    data = [
        Batches(StoreSamples(samples, part, inputs=["image"], in_memory=False), 16, seed=7, shuffle=True)
        for part in (rows[:80], rows[80:111])
    ]
    options: dict[str, Any] = {"epochs": epochs, "learning_rate": 5e-3, "ema": 0.8, "progress": False}
    training.fit(net, *data, folder=folder, callbacks=[Kill(store.parent / KILL)], **options)
    return net


def mirrored(folder: Path, store: Path) -> None:
    """Train by a strategy of TensorFlow on one device, then on two; classes and steps weigh unlike."""
    import tensorflow as tf

    (processor,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(processor, [tf.config.LogicalDeviceConfiguration()] * 2)
    samples = open_store(store)
    for devices in (1, 2):
        distributed.mirror([f"CPU:{k}" for k in range(devices)])
        training.set_up(3)
        image = keras.Input((4, 3), name="image")
        x = keras.layers.Flatten()(image)
        x = keras.layers.Dense(8, activation="relu", kernel_regularizer="l2")(x)
        net = keras.Model({"image": image}, keras.layers.Dense(4, activation="softmax")(x))
        chosen = StoreSamples(samples, np.arange(79), inputs=["image"])
        data = Batches(chosen, 16, seed=7, shuffle=True, class_weights=[1, 3, 0.5, 2])
        place = folder / str(devices)
        place.mkdir()
        training.fit(net, data, folder=place, epochs=2, optimizer="sgd", learning_rate=0.05, progress=False)
        keep(place, net, store)


def keep(folder: Path, net: Any, store: Path) -> None:
    """Save what tests compare: the network, its weights and its predictions."""
    net.save(folder / "model.keras")
    image = np.asarray(open_store(store).arrays["image"][:16])
    weights = {f"w{k}": np.array(keras.ops.convert_to_numpy(one)) for k, one in enumerate(net.variables)}
    np.savez(folder / "kept.npz", predicted=net.predict({"image": image}, verbose=0), **weights)


if __name__ == "__main__":
    place, stored = Path(sys.argv[1]), Path(sys.argv[2])
    if keras.backend.backend() == "tensorflow":
        mirrored(place, stored)
    else:
        keep(place, train(place, stored), stored)
