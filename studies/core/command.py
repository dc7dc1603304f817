"""What the commands of the studies share: the size of a profile, files that are whole or not there, provenance."""

import argparse
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from errors import InputError
from files import replacing, write_json
from results import schema as files
from results.design import load
from store.origin import origin

Tables = dict[str, tuple[pd.DataFrame, files.Schema]]  # file's name: rows, and what they hold


def run(name: str, doc: str | None, study: Callable[[Any], Tables]) -> None:
    """Make the files of `study` at its size in the profile named on the command line."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="of the profile")
    params = parser.parse_args().params
    design = load(params)
    size = getattr(design.studies, name)
    if size is None:
        raise InputError(f"{params}: studies.{name}: missing; add the size of the study")
    torch.set_num_threads(1)  # so that neither speed nor bytes depend on the cores
    started, clock = datetime.now(UTC), time.perf_counter()
    try:
        tables = study(size)
    except InputError as error:
        raise InputError(f"{params}: {error}") from None
    with replacing(design.results / "studies" / name) as folder:
        for file, (rows, columns) in tables.items():
            files.write_csv(rows, folder / f"{file}.csv", columns)
    sidecar = origin(f"studies.{name}") | {
        "wall_s": round(time.perf_counter() - clock, 1),
        "started": started.isoformat(timespec="seconds"),
    }
    write_json(sidecar, design.results / "provenance" / "studies" / f"{name}.json")
