"""Per-task constants of params.yaml, put into a method's Config."""

import dataclasses
from pathlib import Path
from types import ModuleType
from typing import Any

import algorithms
from errors import InputError


def configure(method: ModuleType, overrides: dict[str, Any], path: Path, task: str) -> Any:
    """Return the method's Config with a task's overrides; a name like `ppo.discount` reaches into a nested Config.

    A constant that this method does not have is another method's; one that no method has is an error.
    """
    config = method.Config()
    for name, value in overrides.items():
        if not any(_has(module.Config(), name) for module in map(algorithms.load, algorithms.names())):
            raise InputError(f"{path}: overrides.{task}.{name}: no method's Config has this constant; correct the name")
        if _has(config, name):
            config = _replaced(config, name.split("."), value, f"{path}: overrides.{task}.{name}")
    return config


def _has(config: Any, name: str) -> bool:
    for part in name.split("."):
        if not dataclasses.is_dataclass(config) or not hasattr(config, part):
            return False
        config = getattr(config, part)
    return True


def _replaced(config: Any, parts: list[str], value: Any, where: str) -> Any:
    first, *rest = parts
    old = getattr(config, first)
    if rest:
        value = _replaced(old, rest, value, where)
    else:
        value = tuple(value) if isinstance(old, tuple) and isinstance(value, list) else value
        value = float(value) if isinstance(old, float) and type(value) is int else value
        if type(value) is not type(old):
            raise InputError(f"{where}: {value!r} is not of type {type(old).__name__}; correct the value")
    return dataclasses.replace(config, **{first: value})
