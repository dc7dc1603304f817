"""An expert's demonstrations: made, written, checked and read.

`demonstrate` rolls out the stochastic expert (Ho & Ermon 2016, arXiv 1606.03476, appendix B) found beside params.yaml
in experts/<task>, and writes demonstrations/<task>/ there: trajectories.safetensors, arrays only, and card.json, which
says what they are. There is no reward inside; the card has every trajectory's return.

Each trajectory is the first episode of a world of its own: the first n episodes to *finish* would be the short ones.
Actions are kept as the policy drew them, not clipped as the env clips them: so their log_prob means something, and they
compare with the actions of a learner, which are unclipped too. A set of n demonstrations is the first n trajectories;
of each, every `every`-th pair is used from a random start on. The starts are drawn once and stored.

params.yaml holds, for each task,

    demonstrations:
      Hopper-v5: {trajectories: 50, every: 20, seed: 0, whole: true}

where `whole: false` stores the used pairs only: what Humanoid's 240 trajectories need to stay small.
"""

import hashlib
import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import safetensors.torch
import torch
from pydantic import PositiveInt, ValidationError
from safetensors import SafetensorError
from torch import Tensor

import envs
from algorithms.core import experience
from algorithms.core.experience import Demonstrations
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators
from threefold.base import yaml
from threefold.base.errors import InputError
from threefold.base.files import replacing
from threefold.base.strict import Seed, Strict, explain
from threefold.experts import experts
from threefold.profile.design import IMPORTED
from threefold.store.origin import command_line

ARRAYS, CARD = "trajectories.safetensors", "card.json"
# What reading needs of a card; whoever writes one adds what else is worth knowing.
KEYS = {
    "task": str,
    "obs_size": int,
    "action_size": int,
    "trajectories": int,
    "every": int,
    "whole": bool,
    "sha256": str,
}

EXPERT = (
    "return_deterministic",
    "return_stochastic",
    "random",
    "env_steps",
    "seed",
    "sha256",
)  # repeated from its card
PLAYS = ("return_stochastic", "return_deterministic")  # whose returns tell a weak expert


@dataclass(frozen=True)
class Trajectories:
    """K whole trajectories of T_k steps, one after the other.

    The last observation of each is kept as well, so `next_obs` needs no array of its own.
    """

    obs: Tensor  # [sum(T_k) + K, O] float32, of a trajectory T_k + 1
    action: Tensor  # [sum(T_k), A] float32, the task's units, unclipped
    lengths: Tensor  # [K] int64, steps
    terminated: Tensor  # [K] bool: the task ended it; a time limit is no end
    starts: Tensor  # [K] int64: step of the first pair that subsampling uses

    def __len__(self) -> int:
        """Return K."""
        return len(self.lengths)

    def transitions(self) -> "Transitions":
        """Return all transitions, `[sum(T_k)]` of them."""
        return self._at(*_used(self.lengths, torch.zeros_like(self.starts), 1))

    def used(self, every: int) -> "Transitions":
        """Return every `every`-th transition of each trajectory, from its start on."""
        return self._at(*_used(self.lengths, self.starts, every))

    def select(self, which: Sequence[int]) -> "Trajectories":
        """Return some of them, in the order given."""
        ends = self.lengths.cumsum(0)
        rows = [slice(int(ends[k] - self.lengths[k]), int(ends[k])) for k in which]
        obs = torch.cat([self.obs[row.start + k : row.stop + k + 1] for k, row in zip(which, rows, strict=True)])
        chosen = torch.tensor(which)
        action = torch.cat([self.action[row] for row in rows])
        return Trajectories(obs, action, self.lengths[chosen], self.terminated[chosen], self.starts[chosen])

    def _at(self, trajectory: Tensor, time: Tensor) -> "Transitions":
        row = (self.lengths.cumsum(0) - self.lengths)[trajectory] + time
        seen = row + trajectory  # each trajectory before has one more observation than steps
        return Transitions(self.obs[seen], self.action[row], self.obs[seen + 1])


class Transitions(NamedTuple):
    """M transitions in the order of their trajectories, float32."""

    obs: Tensor  # [M, O]
    action: Tensor  # [M, A]
    next_obs: Tensor  # [M, O], the true successor


class Sizes(Protocol):
    """What demonstrations must fit."""

    obs_size: int
    action_size: int


