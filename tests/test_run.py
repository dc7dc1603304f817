"""The commands of one cell, on a tiny profile: real demonstrations, real physics, learners that learn nothing yet."""

import errno
import json
import math
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import yaml

from algorithms import gail
from tests.blank import blank
from tests.command import threefold
from tests.fresh import CONTEXT
from threefold.base import files
from threefold.cells import record, run
from threefold.cells.cell import Cell
from threefold.cells.grid import grid
from threefold.experts import demonstrations as data
from threefold.profile.design import load
from threefold.store.entries import entries, location
from threefold.tables import schema

ROOT = Path(__file__).parents[1]
TASK = "InvertedPendulum-v5"
PARAMS: dict[str, Any] = {
    "root": ".",
    "folder": ".",
    "profile": "tiny",
    "device": "cpu",
    "tasks": [TASK],
    "methods": ["bc", "gail"],
    "seeds": [0, 1],
    "evaluation": {"episodes": 4, "points": 3, "episodes_during_training": 2},
    "budget": {TASK: {"env_steps": 350, "parallel_episodes": 2, "demonstrations": [1, 2]}},
    "variants": {},
    "overrides": {
        TASK: {
            "batch": 16,
            "steps": 30,  # of BC
            "validate_every": 10,
            "loop.reward_steps": 1,
            "ppo.steps": 32,  # 64 transitions an iteration, so six of them
            "ppo.epochs": 1,
            "ppo.minibatches": 2,
        }
    },
}
LEARNERS = [(1, 0), (1, 1), (2, 0), (2, 1)]
PARTS = ["1_0-1", "2_0-1"]
PART_FILES = ["evaluations.csv.gz", "learners.csv", "part.json", "policies.safetensors", "training.csv.gz"]


def project(folder, **changes):
    """A folder with the data of one task and a params.yaml, of which this returns the path."""
    for kind in ("demonstrations", "experts"):
        shutil.copytree(ROOT / "data" / kind / TASK, folder / "data" / kind / TASK, dirs_exist_ok=True)
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump(PARAMS | changes))
    return params


def command(verb, params, *options, task=TASK):
    """Return the exit code of a command."""
    return threefold(verb, "--params", params, *options, *(["--task", task] if verb != "collect" else []))


def train(params, row, *options):
    return command("run", params, "--row", row, *options)


def cell(params, row):
    return load(params).cell(TASK, row)


