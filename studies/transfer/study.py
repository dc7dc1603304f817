"""Whether a reward that AIRL learns survives a change of dynamics (Fu, Luo & Levine 2018, arXiv 1710.11248, section 7).

Its parts are modules: `tabular` (section 7.1), where all is exact, and `moved` (7.2), on a maze and on an ant with two
disabled legs. Their files begin with their names, or with that of the pair of tasks.
"""

from studies.core.parts import compute
from studies.core.tables import Tables
from studies.transfer import moved, schema, tabular
from studies.transfer.inputs import PAIRS, data
from studies.transfer.schema import Size


def study(size: Size) -> Tables:
    """Return every file's rows and columns."""
    files = {f"{name}_moved": schema.MOVED for name in PAIRS if getattr(size, name)}
    if not files:
        return tabular.tables(size.tabular)
    rows = compute("transfer", moved.parts(size), files, moved.work, data(size))
    return tabular.tables(size.tabular) | {name: (rows[name], schema.MOVED) for name in files}
