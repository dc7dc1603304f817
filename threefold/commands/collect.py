"""`threefold collect`: the tables of a profile."""

import sys

from threefold.commands import PARAMS, RESULTS, Params

GROUP = RESULTS


def command(params: Params = PARAMS) -> None:
    """Gather all results of a profile into one set of tables.

    They are evaluations.csv, training.csv, learners.csv and cells.json of results/PROFILE. A result that is missing or
    damaged is an error that names it. If the profile says `keep_going: true`, it is marked in learners.csv instead.
    """
    from threefold.profile.design import load
    from threefold.tables.collect import collect

    for line in collect(load(params)):
        print(f"no result: {line}", file=sys.stderr)
