"""What is learned: one way to fit, predict and load for every task.

============================= ====================================== =====================================
task                          is learned                             label in the store
============================= ====================================== =====================================
``series_classification``     pixel series → class                   () class index, 255 = not known
``yearly_classification``     pixel series of years → class a year   (Y,) class index, 255 = not known
``image_classification``      image → one label                      () class index, 255 = not known
``multilabel_classification`` image → several labels                 (K,) 0 or 1
``segmentation``              image → mask                           (H, W) class index, 255 = not known
``regression``                image → value per pixel                (H, W) or (H, W, K) float, NaN = none
``series_segmentation``       image series → mask                    (H, W) class index, 255 = not known
``sequence_classification``   image sequence → label per step        in the sequences
============================= ====================================== =====================================

In a notebook::

    tasks.check("segmentation", "unet", training=training)   # first, before anything that takes time
    fitted = tasks.fit("segmentation", "unet", store, rows, folder=run.folder, training=training)
    found = tasks.predict(fitted, store, rows["test"], run.path("probabilities"), "test")
    found["mask"]                                       # (N, H, W), a memory map
    fitted = tasks.load(run.folder)                     # in another notebook: nothing else is needed

    tasks.fit("series_classification", "lstm", store, rows, outputs=12, folder=…)
    tasks.fit("yearly_classification", "lstm", GroupedStore(store, "pixel", "year"), …,
              loss={"ce": 1, "change": 0.5})
    tasks.fit("image_classification", "resnet18_patch", store, rows, outputs=10, folder=…)
    tasks.fit("multilabel_classification", "resnet18_fusion", store, rows, folder=…,
              channels={"image": ["B04", "B03", "B02"], "radar": None})
    tasks.fit("regression", "unet", store, rows, folder=…, loss="huber")
    tasks.fit("series_segmentation", "utae_mask", store, rows, outputs=12, augmentation=["rotate", "flip"], …)
    tasks.fit("sequence_classification", "convlstm", {"S1": radar, "S2": optical}, sequences, folder=…,
              channels={"S1": ["VH"], "S2": ["B04", "B03"]})

Names load their module when they are used, so that what needs no network does not load Keras.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from eolab.tasks.channels import Channels, described, read, select
from eolab.tasks.task import Task, get, names

if TYPE_CHECKING:
    from eolab.tasks.engine import Networks, build, check, fit, learning_rates
    from eolab.tasks.fitted import Fitted, load, predict

_HOMES = {
    "fitted": ("Fitted", "load", "predict"),
    "engine": ("Networks", "build", "check", "fit", "learning_rates"),
}


def __getattr__(name: str) -> Any:
    """Return a function or class that needs Keras, its module loaded now."""
    for module, held in _HOMES.items():
        if name in held:
            return getattr(import_module(f"eolab.tasks.{module}"), name)
    if name in ("baselines", "continual", "pretraining"):
        return import_module(f"eolab.tasks.{name}")
    raise AttributeError(f"module 'eolab.tasks' has no attribute {name!r}")
