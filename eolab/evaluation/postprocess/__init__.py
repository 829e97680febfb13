"""From probabilities to decisions: thresholds, morphology, averages of predictions, calibration.

Functions take probabilities of N samples or patches, float16 or float32, as arrays or memory maps, which are
read a few patches at a time; choices belong on validation samples.
"""

from eolab.evaluation.postprocess.averaging import multi_scale_average, test_time_augmentation
from eolab.evaluation.postprocess.calibration import (
    apply_temperature,
    calibration_table,
    expected_calibration_error,
    fit_temperature,
    label_calibration,
)
from eolab.evaluation.postprocess.morphology import closing, opening
from eolab.evaluation.postprocess.thresholds import (
    HUNDREDTHS,
    best_threshold,
    choose_threshold,
    decide,
    threshold_curve,
)

__all__ = [
    "HUNDREDTHS",
    "apply_temperature",
    "best_threshold",
    "calibration_table",
    "choose_threshold",
    "closing",
    "decide",
    "expected_calibration_error",
    "fit_temperature",
    "label_calibration",
    "multi_scale_average",
    "opening",
    "test_time_augmentation",
    "threshold_curve",
]
