"""The command: `threefold VERB`, or `python -m threefold VERB`. `threefold --help` lists the verbs."""

import pkgutil
from importlib import import_module

import typer

from threefold import commands
from threefold.base.errors import one_line


def application() -> typer.Typer:
    """Return the command with all its verbs: the modules of `threefold.commands`."""
    app = typer.Typer(
        help="A reproducible benchmark of imitation learning.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for found in pkgutil.iter_modules(commands.__path__):
        module = import_module(f"{commands.__name__}.{found.name}")
        if isinstance(module.command, typer.Typer):
            app.add_typer(module.command, name=found.name)
        else:
            app.command(found.name)(module.command)
    return app


def main() -> None:
    """Run the command line; wrong input is one line and exit code 2."""
    with one_line():
        application()()


if __name__ == "__main__":
    main()
