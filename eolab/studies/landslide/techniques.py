"""From stored probabilities to masks and alarms: the techniques of Le et al. (2023), detection of patches."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from eolab import evaluation
from eolab.core.errors import DataError, ParameterError, check_known, warn
from eolab.evaluation import metrics, postprocess
from eolab.studies.landslide.samples import CLASSES
from eolab.tasks.task import AVERAGED

Outputs = Mapping[str, np.ndarray]
RESOLUTIONS = ("mask", "half", "double")
MORPHOLOGY = {"none": None, "opening": postprocess.opening, "closing": postprocess.closing}
THRESHOLDS = (0.4, 0.5, 0.6, 0.75, 0.85, 0.9, 0.95, 0.99)  # those of Le et al.
STATISTICS = {"f1": "landslide.f1", "iou": "landslide.iou", "macro_f1": "macro.f1", "mean_iou": "macro.iou"}
DETECTION = tuple(
    f"landslide.{name}"
    for name in ("precision", "recall", "f1", "average_precision", "roc_auc", "support", "threshold")
)


@dataclass(frozen=True)
class Technique:
    """One combination.

    Attributes:
        multi_scale: Whether the masks of three resolutions are averaged (head "multi").
        test_time_augmentation: Whether the predictions of all rotations and flips are averaged.
        morphology: "none", "opening" or "closing" of the mask.
        size: Side of the structuring element in pixels.
        threshold: Probability from which a pixel is a landslide; 0 for the best on validation patches.
    """

    multi_scale: bool = False
    test_time_augmentation: bool = False
    morphology: str = "none"
    size: int = 3
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.threshold <= 1:
            raise ParameterError(
                f"threshold is {self.threshold}: expected a probability, or 0 for the best on validation "
                "patches."
            )
        check_known(self.morphology, MORPHOLOGY, f"There is no morphology {self.morphology!r}")

    def describe(self) -> str:
        """Return the combination in words."""
        steps = ["mean of three resolutions"] * self.multi_scale
        steps += ["test-time augmentation"] * self.test_time_augmentation
        steps += [self.morphology] * (self.morphology != "none")
        return " + ".join(steps) or "probabilities as they are"

    def probability(self, outputs: Outputs) -> np.ndarray:
        """Return the probability (N, H, W) before the threshold.

        Both together average the mean of the three resolutions and that of all rotations and flips, which
        has one resolution. Morphology changes the probabilities: at any threshold that is what it makes of
        the mask.

        Raises:
            DataError: If the run did not write what the technique needs.
        """
        scales = RESOLUTIONS if self.multi_scale else ("mask",)
        for name in (*scales, AVERAGED) if self.test_time_augmentation else scales:
            if name not in outputs:
                remedy = "test_time_augmentation=true" if name == AVERAGED else "options.head=multi"
                raise DataError(
                    f"The training run has no probabilities {name!r} (it has {', '.join(sorted(outputs))}): "
                    f"run 03_train_segmentation with {remedy}."
                )
        members = []
        if self.multi_scale:
            members.append(postprocess.multi_scale_average({name: outputs[name] for name in scales}))
        if self.test_time_augmentation:
            members.append(np.asarray(outputs[AVERAGED], np.float32))
        found = np.mean(members, axis=0) if members else np.asarray(outputs["mask"], np.float32)
        clean = MORPHOLOGY[self.morphology]
        return found if clean is None else clean(found, self.size)

    def choose(self, outputs: Outputs, truth: np.ndarray) -> float:
        """Return the threshold with the best landslide F1 of the final mask on validation patches.

        Raises:
            DataError: If no labelled pixel of them is a landslide.
        """
        if not (np.asarray(truth) == 1).any():
            raise DataError(
                "No labelled pixel of the validation patches is a landslide: there is nothing to choose a "
                "threshold by; take another fold, or give a threshold."
            )
        limits = None if self.morphology == "none" else (*np.arange(0.05, 1, 0.05).round(2), *THRESHOLDS)
        return float(postprocess.choose_threshold(self.probability(outputs), truth, thresholds=limits))

    def apply(self, outputs: Mapping[str, Outputs], validation_truth: np.ndarray) -> tuple[np.ndarray, float]:
        """Return the mask of the test patches and its threshold.

        Args:
            outputs: Probabilities by output, of "validation" and "test".
            validation_truth: Masks of the validation patches, which choose the threshold where it is 0.
        """
        limit = self.threshold or self.choose(outputs["validation"], validation_truth)
        return postprocess.decide(self.probability(outputs["test"]), limit), limit


def technique_table(
    outputs: Mapping[str, Outputs], truth: Mapping[str, np.ndarray], size: int = 3
) -> pd.DataFrame:
    """Return the published techniques and their combinations scored on the test patches.

    Techniques that need what the run did not write (the mean of three resolutions without them) are left out.

    Args:
        outputs: Probabilities by output, of "validation" and "test".
        truth: Masks of "validation" and "test".
        size: Side of the structuring element in pixels.

    Returns:
        A row a technique and threshold: technique, threshold, chosen on (where a choice was made), and the
        scores, pooled over pixels.
    """
    plain = Technique(size=size, threshold=0.5)
    written = set(outputs["test"])
    scales = (False, True) if set(RESOLUTIONS) <= written else (False,)
    rotations = (False, True) if AVERAGED in written else (False,)
    every = [
        replace(plain, multi_scale=scale, test_time_augmentation=rotated, morphology=morphology)
        for scale, rotated, morphology in itertools.product(scales, rotations, MORPHOLOGY)
    ]
    steps = [one for one in every if " + " not in one.describe()]  # one technique, or none
    steps += [replace(plain, threshold=t) for t in THRESHOLDS if t != 0.5]
    steps += [replace(one, threshold=0.0) for one in every]
    rows = []
    for one in steps:
        mask, limit = one.apply(outputs, truth["validation"])
        chosen = "" if one.threshold else "validation"
        about = {"technique": one.describe(), "threshold": limit, "chosen on": chosen}
        rows.append(about | _scores(mask, truth["test"]))
    return pd.DataFrame(rows)


def threshold_table(curve: pd.DataFrame, thresholds: Mapping[str, float]) -> pd.DataFrame:
    """Return the scores of a threshold curve at some thresholds: threshold chosen, threshold, scores.

    Args:
        curve: Result of :func:`eolab.evaluation.postprocess.threshold_curve` on the patches that are scored.
        thresholds: Threshold by where it was chosen.
    """
    rows = []
    for name, value in thresholds.items():
        row = curve.iloc[(curve["threshold"] - value).abs().argmin()]
        scores = {evaluation.title(*title.split(".")): row[name] for name, title in STATISTICS.items()}
        rows.append({"threshold chosen": name, "threshold": float(row["threshold"])} | scores)
    return pd.DataFrame(rows)


# === Patches ===


def patch_score(outputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return a score (N,) of "has a landslide": the patch head's, else the highest probability of a pixel."""
    if "patch" in outputs:
        return np.asarray(outputs["patch"], np.float32)
    return np.asarray(outputs["mask"]).max((1, 2)).astype(np.float32)


