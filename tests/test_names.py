"""Names become folders, stages of DVC and words of a shell: letters, digits, `_` and `-`, and none that tables use."""

import re
import shutil
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import yaml

import algorithms
import envs
from studies import registry
from tests import synthetic
from tests.command import threefold
from tests.fresh import fresh
from tests.test_run import ROOT
from threefold.base import names
from threefold.base.errors import InputError
from threefold.experts import demonstrate, experts
from threefold.profile.design import load
from threefold.profile.tasks import check_task
from threefold.store.code import PACKAGES
from threefold.tables import schema

TASK = "InvertedPendulum-v5"
WRONG = [
    "",
    "gail_lr0.1",
    "gail_/../..",
    "gail_a/b",
    "gail_$(touch x)",
    "gail_`id`",
    "gail_a b",
    "gail_a;b",
    "gail_ä",
    "gail_x\n",
    "-gail_x",
    "..",
    "~",
]
LINE = "a name has letters, digits, _ and - only"


@pytest.mark.parametrize("name", WRONG)
def test_no_name_in_a_design_reaches_a_shell_or_leaves_its_folder(tmp_path, name):
    variant, entry = {"method": "gail", "tasks": [TASK]}, synthetic.BUDGET[TASK]
    changes = {
        "profile": {"profile": name},
        "methods.1": {"methods": ["bc", name]},
        f"variants.{name}": {"variants": {name: variant}},
        "variants.gail_x.method": {"variants": {"gail_x": variant | {"method": name}}},
        "tasks.0": {"tasks": [name], "budget": {name: entry}},
    }
    for key, change in changes.items():
        params = synthetic.design(tmp_path, **change)
        with pytest.raises(InputError) as caught:
            load(params)
        assert str(caught.value).replace("\n", "") == (
            f"{params}: {key}: {LINE}, and no - at its beginning (found {name!r}); correct it".replace("\n", "")
        )


@pytest.mark.parametrize("name", ["gail_x", "gail_lr3e-4", "gail_A-1_b", "gail_0"])
def test_names_that_may_be_used(tmp_path, name):
    params = synthetic.design(tmp_path, variants={name: {"method": "gail", "tasks": [TASK]}}, profile=name)
    assert list(load(params).variants) == [name]


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("key", ["experts", "demonstrations"])
def test_nor_does_a_task_of_the_data(tmp_path, key, name):
    params = tmp_path / "params.yaml"
    params.write_text(yaml.safe_dump({key: {name: {}}}))
    read = experts.read_design if key == "experts" else demonstrate.design
    with pytest.raises(InputError, match=rf"^{params}: {key}: {re.escape(repr(name))}: {LINE}"):
        read(params, TASK)


@pytest.mark.parametrize("path", sorted(ROOT.glob("**/dvc.yaml")), ids=str)
def test_a_shell_reads_none_of_what_dvc_takes_from_params(path):
    """DVC starts a stage before anything of ours has read params.yaml."""
    commands = re.findall(r"^ *cmd: (.+)$", path.read_text(), re.MULTILINE)
    assert commands
    for command in commands:
        assert "${" not in re.sub(r"'[^']*'", "", command), command


@pytest.mark.parametrize("key", ["root", "folder"])
@pytest.mark.parametrize("text", ["$(touch x)", "a b", "x;y", "a\nb", "", "'"])
def test_the_paths_that_dvc_gives_to_a_shell(tmp_path, key, text):
    params = synthetic.design(tmp_path)
    params.write_text(yaml.safe_dump(yaml.safe_load(params.read_text()) | {key: text}))
    with pytest.raises(InputError, match=f"^{params}: {key}: .*a path of letters, digits, _, -, . and / only; correct"):
        load(params)


@pytest.mark.parametrize("name", [*names.RESERVED, "Random", "REFERENCE"])
def test_a_row_takes_no_name_that_tables_give_to_another(tmp_path, name):
    for change in ({"methods": [name]}, {"variants": {name: {"method": "gail", "tasks": [TASK]}}}):
        params = synthetic.design(tmp_path, **change)
        with pytest.raises(InputError, match=rf"^{params}: [^\n]*this name is reserved, as are random, expert[^\n]+$"):
            load(params)


def test_the_reserved_names_are_those_of_the_tables():
    assert set(schema.REFERENCES) | {"reference"} == set(names.RESERVED)
    assert not set(algorithms.names()) & set(names.RESERVED)


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """The folder of methods with one more file."""

    def plant(name):
        (tmp_path / f"{name}.py").write_text("class Config: ...\n")
        monkeypatch.setattr(algorithms, "__file__", str(tmp_path / "__init__.py"))

    return plant


@pytest.mark.parametrize("name", ["random", "expert", "expert-stochastic", "reference", "Expert"])
def test_a_method_file_of_a_reserved_name_is_refused_when_it_is_loaded(planted, name):
    planted(name)
    with pytest.raises(InputError, match=rf"^algorithms/{name}.py: '{name}': this name is reserved[^\n]*; rename it$"):
        algorithms.load(name)


