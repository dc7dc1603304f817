"""How large a profile is beside the one with full budgets: what is only a check of the chain says so."""

from collections.abc import Iterable
from typing import Any

from threefold.profile.design import Design
from threefold.profile.profiles import FULL, full
from threefold.report import style


class Budgets:
    """The budgets of a profile, and the sizes of its studies, beside the full ones."""

    def __init__(self, design: Design) -> None:
        self.design, self.full = design, full(design)

    @property
    def short(self) -> list[str]:
        """Return the tasks whose budget is too short to rank methods."""
        return [task for task in self.design.tasks if self.design.budget[task].short_budget]

    @property
    def fewer(self) -> list[str]:
        """Return the other tasks on which a learner takes fewer steps than with the full budget."""
        fewer = [task for task in self.design.tasks if self._steps(task) < self._full_steps(task)]
        return [task for task in fewer if task not in self.short]

    def steps(self, tasks: Iterable[str]) -> str:
        """Return tasks with the environment steps of a learner, as `Hopper-v5 500k (profile paper: 1M)`."""
        return ", ".join(f"{task} {style.steps(self._steps(task))}{self._beside(task)}" for task in tasks)

    def _beside(self, task: str) -> str:
        full_steps = self._full_steps(task)
        return f" (profile {FULL}: {style.steps(full_steps)})" if full_steps not in (0, self._steps(task)) else ""

    def _steps(self, task: str) -> int:
        return self.design.budget[task].env_steps

    def _full_steps(self, task: str) -> int:
        """Return a learner's steps with the full budget, 0 if that is not known."""
        return self.full.budget[task].env_steps if self.full and task in self.full.tasks else 0

    def note(self, study: str) -> str:
        """Return a sentence on a study that is smaller than in the profile with full budgets; empty for another."""
        ours, theirs = self.design.sizes[study], self.full.sizes.get(study) if self.full else None
        if theirs is None or ours == theirs or not _within(ours.model_dump(), theirs.model_dump()):
            return ""
        return f" A check of the chain: the study is smaller here than in the profile {FULL}."


def _within(ours: Any, theirs: Any) -> bool:
    """Return whether no part of a size, a number or the length of a list, is larger than another's."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return all(_within(value, theirs[name]) for name, value in ours.items())
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) <= len(theirs)
    return ours is None or (theirs is not None and ours <= theirs)
