"""Figures of the studies: maps, time series, scores, training.

Each function draws into ``ax`` or into a new figure, changes no global setting, and returns the figure.
Quantities carry their unit, classes the colours of their class scheme.
"""

from eolab.plots.change import CHANGES, change_kinds, change_map, change_shares
from eolab.plots.counts import (
    along_numbers,
    class_frequencies,
    class_spectra,
    distributions,
    labels_per_patch,
    rejected,
    seasons,
    size_histograms,
    split_frequencies,
)
from eolab.plots.galleries import (
    activations,
    channels,
    patch_gallery,
    patch_maps,
    patches,
    prediction_gallery,
    predictions,
)
from eolab.plots.maps import (
    TRUE_COLOUR,
    class_map,
    compare_maps,
    confidence_map,
    dates,
    index_map,
    rgb,
    robust_limits,
    split_map,
    stretch_limits,
)
from eolab.plots.probabilities import calibration, reliability, threshold_curve
from eolab.plots.scores import (
    beside_published,
    confusion,
    folds,
    importance,
    label_matrix,
    leakage,
    padding_effect,
    per_class,
    portable,
    region_scores,
    score_bars,
    sizes,
)
from eolab.plots.series import class_curves, class_statistics, dates_overview, pixel_series, twin_vs_real
from eolab.plots.style import OKABE_ITO, style
from eolab.plots.training import learning_curves, lr_range

__all__ = [
    "CHANGES",
    "OKABE_ITO",
    "TRUE_COLOUR",
    "activations",
    "along_numbers",
    "beside_published",
    "calibration",
    "change_kinds",
    "change_map",
    "change_shares",
    "channels",
    "class_curves",
    "class_frequencies",
    "class_map",
    "class_spectra",
    "class_statistics",
    "compare_maps",
    "confidence_map",
    "confusion",
    "dates",
    "dates_overview",
    "distributions",
    "folds",
    "importance",
    "index_map",
    "label_matrix",
    "labels_per_patch",
    "leakage",
    "learning_curves",
    "lr_range",
    "padding_effect",
    "patch_gallery",
    "patch_maps",
    "patches",
    "per_class",
    "pixel_series",
    "portable",
    "prediction_gallery",
    "predictions",
    "region_scores",
    "rejected",
    "reliability",
    "rgb",
    "robust_limits",
    "score_bars",
    "seasons",
    "size_histograms",
    "sizes",
    "split_frequencies",
    "split_map",
    "stretch_limits",
    "style",
    "threshold_curve",
    "twin_vs_real",
]
