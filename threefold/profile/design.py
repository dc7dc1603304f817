"""The experimental design: one profile's params.yaml, read and checked."""

import os
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, ValidationError, create_model
from pydantic_core import PydanticCustomError

import algorithms
from studies import registry
from threefold.base import yaml
from threefold.base.errors import InputError
from threefold.base.files import IMPORTED
from threefold.base.strict import Count, Name, RowName, Seed, Strict
from threefold.profile.keys import explain
from threefold.profile.nearest import nearest


class Evaluation(Strict):
    """How policies are evaluated: with their mean action, on episodes of their own."""

    episodes: Count  # of the final evaluation, per learner
    points: Count  # evaluations during training, the final one included
    episodes_during_training: Count  # at each of the others


class Budget(Strict):
    """What a learner may use on one task."""

    env_steps: Count  # per learner
    parallel_episodes: Count  # per learner
    demonstrations: Annotated[list[Count], Field(min_length=1)]  # numbers of the expert's trajectories
    seeds: Annotated[list[Seed], Field(min_length=1)] | None = None  # in the place of the profile's
    short_budget: bool = False  # too short to rank methods, a check of the chain; the report says so on the task's rows


class Variant(Strict):
    """A row beside the methods' own: another configuration of a method, or a control, on some of the tasks."""

    method: Name  # a file of `algorithms/`
    tasks: Annotated[list[str], Field(min_length=1)]  # where it runs
    # Some of the tasks' numbers of the expert's trajectories; without it all of them.
    demonstrations: Annotated[list[Count], Field(min_length=1)] | None = None
    config: dict[str, Any] = {}  # constants of the method's Config that differ, by dotted name
    # Who demonstrates: the task's expert, as it is or where it never terminated, or one that always outputs 0.
    expert: Literal["own", "never_terminated", "idle"] = "own"


# The size of each study that the profile has. One that is not written yet must not break profiles that do without it.
SIZES: dict[str, Any] = {
    name: (Any if registry.missing(name, "schema") else registry.size(name) | None, None) for name in registry.names()
}
Studies = create_model("Studies", __base__=Strict, **SIZES)


Reason = Annotated[str, Field(min_length=1)]


class Wave(Strict):
    """Parts that `threefold launch` computes before others: those that every given key allows."""

    rows: list[RowName] | None = None  # methods and variants; without it all
    tasks: list[Name] | None = None  # without it all
    demonstrations: Literal["ends", "all"] = "all"  # ends: a task's fewest and most
    seeds: list[Seed] | None = None  # without it all


def _with_placeholders(text: str) -> str:
    """Refuse a text with other placeholders than `{ours}`."""
    try:
        names = {name for _, name, *_ in Formatter().parse(text) if name is not None}
    except ValueError:  # a brace without another
        names = {""}
    if names <= {"ours"}:
        return text
    raise PydanticCustomError("placeholder", "{reason}", {"reason": "{ours} is the only placeholder that there is"})


class Remark(Strict):
    """Why a cell is below or above what is published; the report shows it beside the two numbers."""

    # A sentence or two. `{ours}` becomes the scores of our seeds: one typed here would stay when the results change.
    why: Annotated[str, Field(min_length=1), AfterValidator(_with_placeholders)]
    evidence: Annotated[str, Field(min_length=1)]  # what shows it: a command, a file, a table


class Part(NamedTuple):
    """Learners of a cell that train together, and whose result is kept as one: seeds of one number of trajectories.

    Who trains together decides the last bits of a result, so seeds are grouped by their value alone: 0 to 2, 3 to 5,
    and so on. More seeds, or more numbers of trajectories, add parts and leave the others as they are.
    """

    demonstrations: int
    seeds: tuple[int, ...]

    @property
    def name(self) -> str:
        """Return its name: `4_0-1-2` are the seeds 0, 1 and 2 from 4 trajectories."""
        return f"{self.demonstrations}_{'-'.join(map(str, self.seeds))}"

    @property
    def learners(self) -> list[tuple[int, int]]:
        """Return the (number of demonstrations, seed) of each learner."""
        return [(self.demonstrations, seed) for seed in self.seeds]


TOGETHER = 3  # learners of a part, at most: networks this small gain little from more on a core


