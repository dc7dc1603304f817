"""Experts: the inner loop of every method, run on the true reward.

`python -m data.experts --task Hopper-v5 --params data/params.yaml` trains a population of seeds, keeps the policy that
does best on held-out episodes and writes `data/experts/<task>/policy.safetensors` with a card of what it is worth.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import yaml
from safetensors import SafetensorError

import envs
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators
from algorithms.core.ppo import PPO, PPOConfig
from envs import device as devices
from envs.episodes import Episodes, play
from envs.monitor import Monitor
from errors import InputError, one_line
from files import replacing
from progress import Ticker

HELD_OUT = 20  # episodes that choose the policy; the card's are others
CARD_EPISODES = 50
CHOICES = 20  # times during training that the policies compete
FINAL_RATE = 0.1  # of the first learning rate, reached linearly


@dataclass(frozen=True)
class Design:
    """How one task's expert is made; a row of `experts` in data/params.yaml."""

    seeds: list[int]
    env_steps: int  # per seed
    episodes: int  # in parallel, per seed
    required_return: float  # deterministic mean that the card must reach
    ppo: dict[str, Any]  # constants of PPO that differ from `PPOConfig`


def train(task: str, design: Design, device: str = "cpu") -> tuple[GaussianPolicy, int, int]:
    """Return the best policy of the population on held-out episodes, its seed, and the steps it had had.

    It trains on `device` with the engine that belongs to it; the held-out episodes are the native engine's.
    """
    config = replace(PPOConfig(), **design.ppo)
    env = Monitor(envs.make(task, design.seeds, design.episodes, devices.ENGINES[device], device))
    ppo = PPO(env, design.seeds, config)
    arena = envs.make(task, [10_000 + seed for seed in design.seeds], HELD_OUT)
    iterations = -(-design.env_steps // (config.steps * design.episodes))
    best, champion = -float("inf"), (ppo.policy.on_cpu().select(0), design.seeds[0], 0)
    with Ticker(f"expert {task}", iterations * config.steps * design.episodes, design.seeds) as ticker:
        for iteration in range(iterations):
            rate = config.rate * (1 - (1 - FINAL_RATE) * iteration / iterations)
            ppo.optimizer.param_groups[0]["lr"] = rate
            experience = ppo.collect()
            ppo.improve(lambda _: env.take_rewards().transpose(0, 1).float(), experience)
            ticker.advance(experience.steps, env.take_episodes())
            if (iteration + 1) % max(1, iterations // CHOICES) == 0 or iteration + 1 == iterations:
                policy = ppo.policy.on_cpu()
                returns = play(arena, deterministic(policy)).episode_return.mean(1)
                learner = int(returns.nan_to_num(-float("inf")).argmax())
                if returns[learner] > best:
                    steps = (iteration + 1) * experience.steps
                    best, champion = float(returns[learner]), (policy.select(learner), design.seeds[learner], steps)
    return champion


def deterministic(policy: GaussianPolicy) -> Any:
    """Return `act(obs [P, E, O])` that plays the mean action."""
    return lambda obs: policy(obs)


def stochastic(policy: GaussianPolicy, seed: int) -> Any:
    """Return `act(obs [P, E, O])` that draws actions from one generator per learner."""
    generators = Generators([seed] * policy.log_std.shape[0], "evaluation", policy.log_std.device)
    return lambda obs: policy.act(obs, generators.normal(*obs.shape[1:-1], policy.action_scale.numel()))


def uniform(env: envs.BatchEnv, seed: int) -> Any:
    """Return `act(obs [P, E, O])` that draws actions uniformly from the action space: the `random` reference."""
    generators = Generators([seed] * env.P, "evaluation", env.obs.device)
    low, high = env.action_low, env.action_high
    return lambda obs: low + (high - low) * generators.uniform(env.E, env.action_size)


def measure(policy: GaussianPolicy, task: str, seed: int = 90_000) -> dict[str, dict[str, float]]:
    """Return the returns of the deterministic and the stochastic expert and of random actions, 50 episodes each."""
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


def save(folder: Path, policy: GaussianPolicy, card: dict[str, Any]) -> None:
    """Write weights and card together, or nothing."""
    weights = safetensors.torch.save({k: v.contiguous() for k, v in policy.state_dict().items()})
    card = card | {"sha256": hashlib.sha256(weights).hexdigest()}
    with replacing(folder) as fresh:
        (fresh / "policy.safetensors").write_bytes(weights)
        (fresh / "card.json").write_text(json.dumps(card, indent=2) + "\n")


def load(task: str, folder: Path) -> tuple[GaussianPolicy, dict[str, Any]]:
    """Return the expert of a task as a population of one, and its card.

    Raises `InputError` when the folder, the card or the weights are missing, altered or of another task.
    """
    remake = f"remake it with: python -m data.experts --task {task}"
    try:
        card = json.loads((folder / "card.json").read_text())
        weights = (folder / "policy.safetensors").read_bytes()
    except FileNotFoundError as error:
        raise InputError(f"{error.filename}: the expert of {task} is missing; {remake}") from None
    except json.JSONDecodeError:
        raise InputError(f"{folder / 'card.json'}: not valid JSON; {remake}") from None
    if card.get("task") != task:
        raise InputError(f"{folder / 'card.json'}: task is {card.get('task')!r}, expected {task!r}; {remake}")
    if hashlib.sha256(weights).hexdigest() != card.get("sha256"):
        raise InputError(f"{folder / 'policy.safetensors'}: sha256 differs from the card's (altered or cut); {remake}")
    try:
        return GaussianPolicy.from_tensors(safetensors.torch.load(weights)), card
    except (IndexError, KeyError, RuntimeError, SafetensorError, TypeError, ValueError):
        raise InputError(f"{folder / 'policy.safetensors'}: no policy's weights; {remake}") from None


def read_design(path: Path, task: str) -> Design:
    """Read one row of `experts`; raises `InputError` for what is missing or unknown."""
    rows = yaml.safe_load(path.read_text())["experts"]
    if task not in rows:
        envs.load(task)
        raise InputError(f"{path}: experts.{task} is missing; add it to train this expert")
    try:
        return Design(**rows[task])
    except TypeError as error:
        raise InputError(f"{path}: experts.{task}: {error}") from None


def main() -> None:
    """Train, measure and write one expert."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--params", type=Path, default=Path("data/params.yaml"))
    parser.add_argument("--out", type=Path, help="default: data/experts/<task>")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="cpu", help="of training (default: cpu)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    design = read_design(arguments.params, arguments.task)
    device = devices.choose(arguments.device)
    print(f"expert {arguments.task}: on {devices.describe(device)}", file=sys.stderr)
    policy, seed, env_steps = train(arguments.task, design, device)
    card = {
        "task": arguments.task,
        **measure(policy, arguments.task),
        "required_return": design.required_return,
        "seed": seed,
        "env_steps": env_steps,
        "design": asdict(design),
        "ppo": asdict(replace(PPOConfig(), **design.ppo)),
        "versions": devices.versions(devices.ENGINES[device]),
        "command": f"python -m data.experts --task {arguments.task}",
    }
    reached = card["return_deterministic"]["mean"]
    card["reached"] = reached >= design.required_return
    save(arguments.out or Path("data/experts") / arguments.task, policy, card)
    if not card["reached"]:
        print(f"note: {arguments.task}: {reached:.1f} is below the bar {design.required_return}", file=sys.stderr)


if __name__ == "__main__":
    with one_line():
        main()
