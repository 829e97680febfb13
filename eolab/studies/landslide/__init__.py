"""Domain functions of the landslide study (Landslide4Sense).

Landslides are marked pixel by pixel in patches of Sentinel-2 bands, slope and elevation (Ghorbanzadeh et al.
2022, https://doi.org/10.1109/TGRS.2022.3215209).
"""

from eolab.studies.landslide.baselines import BASELINES, PIXEL_CHANNELS
from eolab.studies.landslide.channels import GROUPS, SETS, STORED, select
from eolab.studies.landslide.explore import (
    along_numbers,
    channel_table,
    colours,
    component_sizes,
    draw_pixels,
    facts,
    patch_features,
    read_patches,
    usable,
)
from eolab.studies.landslide.folds import (
    each_fold,
    fold_scores,
    fold_summary,
    fold_table,
    score_baselines,
    train_fold,
)
from eolab.studies.landslide.patches import (
    augmented,
    demo_predict,
    detect_patches,
    example_patches,
    patch_score,
    rows_of,
    split_column,
    spread_rows,
)
from eolab.studies.landslide.report import arithmetic, leaderboard, parameter_counts, published_folds
from eolab.studies.landslide.samples import (
    CLASSES,
    FOLDS,
    fold_rows,
    labels,
    sample_producer,
    sample_table,
    store_arrays,
    store_metadata,
)
from eolab.studies.landslide.techniques import Technique, technique_table, threshold_table

__all__ = [
    "BASELINES",
    "CLASSES",
    "FOLDS",
    "GROUPS",
    "PIXEL_CHANNELS",
    "SETS",
    "STORED",
    "Technique",
    "along_numbers",
    "arithmetic",
    "augmented",
    "channel_table",
    "colours",
    "component_sizes",
    "demo_predict",
    "detect_patches",
    "draw_pixels",
    "each_fold",
    "example_patches",
    "facts",
    "fold_rows",
    "fold_scores",
    "fold_summary",
    "fold_table",
    "labels",
    "leaderboard",
    "parameter_counts",
    "patch_features",
    "patch_score",
    "published_folds",
    "read_patches",
    "rows_of",
    "sample_producer",
    "sample_table",
    "score_baselines",
    "select",
    "split_column",
    "spread_rows",
    "store_arrays",
    "store_metadata",
    "technique_table",
    "threshold_table",
    "train_fold",
    "usable",
]
