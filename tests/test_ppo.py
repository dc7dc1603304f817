"""PPO against slow or closed-form answers, and against its own start on a real task."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import permutation_test
from torch import Tensor
from torch.distributions import Normal

import envs
from algorithms.core.experience import Experience
from algorithms.core.population import Generators
from algorithms.core.ppo import PPO, PPOConfig, ReturnScale, generalized_advantages
from envs.episodes import play
from envs.monitor import Monitor
from tests.toy import HORIZON, Puck, gaussian, linears

SEEDS = [3, 8]
SMALL = PPOConfig(hidden=(8,), steps=20, epochs=3, minibatches=4)


def puck(config: PPOConfig = SMALL) -> PPO:
    return PPO(Puck(SEEDS, 3), SEEDS, config)


def distance(experience: Experience) -> Tensor:
    return -experience.next_obs[..., 0].abs()


def record_losses(ppo: PPO, monkeypatch) -> list[Tensor]:
    """Rows `[P, n, O + A + 3]` of every minibatch, as the loss gets them."""
    seen: list[Tensor] = []
    loss = ppo._loss

    def recorded(rows: Tensor) -> Tensor:
        seen.append(rows.clone())
        return loss(rows)

    monkeypatch.setattr(ppo, "_loss", recorded)
    return seen


# Collecting


def test_collect_returns_true_successors_and_tells_the_two_ends_apart():
    e = puck().collect()
    assert e.obs.shape == (2, 20, 3, 2)
    assert e.action.shape == (2, 20, 3, 1)
    assert e.terminal.any()
    assert (e.truncated & ~e.terminal).any()
    assert torch.equal(e.terminal, e.next_obs[..., 0].abs() > 1)
    ended = e.terminal | e.truncated
    assert torch.equal(e.obs[:, 1:][~ended[:, :-1]], e.next_obs[:, :-1][~ended[:, :-1]])
    assert (e.obs[:, 1:][ended[:, :-1]].abs() <= 0.5).all()  # a new start
    assert HORIZON < 20


def test_collect_goes_on_where_the_last_rollout_stopped():
    ppo = puck()
    first, second = ppo.collect(), ppo.collect()
    ended = (first.terminal | first.truncated)[:, -1]
    assert not ended.all()
    assert torch.equal(second.obs[:, 0][~ended], first.next_obs[:, -1][~ended])


def test_collect_acts_by_the_policy_with_each_seeds_own_noise():
    ppo, noise = puck(), Generators(SEEDS, "actions")
    for _ in range(2):
        e, z = ppo.collect(), noise.normal(20, 3, 1)
        mean = torch.stack([ppo.policy(e.obs[:, t]) for t in range(20)], 1)
        torch.testing.assert_close(e.action, mean + 2.0 * z)  # half the action range is 2, the initial std 1 of that
    assert e.action.abs().max() > 2  # unclipped


def test_the_first_policys_std_is_a_constant():
    """In units of half the action range, 2; all else is as without it."""
    first, other = puck(), puck(replace(SMALL, log_std=-1.0))
    assert (gaussian(other.policy).log_std == -1).all()
    assert (gaussian(first.policy).log_std == 0).all()
    e, z = other.collect(), Generators(SEEDS, "actions").normal(20, 3, 1)
    mean = torch.stack([other.policy(e.obs[:, t]) for t in range(20)], 1)
    torch.testing.assert_close(e.action, mean + 2.0 * math.exp(-1) * z)
    for name, parameter in gaussian(first.policy).mean.named_parameters():
        assert torch.equal(parameter, dict(gaussian(other.policy).mean.named_parameters())[name])


# Advantages


def slow_advantages(columns: Sequence[np.ndarray], discount: float, gae: float) -> np.ndarray:
    """Equation 16 of Schulman et al. 2016 as it is printed, a sum forward in time from every step `[P, T, E]`."""
    reward, value, next_value, terminal, truncated = columns
    advantage = np.zeros_like(reward)
    for p, t, e in np.ndindex(*reward.shape):
        for k in range(t, reward.shape[1]):
            bootstrap = 0.0 if terminal[p, k, e] else next_value[p, k, e]
            error = reward[p, k, e] + discount * bootstrap - value[p, k, e]
            advantage[p, t, e] += (discount * gae) ** (k - t) * error
            if terminal[p, k, e] or truncated[p, k, e]:
                break
    return advantage


@pytest.mark.parametrize("gae", [0.0, 0.95, 1.0])
def test_advantages_equal_the_printed_sum(gae):
    rng = np.random.default_rng(0)
    shape = (2, 40, 3)
    numbers, flags = rng.normal(size=(3, *shape)), rng.random((2, *shape)) < 0.15
    terminal, truncated = flags
    assert (terminal & truncated).any()
    assert (terminal & ~truncated).any()
    assert (truncated & ~terminal).any()
    assert not (terminal | truncated)[:, -1].all()  # some episodes go on after the rollout
    reward, value, next_value, end, cut = (torch.tensor(x) for x in (*numbers, *flags))
    ours = generalized_advantages(reward, value, next_value, end, cut, 0.9, gae)
    np.testing.assert_allclose(ours, slow_advantages([*numbers, *flags], 0.9, gae), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("terminal", "truncated", "expected"),
    [
        (False, False, [1 + 0.5 * (2 + 0.5 * 12), 2 + 0.5 * 12, 12]),
        (True, False, [1 + 0.5 * 2, 2, 12]),
        (False, True, [1 + 0.5 * (2 + 0.5 * 8), 2 + 0.5 * 8, 12]),
        (True, True, [1 + 0.5 * 2, 2, 12]),
    ],
)
def test_a_terminal_step_cuts_the_bootstrap_and_a_time_limit_does_not(terminal, truncated, expected):
    """Rewards 1, 2, 4; the second step ends the episode or not; the third is worth 4 + 0.5 x 16 = 12."""

    def column(*x: float) -> Tensor:
        return torch.tensor(x)[None, :, None]

    value, next_value = column(0.0, 4.0, 8.0), column(4.0, 8.0, 16.0)
    ends = column(False, terminal, False), column(False, truncated, False)
    ours = generalized_advantages(column(1.0, 2.0, 4.0), value, next_value, *ends, discount=0.5, gae=1.0)
    assert (ours + value).flatten().tolist() == expected


def test_rewards_are_divided_by_the_std_of_the_running_return():
    scale = ReturnScale(2, 1, 0.5, torch.device("cpu"))

    def column(*x: float) -> Tensor:
        return torch.tensor([x, [10 * y for y in x]])[..., None]

    nothing, second = torch.zeros(2, 3, 1).bool(), column(0, 1, 0).bool()
    first = [1.0, 2.5, 4.0]  # 1, 2 + 0.5, and 4 after an end
    ours = scale(column(1.0, 2.0, 4.0), second)
    torch.testing.assert_close(ours[0, :, 0], torch.tensor([1.0, 2.0, 4.0]) / float(np.std(first)))
    torch.testing.assert_close(ours[1], ours[0])  # a learner with ten times the rewards
    ours = scale(column(-1.0, 0.0, 8.0), nothing)
    all_returns = [*first, -1 + 0.5 * 4, 0 + 0.5 * 1, 8 + 0.25]  # the episode crossed the rollouts
    torch.testing.assert_close(ours[0, :, 0], torch.tensor([-1.0, 0.0, 8.0]) / float(np.std(all_returns)))
    torch.testing.assert_close(scale.std, torch.tensor([1.0, 10.0]) * float(np.std(all_returns)))


# The objective


def test_training_rows_hold_what_the_paper_says():
    ppo = puck(PPOConfig(hidden=(8,), steps=20, discount=0.9, gae=0.8))
    ppo.policy.normalizer.update(torch.randn(2, 50, 2) * 0.3)
    noise = Generators(SEEDS, "actions").normal(20, 3, 1)
    e = ppo.collect()
    rows = ppo._training_rows(distance, e)
    obs, action, (old, advantage, target) = rows[..., :2], rows[..., 2:3], rows[..., 3:].unbind(-1)
    assert torch.equal(obs, ppo.policy.normalizer(e.obs.flatten(1, 2)))
    assert torch.equal(action, e.action.flatten(1, 2) / 2)
    # The density of an action is that of the very noise it was made from.
    torch.testing.assert_close(old, Normal(0, 1).log_prob(noise).flatten(1), rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        value = ppo.value(obs)[..., 0].view(2, 20, 3)
        next_value = ppo.value(ppo.policy.normalizer(e.next_obs.flatten(1, 2)))[..., 0].view(2, 20, 3)
    reward = (distance(e) / ppo._scale.std[:, None, None]).numpy()
    columns = (reward, value.numpy(), next_value.numpy(), e.terminal.numpy(), e.truncated.numpy())
    slow = slow_advantages(columns, 0.9, 0.8)
    np.testing.assert_allclose(target, (slow + value.numpy()).reshape(2, -1), rtol=1e-4, atol=1e-4)
    for p in range(2):
        standard = (slow[p] - slow[p].mean()) / slow[p].std(ddof=1)
        np.testing.assert_allclose(advantage[p], standard.flatten(), rtol=1e-4, atol=1e-4)


def test_the_clipped_surrogate_and_its_gradient_by_hand():
    """One observation 0, linear networks: policy mean m = 0.5, std 1, value 2; clip 0.2.

    Each sample's action is m + 1, so its ratio's derivative by m is the ratio itself.
    ratio  advantage   min(r A, clip(r) A)   derivative by m
    1.0     2.0         2.0                   2.0
    1.5     2.0         1.2 x 2 = 2.4         0, clipped
    0.5     2.0         1.0                   1.0
    1.5    -1.0        -1.5                  -1.5: never clipped where it hurts
    0.5    -1.0         0.8 x -1 = -0.8       0, clipped
    """
    ppo = puck(PPOConfig(hidden=(), clip=0.2))
    linears(gaussian(ppo.policy).mean)[0].bias.data.fill_(0.5)
    linears(ppo.value)[0].bias.data.fill_(2.0)
    ratio = torch.tensor([1.0, 1.5, 0.5, 1.5, 0.5])
    advantage, target = torch.tensor([2.0, 2.0, 2.0, -1.0, -1.0]), torch.tensor([2.0, 1.0, 4.0, 2.0, 2.0])
    now = -0.5 - 0.5 * math.log(2 * math.pi)
    rows = torch.stack([ratio * 0, ratio * 0, ratio * 0 + 1.5, now - ratio.log(), advantage, target], 1)
    loss = ppo._loss(rows.expand(2, 5, 6))
    surrogate, value_error = (2 + 2.4 + 1 - 1.5 - 0.8) / 5, (0 + 1 + 4 + 0 + 0) / 5
    torch.testing.assert_close(loss, torch.full((2,), 0.5 * value_error - surrogate))
    loss.sum().backward()
    torch.testing.assert_close(
        linears(gaussian(ppo.policy).mean)[0].bias.grad, torch.full((2, 1, 1), -(2 + 0 + 1 - 1.5 + 0) / 5)
    )
    torch.testing.assert_close(linears(ppo.value)[0].bias.grad, torch.full((2, 1, 1), (0 + 1 - 2 + 0 + 0) / 5))
    # d log density / d log std = z^2 - 1 = 0 one std from the mean
    torch.testing.assert_close(gaussian(ppo.policy).log_std.grad, torch.zeros(2, 1, 1))


def test_the_entropy_bonus_has_its_weight():
    plain, bonus = puck(PPOConfig(hidden=())), puck(PPOConfig(hidden=(), entropy_weight=0.3))
    rows = torch.randn(2, 7, 6)
    for ppo in (plain, bonus):
        gaussian(ppo.policy).log_std.data = torch.tensor([-1.0, 0.5])[:, None, None]
    entropy = torch.stack([Normal(0.0, torch.tensor(s).exp()).entropy() for s in (-1.0, 0.5)])
    torch.testing.assert_close(bonus._loss(rows), plain._loss(rows) - 0.3 * entropy)


# Improving


def test_every_epoch_uses_every_row_once_in_an_order_of_its_own(monkeypatch):
    ppo = puck()
    seen, e = record_losses(ppo, monkeypatch), ppo.collect()
    ppo.improve(distance, e)
    assert len(seen) == 3 * 4
    whole, orders = e.action.flatten(1, 2)[..., 0] / 2, []
    for epoch in range(3):
        rows = torch.cat(seen[4 * epoch : 4 * epoch + 4], 1)
        actions = rows[..., 2]
        assert torch.equal(actions.sort(1).values, whole.sort(1).values)
        orders += [tuple(actions[p].argsort().tolist()) for p in range(2)]
    assert len(set(orders)) == len(orders)


def test_the_first_ratio_is_one_and_later_ones_are_not(monkeypatch):
    ppo = puck()
    ratios, loss = [], ppo._loss

    def watched(rows: Tensor) -> Tensor:
        log_prob = ppo.policy.log_density(gaussian(ppo.policy).mean(rows[..., :2]), rows[..., 2:3])
        ratios.append((log_prob - rows[..., 3]).exp().detach())
        return loss(rows)

    monkeypatch.setattr(ppo, "_loss", watched)
    for _ in range(2):  # the second time with a normaliser that has moved
        ratios.clear()
        ppo.improve(distance, ppo.collect())
        torch.testing.assert_close(ratios[0], torch.ones_like(ratios[0]), rtol=1e-5, atol=1e-5)
        assert (ratios[-1] - 1).abs().max() > 1e-3


def test_statistics_move_after_improving_and_hold_the_rollouts_observations():
    ppo = puck()
    e = ppo.collect()

    def reward(e: Experience) -> Tensor:
        assert not ppo.policy.normalizer.count.any()
        return distance(e)

    ppo.improve(reward, e)
    assert ppo.policy.normalizer.count.flatten().tolist() == [60, 60]
    torch.testing.assert_close(ppo.policy.normalizer.mean, e.obs.flatten(1, 2).double().mean(1, keepdim=True))


def test_metrics_are_per_learner():
    ppo = puck()
    metrics = ppo.improve(distance, ppo.collect())
    assert {name: metric.shape for name, metric in metrics.items()} == {"policy_entropy": (2,), "return_scale": (2,)}
    torch.testing.assert_close(metrics["policy_entropy"], torch.full((2,), 0.5 * math.log(2 * math.pi * math.e)))


def test_it_learns_to_balance_a_pole():
    """Under the true reward every seed beats its own start: an exact permutation test over eight seeds."""
    task, seeds = "InvertedPendulum-v5", range(8)
    env = Monitor(envs.make(task, seeds, 4))
    ppo = PPO(env, seeds, PPOConfig(steps=128))

    def worth() -> np.ndarray:
        return play(envs.make(task, [100 + s for s in seeds], 4), ppo.policy).episode_return.mean(1).numpy()

    start = worth()
    for _ in range(8):
        ppo.improve(lambda e: env.take_rewards().transpose(0, 1).float(), ppo.collect())
    end = worth()
    gain = permutation_test((end - start,), np.mean, permutation_type="samples", alternative="greater")
    assert gain.pvalue < 0.01
