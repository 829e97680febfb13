"""A project in miniature for the tests of runs, sweeps, reports and the command."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import nbformat
import warm
import yaml

from eolab.cli import commands as cli

CATALOG = """
toy_twin:
  uri: data/toy
  layout: sentinel2_corine
  metadata: {license: CC0-1.0, citation: Simulated by eolab, size: 1 kB}
  twin: {writer: sentinel2_corine, seed: 0}
toy_real:
  uri: ${MINI_REAL}/real
  layout: sentinel2_corine
  metadata: {license: CC-BY-4.0, citation: "Copernicus Sentinel data 2020, ESA", url: "https://example.org/data"}
"""
STUDY = """
title: A miniature study
description: Two notebooks.
notebooks:
  01_make: {}
  02_use:
    inputs: {made: 01_make}
profiles:
  smoke:
    all: {seed: 7}
    02_use: {factor: 1e-1}
sweeps:
  factors:
    title: Which factor is best?
    notebook: 02_use
    grid: {factor: [1, 2], mode: [a, b]}
    table: {rows: [factor], metrics: [test.f1]}
  bad:
    notebook: 02_use
    cases: [{factor: 1}, {fail: true}]
    table: {rows: [fail], metrics: [test.f1]}
"""
MAKE_PARAMETERS = """\
count: int = 3  # how many numbers
seed: int = 0  # seed of everything random"""
USE_PARAMETERS = """\
made: str = ""  # run folder of 01_make, empty for the newest
factor: float = 1.0  # what the numbers are multiplied with
mode: str = "a"  # way of adding, one of: a, b
bands: list = ["B02", "B03"]  # bands that are read
fail: bool = False  # fail on purpose
seed: int = 0  # seed of everything random"""
MAKE = [
    "# 01 · Make numbers\n\n> 1 s · next: [02](02_use.ipynb)",
    ("parameters", MAKE_PARAMETERS),
    "from eolab import catalog, runs\nrun = runs.start('mini/01_make', globals())",
    "## Where do numbers come from?\n\nFrom $a_i^2$ and ![a map](https://example.org/map.png).",
    "import os, time\n"
    "from pathlib import Path\n"
    "with run.path('attempts.txt').open('a') as file:\n    print(os.getpid(), file=file)\n"
    "while (Path(os.environ['EOLAB_ROOT']) / 'hold').exists():\n    time.sleep(0.05)",
    "run.data(catalog.load()['toy_twin'])\nrun.metrics({'numbers': {'count': count}})\n"
    "left_open = run.path('left_open.txt').open('w')\nprint(count, file=left_open)",
    "run.finish()",
]
USE = [
    "# 02 · Use numbers",
    ("parameters", USE_PARAMETERS),
    "import json\nfrom eolab import runs\nrun = runs.start('mini/02_use', globals())",
    "made_run = runs.load(run.input('made'))\ncount = made_run.metrics['numbers']['count']\nrun.simulated",
    "import sys\nprint('2026-01-01 00:00:00.1: I tensorflow/core: noise', file=sys.stderr)\n"
    "print('a message worth reading', file=sys.stderr)",
    "import matplotlib.pyplot as plt\nfig, ax = plt.subplots(figsize=(4, 3))\nax.plot([0, 1], [0, factor])\n"
    "run.figure(fig, 'line', 'A line that goes <up>.')",
    "## What can go wrong?",
    "if fail:\n    raise ValueError('expected 12 bands, found 3')",
    "import numpy as np, pandas as pd\n"
    "table = pd.DataFrame({'class': ['Lake'], 'F1': [0.5]})\n"
    "run.table(table, 'scores', 'Scores by class.', {'F1': '{:.2f}'})\n"
    "run.metrics({'test': {'f1': np.float32(factor * count / 10), 'empty': float('nan')}})",
]


def add_sweeps(root: Path, sweeps: Mapping[str, Mapping[str, Any]]) -> None:
    """Write sweeps into the ``study.yaml`` of a project, in place of those with the same names."""
    file = root / "notebooks/mini/study.yaml"
    content = yaml.safe_load(file.read_text())
    content["sweeps"] |= sweeps
    file.write_text(yaml.safe_dump(content))


def notebook(cells: list[str | tuple[str, str]]) -> nbformat.NotebookNode:
    """Return a notebook: text starts with ``#``, a tuple is (tag, code), anything else is code."""
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    book = nbformat.v4.new_notebook(metadata={"kernelspec": kernel, "language_info": {"name": "python"}})
    for cell in cells:
        if isinstance(cell, tuple):
            book.cells.append(nbformat.v4.new_code_cell(cell[1], metadata={"tags": [cell[0]]}))
        elif cell.startswith("#"):
            book.cells.append(nbformat.v4.new_markdown_cell(cell))
        else:
            book.cells.append(nbformat.v4.new_code_cell(cell))
    return book


def build(root: Path) -> Path:
    """Write the project and return its folder."""
    study = root / "notebooks" / "mini"
    study.mkdir(parents=True)
    (root / "data_catalog.yaml").write_text(CATALOG)
    (root / "data" / "toy").mkdir(parents=True)
    (root / "data" / "toy" / "numbers.txt").write_text("1 2 3")
    (study / "study.yaml").write_text(STUDY)
    nbformat.write(notebook(MAKE), study / "01_make.ipynb")
    nbformat.write(notebook(USE), study / "02_use.ipynb")
    return root


def environment(root: Path) -> dict[str, str]:
    """Return the environment in which the ``eolab`` command works on the miniature project."""
    ours = ("EOLAB_", "MLFLOW_", "MPLBACKEND")
    return {k: v for k, v in os.environ.items() if not k.startswith(ours)} | {"EOLAB_ROOT": str(root)}


def eolab(root: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "eolab.cli", *arguments],
        env=environment(root) | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def command(root: Path, *arguments: str) -> tuple[int, str]:
    """Run the command in this process, its notebooks in their own; return exit status and what it printed.

    A new process for the command itself takes two seconds, most of them for imports.
    """
    said = io.StringIO()
    with (
        warm.workers(),
        mock.patch.dict(os.environ, environment(root), clear=True),
        contextlib.redirect_stdout(said),
    ):
        status = cli.main(arguments)
    return status, said.getvalue()


def processes(mark: str) -> list[int]:
    """Return the processes that were started with a word in their environment, or forked from such ones."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found
