"""The profiles of a project, found by looking."""

from pathlib import Path

from threefold.base.errors import InputError
from threefold.profile.design import Design, load


def profiles(root: Path) -> list[Design]:
    """Return the design of every profile of a project: of each folder with the chain, dvc.yaml."""
    found = [path.with_name("params.yaml") for path in sorted([*root.glob("dvc.yaml"), *root.glob("*/dvc.yaml")])]
    return [load(params) for params in found if params.exists() and "profile:" in params.read_text()]


def find(root: Path, name: str) -> Design:
    """Return the design of a profile by its name; raises InputError if there is none."""
    known = {design.profile: design for design in profiles(root)}
    if not known:
        raise InputError(f"--root {root}: no profile here, a params.yaml beside a dvc.yaml; name the project's folder")
    if name not in known:
        raise InputError(f"--profile {name}: not one of {', '.join(sorted(known))}")
    return known[name]
