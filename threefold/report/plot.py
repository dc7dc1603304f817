"""A figure of the report: how it is drawn, what it says, and its files."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from threefold.base.files import write_bytes
from threefold.report import style

KINDS = ("pdf", "png")


class Plot(NamedTuple):
    """A figure to draw: title, caption, the collected files it shows, and whether it is about training, not results."""

    draw: Callable[[], Figure]
    title: str
    caption: str
    data: tuple[str, ...]
    diagnostic: bool = False


def write(plot: Plot, folder: Path, name: str) -> bytes:
    """Draw a figure into folder/<name>.pdf and .png; its PNG for the page."""
    figure = plot.draw()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # laid out once, the same in every kind
    rendered = {kind: style.render(figure, kind) for kind in KINDS}
    for kind, data in rendered.items():
        write_bytes(folder / f"{name}.{kind}", data)
    return rendered["png"]
