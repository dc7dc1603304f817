"""`threefold collect`: gather a profile's cells."""

import sys

from threefold.commands import PARAMS, Params


def command(params: Params = PARAMS) -> None:
    """Gather the cells of a profile into evaluations.csv, training.csv, learners.csv and cells.json.

    A missing result is an error that names it; with `keep_going: true` in the profile it is marked instead.
    """
    from threefold.profile.design import load
    from threefold.tables.collect import collect

    for line in collect(load(params)):
        print(f"no result: {line}", file=sys.stderr)
