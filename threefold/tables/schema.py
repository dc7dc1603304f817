"""What the results' files hold: columns and dtypes of every CSV, keys of `cell.json`, and safe reading and writing.

Bytes are a pure function of the values (floats by shortest round trip, no times), so DVC's hashes change only when
results do. Files appear whole or not at all: they are written beside their place and moved over it.
"""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd

from threefold.base import names
from threefold.base.errors import InputError
from threefold.base.files import write_bytes

Schema = dict[str, str]

LEARNER: Schema = {"task": "str", "row": "str", "demonstrations": "int64", "seed": "int64"}

# One row per evaluation episode. env_steps: true environment steps used for training so far (0: none, as BC).
# The largest env_steps of a learner is its final evaluation. Returns are sums of the task's own reward.
EVALUATIONS: Schema = LEARNER | {
    "env_steps": "int64",
    "episode": "int64",
    "episode_return": "float64",
    "episode_length": "int64",
    "terminated": "bool",
}
# Long form: one row per learner, iteration and metric of the method.
TRAINING: Schema = LEARNER | {"iteration": "int64", "env_steps": "int64", "metric": "str", "value": "float64"}
# One row per learner; reason is empty where status is ok.
LEARNERS: Schema = LEARNER | {"status": "str", "iteration": "int64", "env_steps": "int64", "reason": "str"}

# failed: it diverged and delivers no policy. missing: it has no result (collect alone says so, with `keep_going`).
CRASH = "crash.json"  # alone in the folder of a cell that ended with an error: {"reason": one line}
REFERENCES = names.REFERENCES  # row in the rows of a task's `reference` cell

# cell.json: what a cell's numbers rest on. versions: gymnasium, mujoco, torch, python.
# method: the file behind the row; expert: who demonstrates (own, survivors, idle).
# budget: env_steps, episodes, demonstrations, short_budget. demonstrations_sha256: null if they are of no file.
CELL: dict[str, type | tuple[type, ...]] = {
    "task": str,
    "row": str,
    "method": str,
    "expert": str,
    "versions": dict,
    "engine": str,
    "device": str,
    "config": dict,
    "budget": dict,
    "demonstrations_sha256": (str, type(None)),
}

CURE = "restore it with `dvc checkout` or make it again with `dvc repro`"


def write_csv(frame: pd.DataFrame, path: Path, schema: Schema) -> None:
    """Write `frame` as CSV after checking that its columns and dtypes are exactly `schema`'s (else ValueError)."""
    found = {str(column): str(dtype) for column, dtype in frame.dtypes.items()}
    if list(found.items()) != list(schema.items()):
        raise ValueError(f"{path}: columns {found}, expected {schema}")
    _refuse_holes(frame, schema)
    write_bytes(path, frame.to_csv(index=False, lineterminator="\n", na_rep="nan").encode())


def read_csv(path: Path, schema: Schema) -> pd.DataFrame:
    """Read what `write_csv` wrote; InputError, naming file and cure, if it is missing, truncated or malformed."""
    return read_csvs([path], schema)


def read_csvs(paths: list[Path], schema: Schema) -> pd.DataFrame:
    """Read several such files as one table; InputError as of `read_csv`, naming one that is at fault."""
    header, rows, path = ",".join(schema).encode(), [], Path()
    try:
        for path in paths:
            first, _, rest = path.read_bytes().partition(b"\n")
            if first.rstrip() != header:
                raise ValueError(f"its columns are {first.decode().strip() or 'missing'}, expected {header.decode()}")
            if rest and not rest.endswith(b"\n"):
                raise ValueError("its last line is cut off")
            rows.append(rest)
        return _parse(b"".join([header, b"\n", *rows]), schema)
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {CURE}") from None
    except ValueError as error:
        if len(rows) == len(paths) > 1:  # it is not the last one read that is at fault
            for one in paths:
                read_csv(one, schema)
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: truncated or altered ({reason}); {CURE}") from None


def _parse(data: bytes, schema: Schema) -> pd.DataFrame:
    floats = {column: ["nan"] for column, dtype in schema.items() if dtype == "float64"}
    frame = pd.read_csv(
        io.BytesIO(data), dtype=schema, keep_default_na=False, na_values=floats, index_col=False, encoding="utf-8"
    )
    _refuse_holes(frame, schema)
    lines = data.count(b"\n") - 1
    if len(frame) != lines:
        raise ValueError(f"{len(frame)} rows in {lines} lines")
    return frame


def _refuse_holes(frame: pd.DataFrame, schema: Schema) -> None:
    holes = [column for column, dtype in schema.items() if dtype != "float64" and frame[column].hasnans]
    if holes:
        raise ValueError(f"missing values in {', '.join(holes)}")


def read_cell(path: Path) -> dict[str, Any]:
    """Read a `cell.json`; a missing or malformed file or key is an InputError naming the file, the key and the cure."""
    try:
        cell = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {CURE}") from None
    except ValueError as error:
        raise InputError(f"{path}: truncated or altered ({error}); {CURE}") from None
    for key, kind in CELL.items():
        if not isinstance(cell, dict) or not isinstance(cell.get(key, ...), kind):
            raise InputError(f"{path}: no proper {key!r}; {CURE}")
    return cell


def read_crash(path: Path) -> str:
    """Read why a cell has no result."""
    try:
        return f"crashed: {json.loads(path.read_text())['reason']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "crashed"