def load(
    folder: Path, task: str, counts: Sequence[int], device: torch.device | str = "cpu", env: Sizes | None = None
) -> Demonstrations:
    """Read the subsampled demonstrations in `folder` for learners of which number p uses the first `counts[p]`.

    Raises InputError, one line, if they are missing, altered, of another task than `task`, of other sizes than `env`'s,
    or fewer than asked for.
    """
    card, arrays = _read(folder)
    path, available = folder / CARD, card["trajectories"]
    if card["task"] != task:
        raise InputError(f"{path}: task: demonstrations of {card['task']}, not of {task}; name the folder of {task}")
    for size in ("obs_size", "action_size"):
        if env is not None and card[size] != getattr(env, size):
            raise InputError(
                f"{path}: {size}: {card[size]}, but {task} has {getattr(env, size)}; make them for this version of it"
            )
    if max(counts) > available or min(counts) < 1:
        wrong = max(counts) if max(counts) > available else min(counts)
        raise InputError(f"{path}: trajectories: {wrong} asked for, there are {available}; ask for 1 to {available}")
    return _demonstrations(arrays, card["every"], card["whole"], counts, device)


def idle(folder: Path, task: str, counts: Sequence[int], device: torch.device | str = "cpu") -> Demonstrations:
    """Return demonstrations by an expert that always outputs 0, as many and subsampled as those in `folder`: a control.

    What a method makes of them shows what the task gives away to whoever imitates anything.
    """
    plan = Design(trajectories=max(counts), every=read_card(folder)["every"], seed=0, whole=True)
    size = envs.model(envs.load(task)).nu
    trajectories, _ = roll_out(lambda obs: obs.new_zeros(*obs.shape[:-1], size), task, plan)
    return _demonstrations(vars(trajectories), plan.every, plan.whole, counts, device)


def survivors(folder: Path, counts: Sequence[int], device: torch.device | str = "cpu") -> Demonstrations:
    """Return those trajectories in `folder` that the task did not end, in order: a control.

    A set of n is the first n of them. Raises InputError as `read` does, or if there are fewer than asked for.
    """
    trajectories = read(folder)
    alive = (~trajectories.terminated).nonzero().flatten().tolist()
    if max(counts) > len(alive):
        raise InputError(
            f"{folder / CARD}: trajectories: {max(counts)} that never terminated asked for, there are {len(alive)}; "
            "ask for fewer"
        )
    chosen = trajectories.select(alive[: max(counts)])
    return _demonstrations(vars(chosen), read_card(folder)["every"], True, counts, device)


def _demonstrations(
    arrays: Mapping[str, Tensor], every: int, whole: bool, counts: Sequence[int], device: torch.device | str
) -> Demonstrations:
    """Return what the arrays of an artefact hold, subsampled."""
    lengths, terminated, starts = arrays["lengths"], arrays["terminated"], arrays["starts"]
    trajectory, time = _used(lengths, starts, every)
    if whole:
        trajectories = Trajectories(**arrays)
        obs, action, next_obs = trajectories.used(every)
        last = torch.zeros(int(lengths.sum()), dtype=torch.bool)
        last[lengths.cumsum(0) - 1] = terminated
        steps = experience.Transitions(*(column.to(device) for column in (*trajectories.transitions(), last)))
    else:
        obs, action, next_obs = arrays["obs"], arrays["action"], arrays["next_obs"]
        steps = None
    terminal = terminated[trajectory] & (time == lengths[trajectory] - 1)
    obs, action, next_obs, terminal, trajectory, lengths, terminated = (
        column.to(device) for column in (obs, action, next_obs, terminal, trajectory, lengths, terminated)
    )
    return Demonstrations(obs, action, next_obs, terminal, trajectory, lengths, terminated, counts, steps)


def read(folder: Path) -> Trajectories:
    """Read the whole trajectories in `folder`; raises InputError as `load` does, or if only single pairs are there."""
    card, arrays = _read(folder)
    if not card["whole"]:
        raise InputError(
            f"{folder / CARD}: whole: false, only single pairs are there; make them again with whole: true"
        )
    return Trajectories(**arrays)


def read_card(folder: Path) -> dict[str, Any]:
    """Read the card in `folder`; raises InputError if it is missing or lacks what `load` needs."""
    if not folder.is_dir():
        make = "minari import" if _is_imported(folder) else "demonstrate"
        raise InputError(f"{folder}: missing; make it with `threefold {make}`")
    path = folder / CARD
    try:
        card = json.loads(_bytes(path))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error}); {_cure(path)}") from None
    for key, kind in KEYS.items():
        if not isinstance(card, dict) or type(card.get(key)) is not kind or (kind is int and card[key] < 1):
            raise InputError(f"{path}: {key}: missing or not a proper {kind.__name__}; {_cure(path)}")
    return card


