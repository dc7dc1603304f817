"""`threefold compare`: methods side by side."""

from pathlib import Path
from typing import Annotated

import typer

from threefold.commands import ROOT, Root


def command(
    rows: Annotated[
        list[str], typer.Argument(help="Methods or variants; the first is held against the others.", metavar="NAME")
    ],
    methods: Annotated[
        bool, typer.Option("--methods", help="May stand before the names: `--methods mine gail bc`.")
    ] = False,
    profile: Annotated[str, typer.Option(help="The profile whose results to compare.", metavar="NAME")] = "quick",
    out: Annotated[
        Path | None, typer.Option(help="Where to write.  [default: reports/PROFILE/compare]", metavar="FOLDER")
    ] = None,
    root: Root = ROOT,
) -> None:
    """Compare methods: scores with intervals, probability of improvement, and what each cost.

    For example `threefold compare mine gail bc --profile paper`. Prints a table for each task and one over all, and
    writes them as CSV and LaTeX.
    """
    from threefold.profile.profiles import find
    from threefold.report.compare import compare, show, write

    design = find(root, profile)
    found = compare(design, rows)
    show(found)
    write(found, out or design.root / "reports" / design.profile / "compare")
