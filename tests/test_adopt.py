"""`threefold store adopt`, in copies of the project with a history of their own: real commits, real training."""

import json
import os
import shutil
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
import yaml

from tests import fresh, test_run
from tests.test_run import PARAMS, TASK, contents, project
from threefold.base.errors import InputError
from threefold.cells import adopt as module
from threefold.cells.adopt import Case, agreeing, readdress, rekey
from threefold.cells.grid import grid
from threefold.cells.prefix import number, prefix
from threefold.profile.design import load
from threefold.store import code
from threefold.store.entries import Entry, damages, location
from threefold.tables import schema

ROOT = Path(__file__).parents[1]
SMALL = PARAMS | {
    "methods": ["gail"],
    "budget": {TASK: PARAMS["budget"][TASK] | {"demonstrations": [1]}},
    "variants": {"constant_positive": {"method": "constant", "tasks": [TASK], "config": {"value": 1.0}}},
}
PART = f"{TASK}/gail/1_0-1"
CARD = f"data/demonstrations/{TASK}/card.json"


def run(folder, *command):
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def git(folder, *arguments):
    done = run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def commit(folder):
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "-m", "a commit")
    return git(folder, "rev-parse", "HEAD")


def edit(folder, name, *changes):
    """Replace texts in a file, and commit."""
    text = (folder / name).read_text()
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return commit(folder)


def threefold(folder, *arguments):
    exit_code, out, err = fresh.threefold(folder, *arguments)
    return exit_code, err + out


def adopt(folder, old):
    """`threefold store adopt OLD` in a folder, with all the processes that it starts."""
    return threefold(folder, "store", "adopt", old)


def adopt_by_forks(folder, old):
    """`threefold store adopt OLD` in a folder, whose trees compute in forks: to start Python anew takes seconds."""
    exit_code, out, err = fresh.fresh(folder, _adopt, old)
    return exit_code, err + out


def _adopt(old):
    pytest.MonkeyPatch().setattr("threefold.cells.adopt.subprocess", FORKS)  # in this process alone, and for good
    return fresh.command(("store", "adopt", old))


FORKS = SimpleNamespace(Popen=fresh.Module)