def write(folder: Path, trajectories: Trajectories, every: int, whole: bool, facts: Mapping[str, Any]) -> None:
    """Write an artefact: both files or none. `facts` are added to the card; `task` must be among them.

    Bytes are a pure function of the arguments. Raises InputError for arrays that reading would refuse, and for a folder
    that holds anything else.
    """
    arrays = {field.name: getattr(trajectories, field.name) for field in fields(trajectories)}
    if not whole:
        arrays |= trajectories.used(every)._asdict()
    data = safetensors.torch.save({name: array.contiguous() for name, array in arrays.items()})
    card = {
        **facts,
        "obs_size": trajectories.obs.shape[1],
        "action_size": trajectories.action.shape[1],
        "trajectories": len(trajectories),
        "every": every,
        "whole": whole,
        "lengths": trajectories.lengths.tolist(),
        "terminated": trajectories.terminated.tolist(),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    refuse_not_finite(str(folder), trajectories, "nothing is written; use a sound expert")
    _check(arrays, card, folder / ARRAYS)
    strangers = {path.name for path in folder.iterdir()} - {ARRAYS, CARD} if folder.is_dir() else set()
    if strangers:  # replacing the folder would delete them
        raise InputError(f"{folder}: holds {min(strangers)}, which is no part of demonstrations; choose another folder")
    text = json.dumps(card, indent=2, sort_keys=True, allow_nan=False) + "\n"
    with replacing(folder) as fresh:
        (fresh / ARRAYS).write_bytes(data)
        (fresh / CARD).write_text(text)


def refuse_not_finite(where: str, trajectories: Trajectories, remedy: str) -> None:
    """Raise InputError, naming array, trajectory and step, for a number that is none; `where` they come from."""
    for name, extra in (("obs", 1), ("action", 0)):  # a trajectory has one more observation than actions
        rows = trajectories.lengths + extra
        wrong = (~getattr(trajectories, name).isfinite().all(1)).nonzero().flatten()
        if len(wrong):
            k = int((rows.cumsum(0) > wrong[0]).nonzero()[0])
            step = int(wrong[0] - rows[:k].sum())
            raise InputError(f"{where}: {name} of trajectory {k}, step {step} is not finite; {remedy}")


def draw_starts(lengths: Tensor, every: int, seed: int) -> Tensor:
    """Draw the step `[K]` of each trajectory's first used pair, uniform on its first `every` steps (or all it has)."""
    uniform = Generators([seed], "subsampling").uniform(len(lengths))[0]
    return (uniform * lengths.clamp(max=every)).long()


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return mean and standard deviation (0 of a single value) as an expert's card gives them."""
    x = torch.tensor(values, dtype=torch.float64)
    return {"mean": x.mean().item(), "std": x.std(correction=min(1, len(x) - 1)).item(), "episodes": len(x)}


def versions() -> dict[str, str]:
    """Return what the numbers in a card depend on."""
    return {"python": platform.python_version()} | {name: version(name) for name in ("gymnasium", "mujoco", "torch")}


def _used(lengths: Tensor, starts: Tensor, every: int) -> tuple[Tensor, Tensor]:
    """Return trajectory and step, `[M]` each, of the used pairs: steps start, start + every, ... of each trajectory."""
    counts = (lengths - starts + every - 1) // every
    trajectory = torch.arange(len(lengths)).repeat_interleave(counts)
    place = torch.arange(len(trajectory)) - (counts.cumsum(0) - counts)[trajectory]
    return trajectory, starts[trajectory] + every * place


def _is_imported(folder: Path) -> bool:
    return folder.parent.name == IMPORTED.name


def _cure(path: Path) -> str:
    """Return how a damaged file of demonstrations comes back; what a user imported no command makes again."""
    again = "import it again, under another name" if _is_imported(path.parent) else "make it again with `dvc repro`"
    return f"restore it from git or {again}"


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{path}: {error.strerror}; {_cure(path)}") from None


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    card, path = read_card(folder), folder / ARRAYS
    data = _bytes(path)
    if hashlib.sha256(data).hexdigest() != card["sha256"]:
        raise InputError(f"{path}: truncated or altered: its sha256 is not the one in {CARD}; {_cure(path)}")
    try:
        arrays = safetensors.torch.load(data)
    except SafetensorError as error:
        raise InputError(f"{path}: not a safetensors file ({error}); {_cure(path)}") from None
    _check(arrays, card, path)
    return card, arrays


def _check(arrays: Mapping[str, Tensor], card: Mapping[str, Any], path: Path) -> None:
    """Refuse arrays that are not what the card says."""
    number, O, A = card["trajectories"], card["obs_size"], card["action_size"]
    per_trajectory = {"lengths": torch.int64, "terminated": torch.bool, "starts": torch.int64}
    for name, dtype in per_trajectory.items():
        _expect(path, name, arrays, (number,), dtype)
    lengths, starts = arrays["lengths"], arrays["starts"]
    if not ((starts >= 0) & (starts < lengths)).all():
        raise InputError(f"{path}: starts: not within the trajectories' lengths; {_cure(path)}")
    steps = int(lengths.sum()) if card["whole"] else len(_used(lengths, starts, card["every"])[0])
    shapes = {"action": (steps, A)}
    shapes |= {"obs": (steps + number, O)} if card["whole"] else {"obs": (steps, O), "next_obs": (steps, O)}
    for name, shape in shapes.items():
        _expect(path, name, arrays, shape, torch.float32)
        if not arrays[name].isfinite().all():
            raise InputError(f"{path}: {name}: not all values are finite; {_cure(path)}")
    if unknown := set(arrays) - set(shapes) - set(per_trajectory):
        raise InputError(f"{path}: {min(unknown)}: no such array in demonstrations; {_cure(path)}")


def _expect(path: Path, name: str, arrays: Mapping[str, Tensor], shape: tuple[int, ...], dtype: torch.dtype) -> None:
    found = arrays.get(name)
    if found is None:
        raise InputError(f"{path}: {name}: missing; {_cure(path)}")
    if tuple(found.shape) != shape or found.dtype != dtype:
        raise InputError(f"{path}: {name}: {found.dtype} {[*found.shape]}, expected {dtype} {[*shape]}; {_cure(path)}")


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
        raise InputError(f"{params}: {explain(error, list(Design.model_fields), 'demonstrations', task)}") from None


def _known_task(params: Path, name: str) -> None:
    try:
        envs.load(name)
    except InputError as error:
        raise InputError(f"{params}: demonstrations.{name}: {error}") from None


def demonstrate(task: str, params: Path, allow_weak_expert: bool) -> None:
    """Roll out the expert of `task` and write its demonstrations, beside `params`."""
    torch.set_num_threads(1)  # sums then have one order, and the bytes are the same on any number of cores
    envs.load(task)
    plan = design(params, task)
    policy, expert = experts.load(task, params.parent / "experts" / task)
    if missing := [key for key in EXPERT if key not in expert]:
        raise InputError(f"{params.parent / 'experts' / task / CARD}: {missing[0]}: missing; train the expert again")
    if not allow_weak_expert:
        refuse_weak(params.parent / "experts" / task / CARD, expert, "pass --allow-weak-expert")
    trajectories, returns = roll_out(stochastic(policy, plan.seed), task, plan)
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


def stochastic(policy: GaussianPolicy, seed: int) -> Callable[[Tensor], Tensor]:
    """Return `act(obs [1, E, O])` that draws actions of a population of one."""
    noise = Generators([seed], "demonstrations")
    return lambda obs: policy.act(obs, noise.normal(obs.shape[1], policy.action_scale.numel()))


@torch.no_grad()
def roll_out(act: Callable[[Tensor], Tensor], task: str, plan: Design) -> tuple[Trajectories, list[float]]:
    """Return one episode of `act(obs [1, E, O])` in each of `plan.trajectories` worlds, and their returns."""
    env = envs.make(task, [plan.seed], plan.trajectories)
    active = torch.ones(1, env.E, dtype=torch.bool)
    terminated, lengths, returns = ~active, torch.zeros(1, env.E, dtype=torch.int64), torch.zeros_like(env.obs[..., 0])
    rows = []
    while active.any():
        obs = env.obs.float()
        action = act(obs)
        step = env.step(action, active)
        rows.append((obs[0], action[0], step.next_obs[0].float()))
        lengths += active
        returns += step.reward * active
        terminated |= step.terminal & active
        active = active & ~(step.terminal | step.truncated)
    all_obs, all_action, all_next_obs = (torch.stack(column, 1) for column in zip(*rows, strict=True))  # [E, T, .]
    ends = lengths[0].tolist()
    trajectories = Trajectories(
        torch.cat([x for k, T in enumerate(ends) for x in (all_obs[k, :T], all_next_obs[k, T - 1 : T])]),
        torch.cat([all_action[k, :T] for k, T in enumerate(ends)]),
        lengths[0],
        terminated[0],
        draw_starts(lengths[0], plan.every, plan.seed),
    )
    return trajectories, returns[0].tolist()
