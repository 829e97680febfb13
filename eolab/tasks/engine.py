"""Train the networks of every task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab import models
from eolab import training as trainer
from eolab.core.errors import DataError, ParameterError, check_all, check_known, warn
from eolab.data.schemes import IGNORE
from eolab.data.sequences import ImageSequence
from eolab.data.splits import balance
from eolab.models import heads
from eolab.models import weights as published
from eolab.tasks.channels import Channels, Selection, select_all
from eolab.tasks.fitted import Fitted, save
from eolab.tasks.task import Task, check_class_weights, get
from eolab.training import augment, contrastive, freezing, losses
from eolab.training.batches import Batches, SequenceSamples, StoreSamples, balanced_weights
from eolab.training.fastest import compile_options

CONTRASTED = ("series", "image_series")  # inputs of networks that can begin with a pretrained encoder


class Networks:
    """Networks that are built and compiled once and trained many times, fold by fold.

    TensorFlow takes seconds to turn a network into a graph. A network taken from here has the weights that a
    new one would have, and the graph of the first of its kind. It is one object: a new training overwrites
    the weights of the last, so predict with each before the next is fitted.
    """

    def __init__(self) -> None:
        self._made: dict[str, tuple[Any, list[np.ndarray]]] = {}

    def build(self, name: str, use: str = "", /, **options: Any) -> Any:
        """Return a network with its first weights; see :func:`eolab.models.build`.

        Args:
            name: Name of the architecture.
            use: What it is used for, where networks that are built alike are trained in other ways.
            **options: Its options.
        """
        key = repr((name, use, sorted((k, v) for k, v in options.items() if k not in ("mean", "std"))))
        if key not in self._made:
            new = models.build(name, **options)
            self._made[key] = new, [np.array(variable) for variable in new.variables]
        network, first = self._made[key]
        trainer.assign(network.variables, first)
        network.get_layer("normalize").put(options["mean"], options["std"])
        return network


def fit(
    task: str | Task,
    model: str,
    store: Any,
    rows: Mapping[str, Any],
    *,
    folder: str | Path,
    channels: Selection = None,
    outputs: int | None = None,
    options: Mapping[str, Any] | None = None,
    loss: Any = None,
    loss_options: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    augmentation: Sequence[str] = (),
    augmentation_options: Mapping[str, Mapping[str, Any]] | None = None,
    crop: int = 0,
    oversample: bool = False,
    sample_weights: Any = None,
    weights: str | Path | Mapping[str, Any] = "",
    seed: int = 0,
    make: Callable[..., Any] = models.build,
    **running: Any,
) -> Fitted:
    """Train a network and save it, with all that prediction needs, as ``model.keras`` and ``task.json``.

    With `crop` it is trained on squares cut out of the images, a new place each epoch, validated on all
    squares of the validation images, and then given whole images: a step costs less, and there are more of
    them in the same time.

    Args:
        task: What is learned, one of :func:`eolab.tasks.names`.
        model: Name of the architecture, one of those that read what the task gives.
        store: The samples; for sequences a store by sensor.
        rows: Rows of the store for "train" and "validation"; for sequences the sequences themselves.
        folder: Where the model, its history and its checkpoint go.
        channels: Channels that the network reads: names, a selection, or either by input such as
            ``{"image": None, "radar": None}``; None for all.
        outputs: Number of classes or values K; by default that of the store, else 2.
        options: Options of the architecture, its ``head`` among them.
        loss: Loss as :func:`eolab.training.losses.build` takes it; that of the task by default.
        loss_options: Options that every part of the loss takes, for example ``{"smoothing": 0.1}``.
        training: Options of the training, see :func:`eolab.training.fit`; also ``batch_size``; ``min_steps``,
            the least steps an epoch, met by smaller batches where samples are few; ``steps``, batches an
            epoch in place of a pass, see :class:`eolab.training.batches.Batches`; and ``class_weights``:
            "balanced" or a weight by class index, in training alone: validation weighs every class as it
            comes.
        augmentation: Names of :func:`eolab.training.augment.build`, applied to training samples.
        augmentation_options: Options of each, for example ``{"mixup": {"alpha": 0.4}}``.
        crop: Side in pixels of the squares that training sees, at most height and width; 0 for whole images.
        oversample: Whether samples with rare labels are drawn more often, the same draw in every epoch; see
            :func:`eolab.data.splits.balance.balanced_rows`.
        sample_weights: Weight of each of the rows for "train" in the loss, such as lower ones of old samples;
            1 by default.
        weights: File of published weights that a network of images begins with or its name in the catalogue,
            or either with options of :func:`eolab.models.weights.build`, such as
            ``{"weights": "resnet18_imagenet", "stem": "copy"}`` or ``{"weights": file, "scale": 10_000}``;
            for a network of pixel series or image series the file of an encoder that
            :mod:`eolab.tasks.pretraining` saved.
        seed: Seed of the weights, the order, the augmentation and the draw.
        make: Builds the network; :meth:`Networks.build` where several trainings share a compiled one.
        **running: Arguments of :func:`eolab.training.fit` that do not change the result: progress, resume,
            callbacks.

    Raises:
        ParameterError: If a name or an option is unknown, or does not fit the store.
        DataError: If the file of weights is missing, damaged or of another network, or a label is no class.
    """
    what = get(task)
    options = _options(what, options, rows["train"])
    settings = _settings(what, model, training)
    shared = make is not models.build
    if not shared:
        check(what, model, options=options, training=training)
    _check_weights(what, options["head"], settings.get("class_weights"))
    batch_size, class_weights = settings.pop("batch_size"), settings.pop("class_weights", None)
    batch_size = _smaller(batch_size, rows["train"], settings.pop("min_steps", None))
    steps = settings.pop("steps", None)
    if oversample and sample_weights is not None:
        raise ParameterError("sample_weights are of samples that come once each: leave oversample out.")
    change = _augmentation(augmentation, augmentation_options, crop, store)
    read = select_all(store, _rows_to_learn(rows["train"]), channels)
    make = _beginning(what, read, weights, make)
    new = partial(build, what, model, store, read, outputs=outputs, options=options, seed=seed, make=make)
    network = new(size=crop or None)
    data = _Data(what, store, read, network, options["head"], batch_size, seed)
    _check_labels(data, rows)
    weighing = _weighing(data, rows["train"], class_weights)
    given = loss_options or {}
    of_outputs = _loss(what, network, loss, **given, **weighing.get("loss", {}))
    chosen = rows["train"]
    if oversample:
        chosen = balance.balanced_rows(store.arrays["label"], chosen, seed=seed)
    weighed = {"class_weights": weighing.get("train"), "sample_weights": sample_weights}
    train = data.batches(chosen, change, shuffle=True, steps=steps, **weighed)
    tiles = augment.build(["tiles"], {"tiles": {"size": crop}}) if crop else None
    validation = data.batches(rows["validation"], tiles)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    judged, metrics = _loss(what, network, loss, **given), _metrics(what, network)
    history = trainer.fit(
        network,
        train,
        validation,
        folder=folder,
        loss=of_outputs,
        validation_loss=judged,
        metrics=metrics,
        **settings,
        **running,
    )
    if not shared:
        trainer.forget(network)
    history.attrs |= _against_constant(data, rows, history, judged, metrics, weighing)
    if crop:
        network = _for_whole_images(network, new())
    fitted = Fitted(what, model, network, read, history)
    save(fitted, folder)
    return fitted


def check(
    task: str | Task,
    model: str,
    *,
    options: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    augmentation: Sequence[str] = (),
    augmentation_options: Mapping[str, Mapping[str, Any]] | None = None,
    loss: Any = None,
    loss_options: Mapping[str, Any] | None = None,
    weights: str | Path | Mapping[str, Any] = "",
) -> None:
    """Refuse arguments of :func:`fit` with which no network can be trained, before anything is read.

    Args:
        task: What is learned, and so on as in :func:`fit`.
        model: Name of the architecture.
        options: Options of the architecture.
        training: Options of the training, also names of frozen layers.
        augmentation: Names of augmentations.
        augmentation_options: Options of each.
        loss: Loss.
        loss_options: Options of every part of the loss.
        weights: Published weights.

    Raises:
        ParameterError: If a name, an option, a number or a layer cannot be.
        DataError: If the file of weights is missing.
    """
    what = get(task)
    settings, options = _settings(what, model, training), _options(what, options)
    known = models.names(what.reads, options["head"])
    check_known(model, known, f"Task {what.name!r} has no model {model!r}")
    models.check_options(model, **{k: v for k, v in options.items() if k not in ("head", "activation")})
    _check_weights(what, options["head"], settings.get("class_weights"))
    augment.build(augmentation, augmentation_options)
    _of_task(what, loss, **(loss_options or {}))
    chosen = _published(what, weights)
    if chosen and what.reads == "images":
        published.find(chosen["weights"])
    elif chosen:
        models.load(chosen["weights"], compiled=False)
    if settings.get("freeze") or settings.get("thaw") or what.reads == "series":
        network = models.outline(model, **options)
        freezing.phases(network, settings["epochs"], settings.get("freeze"), settings.get("thaw"))


def build(
    task: str | Task,
    model: str,
    store: Any,
    channels: Mapping[str, Channels],
    *,
    outputs: int | None = None,
    options: Mapping[str, Any] | None = None,
    seed: int = 0,
    size: int | None = None,
    make: Callable[..., Any] = models.build,
) -> Any:
    """Return an untrained network for the samples of a store, the statistics of its channels inside.

    Args:
        task: What is learned.
        model: Name of the architecture.
        store: The samples; for sequences a store by sensor.
        channels: Channels of each input.
        outputs: Number of classes or values K; by default that of the store, else 2.
        options: Options of the architecture, its ``head`` among them.
        seed: Seed of the weights and the dropout.
        size: Side of the images in pixels; that of the stored images by default.
        make: Builds the network; :func:`eolab.models.build` by default.

    Raises:
        ParameterError: If the number of outputs is not that of the store, or the network reads other inputs.
    """
    what = get(task)
    options = _options(what, options)
    known = models.names(what.reads, options["head"])
    if make is models.build:
        check_known(model, known, f"Task {what.name!r} has no model {model!r}")
    network = make(
        model,
        outputs=_outputs(what, store, outputs),
        seed=seed,
        **_arguments(what, store, channels, size),
        **options,
    )
    expected = {name.lower() if what.reads == "sequences" else name for name in channels}
    reads = {name for name in network.input if name.split("_")[-1] not in ("valid", "day")}
    if reads != expected:
        raise ParameterError(
            f"Model {model!r} reads {', '.join(sorted(reads))}, and channels are given of "
            f"{', '.join(sorted(expected))}: give those of each input of the model."
        )
    return network


def _beginning(
    task: Task, channels: Mapping[str, Channels], weights: Any, make: Callable[..., Any]
) -> Callable[..., Any]:
    """Return the function that builds a network: that given, or one that puts published weights into it.

    Raises:
        ParameterError: If an option is unknown, or such a network cannot begin with published weights.
    """
    chosen = _published(task, weights)
    if not chosen:
        return make
    if task.reads in CONTRASTED:
        return partial(_pretrained, make=make, encoder=models.load(chosen["weights"], compiled=False))
    if make is not models.build:
        raise ParameterError(
            "weights are put into networks of images that eolab.models.build makes: leave them out, and let "
            "make put them in by eolab.models.weights.load."
        )
    return partial(published.build, band_names=channels["image"].names, **chosen)


def _pretrained(name: str, *, make: Callable[..., Any], encoder: Any, **options: Any) -> Any:
    """Return a network that begins with the weights of a pretrained encoder."""
    network = make(name, **options)
    contrastive.begin(network, encoder)
    return network


def _published(task: Task, weights: Any) -> Mapping[str, Any]:
    """Return the options that name published weights, none where there are none.

    Raises:
        ParameterError: If an option is unknown, or networks of the task cannot begin with them.
    """
    chosen = weights if isinstance(weights, Mapping) else {"weights": weights}
    known = ("weights",) if task.reads in CONTRASTED else ("weights", "scale", "stem", "published")
    check_all(chosen, known, "weights has no option")
    if not chosen.get("weights"):
        return {}
    check_known(chosen.get("stem", "mean"), published.STEMS, "There is no rule for a stem")
    if task.reads not in ("images", *CONTRASTED):
        raise ParameterError(
            "weights are put into networks of images, pixel series or image series: leave them out, and let "
            "make put them in by eolab.models.weights.load."
        )
    return chosen


def _arguments(task: Task, store: Any, channels: Mapping[str, Channels], size: int | None) -> dict[str, Any]:
    """Return the shape and the statistics of the inputs, as :func:`eolab.models.build` takes them."""
    if task.reads == "sequences":
        sizes = {one.size(*store[sensor].arrays_spec["image"].shape[:2]) for sensor, one in channels.items()}
        if len(sizes) != 1:
            raise ParameterError(
                f"The stores have images of {sorted(sizes)} pixels: write them with one size."
            )
        height, width = sizes.pop()
        by_sensor = {sensor.lower(): one for sensor, one in channels.items()}
        return {
            "height": height,
            "width": width,
            "channels": {sensor: len(one.names) for sensor, one in by_sensor.items()},
            "mean": {sensor: list(one.mean) for sensor, one in by_sensor.items()},
            "std": {sensor: list(one.std) for sensor, one in by_sensor.items()},
        }
    image, spec = channels["image"], store.arrays_spec["image"]
    found: dict[str, Any] = {"channels": len(image.names), "mean": image.mean, "std": image.std}
    for name, other in channels.items():
        if name != "image":
            found |= {f"{name}_mean": other.mean, f"{name}_std": other.std}
    if task.reads == "series":
        years = {"years": spec.shape[0]} if len(spec.shape) == 3 else {}
        return {**found, **years, "times": spec.shape[-2]}
    height, width = image.size(*spec.shape[-3:-1])
    times = {"times": spec.shape[0]} if task.reads == "image_series" else {}
    return {**found, **times, "height": size or height, "width": size or width}


def learning_rates(
    task: str | Task,
    model: str,
    store: Any,
    rows: Any,
    *,
    channels: Selection = None,
    options: Mapping[str, Any] | None = None,
    loss: Any = None,
    batch_size: int | None = None,
    seed: int = 0,
    test_options: Mapping[str, Any] | None = None,
    **building: Any,
) -> pd.DataFrame:
    """Return the range test of a network on some rows.

    Args:
        task: What is learned, and so on as in :func:`fit`.
        model: Name of the architecture.
        store: The samples.
        rows: Rows to learn from.
        channels: Channels that the network reads.
        options: Options of the architecture.
        loss: Loss; that of the task by default.
        batch_size: Samples a step; that of the task by default.
        seed: Seed of the weights and the order.
        test_options: Arguments of :func:`eolab.training.range_test`, whose result this is.
        **building: Further arguments of :func:`build`: outputs, make.
    """
    what = get(task)
    options = _options(what, options, rows)
    read = select_all(store, _rows_to_learn(rows), channels)
    network = build(what, model, store, read, options=options, seed=seed, **building)
    data = _Data(what, store, read, network, options["head"], batch_size or what.batch_size, seed)
    batches, of_outputs = data.batches(rows, shuffle=True), _loss(what, network, loss)
    return trainer.range_test(network, batches, loss=of_outputs, **(test_options or {}))


# === Data ===


@dataclass(frozen=True)
class _Data:
    """The samples of a training as its network reads them."""

    task: Task
    store: Any
    channels: Mapping[str, Channels]
    network: Any
    head: str
    batch_size: int
    seed: int

    def batches(self, rows: Any, augment: Any = None, **options: Any) -> Batches:
        """Return batches of some rows."""
        named, ignore = isinstance(self.network.output, Mapping), "none"
        if self.task.ignore == self.task.ignore and self.task.ignore is not None:  # a number: class indices
            ignore = "keep" if named else "weight"
        samples: StoreSamples | SequenceSamples
        if self.task.reads == "sequences":
            samples = SequenceSamples(self.store, rows, self.channels)
        else:
            inputs = [*self.channels, *self.task.inputs]
            samples = StoreSamples(self.store, rows, inputs=inputs, channels=self.channels)
        return Batches(
            samples,
            self.batch_size,
            seed=self.seed,
            augment=augment,
            targets=partial(heads.targets, head=self.head) if named else None,
            ignore=ignore,  # type: ignore[arg-type]
            **options,
        )

    def labels(self, rows: Any) -> np.ndarray:
        """Return all labels of some rows."""
        if self.task.reads == "sequences":
            return np.concatenate([one.labels for one in rows])
        return np.asarray(self.store.gather(rows, ["label"])["label"])


def _rows_to_learn(rows: Any) -> Any:
    """Return rows of a store; of sequences the rows of each sensor."""
    if len(rows) and isinstance(rows[0], ImageSequence):
        together = {sensor: np.concatenate([one.rows[sensor] for one in rows]) for sensor in rows[0].rows}
        return {sensor: found[found >= 0] for sensor, found in together.items()}
    return rows


def _augmentation(
    names: Sequence[str], options: Mapping[str, Mapping[str, Any]] | None, crop: int, store: Any
) -> Any:
    """Return the augmentation of training samples, None for none.

    Raises:
        ParameterError: If a name is unknown, or the crop cannot be.
    """
    if {"crop", "tiles"} & set(names):
        raise ParameterError("crop is no augmentation here, but a parameter of its own, such as crop=64.")
    if not crop:
        return augment.build(names, options) if names else None
    augment.check_size(crop, *store.arrays_spec["image"].shape[-3:-1])
    return augment.build(["crop", *names], {**(options or {}), "crop": {"size": crop}})


# === Settings ===


def _settings(task: Task, model: str, training: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the checked options of the training, with the task's own where none are given."""
    usual = {"batch_size": task.batch_size, "monitor": task.monitor, **compile_options(model)}
    settings = trainer.options(training or {}, **usual)
    settings.pop("precision", None)
    if "epochs" not in settings:
        raise ParameterError("training has no epochs: give their number, such as {'epochs': 20}.")
    return settings


