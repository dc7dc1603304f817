"""Let results made from an old commit's code count as made from this one's, where both compute the same.

Both trees compute truncated parts (threefold.cells.prefix) on this machine, with the same data and interpreter. If all
their files agree, row by row and bit for bit, what the old tree's results are made from is rewritten, and their
provenance names both commits. At the first difference nothing is adopted. A constant that the old tree's Config lacks
counts as code: the old results are made with whatever stood in its place.

It proves what it computes: the first iterations of one part of every cell that has a result and whose code differs. It
cannot see what shows only later, in other parts, or on a GPU. With `all` iterations those parts are computed to their
end.
"""

import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from threefold.base.errors import InputError
from threefold.base.files import replacing, write_json
from threefold.base.messages import inform
from threefold.base.workers import default_threads
from threefold.cells.grid import Place, grid, status
from threefold.cells.prefix import MADE_FROM, number
from threefold.profile.design import Design
from threefold.profile.profiles import profiles
from threefold.store import code
from threefold.store.entries import LOG, Entry, alone, location, removable
from threefold.store.worktree import committed, worktree
from threefold.tables import schema
from threefold.tables.planned import NOTHING, differences

DRIVER = "threefold.cells.prefix"


@dataclass(frozen=True)
class Case:
    """A part that the two trees make from other code."""

    place: Place
    made_from: dict[str, Any]  # by the old tree

    @property
    def name(self) -> str:
        """Return its name, TASK/ROW/PART."""
        return self.place.entry.name


def adopt(root: Path, old: str, iterations: str, profile: str | None) -> None:
    """Adopt the results of an old commit, of one profile or of all; raises InputError where the trees differ."""
    root = root.resolve()
    if root != code.ROOT:
        raise InputError(f"{root}: not the project whose code runs; run `python -m threefold store adopt` there")
    number(iterations)
    designs, new = _chosen(root, profile), committed(root)
    with worktree(root, old) as (commit, tree), tempfile.TemporaryDirectory(prefix="threefold-") as scratch:
        if not tree.joinpath(*DRIVER.split(".")).with_suffix(".py").exists():
            raise InputError(f"{old}: a commit without {DRIVER}, which computes what is compared; name a later one")
        asked = [(design, _cases(design, root, tree, Path(scratch))) for design in designs]
        found = [
            (cases, compare((tree, root), design.params.relative_to(root), iterations, cases, Path(scratch)))
            for design, cases in asked
        ]
    if committed(root) != new:
        raise InputError(f"{root}: another commit than when this began; start it again")
    stored = delivered = 0
    for cases, compared in found:
        for case in cases:
            proof = {"from": commit, "to": new, "iterations": iterations, "compared": compared[case.place.cell.name]}
            stored += rekey(case, proof)
            delivered += readdress(case, proof)
    cells = sum(len(compared) for _, compared in found)
    print(
        f"{cells} cells have other code, and compute the same in {iterations} iterations; "
        f"adopted: {stored} parts in the store, {delivered} delivered ones"
    )


def _chosen(root: Path, profile: str | None) -> list[Design]:
    designs = profiles(root)
    if profile and profile not in (names := [design.profile for design in designs]):
        raise InputError(f"--profile {profile}: not a profile of {root}; choose from {', '.join(names)}")
    return [design for design in designs if profile in (None, design.profile)]


def _cases(design: Design, root: Path, tree: Path, scratch: Path) -> list[Case]:
    """Return the results that both trees make from other code; InputError if more than the code differs."""
    params = design.params.relative_to(root)
    if not (tree / params).exists():
        inform(f"{params}: not in the old commit; nothing to adopt")
        return []
    out = scratch / "plans" / params
    _drive([tree], params, [out], [])
    theirs = json.loads((out / MADE_FROM).read_text())
    cases = [Case(place, theirs[place.entry.name]) for place in grid(design) if place.entry.name in theirs]
    cases = [
        case for case in cases if case.made_from != case.place.entry.inputs and (_stored(case) or _delivered(case))
    ]
    for case in cases:
        for key, before, after in differences(case.made_from, case.place.entry.inputs):
            if not (key.startswith("code.") or (key.startswith("config.") and before == NOTHING)):
                raise InputError(_refusal(f"{case.name}: {key}", before, after) + ", because more than code differs")
    return cases


def _stored(case: Case) -> bool:
    """Whether the store has a finished result of the old tree."""
    return status(_old_entry(case).folder) == "done"


def _old_entry(case: Case) -> Entry:
    return Entry(location(case.place.cell.design.root), case.name, case.made_from)


def _delivered(case: Case) -> bool:
    """Whether a result of the old tree lies in its place."""
    try:
        return schema.read_part(_part(case))["made_from"] == case.made_from
    except InputError:  # missing, or no part: it is computed again
        return False


def _part(case: Case) -> Path:
    return case.place.cell.folder / case.place.part.name / schema.PART


def _refusal(what: str, before: Any, after: Any) -> str:
    return f"{what}: {before} in the old commit, {after} here; nothing is adopted"