def are_mixed(tables: Mapping[str, pd.DataFrame]) -> bool:
    """Return whether each table of patches has some with landslides and some without; say where not."""
    same = [part for part, table in tables.items() if not {0, 1} <= {*table["label"]}]
    if same:
        warn(
            f"The patches of {', '.join(same)} all have landslides, or none has: which patches have one is "
            "neither learned nor scored."
        )
    return not same


def detect_patches(
    scores: Mapping[str, Mapping[str, np.ndarray]], has_landslide: Mapping[str, np.ndarray], **options: Any
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Score the detection of test patches at the threshold with the best F1 on validation patches.

    The thresholds tried lie between the validation scores: the highest of many pixels is nearly 1 in every
    patch, and thresholds in hundredths would not separate them.

    Args:
        scores: By model, the scores of the patches (N,) of "validation" and "test".
        has_landslide: Whether each patch (N,) of "validation" and "test" has a landslide.
        **options: Options of :func:`eolab.evaluation.score_table`: groups, baselines, replicates and seed.

    Returns:
        The score table, and the threshold of each model.
    """
    truth = {part: has.astype(np.uint8) for part, has in has_landslide.items()}
    limits = {
        name: postprocess.choose_threshold(one["validation"], truth["validation"], thresholds="midpoints")
        for name, one in scores.items()
    }
    test = {name: one["test"] for name, one in scores.items()}
    given: dict[str, Any] = {"class_names": CLASSES, "thresholds": limits, "statistics": DETECTION}
    return evaluation.score_table(test, truth["test"], **given, **options), limits


def _scores(mask: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return the scores of a mask by title."""
    matrix = metrics.confusions(truth, mask, 2).sum(0)
    values = metrics.values_of(matrix, list(STATISTICS.values()), CLASSES)
    return {evaluation.title(*name.split(".")): value for name, value in values.items()}
