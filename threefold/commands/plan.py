"""`threefold plan`: what is stale."""

from threefold.commands import PARAMS, Params


def command(params: Params = PARAMS) -> None:
    """Write plan.json, the fingerprint of every part of a profile's cells, and say what is to be computed.

    `dvc repro` runs it first. Before a `dvc repro --dry` that shall name the stages of a new method, run it yourself.
    """
    from threefold.cells.plan import write_plan
    from threefold.cells.storage import outlook

    print(outlook(write_plan(params)))
