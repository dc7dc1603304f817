import dataclasses
import json
import os
import re
import shutil
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
import pytest
import torch
import yaml
from pydantic import Field

import algorithms
from algorithms import bc, gail
from algorithms.core.ppo import PPOConfig
from tests import synthetic
from tests.command import threefold
from threefold.base.errors import InputError
from threefold.cells import plan, run
from threefold.experts.demonstrations import read, write
from threefold.profile import constants
from threefold.profile.design import load
from threefold.profile.names import check_names
from threefold.profile.nearest import nearest
from threefold.profile.overrides import configure
from threefold.report.inputs import PUBLISHED, published_row

ROOT = Path(__file__).parents[1]
TASK = "InvertedPendulum-v5"


def refused(params, action):
    """The one line that an `InputError` says, which names the file."""
    with pytest.raises(InputError) as caught:
        action()
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{params}: ")
    return line.removeprefix(f"{params}: ")


@pytest.fixture
def wrong(tmp_path):
    """Write params.yaml with some keys changed and return what reading it complains of."""

    def say(**changes):
        params = synthetic.design(tmp_path, **changes)
        return refused(params, lambda: load(params))

    return say


def test_a_good_design(tmp_path):
    params = synthetic.design(tmp_path, root="..", seeds=[3, 1])
    design = load(params)
    assert design.folder == tmp_path
    assert design.cell("Hopper-v5", "gail") == tmp_path.parent / "results" / "made-up" / "cells" / "Hopper-v5" / "gail"
    assert [part.name for part in design.parts("Hopper-v5", "gail")] == ["4_1", "4_3", "11_1", "11_3"]
    assert design.learners("Hopper-v5", "gail") == [(4, 1), (4, 3), (11, 1), (11, 3)]
    assert design.budget["Hopper-v5"].short_budget
    assert not design.budget[TASK].short_budget
    assert not design.allow_weak_expert
    assert design.device == "auto"


def test_more_seeds_or_numbers_add_parts_and_leave_the_others(tmp_path):
    def parts(**changes):
        return [part.name for part in load(synthetic.design(tmp_path, **changes)).parts("Hopper-v5", "gail")]

    few = parts(seeds=[0, 1, 2])
    assert few == ["4_0-1-2", "11_0-1-2"]
    assert parts(seeds=list(range(8))) == [
        f"{number}_{seeds}" for number in (4, 11) for seeds in ("0-1-2", "3-4-5", "6-7")
    ]
    budget = synthetic.BUDGET | {"Hopper-v5": synthetic.BUDGET["Hopper-v5"] | {"seeds": [0, 1, 2, 4]}}
    assert parts(budget=budget) == ["4_0-1-2", "4_4", "11_0-1-2", "11_4"]


def test_whose_demonstrations_a_task_has(tmp_path):
    design = load(synthetic.design(tmp_path, demonstrations_from={"Hopper-v5": "my-hopper"}))
    assert design.demonstrations("Hopper-v5") == tmp_path / "data" / "imported" / "my-hopper"
    assert design.demonstrations(TASK) == tmp_path / "data" / "demonstrations" / TASK


def test_a_variant_may_have_some_of_the_numbers_and_waves_order_what_there_is(tmp_path):
    few = {"method": "gail", "tasks": ["Hopper-v5"], "demonstrations": [11]}
    waves = [
        {"rows": ["bc", "gail"], "demonstrations": "ends", "seeds": [0, 1, 2]},
        {"tasks": ["Hopper-v5"], "rows": ["bc", "gail"], "seeds": [0, 1, 2]},
    ]
    budget = synthetic.BUDGET | {"Hopper-v5": synthetic.BUDGET["Hopper-v5"] | {"demonstrations": [4, 11, 18]}}
    design = load(synthetic.design(tmp_path, variants={"gail_x": few}, waves=waves, seeds=[0, 1, 2, 3], budget=budget))
    assert [part.name for part in design.parts("Hopper-v5", "gail_x")] == ["11_0-1-2", "11_3"]
    found = {
        (row, part.name): design.wave("Hopper-v5", row, part)
        for row in ("gail", "gail_x")
        for part in design.parts("Hopper-v5", row)
    }
    assert found == {
        ("gail", "4_0-1-2"): 1, ("gail", "4_3"): 3, ("gail", "11_0-1-2"): 2, ("gail", "11_3"): 3,
        ("gail", "18_0-1-2"): 1, ("gail", "18_3"): 3, ("gail_x", "11_0-1-2"): 3, ("gail_x", "11_3"): 3,
    }  # fmt: skip


@pytest.mark.parametrize(("key", "value"), [("rows", "gial"), ("tasks", "Hoper-v5"), ("seeds", 77)])
def test_a_wave_of_what_the_profile_has_not(wrong, key, value):
    assert (
        wrong(waves=[{"rows": ["gail"]}, {key: [value]}]) == f"waves.1.{key}: {value}: not in the profile; correct it"
    )