def state(folder):
    """All that an adoption may change, and whether a tree of another commit is left over."""
    return contents(folder / ".store"), contents(folder / "results"), git(folder, "worktree", "list").count("\n")


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """A copy of the project with a tiny profile that has run, and its commit."""
    folder = tmp_path_factory.mktemp("adopt") / "project"
    for name in ("algorithms", "envs", "studies", "threefold"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree((ROOT / CARD).parent, (folder / CARD).parent)
    for name in ("dvc.yaml", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    params = folder / "params.yaml"
    params.write_text(yaml.safe_dump(SMALL))
    git(folder, "init", "--quiet")
    old = commit(folder)
    assert test_run.train(params, "gail") == test_run.train(params, "constant_positive") == 0
    return folder, old


@pytest.fixture
def copy(computed, tmp_path):
    """A copy of that, and its commit."""
    shutil.copytree(computed[0], tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "project", computed[1]


@pytest.fixture
def here(copy, monkeypatch):
    """That in the place of this project, so that no process needs to start for the command itself."""
    monkeypatch.setattr(code, "ROOT", copy[0])
    monkeypatch.setattr(module, "subprocess", FORKS)
    code.forget()
    yield copy
    code.forget()


MOVED = '''def bernoulli_entropy(logit: Tensor) -> Tensor:
    """Return the entropy (nats) of a coin of the given logit."""
    return (1 - logit.sigmoid()) * logit - logsigmoid(logit)
'''
IMPORT = "from algorithms.core.experience import Batch, Samples\n"
LOCAL = """    {0} = model(batch.inputs())
    of_one_sign = logsigmoid({0}) if config.success_ends else softplus({0})
    value = {0} if config.log_odds else of_one_sign
"""
CONSTANT = "    gradient_penalty: NonNegativeFloat = 1.0"


def test_a_refactoring_is_adopted_and_nothing_is_computed_again(copy):
    """A function moves to a new module, a local variable has another name, and a number becomes a constant."""
    folder, old = copy
    before, before_delivered, _ = state(folder)
    header = "from torch import Tensor\nfrom torch.nn.functional import logsigmoid\n\n\n"
    (folder / "algorithms" / "core" / "coins.py").write_text(header + MOVED)
    moves = (MOVED, ""), (IMPORT, f"from algorithms.core.coins import bernoulli_entropy\n{IMPORT}")
    weight = "config.gradient_penalty * penalty"
    named = (CONSTANT, f"    low: float = 0.0  # new\n{CONSTANT}"), (weight, f"config.low + {weight}")
    renamed = LOCAL.format("logits"), LOCAL.format("odds")
    new = edit(folder, "algorithms/gail.py", *moves, *named, renamed)
    exit_code, said = adopt_by_forks(folder, old[:10])
    assert exit_code == 0, said
    assert said.splitlines()[-1] == (
        "1 cells have other code, and compute the same in 3 iterations; adopted: 1 parts in the store, 1 delivered ones"
    )
    store, delivered, trees = state(folder)
    assert trees == 0
    for name, data in (before | before_delivered).items():  # the other row's, and all but what is said to change
        if PART not in name or name.endswith((".gz", ".csv", "policies.safetensors")) and "cells" in name:
            assert (store | delivered)[name] == data
    (entry,) = (path.parent for path in (folder / ".store" / PART).glob("*/done"))
    assert damages(entry) == []
    made_from = json.loads((entry / "inputs.json").read_text())
    assert "algorithms/core/coins.py" in made_from["code"]
    was = json.loads(before_delivered[f"tiny/cells/{PART}/part.json"])
    for card in (entry / "result" / "part.json", folder / "results" / "tiny" / "cells" / PART / "part.json"):
        assert json.loads(card.read_text()) == was | {"made_from": made_from}
    config = was["made_from"]["config"] | {"low": 0.0}
    assert made_from == was["made_from"] | {"code": made_from["code"], "config": config}
    provenance = json.loads((entry / "provenance.json").read_text())
    assert provenance == json.loads(delivered[f"tiny/provenance/{PART}.json"])
    (proof,) = provenance.pop("adopted")
    assert provenance == json.loads(before_delivered[f"tiny/provenance/{PART}.json"])
    # Of two learners: in 3 iterations 7 metrics each, 1 and 2 episodes, an end; then the tensors.
    assert 2 * (3 * 7 + 3 + 1) < proof.pop("compared") < 100
    assert proof == {"from": old, "to": new, "iterations": "3"}
    exit_code, said = threefold(folder, "run", "--row", "gail")
    assert exit_code == 0
    assert said.splitlines() == [f"{TASK}/gail: nothing to compute"]
    assert state(folder) == (store, delivered, 0)


@pytest.mark.parametrize(
    ("old", "new", "said", "how"),
    [
        (
            "config.gradient_penalty * penalty",
            "1.5 * config.gradient_penalty * penalty",
            f"error: {PART}: training.csv.gz: row 1: {TASK},gail,1,0,1,64,reward_loss,",
            adopt,
        ),
        (
            "gradient_penalty: NonNegativeFloat = 1.0",
            "gradient_penalty: NonNegativeFloat = 1.5",
            f"error: {PART}: config.gradient_penalty: 1.0 in the old commit, 1.5 here; nothing is adopted, because",
            adopt_by_forks,
        ),
        (
            "    log_odds: bool = False",
            "    more: float = 0.0  # new\n    log_odds: bool = True",
            f"error: {PART}: config.log_odds: False in the old commit, True here; nothing is adopted, because",
            adopt_by_forks,
        ),
    ],
)
def test_a_changed_constant_is_refused_and_the_first_difference_named(copy, old, new, said, how):
    folder, first = copy
    before = state(folder)
    edit(folder, "algorithms/gail.py", (old, new))
    exit_code, lines = how(folder, first)
    assert exit_code == 2
    assert lines.splitlines()[-1].startswith(said)
    assert state(folder) == before


def test_a_change_after_the_prefix_is_seen_by_all_iterations_alone(here):
    """The data are not in git, as those that a user imported."""
    folder, _ = here
    git(folder, "rm", "-r", "--cached", "--quiet", "data")
    (folder / ".git" / "info" / "exclude").write_text("/data/\n")
    old = commit(folder)
    before = state(folder)
    late = "env_steps + experience.steps\n"
    edit(
        folder,
        "algorithms/core/adversarial.py",
        (late, f"{late}        value = value * (1 + (state.iteration == 5))\n"),
    )
    code.forget()
    with pytest.raises(InputError, match=rf"^{PART}: training\.csv\.gz: row 57: {TASK},gail,1,0,5,320,reward_loss,"):
        module.adopt(folder, old, "all", None)
    assert state(folder) == before
    module.adopt(folder, old, "3", "tiny")
    assert len(list((folder / ".store").rglob("done"))) == 2
    for path in [*(folder / "results").rglob("1_0-1.json"), *(folder / ".store").rglob("provenance.json")]:
        assert json.loads(path.read_text())["adopted"][0]["from"] == old


def test_other_data_are_refused(here):
    folder, old = here
    before = state(folder)
    test_run.edit(folder / CARD, every=7)
    commit(folder)
    with pytest.raises(
        InputError, match=r"gail/1_0-1: data.demonstrations.every: \d+ in the old commit, 7 here; nothing"
    ):
        module.adopt(folder, old, "3", None)
    assert state(folder) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("no-such", "3", None), "no-such: no commit of "),
        (("HEAD", "0", None), "--iterations 0: no number of iterations; write 1 or more, or all"),
        (("HEAD", "many", None), "--iterations many: no number"),
        (("HEAD", "3", "paper"), "--profile paper: not a profile of .*; choose from tiny"),
        (("HEAD~1", "3", None), "HEAD~1: a commit without threefold.cells.prefix"),
    ],
)
def test_wrong_input(here, arguments, said):
    folder, _ = here
    git(folder, "rm", "--quiet", "threefold/cells/prefix.py")
    commit(folder)
    git(folder, "revert", "--no-edit", "HEAD")
    with pytest.raises(InputError, match=f"^{said}"):
        module.adopt(folder, *arguments)
    assert state(folder)[-1] == 0