def contents(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def table(params, row, name):
    """A table of all parts of a cell."""
    paths = sorted(cell(params, row).glob(f"*/{schema.FILES[name]}"))
    return schema.read_csvs(paths, schema.TABLES[name])


def evaluations(params, row):
    return table(params, row, "evaluations")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A profile of which everything has run once."""
    params = project(tmp_path_factory.mktemp("finished"))
    assert threefold("plan", "--params", params) == 0
    codes = [train(params, "bc"), train(params, "gail"), command("reference", params), command("collect", params)]
    assert codes == [0] * 4
    return params


def borrow(finished, params, *rows):
    """Put cells of the finished profile in their place in another one that asks for the same."""
    for row in rows:
        shutil.copytree(cell(finished, row), cell(params, row))


@pytest.mark.parametrize("row", ["bc", "gail", "reference"])
def test_a_cell_holds_what_the_schema_says(finished, row):
    expected = [name for name in PART_FILES if row != "reference" or name != "policies.safetensors"]
    assert sorted(path.name for path in cell(finished, row).iterdir()) == (["all"] if row == "reference" else PARTS)
    for number, part in enumerate(sorted(cell(finished, row).iterdir()), start=1):
        assert sorted(path.name for path in part.iterdir()) == expected
        card = schema.read_part(part / "part.json")
        assert set(card) == {*schema.PART_KEYS, "rollout", "sha256"}
        assert set(card["sha256"]) == set(expected) - {"part.json"}
        assert card["rollout"] == ({"parallel_episodes": 2, "steps": 32} if row == "gail" else None)
        made_from = card["made_from"]
        assert (made_from["task"], made_from["row"], card["engine"]) == (TASK, row, "native")
        assert set(card["versions"]) == {"python", "torch", "mujoco", "gymnasium"}
        assert "inverted_pendulum.xml" in made_from["data"]
        if row == "reference":
            continue
        assert (made_from["demonstrations"], made_from["seeds"]) == (number, [0, 1])
        assert (made_from["env_steps"], made_from["parallel_episodes"]) == (350, 2)
        artefact = json.loads((finished.parent / "data" / "demonstrations" / TASK / "card.json").read_text())
        assert made_from["data"]["demonstrations.sha256"] == artefact["sha256"]
        assert made_from["config"]["batch"] == 16
        assert f"algorithms/{row}.py" in made_from["code"]
        if row == "gail":
            assert made_from["config"]["ppo"]["steps"] == 32
            assert made_from["config"]["ppo"]["clip"] == 0.2


@pytest.mark.parametrize(("row", "points"), [("bc", {0: 4}), ("gail", {128: 2, 256: 2, 384: 4})])
def test_every_learner_is_evaluated_at_every_point(finished, row, points):
    rows = evaluations(finished, row)
    found = rows.groupby(["demonstrations", "seed", "env_steps"])["episode"].agg(list).to_dict()
    assert found == {
        (*learner, env_steps): list(range(episodes)) for learner in LEARNERS for env_steps, episodes in points.items()
    }
    assert rows["episode_length"].between(1, 1000).all()
    # One a step, except the step that ends the episode.
    assert (rows["episode_return"] == rows["episode_length"] - rows["terminated"]).all()
    assert (rows["terminated"] | (rows["episode_length"] == 1000)).all()


def test_the_reference_cell_measures_random_and_expert(finished):
    rows = evaluations(finished, "reference")
    means = rows.groupby("row")["episode_return"].agg(["size", "mean"])
    assert means["size"].to_dict() == dict.fromkeys(schema.REFERENCES, 4)
    assert means["mean"]["random"] < 50
    assert means["mean"]["expert"] == 1000
    learners = table(finished, "reference", "learners")
    assert set(learners["row"]) == set(schema.REFERENCES)


def test_a_reference_is_measured_again_only_if_it_is_not_there_whole_and_made_from_the_same(finished, tmp_path, capsys):
    params = project(tmp_path)
    borrow(finished, params, "reference")
    folder, before = cell(params, "reference") / "all", contents(cell(params, "reference"))
    written = (folder / "part.json").stat().st_mtime_ns
    assert command("reference", params) == 0
    assert capsys.readouterr().err == f"{TASK}/reference: nothing to compute\n"
    assert (folder / "part.json").stat().st_mtime_ns == written
    edit(folder / "part.json", made_from={"task": TASK})
    assert command("reference", params) == 0
    assert contents(cell(params, "reference")) == before
    (folder / "learners.csv").write_text("")
    assert command("reference", params) == 0
    assert contents(cell(params, "reference")) == before


def test_training_and_learners_tables(finished):
    training = table(finished, "gail", "training")
    assert set(training["metric"]) >= {"reward_loss", "policy_entropy", "episode_return", "episode_length"}
    loss = training[training["metric"] == "reward_loss"]
    assert len(loss) == len(LEARNERS) * 6
    assert set(zip(loss["iteration"], loss["env_steps"], strict=True)) == {(i, 64 * i) for i in range(1, 7)}
    for row, end in (("bc", (30, 0)), ("gail", (6, 384))):
        learners = table(finished, row, "learners")
        assert list(zip(learners["demonstrations"], learners["seed"], strict=True)) == LEARNERS
        assert set(zip(learners["iteration"], learners["env_steps"], strict=True)) == {end}
        assert set(learners["status"]) == {"ok"}
        assert set(learners["reason"]) == {""}


def test_policies_are_delivered_and_rewards_stay_in_the_store(finished):
    for part in PARTS:
        (entry,) = (location(finished.parent) / TASK / "gail" / part).glob("*/done")
        for file, kind in (
            (cell(finished, "gail") / part / "policies.safetensors", "policy"),
            (entry.parent / "result" / "models.safetensors", "reward"),
        ):
            tensors = safetensors.torch.load(file.read_bytes())
            assert {name.split(".")[0] for name in tensors} == {kind}
            assert all(len(tensor) == 2 for name, tensor in tensors.items() if name.endswith("weight"))


def test_metrics_are_kept_at_a_hundred_points_and_no_episode_is_lost(finished, tmp_path, monkeypatch):
    """With fewer points than iterations, an episode counts at the next point."""
    monkeypatch.setattr(record, "LOGGED", 2)
    params = project(tmp_path)
    assert train(params, "gail") == 0
    every, some = table(finished, "gail", "training"), table(params, "gail", "training")
    loss, kept = every[every["metric"] == "reward_loss"], some[some["metric"] == "reward_loss"]
    assert sorted(set(kept["env_steps"])) == [192, 384]
    assert kept.equals(loss[loss["env_steps"].isin([192, 384])].reset_index(drop=True).set_axis(kept.index))
    assert (some["metric"] == "episode_return").sum() == len(LEARNERS) * 2


def test_a_link_in_the_folder_of_a_cell_goes_and_what_it_leads_to_stays(tmp_path):
    wanted = Cell(load(project(tmp_path)), TASK, "bc")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine.txt").write_text("kept\n")
    wanted.folder.mkdir(parents=True)
    (wanted.folder / "1_0").symlink_to(tmp_path / "elsewhere")
    assert run.deliver(wanted) == wanted.parts  # of which none is computed yet
    assert list(wanted.folder.iterdir()) == []
    assert (tmp_path / "elsewhere" / "mine.txt").read_text() == "kept\n"


def test_a_stale_plan_is_refused_and_a_part_that_is_there_is_not_computed_again(finished, tmp_path, capsys):
    params = project(tmp_path)
    (params.parent / "plan.json").write_bytes((finished.parent / "plan.json").read_bytes())
    shutil.copytree(cell(finished, "gail"), cell(params, "gail"))
    assert train(params, "gail") == 0
    assert entries(location(params.parent)) == []
    assert contents(cell(params, "gail")) == contents(cell(finished, "gail"))
    more = project(tmp_path, seeds=[0, 1, 3])
    assert train(more, "gail") == 2
    said = f"error: {params.parent / 'plan.json'}: {TASK}/gail: made before the last change of code or settings; "
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)
    assert threefold("plan", "--params", more) == 0
    assert f"{params.parent / 'plan.json'}: 2 of 8 parts are there, 6 to compute" in capsys.readouterr().out
    assert train(more, "gail") == 0
    assert sorted(path.name for path in entries(location(params.parent))[0].parent.parent.iterdir()) == ["1_3", "2_3"]
    assert sorted(path.name for path in cell(more, "gail").iterdir()) == ["1_0-1", "1_3", "2_0-1", "2_3"]
    fewer = project(tmp_path)
    assert threefold("plan", "--params", fewer) == train(fewer, "gail") == 0
    assert contents(cell(fewer, "gail")) == contents(cell(finished, "gail"))


def test_a_pair_that_the_profile_leaves_out_has_no_result_and_says_why(finished, tmp_path, capsys):
    params = project(tmp_path, left_out={TASK: {"gail": "as a test"}})
    borrow(finished, params, "bc", "reference")
    assert threefold("plan", "--params", params) == 0
    assert json.loads((params.parent / "plan.json").read_text())["cells"][TASK]["gail"] == {"left out": "as a test"}
    assert train(params, "gail") == train(params, "bc") == command("collect", params) == 0
    assert contents(cell(params, "gail")) == {"left_out.json": b'{\n  "reason": "as a test"\n}\n'}
    collected = schema.read_csv(load(params).results / "learners.csv", schema.LEARNERS)
    assert "gail" not in set(collected["row"])
    project(tmp_path, left_out={TASK: {"gial": "x"}})
    assert train(params, "bc") == 2
    assert f"left_out.{TASK}.gial: not one of the rows (bc, gail)" in capsys.readouterr().err


def test_collected_tables_hold_every_cell(finished):
    collected = schema.read_csv(load(finished).results / "evaluations.csv", schema.EVALUATIONS)
    assert len(collected) == sum(len(evaluations(finished, name)) for name in ("reference", "bc", "gail"))
    assert set(json.loads((load(finished).results / "cells.json").read_text())) == {
        f"{TASK}/{name}" for name in ("reference", "bc", "gail")
    }


def test_a_report_of_what_is_there_computes_nothing_but_the_reference(finished, tmp_path, capsys, monkeypatch):
    """Without a plan, without collected tables, without a part that only the store has, and without DVC."""
    shutil.copytree(finished.parent, tmp_path, dirs_exist_ok=True)
    params = tmp_path / "params.yaml"
    design, references = load(params), contents(cell(params, "reference"))
    shutil.rmtree(cell(params, "reference"))
    shutil.rmtree(cell(params, "gail") / PARTS[1])
    for path in (design.plan, *design.results.glob("*.csv"), design.results / "cells.json"):
        path.unlink()
    before = {path: data for path, data in contents(tmp_path).items() if not path.startswith(".store")}
    monkeypatch.setattr(run, "compute", None)
    blank(monkeypatch)
    assert threefold("report", "--available", "--params", params) == 0
    said = capsys.readouterr()
    folder = tmp_path / "reports" / "tiny" / "available"
    note = "3 of 4 parts of the profile are there; the others are marked as missing."
    assert said.out == f"{os.path.relpath(folder / 'report.html')}: {note}\n"
    assert said.err.splitlines() == [
        f"{TASK}: measuring random actions and the expert",
        f"finished in the store, not yet in {design.results}: 1 (`threefold store deliver` copies them)",
    ]
    assert note in (folder / "report.html").read_text()
    assert contents(cell(params, "reference")) == references
    for path in (tmp_path / "reports", cell(params, "reference")):
        shutil.rmtree(path)
    assert {path: data for path, data in contents(tmp_path).items() if not path.startswith(".store")} == before


def test_a_report_of_what_is_there_takes_no_result_of_other_settings(finished, tmp_path, capsys):
    """Edited settings are named until there is a plan with them; then what is there is not theirs."""
    shutil.copytree(finished.parent, tmp_path, dirs_exist_ok=True)
    params = project(tmp_path, budget={TASK: PARAMS["budget"][TASK] | {"env_steps": 400}})
    available, results = ("report", "--available", "--params", params), load(params).results
    assert threefold(*available) == 2
    cure = f"run `threefold plan --params {params}`"
    said = f"error: {params}: budget.{TASK}.env_steps: 400, but 350 when {tmp_path / 'plan.json'} was made; {cure}\n"
    assert capsys.readouterr().err == said
    assert threefold("plan", "--params", params) == 0
    assert threefold(*available) == 2
    assert capsys.readouterr().err == f"error: {results}: no cell has a result; run `dvc repro`\n"


@pytest.mark.parametrize("row", ["bc", "gail", "reference"])
def test_the_same_cell_twice_gives_the_same_bytes(finished, tmp_path, monkeypatch, row):
    params = project(tmp_path)
    monkeypatch.setenv("THREEFOLD_THREADS", "1")  # the number of cores changes nothing either
    torch.rand(3)  # nor does whatever was drawn before
    assert (command("reference", params) if row == "reference" else train(params, row)) == 0
    assert contents(cell(params, row)) == contents(cell(finished, row))


def test_what_is_there_is_computed_again_if_it_is_asked_for(finished, tmp_path):
    shutil.copytree(finished.parent, tmp_path, dirs_exist_ok=True)
    params, before = tmp_path / "params.yaml", contents(cell(finished, "gail"))
    sidecar = load(params).results / "provenance" / TASK / "gail" / "1_0-1.json"
    sidecar.write_text("{}")
    part = cell(params, "gail") / "1_0-1"
    edit(part / "part.json", versions={"mujoco": "0.1"})  # nothing that a result is made from
    assert train(params, "gail") == 0
    assert sidecar.read_text() == "{}"
    assert train(params, "gail", "--again") == 0
    assert contents(cell(params, "gail")) == before
    assert json.loads(sidecar.read_text())["learners"] == 2


def test_options_of_the_launcher_are_no_users(params, capsys):
    assert train(params, "gail", "--part", "1_0-1") == 2
    assert capsys.readouterr().err.startswith("error: --part, --expect: for `threefold launch` alone, with --task; ")


def test_a_cell_says_nothing_of_time_or_machine_and_the_sidecar_does(finished):
    sidecar = load(finished).results / "provenance" / TASK / "gail" / "1_0-1.json"
    facts = json.loads(sidecar.read_text())
    assert facts["wall_s"] > 0
    assert facts["cpu_s"] > 0
    assert (facts["learners"], facts["env_steps"]) == (2, 2 * 384)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", facts["started"])
    assert facts["command"].startswith("threefold run --params ")
    assert facts["resumed"] == 0
    for row in ("bc", "gail", "reference"):
        text = b"".join(
            data for name, data in contents(cell(finished, row)).items() if name.endswith((".json", ".csv"))
        )
        for secret in (facts["started"][:10], platform.node(), facts["cpu"], str(finished.parent)):
            assert secret.encode() not in text


def spoil(which, after):
    """GAIL's training with the loss of some learners NaN from an iteration on."""

    def train(env, demonstrations, seeds, config):
        calls: list[None] = []
        spoilt = torch.tensor([key in which for key in zip(demonstrations.counts.tolist(), seeds, strict=True)])

        def loss(model, expert, policy, config):
            value = gail.loss(model, expert, policy, config)
            calls.append(None)
            return torch.where(spoilt & (len(calls) >= after), torch.nan, value)

        return gail.imitate(gail.Discriminator, loss, gail.reward, env, demonstrations, seeds, config)

    return train


def test_a_learner_that_fails_is_recorded_and_its_neighbours_do_not_notice(finished, tmp_path, monkeypatch, capsys):
    params = project(tmp_path)
    monkeypatch.setattr(gail, "train", spoil([(1, 1)], after=3))
    assert train(params, "gail") == 0
    assert capsys.readouterr().err.splitlines()[-1] == (
        "failed: gail InvertedPendulum-v5, 1 demonstrations, seed 1, iteration 3: not finite: reward loss"
    )
    learners = table(params, "gail", "learners")
    assert learners[["status", "iteration", "env_steps", "reason"]].to_numpy().tolist() == [
        ["failed", 3, 192, "not finite: reward loss"] if learner == (1, 1) else ["ok", 6, 384, ""]
        for learner in LEARNERS
    ]
    for name in ("evaluations", "training"):
        before, after = (table(p, "gail", name) for p in (finished, params))
        theirs = (before["demonstrations"] == 1) & (before["seed"] == 1)
        late = before["env_steps"] >= 192
        assert after.equals(before[~(theirs & late)].reset_index(drop=True))  # bit by bit
    borrow(finished, params, "bc", "reference")
    codes = [threefold("plan", "--params", params), command("collect", params)]
    assert codes == [0] * 2  # a failure is a result


def test_a_cell_whose_learners_all_fail_ends_and_is_recorded(finished, tmp_path, monkeypatch, capsys):
    params = project(tmp_path, methods=["gail"])
    borrow(finished, params, "reference")
    monkeypatch.setattr(gail, "train", spoil(LEARNERS, after=2))
    codes = [threefold("plan", "--params", params), train(params, "gail"), command("collect", params)]
    assert codes == [0] * 3
    learners = table(params, "gail", "learners")
    assert set(zip(learners["status"], learners["iteration"], strict=True)) == {("failed", 2)}
    assert len(evaluations(params, "gail")) == 0
    assert len([line for line in capsys.readouterr().err.splitlines() if line.startswith("failed: ")]) == 4


def crash(*arguments):
    raise RuntimeError("out of\nluck")
    yield


def test_a_cell_that_crashes_stops_the_others_unless_the_design_says_to_keep_going(
    finished, tmp_path, monkeypatch, capsys
):
    params = project(tmp_path, methods=["gail"])
    monkeypatch.setattr(gail, "train", crash)
    with pytest.raises(RuntimeError):
        train(params, "gail")
    params = project(tmp_path, methods=["gail", "bc"], keep_going=True)
    assert train(params, "gail") == 0
    assert "RuntimeError: out of" in capsys.readouterr().err
    assert contents(cell(params, "gail")) == {"crash.json": b'{\n  "reason": "RuntimeError: out of luck"\n}\n'}
    borrow(finished, params, "bc", "reference")
    assert [threefold("plan", "--params", params), command("collect", params)] == [0] * 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"no result: {cell(params, 'gail')}: crashed: RuntimeError: out of luck; "
        f"for another try: `dvc repro -f -s run@{TASK}-gail`"
    )
    learners = schema.read_csv(load(params).results / "learners.csv", schema.LEARNERS)
    missing = learners[learners["row"] == "gail"]
    assert list(zip(missing["demonstrations"], missing["seed"], strict=True)) == LEARNERS
    assert set(zip(missing["status"], missing["reason"], strict=True)) == {
        ("missing", "crashed: RuntimeError: out of luck")
    }


