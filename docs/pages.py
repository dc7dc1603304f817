"""The pages that the documentation writes itself, from code, cards, profiles and measured results.

They are a page per method, task and study, and those of `SINGLE`. Git ignores them: they are made at every build, so
they cannot differ from what they describe. What people write about a method or a study beside its
files is in notes/methods/<name>.md or notes/studies/<name>.md.
"""

import inspect
import json
import os
import re
from collections.abc import Iterable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd
import typer.main
import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import algorithms
import envs
from algorithms.core.ppo import PPOConfig
from docs import reports, source, tuning
from docs.measured import ROOT, SHIPPED, measured, profiles, studies
from studies import registry
from threefold.__main__ import application
from threefold.profile import design as design_module
from threefold.profile.design import Design, load
from threefold.profile.overrides import configure
from threefold.report import style
from threefold.report.budgets import Budgets
from threefold.report.inputs import PUBLISHED, published_row
from threefold.report.tables import SHORT

HERE = Path(__file__).parent
FOLDERS = ("methods", "tasks", "studies")  # each has an index.md of its own, which people write
SINGLE = ("reference/commands", "reference/metrics", "reference/params", "use/speed")
RULES = ("reset", "advance", "observation", "reward", "terminal")  # functions of a task; one may be another's
BARS = {  # of an expert's card, in words (`experts.bars`)
    "return": "mean return, mean action",
    "stochastic_score": "score of the actions as it draws them, between random (0) and mean action (1)",
    "fallen": "share of the episodes that the task ended, in the play that it ended more often",
    "spread": "standard deviation of the return over its mean, mean action",
}


def write(out: Path) -> None:
    """Write every generated page into the documentation's folder; a file is touched only if it changes."""
    pages = {f"methods/{name}.md": method(name) for name in algorithms.names()}
    pages |= {f"tasks/{name}.md": task(name) for name in envs.names()}
    pages |= {f"studies/{name}.md": study(name) for name in registry.names()}
    pages |= {f"{name}.md": render(Path(name).name) for name in SINGLE}
    pages["results.md"] = render("results", reports=reports.pages(ROOT))
    trials = tuning.trials()
    tasks = {name: tuning.rows(name, trials) for name in trials["task"].unique()}
    pages["reference/tuning.md"] = render("tuning", tasks=tasks, cost=tuning.cost(trials))
    (out / "reference" / "tuning.png").write_bytes(tuning.curves(trials))
    for path in (path for folder in FOLDERS for path in (out / folder).glob("*.md")):
        if f"{path.parent.name}/{path.name}" not in pages and path.name != "index.md":
            path.unlink()
    for name, text in pages.items():
        path = out / name
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def method(name: str) -> str:
    """Return the page of a method."""
    module, label = algorithms.load(name), style.label(name)
    return render(
        "method",
        name=name,
        label=label,
        notes=notes("methods", name),
        said=inspect.getdoc(module.Config),
        constants=grouped(source.of_config(module.Config())),
        metrics=explained(name),
        reinforced=reinforced(name),
        uses=[use for design in designs() if (use := _use(name, design))],
        rows_shown={label, *(f"{label}, {variant}" for variant in _variants(name))},
        published=published(name),
    )


def explained(name: str) -> dict[str, dict[str, str]]:
    """Return what a method logs, with its explanation, by the names of the metrics."""
    glossary = yaml.safe_load((HERE / "metrics.yaml").read_text())
    looped = hasattr(algorithms.load(name).Config(), "loop")
    shared = (glossary["loop"] if looped else {}) | (glossary["ppo"] if reinforced(name) else {})
    return glossary["every"] | shared | glossary["methods"].get(name, {})


def reinforced(name: str) -> bool:
    """Return whether a method's inner loop is PPO."""
    return isinstance(getattr(algorithms.load(name).Config(), "ppo", None), PPOConfig)


def as_rows(constants: Iterable[source.Constant]) -> list[list[str]]:
    """Return constants as rows of a table."""
    return [[f"`{constant.name}`", f"`{constant.value}`", constant.comment] for constant in constants]


def grouped(constants: Iterable[source.Constant]) -> dict[str, list[source.Constant]]:
    """Return constants by the Config that they stand in: the method's own, `loop` or `ppo`."""
    groups: dict[str, list[source.Constant]] = {}
    for constant in constants:
        groups.setdefault(constant.name.rpartition(".")[0], []).append(constant)
    return groups


@cache
def designs() -> list[Design]:
    """Return what every profile asks for."""
    return [load(path) for path in profiles().values()]


def _variants(name: str) -> list[str]:
    every = {row: variant for design in designs() for row, variant in design.variants.items()}
    return [row.removeprefix(f"{name}_").replace("_", " ") for row, v in every.items() if v.method == name]