def test_a_variants_number_that_its_task_has_not(wrong):
    said = wrong(variants={"gail_x": {"method": "gail", "tasks": ["Hopper-v5"], "demonstrations": [5]}})
    assert said.startswith("variants.gail_x.demonstrations: 5 is not one of budget.Hopper-v5.demonstrations (4, 11)")


def test_a_copied_file_whose_folder_is_anothers(tmp_path):
    (tmp_path / "mine").mkdir()
    path = synthetic.design(tmp_path / "mine", root="..", folder="hopper")
    with pytest.raises(InputError) as refused:
        load(path)
    assert str(refused.value) == (
        f"{path}: folder: hopper, seen from root ({tmp_path}), is not where this file is; write mine, or correct root"
    )


@pytest.mark.parametrize("root", ["../nowhere", "params.yaml", "empty"])
def test_a_root_that_is_no_project_is_what_is_said(tmp_path, root):
    (tmp_path / "empty").mkdir()
    path = synthetic.design(tmp_path)
    path.write_text(path.read_text().replace("root: .", f"root: {root}"))
    fault = "no project, which has a folder data or results" if root == "empty" else "no such folder"
    there = Path(os.path.normpath(tmp_path / root))
    assert refused(path, lambda: load(path)) == (f"root: {there}: {fault}; write the project's, as seen from this file")
    (tmp_path / "empty" / "results").mkdir()
    assert root != "empty" or load(path).root == there


def test_a_profile_of_anothers_name_is_not_planned(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "plan", lambda design: {"of": design.profile})
    for folder in ("one", "two"):
        synthetic.design(tmp_path / folder, root="..", folder=folder)
        (tmp_path / folder / "dvc.yaml").write_text("")
    one, two = (tmp_path / folder / "params.yaml" for folder in ("one", "two"))
    with pytest.raises(InputError, match="profile: made-up is that of .*/one/params.yaml too; give it another name"):
        plan.write_plan(two)
    assert not (tmp_path / "two" / "plan.json").exists()
    synthetic.design(tmp_path / "one", root="..", folder="one", profile="other", tasks=[])  # faulty: not ours to say
    assert plan.write_plan(two).plan.exists()
    synthetic.design(tmp_path / "one", root="..", folder="one", profile="other")
    assert plan.write_plan(one).plan.exists()


VARIANT = {"method": "gail", "tasks": ["Hopper-v5"]}


def test_variants_are_rows_beside_the_methods(tmp_path):
    design = load(synthetic.design(tmp_path, variants={"gail_smooth": VARIANT | {"config": {"gradient_penalty": 10}}}))
    assert design.rows(TASK) == ["bc", "gail"]
    assert design.rows("Hopper-v5") == ["bc", "gail", "gail_smooth"]
    assert design.variant("gail_smooth").method == "gail"
    assert design.variant("bc").tasks == design.tasks
    folder = tmp_path / "results" / "made-up"
    assert design.cell("Hopper-v5", "gail_smooth") == folder / "variants" / "gail_smooth" / "Hopper-v5"


@pytest.mark.parametrize("name", ["Hopper-v5", "Hopper-v5/gail/5", "Hopper-v5/airl/4", "Ant-v5/gail/4"])
def test_a_remark_is_on_a_cell_of_the_profile(wrong, name):
    said = wrong(remarks={name: {"why": "a", "evidence": "b"}})
    assert said == (
        f"remarks.{name}: not a task, method and number of trajectories of the profile, as {TASK}/bc/1; correct it"
    )
    assert wrong(remarks={"Hopper-v5/gail/4": {"why": "a"}}).startswith("remarks.Hopper-v5/gail/4.evidence: missing")


@pytest.mark.parametrize("why", ["{our}", "{", "{}", "{ours.mean}", "{ours[a]}"])
def test_a_placeholder_of_a_remark_that_nothing_fills(wrong, why):
    said = wrong(remarks={"Hopper-v5/gail/4": {"why": why, "evidence": "b"}})
    assert said.startswith("remarks.Hopper-v5/gail/4.why: {ours} is the only placeholder that there is (found ")


