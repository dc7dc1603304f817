"""A study, computed: files that are whole or not there, and their provenance."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from studies import registry
from threefold.base.errors import InputError
from threefold.base.files import replacing, write_json
from threefold.cells.plan import stale, study_made_from
from threefold.profile.design import Design, load
from threefold.store import code
from threefold.store.inputs import differences, fingerprint
from threefold.store.origin import CORE_SECONDS, origin
from threefold.tables import planned, schema


def run(name: str, params: Path) -> None:
    """Compute a study at its size in a profile, and write its files to results/<profile>/studies/<name>/."""
    if name not in registry.names():
        raise InputError(
            f"study {name!r}: there is no folder studies/{name}; choose from {', '.join(registry.names())}"
        )
    design = load(params)
    if name not in design.sizes:
        raise InputError(f"{params}: studies.{name}: missing; add the size of the study")
    made_from = _made_from(design, name)
    study: Callable[[Any], Any] = registry.study(name).study
    torch.set_num_threads(1)  # so that neither speed nor bytes depend on the cores
    started, clock, cpu = datetime.now(UTC), time.perf_counter(), time.process_time()
    try:
        tables = study(design.sizes[name])
    except InputError as error:
        raise InputError(f"{params}: {error}") from None
    code.forget()
    if edited := differences(made_from, study_made_from(design, name)):
        raise InputError(f"{edited[0]}: changed while the study {name} was computed; start it again")
    _refuse_no_tables(name, tables)
    with replacing(design.results / "studies" / name) as folder:
        for file, (rows, columns) in tables.items():
            try:
                schema.write_csv(rows, folder / f"{file}.csv.gz", columns)
            except InputError as error:
                raise InputError(f"studies/{name}/study.py, held against studies/{name}/schema.py: {error}") from None
    sidecar = origin() | {
        "fingerprint": fingerprint(made_from),
        "wall_s": round(time.perf_counter() - clock, 1),
        "cpu_s": round(time.process_time() - cpu + CORE_SECONDS.pop(name, 0.0), 1),
        "started": started.isoformat(timespec="seconds"),
    }
    write_json(sidecar, planned.study_sidecar(design, name))


def _refuse_no_tables(name: str, tables: Any) -> None:
    """Raise InputError for what a study returns that is not `studies.core.tables.Tables`."""
    pairs = tables.values() if isinstance(tables, dict) else [tables]
    if not all(isinstance(pair, tuple) and [*map(type, pair)] == [pd.DataFrame, dict] for pair in pairs):
        raise InputError(
            f"studies/{name}/study.py: study: returns no dict of pairs (DataFrame, columns); return a pair for each "
            "file, by its name, as docs/own/study.md shows"
        )


def _made_from(design: Design, name: str) -> dict[str, Any]:
    """Return what a study is made from; raises InputError if the profile's plan says otherwise."""
    made_from = study_made_from(design, name)
    if design.plan.exists() and planned.read(design)["studies"].get(name) != fingerprint(made_from):
        raise stale(design, f"studies.{name}")
    return made_from
