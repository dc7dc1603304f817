"""`threefold report`: the report of a profile."""

from threefold.commands import PARAMS, RESULTS, Params

GROUP = RESULTS


def command(params: Params = PARAMS) -> None:
    """Make the report of a profile: reports/PROFILE/report.html, with figures and tables.

    It is made from the tables of `threefold collect`.
    """
    from threefold.report import build, inputs

    print(build.build(inputs.read(params)))