def test_a_cell_whose_process_is_killed_is_one_that_crashes(finished, tmp_path, monkeypatch):
    """As a system does that is out of memory; a cell with a single part, too, trains in a process of its own then."""

    def killed(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)
        yield

    monkeypatch.setattr(gail, "train", killed)
    one = PARAMS["budget"][TASK] | {"demonstrations": [1]}
    params = project(tmp_path, methods=["gail", "bc"], budget={TASK: one}, keep_going=True)
    assert train(params, "gail") == 0
    assert json.loads((cell(params, "gail") / "crash.json").read_text())["reason"].endswith("ended with -9")
    borrow(finished, params, "bc", "reference")
    codes = [threefold("plan", "--params", params), train(params, "bc"), command("collect", params)]
    assert codes == [0] * 3  # the second puts away the other part that was borrowed


# Wrong input: one line on stderr, exit code 2, no cell.


def refused(params, capsys, *said, row="gail", verb="run"):
    capsys.readouterr()
    assert (train(params, row) if verb == "run" else command(verb, params)) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    for part in said:
        assert part in line
    assert not load(params).results.exists() or not any(load(params).results.rglob("*.*"))


@pytest.fixture
def params(tmp_path):
    return project(tmp_path)


@pytest.fixture
def demonstrations(params):
    return params.parent / "data" / "demonstrations" / TASK


