"""`threefold plan`: what is to be computed."""

from threefold.commands import COMPUTE, PARAMS, Params

GROUP = COMPUTE


def command(params: Params = PARAMS) -> None:
    """Find out which results of a profile are there and which are to be computed.

    Writes plan.json beside params.yaml: for each result a fingerprint of the code, settings and data that decide it.
    Also says how long these take, roughly, if parts that are there tell how fast they were. `dvc repro` does this
    first. Before `dvc repro --dry`, do it yourself after adding a method.
    """
    from threefold.cells.outlook import outlook
    from threefold.cells.plan import write_plan

    print(outlook(write_plan(params)))
