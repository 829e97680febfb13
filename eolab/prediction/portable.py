"""A trained network in every form it can be carried away in: how large, how true to Keras, how fast."""

import contextlib
import functools
import os
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from eolab.core.errors import DataError, EolabError, ParameterError
from eolab.core.progress import track
from eolab.prediction.engines import OUTPUT, Inputs, cores, inputs_of, single_samples
from eolab.prediction.exports import QUANTISATIONS, export_litert, frozen
from eolab.prediction.loading import Loader, Predictor, load
from eolab.prediction.sources import MODEL_FILE, keras_model

CANDIDATES: tuple[tuple[str, Any], ...] = (
    ("keras", "float32"),
    ("onnx", "float32"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    *(("litert", quantisation) for quantisation in QUANTISATIONS),
)
"""Engine and precision of each row of the table."""


def portable_table(
    model: Any,
    patches: np.ndarray | Inputs,
    calibration: Iterable[Any] | None,
    folder: str | Path,
    threads: int = 1,
    *,
    output: str = OUTPUT,
    runs: int = 15,
    progress: bool = True,
) -> pd.DataFrame:
    """Export a network in all forms and compare them: size, agreement with Keras, time.

    The engines take turns, a patch a turn, so that a busy machine slows all alike. All threads of the process
    are kept on as many cores as `threads` (on Linux; elsewhere Keras uses all).

    Args:
        model: A Keras model, its file, or a run folder.
        patches: Images (N, H, W, C), or the model's inputs by name, to compare on.
        calibration: Samples of the training split for int8, see :func:`eolab.prediction.export_litert`.
        folder: Where the exports go: ``model.keras``, ``model_onnx/``, ``model_openvino/`` and
            ``model_<quantisation>.tflite``.
        threads: Threads of each engine.
        output: Which output to compare, of models with outputs by name.
        runs: Patches timed with each engine, after one that is not.
        progress: Whether to show progress.

    Returns:
        A row an engine and precision: ``size_mb`` of the files in 10^6 bytes; ``max_difference`` and
        ``mean_difference`` of a probability to Keras's; ``mask_agreement``, the share of pixels (of samples,
        for models without masks) whose most probable class is Keras's; ``mask_iou``, the overlap with Keras's
        of what is not of the first class, which rare classes need: a mask of background alone agrees in
        nearly all pixels and overlaps in none; ``milliseconds`` a patch, the median of the runs; and in
        ``skipped`` why there is none of these.

    Raises:
        DataError: If there is no model or no patch.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    network = keras_model(model)
    inputs = _named(network, patches)
    network.save(folder / MODEL_FILE)
    calibration = None if calibration is None else list(calibration)
    predictors, skipped = {}, {}
    freeze = functools.cache(frozen)
    steps = track(CANDIDATES, "Exporting", total=len(CANDIDATES), unit="export", progress=progress)
    for engine, precision in steps:
        try:
            if engine == "litert":
                export_litert(network, folder / f"model_{precision}.tflite", precision, calibration, freeze)
            predictors[engine, precision] = _predictor(network, engine, precision, folder, threads, output)
        except EolabError as error:
            skipped[engine, precision] = str(error)
    found = {candidate: predictor(inputs) for candidate, predictor in predictors.items()}
    times = _times(predictors, inputs, threads, runs)
    rows = []
    for candidate in CANDIDATES:
        row: dict[str, Any] = dict(zip(("engine", "precision"), candidate, strict=True))
        if candidate in found:
            row["size_mb"] = sum(file.stat().st_size for file in _files(folder, *candidate)) / 1e6
            row |= _agreement(found[candidate], found["keras", "float32"])
            row["milliseconds"] = times[candidate]
        rows.append(row | {"skipped": skipped.get(candidate, "")})
    return pd.DataFrame(rows)


def portable_masks(
    folder: str | Path,
    model: Any,
    patches: np.ndarray | Inputs,
    threads: int | None = None,
    *,
    class_index: int = 1,
    output: str = OUTPUT,
) -> dict[str, np.ndarray]:
    """Return the probabilities that the exports of :func:`portable_table` give.

    Args:
        folder: Where the exports are.
        model: The network that was exported, its file, or its run folder.
        patches: Images (N, H, W, C), or the model's inputs by name.
        threads: Threads of ONNX Runtime, OpenVINO and LiteRT; all cores of this process by default.
        class_index: The class.
        output: Which output, of models with outputs by name.

    Returns:
        float32 (N, H, W) by name: ``keras``, then engine and precision of each export that runs here, such
        as ``litert int8``.

    Raises:
        DataError: If nothing was exported there.
    """
    folder = Path(folder)
    if not (folder / MODEL_FILE).is_file():
        raise DataError(f"{folder} has no exports: expected those of portable_table, call it first.")
    network = keras_model(model)
    inputs = _named(network, patches)
    found = {"keras": load(network, output=output)(inputs)[..., class_index]}
    for engine, precision in CANDIDATES[1:]:
        if _files(folder, engine, precision):
            with contextlib.suppress(ParameterError):  # the table says why one does not run
                predictor = _predictor(network, engine, precision, folder, threads, output)
                found[f"{engine} {precision}"] = predictor(inputs)[..., class_index]
    return found


def _named(network: Any, patches: np.ndarray | Inputs) -> dict[str, np.ndarray]:
    """Return a network's inputs by name."""
    given = patches if isinstance(patches, Mapping) else {next(iter(inputs_of(network))): patches}
    inputs = {name: np.asarray(values) for name, values in given.items()}
    if not len(next(iter(inputs.values()))):
        raise DataError("No patch to compare the engines on: give at least one.")
    return inputs


def _predictor(
    network: Any, engine: str, precision: Any, folder: Path, threads: int | None, output: str
) -> Predictor:
    """Return the predictor of an export, made now where there is none; one sample at a time."""
    if engine == "litert":
        file = folder / f"model_{precision}.tflite"
        return load(file, batch_size=1, threads=threads, output=output)
    loader = Loader(folder / MODEL_FILE, network, threads or cores(), precision, None, 1, output)
    return loader.predictor(engine, compared=False)


def _files(folder: Path, engine: str, precision: str) -> list[Path]:
    """Return the files that an engine reads, of those that are there."""
    names = {"keras": MODEL_FILE, "litert": f"model_{precision}.tflite"}
    return sorted(folder.glob(names.get(engine, f"model_{engine}/model.*")))


def _agreement(found: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Compare probabilities (N, …, K)."""
    difference = np.abs(found - expected)
    said, wanted = found.argmax(-1), expected.argmax(-1)
    either = ((said > 0) | (wanted > 0)).sum()
    return {
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "mask_agreement": float(np.mean(said == wanted)),
        "mask_iou": float(((said == wanted) & (wanted > 0)).sum() / either) if either else float("nan"),
    }


def _times(
    predictors: Mapping[tuple[str, str], Predictor], inputs: Inputs, threads: int, runs: int
) -> dict[tuple[str, str], float]:
    """Return the median time of one sample in milliseconds, engines in turns."""
    samples = single_samples(inputs)
    taken: dict[tuple[str, str], list[float]] = {candidate: [] for candidate in predictors}
    with pinned(threads):
        for turn in range(runs + 1):
            for candidate, predictor in predictors.items():
                start = time.perf_counter()
                predictor(samples[turn % len(samples)])
                taken[candidate].append(1e3 * (time.perf_counter() - start))
    return {candidate: statistics.median(values[1:]) for candidate, values in taken.items()}


@contextlib.contextmanager
def pinned(cores: int) -> Iterator[None]:
    """Keep all threads of this process on so many cores, where the system lets one (Linux)."""
    tasks = Path("/proc/self/task")
    if not hasattr(os, "sched_setaffinity") or not tasks.is_dir():
        yield
        return
    allowed = os.sched_getaffinity(0)
    before = {}
    for task in [int(folder.name) for folder in tasks.iterdir()]:
        with contextlib.suppress(ProcessLookupError):  # a thread that has just ended
            before[task] = os.sched_getaffinity(task)
            os.sched_setaffinity(task, sorted(allowed)[:cores])
    try:
        yield
    finally:
        for task in [int(folder.name) for folder in tasks.iterdir()]:
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(task, before.get(task, allowed))
