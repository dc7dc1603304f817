"""Constants of params.yaml, a task's or a variant's, put into a method's Config."""

from pathlib import Path
from typing import Any

import algorithms
from threefold.profile import constants
from threefold.profile.design import Design


def configure(design: Design, path: Path, task: str, row: str) -> Any:
    """Return the Config of a row on a task: the method's, with the task's overrides, then the variant's own constants.

    A name like `ppo.discount` reaches into a nested Config. An override that this method does not have is another
    method's; one that no method has is an error, and so is a variant's that its method does not have.
    """
    variant, where = design.variant(row), f"{path}: overrides.{task}"
    config = algorithms.load(variant.method).Config()
    overrides, own = design.overrides.get(task, {}), set(constants.names(config))
    if others := [name for name in overrides if name not in own]:
        every = {name for method in algorithms.names() for name in constants.names(algorithms.load(method).Config())}
        for name in others:
            constants.check_known(name, every, where)
    config = constants.replaced(config, {name: overrides[name] for name in overrides if name in own}, where)
    return constants.replaced(config, variant.config, f"{path}: variants.{row}.config")