@dataclass
class Untyped:
    margin = 1.0


class Plain:
    margin: float = 1.0


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({}, "Config: missing, or no dataclass; write `@dataclass(frozen=True)` above `class Config:`"),
        ({"Config": Plain}, "Config: missing, or no dataclass; write"),
        (
            {"Config": Untyped},
            "Config.margin: has no type, so no profile can change it; write `margin: float`",
        ),
    ],
)
def test_constants_that_no_profile_could_change_are_refused(planted, monkeypatch, content, said):
    planted("peculiar")
    monkeypatch.setitem(sys.modules, "algorithms.peculiar", SimpleNamespace(**content))
    with pytest.raises(InputError) as refused:
        algorithms.load("peculiar")
    assert str(refused.value).startswith(f"algorithms/peculiar.py: {said}")


@pytest.mark.parametrize("name", ["my.method", "my method", "gail$"])
def test_a_method_file_that_is_no_name_is_refused_when_it_is_loaded(planted, name):
    planted(name)
    with pytest.raises(InputError, match=LINE):
        algorithms.load(name)


@pytest.mark.parametrize("name", [".#gail", "__init__", "_helpers"])
def test_files_of_an_editor_and_private_ones_are_no_methods(planted, name):
    planted(name)
    assert algorithms.names() == []


def test_an_id_that_two_task_files_have_is_refused_with_both_named(tmp_path, monkeypatch, capsys):
    envs.names()  # which are kept from then on
    shutil.copy(ROOT / "envs" / "hopper.py", tmp_path / "hopper.py")
    monkeypatch.setattr(envs, "__file__", str(tmp_path / "__init__.py"))
    check_task("Hopper-v5")
    shutil.copy(ROOT / "envs" / "hopper.py", tmp_path / "jumper.py")
    params = synthetic.design(tmp_path, tasks=["Hopper-v5"], budget={"Hopper-v5": synthetic.BUDGET["Hopper-v5"]})
    assert threefold("run", "--params", params, "--row", "bc") == 2
    assert capsys.readouterr().err == (
        f"error: {params}: tasks: task 'Hopper-v5': envs/hopper.py and envs/jumper.py have the same ID; "
        "give each its own\n"
    )


def test_a_study_folder_that_is_no_name(tmp_path, monkeypatch):
    (tmp_path / "my.study").mkdir()
    (tmp_path / "my.study" / "study.py").write_text("")
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(InputError, match=r"^studies/my\.study: 'my\.study': a name has letters[^\n]*; rename it$"):
        registry.names()


@pytest.mark.parametrize(("part", "name"), [("study", "study"), ("schema", "Size"), ("chapter", "chapter")])
def test_what_a_half_written_study_lacks_is_named(tmp_path, monkeypatch, part, name):
    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry.py"))
    folder = tmp_path / "mine"
    folder.mkdir()
    whole = {"study": "def study(size): ...", "schema": "class Size: ...", "chapter": "from x import y as chapter"}
    whole["__init__"] = ""
    for module, text in whole.items():
        (folder / f"{module}.py").write_text(text)
    assert registry.missing("mine") == ""
    (folder / f"{part}.py").write_text("other = 1")
    assert registry.missing("mine") == f"studies/mine/{part}.py: {name}: missing; define it as docs/own/study.md shows"
    (folder / f"{part}.py").unlink()
    assert registry.names() == ["mine"]
    assert registry.missing("mine") == f"studies/mine/{part}.py: missing; write it as docs/own/study.md shows"
    (folder / "__init__.py").unlink()
    said = "studies/mine/__init__.py: missing; write it, a line that says what the study measures"
    assert registry.missing("mine") == registry.missing("mine", part) == said


def _load(params):
    from threefold.profile.design import load

    return load(params).sizes


def test_a_half_written_study_stops_the_profiles_that_have_it_and_no_other(tmp_path):
    project = tmp_path / "project"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, project / package, ignore=shutil.ignore_patterns("__pycache__"))
    (project / "studies" / "mine").mkdir()
    (project / "studies" / "mine" / "study.py").write_text("def study(size): ...")
    assert fresh(project, _load, synthetic.design(tmp_path)) == {}
    (project / "studies" / "mine" / "__init__.py").write_text("")
    assert fresh(project, _load, synthetic.design(tmp_path)) == {}
    params = synthetic.design(tmp_path)
    params.write_text(yaml.safe_dump(yaml.safe_load(params.read_text()) | {"studies": {"mine": {}}}))
    with pytest.raises(InputError, match=r"params\.yaml: studies\.mine: studies/mine/schema\.py: missing; write it as"):
        fresh(project, _load, params)


def test_a_study_that_does_not_exist_is_one_line(tmp_path, capsys):
    assert threefold("study", "../connection", "--params", synthetic.design(tmp_path)) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: study '../connection': there is no folder studies/../connection; choose from ")


def test_a_reserved_method_is_one_line_of_the_command(tmp_path, capsys):
    params = synthetic.design(tmp_path, methods=["random"])
    assert threefold("run", "--params", params, "--row", "random") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {params}: methods")