def compare(
    trees: tuple[Path, Path], params: Path, iterations: str, cases: Sequence[Case], scratch: Path
) -> dict[str, int]:
    """Return how many rows and tensors agree, for each cell, of which one part is computed by the old and the new tree.

    Raises InputError at the first difference.
    """
    firsts = {case.place.cell.name: case.name for case in reversed(cases)}
    if not firsts:
        return {}
    inform(f"{params}: computing {len(firsts)} parts in both trees, {iterations} iterations")
    outs = [scratch / which / params for which in ("old", "new")]
    options = ["--iterations", iterations, *(word for name in firsts.values() for word in ("--part", name))]
    _drive(trees, params, outs, options)
    return {cell: agreeing(name, *(out / name for out in outs)) for cell, name in firsts.items()}


def _drive(trees: Sequence[Path], params: Path, outs: Sequence[Path], options: Sequence[str]) -> None:
    """Run the driver of each tree, side by side."""
    threads = max(1, default_threads() // len(trees))
    processes = []
    try:
        for tree, out in zip(trees, outs, strict=True):
            path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))
            environment = os.environ | {"THREEFOLD_THREADS": str(threads), "PYTHONPATH": path}
            command = [sys.executable, "-m", DRIVER, "--params", str(params), "--out", str(out), *options]
            processes.append(subprocess.Popen(command, cwd=tree, env=environment))
        for tree, process in zip(trees, processes, strict=True):
            if process.wait():
                raise InputError(f"{tree}: {DRIVER} failed (exit {process.returncode}), see above; nothing is adopted")
    finally:
        for process in processes:
            process.kill()
            process.wait()


def agreeing(name: str, old: Path, new: Path) -> int:
    """Return how many rows and tensors the files of a part have, if they are the same in two folders."""
    files = {path.name for folder in (old, new) for path in folder.iterdir()}
    count = 0
    for file in sorted(files, key=lambda file: (file != schema.FILES["training"], file)):  # where it shows earliest
        before, after = content(old / file), content(new / file)
        for key in dict.fromkeys([*before, *after]):
            if before.get(key) != after.get(key):
                where = f"{name}: {file}: {key}"
                raise InputError(_refusal(where, before.get(key, NOTHING), after.get(key, NOTHING)))
        count += sum(key.startswith(("row", "tensor")) for key in before)
    return count


def content(path: Path) -> dict[str, str]:
    """Return the rows, tensors or keys of a part's file, as texts that are equal only if those are, bit for bit."""
    if not path.exists():
        return {}
    data = path.read_bytes()
    if path.suffix == ".safetensors":
        return {f"tensor {name}": _described(tensor) for name, tensor in safetensors.torch.load(data).items()}
    if path.suffix == ".json":
        part = json.loads(data)
        return {key: str(value) for key, value in part.items() if key != "made_from"}  # which `_cases` compares
    columns, *rows = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().splitlines()
    return {"columns": columns} | {f"row {k}": row for k, row in enumerate(rows, start=1)}


def _described(tensor: torch.Tensor) -> str:
    data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
    return f"{tensor.dtype} {list(tensor.shape)} of checksum {hashlib.sha256(data).hexdigest()}"


def rekey(case: Case, proof: dict[str, Any]) -> bool:
    """Put a finished result of the store under its new fingerprint; return whether there was one.

    The new entry is whole before the old one is removed: a killed adoption leaves either, or both.
    """
    new, old = case.place.entry, _old_entry(case)
    if not _stored(case):
        return False
    with old.locked(), new.locked():
        if not old.finished():
            return False
        if not new.finished():
            with replacing(new.result) as fresh:
                for path in old.result.iterdir():
                    shutil.copyfile(path, fresh / path.name)
                _rewrite(fresh / schema.PART, new.inputs)
            if (old.folder / LOG).exists():
                shutil.copyfile(old.folder / LOG, new.folder / LOG)
            new.finish(_proved(json.loads(old.provenance()), proof))
    with removable(old.folder) as free:
        if free:
            shutil.rmtree(old.folder)
    return True


def readdress(case: Case, proof: dict[str, Any]) -> bool:
    """Let a delivered part say that it is made from the new code; return whether it was made from the old."""
    cell, part, entry = case.place
    provenance = cell.provenance(part)
    with alone(location(cell.design.root), cell.name):
        if not _delivered(case):
            return False
        known = json.loads(provenance.read_text()) if provenance.exists() else {}
        write_json(_proved(known, proof), provenance)
        _rewrite(_part(case), entry.inputs)
    return True


def _rewrite(path: Path, made_from: dict[str, Any]) -> None:
    write_json(schema.read_part(path) | {"made_from": made_from}, path)


def _proved(provenance: dict[str, Any], proof: dict[str, Any]) -> dict[str, Any]:
    """Return a provenance with one more proof; a killed adoption may have written it already."""
    proofs = provenance.get("adopted", [])
    return provenance | {"adopted": proofs if proof in proofs else [*proofs, proof]}