@pytest.mark.parametrize("name", ["algorithms/gail.py", "algorithms/core/new.py"])
def test_code_that_is_not_committed_is_refused(here, name):
    folder, old = here
    with open(folder / name, "a") as file:
        file.write("# an edit\n")
    with pytest.raises(InputError, match=f"^{folder / name}: not as committed; commit the code first$"):
        module.adopt(folder, old, "3", None)


def test_another_project_than_the_one_that_runs_is_refused(copy):
    with pytest.raises(InputError, match=f"^{copy[0]}: not the project whose code runs"):
        module.adopt(copy[0], "HEAD", "3", None)


def test_a_tree_that_cannot_compute_its_parts_is_one_line(tmp_path, monkeypatch):
    failed = SimpleNamespace(wait=lambda: 3, kill=lambda: None, returncode=3)
    monkeypatch.setattr(module, "subprocess", SimpleNamespace(Popen=lambda *arguments, **options: failed))
    line = rf"^{tmp_path}: {module.DRIVER} failed \(exit 3\), see above; nothing is adopted$"
    with pytest.raises(InputError, match=line):
        module._drive([tmp_path], Path("params.yaml"), [tmp_path / "out"], [])


@pytest.mark.parametrize(("text", "found"), [("all", None), ("1", 1), ("12", 12)])
def test_numbers_of_iterations(text, found):
    assert number(text) == found


