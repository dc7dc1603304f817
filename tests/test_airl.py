"""AIRL: its logit by hand, what shaping leaves alone, and the reward of a small MDP found again."""

import itertools
import math
from dataclasses import replace
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from algorithms import airl
from algorithms.core.adversarial import LoopConfig
from algorithms.core.experience import Batch
from algorithms.core.population import Generators, Normalizer
from algorithms.core.ppo import PPOConfig
from tests.fixed import Fixed, searcher
from tests.toy import Puck, demonstrations

SEEDS = [3, 8]
CONFIG = airl.Config(hidden=(), batch=6, torque=0.25, noise=0, ppo=PPOConfig(discount=0.9))


def model_of(config: airl.Config = CONFIG, obs_size: int = 2, action_size: int = 1) -> airl.Reward:
    return airl.Reward(obs_size, action_size, Generators(SEEDS, "weights"), config)


def batch(seed: int = 0) -> Batch:
    """Six transitions: the third ends the episode, the fifth and sixth stand in the absorbing state."""
    g = torch.Generator().manual_seed(seed)
    obs, next_obs, action = (torch.randn(2, 6, n, generator=g) for n in (2, 2, 1))
    terminal, zero = torch.tensor([0.0, 0, 1, 0, 0, 0]).expand(2, -1), torch.zeros(2, 6)
    absorbing = torch.tensor([False, False, False, False, True, True]).expand(2, -1)
    return Batch(obs, action, next_obs, terminal, torch.randn(2, 6, generator=g), zero).into_absorbing(absorbing)


def by_hand(model: airl.Reward, b: Batch, p: int, i: int, state_only: bool = False) -> float:
    """f of one transition: g + gamma h(s') - h(s); h is 0 in a terminal state, and in the absorbing one.

    g of a state and an action has -|a|^2 / 4.
    """
    weight, bias = (x[p].flatten().tolist() for x in model.g.parameters())
    slope, level = (x[p].flatten().tolist() for x in model.h.parameters())

    def h(s: list[float]) -> float:
        return slope[0] * s[0] + slope[1] * s[1] + level[0]

    if b.absorbing[p, i]:
        return weight[2] + bias[0]
    s, a, following = (x[p, i].tolist() for x in (b.obs, b.action, b.next_obs))
    g = weight[0] * s[0] + weight[1] * s[1] + bias[0] + (0 if state_only else weight[3] * a[0] - a[0] ** 2 / 4)
    return g + (0 if b.terminal[p, i] else 0.9 * h(following)) - h(s)


@pytest.mark.parametrize("state_only", [False, True])
def test_logit_and_reward_by_hand(state_only):
    """The reward is log D - log(1 - D) with the paper's D = exp f / (exp f + pi) and all of the entropy."""
    config = replace(CONFIG, state_only=state_only, entropy_weight=1.0)
    model, b = model_of(config), batch()
    for parameter in model.parameters():
        parameter.data += torch.randn_like(parameter)
    paid = airl.reward(model, b, config)
    for p, i in itertools.product(range(2), range(6)):
        f, pi = by_hand(model, b, p, i, state_only), math.exp(b.log_prob[p, i])
        d = math.exp(f) / (math.exp(f) + pi)
        assert paid[p, i].item() == pytest.approx(math.log(d) - math.log(1 - d), abs=1e-4)
        assert pi == 1 or not b.absorbing[p, i]


def test_the_entropy_is_weighed_in_the_reward_alone():
    model, b = model_of(), batch()
    f = torch.tensor([[by_hand(model, b, p, i) for i in range(6)] for p in range(2)])
    torch.testing.assert_close(airl.reward(model, b, CONFIG), f - 0.1 * b.log_prob)
    torch.testing.assert_close(airl.logit(model, b), f - b.log_prob)


def test_the_losss_observations_are_noisy_and_the_rewards_are_not():
    """The expert's by the generator's first numbers, the policy's by the next; next observations stay as they are."""
    model, x, y = model_of(replace(CONFIG, noise=0.3)), batch(1), batch(2)
    noise = Generators(SEEDS, "noise")
    noisy_x, noisy_y = (Fixed(replace(b, obs=b.obs + 0.3 * noise.normal(6, 2))) for b in (x, y))
    expected = airl.loss(model_of(), noisy_x, noisy_y, CONFIG)
    torch.testing.assert_close(airl.loss(model, Fixed(x), Fixed(y), CONFIG), expected)
    assert torch.equal(airl.reward(model, x, CONFIG), airl.reward(model_of(), x, CONFIG))


