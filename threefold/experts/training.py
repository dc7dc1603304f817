"""The training of an expert: PPO on the true reward, and a choice among its policies on held-out episodes."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import safetensors.torch
import torch
from pydantic import ConfigDict, Field

import envs
from algorithms.core.policy import GaussianPolicy, Policy
from algorithms.core.population import Generators, finite
from algorithms.core.ppo import PPO, PPOConfig
from envs.device import ENGINES
from envs.episodes import play
from envs.monitor import Monitor
from threefold.base.steps import Step
from threefold.base.strict import Count, Real, Seed
from threefold.profile.constants import replaced
from threefold.store.checkpoints import Checkpoints

HELD_OUT_SEEDS = 10_000  # of the episodes that choose the policy, apart from those of training
FINAL_RATE = 0.1  # of the first learning rate, reached linearly


@dataclass(frozen=True)
class Design:
    """How one task's expert is made; a row of `experts` in data/params.yaml."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    seeds: Annotated[list[Seed], Field(min_length=1)]
    env_steps: Count  # per seed
    parallel_episodes: Count  # per seed
    required_return: Real  # deterministic mean that the card must reach,
    ppo: dict[str, Any]  # constants of PPO that differ from `PPOConfig` and from the task's preset
    required_score: Real = 0.95  # of the stochastic play, between random actions (0) and the deterministic play (1),
    allowed_falls: Real = 0.02  # share of the episodes of either play that the task may end,
    allowed_spread: Real | None = None  # std of the deterministic return over its mean
    final_log_std: Real | None = None  # the bound on log std in training falls linearly from `ppo.log_std` to it
    play_log_std: Real | None = None  # the bound with which a policy is compared and kept
    contests: Count = 20  # times during training that the policies are compared
    held_out: Count = 20  # episodes that choose the policy, the same ones each time
    steady: bool = False  # they choose the most reliable policy, not the best mean action

    def config(self, task: str) -> PPOConfig:
        """Return all constants of PPO; raises `InputError` for one that it does not have or allow."""
        preset = envs.preset(task).items()
        ours = {name.removeprefix("ppo."): value for name, value in preset if name.startswith("ppo.")}
        return replaced(PPOConfig(), ours | self.ppo, "ppo")


@dataclass(frozen=True)
class Job:
    """Learners to train, together."""

    task: str
    design: Design
    learners: dict[int, int]  # place among all of them: seed
    checkpoints: Path
    threads: int  # of the native engine
    device: str


class Best(NamedTuple):
    """The best policy so far."""

    value: float  # on the held-out episodes, by which policies are compared
    weights: bytes  # a population of one, as safetensors
    seed: int
    env_steps: int  # that it had had


def train(job: Job, watch: Callable[[Step], None]) -> Best:
    """Train on the job's device, from the last checkpoint on, and return the best policy.

    Policies are compared on the native engine, whichever trains.
    """
    design, seeds, places = job.design, list(job.learners.values()), list(job.learners)
    config = design.config(job.task)
    env = Monitor(envs.make(job.task, seeds, design.parallel_episodes, ENGINES[job.device], job.device, job.threads))
    ppo = PPO(env, seeds, config)
    per_iteration = config.steps * design.parallel_episodes
    iterations = -(-design.env_steps // per_iteration)
    between = max(1, iterations // design.contests)
    checkpoints = Checkpoints(job.checkpoints, f"{job.task}/expert")
    best, done = Best(-float("inf"), weights(ppo.policy, 0), seeds[0], 0), 0
    if saved := checkpoints.restore({"ppo": ppo.state, "env": env}):
        tensors = safetensors.torch.save(saved["best"]["weights"])
        best, done = Best(**saved["best"] | {"weights": tensors}), saved["iteration"]
        watch(Step(done * per_iteration, learners=len(seeds), resumed=True))
    for iteration in range(done, iterations):
        ppo.optimizer.param_groups[0]["lr"] = config.rate * (1 - (1 - FINAL_RATE) * iteration / iterations)
        experience = ppo.collect()
        ppo.improve(lambda _: env.take_rewards().transpose(0, 1).float(), experience)
        if design.final_log_std is not None:
            share = (iteration + 1) / iterations
            bound_log_std(ppo.policy, config.log_std + (design.final_log_std - config.log_std) * share)
        ended = [(places[learner], total, length) for learner, total, length in env.take_episodes()]
        watch(Step(experience.steps, ended, learners=len(seeds)))
        iteration += 1
        if iteration % between == 0 or iteration == iterations:
            best = best_of([best, compare(job, ppo.policy, iteration * per_iteration)])
        checkpoints.offer(iteration, partial(state, ppo, env, best, iteration))
    return best


@torch.no_grad()
def bound_log_std(policies: Policy, bound: float) -> None:
    """Let no action's log std be above the bound; one below it stays free."""
    assert isinstance(policies, GaussianPolicy), "discrete actions have no std"
    policies.log_std.clamp_(max=bound)


def compare(job: Job, policies: Policy, env_steps: int) -> Best:
    """Return the best of a population on the held-out episodes; one that has diverged is the worst.

    They are compared and kept with the std that `play_log_std` allows; those in training keep theirs. The value is the
    mean return of the mean action. With `steady` it is mean minus std, and the smaller one of the deterministic and the
    stochastic play: a mean hardly shows that one episode in fifty fails.
    """
    design, seeds, policies = job.design, list(job.learners.values()), deepcopy(policies.on_cpu())
    if design.play_log_std is not None:
        bound_log_std(policies, design.play_log_std)
    episodes, start_seeds = design.held_out, [HELD_OUT_SEEDS + seed for seed in seeds]
    env = envs.make(job.task, start_seeds, episodes, threads=job.threads)
    returns = play(env, policies).episode_return
    value = returns.mean(1)
    if design.steady:
        noise = Generators(start_seeds, "contest")  # the name decides the numbers
        drawn = play(env, lambda obs: policies.act(obs, noise.normal(episodes, env.action_size))).episode_return
        value = torch.minimum(value - returns.std(1), drawn.mean(1) - drawn.std(1))
    value = value.masked_fill(~finite(policies), -float("inf"))  # its actions, not finite, act as 0
    best = int(value.argmax())
    return Best(float(value[best]), weights(policies, best), seeds[best], env_steps)


def best_of(found: list[Best]) -> Best:
    """Return the best of several groups' best; of equals, the first."""
    return max(found, key=lambda best: best.value)


def weights(policies: Policy, learner: int) -> bytes:
    """Return one learner's policy, as a population of one."""
    return safetensors.torch.save(
        {k: v.contiguous() for k, v in policies.on_cpu().select(learner).state_dict().items()}
    )


def state(ppo: PPO, env: Monitor, best: Best, iteration: int) -> dict[str, Any]:
    """Return all that the rest of a training depends on."""
    kept = best._asdict() | {"weights": safetensors.torch.load(best.weights)}
    return {"ppo": ppo.state.state_dict(), "env": env.state_dict(), "best": kept, "iteration": iteration}
