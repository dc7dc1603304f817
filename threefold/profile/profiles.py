"""The profiles of a project, found by looking."""

import os
import re
from pathlib import Path

from threefold.base.errors import InputError
from threefold.profile.design import Design, load

FULL = "paper"  # the profile with full budgets, beside which a report shows those of another


def files(root: Path) -> list[Path]:
    """Return the params.yaml of every profile of a project: of each folder with the chain, dvc.yaml.

    A project of its own in a folder of this one is not part of it.
    """
    found = [path.with_name("params.yaml") for path in sorted([*root.glob("dvc.yaml"), *root.glob("*/dvc.yaml")])]
    return [params for params in found if params.exists() and _is_within(root, params)]


def _is_within(root: Path, params: Path) -> bool:
    """Return whether a file is a profile of the project at a root, whatever else may be wrong with it."""
    return b"profile:" in params.read_bytes() and (_root(params) or root).resolve() == root.resolve()


def _root(params: Path) -> Path | None:
    """Return the project of a profile, if its file names it."""
    named = re.search(rb"^root:\s*[\"']?([^\s\"'#]+)", params.read_bytes(), re.MULTILINE)
    return params.parent / os.fsdecode(named[1]) if named else None


def _has_name(params: Path, name: str) -> bool:
    named = rf"^profile:\s*[\"']?{re.escape(name)}[\"']?\s*(#|$)"
    return re.search(named, params.read_text(errors="replace"), re.MULTILINE) is not None


def profiles(root: Path) -> list[Design]:
    """Return the design of every profile of a project; raises InputError if there is none."""
    refuse_no_project(root)
    return [load(params) for params in files(root)]


def refuse_no_project(root: Path) -> None:
    """Raise InputError for a folder without a profile; of a profile's own it says where the project is."""
    if files(root):
        return
    params = root / "params.yaml"
    if params.exists() and (project := _root(params)) and files(project):
        raise InputError(
            f"--root {root}: a profile's own folder; run it in the project's folder, {os.path.relpath(project)} seen "
            "from here"
        )
    raise InputError(
        f"--root {root}: no profile here, a params.yaml beside a dvc.yaml; name the project's folder, or run it there"
    )


def refuse_taken_name(design: Design) -> None:
    """Raise InputError if another profile of the project has a design's name, as a copied file has it.

    What else may be wrong with the other one does not matter here.
    """
    for other in files(design.root):
        if _has_name(other, design.profile) and not other.samefile(design.params):
            raise InputError(f"{design.params}: profile: {design.profile} is that of {other} too; give it another name")


def full(design: Design) -> Design | None:
    """Return the profile with full budgets of a design's project; None if that is it, or if it cannot be read."""
    if design.profile == FULL:
        return None
    try:
        return next((load(params) for params in files(design.root) if _has_name(params, FULL)), None)
    except InputError:  # whoever looks at this profile has no fault in that one
        return None


def find(root: Path, name: str) -> Design:
    """Return the design of a profile by its name; raises InputError if there is none.

    What may be wrong with another profile does not matter here, unless the one that is asked for is not found.
    """
    for params in files(root):
        if _has_name(params, name):
            return load(params)
    raise InputError(f"--profile {name}: not one of {', '.join(sorted(design.profile for design in profiles(root)))}")