@pytest.mark.parametrize("folder", [ROOT, ROOT / "paper", ROOT / "hopper", ROOT / "sensitivity"])
def test_a_remark_types_no_score_of_ours(folder):
    """Scores and returns in it are of trials, or of the paper's runs, on the same task and by the same method."""
    trials = pd.read_csv(ROOT / "benchmarks" / "tuning.csv")
    runs = pd.read_csv(PUBLISHED / "gail_runs.csv")
    runs["row"] = [published_row("gail_runs.csv", method) for method in runs["method"]]
    for name, remark in load(folder / "params.yaml").remarks.items():
        task, method, _ = name.split("/")
        known = trials[(trials["task"] == task) & (trials["method"] == method)]["score"].tolist()
        known += runs[(runs["task"] == task.rpartition("-")[0]) & (runs["row"] == method)]["mean"].tolist()
        typed = re.findall(r"-?\d+\.\d+", remark.why)
        unknown = [x for x in typed if not any(is_rounded(x, exact) for exact in known)]
        assert not unknown, f"remarks.{name}: in no file; write {{ours}} for a score of ours"


def is_rounded(text, exact):
    """Whether a text is a number rounded to as many places as it shows."""
    return abs(float(text) - exact) <= 0.5 * 10 ** -len(text.partition(".")[2]) + 1e-9


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"smooth": VARIANT},
            "variants.smooth: a variant's name is its method's, an underscore and what differs; call it gail_smooth",
        ),
        (
            {"gail": VARIANT},
            "variants.gail: a variant's name is its method's, an underscore and what differs; call it gail_...",
        ),
        ({"gail_x": VARIANT | {"tasks": ["Ant-v5"]}}, "variants.gail_x.tasks: Ant-v5 is not one of tasks (Inverted"),
        ({"gail_x": VARIANT | {"tasks": []}}, "variants.gail_x.tasks: List should have at least 1 item"),
        ({"gail_x": VARIANT | {"tasks": [TASK, TASK]}}, "variants.gail_x.tasks: ['Inv"),
        (
            {"gail_x": VARIANT | {"expert": "none"}},
            "variants.gail_x.expert: Input should be 'own', 'never_terminated' or 'idle'",
        ),
        ({"gail_x": VARIANT | {"confg": {}}}, "variants.gail_x.confg: no such key; did you mean 'config'?"),
        ({"gail_x": {"method": "gail"}}, "variants.gail_x.tasks: missing; add it"),
    ],
)
def test_wrong_variants(wrong, changes, said):
    assert wrong(variants=changes).startswith(said)


def test_a_variant_that_is_a_method_of_the_design(wrong):
    said = wrong(methods=["bc_x"], variants={"bc_x": {"method": "bc", "tasks": [TASK]}})
    assert said == "variants.bc_x: is one of methods too; give it another name"


