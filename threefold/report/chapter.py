"""A chapter of the report: figures and tables of one study, and what its figures have in common."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from threefold.report import style
from threefold.report.plot import Plot
from threefold.report.tables import NONE, Table
from threefold.tables.schema import Schema

TRUTH: dict[str, Any] = {"color": "#222222", "linestyle": (0, (5, 2)), "linewidth": 1.1}
PALETTE = ("#0072B2", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#E69F00", "#332288", "#882255")

Read = Callable[[str, Schema], pd.DataFrame]  # a file of the study by its name
Key = TypeVar("Key")


class Chapter(NamedTuple):
    """Title, what a reader must know first, and the figures and tables by name, in reading order.

    differences: a sentence on each thing that a paper says and is not found here, with what shows or explains it.
    None of them reads a file before it is asked to: a figure can be made without the other studies' results.
    """

    title: str
    lead: str
    plots: dict[str, Plot]
    tables: Callable[[], dict[str, Table]]
    differences: Callable[[], list[str]] = list


def colours(names: Iterable[Key]) -> dict[Key, str]:
    """A colour for each of at most eight names."""
    return dict(zip(names, PALETTE, strict=False))


def row(count: int, height: float = 2.5) -> tuple[Figure, list[Axes]]:
    """A figure of panels side by side that share their vertical axis."""
    figure = Figure(figsize=(style.WIDTH, height + 0.4))
    return figure, list(figure.subplots(1, count, sharey=True, squeeze=False)[0])


def legend(figure: Figure, coloured: Mapping[str, str], **look: Any) -> None:
    """Above the panels: names and their colours."""
    look = {"linewidth": 2} | look
    handles = [Line2D([], [], color=colour, label=name, **look) for name, colour in coloured.items()]
    columns = min(len(handles), int(figure.get_figwidth() / 1.5))
    figure.legend(handles=handles, loc="outside upper center", ncols=columns)


def minus(text: str) -> str:
    """A number with a true minus sign."""
    return text.replace("-", "−")


def nats(value: float) -> str:
    """A number of nats: 0.012; a dash for one that is not known."""
    return minus(f"{value:z.3f}") if np.isfinite(value) else NONE


def with_worst(data: pd.DataFrame, name: str) -> list[str]:
    """A column's means over seeds, in nats, each with the worst seed's in brackets."""
    pairs = zip(data[name], data[f"{name}_worst"], strict=True)
    return [f"{nats(mean)} ({nats(worst)})" if np.isfinite(mean) else NONE for mean, worst in pairs]