# What the two trees compute.


def test_all_iterations_of_a_part_are_what_a_run_computes(computed, tmp_path):
    prefix(computed[0] / "params.yaml", tmp_path, None, [PART])
    (entry,) = (path.parent for path in (computed[0] / ".store" / PART).glob("*/done"))
    assert contents(tmp_path / PART) == contents(entry / "result")
    made_from = json.loads((tmp_path / "made_from.json").read_text())
    assert sorted(made_from, reverse=True) == [PART, f"{TASK}/constant_positive/1_0-1"]
    assert made_from[PART] == json.loads((entry / "inputs.json").read_text())


def test_the_first_iterations_are_those_of_the_whole_training(computed, tmp_path):
    prefix(computed[0] / "params.yaml", tmp_path, 2, [PART])
    parts = (tmp_path / PART, computed[0] / "results" / "tiny" / "cells" / PART)
    some, every = (schema.read_csv(folder / "training.csv.gz", schema.TRAINING) for folder in parts)
    assert set(some["iteration"]) == {1, 2}
    assert some.equals(every[every["iteration"] <= 2])


def test_a_part_that_the_profile_lacks(computed, tmp_path):
    with pytest.raises(InputError, match=r"^--part x: not a part of .*params\.yaml; name one of its own$"):
        prefix(computed[0] / "params.yaml", tmp_path, 3, ["x"])


# What counts as a difference.


@pytest.fixture
def folders(computed, tmp_path):
    """The files of a part, twice."""
    for which in ("old", "new"):
        shutil.copytree(computed[0] / "results" / "tiny" / "cells" / PART, tmp_path / which)
    return tmp_path / "old", tmp_path / "new"


def rewrite_tensor(folder, change):
    path = folder / "policies.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    path.write_bytes(safetensors.torch.save(change(tensors)))


def flip(tensors):
    """Change the last bit of one number."""
    name = sorted(tensors)[-1]
    tensors[name].view(torch.int32).reshape(-1)[0] ^= 1
    return tensors


DIFFERENCES = [
    (lambda folder: rewrite_tensor(folder, flip), "policies.safetensors: tensor "),
    (lambda folder: rewrite_tensor(folder, lambda t: t | {"x": torch.ones(())}), "policies.safetensors: tensor x: not"),
    (
        lambda folder: test_run.edit(folder / "part.json", device="cuda"),
        "part.json: device: cpu in the old commit, cuda",
    ),
    (
        lambda folder: (folder / "learners.csv").unlink(),
        "learners.csv: columns: task,row,.* in the old commit, nothing",
    ),
    (lambda folder: (folder / "more.csv").write_text("a\n1\n"), "more.csv: columns: nothing in the old commit, a here"),
]


@pytest.mark.parametrize(("change", "said"), DIFFERENCES)
def test_what_differs_is_named(folders, change, said):
    assert agreeing(PART, *folders) > 0
    change(folders[1])
    with pytest.raises(InputError, match=f"^{PART}: {said}"):
        agreeing(PART, *folders)


def test_zeros_of_either_sign_differ_and_nans_do_not(folders):
    for folder, zero in zip(folders, (0.0, -0.0), strict=True):
        rewrite_tensor(folder, lambda tensors: tensors | {"nan": torch.full((2,), torch.nan)})
        rewrite_tensor(folder, lambda tensors, zero=zero: tensors | {"zero": torch.full((2,), zero)})
    with pytest.raises(InputError, match=f"^{PART}: policies.safetensors: tensor zero: "):
        agreeing(PART, *folders)


# An adoption that is interrupted.

PROOF = {"from": "a", "to": "b", "iterations": "3", "compared": 7}


def both(cases, proof=PROOF):
    return [(rekey(case, proof), readdress(case, proof)) for case in cases]


