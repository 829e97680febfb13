import io
import sys
import time
from unittest import mock

import numpy as np
import pytest

from eolab.core import progress
from eolab.data import fingerprints
from eolab.evaluation import postprocess
from eolab.tasks import stacking


class Clock:
    """A clock that a test moves by hand."""

    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setenv("EOLAB_HEADLESS", "1")
    return clock


def work(items, clock, seconds, **options):
    for item in progress.track(items, "composites", **options):
        clock.now += seconds
        yield item


def test_plain_lines_come_every_ten_seconds_and_tell_the_time_left(clock, capsys):
    assert list(work(range(200), clock, 0.5)) == list(range(200))
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "composites: 20/200 (10 %), 1 min 30 s left"
    assert lines[1] == "composites: 40/200 (20 %), 1 min 20 s left"
    assert lines[-1] == "composites: 200 in 1 min 40 s"
    assert len(lines) == 9 + 1


def test_short_work_leaves_no_line(clock, capsys):
    list(work(range(5), clock, 1))
    assert capsys.readouterr().err == ""


def test_generators_of_unknown_length(clock, capsys):
    assert list(work((i for i in range(3)), clock, 11)) == [0, 1, 2]
    assert capsys.readouterr().err.splitlines()[0] == "composites: 1, 11 s so far"


def test_total_may_be_given_for_a_generator(clock, capsys):
    list(work((i for i in range(3)), clock, 10, total=3))
    assert capsys.readouterr().err.splitlines() == [
        "composites: 1/3 (33 %), 20 s left",
        "composites: 2/3 (66 %), 10 s left",
        "composites: 3 in 30 s",
    ]


def test_nothing_is_shown_when_told_so(clock, capsys):
    assert list(work(range(10), clock, 60, progress=False)) == list(range(10))
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.delenv("EOLAB_HEADLESS", raising=False)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert not progress.headless()
    assert list(progress.track([1, 2], "bands")) == [1, 2]
    assert "bands: 100%" in sys.stderr.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.6, "1 min 0 s"), (80, "1 min 20 s"), (7500, "2 h 5 min")]
)
def test_durations(seconds, text):
    assert progress.duration(seconds) == text


def test_a_long_piece_of_work_says_that_it_goes_on(monkeypatch, capsys):
    """Fits of baselines and intervals took up to 495 s without a line."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.02)
    with progress.stage("Fitting boosting"):
        time.sleep(0.1)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Fitting boosting: 0 s so far"
    assert 2 <= len(lines) < 5, "after 0.02 s, and after twice as long each time"
    with progress.stage("Fitting boosting", progress=False):
        time.sleep(0.05)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 10)
    with progress.stage("short"):
        pass
    time.sleep(0.01)
    assert capsys.readouterr().err == ""


def test_what_may_take_long_says_that_it_goes_on(monkeypatch, tmp_path, capsys):
    """The look at a million files, a stack and a temperature were silent."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.01)
    monkeypatch.setenv("EOLAB_CACHE", str(tmp_path / "cache"))

    def slow(*given, **more):
        time.sleep(0.03)
        return mock.MagicMock()

    monkeypatch.setattr(stacking.LogisticRegression, "fit", lambda self, *given: slow() and 1 / 0)
    monkeypatch.setattr(postprocess, "minimize_scalar", lambda *given, **more: slow() and 1 / 0)
    probability, truth = np.array([0.1, 0.4, 0.8]), np.array([0, 1, 1])
    with pytest.raises(ZeroDivisionError):
        stacking.stack({"lstm": probability}, truth)
    with pytest.raises(ZeroDivisionError):
        postprocess.fit_temperature(probability, truth)
    fingerprints.remembered("index", tmp_path, (slow() and tmp_path for _ in range(1)), lambda: 1)
    said = capsys.readouterr().err
    for words in (
        "Fitting a stack on 3 samples",
        "Fitting a temperature on 3 values",
        "which may have changed",
    ):
        assert words in said
