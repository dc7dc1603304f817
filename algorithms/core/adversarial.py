"""Algorithm 1, common to every adversarial method: fit a reward to tell expert from policy, then improve the policy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from algorithms.core.absorbing import MEASURES, Batch, share_of_episodes, share_of_steps, with_end
from algorithms.core.constants import PositiveFloat
from algorithms.core.experience import Demonstrations, Experience, Samples, Transitions
from algorithms.core.policy import Policy
from algorithms.core.population import Generators, adam, descend, finite
from algorithms.core.ppo import PPO, Env, PPOConfig
from algorithms.core.progress import Progress
from algorithms.core.state import State
from algorithms.core.trajectories import Recent, Window
from algorithms.core.trpo import TRPO, TRPOConfig
from threefold.base.errors import InputError


@dataclass(frozen=True)
class LoopConfig:
    """Constants of the outer loop that all adversarial methods share."""

    reward_steps: int = 10  # steps on the reward per iteration
    reward_rate: PositiveFloat = 3e-4  # of its Adam
    recent: int = 1  # the policy's samples are those of this many last rollouts
    absorbing: bool = False  # extend terminated episodes by an absorbing state: for rewards of free sign
    absorbing_share: str = "discounted"  # its occupancy; "counted", an ablation, weighs late ends like early ones
    trajectories: bool = False  # the loss draws whole ones: keep the policies of the recent rollouts too
    inner: Literal["ppo", "trpo"] = "ppo"  # what improves the policy; what both have in common are constants of ppo
    trpo: TRPOConfig = TRPOConfig()

    def __post_init__(self) -> None:
        """Raise `InputError` for an unknown measure."""
        if self.absorbing_share not in MEASURES:
            cure = f"write {' or '.join(MEASURES)}"
            raise InputError(f"loop.absorbing_share: no measure {self.absorbing_share!r}; {cure}")


class Config(Protocol):
    """What `imitate` reads of a method's own Config."""

    @property
    def loop(self) -> LoopConfig:
        """Constants of the outer loop."""

    @property
    def ppo(self) -> PPOConfig:
        """Constants of the inner loop."""


def imitate(
    Reward: Callable[[int, int, Generators, Any], nn.Module],  # noqa: N803 - a class
    loss: Callable[[Any, Samples, Samples, Any], Tensor],
    reward: Callable[[Any, Batch, Any], Tensor],
    env: Env,
    demonstrations: Demonstrations,
    seeds: Sequence[int],
    config: Config,
) -> Iterator[Progress]:
    """Train a population of imitators, without end: the caller stops.

    A method gives `Reward(obs_size, action_size, generators, config)`, the model being learned;
    `loss(model, expert, policy, config) -> [P]`; and `reward(model, batch, config) -> [P, N]`, which the inner loop
    maximises; another shape is an `InputError`. Both see observations standardised by the policy's running statistics,
    started from the expert's, and actions in units of half their range. A Reward may leave `[P]` tensors in its dict
    `diagnostics`: they become metrics. One without parameters has its loss called once an iteration, to solve for its
    buffers; one may also have a method `prepare(expert, policy, config)`, called before the steps of each iteration.
    Both run without gradients.
    """
    device = env.obs.device
    loop = config.loop
    inner = TRPO(env, seeds, config.ppo, loop.trpo) if loop.inner == "trpo" else PPO(env, seeds, config.ppo)
    model = Reward(env.obs_size, env.action_size, Generators(seeds, "reward weights", device), config)
    prepare = getattr(model, "prepare", None)
    parameters = list(model.parameters())
    optimizer = adam(parameters, loop.reward_rate) if parameters else None
    expert_draws, policy_draws = (Generators(seeds, f"{source} samples", device) for source in ("expert", "policy"))
    _start_statistics(inner.policy, demonstrations)
    recent = (Window if loop.trajectories else Recent)(loop.recent, demonstrations)
    state = State(
        inner=inner.state,
        reward=model,
        optimizer=optimizer,
        draws=[expert_draws, policy_draws],
        recent=recent,
        iteration=0,
        env_steps=0,
    )
    while True:
        experience = inner.collect()
        recent.append(experience, inner.policy)
        expert = expert_samples(inner.policy, demonstrations, expert_draws, config)
        policy = policy_samples(inner.policy, recent.rollouts, policy_draws, config)
        if isinstance(recent, Window):
            _add_trajectories(recent, expert, policy, inner.policy, env.horizon if loop.absorbing else None)
        if prepare:
            with torch.no_grad():
                prepare(expert, policy, config)
        for _ in range(loop.reward_steps if optimizer else 1):
            with torch.set_grad_enabled(optimizer is not None):
                value = _shaped(loss(model, expert, policy, config), "[P]", [env.P], loss)
            if optimizer:
                descend(optimizer, value)
        metrics = inner.improve(lambda e: episode_reward(model, inner.policy, reward, e, config), experience)
        state.iteration, state.env_steps = state.iteration + 1, state.env_steps + experience.steps
        yield Progress(
            state.iteration,
            state.env_steps,
            inner.policy,
            {"reward_loss": value.detach(), **metrics, **_diagnostics(model, env.P)},
            {"reward loss": value.isfinite(), "policy": finite(inner.policy, inner.value)}
            | ({"reward": finite(model)} if parameters else {}),
            {"reward": model},
            state,
        )


