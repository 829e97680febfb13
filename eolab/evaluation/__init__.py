"""Scores of every task in one long table with bootstrap intervals, thresholds, calibration, views."""

from eolab.evaluation.bootstrap import Interval
from eolab.evaluation.distributions import distributions
from eolab.evaluation.labels import wrong_labels
from eolab.evaluation.metrics import implied_f1
from eolab.evaluation.multilabel import co_occurrence, label_confusion
from eolab.evaluation.paired import gains, gains_said, mean_gain, paired_gains, read_drawn, write_drawn
from eolab.evaluation.sizes import EDGES_PX, score_by_size
from eolab.evaluation.summary import Summary, main_statistic, summary
from eolab.evaluation.tables import (
    CLASS_STATISTICS,
    LABEL_STATISTICS,
    class_table,
    in_words,
    join_scores,
    nested,
    of_run,
    paths,
    pick,
    readable,
    score_table,
    title,
)
