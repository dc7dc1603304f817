"""The loop of all adversarial methods, with absorbing states on a chain where every value is known."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor, nn
from torch.distributions import Normal

from algorithms.core import adversarial
from algorithms.core.adversarial import (
    LoopConfig,
    episode_reward,
    expert_samples,
    imitate,
    policy_samples,
)
from algorithms.core.discriminator import Discriminator
from algorithms.core.experience import Batch, Demonstrations, Experience, Samples
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators, mlp
from algorithms.core.ppo import PPO, PPOConfig, generalized_advantages
from tests.toy import Puck, demonstrations, linears
from threefold.base.errors import InputError

SEEDS = [3, 8]
DISCOUNT = 0.9
NEVER = 10**6


@dataclass(frozen=True)
class Config:
    loop: LoopConfig = LoopConfig(reward_steps=2, absorbing=True)
    ppo: PPOConfig = PPOConfig(hidden=(), steps=24, epochs=2, minibatches=2, discount=DISCOUNT)


PLAIN = Config(loop=LoopConfig(reward_steps=2))


class Chain:
    """States 0, 1, 2, 3, then the end, whatever one does. Episode e also has a time limit, `limits[e]`."""

    discrete = False

    def __init__(self, population: int, limits: Sequence[int]) -> None:
        self.P, self.E, self.horizon, self.obs_size, self.action_size = population, len(limits), NEVER, 4, 1
        self.action_low, self.action_high = torch.tensor([-1.0]), torch.tensor([1.0])
        self._limits, self._state = torch.tensor(limits), torch.zeros(population, len(limits), dtype=torch.long)

    @property
    def obs(self) -> Tensor:
        return torch.eye(5)[self._state][..., :4]

    @property
    def elapsed(self) -> Tensor:
        return self._state

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self._state = self._state + 1
        next_obs, terminal, truncated = self.obs, self._state == 4, self._state >= self._limits
        self._state = self._state * ~(terminal | truncated)
        return next_obs, terminal, truncated


# Rewards of the states and of the absorbing one, a row a learner.
REWARD, ABSORBED = torch.tensor([[1.0, -2.0, 3.0, 0.5], [0.0, 1.0, -1.0, 2.0]]), torch.tensor([-0.7, 0.3])


def table(model: nn.Module, batch: Batch, config: Any) -> Tensor:
    """A learnt reward that has found `REWARD` and `ABSORBED`; it weighs the action with 0."""
    weight = torch.cat([REWARD, ABSORBED[:, None], torch.zeros(2, 1)], 1)
    return (batch.inputs() @ weight[..., None])[..., 0]


def untrained(obs_size: int = 4) -> GaussianPolicy:
    """Its normaliser has seen nothing: it changes nothing."""
    return GaussianPolicy(obs_size, torch.tensor([1.0]), (), Generators(SEEDS, "weights"))


def chain_rollout() -> Experience:
    """24 steps of three episodes: one ends by itself, one by a time limit after 2 steps, one by both at once."""
    return PPO(Chain(2, [NEVER, 2, 4]), SEEDS, Config().ppo).collect()


def chain_demonstrations(counts: Sequence[int]) -> Demonstrations:
    """Three trajectories, of 4, 3 and 4 steps, the second not terminated; every second pair is kept."""
    state = torch.tensor([0, 2, 1, 1, 3])
    obs, next_obs = torch.eye(5)[state][:, :4], torch.eye(5)[state + 1][:, :4]
    return Demonstrations(
        obs,
        torch.tensor([[0.3], [-0.2], [2.0], [0.0], [0.1]]),
        next_obs,
        state == 3,
        torch.tensor([0, 0, 1, 2, 2]),
        torch.tensor([4, 3, 4]),
        torch.tensor([True, False, True]),
        counts,
    )


def visits(batch: Batch) -> Tensor:
    """How often each learner drew the states 0..3 and the absorbing one, `[P, 5]`."""
    state = torch.where(batch.absorbing.bool(), 4, batch.obs.argmax(-1))
    return torch.stack([s.bincount(minlength=5) for s in state])


def fits(counts: Tensor, weights: Sequence[float]) -> bool:
    """Whether draws follow a distribution, by a chi-square test; what has no weight must not come."""
    weight = torch.tensor(weights).double()
    expected, possible = weight / weight.sum() * counts.sum(), weight > 0
    return not counts[~possible].any() and chisquare(counts[possible], expected[possible]).pvalue > 1e-3


# Absorbing states


@pytest.mark.parametrize("measure", ["discounted", "counted"])
def test_policy_samples_follow_the_occupancy(measure):
    """72 transitions, 24 in each of states 0 and 1 and 12 in 2 and 3, of which 12 are terminal."""
    e = chain_rollout()
    assert e.terminal.sum((1, 2)).tolist() == [12, 12]
    assert e.truncated.sum((1, 2)).tolist() == [18, 18]
    config = Config(LoopConfig(absorbing=True, absorbing_share=measure))
    drawn = policy_samples(untrained(), [e], Generators(SEEDS, "samples"), config).transitions(6000)
    if measure == "discounted":
        steps = sum(n * DISCOUNT**t for t, n in enumerate([24, 24, 12, 12]))
        absorbing = 72 / steps * 12 * sum(DISCOUNT**t for t in range(4, 500))
    else:
        absorbing = 12 * sum(DISCOUNT**k for k in range(1, 500))
    assert all(fits(counts, [24, 24, 12, 12, absorbing]) for counts in visits(drawn))
    assert torch.equal(drawn.terminal.bool(), (drawn.obs.argmax(-1) == 3) & ~drawn.absorbing.bool())


@pytest.mark.parametrize("measure", ["discounted", "counted"])
def test_expert_samples_follow_the_occupancy_of_whole_trajectories(measure):
    """The kept rows of a learner share what its whole trajectories leave to the absorbing state."""
    config = Config(LoopConfig(absorbing=True, absorbing_share=measure))
    samples = expert_samples(untrained(), chain_demonstrations([1, 3]), Generators(SEEDS, "samples"), config)
    if measure == "discounted":
        four, three_steps = (sum(DISCOUNT**t for t in range(n)) for n in (4, 3))
        end = sum(DISCOUNT**t for t in range(4, 500))
    else:
        four, three_steps, end = 4, 3, sum(DISCOUNT**k for k in range(1, 500))
    all_steps = 2 * four + three_steps
    one, three = visits(samples.transitions(6000))
    assert fits(one, [four / 2, 0, four / 2, 0, end])  # 2 rows, 1 terminal
    assert fits(three, [*(n * all_steps / 5 for n in (1, 2, 1, 1)), 2 * end])  # 5 rows, 2 terminals


def test_without_absorbing_states_there_are_none():
    drawn = [
        policy_samples(untrained(), [chain_rollout()], Generators(SEEDS, "samples"), PLAIN),
        expert_samples(untrained(), chain_demonstrations([1, 3]), Generators(SEEDS, "samples"), PLAIN),
    ]
    assert not any(samples.transitions(500).absorbing.any() for samples in drawn)
    plain = episode_reward(nn.Identity(), untrained(), table, chain_rollout(), PLAIN)
    torch.testing.assert_close(plain, torch.einsum("ps,ptes->pte", REWARD, chain_rollout().obs))


def level(p: int) -> Tensor:
    """A learner's mean reward in `chain_rollout`, whose 72 steps are 24 in each of states 0 and 1, 12 in 2 and 3."""
    return (REWARD[p] * torch.tensor([24, 24, 12, 12])).sum() / 72


