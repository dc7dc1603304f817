"""What a cell is made from: all that decides its bytes. Versions of packages are recorded in it, not counted."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import yaml

from threefold.base.errors import InputError
from threefold.cells.provenance import describe, versions
from threefold.profile.design import Design
from threefold.store import sources as code
from threefold.store.sources import differences


class Sources:
    """Checksums of the files that cells are made from, each read once: what stage `run` of dvc.yaml depends on."""

    def __init__(self, root: Path) -> None:
        """Take the code of this project, and the data below `root`."""
        self._data, self._known = root, dict[Path, dict[str, str]]()
        self._dependencies = yaml.safe_load((code.CODE / "dvc.yaml").read_text())["stages"]["run"]["deps"]

    def of(self, demonstrations: Path, method: str) -> dict[str, str]:
        """Return the sha256 of every file, by its path in the project."""
        found: dict[str, str] = {}
        for dependency in self._dependencies:
            name = dependency.removeprefix("${root}/").replace("${item.method}", method)
            if "${item.task}" in name:
                found |= self._checksums(self._data, demonstrations)
            else:
                found |= self._checksums(code.CODE, code.CODE / name)
        return found

    def _checksums(self, root: Path, path: Path) -> dict[str, str]:
        if path not in self._known:
            self._known[path] = code.checksums(root, path)
        return self._known[path]


def inputs(design: Design, task: str, row: str, config: Any, sources: Sources) -> dict[str, Any]:
    """Return all that decides the bytes of a cell."""
    facts = describe(design, task, row, dataclasses.asdict(config), None)
    del facts["versions"], facts["engine"]
    facts["device"] = design.device  # auto: a result from any will do
    learners = {"seeds": design.seeds, "evaluation": design.evaluation.model_dump()}
    made_from = facts | learners | {"files": sources.of(design.demonstrations(task), design.variant(row).method)}
    return json.loads(json.dumps(made_from))  # as another machine reads it: lists for tuples


def expectation(made_from: dict[str, Any]) -> dict[str, Any]:
    """Return what a worker's cell must be made from, and with, to stand beside ours."""
    programs = versions("native")  # which every engine needs
    return made_from | {f"version of {name}": version for name, version in programs.items() if name != "python"}


def refuse_other_inputs(expected: dict[str, Any], made_from: dict[str, Any]) -> None:
    """Raise InputError if the launcher expects something else, naming all that differs."""
    if names := differences(expected, expectation(made_from)):
        raise InputError(f"{', '.join(names)}: not as where this was launched; make this machine's checkout the same")