@pytest.mark.parametrize("folder", [ROOT, ROOT / "paper", ROOT / "hopper", ROOT / "sensitivity"])
def test_our_own_designs(folder):
    params = folder / "params.yaml"
    design = load(params)
    for task in design.tasks:
        check_names(design, task)
        for row in design.rows(task):
            configure(design, task, row)
    assert design.root.resolve() == ROOT
    given = yaml.safe_load(params.read_text())
    assert (ROOT / given["folder"]).resolve() == folder  # what dvc.yaml hands to the commands


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tasks": "Hopper-v5"}, "tasks: Input should be a valid list (found 'Hopper-v5')"),
        ({"tasks": []}, "tasks: List should have at least 1 item"),
        ({"tasks": [TASK, "Hoper-v5"]}, "budget.Hopper-v5: not one of tasks (InvertedPendulum-v5, Hoper-v5); write "),
        (
            {"tasks": ["InvertedPendulum", "Hopper-v5"]},
            f"budget.{TASK}: not one of tasks (InvertedPendulum, Hopper-v5); write {TASK} there, or InvertedPendulum h",
        ),
        ({"left_out": {"Chess": {"bc": "why"}}}, f"left_out.Chess: not one of tasks ({TASK}, Hopper-v5); correct eith"),
        ({"tasks": [TASK, "Hopper-v5", "Swimmer-v5"]}, "budget.Swimmer-v5: missing; add"),
        ({"tasks": [TASK, "Hopper-v5", TASK]}, "tasks: ['InvertedPendulum-v5', 'Hopper-v5', 'InvertedPendulum-v5']"),
        ({"methods": ["bc", "bc"]}, "methods: ['bc', 'bc'] names one twice; remove it"),
        ({"methods": [1]}, "methods.0: Input should be a valid string (found 1); correct it"),
        ({"seeds": [0, 1, 0]}, "seeds: [0, 1, 0] names one twice; remove it"),
        ({"seeds": [0, -1]}, "seeds.1: Input should be greater than or equal to 0 (found -1); correct it"),
        ({"seeds": [2**63]}, "seeds.0: Input should be less than 9223372036854775808 (found 9223372036854775808)"),
        ({"seeds": [2**64]}, "seeds.0: Input should be less than 9223372036854775808"),
        ({"seeds": [0, 1.0]}, "seeds.1: Input should be a valid integer (found 1.0); correct it"),
        ({"seeds": [0, True]}, "seeds.1: Input should be a valid integer (found True); correct it"),
        ({"sedes": [0]}, "sedes: no such key; did you mean 'seeds'?"),
        ({"zzz": 1}, "zzz: no such key; remove it"),  # of more than a few
        (
            {"evaluation": {"episodes": 4, "points": 3, "episodes_during_training": 2, "env_steps": 9}},
            "evaluation.env_steps: no such key; remove it, or write one of episodes, episodes_during_training, points",
        ),
        ({"waves": [{"row": []}]}, "waves.0.row: no such key; did you mean 'rows'?"),
        ({"studies": {"twins": {}}}, "studies.twins: no such key; did you mean 'twin'?"),
        ({"studies": {"budget": {}}}, "studies.budget: no such key; remove it, or write one of connection, density, "),
        (
            {"studies": {"sequences": {"sessions": {"lenght": 3}}}},
            "studies.sequences.sessions.lenght: no such key; did you mean 'length'?",
        ),
        ({"evaluation": {"episodes": 4, "points": 3}}, "evaluation.episodes_during_training: missing; add it"),
        (
            {"evaluation": {"episodes": "4", "points": 3, "episodes_during_training": 2}},
            "evaluation.episodes: Input should be a valid integer (found '4'); correct it",
        ),
        (
            {"evaluation": {"episodes": 4, "ponts": 3, "episodes_during_training": 2}},
            "evaluation.ponts: no such key; did you mean 'points'?",
        ),
        ({"overrides": None}, "overrides: Input should be a valid dictionary (found None); correct it"),
        ({"overrides": {"Hoper-v5": {"batch": 1}}}, "overrides.Hoper-v5: not one of tasks"),
        ({"overrides": {"Hopper-v5": 3}}, "overrides.Hopper-v5: Input should be a valid dictionary (found 3)"),
        ({"demonstrations_from": {"Ant-v5": "mine"}}, "demonstrations_from.Ant-v5: not one of tasks (Inverted"),
        (
            {"demonstrations_from": {TASK: "../mine"}},
            f"demonstrations_from.{TASK}: a name has letters, digits",
        ),
        ({"demonstrations_from": {TASK: ["mine"]}}, f"demonstrations_from.{TASK}: Input should be a valid string"),
        ({"demonstrations_form": {}}, "demonstrations_form: no such key; did you mean 'demonstrations_from'?"),
        ({"profile": 3}, "profile: Input should be a valid string (found 3); correct it"),
        ({"device": "gpu"}, "device: Input should be 'auto', 'cpu' or 'cuda' (found 'gpu'); correct it"),
        ({"allow_weak_expert": "yes"}, "allow_weak_expert: Input should be a valid boolean (found 'yes'); correct it"),
    ],
)
def test_wrong_keys_and_values(wrong, changes, said):
    assert wrong(**changes).startswith(said)


@pytest.mark.parametrize(
    "key", ["profile", "tasks", "methods", "seeds", "evaluation", "budget", "overrides", "variants"]
)
def test_a_missing_key(tmp_path, key):
    params = synthetic.design(tmp_path)
    content = yaml.safe_load(params.read_text())
    params.write_text(yaml.safe_dump({k: v for k, v in content.items() if k != key}))
    assert refused(params, lambda: load(params)) == f"{key}: missing; add it"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"env_steps": "1e5"}, "budget.Hopper-v5.env_steps: Input should be a valid integer (found '1e5'); correct it"),
        ({"env_steps": 0}, "budget.Hopper-v5.env_steps: Input should be greater than 0 (found 0); correct it"),
        ({"demonstrations": [4, 4]}, "budget.Hopper-v5.demonstrations: [4, 4] names one twice; remove it"),
        ({"demonstrations": [0]}, "budget.Hopper-v5.demonstrations.0: Input should be greater than 0"),
        ({"demonstrations": 4}, "budget.Hopper-v5.demonstrations: Input should be a valid list (found 4)"),
        (
            {"episodes": 4},  # a key of `evaluation`
            "budget.Hopper-v5.episodes: no such key; did you mean 'parallel_episodes'?",
        ),
        ({"points": 4}, "budget.Hopper-v5.points: no such key; remove it, or write one of demonstrations, env_steps, "),
        ({"short_budget": 1}, "budget.Hopper-v5.short_budget: Input should be a valid boolean (found 1); correct it"),
    ],
)
def test_wrong_budgets(tmp_path, wrong, entry, said):
    good = {"env_steps": 1000, "parallel_episodes": 2, "demonstrations": [4]}
    load(synthetic.design(tmp_path, tasks=["Hopper-v5"], budget={"Hopper-v5": good}))
    assert wrong(tasks=["Hopper-v5"], budget={"Hopper-v5": good | entry}).startswith(said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"tasks: [Hopper-v5\nseeds: [0]", "line 2, column 6: not valid YAML (expected ',' or ']'"),
        (b"\xff\xfe\x00", "not valid YAML ("),
        (b"", "expected keys and values; found nothing; write them"),
        (b"[Hopper-v5]", "expected keys and values; found list; write them"),
    ],
)
def test_text_that_is_no_design(tmp_path, text, said):
    (tmp_path / "params.yaml").write_bytes(text)
    assert refused(tmp_path / "params.yaml", lambda: load(tmp_path / "params.yaml")).startswith(said)


