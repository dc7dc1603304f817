"""Whether the constants of a cell fit each other, its budget and its task.

The type of a constant says which values it may have; what several allow together is checked here, before anything of a
profile is computed. A method's code would find out in the first iteration, hours after the cells before it.
"""

import envs
from algorithms.core.adversarial import LoopConfig
from algorithms.core.pathwise import PathwiseConfig
from threefold.base.errors import InputError
from threefold.cells.cell import Cell
from threefold.profile.transitions import misfit


def refuse_misfit(cell: Cell) -> None:
    """Raise InputError, with file, key and cure, for constants with which a cell's training cannot begin or learn."""
    config, task = cell.config, envs.load(cell.task)
    segment = getattr(config, "segment", None)
    if segment and segment > task.HORIZON:
        fault = f"{segment}, but an episode of {cell.task} has {task.HORIZON} steps; write at most that"
        _refuse(cell, "segment", fault)
    if not hasattr(config, "ppo"):
        return
    if isinstance(config.ppo, PathwiseConfig):
        if hasattr(task, "ACTIONS"):
            raise InputError(
                f"{cell.design.params}: tasks: {cell.task}: its actions are discrete, and {cell.variant.method} "
                f"differentiates through continuous ones; leave it out with left_out.{cell.task}.{cell.row}"
            )
        return
    loop = getattr(config, "loop", LoopConfig())  # a method may have a loop of its own around PPO
    trust = loop.inner == "trpo"
    if trust and not loop.trpo.share:
        _refuse(cell, "loop.trpo.share", "0, and no step can be taken without any transition; write more than 0")
    # The number of transitions is the same on each device: see threefold.profile.rollout.
    if found := misfit(config.ppo, cell.budget.parallel_episodes, minibatches=not trust):
        _refuse(cell, f"ppo.{found[0]}", found[1])


def _refuse(cell: Cell, name: str, fault: str) -> None:
    """Raise InputError for a constant, at the place in params.yaml that has it, or where it would be changed."""
    in_variant = not {name, "ppo.steps" if name.startswith("ppo.") else name}.isdisjoint(cell.variant.config)
    place = f"variants.{cell.row}.config" if in_variant else f"overrides.{cell.task}"
    raise InputError(f"{cell.design.params}: {place}.{name}: {fault} ({cell.name})")
