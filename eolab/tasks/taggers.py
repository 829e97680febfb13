"""Networks that give several labels to a patch: fitted by name on a store, predictions kept on disk.

Example:
    >>> fitted = fit("resnet18_patch", store, rows, folder=run.folder, loss="asymmetric", epochs=20)
    >>> predict(fitted, store, rows["test"], run.path("probabilities"), "test").shape
    (125866, 19)
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab import models, training
from eolab.core.errors import DataError, ParameterError, StoreError, did_you_mean
from eolab.core.files import write_atomically
from eolab.data import splits
from eolab.data.store import Store
from eolab.models import weights as published
from eolab.prediction import probabilities
from eolab.tasks.fitted import Channels, Fitted, Prepare, Rows
from eolab.training import augment, losses
from eolab.training.batches import StoreBatches

OUTPUT = "labels"  # name of the files of probabilities
BANDS_FILE = "bands.json"  # beside the model: what it reads of a stored image
RADAR_DIM = "polarisation"


@dataclass(frozen=True)
class Bands:
    """Bands of a stored image, by name.

    Attributes:
        names: Name of each of C bands.
        mean: Mean of each over the training patches.
        std: Standard deviation likewise.
        stored: Names of all bands of a stored image, in its order.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    stored: tuple[str, ...]

    def assemble(self, image: np.ndarray) -> np.ndarray:
        """Return the bands (..., C) of stored images (..., all bands), their type kept.

        Raises:
            DataError: If the images have another number of bands.
        """
        image = np.asarray(image)
        if image.shape[-1:] != (len(self.stored),):
            raise DataError(
                f"The image has the shape {image.shape}, expected (..., {len(self.stored)}): give all bands "
                "of the store, the network takes its own."
            )
        if self.names == self.stored:
            return image
        return image.take([self.stored.index(name) for name in self.names], axis=-1)


def select(store: Store, train_rows: Any, bands: Sequence[str] | None = None) -> Bands:
    """Choose bands of a store, with the statistics of its training patches alone.

    Args:
        store: Store whose ``image`` has named bands.
        train_rows: Rows of the training patches.
        bands: Names; all bands by default.

    Raises:
        StoreError: If the bands of the store have no names.
        ParameterError: If a band is unknown or named twice, there is none, or there is no training row.
    """
    stored = _band_names(store)
    names = stored if bands is None else tuple(bands)
    for name in names:
        if name not in stored:
            raise ParameterError(f"The store has no band {name!r}: {did_you_mean(name, stored)}")
    if not names or len(set(names)) < len(names):
        raise ParameterError(f"bands is {list(names)}: name some of {', '.join(stored)}, each once.")
    if not np.size(train_rows):
        raise ParameterError("There are no training rows: bands need the statistics of some patches.")
    table = store.statistics_over(np.unique(train_rows)).loc[list(names)]
    mean, std = (tuple(table[column].astype(float)) for column in ("mean", "std"))
    return Bands(names, mean, std, stored)


@dataclass(frozen=True)
class Tagger(Fitted):
    """A fitted network.

    Attributes:
        name: Name of the architecture.
        network: The Keras model, with the weights of its best epoch.
        bands: What it reads of an image.
        history: A row an epoch.
        radar: Whether it reads radar images too.
    """

    name: str
    network: Any
    bands: Channels
    history: pd.DataFrame
    radar: bool = False

    def probabilities(self, image: np.ndarray, radar: np.ndarray | None = None) -> np.ndarray:
        """Return the probability of each label.

        Args:
            image: Stored images (n, H, W, all bands).
            radar: Stored radar images (n, H, W, 2), where the network reads them.

        Returns:
            float32 (n, K).

        Raises:
            DataError: If the network reads radar images and none are given.
        """
        inputs = {"image": self.bands.assemble(image)}
        if self.radar:
            if radar is None:
                raise DataError(f"{self.name} reads radar images too: give radar (n, H, W, 2).")
            inputs["radar"] = np.asarray(radar)
        return np.asarray(self.network.predict_on_batch(inputs), np.float32)