def test_a_missing_file(tmp_path):
    params = tmp_path / "parms.yaml"
    assert refused(params, lambda: load(params)) == "missing; name a params.yaml that exists with --params"


@pytest.mark.parametrize(
    ("tasks", "methods", "said"),
    [
        (["Hoper-v5"], ["bc"], "tasks: task 'Hoper-v5' does not exist; did you mean 'Hopper-v5'?"),
        (["Hopper-v4"], ["bc"], "tasks: task 'Hopper-v4' does not exist; did you mean 'Hopper-v5'?"),
        (
            [TASK],
            ["bc", "gaill"],
            "methods: no method 'gaill' (there is no file algorithms/gaill.py); did you mean 'gail'",
        ),
        (["Chess"], ["bc"], "tasks: task 'Chess' does not exist; choose from Acrobot-v1, Ant-v5, "),
        ([TASK], ["core"], "methods: no method 'core' (there is no file algorithms/core.py); "),
        ([TASK], ["__init__"], "methods: no method '__init__'"),
    ],
)
def test_names_that_do_not_exist(tmp_path, tasks, methods, said):
    budget = {task: {"env_steps": 1, "parallel_episodes": 1, "demonstrations": [1]} for task in tasks}
    params = synthetic.design(tmp_path, tasks=tasks, methods=methods, budget=budget)
    design = load(params)
    assert refused(params, lambda: check_names(design, tasks[0])).startswith(said)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gial", "gail"),  # of the same letters; gtal has as many of them in order
        ("gali", "gail"),
        ("aril", "airl"),
        ("cb", "bc"),
        ("gaill", "gail"),
        ("mgai", "mgail"),
        ("ebm-gan", "ebm_gan"),
        ("GAIL", "gail"),
        ("dagger", None),
    ],
)
def test_a_misspelt_name_is_answered_with_the_most_similar_one(tmp_path, name, meant):
    assert nearest(name, algorithms.names()) == meant
    params = synthetic.design(tmp_path, methods=[name])
    cure = f"did you mean '{meant}'?" if meant else "choose from airl, bc, "
    assert cure in refused(params, lambda: check_names(load(params)))


def test_demonstrations_that_a_run_would_refuse_are_refused_by_the_plan(tmp_path):
    """By the same code, with the key of the profile before what it says."""
    budget = {"Hopper-v5": {"env_steps": 1, "parallel_episodes": 1, "demonstrations": [4, 99]}}
    params = synthetic.design(tmp_path, root=str(ROOT), tasks=["Hopper-v5"], budget=budget)
    card = load(params).demonstrations("Hopper-v5") / "card.json"
    assert refused(params, lambda: plan.write_plan(params)) == (
        f"budget.Hopper-v5.demonstrations: {card}: trajectories: 99 asked for, there are 50; ask for 1 to 50"
    )
    imported = tmp_path / "data" / "imported"
    imported.mkdir(parents=True)
    (imported / "mine").symlink_to(ROOT / "data" / "demonstrations" / "Reacher-v5")
    budget["Hopper-v5"]["demonstrations"] = [4]
    given = {"tasks": ["Hopper-v5"], "budget": budget}
    params = synthetic.design(tmp_path, **given, demonstrations_from={"Hopper-v5": "mine"})
    there = load(params).demonstrations("Hopper-v5")
    assert refused(params, lambda: plan.write_plan(params)) == (
        f"demonstrations_from.Hopper-v5: {there / 'card.json'}: task: demonstrations of Reacher-v5, not of Hopper-v5; "
        "name the folder of Hopper-v5"
    )
    (imported / "mine").unlink()
    assert refused(params, lambda: plan.write_plan(params)) == (
        f"demonstrations_from.Hopper-v5: {there}: missing; make it with `threefold minari import`"
    )
    params = synthetic.design(tmp_path, **given)
    own = load(params).demonstrations("Hopper-v5")
    missing = f"budget.Hopper-v5.demonstrations: {own}: missing; make it with `threefold demonstrate --task Hopper-v5`"
    assert refused(params, lambda: plan.write_plan(params)) == missing
    shutil.copytree(ROOT / "data" / "demonstrations" / "Hopper-v5", own)
    (tmp_path / "data" / "experts").symlink_to(ROOT / "data" / "experts")
    assert plan.write_plan(params).plan.exists()
    (own / "trajectories.safetensors").write_bytes(b"cut")
    (tmp_path / "plan.json").unlink()
    said = refused(params, lambda: plan.write_plan(params))
    assert said.startswith(f"budget.Hopper-v5.demonstrations: {own / 'trajectories.safetensors'}: truncated or altered")
    assert not (tmp_path / "plan.json").exists()


