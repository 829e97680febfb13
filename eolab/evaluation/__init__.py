"""Tables of scores with bootstrap intervals: of samples, yes or no, masks, patches, by size."""

from eolab.evaluation.binary import BINARY_STATISTICS, binary_scores
from eolab.evaluation.detection import patch_detection
from eolab.evaluation.distributions import distributions
from eolab.evaluation.implied import implied_landslide_f1
from eolab.evaluation.masks import MASK_STATISTICS, mask_scores, pooled
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
    "MASK_STATISTICS",
    "STATISTICS",
    "binary_scores",
    "class_table",
    "distributions",
    "implied_landslide_f1",
    "join_scores",
    "mask_scores",
    "named",
    "nested",
    "of_run",
    "patch_detection",
    "pooled",
    "readable",
    "score_by_size",
    "score_table",
]
