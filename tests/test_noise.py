"""Start-up messages of C++ libraries and warnings to developers stay out of reports and terminals."""

from __future__ import annotations

import subprocess
import sys

import pytest

from eolab.runs.display import NOISE


@pytest.mark.parametrize(
    "line",
    [
        "I0000 00:00:1795258712.283850    2914 cudart_stub.cc:31] Could not find cuda drivers",
        "W0000 00:00:1795258712.283850    2914 port.cc:153] oneDNN custom operations are on.",
        "2026-01-01 00:00:00.123456: I tensorflow/core/util/port.cc:153] oneDNN custom operations are on.",
        "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    ],
)
def test_library_messages_are_noise(line):
    assert NOISE.match(line)


@pytest.mark.parametrize(
    "line", ["epoch 1/25: accuracy 0.16", "WARNING: the store is old", "UserWarning: 2026-01-01", "I am here"]
)
def test_own_lines_are_not(line):
    assert not NOISE.match(line)


def test_a_filter_that_threads_left_behind_shows_no_deprecation_of_a_library(tmp_path):
    """A report had 462 lines of them: pandas shows them for a moment, another thread kept its filter."""
    (tmp_path / "library.py").write_text("import warnings\nwarnings.warn('old', DeprecationWarning)\n")
    script = """
import warnings
from eolab.runs import display

display.hide_deprecations()
display.hide_deprecations()
one, other = warnings.catch_warnings(), warnings.catch_warnings()
one.__enter__()
warnings.simplefilter("always", DeprecationWarning)
other.__enter__()
one.__exit__(None, None, None)
other.__exit__(None, None, None)  # the filter of that moment is there to stay
assert ("always", None, DeprecationWarning, None, 0) in warnings.filters
import library
warnings.warn_explicit("of a cell", DeprecationWarning, "ipykernel_1/2.py", 3)
warnings.warn("to be heeded")
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if "Warning:" in line]
    assert len(said) == 2
    assert "of a cell" in said[0]
    assert "to be heeded" in said[1]


@pytest.mark.parametrize(
    "by", ["from eolab.runs import display; display.hide_deprecations()", "from eolab import cli"]
)
def test_warnings_of_eolab_are_shown_as_their_sentence_alone(by):
    """They stood with a path of the package and a line of its source."""
    script = f"""
import warnings
{by}
from eolab.core import errors
if "cli" in globals():
    try:
        cli.main(["--version"])
    except SystemExit:
        pass
errors.warn("The blocks are of a map with another engine.")
warnings.warn("of another library")
"""
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stderr
    first, second, *_ = shown.splitlines()
    assert first == "The blocks are of a map with another engine."
    assert second.endswith("UserWarning: of another library")
