"""Constants of params.yaml, a task's or a variant's, put into a method's Config."""

from functools import cache
from typing import Any

import algorithms
import envs
from threefold.base.errors import InputError
from threefold.profile import constants
from threefold.profile.design import Design


def configure(design: Design, task: str, row: str) -> Any:
    """Return the Config of a row on a task: the method's, the task's preset, its overrides, the variant's constants.

    Each comes before the next. A name like `ppo.discount` reaches into a nested Config. A constant of a preset or an
    override that this method does not have is another method's; one that no method has is an error, and so is a
    variant's that its method does not have.
    """
    variant = design.variant(row)
    config = algorithms.load(variant.method).Config()
    own = set(constants.names(config))
    for changes, where in (
        (envs.preset(task), f"{envs.load(task).__name__}.PRESET"),
        (design.overrides.get(task, {}), f"{design.params}: overrides.{task}"),
    ):
        for name in sorted(set(changes) - own):
            if name in algorithms.names():
                fault = "a method, where constants stand, for every method that has them"
                raise InputError(f"{where}.{name}: {fault}; write those of one method in the config of a variant")
            constants.check_known(name, changes[name], _of_any_method(), where)
        config = constants.replaced(config, {name: changes[name] for name in changes if name in own}, where)
    return constants.replaced(config, variant.config, f"{design.params}: variants.{row}.config")


@cache
def _of_any_method() -> frozenset[str]:
    return frozenset(
        name for method in algorithms.names() for name in constants.names(algorithms.load(method).Config())
    )
