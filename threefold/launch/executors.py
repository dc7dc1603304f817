"""Where the cells of a grid are computed: on this machine, or on a Ray cluster.

Either way a cell is computed by `threefold run` in a process of its own, in a checkout of the project, and must be made
from exactly what the launcher has there.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from threefold.base.errors import InputError
from threefold.store.entries import LOG, Entry, location

TRIES = 3  # for a cell whose process, or worker, is killed


class Order(NamedTuple):
    """A part of a cell to compute; paths are relative to the project."""

    params: str
    task: str
    row: str
    part: str
    folder: str  # of its entry, in the store
    expected: dict[str, Any]  # what it must be made from


class Outcome(NamedTuple):
    """What came of it: the entry's files, or why there is none."""

    files: dict[str, bytes]
    reason: str = ""


class Executor(Protocol):
    """Computes cells, some at a time."""

    def slots(self) -> int:
        """Return how many cells it can compute at a time, now."""

    def submit(self, order: Order) -> "Future[Outcome]":
        """Begin one."""


class Local:
    """This machine: so many processes of `cpus` cores each, on its `gpus` in turn."""

    def __init__(self, root: Path, cpus: int, slots: int, gpus: int = 0) -> None:
        self._root, self._cpus, self._slots = root, cpus, slots
        self._gpu = itertools.cycle(range(gpus)) if gpus > 1 else None
        self._pool = ThreadPoolExecutor(self._slots)

    def slots(self) -> int:
        """See `Executor`."""
        return self._slots

    def submit(self, order: Order) -> "Future[Outcome]":
        """See `Executor`."""
        gpu = None if self._gpu is None else next(self._gpu)
        return self._pool.submit(compute, self._root, order, self._cpus, gpu)


class Ray:
    """A Ray cluster; every machine has the project at the same path. Workers may come and go."""

    def __init__(self, root: Path, cpus: int, address: str, gpus: float = 0.0) -> None:
        """Join the cluster; raises InputError if there is none, or no Ray."""
        try:
            import ray
        except ImportError:
            raise InputError("--executor ray: Ray is not installed; run `pip install ray`, or use local") from None
        try:
            path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
            ray.init(address=address, runtime_env={"env_vars": {"PYTHONPATH": path}}, log_to_driver=False)
        except (ConnectionError, ValueError) as error:  # the latter: no address
            raise InputError(f"--address {address}: no Ray cluster ({error}); `ray start --head` begins one") from None
        self._ray, self._each = ray, {"CPU": cpus} | ({"GPU": gpus} if gpus else {})
        remote = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=TRIES - 1)(compute)
        self._begin: Callable[[Order], Any] = lambda order: remote.remote(root, order, cpus)

    def slots(self) -> int:
        """See `Executor`."""
        there = self._ray.cluster_resources()
        return min(int(there.get(kind, 0) / number) for kind, number in self._each.items())

    def submit(self, order: Order) -> "Future[Outcome]":
        """See `Executor`."""
        return self._begin(order).future()


def compute(root: Path, order: Order, cpus: int, gpu: int | None = None) -> Outcome:
    """Compute a cell in the checkout at `root`, on `cpus` cores and the given GPU; return the files of its entry."""
    folder = location(root) / order.folder
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "threefold", "run", "--params", order.params]
    command += ["--task", order.task, "--row", order.row, "--part", order.part]
    environment = os.environ | {"THREEFOLD_THREADS": str(cpus)}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = str(gpu)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as expected, open(folder / LOG, "a+") as log:
        json.dump(order.expected, expected)
        expected.flush()
        command += ["--expect", expected.name]
        for _ in range(TRIES):
            code = subprocess.run(command, cwd=root, env=environment, stdout=log, stderr=log, check=False).returncode
            if code >= 0:
                break
    if (folder / "done").exists():
        return Outcome(Entry.files(folder))
    if code < 0:
        return Outcome({}, f"killed by {signal.Signals(-code).name}")
    said = [line for line in (folder / LOG).read_text(errors="replace").splitlines() if line.strip()]
    return Outcome({}, said[-1].removeprefix("error: ") if said else f"exited with {code} without output")
