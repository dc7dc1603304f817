"""Model-based generative adversarial imitation learning (Baram, Anschel, Caspi & Mannor 2017, arXiv 1612.02179).

Algorithm 1. Repeat:
    act with the policy pi and keep (s, a, s');
    fit the forward model f to what was kept:  f(s, a) = s'
    step the discriminator D on logistic regression of expert against policy;
    step the policy up  J = E sum_t gamma^t r(s_t, a_t),  s' = f(s, a),  a = mu(s) + sigma xi,  at fixed xi.

The gradient of J is that of the recursion, from the last step back, with J' = 0 after it:
    J_s     = r_s + r_a mu_s + gamma J'_s' (f_s + f_a mu_s)
    J_theta = r_a mu_theta   + gamma (J'_s' f_a mu_theta + J'_theta)
GAIL estimates the terms with r_a by likelihood ratios and has none with r_s.
As in the authors' code the value of s' is the real one and only its derivative is the model's: s' = f(s, a) + nu, with
the residual nu held fixed. Here no env is stepped for it: segments of the last rollouts are replayed.

Sign: the paper labels the policy 1. Here the logit l is high for the expert, and so
    loss   = E_expert softplus(-l) + E_pi softplus(l)
    reward = log sigmoid(l) = -softplus(-l) < 0, as in the authors' code.
Terminal states: a segment ends with its episode. That the task ends there has no derivative, so the reward's sign
makes nobody seek or shun it: a fall is felt through r_s alone.

Departures from the paper and its code, of which only a part was at hand:
- Episodes begin where the task begins them; the code sets the simulator to the expert's states.
- The demonstrations are those of every method here; the code has all steps of trajectories sorted by their return.
- 64-64 tanh networks without dropout instead of 100-50 and 200-100 ReLU.
- f adds to the state what a perceptron says; the authors' gated network is a variant.
- A gradient penalty (Gulrajani et al. 2017) keeps the discriminator smooth: its slope is what the policy follows.
- D and f learn from the last 5 rollouts; the code's buffer has 50,000 steps, and nothing leaves it before that.
- Both and the policy step in every iteration; the code prepares D and f for 1,000 iterations, then D and the policy
  alternate in blocks of 100, with 0.8 as the weight of the expert's half of D's loss.
- A step of the policy is on 32 segments, its gradient's norm clipped; the code averages 7, clipped to 2 by element.
- No cloning of the expert beforehand, which one of the authors' two codes has, and no discrete actions.
- Every env step is counted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from algorithms.core.adversarial import Config as ImitationConfig
from algorithms.core.adversarial import LoopConfig, expert_samples, policy_samples
from algorithms.core.constants import NonNegativeFloat, PositiveFloat
from algorithms.core.discriminator import Discriminator
from algorithms.core.experience import Demonstrations, Samples
from algorithms.core.forward import DifferenceModel, GatedModel
from algorithms.core.generator import alive
from algorithms.core.pathwise import Pathwise, PathwiseConfig, held
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators, adam, descend, finite
from algorithms.core.ppo import Env
from algorithms.core.progress import Progress
from algorithms.core.segments import Segments, Step, replay
from algorithms.core.state import State
from algorithms.core.trajectories import Recent


@dataclass(frozen=True)
class Config:
    """Constants of MGAIL. Sources: the authors' code, or a departure above."""

    hidden: tuple[int, ...] = (64, 64)  # of D; departure
    batch: int = 256  # samples of each source a step, and of f's; authors' code: 70
    gradient_penalty: NonNegativeFloat = 1.0  # departure
    noise: PositiveFloat = 1 / 6  # std of the policy, in that of the expert's actions; authors' code
    gated: bool = False  # f is s plus what a perceptron adds to it; true, an ablation: the authors' gated network
    width: int = 64  # of f; departure
    preparation: int = 200  # steps on f, and on D, before the first on the policy; authors' code: 1,000
    model_steps: int = 10  # on f per iteration
    model_rate: PositiveFloat = 1e-3  # of its Adam; authors' code: 1e-4
    state_gradient: bool = True  # false, an ablation: the derivatives of f are 0
    residual: bool = True  # false, an ablation: states are those that f predicts
    loop: LoopConfig = LoopConfig(reward_steps=20, reward_rate=1e-3, recent=5)  # recent: chosen on Hopper
    ppo: PathwiseConfig = PathwiseConfig()


