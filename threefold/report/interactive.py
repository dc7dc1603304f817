"""What makes the page's tables sort and filter without a server: DataTables, as the package itables carries it.

The page has it inside, so it asks no network for anything. Of itables only that bundle is used: tables stay HTML, which
a reader without scripts sees too.
"""

import base64
import re

import pandas as pd
from itables.utils import read_package_file

from threefold.report.cost import NOT_REACHED
from threefold.report.tables import numeric

SIZES = {"": 1.0, "k": 1e3, "M": 1e6}  # as style.steps writes them
LAST = 1e300
PROSE = ("Reason", "Why", "Evidence", "Must hold", "Measured")  # columns of sentences
LIST = re.compile(r"\d, [−\d]")
NUMBER = re.compile(r"([−-]?[\d,]*\.?\d+)([kM]?)")


def datatables() -> dict[str, str]:
    """DataTables' module as a data URL (base64: nothing in it can end the page's script) and its style sheet."""
    module = base64.b64encode(read_package_file("html/dt_bundle.js").encode()).decode()
    return {"module": f"data:text/javascript;base64,{module}", "css": read_package_file("html/dt_bundle.css")}


def kinds_of(frame: pd.DataFrame) -> list[str]:
    """What each column of text holds: `number`, `name` (values repeat, so rows can be chosen by them) or `prose`.

    A column of lists of numbers is `number list`.
    """
    return [_kind(column, frame[column]) for column in frame]


def _kind(name: str, column: pd.Series) -> str:
    if numeric(column.str.replace(NOT_REACHED, "0")):
        return "number list" if column.str.contains(LIST).any() else "number"
    return "prose" if name in PROSE else "name" if column.duplicated().any() else ""


def order(text: str) -> float | str:
    """The number that a cell of a table sorts by: its first, so an estimate, not its interval; empty if it has none.

    `0.95 [0.91, 0.98]` is 0.95, `−3,160 ± 12` is −3160, `1.5M` is 1500000; what was not reached comes last.
    """
    if text.startswith(NOT_REACHED):
        return LAST
    found = NUMBER.match(text)
    if not found:
        return ""
    return float(found[1].replace("−", "-").replace(",", "")) * SIZES[found[2]]
