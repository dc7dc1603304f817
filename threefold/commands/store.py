"""`threefold store`: the store, listed, verified and pruned."""

from typing import Annotated

import typer

from threefold.commands import ROOT, STORAGE, Root

GROUP = STORAGE
command = typer.Typer(help="Manage the store, the folder where results are computed and kept: .store/.")


@command.command("list")
def list_(root: Root = ROOT) -> None:
    """Show what is in the store, and which profiles use it."""
    from threefold.cells.storage import show

    show(root)


@command.command()
def verify(root: Root = ROOT) -> None:
    """Check that no result in the store is damaged."""
    from threefold.cells.storage import verify

    verify(root)


@command.command()
def prune(
    cells: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to remove, for example Hopper-v5/gail.", metavar="TASK/NAME", show_default="what no profile uses"
        ),
    ] = None,
    root: Root = ROOT,
) -> None:
    """Remove results from the store: those that no profile uses, or those named.

    Copies in results/ stay, and `threefold run --again` computes such a result again. What is being computed stays; so
    do parts of studies that are not named.
    """
    from threefold.cells.storage import prune

    prune(root, cells or [])


@command.command()
def deliver(root: Root = ROOT) -> None:
    """Copy finished results of every profile into results/, without computing any."""
    from threefold.cells.storage import deliver_all

    deliver_all(root)


@command.command()
def adopt(
    old: Annotated[str, typer.Argument(help="The commit that made the results.", metavar="OLD_COMMIT")],
    iterations: Annotated[str, typer.Option(help="Iterations to compare, or all.", metavar="N|all")] = "3",
    profile: Annotated[
        str | None, typer.Option(help="One profile.", metavar="NAME", show_default="all of them")
    ] = None,
    root: Root = ROOT,
) -> None:
    """Let the results of an old commit count as this one's, if both compute the same.

    The first iterations, an evaluation and the written files of a part of every cell that has results are computed by
    both, and compared row by row and bit for bit. At the first difference nothing is adopted.
    """
    from threefold.cells.adopt import adopt

    adopt(root, old, iterations, profile)
