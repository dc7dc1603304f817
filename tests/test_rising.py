"""Where a curve stops rising, by hand."""

import numpy as np
import pandas as pd
import pytest

from tests import synthetic
from threefold.profile.design import load
from threefold.report import inputs, rising
from threefold.tables import statistics
from threefold.tables.collect import collect


@pytest.mark.parametrize(
    ("scores", "at"),
    [
        ([0.1, 0.5, 0.9, 0.95, 0.96, 0.95], 400),  # 0.96 is within 0.02 of 0.95, not of 0.9
        ([0.9, 0.9, 0.91, 0.9, 0.9, 0.9], 100),
        ([0.9, 0.5, 0.3, 0.2, 0.1, 0.0], 100),  # it falls: it has risen long before
        ([0.9, 0.3, 0.3, 0.95, 0.3, 0.3], 400),  # what comes after is below it
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], np.nan),
        ([0.5], np.nan),
    ],
)
def test_a_curve_rises_until_nothing_after_is_higher_by_more_than_a_little(scores, at):
    found = rising.stops(pd.Series(scores, 100 * np.arange(1, len(scores) + 1)))
    assert found == at or (np.isnan(found) and np.isnan(at))


def test_the_table_has_each_tasks_budget_and_where_its_middle_learner_stops(tmp_path):
    path = synthetic.design(tmp_path)
    synthetic.fill(path)
    design = load(path)
    collect(design)
    given = inputs.read(path)
    found = rising.ends(given).set_index(["task", "row"])
    assert list(found.index) == [(task, "gail") for task in design.tasks]
    for task in design.tasks:
        curves = given.curves.query("task == @task and row == 'gail'")
        scores = curves["score"].replace([np.nan, np.inf, -np.inf], 0)
        middle = scores.groupby(curves["env_steps"]).apply(statistics.interquartile_mean)
        expected = [at for at in middle.index if middle.loc[at:].max() - middle.loc[at] <= rising.WITHIN][0]
        assert found.loc[(task, "gail"), "budget"] == design.budget[task].env_steps
        stops = found.loc[(task, "gail"), "rises_until"]
        assert stops == expected or (np.isnan(stops) and expected == middle.index[-1])
    text = rising.tables(given)["rising"].shown
    assert list(text.columns) == ["Task", "Budget", "GAIL"]
