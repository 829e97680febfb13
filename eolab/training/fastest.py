"""The fastest way to compile each network, by measurements on the same kind of processor.

``fastest.csv`` beside this module is written by ``benchmarks/processor.py --keep``, not by hand.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from eolab import models
from eolab.core.machine import instructions
from eolab.training import distributed
from eolab.training.setup import accelerator

TABLE = Path(__file__).with_name("fastest.csv")
STEPS_AT_ONCE = 16  # of series, where nothing was measured
GAIN = 1.25  # a way must be this much faster than the usual one: XLA draws other numbers for dropout


@cache
def measured(file: Path = TABLE) -> pd.DataFrame:
    """Return the ways that were measured.

    A row a network: backend, processor (its best instructions), network, jit_compile, steps_per_execution,
    samples_per_s, and gain, how much faster it trains than in the usual way.
    """
    return pd.read_csv(file)


def usual(name: str) -> dict[str, Any]:
    """Return the arguments of ``compile`` where nothing was measured.

    Several steps over series run in one go, so that callbacks see the last of them alone; whether XLA
    compiles is left to the backend, see :func:`eolab.training.setup.jit_compile`.
    """
    steps = STEPS_AT_ONCE if name in models.names("series") else 1
    return {"jit_compile": "auto", "steps_per_execution": steps}


def compile_options(name: str) -> dict[str, Any]:
    """Return the arguments of ``compile`` that train a network fastest on this backend and processor.

    They do not change results, but by rounding and by what XLA draws for dropout, so that a way which is
    hardly faster is not taken. Networks and processors that were not measured, GPUs, and several devices, are
    compiled in the usual way, see :func:`usual`.

    Args:
        name: Name of the network.
    """
    import keras

    if accelerator() or distributed.devices() > 1:
        return usual(name)
    table = measured()
    key = {"backend": keras.backend.backend(), "processor": instructions(), "network": name}
    rows = table[(table[list(key)] == pd.Series(key)).all(axis=1)]
    if rows.empty:
        return usual(name)
    row = rows.iloc[0]
    return {
        "jit_compile": bool(row["jit_compile"]),
        "steps_per_execution": int(row["steps_per_execution"]),
    }


def keep(best: pd.DataFrame, file: Path = TABLE) -> None:
    """Replace the rows of networks that were measured again, and write the table.

    Args:
        best: Rows as in :func:`measured`.
        file: The table.
    """
    key = ["backend", "processor", "network"]
    before = pd.read_csv(file) if file.exists() else best.iloc[:0]
    table = pd.concat([before, best]).drop_duplicates(key, keep="last").sort_values(key, ignore_index=True)
    table.to_csv(file, index=False)