@pytest.fixture
def imported(params):
    """A profile whose task is demonstrated by what a user imported: fewer, and without a word on an expert."""
    folder = params.parent / "data" / "imported" / "mine"
    trajectories = data.read(params.parent / "data" / "demonstrations" / TASK).select([5, 4, 3])
    data.write(folder, trajectories, 2, True, {"task": TASK, "source": "minari: theirs-v0"})
    return project(params.parent, demonstrations_from={TASK: "mine"})


def test_a_cell_is_made_from_what_a_user_imported(imported, demonstrations):
    shutil.rmtree(demonstrations)  # the expert's are not looked at
    assert [train(imported, "bc"), train(imported, "gail")] == [0, 0]
    sha256 = data.read_card(imported.parent / "data" / "imported" / "mine")["sha256"]
    made_from = schema.read_part(cell(imported, "bc") / PARTS[0] / "part.json")["made_from"]
    assert made_from["data"]["demonstrations.sha256"] == sha256


def test_other_imported_demonstrations_are_another_cell_and_the_experts_are_not(imported, demonstrations):
    def folder():
        return next(place.entry.folder for place in grid(load(imported)) if place.cell.row == "bc")

    before = folder()
    shutil.rmtree(demonstrations)
    assert folder() == before
    edit(imported.parent / "data" / "imported" / "mine" / "card.json", sha256="0" * 64)
    assert folder() != before


