"""Making demonstrations: the stochastic expert of a task, rolled out (Ho & Ermon 2016, arXiv 1606.03476, appendix B).

params.yaml holds, for each task,

    demonstrations:
      Hopper-v5: {trajectories: 50, every: 20, seed: 0, whole: true}

where `whole: false` stores the used pairs only: what Humanoid's 240 trajectories need to stay small. The expert lies
beside params.yaml in experts/<task>; what is made goes to demonstrations/<task>. The card has every return.
"""

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import PositiveInt, ValidationError
from torch import Tensor

from algorithms.core.policy import Policy
from algorithms.core.population import Generators
from threefold.base import yaml
from threefold.base.errors import InputError
from threefold.base.strict import Seed, Strict
from threefold.experts import policies
from threefold.experts.demonstrations import write
from threefold.experts.trajectories import refuse_not_finite, roll_out
from threefold.profile.keys import explain
from threefold.profile.tasks import check_task
from threefold.store.origin import command_line

EXPERT = (
    "return_deterministic",
    "return_stochastic",
    "random",
    "env_steps",
    "seed",
    "sha256",
)  # repeated from its card
PLAYS = ("return_stochastic", "return_deterministic")  # whose returns tell a weak expert


class Design(Strict):
    """What params.yaml says about the demonstrations of a task."""

    trajectories: PositiveInt
    every: PositiveInt  # steps from one used pair to the next
    seed: Seed
    whole: bool  # keep the whole trajectories, not the used pairs only


def design(params: Path, task: str) -> Design:
    """Read the design of a task; raises InputError naming file, key and cure."""
    rows = yaml.section(params, "demonstrations")
    for name in rows:
        _known_task(params, name)
    if task not in rows:
        raise InputError(f"{params}: demonstrations.{task}: missing; add it, or choose from {', '.join(rows)}")
    try:
        return Design.model_validate(rows[task])
    except ValidationError as error:
        raise InputError(f"{params}: {explain(error, Design, 'demonstrations', task)}") from None


def _known_task(params: Path, name: str) -> None:
    try:
        check_task(name)
    except InputError as error:
        raise InputError(f"{params}: demonstrations.{name}: {error}") from None


def demonstrate(task: str, params: Path, allow_weak_expert: bool) -> None:
    """Roll out the expert of `task` and write its demonstrations, beside `params`."""
    torch.set_num_threads(1)  # sums then have one order, and the bytes are the same on any number of cores
    check_task(task)
    plan = design(params, task)
    policy, expert = policies.load(task, params.parent / "experts" / task)
    if missing := [key for key in EXPERT if key not in expert]:
        raise InputError(
            f"{params.parent / 'experts' / task / policies.CARD}: {missing[0]}: missing; train the expert again"
        )
    if not allow_weak_expert:
        refuse_weak(params.parent / "experts" / task / policies.CARD, expert, "pass --allow-weak-expert")
    trajectories, returns = roll_out(stochastic(policy, plan.seed), task, plan.seed, plan.trajectories, plan.every)
    refuse_not_finite(str(params.parent / "experts" / task), trajectories, "train the expert again")
    facts = {
        "task": task,
        "source": "expert",
        "expert": {key: expert[key] for key in EXPERT},
        "returns": returns,
        "return": spread(returns),
        "seed": plan.seed,
        "versions": versions(),
        "command": command_line(),
    }
    write(params.parent / "demonstrations" / task, trajectories, plan.every, plan.whole, facts)


def refuse_weak(where: Path | str, expert: Mapping[str, Any], consent: str, plays: Sequence[str] = PLAYS) -> None:
    """Raise InputError unless the returns of `expert`, which stand in `where`, show it to be better than random.

    The mean return of the first of its `plays` must exceed random's by two standard errors of their difference, that of
    the others random's, or no score is defined. `consent` is how the user takes a weak one all the same.
    """
    try:
        named = {key: expert[key] for key in (*plays, "random")}
        found = {key: (x["mean"], x["std"] / math.sqrt(x["episodes"])) for key, x in named.items()}
    except (KeyError, TypeError):
        raise InputError(f"{where}: the expert's and random's returns: missing or no numbers; make it again") from None
    random, error = found["random"]
    bars = dict.fromkeys(plays, random) | {plays[0]: random + 2 * math.hypot(found[plays[0]][1], error)}
    for key, bar in bars.items():
        mean = found[key][0]
        if not mean > bar:  # nor NaN
            raise InputError(
                f"{where}: {key}: mean {mean:.4g} is not clearly above random ({random:.4g}; bar {bar:.4g}); "
                f"train a better expert, or {consent}"
            )


def stochastic(policy: Policy, seed: int) -> Callable[[Tensor], Tensor]:
    """Return `act(obs [1, E, O])` that draws actions of a population of one."""
    noise = Generators([seed], "demonstrations")
    return lambda obs: policy.act(obs, noise.normal(obs.shape[1], policy.action_scale.numel()))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean and standard deviation (0 of a single value) as an expert's card gives them."""
    x = torch.tensor(values, dtype=torch.float64)
    return {"mean": x.mean().item(), "std": x.std(correction=min(1, len(x) - 1)).item(), "episodes": len(x)}


def versions() -> dict[str, str]:
    """Return what the numbers in a card depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("gymnasium", "mujoco", "torch")}
