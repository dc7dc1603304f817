"""A live line on a terminal, plain lines in a log: steps, speed, each learner's true return, time left."""

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from threefold.base.steps import Step

FIRST_LINE = 2.0  # seconds until a log's first line,
PLAIN_EVERY = 15.0  # and between the lines after it
RECENT = 10  # episodes of a learner that its shown return averages


class Ticker:
    """Shows how a population trains. `total` counts environment steps per learner."""

    def __init__(self, title: str, total: int, learners: Sequence[object], console: Console | None = None) -> None:
        self._title, self._total, self._unit = title, total, "steps"
        self._done = self._before = 0.0  # per learner, on average; the latter by an earlier run
        self._recent: list[list[float]] = [[] for _ in learners]
        self._started = time.monotonic()
        self._next_line = self._started + FIRST_LINE
        # Without force_terminal, FORCE_COLOR would put control codes into logs.
        self._console = console or Console(file=sys.stderr, force_terminal=sys.stderr.isatty())
        self._live = Live(console=self._console, get_renderable=lambda: Text(str(self)), transient=True)

    def __enter__(self) -> "Ticker":
        """Begin to show."""
        if self._console.is_interactive:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End with one plain line that stays, if there was anything to show."""
        self._live.stop()
        if self._done:
            self._print()

    def advance(self, step: Step) -> None:
        """Count it; how much there will be of another unit than steps is not known."""
        share = step.more * (step.learners or len(self._recent)) / len(self._recent)
        self._done, self._unit, self._before = self._done + share, step.unit, self._before + share * step.resumed
        for learner, episode_return, _ in step.episodes:
            self._recent[learner] = [*self._recent[learner][1 - RECENT :], episode_return]
        if not self._console.is_interactive and time.monotonic() >= self._next_line:
            self._print()

    def __str__(self) -> str:
        """Return the line."""
        elapsed = time.monotonic() - self._started
        done = self._done - self._before
        speed = done / max(elapsed, 1e-9)
        if self._unit != "steps":
            return f"{self._title}: {self._done:,.0f} {self._unit}, {speed:,.0f} {self._unit}/s, {elapsed:.0f} s so far"
        left = f"{max((self._total - self._done) / speed, 0):.0f}" if done else "?"
        returns = " ".join(f"{sum(r) / len(r):.0f}" if r else "-" for r in self._recent)
        return (
            f"{self._title}: {self._done:,.0f}/{self._total:,} steps per learner, "
            f"{speed * len(self._recent):,.0f} steps/s in all, {elapsed:.0f} s so far, {left} s left, return {returns}"
        )

    def _print(self) -> None:
        self._next_line = time.monotonic() + PLAIN_EVERY
        print(self, file=self._console.file, flush=True)
