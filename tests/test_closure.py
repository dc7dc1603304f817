"""What a training loads is what its cell's fingerprint is of, for every method and every task; and nothing else is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import algorithms
import envs
from threefold.cells.cell import Cell
from threefold.profile.design import load
from threefold.store import code

ROOT = Path(__file__).parents[1]
TASK = "InvertedPendulum-v5"
PAIRS = [(method, TASK) for method in algorithms.names()]
PAIRS += [("bc" if number % 2 else "gail", task) for number, task in enumerate(envs.names()) if task != TASK]
# A process for each pair that has nothing of the project loaded yet, made by fork from one that has all else.
SCRIPT = """
import dataclasses, json, multiprocessing, sys, tempfile
from pathlib import Path
import gymnasium, mujoco, pandas, pydantic, rich.console, safetensors.torch, scipy.stats, torch, yaml

PACKAGES = ("algorithms", "envs", "studies", "threefold")

def ours():
    return {
        str(Path(module.__file__).relative_to(Path.cwd()))
        for name, module in list(sys.modules.items())
        if name.split(".")[0] in PACKAGES and module.__file__
    }

def tiny(config):
    small = {"batch": 8, "validate_every": 1, "reward_steps": 1, "epochs": 1, "minibatches": 1}
    steps = {"steps": 3 if not hasattr(config, "gae") else 32}
    names = {field.name for field in dataclasses.fields(config)}
    inner = {name: tiny(getattr(config, name)) for name in names if dataclasses.is_dataclass(getattr(config, name))}
    return dataclasses.replace(config, **{k: v for k, v in (small | steps).items() if k in names}, **inner)

def loaded(pair):
    method, task, data = pair
    assert not ours()
    import algorithms
    from threefold.cells.record import save
    from threefold.cells.training import Evaluation, Job, train
    from threefold.experts import demonstrations
    from threefold.store.checkpoints import Checkpoints

    torch.set_num_threads(1)
    learners = {0: (1, 0)}
    shown = demonstrations.load(Path(data) / "demonstrations" / task, task, [1])
    config = tiny(algorithms.load(method).Config())
    with tempfile.TemporaryDirectory() as folder:
        saved = Checkpoints(Path(folder) / "checkpoints", "a/b")
        job = Job(task, method, method, config, learners, shown, 1, 2, Evaluation(1, 1, 1), saved, 1, "cpu")
        steps = []
        outcome = train(job, steps.append)
        save(Path(folder) / "result", outcome, {}, "models.safetensors")
    assert steps
    assert outcome.evaluations and outcome.ends[0]["status"] == "ok"
    return sorted(ours())

pairs = json.loads(sys.argv[1])
with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
    print(json.dumps(pool.map(loaded, pairs, chunksize=1)))
"""


def run(folder, *command):
    done = subprocess.run([sys.executable, *command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded(folder, pairs):
    """The files of the project in a folder that the training of each pair of method and task has loaded."""
    found = json.loads(run(folder, "-c", SCRIPT, json.dumps([(*pair, str(ROOT / "data")) for pair in pairs])))
    return {pair: set(files) for pair, files in zip(pairs, found, strict=True)}


def write_params(folder):
    """A profile of every method on every task, with the project's own data."""
    budget = {"env_steps": 100, "parallel_episodes": 1, "demonstrations": [1]}
    params = {
        "root": str(ROOT),
        "profile": "closure",
        "tasks": envs.names(),
        "methods": algorithms.names(),
        "seeds": [0, 3],
        "evaluation": {"episodes": 1, "points": 1, "episodes_during_training": 1},
        "budget": dict.fromkeys(envs.names(), budget),
        "overrides": {},
        "variants": {},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder / "params.yaml"


def counted(params, method, task):
    """The files of the project that a cell's fingerprint is of."""
    cell = Cell(load(params), task, method)
    return set(cell.made_from(cell.parts[0])["code"])


@pytest.fixture(scope="module")
def seen():
    return loaded(ROOT, PAIRS)


@pytest.mark.parametrize(("method", "task"), PAIRS)
def test_what_a_training_loads_counts(seen, tmp_path, method, task):
    files = seen[method, task]
    assert {
        f"algorithms/{method}.py",
        "envs/batch.py",
        "threefold/cells/training.py",
        "algorithms/core/state.py",
    } <= files
    assert files - counted(write_params(tmp_path), method, task) == set()


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
    missed = loaded(copied, [("constant", TASK)])["constant", TASK] - counted(write_params(copied), "constant", TASK)
    assert missed == {"algorithms/core/hidden.py"}


def plan(folder):
    run(folder, "-m", "threefold", "plan", "--params", "params.yaml")
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

    edit(copied / "algorithms" / "gail.py", "gradient_penalty: float = 1.0", "gradient_penalty: float = 2.0")
    after = plan(copied)
    assert {key: after[key] for key in ("references", "studies")} == {
        key: before[key] for key in ("references", "studies")
    }
    for task in envs.names():
        for method in algorithms.names():
            ours, theirs = before["cells"][task][method], after["cells"][task][method]
            assert list(ours) == list(theirs) == ["1_0", "1_3"]
            assert [ours[name] == theirs[name] for name in ours] == [method != "gail"] * 2
