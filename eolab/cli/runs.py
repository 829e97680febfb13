"""The commands `eolab runs …`: list, compare, name and delete runs."""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from eolab.cli.parsing import command, root_of
from eolab.core.errors import ParameterError, check_known
from eolab.core.numbers import counted, padded, short
from eolab.core.progress import ago, duration

EXAMPLES = """\
examples:
  eolab runs                                        all runs, a line each
  eolab runs landcover/04_train_pixels              those of a notebook
  eolab runs compare smoke-1a2b3c4d smoke-5e6f7a8b  parameters that differ, metrics, same data, same code
  eolab runs name smoke-1a2b3c4d "tempcnn, 40 epochs"
  eolab runs delete smoke-1a2b3c4d smoke-5e6f7a8b

RUN is a folder, the name of one, or the words that `eolab runs name` gave it; other commands and input
parameters take it too."""
LONGEST = 70  # letters of a cell


def add_commands(actions: Any) -> None:
    """Add what is done with runs, each with options of its own."""
    root = argparse.ArgumentParser(add_help=False)
    root.add_argument("--out", metavar="DIR", type=Path, help="folder of all runs (default: runs/)")
    text = "list runs: status, age, time, parameters that differ, main score, size"
    listed = command(actions, _list, text, parents=[root])
    listed.add_argument(
        "where", nargs="?", default="", metavar="STUDY[/NOTEBOOK]", help="those of a study or notebook"
    )
    text = "show runs side by side: parameters that differ, main metrics, whether data and code are the same"
    compared = command(actions, _compare, text, parents=[root])
    compared.add_argument("runs", nargs="+", metavar="RUN", help="two runs or more")
    compared.add_argument("--all", action="store_true", help="all metrics, and what one of the runs lacks")
    named = command(actions, _name, "give a run a name, which every command takes", parents=[root])
    named.add_argument("run", metavar="RUN", help="the run")
    named.add_argument("words", metavar="NAME", help='its name; "" takes it away')
    deleted = command(actions, _delete, "delete runs, after saying what and how much", parents=[root])
    deleted.add_argument("runs", nargs="+", metavar="RUN", help="the runs")
    text = "delete also what other runs were made from, and what is at work"
    deleted.add_argument("--force", action="store_true", help=text)
    deleted.add_argument("--yes", action="store_true", help="do not ask")


def _list(options: argparse.Namespace) -> int:
    from eolab.runs import overview

    root = root_of(options)
    study, _, notebook = options.where.rstrip("/").partition("/")
    found = overview.table(study, notebook.removesuffix(".ipynb"), root)
    if options.where and found.empty:
        known = {
            str(path.relative_to(root)) for path in (*root.glob("*"), *root.glob("*/*")) if path.is_dir()
        }
        check_known(options.where, known, f"There are no runs of {options.where!r} in {root}")
    now = datetime.now(UTC)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for name, runs in found.groupby("notebook", sort=False):
        head = ("run", "status", "started", "took", "profile", "parameters", "score", "size", "")
        rows = [head, *(_line(run, now) for run in runs.to_dict("records"))]
        print(name)
        for row in padded(rows):
            print(f"  {'  '.join(row)}".rstrip()[:width])
    total, place = int(found["bytes"].sum()), f"{root}/{options.where}".rstrip("/")
    print(f"{place}: {_counted(len(found), total)}.")
    return 0


def _line(run: Mapping[Any, Any], now: datetime) -> tuple[str, ...]:
    took = duration(run["seconds"]) if (run["seconds"] or 0) > 0 else "–"  # NaN is not
    score = f"{run['metric']} {short(run['score'])}" if run["metric"] else "–"
    remarks = ["simulated" * run["simulated"], f"out of date: {run['changed']}" * bool(run["changed"])]
    age = ago((now - run["started"]).total_seconds())
    about = (run["run"], run["status"], age, took, run["profile"] or "–", _cut(run["parameters"]) or "–")
    return (*about, score, _size(run["bytes"]), _cut("; ".join(filter(None, remarks))))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _size(number: float) -> str:
    """Return a size on disk for people."""
    unit, length = next(((u, n) for u, n in (("GB", 1e9), ("MB", 1e6)) if number >= n), ("kB", 1e3))
    return f"{number / length:.3g} {unit}"


def _counted(number: int, size: float) -> str:
    return f"{number} run{'s' * (number != 1)}, {_size(size)}"


def _compare(options: argparse.Namespace) -> int:
    from eolab.runs import history, overview

    root = root_of(options)
    if len(options.runs) < 2:
        raise ParameterError("`eolab runs compare` needs two runs or more.")
    runs = [history.RunRecord(history.find(name, root)) for name in options.runs]
    table = overview.compare(runs)
    main = {name for run in runs for name in overview.main_metrics_of(run)}
    part, name = table.index.get_level_values("part"), table.index.get_level_values("name")
    of_all = table.notna().all(axis=1) & ((part != "metric") | name.isin(main))
    shown = table[of_all | part.isin(["run", "data"]) | options.all]
    rows: list[tuple[str, ...]] = [("", *map(str, table))]
    for kind, cells in shown.groupby(level="part", sort=False):
        rows.append((str(kind), *[""] * len(runs)))
        rows += [(f"  {row[0][1]}", *map(_cell, row[1:])) for row in cells.itertuples()]
    for row in padded(rows):
        print("  ".join(row).rstrip())
    for one in ("data", "code"):
        print(f"{one.capitalize()}: {'the same' if overview.same(table, one) else 'not the same'}.")
    if hidden := table.index.difference(shown.index).get_level_values("part").value_counts().to_dict():
        kinds = {"metric": "metrics", "parameter": "parameters", "code": "source files and versions"}
        left_out = counted({kinds[str(kind)]: number for kind, number in hidden.items()})
        print(f"Not shown: {left_out}; --all shows them.")
    return 0


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return short(value) if isinstance(value, float) else _cut(str(value))


def _name(options: argparse.Namespace) -> int:
    from eolab.runs import history, keeping

    root = root_of(options)
    folder = history.find(options.run, root)
    keeping.name(folder, options.words, root)
    print(f"{folder} is called {history.RunRecord(folder).name}.")
    return 0


def _delete(options: argparse.Namespace) -> int:
    from eolab.runs import history, keeping, overview

    root = root_of(options)
    found = {history.find(name, root).absolute() for name in options.runs}
    runs = [history.RunRecord(folder) for folder in sorted(found)]
    keeping.check_deletable(runs, root, options.force)
    sizes = [overview.size(run.folder) for run in runs]
    for run, size in zip(runs, sizes, strict=True):
        words = f" ({run.name})" if run.name != run.folder.name else ""
        print(f"{run.folder}{words}: {overview.status(run)}, {_size(size)}")
    counted = _counted(len(runs), sum(sizes))
    if not options.yes and not _confirmed(f"Delete {counted}?"):
        print("Nothing was deleted.")
        return 0
    for run in runs:
        keeping.delete(run)
    print(f"Deleted {counted}.")
    return 0


def _confirmed(question: str, answers: Sequence[str] = ("y", "yes")) -> bool:
    if not sys.stdin.isatty():
        raise ParameterError(f"{question} Nobody is here to ask: --yes deletes without asking.")
    return input(f"{question} [y/N] ").strip().lower() in answers
