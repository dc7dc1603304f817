"""The help of the command line: every verb and option is explained, soon, and without what computes."""

import json
import os
import re
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.command import threefold
from threefold import commands
from threefold.__main__ import application

ROOT = Path(__file__).parents[1]
SECONDS = 1.0  # of the processor
HEAVY = ("torch", "mujoco", "pandas", "dvc")
LONGEST = 90  # characters of a sentence in the list of verbs: two lines on a narrow terminal
JARGON = re.compile(r"\b(cells?|rows?|entry|entries|stage|artefact|stale)\b")


def verbs() -> dict[str, Any]:
    """The commands at the top, by name."""
    top: Any = typer.main.get_command(application())
    return top.commands


def every():
    """Each command by what is typed, groups of commands as well."""
    for name, command in verbs().items():
        yield name, command
        for verb, inner in getattr(command, "commands", {}).items():
            yield f"{name} {verb}", inner


COMMANDS = dict(every())


def test_every_module_is_a_verb_of_a_group():
    found = {path.stem for path in (ROOT / "threefold" / "commands").glob("[!_]*.py")}
    top = verbs()
    assert set(top) == found
    assert [command.rich_help_panel for command in top.values()] == sorted(
        (command.rich_help_panel for command in top.values()), key=commands.GROUPS.index
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_a_verb_is_explained_by_a_sentence(name):
    first, _, _ = COMMANDS[name].help.partition("\n\n")
    assert first.endswith(".")
    assert first.count(". ") == 0
    assert len(first) <= LONGEST
    assert not JARGON.search(first)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name, capsys):
    shown = [p for p in COMMANDS[name].params if not getattr(p, "hidden", False) and p.name != "help"]
    for parameter in shown:
        assert parameter.help.endswith("."), parameter.name
        assert not JARGON.search(parameter.help), parameter.name
        assert parameter.metavar or parameter.is_flag, parameter.name
        assert "[default" not in parameter.help, parameter.name  # taken for markup, so not shown
    assert threefold(*name.split(), "--help") == 0
    said = capsys.readouterr().out
    assert all((p.opts[0] if p.param_type_name == "option" else p.metavar) in said for p in shown)


def test_help_is_quick_and_imports_nothing_that_computes():
    code = (
        "import json, sys; from threefold.__main__ import application; application()(['--help'], standalone_mode=False)"
    )
    code += f"; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "compare" in done.stdout
    assert json.loads(done.stdout.splitlines()[-1]) == []
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS


def test_what_cannot_draw_is_said_in_a_line_by_commands_that_draw_nothing():
    command = [sys.executable, "-m", "threefold", "plan"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"MUJOCO_GL": "foo"}, capture_output=True, text=True)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: MUJOCO_GL=foo: MuJoCo cannot be imported with it (")
    assert line.endswith("); unset it, or install what it needs")
