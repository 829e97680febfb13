"""Figures of the studies: maps, time series, scores, training.

Each function draws into ``ax`` or into a new figure, changes no global setting, and returns the figure.
Quantities carry their unit, classes the colours of their class scheme.
"""

from eolab.plots.change import CHANGES, change_kinds, change_map, change_shares
from eolab.plots.flood import (
    acquisition_calendar,
    delays,
    images_per_scene,
    padding_effect,
    region_scores,
    rejected,
    scene_map,
    scene_strip,
    weights,
)
from eolab.plots.labels import (
    answered_gallery,
    class_frequencies,
    class_spectra,
    label_calibration,
    label_matrix,
    labels_per_patch,
    patch_gallery,
    seasons,
    split_frequencies,
)
from eolab.plots.maps import (
    TRUE_COLOUR,
    class_map,
    compare_maps,
    confidence_map,
    index_map,
    rgb,
    robust_limits,
    stretch_limits,
)
from eolab.plots.masks import channels, patches, predictions
from eolab.plots.patch_maps import activations, patch_maps
from eolab.plots.pictures import dates
from eolab.plots.samples import split_map
from eolab.plots.scores import (
    confusion,
    leakage,
    per_class,
    reliability,
    reliability_table,
    score_bars,
)
from eolab.plots.segmentation import (
    along_numbers,
    beside_published,
    calibration,
    distributions,
    folds,
    importance,
    portable,
    size_histograms,
    sizes,
    threshold_curve,
)
from eolab.plots.series import class_curves, class_statistics, dates_overview, pixel_series, twin_vs_real
from eolab.plots.style import OKABE_ITO, style
from eolab.plots.training import learning_curves, lr_range

__all__ = [
    "CHANGES",
    "OKABE_ITO",
    "TRUE_COLOUR",
    "acquisition_calendar",
    "activations",
    "along_numbers",
    "answered_gallery",
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
    "delays",
    "distributions",
    "folds",
    "images_per_scene",
    "importance",
    "index_map",
    "label_calibration",
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
    "predictions",
    "region_scores",
    "rejected",
    "reliability",
    "reliability_table",
    "rgb",
    "robust_limits",
    "scene_map",
    "scene_strip",
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
    "weights",
]