def test_a_terminal_step_earns_what_the_absorbing_state_pays_for_ever():
    """All of it less the rollout's mean."""
    e = chain_rollout()
    earned = episode_reward(nn.Identity(), untrained(), table, e, Config())
    assert earned.shape == (2, 24, 3)
    for p in range(2):
        r, tail = REWARD[p] - level(p), DISCOUNT * (ABSORBED[p] - level(p)) / (1 - DISCOUNT)
        whole = torch.cat([r[:3], r[3:] + tail]).repeat(6)
        torch.testing.assert_close(earned[p, :, 0], whole)
        torch.testing.assert_close(earned[p, :, 1], r[:2].repeat(12))  # a time limit is no end
        torch.testing.assert_close(earned[p, :, 2], whole)  # both at once: an end


def test_returns_equal_the_infinite_sum():
    """Of a chain whose last state is never left, summed for 2,000 steps; taking off the mean shifts all alike."""
    e = chain_rollout()
    earned, zero = episode_reward(nn.Identity(), untrained(), table, e, Config()), torch.zeros(2, 24, 3)
    returns = generalized_advantages(earned, zero, zero, e.terminal, e.truncated, DISCOUNT, gae=1.0)
    for p in range(2):
        for state in range(4):
            stream = itertools.chain(REWARD[p, state:].tolist(), itertools.repeat(ABSORBED[p].item(), 2000))
            infinite = sum(DISCOUNT**k * r for k, r in enumerate(stream))
            closed = sum(DISCOUNT**k * r for k, r in enumerate(REWARD[p, state:].tolist()))
            closed += DISCOUNT ** (4 - state) * ABSORBED[p].item() / (1 - DISCOUNT)
            assert infinite == pytest.approx(closed)
            shifted = infinite - level(p).item() / (1 - DISCOUNT)
            for episode in (0, 2):
                torch.testing.assert_close(returns[p, state::4, episode], torch.full((6,), shifted))
        cut = REWARD[p, 0] + DISCOUNT * REWARD[p, 1] - level(p) * (1 + DISCOUNT)
        torch.testing.assert_close(returns[p, ::2, 1], cut.expand(12))