def test_imported_demonstrations_that_are_missing(imported, capsys):
    shutil.rmtree(imported.parent / "data" / "imported" / "mine")
    refused(imported, capsys, "data/imported/mine: missing; make it with `threefold minari import`")


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[:-1] + bytes([data[-1] ^ 1])])
def test_demonstrations_truncated_or_altered(params, demonstrations, capsys, damage):
    path = demonstrations / "trajectories.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    refused(params, capsys, f"{path}: truncated or altered", "restore it from git")


def test_demonstrations_missing(params, demonstrations, capsys):
    shutil.rmtree(demonstrations)
    refused(params, capsys, f"{demonstrations}: missing; make it with")


def test_demonstrations_of_another_task(params, capsys):
    task = "InvertedDoublePendulum-v5"
    params = project(params.parent, tasks=[task], budget={task: PARAMS["budget"][TASK]}, overrides={})
    data = params.parent / "data" / "demonstrations"
    (data / TASK).rename(data / task)
    assert command("run", params, "--row", "gail", task=task) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{data / task / 'card.json'}: task: demonstrations of {TASK}, not of {task}; name" in line


def test_demonstrations_of_another_shape(params, demonstrations, capsys):
    edit(demonstrations / "card.json", obs_size=5)
    refused(params, capsys, "expected", "[", demonstrations.name)