@torch.no_grad()
def episode_reward(
    model: nn.Module,
    policy: Policy,
    reward: Callable[[Any, Batch, Any], Tensor],
    experience: Experience,
    config: Config,
) -> Tensor:
    """Return the learnt reward of every step, `[P, T, E]`.

    With absorbing states a terminal step also earns what follows it, and the mean over the rollout is taken off every
    step, absorbing ones too. All episodes then being endless, that changes no policy's rank: it is a constant, which
    may be large beside what differs between steps, that the value function need not learn and relearn.
    """
    batch = _standardised(policy, experience.transitions())
    value = _shaped(reward(model, batch, config), "[P, N]", [*batch.terminal.shape], reward)
    if config.loop.absorbing:
        end, level = reward(model, batch.end(), config), value.mean(1, keepdim=True)
        value = with_end(value - level, batch.terminal, end - level, config.ppo.discount)
    return value.view_as(experience.terminal)


def _shaped(value: Any, axes: str, shape: list[int], function: Callable[..., Any], of: str = "") -> Tensor:
    """Return what a method's function gave; InputError, naming it, for another shape than the population axis needs."""
    if isinstance(value, Tensor) and [*value.shape] == shape:
        return value
    name = f"{getattr(function, '__module__', 'the method')}.{getattr(function, '__name__', 'function')}{of}"
    found = f"of shape {[*value.shape]}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise InputError(f"{name}: is {found}; a tensor {axes} is needed, here {shape}, whose first axis is the learners")


def _diagnostics(model: nn.Module, learners: int) -> dict[str, Tensor]:
    found = getattr(model, "diagnostics", {})
    return {name: _shaped(x, "[P]", [learners], type(model), f".diagnostics[{name!r}]") for name, x in found.items()}


@torch.no_grad()
def expert_samples(policy: Policy, demonstrations: Demonstrations, generators: Generators, config: Config) -> Samples:
    """Return the expert's transitions as the losses see them, with `log_prob` under the current policy."""
    d = demonstrations
    pool = Transitions(*(x.expand(len(generators), *x.shape) for x in (d.obs, d.action, d.next_obs, d.terminal)))
    share = share_of_episodes(d.lengths, d.ended, d.used, config.ppo.discount, config.loop.absorbing_share)
    share = share * config.loop.absorbing
    return Samples(pool, d.size, share, generators, partial(_standardised, policy), policy.actions())


@torch.no_grad()
def policy_samples(policy: Policy, recent: Sequence[Experience], generators: Generators, config: Config) -> Samples:
    """Return the transitions of the recent rollouts as the losses see them."""
    columns = zip(*(experience.transitions() for experience in recent), strict=True)
    rows = Transitions(*(torch.cat(column, 1) for column in columns))
    time = torch.cat([experience.elapsed.flatten(1) for experience in recent], 1)
    size = torch.full_like(time[:, 0], time.shape[1])
    share = share_of_steps(time, rows.terminal, config.ppo.discount, config.loop.absorbing_share)
    share = share * config.loop.absorbing
    return Samples(rows, size, share, generators, partial(_standardised, policy), policy.actions())


def _add_trajectories(window: Window, expert: Samples, policy: Samples, acting: Policy, horizon: int | None) -> None:
    for samples, episodes in ((expert, window.expert()), (policy, window.policy())):
        samples.whole = partial(episodes.draw, standardise=partial(_standardised, acting), horizon=horizon)


@torch.no_grad()
def _standardised(policy: Policy, rows: Transitions) -> Batch:
    obs, action = policy.normalizer(rows.obs), rows.action / policy.action_scale
    terminal = rows.terminal.to(obs.dtype)
    log_prob, absorbing = policy.log_density(policy.head(obs), action), torch.zeros_like(terminal)
    return Batch(obs, action, policy.normalizer(rows.next_obs), terminal, log_prob, absorbing, policy.discrete)


def _start_statistics(policy: Policy, demonstrations: Demonstrations) -> None:
    obs = demonstrations.obs[: demonstrations.rows].expand(len(demonstrations.counts), -1, -1)
    used = torch.arange(demonstrations.rows, device=obs.device) < demonstrations.size[:, None]
    policy.normalizer.update(obs, used)