def test_samples_and_returns_weigh_the_absorbing_state_alike():
    """The share of absorbing samples is what an episode earns if each of them, and nothing else, pays 1 - gamma.

    The steps of the rollout earn nothing, so there is no mean to take off.
    """
    e = PPO(Chain(2, [NEVER]), SEEDS, Config().ppo).collect()
    earned = episode_reward(nn.Identity(), untrained(), lambda model, batch, config: batch.absorbing, e, Config())
    zero = torch.zeros(2, 24, 1)
    returns = generalized_advantages(earned, zero, zero, e.terminal, e.truncated, DISCOUNT, gae=1.0)
    samples = policy_samples(untrained(), [e], Generators(SEEDS, "samples"), Config())
    torch.testing.assert_close(samples.absorbing_share, (1 - DISCOUNT) * returns[:, 0, 0])


class Door:
    """One state; an action above 0 ends the episode, others go on for at most 10 steps."""

    discrete = False

    def __init__(self) -> None:
        self.P, self.E, self.horizon, self.obs_size, self.action_size = 2, 4, 10, 1, 1
        self.action_low, self.action_high = torch.tensor([-1.0]), torch.tensor([1.0])
        self.elapsed, self.obs = torch.zeros(2, 4, dtype=torch.long), torch.ones(2, 4, 1)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        elapsed = self.elapsed + 1
        terminal, truncated = action[..., 0] > 0, elapsed >= self.horizon
        self.elapsed = elapsed * ~(terminal | truncated)
        return self.obs, terminal, truncated


@pytest.mark.parametrize(("absorbing", "leaves"), [(True, False), (False, True)])
def test_absorbing_states_keep_a_negative_reward_from_teaching_to_die(absorbing, leaves):
    """-1 a step here and -2 in the absorbing state: staying is right, and leaving pays if the end is worth nothing."""
    x = torch.ones(3, 1)
    expert = Demonstrations(
        x, -x, x, torch.zeros(3).bool(), torch.zeros(3).long(), torch.tensor([3]), torch.tensor([False]), [1, 1]
    )
    config = Config(
        LoopConfig(reward_steps=1, absorbing=absorbing),
        PPOConfig(hidden=(), steps=32, epochs=4, minibatches=2, discount=DISCOUNT, rate=0.02),
    )
    training = imitate(Linear, still, lambda model, batch, config: -1 - batch.absorbing, Door(), expert, SEEDS, config)
    action = next(itertools.islice(training, 12, None)).policy(torch.ones(2, 1, 1))
    assert ((action > 0.3) if leaves else (action < -0.3)).all()


# The loop


class Linear(nn.Module):
    def __init__(self, obs_size: int, action_size: int, generators: Generators, config: Any) -> None:
        super().__init__()
        self.score = mlp(obs_size + 1 + action_size, (), 1, generators)
        self.diagnostics: dict[str, Tensor] = {}

    def forward(self, batch: Batch) -> Tensor:
        return self.score(batch.inputs())[..., 0]


def still(model: Linear, expert: Samples, policy: Samples, config: Any) -> Tensor:
    """A loss that teaches nothing."""
    return 0 * linears(model.score)[0].bias[:, 0, 0]


