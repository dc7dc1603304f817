"""Every adversarial method beats its own start on a small task, by a permutation test over learners.

A control does not: the task can end, but survival alone does not imitate its expert.
"""

import itertools
from dataclasses import replace

import pytest
import torch
from torch import Tensor

import algorithms
from algorithms.core.experience import Demonstrations
from algorithms.core.policy import Policy
from algorithms.core.ppo import PPOConfig
from tests.toy import HORIZON, Puck

SEEDS = list(range(8))
GAIN = torch.tensor([2.0, 4.0])  # of the expert, who pushes the puck back to the middle and slows it down


def expert() -> Demonstrations:
    """Eight episodes of the expert, none of which ends before its time."""
    g, env = torch.Generator().manual_seed(0), Puck([100], 8)
    rows = []
    for _ in range(HORIZON):
        obs = env.obs[0].float()
        action = -(obs * GAIN).sum(1, keepdim=True) + 0.3 * torch.randn(8, 1, generator=g)
        next_obs, terminal, _ = env.step(action[None])
        rows.append((obs, action, next_obs[0].float(), terminal[0]))
    obs, action, next_obs, terminal = (torch.stack(column, 1).flatten(0, 1) for column in zip(*rows, strict=True))
    assert not terminal.any()
    lengths = torch.full((8,), HORIZON)
    return Demonstrations(
        obs, action, next_obs, terminal, torch.arange(8).repeat_interleave(HORIZON), lengths, lengths < 0, [8] * 8
    )


def error(policy: Policy) -> Tensor:
    """Return how far each learner's mean action is from the expert's, `[P]`, root mean square."""
    obs = (torch.rand(200, 2, generator=torch.Generator().manual_seed(5)) - 0.5).expand(8, -1, -1)
    with torch.no_grad():
        return (policy(obs) + (obs * GAIN).sum(-1, keepdim=True)).square().mean((1, 2)).sqrt()


ADVERSARIAL = {name for name in algorithms.names() if hasattr(algorithms.load(name), "reward")}
CONTROLS = {"constant"}  # sees nothing of the expert


def chance(name: str) -> float:
    """Return how likely a gain as large as the learners' is if start and end are alike (one-sided)."""
    method, ppo = algorithms.load(name), PPOConfig((32, 32), steps=48, epochs=6, minibatches=4, rate=3e-3, discount=0.9)
    config = replace(method.Config(), ppo=ppo)
    config = replace(config, loop=replace(config.loop, reward_rate=3e-3))
    training = method.train(Puck(SEEDS, 16), expert(), SEEDS, config)
    start, *_, end = (error(progress.policy) for progress in itertools.islice(training, 10))
    gain = start - end
    signs = torch.tensor(list(itertools.product([1.0, -1.0], repeat=8)))  # exchange start and end of some learners
    return float(((signs * gain).mean(1) >= gain.mean()).double().mean())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(ADVERSARIAL - CONTROLS))
def test_a_method_beats_its_own_start(name):
    assert chance(name) < 0.01


@pytest.mark.parametrize("name", sorted(CONTROLS))
def test_a_control_does_not(name):
    assert chance(name) > 0.1
