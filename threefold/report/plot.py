"""A figure of the report: how it is drawn, what it says, and its files."""

from collections.abc import Callable, Container, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from threefold.base.files import write_bytes
from threefold.base.workers import Team, default_threads
from threefold.report import style

KINDS = ("pdf", "png")


class Plot(NamedTuple):
    """A figure to draw: title, caption, the collected files it shows, and whether it is about training, not results."""

    draw: Callable[[], Figure]
    title: str
    caption: str
    data: tuple[str, ...]
    diagnostic: bool = False
    about: Mapping[str, str] = {}  # of marks by their name (matplotlib's gid): what they say to who points at them


class Spot(NamedTuple):
    """Where a mark with a name lies, in percent of the figure from its left and top."""

    name: str
    left: float
    top: float


class Drawn(NamedTuple):
    """What the page needs of a figure."""

    png: bytes
    width: int  # on the page, in CSS pixels
    spots: list[Spot]


def write_all(plots: Mapping[str, Plot], folder: Path) -> dict[str, Drawn]:
    """Draw figures into a folder, by their names, as many at a time as there are cores."""
    workers = min(default_threads(), len(plots))
    with Team(lambda name, _: write(plots[name], folder, name), list(plots), workers) as team:
        return dict(zip(plots, team.outcomes(lambda _: None), strict=True))


def write(plot: Plot, folder: Path, name: str) -> Drawn:
    """Draw a figure into folder/<name>.pdf and .png."""
    figure = plot.draw()
    figure.draw_without_rendering()
    style.align_ylabels(figure)
    figure.set_layout_engine("none")  # laid out once, the same in every kind
    dpi = style.PAGE_DPI if plot.diagnostic else style.DPI  # those of training have many panels; they are whole as PDF
    rendered = {kind: style.render(figure, kind, dpi) for kind in KINDS}
    for kind, data in rendered.items():
        write_bytes(folder / f"{name}.{kind}", data)
    return Drawn(rendered["png"], round(figure.get_figwidth() * style.PAGE_DPI), list(_spots(figure, plot.about)))


def _spots(figure: Figure, names: Container[str]) -> Iterator[Spot]:
    for ax in figure.axes:
        for line in ax.lines:
            if line.get_gid() in names:
                pixels = ax.transData.transform(np.asarray(line.get_xydata())[0])
                left, bottom = figure.transFigure.inverted().transform(pixels)
                yield Spot(str(line.get_gid()), round(100 * left, 2), round(100 * (1 - bottom), 2))