def gap(model: Linear, expert: Samples, policy: Samples, config: Any) -> Tensor:
    """The expert's transitions score more than the policy's."""
    value = model(policy.transitions(64)).mean(1) - model(expert.transitions(64)).mean(1)
    model.diagnostics = {"gap": -value.detach()}
    return value


def score(model: Linear, batch: Batch, config: Any) -> Tensor:
    return model(batch)


@pytest.fixture
def made(monkeypatch) -> list[PPO]:
    """The inner loops that `imitate` made."""
    loops: list[PPO] = []

    class Watched(PPO):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            loops.append(self)

    monkeypatch.setattr(adversarial, "PPO", Watched)
    return loops


def train(config: Config = PLAIN, loss: Callable = gap, reward: Callable = score, iterations: int = 3) -> list:
    """Progress of imitators of toy demonstrations, of the first learner from 1, of the second from 4."""
    training = imitate(Linear, loss, reward, Puck(SEEDS, 3), demonstrations([1, 4]), SEEDS, config)
    return list(itertools.islice(training, iterations))


def test_progress_counts_iterations_and_each_learners_steps(made):
    progress = train()
    assert [p.iteration for p in progress] == [1, 2, 3]
    assert [p.env_steps for p in progress] == [72, 144, 216]  # 24 steps of 3 episodes, whatever P is
    last = progress[-1]
    assert {name: m.shape for name, m in last.metrics.items()} == dict.fromkeys(last.metrics, (2,))
    assert {"reward_loss", "policy_entropy", "return_scale", "gap"} <= set(last.metrics)
    assert last.policy is made[0].policy
    assert isinstance(last.models["reward"], Linear)


def test_statistics_start_from_each_learners_own_demonstrations(made):
    pool, seen = demonstrations([1, 4]), []

    def loss(*args: Any) -> Tensor:
        normalizer = made[0].policy.normalizer
        seen.append((normalizer.count.clone(), normalizer.mean.clone(), normalizer.var.clone()))
        return gap(*args)

    train(loss=loss, iterations=1)
    count, mean, var = seen[0]
    assert count.flatten().tolist() == [9, 38]  # steps of the first one and of the first four
    for p, size in enumerate([9, 38]):
        own = pool.obs[:size].double()
        torch.testing.assert_close(mean[p, 0], own.mean(0))
        torch.testing.assert_close(var[p, 0], own.var(0, correction=0))


def test_losses_and_reward_see_standard_units_and_the_acting_policy(made):
    """The log_prob of the policy's own actions is the density of the noise they were made from, so nothing has changed
    since they were taken, the normaliser included; the expert's is that of its actions under the same policy."""
    noise, pool = Generators(SEEDS, "actions"), demonstrations([1, 4])
    in_loss: list[tuple[Batch, Batch]] = []
    in_reward: list[Batch] = []

    def loss(model: Linear, expert: Samples, policy: Samples, config: Any) -> Tensor:
        in_loss.append((expert.transitions(200), policy.transitions(500)))
        return gap(model, expert, policy, config)

    def reward(model: Linear, batch: Batch, config: Any) -> Tensor:
        policy = made[0].policy
        density = Normal(0, 1).log_prob(noise.normal(24, 3, 1)).sum(-1).flatten(1) - policy.log_std.sum(-1)
        torch.testing.assert_close(batch.log_prob, density, rtol=1e-4, atol=1e-4)
        expert, own = in_loss[-1]
        for p in range(2):
            apart = (own.log_prob[p] - batch.log_prob[p][:, None]).abs()
            assert apart.amin(0).max() < 1e-5  # 500 draws from 72
            rows = [pool.action[:, 0].tolist().index(2 * a) for a in expert.action[p, :, 0].tolist()]
            raw = pool.obs[rows].expand(2, -1, -1), pool.action[rows].expand(2, -1, -1)
            torch.testing.assert_close(expert.obs[p], policy.normalizer(raw[0])[p])
            torch.testing.assert_close(expert.log_prob[p], policy.log_prob(*raw)[p].detach())
            assert max(rows) < pool.size[p]
        in_reward.append(batch)
        return score(model, batch, config)

    train(loss=loss, reward=reward)
    assert len(in_reward) == 3