def test_demonstrations_that_a_variant_or_a_method_cannot_use(tmp_path):
    """Fewer that never terminated than asked for; single pairs, for a method that draws whole trajectories."""
    folder = tmp_path / "data" / "demonstrations" / TASK
    folder.parent.mkdir(parents=True)
    (tmp_path / "data" / "experts").symlink_to(ROOT / "data" / "experts")
    shutil.copytree(ROOT / "data" / "demonstrations" / TASK, folder)
    whole = read(folder)
    facts = json.loads((folder / "card.json").read_text())
    ended = dataclasses.replace(whole, terminated=torch.arange(len(whole)) > 2)
    write(folder, ended, facts["every"], True, facts)
    budget = {TASK: {"env_steps": 1, "parallel_episodes": 1, "demonstrations": [4]}}
    given = {"tasks": [TASK], "methods": ["gail"], "budget": budget}
    variants = {"gail_x": {"method": "gail", "tasks": [TASK], "expert": "never_terminated"}}
    params = synthetic.design(tmp_path, **given, variants=variants)
    said = refused(params, lambda: plan.write_plan(params))
    assert said.startswith(
        f"variants.gail_x.expert: {folder / 'card.json'}: trajectories: 4 that never terminated asked"
    )
    one = {"env_steps": 1, "parallel_episodes": 1, "demonstrations": [1]}
    for every, kept in ((10**6, False), (1000, True)):
        write(folder, whole, every, kept, facts)
        said = refused(synthetic.design(tmp_path, **given | {"budget": {TASK: one}}), lambda: plan.write_plan(params))
        assert said.startswith(f"budget.{TASK}.demonstrations: demonstrations: 1 of these trajectories hold 1 pair(s)")
        assert said.endswith(f"; ask for more trajectories, or make them anew with every less than {every}")
    write(folder, whole, facts["every"], False, facts)
    plan.write_plan(synthetic.design(tmp_path, **given))
    params = synthetic.design(tmp_path, **given | {"methods": ["gcl"]})
    assert refused(params, lambda: plan.write_plan(params)) == (
        f"{TASK}/gcl: {folder}: demonstrations: only single pairs are there; make them again with whole: true"
    )


@pytest.mark.parametrize(
    ("same", "overrides", "different", "others"),
    [
        ({}, {}, {"expert": "idle"}, {}),
        ({"config": {"gradient_penalty": 1.0}}, {}, {"config": {"gradient_penalty": 2.0}}, {}),
        ({"demonstrations": [4]}, {}, {"config": {"gradient_penalty": 1.0}}, {TASK: {"gradient_penalty": 2.0}}),
    ],
)
def test_a_variant_that_differs_in_nothing(tmp_path, same, overrides, different, others):
    budget = {TASK: {"env_steps": 1, "parallel_episodes": 1, "demonstrations": [1, 4]}}
    given = {"root": str(ROOT), "tasks": [TASK], "methods": ["gail"], "budget": budget}
    variant = {"method": "gail", "tasks": [TASK]}
    params = synthetic.design(tmp_path, **given, variants={"gail_again": variant | same}, overrides=overrides)
    assert refused(params, lambda: plan.write_plan(params)) == (
        "variants.gail_again: differs in nothing from gail's own row; change a constant in its config"
    )
    params = synthetic.design(tmp_path, **given, variants={"gail_again": variant | different}, overrides=others)
    assert "gail_again" in plan.plan(load(params))["variants"]


def test_a_variant_of_a_method_that_does_not_exist(tmp_path):
    params = synthetic.design(tmp_path, variants={"gial_x": VARIANT | {"method": "gial"}})
    line = refused(params, lambda: check_names(load(params), TASK))
    assert line.startswith("variants.gial_x.method: no method 'gial' (there is no file algorithms/gial.py); did you")
    params = synthetic.design(tmp_path, variants={"gail_ls_wide": VARIANT | {"method": "lsgail"}})
    line = refused(params, lambda: check_names(load(params), TASK))
    assert line.startswith("variants.gail_ls_wide.method: no method 'lsgail' (there is no file algorithms/lsgail.py)")


