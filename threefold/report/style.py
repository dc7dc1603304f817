"""How figures look: one colour and marker per method, text sizes, and how numbers are written."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import matplotlib as mpl
import numpy as np
import seaborn
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

# Okabe & Ito's palette, whose yellow (too light on white) is Tol's olive. Told apart by colour-blind readers.
COLOURS = {
    "bc": "#E69F00",
    "gail": "#0072B2",
    "airl": "#009E73",
    "gcl": "#CC79A7",
    "ebm_gan": "#D55E00",
    "fem": "#56B4E9",
    "gtal": "#999933",
}
SPARE = ("#332288", "#882255", "#44AA99", "#661100", "#AA4499", "#117733", "#6699CC", "#888888")
MARKERS = "osDPph<>d8*H"  # not ^ and v (a score out of range) nor x (a failed learner)

EXPERT: dict[str, Any] = {"color": "#222222", "linestyle": (0, (5, 2)), "linewidth": 1.1}
STOCHASTIC: dict[str, Any] = {"color": "#777777", "linestyle": (0, (5, 2, 1, 2)), "linewidth": 0.9}
RANDOM: dict[str, Any] = {"color": "#777777", "linestyle": (0, (1, 1.6)), "linewidth": 1.2}

DPI = 200
PAGE_DPI = 114  # CSS pixels per inch of figure: its text is a little smaller than the page's
WIDTH = 8.8  # of a figure at most, in inches
PANEL_WIDTH, PANEL_HEIGHT = 2.9, 2.15

mpl.use("agg")
seaborn.set_theme(
    context="paper",
    style="whitegrid",
    font="DejaVu Sans",  # comes with matplotlib: the same glyphs on every machine
    rc={
        "font.size": 9,
        "axes.titlesize": 9,
        "axes.labelsize": 9,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#555555",
        "xtick.bottom": True,
        "ytick.left": True,
        "grid.color": "#E6E6E6",
        "grid.linewidth": 0.7,
        "figure.constrained_layout.use": True,
        "pdf.fonttype": 42,  # text stays text
    },
)


def colours(methods: Sequence[str]) -> dict[str, str]:
    """A colour per method: fixed for the known ones, the spare ones in the order of the design for the others."""
    new = [name for name in methods if name not in COLOURS]
    return {**COLOURS, **{name: SPARE[i % len(SPARE)] for i, name in enumerate(new)}}


def markers(methods: Sequence[str]) -> dict[str, str]:
    """A marker per method, on the same rule as its colour."""
    names = [*COLOURS, *(name for name in methods if name not in COLOURS)]
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}


def shades(count: int) -> list[tuple[float, ...]]:
    """Colours of an ordered quantity, few to many: told apart by colour-blind readers too."""
    return list(seaborn.color_palette("viridis", count))


def label(method: str) -> str:
    """How a method is written: `ebm_gan` is EBM-GAN; the control that no paper abbreviates is a word."""
    return "Constant reward" if method == "constant" else method.replace("_", "-").upper()


def steps(count: float) -> str:
    """A number of steps in at most four characters and a unit: 250k, 1.5M."""
    for size, unit in ((1e6, "M"), (1e3, "k")):
        if abs(count) >= size:
            return f"{count / size:.3g}{unit}"
    return f"{count:.3g}"


def steps_formatter() -> FuncFormatter:
    """Ticks of an axis that counts steps."""
    return FuncFormatter(lambda count, _: steps(count))


def align_ylabels(figure: Figure) -> None:
    """Move the labels of panels above each other, once they are laid out, to the leftmost of theirs.

    `Figure.align_ylabels` does so too, in a time that grows with the square of the number of panels.
    """
    columns: dict[float, list[Axes]] = {}
    for ax in figure.axes:
        if ax.get_ylabel():
            columns.setdefault(round(ax.get_position().x0, 4), []).append(ax)
    for panels in columns.values():
        left = min(ax.yaxis.label.get_position()[0] for ax in panels)  # pixels
        for ax in panels:
            ax.yaxis.set_label_coords(ax.transAxes.inverted().transform((left, 0))[0], 0.5)


def render(figure: Figure, kind: str, dpi: int = DPI) -> bytes:
    """A figure as `pdf` or `png`, without dates: the same figure gives the same bytes."""
    if kind == "png":
        return _picture(figure, dpi)
    buffer = BytesIO()
    figure.set_dpi(DPI)
    FigureCanvasPdf(figure).print_pdf(buffer, metadata={"CreationDate": None})  # `savefig` would draw it twice
    return buffer.getvalue()


def on_screen(png: bytes, dpi: int) -> bytes:
    """A picture of DPI at the resolution of a screen: a third of the bytes."""
    picture = Image.open(BytesIO(png)).convert("RGB")
    size = (round(picture.width * dpi / DPI), round(picture.height * dpi / DPI))
    return _small(picture.resize(size, Image.Resampling.LANCZOS))


def _picture(figure: Figure, dpi: int) -> bytes:
    """A figure in at most 256 colours, which lines and text do not outgrow: a third of the bytes."""
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    if dpi < DPI:
        return _small(picture)
    buffer = BytesIO()
    # `optimize` would take as long as to draw, for a tenth of the bytes
    picture.quantize(256, dither=Image.Dither.NONE).save(buffer, "png")
    return buffer.getvalue()


def _small(picture: Image.Image) -> bytes:
    """A PNG in the 64 colours that are furthest apart: by how much there is of each, thin lines would share theirs."""
    buffer = BytesIO()
    few = picture.quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(buffer, "png", optimize=True)
    return buffer.getvalue()