@pytest.mark.parametrize("torque", [0.0, 0.5])
def test_at_far_actions_the_logit_falls_only_with_the_torque(torque):
    """A Gaussian policy's -log pi rises with |a|^2; what g adds to it is bounded, but for w |a|^2."""
    model = model_of(replace(CONFIG, hidden=(8,), torque=torque))
    obs, action = torch.zeros(2, 2, 2), torch.tensor([1e2, 1e3]).view(1, 2, 1).expand(2, -1, -1)
    zero, std = torch.zeros(2, 2), 2.0
    log_prob = -action[..., 0].square() / (2 * std**2) - math.log(std * math.sqrt(2 * math.pi))
    near, far = airl.logit(model, Batch(obs, action, obs, zero, log_prob, zero)).T
    assert ((far < near) == (torque > 0)).all()


def test_loss_by_hand():
    model, x, y = model_of(), batch(1), batch(2)
    loss = airl.loss(model, Fixed(x), Fixed(y), CONFIG)
    for p in range(2):
        total = 0.0
        for i in range(6):
            d = [1 / (1 + math.exp(b.log_prob[p, i] - by_hand(model, b, p, i))) for b in (x, y)]
            total -= (math.log(d[0]) + math.log(1 - d[1])) / 6
        assert loss[p].item() == pytest.approx(total, rel=1e-5)


# Small MDPs. One-hot observations make linear networks tables.


class World:
    """16 states and 4 actions at random, deterministic; the last two states are terminal unless `endless`."""

    def __init__(self, seed: int, endless: bool) -> None:
        g = torch.Generator().manual_seed(seed)
        self.following = torch.randint(16, (16, 4), generator=g)
        self.reward = torch.randn(16, generator=g).double()
        self.terminal = (torch.arange(16) >= 14) & (not endless)
        self.state, self.action = (
            x.flatten() for x in torch.meshgrid(torch.arange(16), torch.arange(4), indexing="ij")
        )

    def batch(self, log_prob: Tensor) -> Batch:
        """Every transition once, `[1, 64]`, with log pi `[16, 4]`."""
        states, actions = torch.eye(16).double(), torch.eye(4).double()
        end = self.following[self.state, self.action]
        zero = torch.zeros(1, 64).double()
        rows = (states[self.state], actions[self.action], states[end], self.terminal[end].double(), log_prob.flatten())
        obs, action, next_obs, terminal, log_pi = (x[None] for x in rows)
        return Batch(obs, action, next_obs, terminal, log_pi, zero)

    def values(self, reward: Tensor, soft: bool, absorbed: float = 0.0) -> Tensor:
        """Return Q `[16, 4]` of a reward `[16, 4]` by iteration; after the end, `absorbed` a step for ever."""
        value = torch.zeros(16).double()
        tail = 0.9 * absorbed / (1 - 0.9)
        for _ in range(400):
            end = self.terminal[self.following]
            q = reward + torch.where(end, tail, 0.9 * value[self.following])
            value = q.logsumexp(1) if soft else q.amax(1)
        return q


def tabular(state_only: bool, seed: int = 0) -> airl.Reward:
    config = replace(CONFIG, state_only=state_only, batch=64, torque=0)
    model = airl.Reward(16, 4, Generators([seed], "weights"), config).double()
    g = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=g).double()
    return model


@pytest.mark.parametrize("endless", [True, False])
def test_a_potential_leaves_the_optimal_policy_alone(endless):
    """Whatever h is: optimal values shift by -h(s), so that the optimal policy, soft or not, is that of g."""
    world, model = World(1, endless), tabular(state_only=False)
    b = world.batch(torch.zeros(16, 4).double())
    f = model(b).view(16, 4).detach()
    g = model.g(b.inputs()).view(16, 4).detach()
    h = model.h(torch.eye(16).double()[None]).view(16, 1).detach()
    absorbed = model.g(b.into_absorbing(torch.ones(1, 64, dtype=torch.bool)).inputs())[0, 0].item()
    assert h.abs().max() > 1
    for soft in (False, True):
        shaped, plain = (world.values(r, soft, absorbed) for r in (f, g))
        alive = ~world.terminal
        torch.testing.assert_close((shaped + h)[alive], plain[alive], rtol=0, atol=1e-9)
        assert torch.equal(shaped.argmax(1)[alive], plain.argmax(1)[alive])


