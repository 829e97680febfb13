"""Tables of scores with bootstrap intervals: of samples, yes or no, several labels, masks, patches, sizes."""

from eolab.evaluation.binary import BINARY_STATISTICS, binary_scores
from eolab.evaluation.calibration import calibrated, label_calibration, label_temperatures
from eolab.evaluation.detection import patch_detection
from eolab.evaluation.distributions import distributions
from eolab.evaluation.implied import implied_landslide_f1
from eolab.evaluation.labels import (
    co_occurrence,
    common_threshold,
    label_confusion,
    label_table,
    label_thresholds,
)
from eolab.evaluation.maps import MAP_STATISTICS, map_scores
from eolab.evaluation.masks import MASK_STATISTICS, mask_scores, pooled
from eolab.evaluation.multilabel import MULTILABEL_STATISTICS, multilabel_scores
from eolab.evaluation.sizes import EDGES_PX, score_by_size
from eolab.evaluation.tables import (
    STATISTICS,
    class_table,
    join_scores,
    named,
    nested,
    of_run,
    readable,
    score_table,
)

__all__ = [
    "BINARY_STATISTICS",
    "EDGES_PX",
    "MAP_STATISTICS",
    "MASK_STATISTICS",
    "MULTILABEL_STATISTICS",
    "STATISTICS",
    "binary_scores",
    "calibrated",
    "class_table",
    "co_occurrence",
    "common_threshold",
    "distributions",
    "implied_landslide_f1",
    "join_scores",
    "label_calibration",
    "label_confusion",
    "label_table",
    "label_temperatures",
    "label_thresholds",
    "map_scores",
    "mask_scores",
    "multilabel_scores",
    "named",
    "nested",
    "of_run",
    "patch_detection",
    "pooled",
    "readable",
    "score_by_size",
    "score_table",
]
