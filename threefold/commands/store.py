"""`threefold store`: look after the store."""

from typing import Annotated

import typer

from threefold.commands import ROOT, Root

command = typer.Typer(help="Look after the store, where cells and experts are computed.")


@command.command("list")
def list_(root: Root = ROOT) -> None:
    """Show every cell and expert computed, and the profiles that ask for it."""
    from threefold.cells.storage import show

    show(root)


@command.command()
def verify(root: Root = ROOT) -> None:
    """Compare all results with their checksums."""
    from threefold.cells.storage import verify

    verify(root)


@command.command()
def prune(
    cells: Annotated[list[str] | None, typer.Argument(help="Entries to remove.", metavar="TASK/ROW")] = None,
    root: Root = ROOT,
) -> None:
    """Remove what no profile asks for, or the entries named: they will then be computed again.

    What is being computed stays.
    """
    from threefold.cells.storage import prune

    prune(root, cells or [])


@command.command()
def deliver(root: Root = ROOT) -> None:
    """Put finished parts of every profile in their place, without computing."""
    from threefold.cells.storage import deliver_all

    deliver_all(root)


@command.command()
def adopt(
    old: Annotated[str, typer.Argument(help="The commit that made the results.", metavar="OLD_COMMIT")],
    iterations: Annotated[str, typer.Option(help="That are compared, or all.", metavar="N|all")] = "3",
    profile: Annotated[str | None, typer.Option(help="One profile.  [default: all of them]", metavar="NAME")] = None,
    root: Root = ROOT,
) -> None:
    """Let the results of an old commit count as this one's, if both compute the same.

    The first iterations, an evaluation and the written files of a part of every cell whose code differs are computed by
    both, and compared row by row and bit for bit. At the first difference nothing is adopted.
    """
    from threefold.cells.adopt import adopt

    adopt(root, old, iterations, profile)