def together(seeds: Iterable[int]) -> list[tuple[int, ...]]:
    """Return the seeds of each part, in order."""
    return [tuple(group) for _, group in groupby(sorted(seeds), lambda seed: seed // TOGETHER)]


class Design(Strict):
    """One profile. `root`, `folder` and `params`, its own file, are paths as seen from the working folder."""

    root: Path  # the project, as seen from the file
    folder: Path  # the file's folder, as seen from the project
    params: Path  # the file itself; not a key
    profile: Name  # names the folders of results and reports
    tasks: Annotated[list[Name], Field(min_length=1)]  # ids, as `envs/` has them
    methods: Annotated[list[RowName], Field(min_length=1)]  # as `algorithms/` has them
    seeds: Annotated[list[Seed], Field(min_length=1)]  # of learners; a task may have its own
    evaluation: Evaluation  # how policies are evaluated
    budget: dict[str, Budget]  # per task: what a learner may use
    overrides: dict[str, dict[str, Any]]  # per task: constants of a method's Config, by dotted name
    variants: dict[RowName, Variant]  # by the names of their rows: what is compared beside the methods
    demonstrations_from: dict[str, Name] = {}  # per task: an imported set, instead of its expert's
    studies: Studies = Studies()  # type: ignore[valid-type] # by name: its size, whose keys its page has
    left_out: dict[str, dict[str, Reason]] = {}  # per task: rows that are not run there, and why
    waves: list[Wave] = []  # the order of `threefold launch`
    remarks: dict[str, Remark] = {}  # on published numbers, by `task/method/number of trajectories`
    allow_weak_expert: bool = False  # learn from one that is no better than random
    keep_going: bool = False  # after a cell that crashes, and collect what there is; the report marks what is missing
    device: Literal["auto", "cpu", "cuda"] = "auto"  # of training; evaluations are the CPU's, whatever this is

    @property
    def sizes(self) -> dict[str, Any]:
        """Return the sizes of the studies that the profile has, by their names."""
        return {name: size for name in SIZES if (size := getattr(self.studies, name)) is not None}

    @property
    def results(self) -> Path:
        """Return the folder of the profile's results."""
        return self.root / "results" / self.profile

    def demonstrations(self, task: str) -> Path:
        """Return the folder of a task's demonstrations: the ones named by `demonstrations_from`, or its expert's."""
        if task in self.demonstrations_from:
            return self.root / IMPORTED / self.demonstrations_from[task]
        return self.root / "data" / "demonstrations" / task

    def rows(self, task: str) -> list[str]:
        """Return what is compared on a task, in order: the methods, then the variants that run there."""
        every = [*self.methods, *(name for name, variant in self.variants.items() if task in variant.tasks)]
        return [row for row in every if row not in self.left_out.get(task, {})]

    def variant(self, row: str) -> Variant:
        """Return what a row runs; a method's own row is the method as it is, on every task."""
        return self.variants.get(row) or Variant(method=row, tasks=self.tasks)

    def cell(self, task: str, row: str) -> Path:
        """Return the folder of one cell. DVC makes a variant's, of all its tasks, in one stage: they lie together."""
        if row in self.variants:
            return self.results / "variants" / row / task
        return self.results / "cells" / task / row

    def seeds_of(self, task: str) -> list[int]:
        """Return the seeds of a task."""
        return self.budget[task].seeds or self.seeds

    def numbers(self, task: str, row: str) -> list[int]:
        """Return the numbers of the expert's trajectories that a row learns from on a task."""
        return self.variant(row).demonstrations or self.budget[task].demonstrations

    def parts(self, task: str, row: str) -> list[Part]:
        """Return the parts of a cell, in order."""
        groups = together(self.seeds_of(task))
        return [Part(number, seeds) for number in self.numbers(task, row) for seeds in groups]

    def learners(self, task: str, row: str) -> list[tuple[int, int]]:
        """Return the (number of demonstrations, seed) of every learner of a cell, in order."""
        return [learner for part in self.parts(task, row) for learner in part.learners]

    def wave(self, task: str, row: str, part: Part) -> int:
        """Return when a part is computed: the number of the first wave that has it, from 1 on; the rest come last."""
        numbers = self.budget[task].demonstrations
        for place, wave in enumerate(self.waves, start=1):
            allowed = numbers if wave.demonstrations == "all" else (min(numbers), max(numbers))
            if (
                (wave.rows is None or row in wave.rows)
                and (wave.tasks is None or task in wave.tasks)
                and part.demonstrations in allowed
                and (wave.seeds is None or set(part.seeds) <= set(wave.seeds))
            ):
                return place
        return len(self.waves) + 1

    @property
    def plan(self) -> Path:
        """Return the file with the fingerprint of every part."""
        return self.folder / "plan.json"


def load(path: Path) -> Design:
    """Read and check a params.yaml; raises `InputError` naming the file, the key and the cure."""
    content = yaml.read(path)
    for key in ("root", "folder"):
        if not re.fullmatch(r"[A-Za-z0-9_./-]+", text := str(content.get(key, "."))):  # dvc.yaml gives it to a shell
            raise InputError(f"{path}: {key}: {text!r}: a path of letters, digits, _, -, . and / only; correct it")
    try:
        root = Path(os.path.normpath(path.parent / str(content.get("root") or ".")))
        design = Design.model_validate(content | {"root": root, "folder": path.parent, "params": path})
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, Design)}") from None
    _check_root(path, design.root)
    _check_folder(path, design, content.get("folder"))
    for name in design.sizes:
        if fault := registry.missing(name, "schema"):
            raise InputError(f"{path}: studies.{name}: {fault}")
    for check in (_check_tasks, _check_left_out, _check_waves, _check_variants, _check_remarks, _check_lists):
        check(path, design)
    return design


