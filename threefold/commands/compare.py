"""`threefold compare`: methods side by side."""

from pathlib import Path
from typing import Annotated

import typer

from threefold.commands import RESULTS, ROOT, Root

GROUP = RESULTS


def command(
    rows: Annotated[
        list[str],
        typer.Argument(help="Methods or variants; the first is held against the others.", metavar="NAME"),
    ],
    methods: Annotated[
        bool, typer.Option("--methods", help="May stand before the names: `--methods mine gail bc`.")
    ] = False,
    profile: Annotated[str, typer.Option(help="The profile whose results to compare.", metavar="PROFILE")] = "quick",
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write.", metavar="FOLDER", show_default="reports/PROFILE/compare"),
    ] = None,
    root: Root = ROOT,
) -> None:
    """Compare methods: scores with intervals, probability of improvement, and cost.

    For example `threefold compare mine gail bc --profile paper`. It prints a table for each task and one for all, and
    writes them as compare.csv and compare.tex. Methods whose intervals overlap are not ranked.
    """
    from threefold.profile.profiles import find
    from threefold.report.compare import compare, show, write

    design = find(root, profile)
    found = compare(design, rows)
    show(found)
    write(found, out or design.root / "reports" / design.profile / "compare")
