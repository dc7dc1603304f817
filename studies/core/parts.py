"""Parts of a study, side by side, each on one core and kept in the store: a study that was stopped goes on."""

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import pandas as pd
import torch
from rich.console import Console
from rich.progress import track

from threefold.base.files import replacing
from threefold.base.strict import Strict
from threefold.base.workers import default_threads
from threefold.tables.schema import Schema, read_csv, write_csv

Frames = dict[str, pd.DataFrame]  # rows by the name of their file
Data = Mapping[str, str]  # checksums of the files that a study reads, by name
S = TypeVar("S", bound=Strict)
T = TypeVar("T")
# A module's function of a part's name, its size, and a folder for checkpoints, if it lasts for minutes.
Work = Callable[[str, S, Path], Frames]


def compute(
    study: str,
    parts: Mapping[str, S],
    files: Mapping[str, Schema],
    work: Work[S],
    data: Data | None = None,
    workers: int | None = None,
) -> Frames:
    """Return each file's rows, of all parts in their order.

    parts: their sizes by name, the longest first. A part is computed again when its size, the code of `work` or the
    data change.
    files: what the files hold.
    workers: parts that are computed at a time; as many as there are cores, if not given.
    """
    # Imported here, as how results are kept is not what they are made from: an edit of it makes no study stale.
    from threefold.store import origin

    pool = ProcessPoolExecutor(workers or default_threads(), get_context("spawn"), torch.set_num_threads, (1,))
    with pool:
        futures = [pool.submit(_timed, study, part, size, files, work, data) for part, size in parts.items()]
        try:
            for future in shown(as_completed(futures), len(futures), study):
                future.result()
        finally:
            for future in futures:
                future.cancel()
    found, seconds = zip(*[future.result() for future in futures], strict=True)
    origin.CORE_SECONDS[study] += sum(seconds)
    return {name: pd.concat([rows[name] for rows in found if name in rows], ignore_index=True) for name in files}


def kept(
    study: str, part: str, size: S, files: Mapping[str, Schema], work: Work[S], data: Data | None = None
) -> Frames:
    """Return a part's rows: from the store, or computed and put there."""
    return _timed(study, part, size, files, work, data)[0]


def _timed(
    study: str, part: str, size: S, files: Mapping[str, Schema], work: Work[S], data: Data | None
) -> tuple[Frames, float]:
    """Return what `kept` does, and how long a core computed it."""
    from threefold.store import code
    from threefold.store.entries import Entry, location
    from threefold.store.inputs import plain
    from threefold.store.origin import origin

    inputs = {"study": study, "part": part, "size": size.model_dump(), "code": code.checksums(work.__module__)}
    code.refuse_edits_since_start(inputs["code"])
    entry = Entry(location(code.ROOT), f"studies/{study}/{part}", plain(inputs | ({"data": data} if data else {})))
    with entry.locked():
        if not entry.finished():
            started = time.process_time()
            rows = work(part, size, entry.checkpoints)
            with replacing(entry.result) as folder:
                for name, frame in rows.items():
                    write_csv(frame, folder / f"{name}.csv", files[name])
            entry.finish(origin() | {"cpu_s": round(time.process_time() - started, 1)})
        rows = {path.stem: read_csv(path, files[path.stem]) for path in sorted(entry.result.iterdir())}
        return rows, json.loads(entry.provenance())["cpu_s"]


def shown(results: Iterable[T], total: int, study: str) -> Iterator[T]:
    """Yield results as they come: under a bar on a terminal, with a line each in a log."""
    console = Console(file=sys.stderr, force_terminal=sys.stderr.isatty())
    if console.is_interactive:
        yield from track(results, study, total, console=console)
        return
    started = time.monotonic()
    for done, result in enumerate(results, start=1):
        elapsed = time.monotonic() - started
        line = f"{study}: {done} of {total} parts, {elapsed:.0f} s so far, {elapsed / done * (total - done):.0f} s left"
        print(line, file=sys.stderr, flush=True)
        yield result
