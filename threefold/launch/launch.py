"""Compute all cells of a profile that the store lacks, several at a time, here or on a Ray cluster.

Results go to the store; `dvc repro` then only verifies and copies them. A cell that fails does not stop the others. It
can be ended and started again at any time, also beside a `dvc repro`: no cell is computed twice.
"""

import json
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from pathlib import Path

import torch
from rich.console import Console
from rich.live import Live
from rich.table import Table

from envs import device as devices
from threefold.base.errors import InputError
from threefold.base.messages import inform
from threefold.base.workers import default_threads
from threefold.cells.grid import Place, grid, status
from threefold.cells.plan import expectation
from threefold.cells.run import is_delivered
from threefold.launch.executors import Executor, Local, Order, Outcome, Ray
from threefold.profile.design import Design
from threefold.profile.names import check_names
from threefold.profile.profiles import find
from threefold.store.entries import Entry, location


class Board:
    """How far a grid is: a live table on a terminal, a line for each cell in a log."""

    def __init__(self, entries: list[Entry], console: Console | None = None) -> None:
        self.done = [entry for entry in entries if status(entry.folder) == "done"]
        self.waiting = deque(entry for entry in entries if entry not in self.done)
        self.running: dict[str, float] = {}  # since when
        self.failed: dict[str, str] = {}  # why
        self.slots = 0
        self._seconds: dict[str, list[float]] = {}  # that cells took, by row
        for entry in self.done:
            self._learn(entry)
        self._console = console or Console(file=sys.stderr, force_terminal=sys.stderr.isatty())

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show it, and at the end one line that stays."""
        live = Live(console=self._console, get_renderable=self.table, refresh_per_second=1, transient=True)
        if self._console.is_interactive:
            live.start()
        try:
            yield
        finally:
            live.stop()
            self._console.print(self.line(), highlight=False, soft_wrap=True)

    def start(self, entry: Entry) -> None:
        """Note that a cell is being computed."""
        self.running[entry.name] = time.monotonic()

    def end(self, entry: Entry, reason: str) -> None:
        """Note that a cell is done, or why not."""
        del self.running[entry.name]
        if reason:
            self.failed[entry.name] = reason
        else:
            self.done.append(entry)
            self._learn(entry)
        said = f"failed: {reason} (see {entry.folder})" if reason else "done"
        self._console.print(f"{entry.name}: {said}; {self.line()}", highlight=False, markup=False, soft_wrap=True)

    def _learn(self, entry: Entry) -> None:
        try:
            seconds = json.loads((entry.folder / "provenance.json").read_text())["wall_s"]
        except (OSError, ValueError, TypeError, KeyError):
            return
        self._seconds.setdefault(_row(entry.name), []).append(seconds)

    def left(self) -> float | None:
        """Seconds until all is done if cells take as long as those of their row, or of all rows, did; None: unknown."""
        every = [seconds for row in self._seconds.values() for seconds in row]
        if not every or not self.slots:
            return None
        mean = sum(every) / len(every)
        means = {row: sum(seconds) / len(seconds) for row, seconds in self._seconds.items()}
        work = sum(means.get(_row(entry.name), mean) for entry in self.waiting)
        now = time.monotonic()
        for name, since in self.running.items():
            work += max(means.get(_row(name), mean) - (now - since), 0.0)
        return work / self.slots

    def line(self) -> str:
        """Return the counts, and the time left."""
        total = len(self.done) + len(self.waiting) + len(self.running) + len(self.failed)
        left = self.left()
        counts = f"{len(self.done)} of {total} parts done, {len(self.running)} running, {len(self.failed)} failed"
        return counts + ("" if left is None else f", about {_duration(left)} left")

    def table(self) -> Table:
        """Return what is running, and what failed."""
        table = Table("part", "", title=self.line(), title_justify="left")
        now = time.monotonic()
        for name, since in self.running.items():
            table.add_row(name, f"running, {_duration(now - since)}")
        for name, reason in list(self.failed.items())[-10:]:
            table.add_row(name, f"failed: {reason}")
        return table


def _row(name: str) -> str:
    return name.split("/")[1]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {rest} s"


def launch(board: Board, params: str, store: Path, executor: Executor) -> None:
    """Compute what waits."""
    running: dict[Future[Outcome], Entry] = {}
    with board.shown():
        while board.waiting or running:
            board.slots = executor.slots()
            while board.waiting and len(running) < board.slots:
                entry = board.waiting.popleft()
                running[executor.submit(order(entry, params, store))] = entry
                board.start(entry)
            for future in wait(running, timeout=1.0, return_when=FIRST_COMPLETED).done:
                entry = running.pop(future)
                board.end(entry, settle(entry, future))


def in_waves(design: Design, waves: int | None = None) -> list[Place]:
    """Return the parts of a profile in the order of its waves, or of the first so many; InputError for too many."""
    if waves is not None and waves > len(design.waves):
        raise InputError(f"--waves {waves}: {design.params} has {len(design.waves)}; leave it out to compute all parts")
    waved = [(design.wave(place.cell.task, place.cell.row, place.part), place) for place in grid(design)]
    return [place for wave, place in sorted(waved, key=lambda pair: pair[0]) if waves is None or wave <= waves]


def order(entry: Entry, params: str, store: Path) -> Order:
    """Return what a worker is told."""
    task, row, part = entry.name.split("/")
    return Order(params, task, row, part, str(entry.folder.relative_to(store)), expectation(entry.inputs))


def settle(entry: Entry, future: "Future[Outcome]") -> str:
    """Take in a result; return why there is none, or nothing.

    An `OSError` of this machine, as of a full disk, is raised: every result that is still to come would meet it.
    """
    try:
        outcome = future.result()
    except Exception as error:  # a worker that is lost for good
        return _line(error)
    try:
        if not outcome.reason:
            entry.receive(outcome.files)
    except ValueError as error:  # what it sent
        return _line(error)
    return outcome.reason


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def executor_of(name: str, root: Path, cpus: int, gpus: float | None, address: str, device: str) -> Executor:
    """Return the executor that the command line asks for, of a profile that computes on `device`: auto, cpu or cuda."""
    if name == "ray":
        return Ray(root, cpus, address, gpus or 0.0)
    if name != "local":
        raise InputError(f"--executor {name}: no such executor; choose local or ray")
    slots, there = default_threads() // cpus, torch.cuda.device_count()
    if gpus is None and devices.choose(device) == "cuda":
        gpus = 1.0  # a part fills one; two at a time would share its memory unasked
    if gpus:
        slots = min(slots, int(there / gpus))
    return Local(root, cpus, max(1, slots), there)


def launch_profile(
    root: Path, profile: str, executor: str, cpus: int, gpus: float | None, address: str, waves: int | None = None
) -> None:
    """Compute the parts of a profile that the store lacks, wave after wave, or the first so many waves.

    Raises InputError naming those that failed.
    """
    design = find(root, profile)
    check_names(design)
    torch.set_num_threads(1)
    places = in_waves(design, waves)
    missing = [place.entry for place in places if not is_delivered(place.cell, place.part)]
    if not missing:
        inform(f"{len(places)} of {len(places)} parts are there, nothing to compute")
        return
    board = Board(missing)
    where = executor_of(executor, root, cpus, gpus, address, design.device)
    launch(board, str(design.params.relative_to(root)), location(root), where)
    if board.failed:
        lines = [f"{name}: {reason}" for name, reason in board.failed.items()]
        raise InputError("\n".join(["these parts failed; start again to try them again:", *lines]))
