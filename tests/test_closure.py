"""What a training loads is what its cell's fingerprint is of, for every method and every task; and nothing else is."""

import dataclasses
import json
import shutil
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

import algorithms
import envs
from studies import registry
from tests.fresh import fresh, threefold
from threefold.cells.cell import Cell
from threefold.cells.plan import study_made_from
from threefold.profile.design import load
from threefold.store import code

ROOT = Path(__file__).parents[1]
TASK = "InvertedPendulum-v5"
SHOWN = [task for task in envs.names() if (ROOT / "data" / "demonstrations" / task).exists()]  # others none imitates
PAIRS = [(method, TASK) for method in algorithms.names()]
PAIRS += [("bc" if number % 2 else "gail", task) for number, task in enumerate(SHOWN) if task != TASK]

LEFT_OUT = {task: {"mgail": "continuous actions"} for task in SHOWN if hasattr(envs.load(task), "ACTIONS")}


def ours():
    """The files of the project, in the current folder, that are loaded."""
    return {
        str(Path(module.__file__).relative_to(Path.cwd()))
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in code.PACKAGES and module.__file__
    }


def tiny(config):
    small = {"batch": 8, "validate_every": 1, "reward_steps": 1, "epochs": 1, "minibatches": 1}
    steps = {"steps": 3 if not hasattr(config, "gae") else 32}
    names = {field.name for field in dataclasses.fields(config)}
    inner = {name: tiny(getattr(config, name)) for name in names if dataclasses.is_dataclass(getattr(config, name))}
    return dataclasses.replace(config, **{k: v for k, v in (small | steps).items() if k in names}, **inner)


class Unsaved:
    def offer(self, iteration, state):
        pass

    def found(self):
        return False


def trained(method, task):
    """Train a learner a little, in a process of its own; the files of the project that this has loaded."""
    assert not ours()
    names = "algorithms", "threefold.experts.demonstrations", "threefold.cells.record", "threefold.cells.training"
    algorithms, demonstrations, record, training = map(import_module, names)
    torch.set_num_threads(1)
    shown = demonstrations.load(ROOT / "data" / "demonstrations" / task, task, [1])
    config, evaluation = tiny(algorithms.load(method).Config()), training.Evaluation(1, 1, 1)
    with tempfile.TemporaryDirectory() as folder:
        job = training.Job(task, method, method, config, {0: (1, 0)}, shown, 1, 2, evaluation, Unsaved(), 1, "cpu")
        steps: list[object] = []
        outcome = training.train(job, steps.append)
        record.save(Path(folder) / "result", outcome, {}, "models.safetensors")
    assert steps
    assert outcome.evaluations
    assert outcome.ends[0]["status"] == "ok"
    return ours()


def write_params(folder):
    """A profile of every method on every task, with the project's own data."""
    budget = {"env_steps": 100, "parallel_episodes": 1, "demonstrations": [1]}
    params = {
        "root": str(ROOT),
        "profile": "closure",
        "tasks": SHOWN,
        "methods": algorithms.names(),
        "seeds": [0, 3],
        "evaluation": {"episodes": 1, "points": 1, "episodes_during_training": 1},
        "budget": dict.fromkeys(SHOWN, budget),
        "overrides": {},
        "variants": {},
        "left_out": LEFT_OUT,
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder / "params.yaml"


def counted(params, method, task):
    """The files of the project that a cell's fingerprint is of."""
    cell = Cell(load(params), task, method)
    return set(cell.made_from(cell.parts[0])["code"])


@pytest.mark.parametrize(("method", "task"), PAIRS)
def test_what_a_training_loads_counts(tmp_path, method, task):
    files = fresh(ROOT, trained, method, task)
    assert {
        f"algorithms/{method}.py",
        "envs/batch.py",
        "threefold/cells/training.py",
        "algorithms/core/state.py",
    } <= files
    assert files - counted(write_params(tmp_path), method, task) == set()


@pytest.mark.parametrize("name", registry.names())
def test_a_studys_fingerprint_is_of_what_computes_it_and_not_of_who_asks(name):
    size = SimpleNamespace(model_dump=dict, point_maze=None, ant=None)
    given: Any = SimpleNamespace(sizes={name: size})
    found = set(study_made_from(given, name)["code"])
    assert {f"studies/{name}/study.py", f"studies/{name}/schema.py", "threefold/tables/schema.py"} <= found
    assert not found & {f"studies/{name}/chapter.py", "threefold/cells/study.py", "threefold/profile/design.py"}


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the code, of which fingerprints are taken."""
    folder = tmp_path / "code"
    for package in code.PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(code, "ROOT", folder)
    code.forget()
    yield folder
    code.forget()


def edit(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    "line",
    ["from algorithms.core import hidden", 'import importlib; importlib.import_module("algorithms.core.hidden")'],
)
def test_a_module_that_a_fingerprint_misses_is_found(copied, line):
    (copied / "algorithms" / "core" / "hidden.py").write_text("FACTOR = 2.0\n")
    with open(copied / "algorithms" / "constant.py", "a") as file:
        file.write(f"\n\nshown = train\n\n\ndef train(*arguments):\n    {line}\n    yield from shown(*arguments)\n")
    missed = fresh(copied, trained, "constant", TASK) - counted(write_params(copied), "constant", TASK)
    assert missed == {"algorithms/core/hidden.py"}


def plan(folder):
    exit_code, _, said = threefold(folder, "plan", "--params", "params.yaml")
    assert exit_code == 0, said
    return json.loads((folder / "plan.json").read_text())


def test_a_new_task_a_new_method_a_report_and_a_comment_leave_every_part_alone(copied):
    """And what does change a method changes all of its parts, and no other's."""
    write_params(copied)
    before = plan(copied)
    shutil.copy(copied / "envs" / "hopper.py", copied / "envs" / "jumper.py")
    edit(copied / "envs" / "jumper.py", 'ID = "Hopper-v5"', 'ID = "Jumper-v5"')
    shutil.copy(copied / "algorithms" / "gail.py", copied / "algorithms" / "example.py")
    for name in ("report/build.py", "report/tables.py", "tables/collect.py", "launch/launch.py", "commands/report.py"):
        with open(copied / "threefold" / name, "a") as file:
            file.write("\nEDITED = True\n")
    for path in (copied / "algorithms").rglob("*.py"):
        path.write_text(path.read_text() + "# A comment.\n")
    assert plan(copied) == before

    edit(
        copied / "algorithms" / "gail.py",
        "gradient_penalty: NonNegativeFloat = 1.0",
        "gradient_penalty: NonNegativeFloat = 2.0",
    )
    after = plan(copied)
    assert {key: after[key] for key in ("references", "studies")} == {
        key: before[key] for key in ("references", "studies")
    }
    for task in SHOWN:
        for method in algorithms.names():
            ours, theirs = before["cells"][task][method], after["cells"][task][method]
            parts = ["left out"] if method in LEFT_OUT.get(task, {}) else ["1_0", "1_3"]
            assert list(ours) == list(theirs) == parts
            assert {ours[name] == theirs[name] for name in ours} == {method != "gail"}
