"""Experts: the inner loop of every method, run on the true reward.

A population of seeds is trained (threefold/experts/training.py); the policy that does best on held-out episodes becomes
`data/experts/<task>/policy.safetensors` with a card of what it is worth. A stopped training goes on from its last
checkpoint; what was trained before is taken from the store.
"""

import csv
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError

import envs
from algorithms.core.policy import GaussianPolicy, Policy
from algorithms.core.ppo import PPOConfig
from envs import device as devices
from envs.episodes import Episodes, play, rollout
from threefold.base import yaml
from threefold.base.errors import InputError
from threefold.base.files import check_writable, checksum, refuse_strangers, replacing
from threefold.base.messages import inform
from threefold.base.progress import Ticker
from threefold.base.workers import Team, default_threads
from threefold.experts.policies import CARD, WEIGHTS, deterministic, load, stochastic, uniform
from threefold.experts.training import Best, Design, Job, best_of, train
from threefold.profile.constants import replaced
from threefold.profile.keys import explain
from threefold.profile.tasks import check_task
from threefold.profile.transitions import misfit
from threefold.store import code
from threefold.store.entries import Entry, location
from threefold.store.inputs import differences, plain
from threefold.store.origin import origin

ROW = "expert"  # in the store
NO_RETURN = 1e-9  # a mean of 0 has a spread all the same, and a finite one: JSON has no other
CARD_EPISODES = 200  # of each play
CARD_SEED = 90_000  # apart from those of training, of what compares its policies and of demonstrations
PUBLISHED = code.ROOT / "threefold" / "report" / "published" / "gail_table1.csv"


def measure(policy: Policy, task: str, seed: int = CARD_SEED) -> dict[str, dict[str, float]]:
    """Return the returns of the deterministic and the stochastic expert and of random actions, 200 episodes each."""
    env = envs.make(task, [seed], CARD_EPISODES)
    return {
        "return_deterministic": summary(play(env, deterministic(policy))),
        "return_stochastic": summary(play(env, stochastic(policy, seed))),
        "random": summary(play(env, uniform(env, seed))),
    }


def summary(episodes: Episodes) -> dict[str, float]:
    """Return mean, spread and length of the episodes of a population of one."""
    returns = episodes.episode_return[0]
    return {
        "mean": float(returns.mean()),
        "std": float(returns.std()),
        "min": float(returns.min()),
        "max": float(returns.max()),
        "episodes": len(returns),
        "mean_length": float(episodes.length[0].double().mean()),
        "terminated": int(episodes.terminated[0].sum()),
    }


@torch.no_grad()
def entropy(policy: Policy, task: str, seed: int = CARD_SEED) -> float:
    """Return the mean entropy of a population of one over the states of its stochastic play."""
    env = envs.make(task, [seed], CARD_EPISODES)
    obs = env.obs.float()  # a Gaussian's is the same in every state: these do
    if policy.discrete:
        obs = torch.cat([obs[active] for obs, _, _, active in rollout(env, stochastic(policy, seed))])[None]
    return float(policy.entropy(policy.head(policy.normalizer(obs))))


