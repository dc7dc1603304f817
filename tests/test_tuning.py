"""Trials of constants: on seeds of their own, and what the documentation makes of them."""

import pandas as pd
import pytest

from benchmarks import tuning
from docs.tuning import cost, rows, trials
from threefold.base.errors import InputError
from threefold.profile.profiles import profiles


def test_no_trial_is_on_a_seed_of_results():
    used = {seed for design in profiles(tuning.ROOT) for task in design.tasks for seed in design.seeds_of(task)}
    assert min(tuning.SEEDS) >= 100 > max(used)
    kept = trials()
    assert set(kept["seed"]) == set(tuning.SEEDS)
    assert set(kept["task"]) <= set(tuning.TASKS)


def test_a_trial_says_what_was_tried_and_what_came_of_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tuning, "TABLE", tmp_path / "tuning.csv")
    tried = tuning.trial("Hopper-v5", "constant", {"value": -1.0}, env_steps=1)
    tuning.keep(tried)
    tuning.keep(tried)
    kept = pd.read_csv(tmp_path / "tuning.csv")
    assert len(kept) == 2 * len(tried)
    assert set(kept["constants"]) == {"value=-1.0"}
    assert sorted(kept["seed"].unique()) == list(tuning.SEEDS)


def test_a_constant_that_the_method_does_not_have_is_one_line():
    with pytest.raises(InputError, match=r"constants\.bacth: .* did you mean 'batch'"):
        tuning.trial("Hopper-v5", "bc", {"bacth": 16})
    with pytest.raises(InputError, match="write a constant as name=value"):
        tuning.parsed("batch")


def test_the_table_has_each_learners_last_score_and_when_most_had_learnt():
    looks = [(1000, 0.2), (2000, 0.92), (3000, 0.95)]
    made = pd.DataFrame(
        [
            {"task": "Hopper-v5", "method": "gail", "constants": "", "seed": seed, "env_steps": steps, "score": score}
            | {"budget": 3000, "seconds": 60, "commit": "abc", "episode_return": 0.0, "terminated": 0.0}
            for seed in (100, 101, 102)
            for steps, score in looks
        ]
    )
    assert rows("Hopper-v5", made) == [["GAIL", "as it is", "0.95", "0.95 0.95 0.95", "2k", "3k", "1", "`abc`"]]
    assert cost(made) == "1 trials, 0.0 hours of a core"