def _use(name: str, design: Design) -> dict[str, Any] | None:
    """Return what a profile does with a method: nothing, or its variants and the constants that differ by task."""
    variants = {row: variant for row, variant in design.variants.items() if variant.method == name}
    if name not in design.methods and not variants:
        return None
    default = {constant.name: constant.value for constant in source.of_config(algorithms.load(name).Config())}
    changed = {}
    for task in design.tasks if name in design.methods else []:
        own = source.of_config(configure(design, task, name))
        if differs := [f"`{c.name}` {c.value}" for c in own if c.value != default[c.name]]:
            changed[task] = ", ".join(differs)
    return {"profile": design.profile, "row": name in design.methods, "variants": variants, "changed": changed}


def published(name: str) -> list[dict[str, Any]]:
    """Return the rows of the published tables that are of a method or a variant of it, a table each."""
    tables = []
    for path in sorted(PUBLISHED.glob("*.csv")):
        frame = pd.read_csv(path)
        if "method" not in frame:
            continue
        rows = frame["method"].map(partial(published_row, path.name))
        own = frame[(rows == name) | rows.str.startswith(f"{name}_")]
        if len(own):
            tables.append({"file": path.name, "columns": [*own], "rows": own.astype(object).fillna("").to_numpy()})
    return tables


def task(name: str) -> str:
    """Return the page of a task."""
    module, env = envs.load(name), envs.make(name, [0], 1)
    cards = {kind: ROOT / "data" / kind / name / "card.json" for kind in ("experts", "demonstrations")}
    return render(
        "task",
        name=name,
        module=module.__name__,
        path=_file(module),
        env=env,
        functions={name: _file(function) for name in RULES if (function := getattr(module, name, None))},
        own_model=not env.discrete and (ROOT / "envs" / "assets" / module.XML).exists(),
        never=inspect.getdoc(module.terminal) == "Never.",
        dt=module.DT,
        titles={name, f"{name} ({SHORT})"},
        constants=source.of_module(Path(inspect.getfile(module))),
        expert=_card(cards["experts"]),
        demonstrations=_card(cards["demonstrations"]),
        designs=[source.excerpt(ROOT / "data" / "params.yaml", key, name) for key in ("experts", "demonstrations")],
        budgets={
            design.profile: [source.excerpt(design.params, key, name) for key in ("budget", "overrides")]
            for design in designs()
            if name in design.tasks
        },
    )


def _file(thing: Any) -> str:
    return Path(inspect.getfile(thing)).name


def _card(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def bars(card: dict[str, Any]) -> list[list[str]]:
    """Return the bars of an expert's card as rows of a table, each with whether it is itself reached."""
    return [
        [BARS[name], plain(bar["found"]), f"at {side} {plain(bar[side])}", "yes" if bar["reached"] else "no"]
        for name, bar in card.get("bars", {}).items()
        for side in ("least", "most")
        if side in bar
    ]


def study(name: str) -> str:
    """Return the page of a study."""
    sizes = {design.profile: source.excerpt(design.params, "studies", name) for design in designs()}
    sizes = {profile: text for profile, text in sizes.items() if text}
    shown = studies().get(name)
    better = next((profile for profile in SHIPPED if profile in sizes), None)
    return render(
        "study",
        name=name,
        sizes=sizes,
        notes=notes("studies", name),
        shown=shown,
        lacking=better if shown and shown["profile"] != better else None,
    )


def notes(folder: str, name: str) -> str:
    """Return what people wrote beside a method's or a study's files; nothing where nobody did."""
    path = HERE / "notes" / folder / f"{name}.md"
    return path.read_text() if path.exists() else ""


def render(template: str, **given: Any) -> str:
    """Return a page from its template."""
    return TEMPLATES.get_template(f"{template}.md.j2").render(measured=measured(), **given)


def table(columns: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    """Return a Markdown table; columns of numbers are aligned to the right."""
    head, body = [cell(column) for column in columns], [[cell(value) for value in row] for row in rows]
    right = [bool(body) and all(re.match(r"^[−–+-]?\d|^–$|^$", row[i]) for row in body) for i in range(len(head))]
    rule = ["---:" if number else "---" for number in right]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *body))


def cell(value: Any) -> str:
    """Return a value as a cell of a Markdown table."""
    text = f"{value:,.6g}" if isinstance(value, float) else str(value)
    return " ".join(text.replace("|", r"\|").replace("<", "&lt;").split())


def verbs() -> dict[str, Any]:
    """Return the commands by what is typed, `minari import` included."""
    found: dict[str, Any] = {}
    group: Any = typer.main.get_command(application())
    for name, command in sorted(group.commands.items()):
        inner = getattr(command, "commands", {})
        found |= {f"{name} {verb}": one for verb, one in inner.items()} or {name: command}
    return found


