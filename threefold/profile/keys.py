"""What to say of a value in a YAML file that is not as its model has it: a wrong key by the keys of its own place."""

import dataclasses
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from threefold.base import strict

UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
SHORT = 8  # keys that are listed where none is near


def explain(error: ValidationError, model: Any, *above: str) -> str:
    """Return key, mistake and cure of what is wrong first; `above` are the keys that lead to what was checked.

    `model` is the pydantic model or dataclass that was checked. Of a key that it does not have, the cure is the nearest
    of the keys that may stand there, or, if none is near and they are few, all of them.
    """
    unknown = next((each for each in error.errors() if each["type"] in UNKNOWN), None)
    keys = sorted(_at(model, unknown["loc"])) if unknown else []
    said = strict.explain(error, keys, *above)
    return f"{said}, or write one of {', '.join(keys)}" if said.endswith("remove it") and len(keys) <= SHORT else said


def _at(model: Any, place: tuple[str | int, ...]) -> dict[str, Any]:
    """Return the keys, with their types, that may stand beside a place in a model."""
    kind = model
    for key in place[:-1]:
        fields = _fields(_present(kind))
        kind = fields[str(key)] if fields else get_args(_present(kind))[-1]  # or else a list's or a mapping's values
    return _fields(_present(kind))


def _present(kind: Any) -> Any:
    """Return a type without None."""
    if get_origin(kind) in (Union, UnionType):
        return next(each for each in get_args(kind) if each is not NoneType)
    return kind


def _fields(kind: Any) -> dict[str, Any]:
    """Return the keys of a model, with their types; none of what is no model."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
