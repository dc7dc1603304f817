"""Constants of params.yaml, a task's or a variant's, put into a method's Config."""

from functools import cache
from typing import Any

import algorithms
from threefold.profile import constants
from threefold.profile.design import Design


def configure(design: Design, task: str, row: str) -> Any:
    """Return the Config of a row on a task: the method's, with the task's overrides, then the variant's own constants.

    A name like `ppo.discount` reaches into a nested Config. An override that this method does not have is another
    method's; one that no method has is an error, and so is a variant's that its method does not have.
    """
    variant, where = design.variant(row), f"{design.params}: overrides.{task}"
    config = algorithms.load(variant.method).Config()
    overrides, own = design.overrides.get(task, {}), set(constants.names(config))
    for name in overrides:
        if name not in own:
            constants.check_known(name, _of_any_method(), where)
    config = constants.replaced(config, {name: overrides[name] for name in overrides if name in own}, where)
    return constants.replaced(config, variant.config, f"{design.params}: variants.{row}.config")


@cache
def _of_any_method() -> frozenset[str]:
    return frozenset(
        name for method in algorithms.names() for name in constants.names(algorithms.load(method).Config())
    )