def options(command: Any) -> list[tuple[str, str, str]]:
    """Return name, default and meaning of each argument and option that a command shows."""
    return [
        (f"`{_typed(parameter)}`", _default(parameter), parameter.help or "")
        for parameter in command.params
        if not parameter.hidden
    ]


def _typed(parameter: Any) -> str:
    return parameter.opts[0] if parameter.param_type_name == "option" else parameter.metavar or parameter.name


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if isinstance(parameter.show_default, str):
        return parameter.show_default
    return "" if parameter.default in (None, False) else f"`{parameter.default}`"


def glossary() -> dict[str, Any]:
    """Return the explanations of all metrics."""
    return yaml.safe_load((HERE / "metrics.yaml").read_text())


def speed(name: str) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows of a table that a benchmark left in benchmarks/."""
    frame = pd.read_csv(ROOT / "benchmarks" / f"{name}.csv", dtype=str, keep_default_na=False)
    return [column.replace("_", " ") for column in frame], frame.to_numpy().tolist()


def keys_of(model: str) -> list[list[str]]:
    """Return the keys of a part of a params.yaml as rows of a table."""
    keys = [key for key in source.of_model(getattr(design_module, model)) if key.name != "params"]
    defaults = {"": "required", "{}": "none", "[]": "none", "None": "none", "Studies()": "none", "False": "`false`"}
    return [[f"`{k.name}`", defaults.get(k.value, f"`{k.value}`".replace("'", "")), k.comment] for k in keys]


def rows_of(metrics: dict[str, dict[str, str]]) -> list[list[str]]:
    """Return explained metrics as rows of a table."""
    return [[f"`{name}`", said["unit"], said["meaning"], said["look"]] for name, said in metrics.items()]


def head(profile: str) -> str:
    """Return what a profile asks for, in a few lines."""
    design = budgets_of(profile).design
    rows = [
        [task, f"{b.env_steps:,}", str(b.parallel_episodes), ", ".join(map(str, b.demonstrations))]
        for task in design.tasks
        for b in [design.budget[task]]
    ]
    said = (
        f"`{os.path.relpath(design.params, design.root)}`: {len(design.methods)} methods and {len(design.variants)} "
        f"variants, {len(design.seeds)} seeds. {caution(profile)}"
    )
    columns = ["task", "env steps per learner", "parallel episodes", "numbers of trajectories"]
    return f"{said}\n\n{table(columns, rows)}"


def budgets_of(profile: str) -> Budgets:
    """Return the budgets of a profile beside the full ones."""
    return Budgets(next(design for design in designs() if design.profile == profile))


def caution(profile: str) -> str:
    """Return what a reader of a profile's numbers must know of its budgets; nothing if they are the full ones."""
    budgets = budgets_of(profile)
    said = {
        "A check of the chain, with too few environment steps per learner to rank methods": budgets.short,
        "Fewer environment steps per learner than with the full budget": budgets.fewer,
    }
    return " ".join(f"{text}: {budgets.steps(tasks)}." for text, tasks in said.items() if tasks)


def costs(shown: dict[str, Any], name: str) -> list[list[Any]]:
    """Return what a method's cells took, where that is shipped."""
    return [
        [profile, one["task"], one["part"].replace("_", ", "), one["minutes"], f"{one['env_steps_per_s']:,}"]
        + [one["processor"]]
        for profile, results in shown.items()
        for one in results["cost"]
        if one["row"] == name
    ]


def number(value: float) -> str:
    """Return a number with four significant figures, or whole."""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}".replace("-", "−")


def plain(value: float) -> str:
    """Return a number with six significant figures, so that one just below a bar does not look like the bar."""
    return f"{value:,.6g}".replace("-", "−")


def span(limits: Any) -> str:
    """Return an action's limits: one number where they are equal."""
    values = sorted(set(limits.tolist()))
    return f"{values[0]:g}" if len(values) == 1 else str([f"{x:g}" for x in limits.tolist()])


TEMPLATES = Environment(
    loader=FileSystemLoader(HERE / "templates"), trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
)
TEMPLATES.filters |= {
    "number": number,
    "span": span,
    "tail": lambda row: row[1:],
    "named": lambda tables, name: next(one for one in tables if one["name"] == name),
    "versions": lambda versions: ", ".join(f"{name} {version}" for name, version in versions.items()),
}
TEMPLATES.globals |= {
    "as_rows": as_rows,
    "bars": bars,
    "budgets_of": budgets_of,
    "costs": costs,
    "glossary": glossary,
    "head": head,
    "keys_of": keys_of,
    "label": style.label,
    "options": options,
    "profiles": profiles,
    "rows_of": rows_of,
    "speed": speed,
    "table": table,
    "verbs": verbs,
}