def bars(design: Design, returns: dict[str, dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Return each bar of a design, what was `found` of it and whether that reaches it.

    `stochastic_score` is 0 for random actions and 1 for the deterministic play; an expert no better than random has
    none, which counts as 0. `fallen` is the share of episodes that the task ended, in the play that falls more.
    """
    plays = [returns["return_deterministic"], returns["return_stochastic"]]
    deterministic, stochastic, random = (play["mean"] for play in (*plays, returns["random"]))
    gain = deterministic - random
    found = {
        "return": (deterministic, "least", design.required_return),
        "stochastic_score": ((stochastic - random) / gain if gain > 0 else 0.0, "least", design.required_score),
        "fallen": (max(play["terminated"] / play["episodes"] for play in plays), "most", design.allowed_falls),
        "spread": (plays[0]["std"] / max(abs(deterministic), NO_RETURN), "most", design.allowed_spread),
    }
    return {
        name: {"found": value, side: bar, "reached": value >= bar if side == "least" else value <= bar}
        for name, (value, side, bar) in found.items()
        if bar is not None
    }


def below(card: dict[str, Any]) -> str:
    """Return the bars that an expert's card says it misses, in words; empty if it reaches them all."""
    missed = {name: bar for name, bar in card["bars"].items() if not bar["reached"]}
    sides = {"least": "at least", "most": "at most"}
    return ", ".join(
        f"{name} {bar['found']:.4g} ({sides[side]} {bar[side]:.4g})"
        for name, bar in missed.items()
        for side in sides.keys() & bar.keys()
    )


def published(task: str) -> dict[str, Any] | None:
    """Return the return of the expert of Ho & Ermon 2016 (arXiv 1606.03476, table 1); None for a task it has not."""
    with PUBLISHED.open() as file:
        for row in csv.DictReader(file):
            if row["reference"] == "expert" and row["task"] == task.rpartition("-")[0]:
                return {"source": "arXiv 1606.03476, table 1", "mean": float(row["mean"]), "std": float(row["std"])}
    return None


def describe(task: str, design: Design, best: Best, policy: Policy, device: str) -> dict[str, Any]:
    """Measure the best policy of a training; return its card."""
    returns = measure(policy, task)
    reached = bars(design, returns)
    return {
        "task": task,
        **returns,
        "published": published(task),
        "bars": reached,
        "reached": all(bar["reached"] for bar in reached.values()),
        "entropy": entropy(policy, task),  # nats, of an action in units of half its range, as is
        "std": policy.log_std.detach().exp().flatten().tolist() if isinstance(policy, GaussianPolicy) else None,
        "seed": best.seed,
        "env_steps": best.env_steps,
        "design": asdict(design),
        "ppo": asdict(design.config(task)),
        "versions": devices.versions(devices.ENGINES[device]),
        "command": f"threefold expert --task {task}",
    }


def save(folder: Path, policy: Policy, card: dict[str, Any]) -> None:
    """Write weights and card together, or nothing."""
    weights = safetensors.torch.save({k: v.contiguous() for k, v in policy.state_dict().items()})
    card = card | {"sha256": hashlib.sha256(weights).hexdigest()}
    with replacing(folder) as fresh:
        (fresh / WEIGHTS).write_bytes(weights)
        (fresh / CARD).write_text(json.dumps(card, indent=2) + "\n")


def read_design(path: Path, task: str) -> Design:
    """Read one row of `experts`; raises `InputError` for what is missing, unknown or out of range."""
    rows = yaml.section(path, "experts")
    if task not in rows:
        check_task(task)
        raise InputError(f"{path}: experts.{task} is missing; add it to train this expert")
    try:
        design = TypeAdapter(Design).validate_python(rows[task])
    except ValidationError as error:
        raise InputError(f"{path}: {explain(error, Design, 'experts', task)}") from None
    replaced(PPOConfig(), design.ppo, f"{path}: experts.{task}.ppo")
    for name in ("final_log_std", "play_log_std"):
        if getattr(design, name) is not None and hasattr(envs.load(task), "ACTIONS"):
            raise InputError(
                f"{path}: experts.{task}.{name}: actions are discrete and have no std; write the row without it"
            )
    return design


def made_from(task: str, design: Design, device: str) -> dict[str, Any]:
    """Return all that decides the bytes of an expert; versions of packages are on its card, not counted."""
    module = envs.load(task)
    facts = {"task": task, "design": asdict(design), "ppo": asdict(design.config(task)), "device": device}
    made_of = {
        "code": code.checksums(__name__, module.__name__),
        "data": {file.name: checksum(file) for file in envs.model_files(module)},
    }
    return plain(facts | made_of)


def entries(root: Path) -> list[Entry]:
    """Return the store's entries of the experts that a project's data/params.yaml asks for, on either device."""
    params = root / "data" / "params.yaml"
    if not params.exists():
        return []
    return [
        Entry(location(root), f"{task}/{ROW}", made_from(task, read_design(params, task), device))
        for task in yaml.section(params, "experts")
        for device in devices.ENGINES
    ]


def compute(entry: Entry, task: str, design: Design, device: str) -> None:
    """Train, measure and write an expert into the store."""
    learners = dict(enumerate(design.seeds))
    # A process for each, since they are few and train for long; all at once on a GPU.
    groups = [{place: seed} for place, seed in learners.items()] if device == "cpu" else [learners]
    workers = min(len(groups), default_threads())
    jobs = [
        Job(task, design, group, entry.checkpoints / f"{device}-{k}", default_threads() // workers, device)
        for k, group in enumerate(groups)
    ]
    title = f"expert {task} on {devices.describe(device)}"
    from torch import _dynamo  # noqa: F401 - any optimiser does: once here, or for seconds in each of the processes

    with Team(train, jobs, workers) as team, Ticker(title, design.env_steps, design.seeds) as ticker:
        best = best_of(team.outcomes(ticker.advance))
    policy = Policy.from_tensors(safetensors.torch.load(best.weights))
    save(entry.result, policy, describe(task, design, best, policy, device))
    entry.finish(origin(device))


def make(task: str, params: Path, out: Path, wanted: str) -> None:
    """Make one expert, unless the store has it, and put it into `out`; `wanted` is the device: auto, cpu or cuda."""
    torch.set_num_threads(1)  # see threefold.base.workers
    check_task(task)
    design, device = read_design(params, task), devices.choose(wanted)
    if found := misfit(design.config(task), design.parallel_episodes):
        raise InputError(f"{params}: experts.{task}.ppo.{found[0]}: {found[1]}")
    refuse_strangers(out, (WEIGHTS, CARD), f"the expert of {task}")
    check_writable(out.parent)
    inputs = made_from(task, design, device)
    code.refuse_edits_since_start(inputs["code"])
    entry = Entry(location(params.resolve().parents[1]), f"{task}/{ROW}", inputs)
    with entry.locked():
        if not entry.finished():
            compute(entry, task, design, device)
        code.forget()
        if edited := differences(inputs, made_from(task, design, device)):
            raise InputError(f"{edited[0]}: changed while the expert of {task} was computed; start it again")
        entry.deliver(out)
    card = load(task, out)[1]
    if not card["reached"]:
        inform(f"note: {task}: short of its bars: {below(card)}")
