import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from threefold.base import progress
from threefold.base.steps import Step

ROOT = Path(__file__).parents[1]


class Clock:
    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def test_a_log_gets_plain_lines(clock, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # as continuous integration sets it; a log is no terminal all the same
    with progress.Ticker("gail Hopper-v5", 100_000, [0, 1, 2]) as ticker:
        for second in range(1, 25):
            clock.now += 1
            ticker.advance(Step(1000, [(0, 10.0 * second, 5), (2, -4.4, 5)]))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "gail Hopper-v5: 2,000/100,000 steps per learner, 3,000 steps/s in all, 2 s so far, 98 s left, return 15 - -4",
        "gail Hopper-v5: 17,000/100,000 steps per learner, 3,000 steps/s in all, 17 s so far, 83 s left, "
        "return 125 - -4",  # of the last ten episodes: 80 to 170
        "gail Hopper-v5: 24,000/100,000 steps per learner, 3,000 steps/s in all, 24 s so far, 76 s left, "
        "return 195 - -4",
    ]


def test_a_method_without_env_steps_counts_iterations(clock, capsys):
    with progress.Ticker("bc Hopper-v5", 100_000, [0, 1]) as ticker:
        for _ in range(4):
            clock.now += 0.5
            ticker.advance(Step(200, unit="iterations"))
    assert capsys.readouterr().err == (
        "bc Hopper-v5: 800 iterations, 400 iterations/s, 2 s so far\n" * 2  # after two seconds, and at the end
    )


def test_more_steps_than_the_budget_leave_no_negative_time(clock, capsys):
    with progress.Ticker("gail Hopper-v5", 1000, [0]) as ticker:
        clock.now += 1
        ticker.advance(Step(1024))
    assert "1,024/1,000 steps" in (line := capsys.readouterr().err)
    assert " 0 s left" in line


def test_nothing_is_said_of_nothing(clock, capsys):
    """A command that refuses its input says that alone."""
    with progress.Ticker("gail Hopper-v5", 1000, [0, 1]) as ticker:
        pass
    assert str(ticker).endswith(" 0/1,000 steps per learner, 0 steps/s in all, 0 s so far, ? s left, return - -")
    assert capsys.readouterr().err == ""


def test_learners_that_train_apart_count_by_their_number(clock):
    ticker = progress.Ticker("gail Hopper-v5", 1000, [0, 1, 2, 3])
    ticker.advance(Step(400, learners=1, resumed=True))
    clock.now += 1
    ticker.advance(Step(400, learners=2))
    assert ": 300/1,000 steps per learner, 800 steps/s in all" in str(ticker)


def test_a_terminal_gets_a_live_line(capsys):
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, force_interactive=True, width=60)
    with progress.Ticker("gail Hopper-v5", 100_000, [0, 1], console) as ticker:
        ticker.advance(Step(4096, [(1, 7.0, 3)]))
        ticker._live.refresh()
        live = shown.getvalue()
    assert "4,096/100,000 steps" in live
    assert "return - 7" in live
    rest = shown.getvalue().removeprefix(live)
    assert "\x1b[1A\x1b[2K" in rest  # the live line, which needed two of 60 columns, is wiped,
    last = rest.rpartition("\x1b[2K")[2]
    assert last.startswith("gail Hopper-v5: 4,096/100,000")  # and a plain one stays
    assert last.endswith("return - 7\n")
    assert capsys.readouterr().err == ""


SCRIPT = """
from threefold.base.progress import Ticker
from threefold.base.steps import Step
with Ticker("gail Hopper-v5", 100, [0]) as ticker:
    ticker.advance(Step(50, [(0, 3.0, 1)]))
    ticker._live.refresh()
"""


@pytest.mark.parametrize("terminal", [True, False])
def test_it_tells_a_terminal_from_a_log(terminal):
    ours, theirs = pty.openpty() if terminal else os.pipe()
    environment = {**os.environ, "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, stderr=theirs, env=environment, check=True)
    os.close(theirs)
    said = os.read(ours, 10_000).decode()
    os.close(ours)
    assert ("\x1b" in said) == terminal
    assert "50/100 steps per learner" in said