def _check_root(path: Path, root: Path) -> None:
    """Refuse a `root` that is no project: whatever lies in one would be missing, and that is not the fault."""
    if not root.is_dir():
        raise InputError(f"{path}: root: {root}: no such folder; write the project's, as seen from this file")
    if not any((root / name).is_dir() for name in ("data", "results")):
        raise InputError(
            f"{path}: root: {root}: no project, which has a folder data or results; write the project's, as seen from "
            "this file"
        )


def _check_folder(path: Path, design: Design, folder: object) -> None:
    """Refuse a `folder` that is not where the file is, as a copied file has it: its stages would be another's."""
    root, here = design.root.resolve(), path.parent.resolve()
    if folder is not None and (root / str(folder)).resolve() != here and here.is_relative_to(root):
        raise InputError(
            f"{path}: folder: {folder}, seen from root ({design.root}), is not where this file is; "
            f"write {here.relative_to(root)}, or correct root"
        )


def _check_tasks(path: Path, design: Design) -> None:
    """Refuse what is said of other tasks than the profile's, and a task without a budget."""
    for table in ("budget", "overrides", "left_out", "demonstrations_from"):
        for name in getattr(design, table):
            if name not in design.tasks:
                near = nearest(name, design.tasks)
                cure = f"write {name} there, or {near} here" if near else "correct either"
                raise InputError(f"{path}: {table}.{name}: not one of tasks ({', '.join(design.tasks)}); {cure}")
    for task in design.tasks:
        if task not in design.budget:
            raise InputError(f"{path}: budget.{task}: missing; add the task's budget")


def _check_left_out(path: Path, design: Design) -> None:
    known = [*design.methods, *design.variants]
    for task, rows in design.left_out.items():
        for row in rows:
            if row not in known:
                raise InputError(f"{path}: left_out.{task}.{row}: not one of the rows ({', '.join(known)}); correct it")


def _check_waves(path: Path, design: Design) -> None:
    """Refuse what no part of the profile has: the wave would go by without it."""
    seeds = {seed for task in design.tasks for seed in design.seeds_of(task)}
    there: dict[str, set[Any]] = {
        "rows": {*design.methods, *design.variants},
        "tasks": set(design.tasks),
        "seeds": seeds,
    }
    for place, wave in enumerate(design.waves):
        for key, known in there.items():
            if strange := set(getattr(wave, key) or ()) - known:
                raise InputError(f"{path}: waves.{place}.{key}: {min(strange)}: not in the profile; correct it")


def _check_variants(path: Path, design: Design) -> None:
    """Refuse a variant whose name is not its method's and what differs, and one of what the profile has not.

    That its method does not exist is said by `threefold.profile.names`: no name would be right then.
    """
    for name, variant in design.variants.items():
        where = f"{path}: variants.{name}"
        if variant.method in algorithms.names() and not name.startswith(f"{variant.method}_"):
            raise InputError(
                f"{where}: a variant's name is its method's, an underscore and what differs; "
                f"call it {variant.method}_{'...' if name == variant.method else name}"
            )
        if name in design.methods:
            raise InputError(f"{where}: is one of methods too; give it another name")
        for task in variant.tasks:
            if task not in design.tasks:
                raise InputError(
                    f"{where}.tasks: {task} is not one of tasks ({', '.join(design.tasks)}); correct either"
                )
            for number in variant.demonstrations or []:
                if number not in (there := design.budget[task].demonstrations):
                    raise InputError(
                        f"{where}.demonstrations: {number} is not one of budget.{task}.demonstrations "
                        f"({', '.join(map(str, there))}); correct either"
                    )


def _check_remarks(path: Path, design: Design) -> None:
    strata = [f"{t}/{method}/{n}" for t in design.tasks for method in design.methods for n in design.numbers(t, method)]
    for name in design.remarks:
        if name not in strata:
            raise InputError(
                f"{path}: remarks.{name}: not a task, method and number of trajectories of the profile, as "
                f"{strata[0]}; correct it"
            )


def _check_lists(path: Path, design: Design) -> None:
    """Refuse a list that names something twice."""
    lists: dict[str, list[Any]] = {key: getattr(design, key) for key in ("tasks", "methods", "seeds")}
    lists |= {f"budget.{task}.demonstrations": budget.demonstrations for task, budget in design.budget.items()}
    lists |= {f"budget.{task}.seeds": budget.seeds for task, budget in design.budget.items() if budget.seeds}
    lists |= {f"variants.{name}.tasks": variant.tasks for name, variant in design.variants.items()}
    for name, size in design.sizes.items():
        lists |= {f"studies.{name}.{key}": value for key, value in size if isinstance(value, list)}
    for key, values in lists.items():
        if len(set(values)) < len(values):
            raise InputError(f"{path}: {key}: {values} names one twice; remove it")
