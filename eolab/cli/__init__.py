"""The ``eolab`` command."""

from eolab.cli.commands import main
