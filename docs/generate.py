"""The command that puts numbers and figures into the documentation: `python -m docs.generate`.

It takes what the documentation shows of a profile from results/ and reports/ (docs/measured.py), and writes the
README's figure and table and data/croissant.json. Pages are made when the documentation is built (docs/pages.py).
"""

from pathlib import Path
from typing import Annotated

import typer

from docs import croissant, readme
from docs.measured import ROOT, take, take_studies
from threefold.base.errors import one_line


def command(
    params: Annotated[
        Path | None, typer.Option(help="A profile whose results to take.  [default: none]", metavar="FILE")
    ] = None,
    studies: Annotated[
        Path | None,
        typer.Option(help="A profile whose studies to take, those that are computed.  [default: none]", metavar="FILE"),
    ] = None,
) -> None:
    """Write the README's results and data/croissant.json, after taking a profile's results, or its studies' alone."""
    for folder in (take(params) if params else []) + (take_studies(studies) if studies else []):
        print(folder.relative_to(ROOT))
    readme.PATH.write_text(readme.text(readme.PATH.read_text()))
    croissant.CROISSANT.write_text(croissant.text())


if __name__ == "__main__":
    with one_line():
        typer.run(command)