@pytest.mark.parametrize("recent", [1, 2])
def test_the_policys_samples_are_those_of_the_recent_rollouts(recent):
    seen: list[list[set[float]]] = []

    def loss(model: Linear, expert: Samples, policy: Samples, config: Any) -> Tensor:
        actions = policy.transitions(3000).action[..., 0]  # of 72 or 144 different ones
        seen.append([set(own.tolist()) for own in actions])
        return gap(model, expert, policy, config)

    train(Config(LoopConfig(reward_steps=1, recent=recent), PLAIN.ppo), loss, iterations=4)
    sizes = [[len(own) for own in learners] for learners in seen]
    assert sizes == [[72 * min(recent, i)] * 2 for i in (1, 2, 3, 4)]
    assert not seen[0][0] & seen[3][0]
    assert len(seen[2][0] & seen[3][0]) == 72 * (recent - 1)


def test_the_reward_takes_its_steps_before_the_policy_takes_its_own():
    losses: list[Tensor] = []

    def loss(*args: Any) -> Tensor:
        losses.append(gap(*args))
        return losses[-1]

    def reward(model: Linear, batch: Batch, config: Any) -> Tensor:
        assert len(losses) % 5 == 0
        return score(model, batch, config)

    progress = train(Config(LoopConfig(reward_steps=5, reward_rate=0.05), PLAIN.ppo), loss, reward, 2)
    assert len(losses) == 10
    assert (losses[4] < losses[0]).all()
    assert torch.equal(progress[-1].metrics["reward_loss"], losses[-1].detach())


def test_a_nan_loss_is_reported_of_its_learner():
    progress = train(loss=lambda *args: gap(*args) * torch.tensor([1.0, math.nan]), iterations=2)
    assert progress[0].finite["reward loss"].tolist() == [True, False]
    assert progress[0].finite["reward"].tolist() == [True, False]
    assert progress[1].finite["policy"].tolist() == [True, False]


def test_gradient_penalty_equals_autograd_sample_by_sample():
    model = Discriminator(1, 1, Generators(SEEDS, "weights"), SimpleNamespace(hidden=(6,)))
    a, b, mix = torch.randn(2, 5, 3), torch.randn(2, 5, 3), Generators(SEEDS, "penalty").uniform(5, 1)
    ours = model.gradient_penalty(a, b)
    expected = []
    for p in range(2):
        terms = []
        for i in range(5):
            x = (mix[p, i] * a[p, i] + (1 - mix[p, i]) * b[p, i]).requires_grad_()
            logit = model(torch.stack([x, x])[:, None])[p, 0]
            (slope,) = torch.autograd.grad(logit, x, create_graph=True)
            terms.append((slope.square().sum().sqrt() - 1) ** 2)
        expected.append(torch.stack(terms).mean())
    torch.testing.assert_close(ours, torch.stack(expected))
    weights = [layer.weight for layer in linears(model.logit)]
    gradients = [torch.autograd.grad(value.sum(), weights) for value in (ours, torch.stack(expected))]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
        assert one.abs().max() > 0


def of_shape(*shape: int) -> Callable[..., Tensor]:
    return lambda *arguments: torch.zeros(shape, requires_grad=True)


class Peculiar(nn.Module):
    """A model whose metrics are not one number for each learner."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__()
        self.weight, self.diagnostics = nn.Parameter(torch.zeros(2)), {"logit": torch.zeros(3)}


@pytest.mark.parametrize(
    ("Reward", "loss", "reward", "said"),
    [
        (nn.Identity, lambda *_: 0.5, of_shape(2, 72), "<lambda>: is a float; a tensor [P] is needed, here [2], whose"),
        (nn.Identity, of_shape(), of_shape(2, 72), "<lambda>: is of shape []; a tensor [P] is needed, here [2]"),
        (nn.Identity, of_shape(2), of_shape(2), "<lambda>: is of shape [2]; a tensor [P, N] is needed, here [2, 72]"),
        (Peculiar, of_shape(2), of_shape(2, 72), "Peculiar.diagnostics['logit']: is of shape [3]; a tensor [P]"),
    ],
)
def test_what_has_no_population_axis_is_one_line_that_names_the_function(Reward, loss, reward, said):  # noqa: N803
    """The laws' axis; without it two learners would be one."""
    training = imitate(Reward, loss, reward, Puck(SEEDS, 3), demonstrations([4, 6]), SEEDS, PLAIN)
    with pytest.raises(InputError) as refused:
        next(training)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)
