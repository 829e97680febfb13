"""Parsers of commands and of their options."""

import argparse
import sys
from typing import Any


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