def test_more_demonstrations_than_there_are(params, demonstrations, capsys):
    budget = {TASK: PARAMS["budget"][TASK] | {"demonstrations": [4, 26]}}
    params = project(params.parent, budget=budget)
    refused(
        params, capsys, str(demonstrations / "card.json"), "trajectories: 26 asked for, there are 25; ask for 1 to 25"
    )


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def weaken(params):
    """Make the expert's cards say that it is as good as random."""
    data = params.parent / "data"
    expert = json.loads((data / "experts" / TASK / "card.json").read_text())
    edit(data / "experts" / TASK / "card.json", return_stochastic=expert["random"])
    weak = json.loads((data / "demonstrations" / TASK / "card.json").read_text())["expert"]
    edit(data / "demonstrations" / TASK / "card.json", expert=weak | {"return_stochastic": expert["random"]})


@pytest.mark.parametrize(("verb", "kind"), [("run", "demonstrations"), ("reference", "experts")])
def test_an_expert_no_better_than_random_is_refused_unless_asked_for(params, capsys, verb, kind):
    weaken(params)
    card = params.parent / "data" / kind / TASK / "card.json"
    random = json.loads(card.read_text())
    random = random.get("expert", random)["random"]
    mean, bar = random["mean"], random["mean"] + 2 * math.sqrt(2) * random["std"] / math.sqrt(random["episodes"])
    said = f"{card}: return_stochastic: mean {mean:.4g} is not clearly above random ({mean:.4g}; bar {bar:.4g}); "
    said += "train a better expert"
    refused(params, capsys, f"{said}, or set allow_weak_expert: true in {params}", row="bc", verb=verb)
    few = PARAMS["evaluation"] | {"episodes": 1}
    params.write_text(yaml.safe_dump(PARAMS | {"allow_weak_expert": True, "evaluation": few}))
    assert (train(params, "bc") if verb == "run" else command("reference", params)) == 0


