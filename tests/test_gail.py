"""GAIL: the loss and the reward against numbers worked out by hand, the signs, and that it learns."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import permutation_test
from torch import Tensor
from torch.distributions import Bernoulli
from torch.nn.functional import binary_cross_entropy_with_logits

import envs
from algorithms import gail
from algorithms.core.adversarial import LoopConfig
from algorithms.core.experience import Batch, Demonstrations, Samples
from algorithms.core.population import Generators, adam, descend
from algorithms.core.ppo import PPOConfig
from envs.monitor import Monitor
from tests.toy import gaussian, linears
from threefold.experts import demonstrations

SEEDS = [3, 8]
TASK = "InvertedPendulum-v5"
DATA = Path(__file__).parents[1] / "data" / "demonstrations" / TASK


PLAIN = gail.Config(hidden=(), batch=2, classifier_entropy_weight=0.0, gradient_penalty=0.0)


def batch(obs: Tensor) -> Batch:
    """`obs` `[P, N]` of one entry, every action 1."""
    nothing = torch.zeros_like(obs)
    x = obs[..., None]
    return Batch(x, torch.ones_like(x), x, nothing, nothing, nothing)


class Source(Samples):
    """Stands in for `Samples`: gives the same transitions at every call."""

    def __init__(self, *obs: Sequence[float]) -> None:
        self._batch = batch(torch.tensor(obs))

    def transitions(self, n: int) -> Batch:
        assert n == self._batch.obs.shape[1]
        return self._batch


def model(weight: Sequence[float], constants: gail.Config) -> gail.Discriminator:
    """Logit = weight[p] * obs + action, less 1: so it is weight[p] * obs."""
    made = gail.Discriminator(1, 1, Generators(SEEDS, "reward weights"), constants)
    linears(made.logit)[0].weight.data = torch.tensor([[w, 0.0, 1.0] for w in weight])[..., None]
    linears(made.logit)[0].bias.data.fill_(-1.0)
    return made


EXPERT, POLICY = Source([1.0, 2.0], [0.0, 0.0]), Source([-1.0, 0.0], [1.0, 3.0])
WEIGHT = [1.0, -2.0]  # so the logits are: expert (1, 2), policy (-1, 0); expert (0, 0), policy (-2, -6)
# softplus(-1) = log(1 + 1/e) = 0.313262; of -2: 0.126928; of 0: log 2 = 0.693147; of -6: 0.002476
CROSS_ENTROPY = [(0.313262 + 0.126928) / 2 + (0.313262 + 0.693147) / 2, 0.693147 + (0.126928 + 0.002476) / 2]


def test_the_loss_is_the_cross_entropy_worked_out_by_hand():
    loss = gail.loss(model(WEIGHT, PLAIN), EXPERT, POLICY, PLAIN)
    torch.testing.assert_close(loss, torch.tensor(CROSS_ENTROPY), rtol=1e-5, atol=1e-5)


def test_the_loss_is_torchs_cross_entropy_with_the_expert_labelled_one():
    constants = replace(PLAIN, hidden=(8,), batch=50)
    made = gail.Discriminator(1, 1, Generators(SEEDS, "reward weights"), constants)
    x, y = torch.randn(2, 50), torch.randn(2, 50)
    loss = gail.loss(made, Source(*x.tolist()), Source(*y.tolist()), constants)
    logits = [made(batch(part).inputs()) for part in (x, y)]
    for p in range(2):
        expected = sum(
            binary_cross_entropy_with_logits(logit[p], torch.full((50,), label))
            for logit, label in zip(logits, (1.0, 0.0), strict=True)
        )
        torch.testing.assert_close(loss[p], expected)


def test_the_gradient_penalty_of_a_linear_logit_by_hand():
    """The slope by (obs, flag, action) is (w, 0, 1) everywhere: its norm is sqrt(w^2 + 1)."""
    constants = replace(PLAIN, gradient_penalty=3.0)
    loss = gail.loss(model(WEIGHT, constants), EXPERT, POLICY, constants)
    penalty = torch.tensor([(math.sqrt(2) - 1) ** 2, (math.sqrt(5) - 1) ** 2])
    torch.testing.assert_close(loss, torch.tensor(CROSS_ENTROPY) + 3 * penalty, rtol=1e-5, atol=1e-5)


def test_the_classifiers_entropy_is_subtracted_with_its_weight():
    """The mean over both sources; H(sigmoid(0)) = log 2, H(sigmoid(+-1)) = 0.582203, H(sigmoid(2)) = 0.365334."""
    constants = replace(PLAIN, classifier_entropy_weight=0.1)
    loss = gail.loss(model(WEIGHT, constants), EXPERT, POLICY, constants)
    first = (0.582203 + 0.365334 + 0.582203 + 0.693147) / 4
    torch.testing.assert_close(loss[0].item(), CROSS_ENTROPY[0] - 0.1 * first, rtol=0, atol=1e-5)
    torch.testing.assert_close(Bernoulli(logits=torch.tensor(2.0)).entropy().item(), 0.365334, rtol=0, atol=1e-5)


def test_entropy_is_torchs_and_finite_far_out():
    logit = torch.tensor([-100.0, -3.0, 0.0, 0.2, 5.0, 100.0], requires_grad=True)
    entropy = gail.bernoulli_entropy(logit)
    torch.testing.assert_close(entropy[1:5], Bernoulli(logits=logit[1:5]).entropy())
    torch.testing.assert_close(entropy[[0, 5]].detach(), torch.zeros(2))
    assert torch.autograd.grad(entropy.sum(), logit)[0].isfinite().all()


def test_the_loss_and_its_gradient_are_finite_for_a_sure_discriminator():
    made = model([1e4, -1e4], PLAIN)
    loss = gail.loss(made, EXPERT, POLICY, PLAIN)
    assert loss.isfinite().all()
    assert torch.autograd.grad(loss.sum(), linears(made.logit)[0].weight)[0].isfinite().all()


def test_the_reward_is_softplus_of_the_logit_positive_and_increasing():
    made = model([1.0, 1.0], PLAIN)
    obs = torch.tensor([[-50.0, -2.0, -1.0, 0.0, 1.0, 2.0, 50.0]] * 2)
    reward = gail.reward(made, batch(obs), PLAIN)
    # softplus(l) = l + softplus(-l)
    expected = torch.tensor([0.0, 0.126928, 0.313262, 0.693147, 1.313262, 2.126928, 50.0])
    torch.testing.assert_close(reward, expected.expand(2, -1), rtol=0, atol=1e-5)
    assert (reward > 0).all()
    assert (reward.diff(dim=1) > 0).all()


def test_where_success_ends_the_episode_the_reward_is_log_d_negative_and_increasing():
    """log sigmoid(l) = l - softplus(l), and log_odds is l."""
    made = model([1.0, 1.0], PLAIN)
    b = batch(torch.tensor([[-50.0, -2.0, -1.0, 0.0, 1.0, 2.0, 50.0]] * 2))
    reward = gail.reward(made, b, replace(PLAIN, success_ends=True))
    expected = torch.tensor([-50.0, -2.126928, -1.313262, -0.693147, -0.313262, -0.126928, 0.0])
    torch.testing.assert_close(reward, expected.expand(2, -1), rtol=0, atol=1e-5)
    assert (reward.diff(dim=1) > 0).all()
    assert torch.equal(gail.reward(made, b, replace(PLAIN, success_ends=True, log_odds=True)), made(b.inputs()))


@pytest.mark.parametrize("changes", [{}, {"success_ends": True}, {"log_odds": True}])
def test_causal_entropy_is_paid_by_its_weight(changes):
    """Minus lambda log pi, on top of any reward."""
    made, b = model([1.0, 1.0], PLAIN), batch(torch.randn(2, 5))
    b = replace(b, log_prob=torch.randn(2, 5))
    plain = gail.reward(made, b, replace(PLAIN, **changes))
    paid = gail.reward(made, b, replace(PLAIN, entropy_weight=0.01, **changes))
    torch.testing.assert_close(paid - plain, -0.01 * b.log_prob, rtol=1e-3, atol=1e-6)


def test_a_trained_discriminator_is_high_for_the_expert_and_pays_more_there():
    constants = gail.Config(hidden=(8,), batch=200)
    made = gail.Discriminator(1, 1, Generators(SEEDS, "reward weights"), constants)
    optimizer = adam(made.parameters(), 0.02)
    expert, policy = Source(*(torch.randn(2, 200) + 1).tolist()), Source(*(torch.randn(2, 200) - 1).tolist())
    for _ in range(60):
        descend(optimizer, gail.loss(made, expert, policy, constants))
    logits = made.diagnostics
    assert (logits["expert_logit"] > 0.3).all()
    assert (logits["policy_logit"] < -0.3).all()
    paid = [gail.reward(made, source.transitions(200), constants).mean(1) for source in (expert, policy)]
    assert (paid[0] > paid[1] + 0.3).all()
    torch.testing.assert_close(
        logits["expert_logit"], made(expert.transitions(200).inputs()).mean(1).detach(), rtol=0, atol=0.1
    )


def test_it_ignores_how_likely_an_action_was_and_where_it_led():
    """The discriminator is a function of (s, a)."""
    made, b = model(WEIGHT, PLAIN), batch(torch.randn(2, 5))
    other = replace(b, log_prob=b.log_prob - 7, next_obs=b.next_obs + 1, terminal=1 - b.terminal)
    assert torch.equal(gail.reward(made, b, PLAIN), gail.reward(made, other, PLAIN))


class Room:
    """Nothing changes and nothing ends: surviving is no merit."""

    discrete = False

    def __init__(self) -> None:
        self.P, self.E, self.horizon, self.obs_size, self.action_size = len(SEEDS), 4, 10**6, 1, 1
        self.action_low, self.action_high = torch.tensor([-2.0]), torch.tensor([2.0])
        self.obs, self._no = torch.ones(2, 4, 1), torch.zeros(2, 4, dtype=torch.bool)
        self.elapsed = torch.zeros(2, 4, dtype=torch.long)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.elapsed = self.elapsed + 1
        return self.obs, self._no, self._no


@pytest.mark.parametrize("wanted", [-1.2, 1.2])
def test_it_learns_what_the_expert_does_where_surviving_is_no_merit(wanted):
    obs, action = torch.ones(400, 1), wanted + 0.6 * torch.randn(400, 1)
    never, one = torch.zeros(400, dtype=torch.bool), torch.zeros(400, dtype=torch.long)
    expert = Demonstrations(obs, action, obs, never, one, torch.tensor([400]), never[:1], [1, 1])
    constants = gail.Config(
        hidden=(16,),
        batch=128,
        loop=LoopConfig(reward_rate=0.01),
        ppo=PPOConfig(hidden=(), steps=64, epochs=4, minibatches=2, rate=0.02),
    )
    last = next(itertools.islice(gail.train(Room(), expert, SEEDS, constants), 24, None))
    mean, std = last.policy(torch.ones(2, 1, 1)), gaussian(last.policy).log_std.exp() * 2
    assert (mean - wanted).abs().max() < 0.4  # from 1.2; the two players circle around the answer
    assert std.max() < 1.2  # from 2, towards 0.6


def test_it_learns_to_balance_a_pole_from_four_trajectories():
    """Every seed beats its own start in true return a fall: an exact permutation test over eight seeds."""
    seeds = range(8)
    env = Monitor(envs.make(TASK, seeds, 4))
    expert = demonstrations.load(DATA, TASK, [4] * 8, env=env)
    constants = gail.Config(batch=128, loop=LoopConfig(reward_steps=5), ppo=PPOConfig(steps=128, rate=1e-3))
    worth = []
    for _ in itertools.islice(gail.train(env, expert, seeds, constants), 8):
        falls = np.bincount([learner for learner, _, _ in env.take_episodes()], minlength=8)
        worth.append(env.take_rewards().sum((0, 2)).numpy() / (1 + falls))
    gain = permutation_test((worth[-1] - worth[0],), np.mean, permutation_type="samples", alternative="greater")
    assert gain.pvalue < 0.01
