"""A live line on a terminal, plain lines in a log: steps, speed, each learner's true return, time left."""

import sys
import time
from collections.abc import Iterable, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PLAIN_EVERY = 15.0  # seconds between the lines of a log
RECENT = 10  # episodes of a learner that its shown return averages


class Ticker:
    """Shows how a population trains. `total` counts environment steps per learner."""

    def __init__(self, title: str, total: int, learners: Sequence[object]) -> None:
        self._title, self._total, self._done = title, total, 0
        self._recent: list[list[float]] = [[] for _ in learners]
        self._started = self._printed = time.monotonic()
        self._console = Console(file=sys.stderr)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._row = self._bar.add_task(title, total=total, state="")

    def __enter__(self) -> "Ticker":
        """Begin to show."""
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End with one plain line that stays."""
        self._bar.stop()
        self._print()

    def advance(self, steps: int, episodes: Iterable[tuple[int, float, int]] = ()) -> None:
        """Count `steps` more per learner and the (learner, episode_return, length) of finished training episodes."""
        self._done += steps
        for learner, episode_return, _ in episodes:
            self._recent[learner] = [*self._recent[learner][1 - RECENT :], episode_return]
        if self._console.is_terminal:
            self._bar.update(self._row, completed=self._done, state=self._state())
        elif time.monotonic() - self._printed >= PLAIN_EVERY:
            self._print()

    def _state(self) -> str:
        speed = self._done * len(self._recent) / max(time.monotonic() - self._started, 1e-9)
        returns = " ".join(f"{sum(r) / len(r):.0f}" if r else "-" for r in self._recent)
        return f"{speed:,.0f} steps/s  return {returns}"

    def _print(self) -> None:
        self._printed = time.monotonic()
        elapsed = self._printed - self._started
        left = elapsed * (self._total / self._done - 1) if self._done else float("nan")
        print(
            f"{self._title}: {self._done:,}/{self._total:,} steps per learner, {self._state()}, "
            f"{elapsed:.0f} s so far, {max(left, 0):.0f} s left",
            file=sys.stderr,
            flush=True,
        )