@pytest.mark.parametrize(
    ("task", "row", "said"),
    [
        ("Hoper-v5", "gail", "--task Hoper-v5: not one of tasks in {} (InvertedPendulum-v5, Hopper-v5)"),
        ("Swimmer-v5", "gail", "--task Swimmer-v5: not one of tasks in {}"),
        ("Hopper-v5", "gial", "--row gial: not one of methods or variants in {} (bc, gail, gail_x)"),
        (TASK, "gail_x", "--task InvertedPendulum-v5: variants.gail_x in {} runs on Hopper-v5; choose one, or add it"),
    ],
)
def test_the_command_line_names_what_is_not_in_the_design(tmp_path, capsys, task, row, said):
    params = synthetic.design(tmp_path, variants={"gail_x": VARIANT})
    assert threefold("run", "--params", params, "--task", task, "--row", row) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: " + said.format(params))


@pytest.fixture
def overridden(tmp_path):
    """The Config of a method on Hopper with some of the task's constants changed, and the variant's."""

    def config(method, variant=None, **constants):
        rows = {f"{method}_x": VARIANT | {"method": method, "config": variant}} if variant else {}
        params = synthetic.design(tmp_path, methods=[method], overrides={"Hopper-v5": constants}, variants=rows)
        return configure(load(params), "Hopper-v5", f"{method}_x" if variant else method)

    return config


def test_overrides_reach_into_nested_constants_and_leave_the_rest(overridden):
    config = overridden("gail", **{"ppo.discount": 0.9999, "ppo.hidden": [8], "gradient_penalty": 2, "batch": 7})
    assert config == gail.Config(
        batch=7, gradient_penalty=2.0, ppo=dataclasses.replace(gail.Config().ppo, discount=0.9999, hidden=(8,))
    )
    assert type(config.gradient_penalty) is float


def test_a_constant_of_another_method_only_is_passed_over(overridden):
    assert overridden("bc", **{"ppo.discount": 0.9999}) == bc.Config()
    assert overridden("gail", train_share=0.5) == gail.Config()


@pytest.mark.parametrize("method", ["gail", "bc"])
def test_an_override_is_of_constants_and_not_of_methods(overridden, tmp_path, method):
    for name in ("gail", "bc", "airl"):
        line = refused(tmp_path / "params.yaml", lambda name=name: overridden(method, **{name: {"batch": 5}}))
        assert line == (
            f"overrides.Hopper-v5.{name}: a method, where constants stand, for every method that has them; write those "
            "of one method in the config of a variant"
        )


def test_a_variants_constants_come_after_the_tasks(overridden):
    config = overridden("gail", {"batch": 9, "loop.absorbing": True}, batch=7, gradient_penalty=2.0)
    loop = dataclasses.replace(gail.Config().loop, absorbing=True)
    assert config == gail.Config(batch=9, gradient_penalty=2.0, loop=loop)


def test_a_variant_may_not_have_a_constant_of_another_method(overridden, tmp_path):
    line = refused(tmp_path / "params.yaml", lambda: overridden("gail", {"train_share": 0.5}))
    assert line.startswith("variants.gail_x.config.train_share: no such constant; choose from batch, ")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ppo.discont", 0.9, "no such constant; did you mean 'ppo.discount'?"),
        ("ppo", 0.9, "a group of constants; write one of ppo.clip, ppo.discount, "),
        ("ppo", {"epochs": 5, "rate": 0.1}, "a group of constants; write ppo.epochs: 5, ppo.rate: 0.1"),
        ("loop.trpo", {"share": 0.5}, "a group of constants; write loop.trpo.share: 0.5"),
        ("loop", {}, "a group of constants; write one of loop.absorbing, "),
        ("ppo.discount.more", 0.9, "no such constant"),
        ("__doc__", "x", "no such constant"),
        (
            "ppo.discount",
            "9e-1",
            "Input should be a valid number (found '9e-1', default 0.99); correct it (YAML takes 3e-4",
        ),
        ("ppo.discount", True, "Input should be a valid number (found True, default 0.99); correct it"),
        ("ppo.steps", 256.0, "Input should be a valid integer (found 256.0, default 256); correct it"),
        ("ppo.steps", None, "Input should be a valid integer (found None, default 256); correct it"),
        ("loop.absorbing", 1, "Input should be a valid boolean (found 1, default False); correct it"),
        ("hidden", 64, "Input should be a valid tuple (found 64, default (64, 64)); write a list, such as [64, 64]"),
        ("hidden", "(32, 32)", "Input should be a valid tuple (found '(32, 32)', default (64, 64)); write a list, s"),
        ("hidden", [64, "64"], "Input should be a valid integer (found '64', default (64, 64)); correct it"),
    ],
)
def test_wrong_overrides(overridden, tmp_path, name, value, said):
    line = refused(tmp_path / "params.yaml", lambda: overridden("gail", **{name: value}))
    place = ".1" if isinstance(value, list) else ""
    assert line.startswith(f"overrides.Hopper-v5.{name}{place}: {said}")


