"""The chapters of the report on studies, made from results/<profile>/studies/ alone."""

from functools import partial

import pandas as pd

from studies import registry
from threefold.profile.design import Design
from threefold.report.chapter import Chapter
from threefold.report.plot import Plot
from threefold.tables import schema


def chapters(design: Design) -> dict[str, Chapter]:
    """The chapter of each study that the profile has."""
    return {
        name: registry.chapter(name).chapter(partial(_read, design, name), size) for name, size in design.sizes.items()
    }


def plots(design: Design) -> dict[str, Plot]:
    """The figures of all chapters by name."""
    return {name: plot for chapter in chapters(design).values() for name, plot in chapter.plots.items()}


def _read(design: Design, study: str, name: str, columns: schema.Schema) -> pd.DataFrame:
    return schema.read_csv(design.results / "studies" / study / name, columns)
