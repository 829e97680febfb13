"""Start-up messages of C++ libraries stay out of reports and terminals."""

from __future__ import annotations

import pytest

from eolab.runs.noise import NOISE


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
