"""Losses and scores of class probabilities in which an ignore label counts nothing, for any backend.

Labels are class indices (B, …) with 255 for pixels that do not count, predictions are probabilities
(B, …, K); a patch's own probability (B, K) and a mask (B, H, W, K) alike. In a notebook::

    loss = losses.build("0.5*focal(gamma=2) + 0.5*iou")
    training.fit(model, …, loss=loss, metrics=[losses.PooledScore("f1")])

========== ===========================================================================================
ce         cross entropy
focal      focal loss: gamma, alpha (Lin et al. 2017)
log_cosh   log cosh of probability minus truth
iou        −ln of the soft intersection over union, or 1 minus it: form, smooth, background
tversky    Tversky index: alpha (missed), beta (false), smooth, background (Salehi et al. 2017)
lovasz     Lovász-softmax (Berman et al. 2018)
boundary   cross entropy with extra weight near boundaries: extra, radius
center     cross entropy with extra weight near the centres of regions: extra, depth
========== ===========================================================================================

For several labels a sample, labels and probabilities (B, K) (:mod:`eolab.training.losses.multilabel`)::

    loss = losses.build_multilabel("asymmetric(negative=4, shift=0.05)", smoothing=0.1)

========== ===========================================================================================
bce        binary cross entropy
focal      binary focal loss: gamma, alpha (Lin et al. 2017)
asymmetric asymmetric loss: positive, negative, shift (Ridnik et al. 2021)
========== ===========================================================================================
"""

from eolab.training.losses.base import PixelLoss
from eolab.training.losses.combined import WeightedSum
from eolab.training.losses.distribution import CrossEntropy, Focal, LogCosh
from eolab.training.losses.lovasz import Lovasz
from eolab.training.losses.multilabel import (
    Asymmetric,
    BinaryCrossEntropy,
    BinaryFocal,
    LabelLoss,
    build_multilabel,
    multilabel_names,
)
from eolab.training.losses.reading import build, names
from eolab.training.losses.region import IoU, Tversky
from eolab.training.losses.scores import MeanAveragePrecision, PooledAccuracy, PooledScore
from eolab.training.losses.weighted import Boundary, Center

__all__ = [
    "Asymmetric",
    "BinaryCrossEntropy",
    "BinaryFocal",
    "Boundary",
    "Center",
    "CrossEntropy",
    "Focal",
    "IoU",
    "LabelLoss",
    "LogCosh",
    "Lovasz",
    "MeanAveragePrecision",
    "PixelLoss",
    "PooledAccuracy",
    "PooledScore",
    "Tversky",
    "WeightedSum",
    "build",
    "build_multilabel",
    "multilabel_names",
    "names",
]
