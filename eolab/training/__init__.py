"""Training of Keras models that can be stopped at any time and goes on as if it had not been.

In a notebook::

    training.set_up(seed, precision)                  # before the model is built
    model = models.build("lstm", …, seed=seed)
    history = training.fit(model, train, validation, folder=run.folder, epochs=30, patience=5)

``train`` and ``validation`` are batches (:mod:`eolab.training.batches`); :func:`eolab.tasks.fit` makes them.
"""

from eolab.training.callbacks import assign
from eolab.training.fitting import fit, forget, options
from eolab.training.lr_finder import range_test
from eolab.training.setup import Setup, set_up