@pytest.mark.parametrize("expert", [{}, None, {"return_stochastic": {"mean": "high"}}])
def test_an_experts_summary_that_is_none(params, demonstrations, capsys, expert):
    edit(demonstrations / "card.json", expert=expert)
    refused(
        params, capsys, f"{demonstrations / 'card.json'}: the expert's and random's returns: missing or no numbers;"
    )


def test_demonstrations_that_tell_nothing_of_their_expert_are_taken(params, demonstrations):
    path = demonstrations / "card.json"
    card = json.loads(path.read_text())
    del card["expert"]  # as an imported dataset's
    path.write_text(json.dumps(card))
    assert train(params, "bc") == 0


@pytest.mark.parametrize(
    ("name", "said"),
    [("policy.safetensors", "sha256 differs from the card's"), ("card.json", "not valid JSON")],
)
def test_an_altered_expert(params, capsys, name, said):
    path = params.parent / "data" / "experts" / TASK / name
    path.write_bytes(path.read_bytes()[:-1000])
    refused(params, capsys, f"{path}: {said}", "restore it from git", verb="reference")


CARDS = [(b"[]", "[] is no card"), (b"null", "null is no card"), (b"\xff", "not valid")]


@pytest.mark.parametrize(("content", "said"), CARDS)
def test_an_experts_card_that_is_none(params, capsys, content, said):
    path = params.parent / "data" / "experts" / TASK / "card.json"
    path.write_bytes(content)
    refused(params, capsys, f"{path}: {said}", "restore it from git", verb="reference")


# An output folder that cannot take the cell. Modes do not bind root, so a file stands in the folder's way.


