"""Parts of a study, side by side, each on one core and kept in the store: a study that was stopped goes on."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import TypeVar

import pandas as pd
import torch
from rich.console import Console
from rich.progress import Progress

from threefold.base.files import replacing
from threefold.base.strict import Strict
from threefold.base.workers import default_threads
from threefold.store import code
from threefold.store.entries import Entry, location
from threefold.store.inputs import plain
from threefold.store.origin import origin
from threefold.tables.schema import Schema, read_csv, write_csv

Frames = dict[str, pd.DataFrame]  # rows by the name of their file
S = TypeVar("S", bound=Strict)
Work = Callable[[str, S], Frames]  # a module's function of a part's name and the study's size


def compute(study: str, parts: Sequence[str], size: S, files: Mapping[str, Schema], work: Work[S]) -> Frames:
    """Return each file's rows, of all parts in their order; `files` says what they hold."""
    pool = ProcessPoolExecutor(default_threads(), get_context("spawn"), torch.set_num_threads, (1,))
    with pool, Progress(console=Console(stderr=True)) as progress:
        results = pool.map(partial(kept, study, size=size, files=files, work=work), parts)
        found = list(progress.track(results, len(parts), description=study))
    return {name: pd.concat([rows[name] for rows in found if name in rows], ignore_index=True) for name in files}


def kept(study: str, part: str, size: S, files: Mapping[str, Schema], work: Work[S]) -> Frames:
    """Return a part's rows: from the store, or computed and put there."""
    inputs = {"study": study, "part": part, "size": size.model_dump(), "code": code.checksums(work.__module__)}
    code.refuse_edits_since_start(inputs["code"])
    entry = Entry(location(code.ROOT), f"studies/{study}/{part}", plain(inputs))
    with entry.locked():
        if not entry.finished():
            with replacing(entry.result) as folder:
                for name, rows in work(part, size).items():
                    write_csv(rows, folder / f"{name}.csv", files[name])
            entry.finish(origin())
        return {path.stem: read_csv(path, files[path.stem]) for path in sorted(entry.result.iterdir())}
