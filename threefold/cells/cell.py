"""A cell: one row on one task, its parts, and what each is made from."""

import dataclasses
from functools import cached_property
from pathlib import Path
from typing import Any

import envs
from algorithms.core.experience import Demonstrations
from threefold.base.errors import InputError
from threefold.base.files import checksum
from threefold.cells.training import Checkpoints, Evaluation, Job
from threefold.experts import demonstrations as data
from threefold.experts.demonstrate import refuse_weak
from threefold.profile.design import Design, Part
from threefold.profile.overrides import configure
from threefold.profile.rollout import on_device
from threefold.store import code
from threefold.store.entries import Entry, location
from threefold.store.inputs import differences, plain

LEARNT = "models.safetensors"  # what was learnt beside the policies stays in the store
LOOP = ("threefold.cells.training", "threefold.cells.record", "threefold.experts.demonstrations")


class Cell:
    """One row of a design on one of its tasks, made from what its code and data were when first asked for."""

    def __init__(self, design: Design, task: str, row: str) -> None:
        self.design, self.task, self.row = design, task, row
        self.name, self.variant, self.budget = f"{task}/{row}", design.variant(row), design.budget[task]
        self.folder = design.cell(task, row)

    @cached_property
    def config(self) -> Any:
        """Return the constants of its method; raises InputError for wrong ones in the design."""
        return configure(self.design, self.task, self.row)

    @property
    def parts(self) -> list[Part]:
        """Return its parts, in order."""
        return self.design.parts(self.task, self.row)

    @property
    def demonstrations_folder(self) -> Path:
        """Return the folder of what its learners imitate."""
        return self.design.demonstrations(self.task)

    def made_from(self, part: Part) -> dict[str, Any]:
        """Return all that decides the bytes of a part's result.

        Versions of packages, the device and the kind of CPU are recorded beside the result and do not count.
        """
        return plain(
            {
                "task": self.task,
                "row": self.row,
                "method": self.variant.method,
                "expert": self.variant.expert,
                "config": dataclasses.asdict(self.config),
                "demonstrations": part.demonstrations,
                "seeds": part.seeds,
                "env_steps": self.budget.env_steps,
                "parallel_episodes": self.budget.parallel_episodes,
                "evaluation": self.design.evaluation.model_dump(),
                "code": self._code,
                "data": self._data,
            }
        )

    @cached_property
    def _code(self) -> dict[str, str]:
        task = envs.load(self.task)
        return code.checksums(f"algorithms.{self.variant.method}", task.__name__, *LOOP)

    @cached_property
    def _data(self) -> dict[str, str]:
        files = envs.model_files(envs.load(self.task))
        card = data.read_card(self.demonstrations_folder)
        used = {key: str(card[key]) for key in ("sha256", "every", "whole")}
        return {file.name: checksum(file) for file in files} | {
            f"demonstrations.{key}": value for key, value in used.items()
        }

    def entry(self, part: Part) -> Entry:
        """Return where a part is computed."""
        return Entry(location(self.design.root), f"{self.name}/{part.name}", self.made_from(part))

    def provenance(self, part: Part) -> Path:
        """Return the file that says who computed a delivered part, when and how fast."""
        return self.design.results / "provenance" / self.task / self.row / f"{part.name}.json"

    def demonstrations(self, learners: list[tuple[int, int]], device: str) -> Demonstrations:
        """Return what some of its learners imitate; raises InputError for a weak expert."""
        folder, counts = self.demonstrations_folder, [number for number, _ in learners]
        if self.variant.expert == "idle":
            return data.idle(folder, self.task, counts, device)
        loaded = data.load(folder, self.task, counts, device, envs.make(self.task, [0], 1))
        card = data.read_card(folder)
        if "expert" in card and not self.design.allow_weak_expert:  # whose returns an imported dataset does not tell
            consent = f"set allow_weak_expert: true in {self.design.params}"
            refuse_weak(folder / data.CARD, card["expert"], consent)
        return data.survivors(folder, counts, device) if self.variant.expert == "never_terminated" else loaded

    def job(
        self,
        learners: dict[int, tuple[int, int]],
        demonstrations: Demonstrations,
        checkpoints: Checkpoints,
        threads: int,
        device: str,
    ) -> Job:
        """Return the training of some of its learners, by their place among those whose progress is shown."""
        shaped, config = on_device(self.design, self.task, self.config, device)
        return Job(
            self.task,
            self.row,
            self.variant.method,
            config,
            learners,
            demonstrations,
            self.budget.env_steps,
            shaped.budget[self.task].parallel_episodes,
            Evaluation(**self.design.evaluation.model_dump()),
            checkpoints,
            threads,
            device,
        )

    def refuse_edits(self, entries: list[Entry]) -> None:
        """Raise InputError if what the entries are made from has changed since they were made."""
        code.forget()
        now = Cell(self.design, self.task, self.row)
        for part, entry in zip(self.parts, entries, strict=True):
            if edited := differences(entry.inputs, now.made_from(part)):
                raise InputError(
                    f"{edited[0]}: changed while {entry.name} was computed; the result stays in the store, as the old "
                    "file's; start it again"
                )


def cells(design: Design) -> list[Cell]:
    """Return all cells of a design, in the order of its tasks and rows."""
    return [Cell(design, task, row) for task in design.tasks for row in design.rows(task)]
