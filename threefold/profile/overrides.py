"""Constants of params.yaml, a task's or a variant's, put into a method's Config."""

import dataclasses
import difflib
from collections.abc import Collection
from functools import cache
from typing import Any

import algorithms
from threefold.base.errors import InputError
from threefold.profile.design import Design


def configure(design: Design, task: str, row: str) -> Any:
    """Return the Config of a row on a task: the method's, with the task's overrides, then the variant's own constants.

    A name like `ppo.discount` reaches into a nested Config. An override that this method does not have is another
    method's; one that no method has is an error, and so is a variant's that its method does not have.
    """
    variant, path = design.variant(row), design.params
    config = algorithms.load(variant.method).Config()
    for name, value in design.overrides.get(task, {}).items():
        where = f"{path}: overrides.{task}.{name}"
        if name in _constants(config):
            config = _replaced(config, name.split("."), value, where)
        else:
            _check_known(name, _of_any_method(), where)
    for name, value in variant.config.items():
        where = f"{path}: variants.{row}.config.{name}"
        _check_known(name, set(_constants(config)), where)
        config = _replaced(config, name.split("."), value, where)
    return config


@cache
def _of_any_method() -> frozenset[str]:
    return frozenset(
        constant for method in algorithms.names() for constant in _constants(algorithms.load(method).Config())
    )


def _constants(config: Any) -> list[str]:
    """Return the dotted names of a Config's constants."""
    names = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        nested = _constants(value) if dataclasses.is_dataclass(value) else []
        names += [f"{field.name}.{name}" for name in nested] or [field.name]
    return names


def _check_known(name: str, known: Collection[str], where: str) -> None:
    if name not in known:
        close = difflib.get_close_matches(name, sorted(known), n=1)
        cure = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(sorted(known))}"
        raise InputError(f"{where}: no Config has this constant; {cure}")


def _replaced(config: Any, parts: list[str], value: Any, where: str) -> Any:
    first, *rest = parts
    old = getattr(config, first)
    if rest:
        value = _replaced(old, rest, value, where)
    else:
        value = tuple(value) if isinstance(old, tuple) and isinstance(value, list) else value
        value = float(value) if isinstance(old, float) and type(value) is int else value
        if not _alike(value, old):
            cure = "correct it (YAML takes 3e-4 for text, 3.0e-4 for a number)"
            raise InputError(f"{where}: {value!r} is no {type(old).__name__} like {old!r}; {cure}")
    return dataclasses.replace(config, **{first: value})


def _alike(value: Any, old: Any) -> bool:
    if isinstance(value, tuple) and isinstance(old, tuple):
        return set(map(type, value)) <= set(map(type, old))
    return type(value) is type(old)
