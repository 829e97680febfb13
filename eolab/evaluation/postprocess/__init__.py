"""From probabilities to masks: thresholds, morphology, votes, test-time augmentation, calibration.

All functions take landslide probabilities (N, H, W) of N patches, float16 or float32, as arrays or memory
maps, which are read a few patches at a time; choices belong on validation patches.
"""

from eolab.evaluation.postprocess.averaging import multi_angle, vote
from eolab.evaluation.postprocess.calibration import (
    apply_temperature,
    calibration_table,
    expected_calibration_error,
    fit_temperature,
)
from eolab.evaluation.postprocess.morphology import closing, opening
from eolab.evaluation.postprocess.thresholds import THRESHOLDS, choose_threshold, decide, threshold_curve

__all__ = [
    "THRESHOLDS",
    "apply_temperature",
    "calibration_table",
    "choose_threshold",
    "closing",
    "decide",
    "expected_calibration_error",
    "fit_temperature",
    "multi_angle",
    "opening",
    "threshold_curve",
    "vote",
]
