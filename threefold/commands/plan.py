"""`threefold plan`: what is to be computed."""

from threefold.commands import COMPUTE, PARAMS, Params

GROUP = COMPUTE


def command(params: Params = PARAMS) -> None:
    """Find out which results of a profile are there and which are to be computed.

    Writes plan.json beside params.yaml: for each result a fingerprint of the code, settings and data that decide it.
    `dvc repro` does this first. Before `dvc repro --dry`, do it yourself after adding a method.
    """
    from threefold.cells.plan import write_plan
    from threefold.cells.storage import outlook

    print(outlook(write_plan(params)))
