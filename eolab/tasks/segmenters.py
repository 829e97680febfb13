"""Networks that mark each pixel: fitted by name on the patches of a store, predictions kept on disk.

Example:
    >>> fitted = fit("unet", store, rows, channels, folder=run.folder, width_multiplier=0.125, head="multi")
    >>> found = predict(fitted, store, rows["test"], run.path("probabilities"), "test")
    >>> found["mask"].shape
    (760, 128, 128)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from eolab import models, training
from eolab.core.errors import ParameterError
from eolab.data.store import Store
from eolab.evaluation import postprocess
from eolab.models import heads
from eolab.prediction import probabilities
from eolab.tasks.fitted import Channels, Fitted, Prepare, Rows
from eolab.training import augment, losses
from eolab.training.batches import StoreBatches

Outputs = dict[str, np.ndarray]
CLASS = 1  # the class whose probability is kept: a landslide, a clearing


@dataclass(frozen=True)
class Segmenter(Fitted):
    """A fitted network.

    Attributes:
        name: Name of the architecture.
        network: The Keras model, with the weights of its best epoch.
        channels: What it reads.
        history: A row an epoch.
    """

    name: str
    network: Any
    channels: Channels
    history: pd.DataFrame

    def outputs(self, image: np.ndarray) -> Outputs:
        """Return the probability (n, h, w) of the class from stored images (n, H, W, all channels)."""
        found = self.network.predict_on_batch({"image": self.channels.assemble(image)})
        return {name: np.asarray(value)[..., CLASS] for name, value in found.items()}

    def mask(self, image: np.ndarray) -> np.ndarray:
        """Return the probability (n, H, W) at the resolution of the image, without computing the rest."""
        found = self._mask_alone.predict_on_batch({"image": self.channels.assemble(image)})
        return np.asarray(found["mask"])[..., CLASS]

    @cached_property
    def _mask_alone(self) -> Any:
        """The network up to its mask: a finer and a coarser one cost a third of a prediction."""
        if len(self.network.output) == 1:
            return self.network
        return keras.Model(self.network.input, {"mask": self.network.output["mask"]})


class Networks:
    """Networks that are built and compiled once and trained many times, fold by fold.

    TensorFlow takes seconds to turn a network into a graph. A network taken from here has the weights that a
    new one would have, and the graph of the first of its kind. It is one object: a new training overwrites
    the weights of the last, so predict with each before the next is fitted.
    """

    def __init__(self) -> None:
        self._made: dict[str, tuple[Any, list[np.ndarray]]] = {}

    def build(self, name: str, **options: Any) -> Any:
        """Return a network with its first weights; see :func:`eolab.models.build`."""
        key = repr((name, sorted((k, v) for k, v in options.items() if k not in ("mean", "std"))))
        if key not in self._made:
            new = models.build(name, **options)
            self._made[key] = new, [np.array(variable) for variable in new.variables]
        network, first = self._made[key]
        training.assign(network.variables, first)
        network.get_layer("normalize").put(options["mean"], options["std"])
        return network


def fit(
    name: str,
    store: Store,
    rows: Rows,
    channels: Channels,
    *,
    folder: str | Path,
    width_multiplier: float = 1.0,
    head: str = "mask",
    loss: str | Mapping[str, Any] = "ce",
    options: Mapping[str, Any] | None = None,
    augmentation: Sequence[str] = (),
    crop: int = 0,
    batch_size: int = 16,
    classes: int = 2,
    seed: int = 0,
    networks: Networks | None = None,
    **fit_options: Any,
) -> Segmenter:
    """Train a segmentation network and save it as ``model.keras``.

    With `crop` it is trained on squares cut out of the patches, a new place each epoch, validated on all
    squares of the validation patches, and then given whole patches: a step costs less, and there are more
    of them in the same time.

    Args:
        name: One of ``models.names("images", "mask")``.
        store: Patches with arrays ``image`` (H, W, all channels) and ``label`` (H, W), 255 = not known.
        rows: Rows of the store for "train" and "validation".
        channels: Which channels the network reads.
        folder: Where the model, its history and its checkpoint go.
        width_multiplier: Width of the network, as a multiple of the published one.
        head: "mask", "dual" (mask and patch) or "multi" (masks at three resolutions).
        loss: Of the masks, see :func:`eolab.training.losses.build`; the patch's loss is cross entropy.
        options: Further options of the architecture.
        augmentation: Names of :func:`eolab.training.augment.build`, applied to training patches.
        crop: Side in pixels of the squares that training sees, a divisor of H and W; 0 for whole patches.
        batch_size: Patches a step.
        classes: Number of classes K.
        seed: Of weights, order and augmentation.
        networks: Where several trainings share one compiled network; a new network by default.
        **fit_options: Of :func:`eolab.training.fit`.

    Raises:
        ParameterError: If a name or an option is unknown, or the network cannot be trained on crops.
    """
    _check_crop(crop, store.arrays_spec["image"].shape[0], augmentation)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    shape: dict[str, Any] = {
        "width_multiplier": width_multiplier,
        "head": head,
        "options": options,
        "classes": classes,
        "seed": seed,
        "make": networks.build if networks else models.build,
    }
    network = build(name, store, channels, size=crop or None, **shape)
    of_masks, batches = losses.build(loss), partial(_batches, store, channels, head, batch_size, seed, crop)
    history = training.fit(
        network,
        batches(rows["train"], augmentation),
        batches(rows["validation"]),
        folder=folder,
        loss={output: losses.build("ce") if output == "patch" else of_masks for output in network.output},
        metrics={"mask": [losses.PooledScore("f1", name="f1")]},
        **{"monitor": "val_mask_f1"} | fit_options,
    )
    if crop:
        network = _for_whole_patches(network, build(name, store, channels, **shape))
    network.save(folder / "model.keras")
    return Segmenter(name, network, channels, history)


def _check_crop(crop: int, side: int, augmentation: Sequence[str]) -> None:
    if "crop" in augmentation:
        raise ParameterError(
            "crop is no augmentation here, but a parameter of its own: crop=64, for example."
        )
    if crop < 0 or (crop and side % crop):
        raise ParameterError(f"crop is {crop}: expected 0, or a divisor of the patches' {side} pixels.")


def _for_whole_patches(trained: Any, network: Any) -> Any:
    """Return the network for whole patches with the weights of the one for crops."""
    try:
        network.set_weights(trained.get_weights())
    except ValueError as error:
        raise ParameterError(
            f"{network.name}: its weights depend on the size of the image; train it with crop=0."
        ) from error
    return network


def build(
    name: str,
    store: Store,
    channels: Channels,
    *,
    width_multiplier: float = 1.0,
    head: str = "mask",
    options: Mapping[str, Any] | None = None,
    classes: int = 2,
    seed: int = 0,
    size: int | None = None,
    make: Callable[..., Any] = models.build,
) -> Any:
    """Return an untrained network for the patches of a store, their statistics inside; see :func:`fit`.

    It takes images of `size` pixels, whole patches by default, and `make` builds it.
    """
    height, width = (size, size) if size else store.arrays_spec["image"].shape[:2]
    return make(
        name,
        height=height,
        width=width,
        channels=len(channels.names),
        outputs=classes,
        mean=channels.mean,
        std=channels.std,
        seed=seed,
        width_multiplier=width_multiplier,
        head=head,
        **(options or {}),
    )


def load(folder: str | Path, name: str, channels: Channels) -> Segmenter:
    """Return the network that :func:`fit` saved, for prediction."""
    network = models.load(Path(folder) / "model.keras", compiled=False)
    return Segmenter(name, network, channels, pd.DataFrame())


def predict(
    fitted: Segmenter,
    store: Store,
    rows: np.ndarray,
    folder: str | Path,
    part: str,
    *,
    angles: bool = False,
    batch_size: int = 16,
    progress: bool = True,
) -> Outputs:
    """Write the probabilities of some patches, so that nothing after needs the network.

    Args:
        fitted: The network.
        store: The patches.
        rows: Rows of the store, N of them.
        folder: Where ``<part>_<output>.npy`` go, float16.
        part: What the rows are, for example "test".
        angles: Whether to write ``angles`` too: the mean over all rotations and flips of a patch.
        batch_size: Patches computed at once.
        progress: Whether to show progress.

    Returns:
        Memory maps by output: ``mask`` (N, H, W) and, with the heads that have them, ``half``
        (N, H/2, W/2), ``double`` (N, 2H, 2W) and ``patch`` (N,).
    """

    def compute(image: np.ndarray) -> Outputs:
        found = fitted.outputs(image)
        return found | ({"angles": postprocess.multi_angle(fitted.mask, image)} if angles else {})

    return probabilities.write(compute, store, rows, folder, part, batch_size=batch_size, progress=progress)


def _batches(
    store: Store,
    channels: Channels,
    head: str,
    batch_size: int,
    seed: int,
    crop: int,
    rows: np.ndarray,
    augmentation: Sequence[str] | None = None,
) -> StoreBatches:
    """Return batches of patches; those for training (with a list of augmentations) are shuffled."""
    change: Any = None
    if augmentation is not None:
        steps = (["crop"] if crop else []) + list(augmentation)
        change = augment.build(steps, {"crop": {"size": crop}} if crop else None) if steps else None
    elif crop:
        change = _Tiles(crop)
    return StoreBatches(
        store,
        rows,
        batch_size,
        seed=seed,
        shuffle=augmentation is not None,
        inputs=("image",),
        prepare=Prepare(channels),
        augment=change,
        targets=partial(heads.targets, head=head),
        ignore="keep",
    )


@dataclass(frozen=True)
class _Tiles:
    """Cuts patches into squares; the draws of training are not needed."""

    size: int

    def __call__(self, inputs: dict[str, np.ndarray], label: np.ndarray, rng: Any) -> tuple[Any, np.ndarray]:
        return augment.tiles(inputs, label, self.size)
