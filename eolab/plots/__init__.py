"""Figures of the studies: maps, time series, scores, training.

Each function draws into a new figure, or into ``ax`` where it takes one, changes no global setting, and
returns the figure. Quantities carry their unit, classes the colours of their class scheme.
"""

from eolab.plots.counts import (
    along_numbers,
    class_frequencies,
    class_spectra,
    count_histogram,
    distributions,
    labels_per_patch,
    rejected,
    seasons,
    size_histograms,
    split_frequencies,
)
from eolab.plots.curves import calibration, label_curves, learning_curves, lr_range, threshold_curve
from eolab.plots.flows import sankey
from eolab.plots.galleries import (
    activations,
    channels,
    map_gallery,
    patch_gallery,
    patch_maps,
    patches,
    prediction_gallery,
    predictions,
    true_colour,
    value_maps,
)
from eolab.plots.maps import (
    TRUE_COLOUR,
    change_map,
    class_map,
    compare_maps,
    confidence_map,
    dates,
    index_map,
    rgb,
    robust_limits,
    split_map,
)
from eolab.plots.periods import period_scores
from eolab.plots.points import accuracy_by_bins, class_areas, contact_sheet, sample_map, write_chips
from eolab.plots.regions import region_map
from eolab.plots.scores import (
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
from eolab.plots.searches import importances, parallel_coordinates
from eolab.plots.series import (
    acquisitions,
    class_curves,
    class_statistics,
    dates_overview,
    example_series,
    pixel_series,
    season_curves,
    twin_vs_real,
)
from eolab.plots.style import style
