"""Parsers of commands and of their options."""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eolab.core.errors import ParameterError


class Parser(argparse.ArgumentParser):
    """A parser of a group of commands may have a usual one, which need not be named."""

    usual = ""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Name the usual command of a group where none is named."""
        given = sys.argv[1:] if args is None else list(args)
        known = [name for action in self._actions for name in (action.choices or ())]
        if self.usual and not {"-h", "--help", *known}.intersection(given[:1]):
            given = [self.usual, *given]
        return super().parse_known_args(given, namespace)


def command(commands: Any, function: Any, text: str, examples: str = "", **more: Any) -> Any:
    """Add the command that a function carries out and has the name of."""
    name = function.__name__.strip("_").replace("_", "-")
    added = parser_of(commands, name, text, examples, **more)
    added.set_defaults(command=function)
    return added


def parser_of(commands: Any, name: str, text: str, examples: str = "", **more: Any) -> Any:
    """Add the parser of a command, or of a group of them."""
    facts = {"help": text, "description": f"{text[0].upper()}{text[1:]}.", "epilog": examples, **more}
    return commands.add_parser(name, formatter_class=argparse.RawDescriptionHelpFormatter, **facts)


def positive(text: str) -> int:
    """Read a whole number from 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, found {text!r}")
    return int(text)


def add_places(parser: argparse.ArgumentParser, what: str) -> None:
    """Add the options that say how many of some things go on at once, and where."""
    text = f"{what} at once (default 1; with --on as many as cores and memory allow)"
    parser.add_argument("--jobs", type=positive, metavar="N", help=text)
    text = "run on a cluster: ray or dask on this machine, ray=host:6379 or dask=tcp://host:8786"
    parser.add_argument("--on", default="", metavar="KIND[=ADDRESS]", help=text)


def root_of(options: argparse.Namespace) -> Path:
    """Return the folder of all runs that --out names, else the usual one."""
    from eolab.core import workspace

    return options.out.expanduser().resolve() if options.out else workspace.runs()


def say(text: str) -> None:
    """Print a line in one piece, as several runs may speak at once."""
    print(f"{text}\n", end="", flush=True)


def one_process(what: str) -> None:
    """Refuse what several processes that train together cannot do.

    Raises:
        ParameterError: If this process is one of several.
    """
    from eolab.core import ranks

    if (count := ranks.place().count) > 1:
        raise ParameterError(f"{count} processes train together with `eolab run`; start {what} in one.")


def study_of(options: argparse.Namespace, grid: tuple[str, Sequence[str]] = ("", ())) -> tuple[Any, Any]:
    """Return the study that the options of a command name, and how its notebooks run.

    Args:
        options: The options.
        grid: See :func:`eolab.runs.study.load`.
    """
    from eolab.data import catalog
    from eolab.runs import chain, study, trials

    if own := catalog.own_file():
        os.environ[catalog.OWN] = str(own)  # the notebooks run in other folders
    root = root_of(options)
    chosen = trials.with_found(study.load(options.study, grid), root, options.profile)
    settings = chain.settings(chosen, options.set, getattr(options, "only", None) or ())
    os.environ["EOLAB_LISTED_SINCE"] = str(time.time_ns())
    how = (options.profile, settings, options.force, options.keep_old_code, options.timeout)
    return chosen, chain.Options(root, *how)
