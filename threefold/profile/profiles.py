"""The profiles of a project, found by looking."""

import re
from pathlib import Path

from threefold.base.errors import InputError
from threefold.profile.design import Design, load


def files(root: Path) -> list[Path]:
    """Return the params.yaml of every profile of a project: of each folder with the chain, dvc.yaml."""
    found = [path.with_name("params.yaml") for path in sorted([*root.glob("dvc.yaml"), *root.glob("*/dvc.yaml")])]
    return [params for params in found if params.exists() and "profile:" in params.read_text()]


def profiles(root: Path) -> list[Design]:
    """Return the design of every profile of a project."""
    return [load(params) for params in files(root)]


def refuse_taken_name(design: Design) -> None:
    """Raise InputError if another profile of the project has a design's name, as a copied file has it.

    What else may be wrong with the other one does not matter here.
    """
    named = re.compile(rf"^profile:\s*[\"']?{re.escape(design.profile)}[\"']?\s*(#|$)", re.MULTILINE)
    for other in files(design.root):
        if named.search(other.read_text()) and not other.samefile(design.params):
            raise InputError(f"{design.params}: profile: {design.profile} is that of {other} too; give it another name")


def find(root: Path, name: str) -> Design:
    """Return the design of a profile by its name; raises InputError if there is none."""
    known = {design.profile: design for design in profiles(root)}
    if not known:
        raise InputError(f"--root {root}: no profile here, a params.yaml beside a dvc.yaml; name the project's folder")
    if name not in known:
        raise InputError(f"--profile {name}: not one of {', '.join(sorted(known))}")
    return known[name]
