"""What a report holds: all of its tables, in reading order. Its figures are listed in figures.py."""

from threefold.report import cost, elsewhere, fidelity, rising, seeds, sensitivity, tables
from threefold.report.inputs import Inputs
from threefold.report.tables import Table


def every_table(given: Inputs) -> dict[str, Table]:
    """All tables of a report by name, in reading order; `summary` is the answer in one table."""
    found = tables.tables(given)
    first = {name: found.pop(name) for name in ("summary", "aggregate")}
    published = fidelity.tables(given) | elsewhere.table(given)
    learnt = {"cost": cost.table(given)} | rising.tables(given)
    return first | published | learnt | found | seeds.tables(given) | sensitivity.table(given)