def fit(
    name: str,
    store: Store,
    rows: Rows,
    *,
    folder: str | Path,
    bands: Sequence[str] | None = None,
    radar: bool = False,
    classes: int | None = None,
    loss: str | Mapping[str, Any] | losses.Loss = "bce",
    smoothing: float = 0.0,
    weighted: bool = False,
    augmentation: Sequence[str] = (),
    augmentation_options: Mapping[str, Mapping[str, Any]] | None = None,
    balanced: bool = False,
    weights: str | Path = "",
    weights_scale: float | None = None,
    batch_size: int = 32,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    make: Callable[..., Any] = models.build,
    **fit_options: Any,
) -> Tagger:
    """Train a network of several labels and save it as ``model.keras``.

    The history has ``average_precision`` (:class:`eolab.training.losses.MeanAveragePrecision`) beside the
    loss.

    Args:
        name: One of ``models.names("images", "labels")``.
        store: Patches with arrays ``image`` (H, W, bands), ``label`` (K,), 1 where a patch has the class, and
            ``radar`` (H, W, 2) where it is read.
        rows: Rows of the store for "train" and "validation".
        folder: Where the model, its history and its checkpoint go.
        bands: Names of the bands that the network reads; all by default.
        radar: Whether it reads radar images too; an architecture without that input refuses.
        classes: Number of classes K, those of the store by default.
        loss: What :func:`eolab.training.losses.build` takes, for example a name.
        smoothing: Of the labels, where the loss is no loss object.
        weighted: Whether a yes of a rare class weighs more in the loss, where the loss is no loss object; see
            :func:`eolab.data.splits.positive_weights`.
        augmentation: Names of :func:`eolab.training.augment.build`, applied to training patches.
        augmentation_options: Their options, for example ``{"mixup": {"alpha": 0.4}}``.
        balanced: Whether patches of rare classes are drawn more often; see
            :func:`eolab.data.splits.balanced_rows`. The draw stays the same over the epochs.
        weights: File of published weights that a ResNet begins with; see
            :func:`eolab.models.weights.build`.
        weights_scale: What the published network divided pixels by, as there.
        batch_size: Patches a step.
        options: Further options of the architecture.
        seed: Of weights, order, augmentation and draw.
        make: Builds the network.
        **fit_options: Of :func:`eolab.training.fit`; the best epoch is that of the lowest ``val_loss``, or
            of the highest ``monitor="val_average_precision"``.

    Raises:
        ParameterError: If a name or an option is unknown, or does not fit the store.
        DataError: If the file of weights is missing, damaged or of another network.
    """
    if "class_weights" in fit_options:
        raise ParameterError(
            "Patches with several labels have no class of their own: weigh the classes in the loss, for "
            "example loss=losses.build('bce', positive_weights=…)."
        )
    chosen = select(store, rows["train"], bands)
    of_labels = _loss(loss, smoothing, store.arrays["label"][rows["train"]] if weighted else None)
    if weights:
        make = partial(published.build, weights=weights, band_names=chosen.names, scale=weights_scale or None)
    change = augment.build(augmentation, augmentation_options) if augmentation else None
    network = build(
        name,
        store,
        rows["train"],
        chosen,
        radar=radar,
        classes=classes,
        options=options,
        seed=seed,
        make=make,
    )
    train = rows["train"]
    if balanced:
        train = splits.balanced_rows(store.arrays["label"], train, seed=seed)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    history = training.fit(
        network,
        _batches(store, train, chosen, radar, batch_size, seed=seed, shuffle=True, augment=change),
        _batches(store, rows["validation"], chosen, radar, batch_size),
        folder=folder,
        loss=of_labels,
        **{"metrics": [losses.MeanAveragePrecision(network.output_shape[-1])]} | fit_options,
    )
    network.save(folder / "model.keras")
    write_atomically(folder / BANDS_FILE, json.dumps(asdict(chosen)).encode())
    return Tagger(name, network, chosen, history, radar)


def build(
    name: str,
    store: Store,
    train_rows: Any,
    bands: Channels,
    *,
    radar: bool = False,
    classes: int | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    make: Callable[..., Any] = models.build,
) -> Any:
    """Return an untrained network for the patches of a store, their statistics inside; see :func:`fit`.

    Raises:
        ParameterError: If the number of classes is not that of the store, or the network and `radar` do not
            fit.
    """
    held = store.arrays_spec["label"].shape
    if len(held) != 1 or classes not in (None, held[0]):
        raise ParameterError(f"classes is {classes}, and the labels of the store have the shape {held}.")
    height, width = store.arrays_spec["image"].shape[:2]
    network = make(
        name,
        height=height,
        width=width,
        channels=len(bands.names),
        outputs=held[0],
        activation="sigmoid",
        head="labels",
        mean=bands.mean,
        std=bands.std,
        seed=seed,
        **(_radar_statistics(store, train_rows) if radar else {}),
        **(options or {}),
    )
    if ("radar" in network.input) != radar:
        reads = "reads radar images" if not radar else "reads no radar images"
        raise ParameterError(f"Model {name!r} {reads}: radar must be {not radar}.")
    return network