def loss(model: Discriminator, expert: Samples, policy: Samples, config: Config) -> Tensor:
    """Return `[P]`: the discriminator's logistic loss plus the gradient penalty."""
    x, y = expert.transitions(config.batch).inputs(), policy.transitions(config.batch).inputs()
    on_expert, on_policy = model(torch.cat([x, y], 1)).split(config.batch, 1)
    model.diagnostics = {"expert_logit": on_expert.detach().mean(1), "policy_logit": on_policy.detach().mean(1)}
    penalty = model.gradient_penalty(x, y)
    return softplus(-on_expert).mean(1) + softplus(on_policy).mean(1) + config.gradient_penalty * penalty


def model_loss(forward: Step, policy: Samples, config: Config) -> Tensor:
    """Return `[P]`: the mean squared error of the next observation, in standard units."""
    batch = policy.transitions(config.batch)
    return (forward(batch.obs, batch.action) - batch.next_obs).square().mean((1, 2))


def objective(
    policy: GaussianPolicy, forward: Step, logit: Callable[[Tensor], Tensor], segments: Segments, config: Config
) -> Tensor:
    """Return J `[P]`, the mean over segments `[P, n, L]` of the discounted sum of rewards."""

    def value(obs: Tensor, action: Tensor) -> Tensor:
        return forward(obs, action).detach()

    step = forward if config.state_gradient else value
    obs, action = replay(segments, policy.mean, step, config.residual)
    reward = logsigmoid(logit(alive(obs, action).flatten(1, 2))).view_as(segments.weight)
    time = torch.arange(reward.shape[2], dtype=reward.dtype, device=reward.device)
    return (config.ppo.discount**time * segments.weight * reward).sum(2).mean(1)


def train(env: Env, demonstrations: Demonstrations, seeds: Sequence[int], config: Config) -> Iterator[Progress]:
    """Train a population of imitators, without end: the caller stops."""
    device = env.obs.device
    inner = Pathwise(env, demonstrations, seeds, config.noise, config.ppo)
    policy = inner.policy
    model = Discriminator(env.obs_size, env.action_size, Generators(seeds, "reward weights", device), config)
    kind, weights = (GatedModel if config.gated else DifferenceModel), Generators(seeds, "model weights", device)
    low, high = env.action_low / policy.action_scale, env.action_high / policy.action_scale
    forward = kind(env.obs_size, low, high, config.width, weights)
    optimizers = adam(model.parameters(), config.loop.reward_rate), adam(forward.parameters(), config.model_rate)
    expert_draws, policy_draws = (Generators(seeds, f"{source} samples", device) for source in ("expert", "policy"))
    recent = Recent(config.loop.recent, demonstrations)
    sampling = cast(ImitationConfig, config)  # of PPO's constants it reads the discount alone
    state = State(
        inner=inner.state,
        models=[model, forward],
        optimizers=list(optimizers),
        draws=[expert_draws, policy_draws],
        recent=recent,
        iteration=0,
        env_steps=0,
    )
    while True:
        experience = inner.collect()
        recent.append(experience, policy)
        expert = expert_samples(policy, demonstrations, expert_draws, sampling)
        seen = policy_samples(policy, recent.rollouts, policy_draws, sampling)
        for _ in range(config.model_steps if state.iteration else config.preparation):
            error = model_loss(forward, seen, config)
            descend(optimizers[1], error)
        for _ in range(config.loop.reward_steps if state.iteration else config.preparation):
            value = loss(model, expert, seen, config)
            descend(optimizers[0], value)
        with held(model, forward):
            gain = inner.improve(lambda s: objective(policy, forward, model, s, config), recent.rollouts)
        state.iteration, state.env_steps = state.iteration + 1, state.env_steps + experience.steps
        yield Progress(
            state.iteration,
            state.env_steps,
            policy,
            {"reward_loss": value.detach(), "model_error": error.detach(), "objective": gain, **model.diagnostics},
            {"reward loss": value.isfinite(), "policy": finite(policy)}
            | {"reward": finite(model), "model": finite(forward)},
            {"reward": model, "model": forward},
            state,
        )
