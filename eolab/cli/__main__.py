"""Runs the command as `python -m eolab.cli`."""

import sys

from eolab.cli import main

sys.exit(main())