@pytest.mark.parametrize("verb", ["run", "reference"])
def test_an_output_folder_that_cannot_be_made(params, capsys, monkeypatch, verb):
    (params.parent / "results").write_text("a file")
    monkeypatch.setattr(run, "Team", None)  # it is noticed before any training
    refused(params, capsys, f"{params.parent / 'results'}", "choose another place", verb=verb)


def test_a_read_only_output_folder(params, capsys, monkeypatch):
    def read_only(*arguments, dir, **options):
        raise PermissionError(errno.EACCES, "Permission denied", f"{dir}/x")

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    monkeypatch.setattr(run, "Team", None)
    refused(
        params,
        capsys,
        f"{cell(params, 'gail').parent}/x: Permission denied; ask for permission, or choose another folder",
    )


def limited(size, params):
    """Train BC in a process of its own, which ends with the exit code of the command."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    sys.exit(train(params, "bc"))


def test_a_full_disk(finished, params, capfd):
    """A limit on the size of files stands in for the disk's: the weights exceed it, when the tables are written."""
    sizes = {name: len(data) for name, data in contents(cell(finished, "bc") / PARTS[0]).items()}
    enough = 8000  # for the tables, and for what the store notes of the inputs
    assert sizes.pop("policies.safetensors") > enough > max(sizes.values())
    process = CONTEXT.Process(target=limited, args=(enough, params))
    process.start()
    process.join()
    assert process.exitcode == 2
    *progress, line = capfd.readouterr().err.splitlines()
    begun = entries(location(params.parent))
    cure = "File too large; raise the limit on the size of files"
    assert any(line.startswith(f"error: {entry / 'result'}: {cure}") for entry in begun)
    assert all(said.startswith(f"bc {TASK} on CPU (engine native): ") for said in progress)
    assert not any((entry / "result").exists() for entry in begun)
    assert list(load(params).results.rglob("*")) == [load(params).results / "cells", cell(params, "bc").parent]
    assert train(params, "bc") == 0
    assert contents(cell(params, "bc")) == contents(cell(finished, "bc"))


@pytest.mark.parametrize("number", [0, 3, 7])
def test_a_cell_that_cannot_be_written_leaves_the_old_one(finished, params, monkeypatch, capsys, number):
    """A cell of one part, which is computed in this process."""
    params = project(params.parent, budget={TASK: PARAMS["budget"][TASK] | {"demonstrations": [1]}})
    part, computed = cell(params, "bc") / PARTS[0], cell(finished, "bc") / PARTS[0]
    shutil.copytree(computed, part)
    edit(part / "part.json", made_from={"made": "before"})
    old, writes = contents(part), []

    def write(path, data):
        writes.append(path)
        if len(writes) > number:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    with pytest.MonkeyPatch.context() as patch:
        for module in (files, schema):
            patch.setattr(module, "write_bytes", write)
        assert train(params, "bc") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == f"error: {writes[-1]}: No space left on device; free space, or choose a folder on another disk"
    assert len(writes) == number + 1
    assert contents(part) == old
    assert [path.name for path in cell(params, "bc").parent.iterdir()] == ["bc"]
    assert train(params, "bc") == 0
    assert contents(part) == contents(computed)


def test_the_command_as_a_user_starts_it(params):
    arguments = ["--params", str(params), "--task", TASK, "--row", "gial"]
    command = [sys.executable, "-m", "threefold", "run", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"error: --row gial: not one of methods or variants in {params} (bc, gail)\n"


def test_the_largest_seed_that_a_design_may_have_trains(tmp_path):
    params = project(tmp_path, seeds=[2**63 - 1], budget={TASK: PARAMS["budget"][TASK] | {"demonstrations": [1]}})
    assert [train(params, "bc"), train(params, "gail")] == [0, 0]
    assert set(evaluations(params, "gail")["seed"]) == {2**63 - 1}


def test_more_minibatches_than_transitions_are_one_line_before_anything_trains(tmp_path, capsys):
    """Ranges of single constants are checked by the reader; what two and a budget allow, by the learner."""
    params = project(tmp_path, overrides={TASK: PARAMS["overrides"][TASK] | {"ppo.minibatches": 65}})
    assert train(params, "gail") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ppo.minibatches: 65, but a rollout of ppo.steps 32 in 2 parallel episodes has 64 ")