@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("ppo.rate", "1e-3", True),
        ("ppo.steps", "1e3", True),
        ("hidden", [64, "6e1"], True),
        ("ppo.rate", "0.001", False),
        ("ppo.rate", "small", False),
        ("loop.inner", "3e-4", False),
        ("loop.absorbing", "yes", False),
        ("hidden", "3e-4", False),
    ],
)
def test_how_yaml_reads_numbers_is_said_where_one_is_needed_and_meant(overridden, tmp_path, name, value, hint):
    line = refused(tmp_path / "params.yaml", lambda: overridden("gail", **{name: value}))
    assert ("YAML takes 3e-4 for text" in line) == hint


@pytest.mark.parametrize(
    ("method", "name", "value"),
    [
        ("gail", "batch", 0),
        ("gail", "batch", -512),
        ("gail", "gradient_penalty", -1.0),
        ("gail", "gradient_penalty", float("nan")),
        ("gail", "hidden", [64, 0]),
        ("gail", "ppo.hidden", [-1]),
        ("gail", "ppo.steps", 0),
        ("gail", "ppo.epochs", 0),
        ("gail", "ppo.minibatches", 0),
        ("gail", "ppo.rate", 0.0),
        ("gail", "ppo.rate", -3.0e-4),
        ("gail", "ppo.rate", float("inf")),
        ("gail", "ppo.clip", 0.0),
        ("gail", "ppo.discount", 5),
        ("gail", "ppo.discount", 1.0),  # of an absorbing state's reward, the sum would be infinite
        ("gail", "ppo.discount", -0.1),
        ("gail", "ppo.gae", 1.1),
        ("gail", "ppo.entropy_weight", -0.1),
        ("gail", "ppo.max_norm", 0.0),
        ("gail", "loop.reward_steps", 0),
        ("gail", "loop.reward_rate", 0.0),
        ("gail", "loop.recent", 0),
        ("bc", "batch", 0),
        ("bc", "steps", 0),
        ("bc", "rate", -1.0e-3),
        ("bc", "train_share", 1.5),
        ("gcl", "trajectories", 0),
        ("gcl", "torque", -0.5),
        ("ebm_gan", "base_std", 0.0),
        ("ebm_gan", "defensive", 1.0),
        ("constant", "value", float("inf")),
    ],
)
def test_constants_out_of_range(overridden, tmp_path, method, name, value):
    """An override's and a variant's, of the loops' Configs and of methods' own: one reader reads them all."""
    place = ".1" if value == [64, 0] else ".0" if value == [-1] else ""
    line = refused(tmp_path / "params.yaml", lambda: overridden(method, **{name: value}))
    assert line.startswith(f"overrides.Hopper-v5.{name}{place}: Input should be ")
    assert line.endswith("; correct it")
    line = refused(tmp_path / "params.yaml", lambda: overridden(method, {name: value}))
    assert line.startswith(f"variants.{method}_x.config.{name}{place}: Input should be ")


def test_constants_at_the_ends_of_their_ranges(overridden):
    ends = {"ppo.discount": 0, "ppo.gae": 1, "ppo.entropy_weight": 0, "ppo.steps": 1, "gradient_penalty": 0}
    config = overridden("gail", **ends)
    assert (config.ppo.discount, config.ppo.gae, config.ppo.steps) == (0.0, 1.0, 1)
    assert overridden("constant", value=-1).value == -1.0


@dataclasses.dataclass(frozen=True)
class Own:
    """Constants as a method's author writes them, with a range of his own and none at all."""

    count: int = 4
    sizes: tuple[int, ...] = (8,)
    weight: float = -1.0
    place: Annotated[int, Field(ge=-2, le=2)] = 0
    form: Literal["joint", "conditional"] = "joint"
    ppo: PPOConfig = PPOConfig()

    def __post_init__(self) -> None:
        if self.count > 100:
            raise InputError("count: more than 100")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", 0),
        ("count", 101),
        ("sizes", [8, 0]),
        ("weight", float("nan")),
        ("place", 3),
        ("form", "both"),
        ("form", 1),
        ("ppo.gae", 2),
    ],
)
def test_a_methods_own_constants_are_checked_by_their_types_alone(name, value):
    with pytest.raises(InputError, match=rf"^here\.{name}[^\n]*$"):
        constants.replaced(Own(), {name: value}, "here")
    assert constants.replaced(Own(), {"place": -2, "weight": -7, "form": "conditional"}, "here").place == -2


def test_an_override_of_a_later_task_is_checked_in_the_first_cell(tmp_path):
    params = synthetic.design(tmp_path, overrides={"Hopper-v5": {"bacth": 3}})
    line = refused(params, lambda: run.run(params, "gail", TASK))
    assert line.startswith("overrides.Hopper-v5.bacth: no such constant; did you mean 'batch'?")
