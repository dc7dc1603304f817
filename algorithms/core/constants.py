"""Ranges of constants: the types of a Config's fields.

Whoever reads constants from a file checks them by these. A plain `int`, also within a tuple, is a count, at least 1; a
plain `float` is any finite number. What else there is says so by its type, one of these or of pydantic's.
"""

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat

__all__ = ["BelowOne", "Count", "NonNegativeFloat", "PositiveFloat", "Share"]

Count = Annotated[int, Field(ge=1)]  # where a type has more than an `int`
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]  # of a discount, the sum over a future without end is finite
