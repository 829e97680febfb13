"""Averages of several predictions: of three resolutions, and of all rotations and flips of a patch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from eolab.core.errors import DataError
from eolab.evaluation import metrics


def multi_scale_average(outputs: Mapping[str, Any]) -> np.ndarray:
    """Average the masks of several resolutions at that of ``mask``.

    Each pixel of ``half`` stands for the 2 × 2 pixels it covers; of ``double`` the mean of the 2 × 2 pixels
    within a pixel counts.

    Args:
        outputs: Probabilities: ``mask`` (N, H, W), and ``half`` (N, H/2, W/2), ``double`` (N, 2H, 2W) or
            both; other names are not looked at.

    Returns:
        (N, H, W) float32.

    Raises:
        DataError: If there is nothing to average, or a shape does not fit.
    """
    given = {name: np.asarray(outputs[name]) for name in ("mask", "half", "double") if name in outputs}
    if "mask" not in given or len(given) < 2:
        raise DataError(
            f"Multi-scale averaging needs the probabilities 'mask' and 'half' or 'double', and found "
            f'{", ".join(outputs) or "none"}: predict with a network with the head "multi".'
        )
    count, height, width = given["mask"].shape
    expected = {"half": (count, height // 2, width // 2), "double": (count, 2 * height, 2 * width)}
    for name, values in given.items():
        if name != "mask" and values.shape != expected[name]:
            raise DataError(
                f"The probabilities {name!r} have shape {values.shape}: expected {expected[name]} beside a "
                f"mask of {given['mask'].shape}."
            )
    mean = np.empty((count, height, width), np.float32)
    for part in metrics.chunks((count, 2 * height, 2 * width)):
        members = [_at_full(name, values[part].astype(np.float32)) for name, values in given.items()]
        mean[part] = np.mean(members, axis=0)
    return mean


def _at_full(name: str, values: np.ndarray) -> np.ndarray:
    """Return probabilities at the resolution of ``mask``."""
    if name == "half":
        return values.repeat(2, axis=1).repeat(2, axis=2)  # (n, H/2, W/2) → (n, H, W)
    if name == "double":
        count, height, width = values.shape
        return values.reshape(count, height // 2, 2, width // 2, 2).mean((2, 4))  # (n, 2H, 2W) → (n, H, W)
    return values


def test_time_augmentation(predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray) -> np.ndarray:
    """Average the predictions of all rotations by right angles and their mirror images, turned back.

    A square patch has eight views; one that is not square has the four that keep its shape. The result no
    longer depends on how the patch is turned. Channels with a direction (a gradient along x) are turned as
    pictures only, their values stay: to such a network a turned patch looks unlike any that it has learned
    from, unless it was trained with :func:`eolab.training.augment.rotate`.

    Args:
        predict: Function of images (n, H, W, C) that returns probabilities (n, H, W).
        image: (n, H, W, C).

    Returns:
        (n, H, W) float32.

    Raises:
        DataError: If the image is not (n, H, W, C), or a prediction has another shape than its image.
    """
    if image.ndim != 4:
        raise DataError(f"The image has shape {image.shape}: expected patches (n, H, W, C).")
    turns = range(4) if image.shape[1] == image.shape[2] else (0, 2)
    total = np.zeros(image.shape[:3], np.float32)
    for turn in turns:
        turned = np.rot90(image, turn, axes=(1, 2))
        for mirror in (1, -1):  # step along x
            view = np.ascontiguousarray(turned[:, :, ::mirror])
            found = np.asarray(predict(view), np.float32)
            if found.shape != view.shape[:3]:
                raise DataError(
                    f"The prediction has shape {found.shape} for images of shape {view.shape}: expected "
                    f"one probability a pixel, {view.shape[:3]}."
                )
            total += np.rot90(found[:, :, ::mirror], -turn, axes=(1, 2))
    return total / np.float32(2 * len(turns))
