"""The types of what is read from YAML, and what to say of a value that is none of them."""

import difflib
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from threefold.base import names


class Strict(BaseModel):
    """Frozen; an unknown key, or a value of another type, is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def _named(name: str, row: bool = False) -> str:
    if reason := names.fault(name, row):
        raise PydanticCustomError("name", "{reason}", {"reason": reason})
    return name


Name = Annotated[str, AfterValidator(_named)]
RowName = Annotated[str, AfterValidator(lambda name: _named(name, row=True))]
# For dataclasses, which pydantic cannot take strictly as a whole.
Count = Annotated[int, Field(strict=True, gt=0, lt=2**31)]  # what fits any axis of a tensor
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Seed = Annotated[int, Field(strict=True, ge=0, lt=2**63)]  # what the tables' columns hold


def explain(error: ValidationError, known: Sequence[str], *above: str) -> str:
    """Return key, mistake and cure of the first unknown key, or else of whatever is wrong first.

    `known` are the keys that there are; `above` are those that lead to what was checked.
    """
    first = min(error.errors(), key=lambda e: e["type"] != "extra_forbidden")  # a misspelt key is missing as well
    key = ".".join([*above, *(str(part) for part in first["loc"] if part != "[key]")])
    if first["type"] in ("missing", "missing_argument"):
        return f"{key}: missing; add it"
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        return f"{key}: no such key; {f'did you mean {close[0]!r}?' if close else 'remove it'}"
    return f"{key}: {first['msg']} (found {first['input']!r}); correct it"
