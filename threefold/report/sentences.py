"""What sentences about numbers have in common: lists, where something was measured, and rows beside each other."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from threefold.report.inputs import Inputs
from threefold.report.tables import budget_mark, limit_mark

MANY = 4  # items that a sentence lists; of more it gives their number


def listed(items: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; empty for none."""
    return " and ".join(filter(None, (", ".join(items[:-1]), *items[-1:])))


def where(given: Inputs, x: Any) -> str:
    """The task and the number of trajectories of a table's line."""
    return f"{x.task}{budget_mark(given, x.task)} from {x.demonstrations}"


def held(given: Inputs, x: Any) -> str:
    """The same, where it is held against a published number."""
    return f"{x.task}{limit_mark(x.task)}{budget_mark(given, x.task)} from {x.demonstrations}"


def together(places: Iterable[tuple[str, Any]]) -> list[str]:
    """Places with numbers of trajectories, each place once: `GAIL on Hopper-v5 from 4 and 11`."""
    numbers: dict[str, list[str]] = {}
    for place, number in places:
        numbers.setdefault(place, []).append(str(number))
    return [f"{place} from {listed(found)}" for place, found in numbers.items()]


def beside_own(scores: pd.DataFrame, row: str, method: str) -> pd.DataFrame:
    """A variant's lines beside those of its method (`_own`), where it has some: it may be left out."""
    own = scores[scores["row"] == method]
    return scores[scores["row"] == row].merge(own, on=["task", "demonstrations"], suffixes=("", "_own"))
