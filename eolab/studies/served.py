"""The network of a run of any study as an HTTP service: ``eolab serve RUN``."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eolab import prediction, runs
from eolab.core.errors import ParameterError
from eolab.data.schemes import ClassScheme
from eolab.prediction import exports
from eolab.prediction.mapping.bands import bands_of
from eolab.prediction.serving import Joined, Model
from eolab.prediction.sources import identity, resolve
from eolab.studies.products import SEQUENCES, Trained, of_study

Say = Callable[[str], None]
LOADED = """\
import sys
from eolab import prediction
print(prediction.load(sys.argv[1], engine=sys.argv[2], output=sys.argv[3]).engine)
"""


def load(run: str | Path, engine: Any, batch: int, say: Say = print) -> tuple[Model, Joined]:
    """Return the network of a run as it is served, and what predicts.

    Where an engine computes an export of the network, TensorFlow is not loaded into this process; an export
    that is not there is made by another.

    Args:
        run: Folder of a run that has trained a network, or a baseline of pixel series.
        engine: What computes, see :func:`eolab.prediction.load`.
        batch: Samples that are computed at once.
        say: Is given what takes a while.

    Raises:
        ParameterError: If it has learned from sequences, or the engine cannot compute it.
        DataError: If the run has no network.
    """
    trained = Trained(runs.load(run))
    file, _ = resolve(trained.record.folder)
    if trained.task == SEQUENCES:
        raise ParameterError(
            f"{run} has learned {trained.task}: its network reads sequences of several sensors, which are "
            "not served; give a run that has learned from images or from series of pixels."
        )
    form = of_study(trained, "form_of")(trained)
    if file is not None and file.suffix == ".keras":
        engine = _exported(trained, file, engine, say)
    predictor = prediction.load(trained.record.folder, engine=engine, output=trained.output)
    ranges, predictor.ranges = predictor.ranges, {}  # each request is looked at alone, before it is joined
    task, name, _ = trained.described
    made_by = "/".join(str(trained.record.record.get(key)) for key in ("study", "notebook", "run"))
    facts: dict[str, Any] = {
        "network": name,
        "engine": predictor.engine,
        "simulated": trained.record.simulated,
        "ranges": {
            band: [low, high]
            for one in ranges.values()
            for band, low, high in zip(one.names, one.low, one.high, strict=True)
        },
        "predicts": list(
            form.content.names if isinstance(form.content, ClassScheme) else bands_of(form.content).names
        ),
    }
    dense = task in ("segmentation", "regression", "series_segmentation")
    model = Model(made_by, task, dense, predictor.shapes, ranges, form, facts)
    joined = Joined(predictor, batch)
    model.check(predictor)
    return model, joined


def _exported(trained: Trained, file: Path, engine: str, say: Say) -> str:
    """Make the export for an engine in another process, where it is not there; return the engine to take."""
    if engine in exports.FILES and exports.existing(file, engine, identity(file, None)):
        return engine
    if engine not in ("auto", *exports.FILES):
        return engine
    say(f"Making the network ready for engine {engine!r}, half a minute or so.")
    command = [sys.executable, "-c", LOADED, str(trained.record.folder), engine, trained.output]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise ParameterError(lines[-1].removeprefix("eolab.core.errors.ParameterError: "))
    return done.stdout.split()[-1]