def _smaller(batch_size: int, rows: Any, min_steps: int | None) -> int:
    """Return the size of a batch with which an epoch has enough steps, where samples are few."""
    count = len(np.flatnonzero(rows)) if np.asarray(rows).dtype == bool else len(rows)
    fitting = batch_of(batch_size, count, min_steps)
    if fitting < batch_size:
        print(
            f"Batches of {fitting} samples instead of {batch_size}: {count:,} samples in {min_steps} steps."
        )
    return fitting


def batch_of(batch_size: int, count: int, min_steps: int | None) -> int:
    """Return the size of a batch, smaller where so many samples would be fewer batches than the least."""
    return min(batch_size, max(1, count // min_steps)) if min_steps else batch_size


def _options(task: Task, options: Mapping[str, Any] | None, samples: Any = ()) -> dict[str, Any]:
    """Return the options of an architecture; head and activation are those of the task by default."""
    late = task.reads == "sequences" and len(samples) > 0 and samples[0].late
    return {"head": "labels" if late else task.heads[0], "activation": task.activation, **(options or {})}


def _outputs(task: Task, store: Any, given: int | None) -> int:
    """Return the number of outputs of a network.

    Raises:
        ParameterError: If it is not that of the store, or nothing tells it.
    """
    if task.reads == "sequences":
        return given or 2
    shape = store.arrays_spec["label"].shape
    if task.ignore is None:
        if len(shape) != 1 or given not in (None, shape[0]):
            raise ParameterError(f"outputs is {given}, and the labels of the store have the shape {shape}.")
        return int(shape[0])
    if task.ignore != task.ignore:  # values: one a pixel, or the last axis
        return int(shape[2]) if len(shape) == 3 else 1
    known = store.metadata.get("coords", {}).get("class")
    if given is None and not known and not task.dense:
        raise ParameterError(
            f"outputs is missing, and {store.path} does not name its classes: give their number."
        )
    return given or len(known or ()) or 2


def _check_labels(data: _Data, rows: Mapping[str, Any]) -> None:
    """Refuse classes that the network has no output for: a loss would count them as pixels of no class.

    Warns where all labels are the same: nothing can be learned, or no epoch told from another.

    Raises:
        DataError: If a label is none of its classes, or there is no label.
    """
    output = data.network.output
    main = output.get(data.task.heads[0]) if isinstance(output, Mapping) else output
    if main is None:
        return
    for part in ("train", "validation"):
        labels = data.labels(rows[part])
        known = labels[np.isfinite(labels) & (labels != data.task.ignore)]
        if not known.size:
            raise DataError(f"None of the {part} samples has a label: take more samples, or another split.")
        if known.min() == known.max():
            missing = "nothing can be learned" if part == "train" else "epochs can hardly be compared"
            warn(
                f"All {part} samples have the label {known.flat[0]:g}, so {missing}: take more samples, or "
                "another split."
            )
        if data.task.ignore != IGNORE:
            continue
        count = max(2, int(main.shape[-1]))
        if (highest := int(known.max())) >= count:
            raise DataError(
                f"The {part} samples hold label {highest}: the network has classes 0 to {count - 1}; number "
                f"the classes from 0, or give outputs={highest + 1}."
            )


def _weighing(data: _Data, rows: Any, class_weights: Any) -> dict[str, Any]:
    """Return how classes are weighed in training: options of the ``loss``, or weights of ``train``.

    Validation is of the data as they are: what is drawn or weighed for training judges nothing.

    Raises:
        ParameterError: If the classes of such a network cannot be weighed so.
    """
    if class_weights is None:
        return {}
    balanced, count = class_weights == "balanced", int(data.network.output_shape[-1])
    if not balanced and not set(map(int, class_weights)) <= set(range(max(count, 2))):
        raise ParameterError(f"class_weights has {dict(class_weights)}: classes are 0 to {count - 1}.")
    if data.task.ignore is None:
        if balanced:
            return {"loss": {"positive_weights": balance.positive_weights(data.labels(rows))}}
        return {"loss": {"class_weights": [float(class_weights.get(k, 1)) for k in range(count)]}}
    if balanced:
        return {"train": balanced_weights(data.labels(rows), max(count, 2))}
    return {"train": {int(k): float(v) for k, v in class_weights.items()}}


def _check_weights(task: Task, head: str, class_weights: Any) -> None:
    """Refuse weights of classes that are no words or numbers by class, or that such a network cannot have.

    Raises:
        ParameterError: If they are.
    """
    if class_weights is not None and head in heads.PIXELS:
        raise ParameterError(
            "class_weights cannot be given to a model with outputs by name: weigh the classes in its losses, "
            "for example loss={'focal': {'alpha': 0.75}}."
        )
    check_class_weights(class_weights)


def _against_constant(
    data: _Data, rows: Mapping[str, Any], history: pd.DataFrame, loss: Any, metrics: Any, weighing: Any
) -> dict[str, Any]:
    """Compare the best epoch with a constant prediction, and say so where it is no better.

    Returns:
        What a constant prediction reaches in the monitored column, and whether the network ``learned`` more;
        nothing where no such number is known.
    """
    monitor = history.attrs["monitor"]
    constant = _constant(data, rows, monitor, loss, metrics, weighing)
    if constant is None:
        return {}
    found = float(history[monitor].iloc[history.attrs["best_epoch"] - 1])
    learned = found < constant if monitor.endswith("loss") else found > constant
    if not learned:
        print(
            f"{data.network.name} has learned nothing: its best {monitor} is {found:.4g}, and a constant "
            f"prediction reaches {constant:.4g}. Try another learning rate, more epochs or other inputs."
        )
    return {"constant": constant, "learned": learned}


def _constant(
    data: _Data, rows: Mapping[str, Any], monitor: str, loss: Any, metrics: Any, weighing: Any
) -> float | None:
    """Return what the best constant of the training labels reaches on validation labels, None if unknown."""
    main = data.task.heads[0] if isinstance(metrics, Mapping) else ""
    column = monitor.removeprefix("val_").removeprefix(f"{main}_")
    scores = {one.name: one for one in (metrics[main] if main else metrics)}
    alone = not main or len(data.network.output) == 1
    if not monitor.startswith("val_") or not (column in scores or (column == "loss" and alone)):
        return None
    train, judged = data.labels(rows["train"]), data.labels(rows["validation"])
    weight = None
    if data.task.ignore is None:  # several labels a sample
        share = train.mean(axis=0)
        yes = share * np.asarray(weighing.get("loss", {}).get("positive_weights", 1.0))
        predicted = yes / (yes + 1 - share)
    elif data.task.ignore != data.task.ignore:  # values
        judged = judged[np.isfinite(judged)]
        judged, predicted = judged[:: len(judged) // 1_000_000 + 1], np.nanmean(train, keepdims=True).ravel()
    else:
        judged, weight = np.unique(judged[judged != IGNORE], return_counts=True)
        classes = max(2, int(train[train != IGNORE].max(initial=0)) + 1, int(judged.max(initial=0)) + 1)
        counts = np.bincount(train[train != IGNORE].ravel(), minlength=classes)
        counts = counts * [weighing.get("train", {}).get(k, 1.0) for k in range(classes)]
        predicted = counts / counts.sum()
    shown = np.broadcast_to(predicted, (len(judged), *predicted.shape)).astype("float32")
    try:
        if column == "loss":
            return float((loss[main] if main else loss)(judged, shown, weight))
        score = type(scores[column]).from_config(scores[column].get_config())
        score.update_state(judged, shown, weight)
        return float(score.result())
    except DataError:  # a loss of images
        return None


def _loss(task: Task, network: Any, loss: Any, **common: Any) -> Any:
    """Return the loss of a network: that given, or that of the task; by output where outputs have names."""
    main = _of_task(task, loss, **common)
    if isinstance(network.output, Mapping):
        return {name: losses.build("ce") if name == "patch" else main for name in network.output}
    return main


def _of_task(task: Task, loss: Any, **common: Any) -> Any:
    """Return the loss that is given, or that of the task.

    Raises:
        ParameterError: If it is of classes where values are learned, or the like.
    """
    built, expected = losses.build(loss or task.loss, **common), losses.LOSSES[task.loss].KIND
    kind = getattr(built, "kind", expected)
    if kind != expected:
        raise ParameterError(
            f"Task {task.name!r} learns {expected}, and the loss {loss!r} is of {kind}: take some of "
            f"{', '.join(losses.names(expected))}."
        )
    return built


METRICS: dict[str, Callable[[int], Any]] = {
    "accuracy": lambda outputs: losses.PooledAccuracy(),
    "average_precision": losses.MeanAveragePrecision,
    "f1": lambda outputs: losses.PooledScore("f1"),
    "mae": lambda outputs: losses.ValueScore("mae"),
    "r2": lambda outputs: losses.ValueScore("r2"),
}


def _metrics(task: Task, network: Any) -> Any:
    """Return the scores of an epoch; of the main output where outputs have names."""
    named = isinstance(network.output, Mapping)
    main = network.output[task.heads[0]] if named else network.output
    found = [METRICS[name](int(main.shape[-1])) for name in task.metrics]
    return {task.heads[0]: found} if named else found


def _for_whole_images(trained: Any, network: Any) -> Any:
    """Return the network for whole images with the weights of the one for crops."""
    try:
        network.set_weights(trained.get_weights())
    except ValueError as error:
        raise ParameterError(
            f"{network.name}: its weights depend on the size of the image; train it with crop=0."
        ) from error
    return network
