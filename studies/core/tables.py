"""What a study gives to its command, `threefold study` (threefold/cells/study.py)."""

import pandas as pd

from threefold.tables import schema

Tables = dict[str, tuple[pd.DataFrame, schema.Schema]]  # file's name: rows, and what they hold
