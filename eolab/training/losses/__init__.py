"""Losses by name, and scores of an epoch, in which what is not known counts nothing; for any backend.

A loss is a name, or a weighted sum given as a mapping. In a notebook::

    loss = losses.build({"focal": {"weight": 0.5, "gamma": 2}, "iou": 0.5})
    training.fit(model, …, loss=loss, metrics=[losses.PooledScore("f1")])

Classes: indices (B, …) with 255 for pixels to ignore, probabilities (B, …, K), or (B, …, 1) of two classes.

============== =======================================================================================
ce             cross entropy
focal          focal loss: gamma, alpha (Lin et al. 2017)
log_cosh       log cosh of probability minus truth
iou            −ln of the soft intersection over union, or 1 minus it: form, smooth, background
tversky        Tversky index: alpha (missed), beta (false), smooth, background (Salehi et al. 2017)
lovasz         Lovász-softmax (Berman et al. 2018)
boundary       cross entropy with extra weight near boundaries: extra, radius
center         cross entropy with extra weight near the centres of regions: extra, depth
============== =======================================================================================

Labels: several labels a sample, labels and probabilities (B, K), options smoothing, class_weights and
positive_weights.

============== =======================================================================================
bce            binary cross entropy
binary_focal   focal loss of each label: gamma, alpha (Lin et al. 2017)
asymmetric     asymmetric loss: positive, negative, shift (Ridnik et al. 2021)
============== =======================================================================================

Values: float labels (B, …) with NaN for pixels to ignore, predictions (B, …) or (B, …, 1).

============== =======================================================================================
mse            mean squared error
mae            mean absolute error
huber          Huber loss: delta (Huber 1964)
continuous_iou 1 minus the soft intersection over union of values from 0 up: smooth
============== =======================================================================================
"""

from eolab.training.losses.base import Loss
from eolab.training.losses.registry import WeightedSum, build, is_sum, names
from eolab.training.losses.scores import MeanAveragePrecision, PooledAccuracy, PooledScore, ValueScore

__all__ = [
    "Loss",
    "MeanAveragePrecision",
    "PooledAccuracy",
    "PooledScore",
    "ValueScore",
    "WeightedSum",
    "build",
    "is_sum",
    "names",
]
