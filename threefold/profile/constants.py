"""Constants that a YAML file changes, by dotted names: `batch`, `ppo.discount`, `loop.absorbing`.

What a constant may be is the type of its field in the Config: see `algorithms.core.constants`.
"""

import dataclasses
import difflib
import re
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from threefold.base.errors import InputError
from threefold.base.strict import Count

STRICT = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)

Config = TypeVar("Config")


def names(config: Any) -> list[str]:
    """Return the dotted names of a Config's constants."""
    found = []
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        nested = names(value) if dataclasses.is_dataclass(value) else []
        found += [f"{field.name}.{name}" for name in nested] or [field.name]
    return found


def check_known(name: str, value: Any, known: Collection[str], where: str) -> None:
    """Raise `InputError` for a name that is none of the known constants; `where` is the file and the key above it."""
    if name in known:
        return
    if group := sorted(each for each in known if each.startswith(f"{name}.")):
        given = value if isinstance(value, Mapping) else {}
        dotted = ", ".join(f"{name}.{key}: {each}" for key, each in given.items()) or f"one of {', '.join(group)}"
        raise InputError(f"{where}.{name}: a group of constants; write {dotted}")
    close = difflib.get_close_matches(name, sorted(known), n=1)
    remedy = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(sorted(known))}"
    raise InputError(f"{where}.{name}: no such constant; {remedy}")


def replaced(config: Config, changes: Mapping[str, Any], where: str) -> Config:
    """Return a Config with some constants changed.

    Raises `InputError` for one that it does not have, or a value of another type or out of range; `where` is the file
    and the key above the constants.
    """
    known = set(names(config))
    for name, value in changes.items():
        check_known(name, value, known, where)
        config = _replaced(config, name.split("."), value, f"{where}.{name}")
    return config


def _replaced(config: Config, parts: list[str], value: Any, where: str) -> Config:
    first, *rest = parts
    old = getattr(config, first)
    new = _replaced(old, rest, value, where) if rest else _checked(type(config), first, value, old, where)
    try:
        return dataclasses.replace(config, **{first: new})  # type: ignore[type-var] # a dataclass, as `names` found
    except InputError as error:  # a Config may check itself
        raise InputError(f"{where}: {error}") from None


def _checked(config: type, name: str, value: Any, old: Any, where: str) -> Any:
    """Return a value as the type of a field has it: a list of YAML becomes a tuple, a whole number a float."""
    try:
        return _adapter(config, name).validate_python(tuple(value) if isinstance(value, list) else value)
    except ValidationError as error:
        first = error.errors()[0]
        place = "".join(f".{part}" for part in first["loc"])
        raise InputError(
            f"{where}{place}: {first['msg']} (found {first['input']!r}, default {old!r}); "
            f"{_cure(first['type'], first['input'], old)}"
        ) from None


def _cure(expected: str, found: Any, old: Any) -> str:
    """Return how a value is written that is not what pydantic expected."""
    if expected == "tuple_type":
        return f"write a list, such as {[*old]}"
    if expected in ("float_type", "int_type") and isinstance(found, str) and re.fullmatch(r"[-+]?[\d.]+[eE].+", found):
        return "correct it (YAML takes 3e-4 for text, 3.0e-4 for a number)"
    return "correct it"


@cache
def _adapter(config: type, name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_counted(get_type_hints(config, include_extras=True)[name]), config=STRICT)


def _counted(kind: Any) -> Any:
    """Return a type in which every plain `int` is a count."""
    if kind is int:
        return Count
    if get_origin(kind) is tuple:
        return tuple[tuple(_counted(part) for part in get_args(kind))]  # type: ignore[misc]
    return kind