@pytest.fixture
def cases(tmp_path):
    """Parts of BC, in the store and delivered, made from older code."""
    params = project(tmp_path, methods=["bc"])
    assert test_run.train(params, "bc") == 0
    found = []
    for cell, part, entry in grid(load(params)):
        made_from = entry.inputs | {"code": {"algorithms/bc.py": "older"}}
        older = Entry(location(tmp_path), entry.name, made_from)
        assert both([Case(module.Place(cell, part, older), entry.inputs)], {"from": "b", "to": "a"}) == [(True, True)]
        found.append(Case(module.Place(cell, part, entry), made_from))
    return found


def whole(folder, made_from):
    """Whether an entry is there, with the proofs that it has."""
    if not (folder / "done").exists():
        return False
    assert damages(folder) == []
    assert json.loads((folder / "result" / "part.json").read_text())["made_from"] == made_from
    return True


def tree(folder):
    """The files below a folder with what is in them, and the folders."""
    return {path: None if path.is_dir() else path.read_bytes() for path in folder.rglob("*")}


def put_back(folder, was):
    """Make a tree what it was; folders that were there stay, because to remove one takes milliseconds on some disks."""
    for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder before the folder
        if path not in was:
            path.rmdir() if path.is_dir() else path.unlink()
    for path, data in sorted(was.items()):  # a folder before what is in it
        path.mkdir(exist_ok=True) if data is None else path.write_bytes(data)


def dying(cases, at):
    """Adopt in a process that is killed at a change of a file."""
    numbers = count(1)

    def hook(event, arguments):
        changes = event.removeprefix("os.") in ("mkdir", "open", "rename", "replace", "unlink", "rmdir", "utime")
        if changes and next(numbers) == at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    both(cases)


def test_an_interrupted_adoption_leaves_every_result_old_or_new_and_the_next_one_completes_it(cases, tmp_path):
    del cases[1:]
    kept = [(tmp_path / name, tree(tmp_path / name)) for name in (".store", "results")]
    for at in count(1):
        for folder, was in kept:
            put_back(folder, was)
        process = fresh.CONTEXT.Process(target=dying, args=(cases, at))
        process.start()
        process.join()
        for case in cases:
            cell, part, entry = case.place
            old = Entry(location(tmp_path), entry.name, case.made_from)
            assert whole(old.folder, case.made_from) or whole(entry.folder, entry.inputs)
            card = json.loads((cell.folder / part.name / "part.json").read_text())
            assert card["made_from"] in (case.made_from, entry.inputs)
            assert json.loads(cell.provenance(part).read_text())["adopted"]
        both(cases)
        for case in cases:
            cell, part, entry = case.place
            assert whole(entry.folder, entry.inputs)
            assert [path.parent for path in entry.folder.parent.glob("*/done")] == [entry.folder]
            for provenance in (entry.folder / "provenance.json", cell.provenance(part)):
                assert json.loads(provenance.read_text())["adopted"] == [{"from": "b", "to": "a"}, PROOF]
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
    assert at > 20  # it was interrupted at many places


def test_a_damaged_result_is_not_adopted(cases, capsys):
    case = cases[0]
    old = Entry(location(case.place.cell.design.root), case.name, case.made_from)
    test_run.edit(old.result / "part.json", device="x")
    (case.place.cell.folder / case.place.part.name / "part.json").write_text("{")
    assert both(cases) == [(False, False), (True, True)]
    assert "part.json: missing, cut or altered" in capsys.readouterr().err
    assert not case.place.entry.folder.exists() or not (case.place.entry.folder / "done").exists()


def test_without_a_store_the_delivered_parts_are_adopted(cases):
    """As in a clone of what was shipped."""
    shutil.rmtree(location(cases[0].place.cell.design.root))
    assert both(cases) == [(False, True), (False, True)]
    assert both(cases) == [(False, False), (False, False)]
