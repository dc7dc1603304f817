"""`threefold report`: the report of a profile."""

from threefold.commands import PARAMS, Params


def command(params: Params = PARAMS) -> None:
    """Write the report of a profile, with its figures and tables, from the collected results."""
    from threefold.report import build, inputs

    print(build.build(inputs.read(params)))
