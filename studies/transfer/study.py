"""Whether a reward that AIRL learns survives a change of dynamics (Fu, Luo & Levine 2018, arXiv 1710.11248, section 7).

Its parts are modules: `tabular` (section 7.1), where all is exact. Their files begin with their names.
"""

from studies.core.command import Tables
from studies.transfer import tabular
from studies.transfer.schema import Size


def study(size: Size) -> Tables:
    """Return every file's rows and columns."""
    return tabular.tables(size.tabular)