def learning_rates(
    name: str,
    store: Store,
    rows: np.ndarray,
    *,
    bands: Sequence[str] | None = None,
    radar: bool = False,
    loss: str | Mapping[str, Any] | losses.Loss = "bce",
    batch_size: int = 32,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    make: Callable[..., Any] = models.build,
    **test_options: Any,
) -> pd.DataFrame:
    """Return the range test of a network on some rows; see :func:`eolab.training.range_test`."""
    chosen = select(store, rows, bands)
    network = build(name, store, rows, chosen, radar=radar, options=options, seed=seed, make=make)
    batches = _batches(store, rows, chosen, radar, batch_size, seed=seed, shuffle=True)
    return training.range_test(network, batches, loss=_loss(loss), **test_options)


def load(folder: str | Path, name: str, store: Store) -> Tagger:
    """Return the network that :func:`fit` saved, for prediction.

    Args:
        folder: Folder of the fit.
        name: Name of the architecture.
        store: Store with the bands of the one it was fitted on.

    Raises:
        DataError: If the folder has no such network, or the store has other bands.
    """
    file = Path(folder) / BANDS_FILE
    if not file.is_file():
        raise DataError(f"{file}: expected the bands of a fitted network, found no file: fit it first.")
    bands = Bands(**{key: tuple(values) for key, values in json.loads(file.read_text()).items()})
    stored = _band_names(store)
    if stored != bands.stored:
        raise DataError(
            f"{store.path} has the bands {', '.join(stored)}; the network in {folder} was fitted on a store "
            f"with {', '.join(bands.stored)}: give a store of these."
        )
    network = models.load(Path(folder) / "model.keras", compiled=False)
    return Tagger(name, network, bands, pd.DataFrame(), "radar" in network.input)


def predict(
    fitted: Tagger,
    store: Store,
    rows: np.ndarray,
    folder: str | Path,
    part: str,
    *,
    batch_size: int = 64,
    progress: bool = True,
) -> np.ndarray:
    """Write the probabilities of some patches, so that nothing after needs the network.

    Args:
        fitted: The network.
        store: The patches.
        rows: Rows of the store, N of them.
        folder: Where ``<part>_labels.npy`` goes, float32.
        part: What the rows are, for example "test".
        batch_size: Patches computed at once.
        progress: Whether to show progress.

    Returns:
        Memory map (N, K); ``probabilities.read(folder, part)["labels"]`` opens it again.
    """

    def compute(*arrays: np.ndarray) -> dict[str, np.ndarray]:
        return {OUTPUT: fitted.probabilities(*arrays)}

    written = probabilities.write(
        compute,
        store,
        rows,
        folder,
        part,
        batch_size=batch_size,
        progress=progress,
        inputs=_inputs(fitted.radar),
        dtype=np.float32,
    )
    return written[OUTPUT]


def _batches(
    store: Store, rows: np.ndarray, bands: Channels, radar: bool, batch_size: int, **options: Any
) -> StoreBatches:
    return StoreBatches(
        store,
        rows,
        batch_size,
        inputs=_inputs(radar),
        prepare=Prepare(bands),
        ignore="none",
        **options,
    )


def _band_names(store: Store) -> tuple[str, ...]:
    stored = tuple(store.metadata.get("coords", {}).get("band", ()))
    if not stored:
        raise StoreError(f"{store.path} does not name its bands: write it again with 02_preprocess.")
    return stored


def _inputs(radar: bool) -> list[str]:
    return ["image", "radar"] if radar else ["image"]


def _loss(
    loss: str | Mapping[str, Any] | losses.Loss, smoothing: float = 0.0, labels: np.ndarray | None = None
) -> Any:
    """Return a loss; a name gets the smoothing, and the weights of rare classes in training labels (N, K)."""
    if isinstance(loss, str | Mapping):
        rare = {} if labels is None else {"positive_weights": splits.positive_weights(labels)}
        return losses.build(loss, smoothing=smoothing, **rare)
    if smoothing or labels is not None:
        raise ParameterError(
            "smoothing and weighted are options of the loss itself where a loss object is given."
        )
    return loss


def _radar_statistics(store: Store, rows: Any) -> dict[str, Any]:
    """Return the options of a network that reads radar images."""
    if "radar" not in store.arrays_spec:
        raise ParameterError(
            f"{store.path} has no radar images: write it with radar, or leave radar=True out."
        )
    table = store.statistics_over(np.unique(rows), "radar", RADAR_DIM)
    return {f"radar_{column}": tuple(table[column].astype(float)) for column in ("mean", "std")}
