"""The command: `threefold VERB`, or `python -m threefold VERB`. `threefold --help` lists the verbs."""

import os
import pkgutil
from importlib import import_module

import typer

from threefold import commands
from threefold.base.errors import InputError, one_line

HELP = """Threefold, a reproducible benchmark of imitation learning.

A profile is a folder with a params.yaml: tasks, methods, seeds, budgets. `dvc repro` there computes whatever is missing
and makes the report. These commands are its steps, and tools beside it.
"""


def application() -> typer.Typer:
    """Return the command with all its verbs: the modules of `threefold.commands`."""
    app = typer.Typer(
        help=HELP,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    modules = [import_module(f"{commands.__name__}.{found.name}") for found in pkgutil.iter_modules(commands.__path__)]
    for module in sorted(modules, key=lambda module: commands.GROUPS.index(module.GROUP)):
        name = module.__name__.rpartition(".")[2]
        if isinstance(module.command, typer.Typer):
            app.add_typer(module.command, name=name, rich_help_panel=module.GROUP)
        else:
            app.command(name, rich_help_panel=module.GROUP)(module.command)
    return app


def main() -> None:
    """Run the command line; wrong input is one line and exit code 2."""
    with one_line():
        _refuse_unusable_mujoco_gl()
        application()()


def _refuse_unusable_mujoco_gl() -> None:
    """Raise `InputError` if MuJoCo cannot be imported because of what draws for it, even where nothing is drawn."""
    if chosen := os.environ.get("MUJOCO_GL"):
        try:
            import mujoco  # noqa: F401
        except (AttributeError, ImportError, RuntimeError) as error:  # of OpenGL's loaders
            raise InputError(
                f"MUJOCO_GL={chosen}: MuJoCo cannot be imported with it ({error}); unset it, or install what it needs"
            ) from None


if __name__ == "__main__":
    main()