def test_a_potential_in_terminal_states_would_change_it():
    """Why it is 0 there."""
    world, model = World(1, endless=False), tabular(state_only=False)
    for parameter in model.h.parameters():
        parameter.data *= 5
    b = world.batch(torch.zeros(16, 4).double())
    f = model(replace(b, terminal=torch.zeros_like(b.terminal))).view(16, 4).detach()
    g, alive = model.g(b.inputs()).view(16, 4).detach(), ~world.terminal
    assert (world.values(f, soft=False).argmax(1) != world.values(g, soft=False).argmax(1))[alive].any()


def fit(model: airl.Reward, b: Batch, config: airl.Config) -> Tensor:
    """Minimise the module's own loss where expert and policy take every transition equally often."""
    optimizer = searcher(model.parameters())

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = airl.loss(model, Fixed(b), Fixed(b), config).sum()
        loss.backward()
        return loss.detach()

    optimizer.step(closure)
    return closure()


@pytest.mark.parametrize("seed", [0, 1])
def test_the_reward_of_an_mdp_is_found_again(seed):
    """Appendix D: the expert is soft-optimal for r(s); at the optimum against it, g = r and h = V, up to constants."""
    world, model = World(seed, endless=True), tabular(state_only=True, seed=seed)
    q = world.values(world.reward[:, None].expand(16, 4), soft=True)
    value = q.logsumexp(1)
    log_pi = q - value[:, None]
    config = replace(CONFIG, state_only=True, batch=64)
    loss = fit(model, world.batch(log_pi), config)
    assert loss.item() == pytest.approx(2 * math.log(2), abs=1e-9)  # D = 1/2 everywhere
    states = torch.eye(16).double()[None]
    g = model.g(torch.cat([states, torch.zeros(1, 16, 1).double()], -1)).flatten().detach()
    h = model.h(states).flatten().detach()
    for found, truth in ((g, world.reward), (h, value)):
        offset = found - truth
        assert offset.std() < 1e-3
    assert world.reward.std() > 0.5


# The learnt reward on its own


@pytest.mark.parametrize("state_only", [False, True])
def test_g_is_saved_and_loaded_on_its_own(tmp_path, state_only):
    """From what a run saves, all names behind `policy.` and `reward.`, and from its own file."""
    loop, ppo = LoopConfig(2, absorbing=True), PPOConfig(hidden=(4,), steps=24, epochs=1, minibatches=1)
    config = airl.Config(state_only, (8, 8), batch=16, loop=loop, ppo=ppo)
    progress = list(itertools.islice(airl.train(Puck(SEEDS, 3), demonstrations([1, 4]), SEEDS, config), 2))[-1]
    policy = progress.policy
    model: Any = progress.models["reward"]
    saved: dict[str, nn.Module] = {"policy": policy, "reward": model}
    cell = {f"{name}.{k}": v for name, module in saved.items() for k, v in module.state_dict().items()}
    learnt = airl.LearntReward.from_tensors(safetensors.torch.load(safetensors.torch.save(cell)))
    again = airl.LearntReward.from_tensors(safetensors.torch.load(safetensors.torch.save(learnt.state_dict())))
    obs, action = torch.randn(2, 7, 2), torch.randn(2, 7, 1)
    zero = torch.zeros(2, 7)
    b = Batch(policy.normalizer(obs), action / policy.action_scale, obs, zero, zero, zero)
    end = b.into_absorbing(torch.ones(2, 7, dtype=torch.bool))
    for loaded in (learnt, again):
        torch.testing.assert_close(loaded(obs, action), model.g(b.inputs()))
        torch.testing.assert_close(loaded.absorbing(), model.g(end.inputs())[:, 0])
        assert torch.equal(loaded(obs, action), loaded(obs, action + 1)) == state_only
    assert isinstance(again.normalizer, Normalizer)
    assert not any(name.startswith(("h.", "mean.")) for name in again.state_dict())
