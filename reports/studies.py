"""The chapters of the report on theory, made from results/<profile>/studies/ alone."""

from collections.abc import Callable
from functools import partial

import pandas as pd

from reports import connection, density
from reports.chapter import Chapter
from reports.plot import Plot
from results import schema as files
from results.design import Design

CHAPTERS: dict[str, Callable[..., Chapter]] = {"connection": connection.chapter, "density": density.chapter}


def chapters(design: Design) -> dict[str, Chapter]:
    """The chapter of each study that the profile has."""
    sizes = {name: getattr(design.studies, name) for name in CHAPTERS}
    return {
        name: CHAPTERS[name](partial(_read, design, name), size) for name, size in sizes.items() if size is not None
    }


def plots(design: Design) -> dict[str, Plot]:
    """The figures of all chapters by name."""
    return {name: plot for chapter in chapters(design).values() for name, plot in chapter.plots.items()}


def _read(design: Design, study: str, name: str, columns: files.Schema) -> pd.DataFrame:
    return files.read_csv(design.results / "studies" / study / name, columns)
