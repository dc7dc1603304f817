"""What the results' files hold: columns and dtypes of every CSV, keys of `cell.json`, and safe reading and writing.

Bytes are a pure function of the values (floats by shortest round trip, no times), so DVC's hashes change only when
results do. Files appear whole or not at all: they are written beside their place and moved over it.
"""

import gzip
import io
import json
import zlib
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
LEFT_OUT = "left_out.json"  # alone in the folder of a cell that the profile leaves out: {"reason": one line}
REFERENCES = names.REFERENCES  # `row` in the rows of a task's `reference` cell

# The files of a part of a cell, beside policies.safetensors, and what their tables hold.
PART = "part.json"
TABLES = {"evaluations": EVALUATIONS, "training": TRAINING, "learners": LEARNERS}
FILES = {"evaluations": "evaluations.csv.gz", "training": "training.csv.gz", "learners": "learners.csv"}

# part.json: what a part's numbers rest on. made_from: all that decides its bytes (Cell.made_from). versions: of
# gymnasium, mujoco, torch, python; engine: of the physics; device: where it trained; rollout: its shape
# there, if it has one. Of a cell also sha256: of the files beside it.
PART_KEYS: dict[str, type] = {"made_from": dict, "versions": dict, "engine": str, "device": str}

CURE = "make it again with `dvc repro`"


def write_csv(frame: pd.DataFrame, path: Path, schema: Schema) -> None:
    """Write `frame` as CSV after checking that its columns and dtypes are exactly `schema`'s (else InputError)."""
    found = {str(column): str(dtype) for column, dtype in frame.dtypes.items()}
    if list(found.items()) != list(schema.items()):
        raise InputError(f"{path.name}: the table has columns {found}, its schema {schema}; make them the same")
    if holes := _holes(frame, schema):
        raise InputError(f"{path.name}: missing values in {', '.join(holes)}; only a float64 column may have them")
    data = frame.to_csv(index=False, lineterminator="\n", na_rep="nan").encode()
    write_bytes(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_csv(path: Path, schema: Schema) -> pd.DataFrame:
    """Read what `write_csv` wrote; InputError, naming file and cure, if it is missing, truncated or malformed."""
    return read_csvs([path], schema)


def read_csvs(paths: list[Path], schema: Schema) -> pd.DataFrame:
    """Read several such files as one table; InputError as of `read_csv`, naming one that is at fault."""
    header, rows, path = ",".join(schema).encode(), [], Path()
    try:
        for path in paths:
            data = path.read_bytes()
            first, _, rest = (gzip.decompress(data) if path.suffix == ".gz" else data).partition(b"\n")
            if first.rstrip() != header:
                raise ValueError(f"its columns are {first.decode().strip() or 'missing'}, expected {header.decode()}")
            if rest and not rest.endswith(b"\n"):
                raise ValueError("its last line is cut off")
            rows.append(rest)
        return _parse(b"".join([header, b"\n", *rows]), schema)
    except FileNotFoundError:
        raise InputError(f"{path}: missing; {CURE}") from None
    except (ValueError, gzip.BadGzipFile, EOFError, zlib.error) as error:
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
    if holes := _holes(frame, schema):
        raise ValueError(f"missing values in {', '.join(holes)}")
    lines = data.count(b"\n") - 1
    if len(frame) != lines:
        raise ValueError(f"{len(frame)} rows in {lines} lines")
    return frame


def _holes(frame: pd.DataFrame, schema: Schema) -> list[str]:
    return [column for column, dtype in schema.items() if dtype != "float64" and frame[column].hasnans]


def read_part(path: Path) -> dict[str, Any]:
    """Read a `part.json`; a missing or malformed file or key is an InputError naming the file, the key and the cure."""
    try:
        part = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: missing; {CURE}") from None
    except ValueError as error:
        raise InputError(f"{path}: truncated or altered ({error}); {CURE}") from None
    for key, kind in PART_KEYS.items():
        if not isinstance(part, dict) or not isinstance(part.get(key, ...), kind):
            raise InputError(f"{path}: no proper {key!r}; {CURE}")
    return part


def read_reason(path: Path) -> str:
    """Read why a cell has no result."""
    try:
        return str(json.loads(path.read_text())["reason"])
    except (OSError, ValueError, TypeError, KeyError):
        return "for an unknown reason"
