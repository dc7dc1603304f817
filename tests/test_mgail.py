"""MGAIL: its gradient three ways, the replay of segments, the forward models, its losses, and that it learns."""

import itertools
import math
from dataclasses import replace
from os import listdir
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal
from torch.nn.functional import logsigmoid

import envs
from algorithms import mgail
from algorithms.core.adversarial import LoopConfig
from algorithms.core.experience import Experience, Samples
from algorithms.core.forward import DifferenceModel, GatedModel
from algorithms.core.pathwise import Pathwise, PathwiseConfig, held
from algorithms.core.policy import GaussianPolicy
from algorithms.core.population import Generators
from algorithms.core.segments import Segments, Step, draw, replay
from envs.monitor import Monitor
from tests import test_gail, toy
from tests.test_learning import SEEDS as EIGHT
from tests.test_learning import error, expert
from tests.test_run import ROOT
from tests.toy import linears
from threefold.base.errors import InputError
from threefold.experts.demonstrations import load

DATA = ROOT / "data" / "demonstrations"
CONTINUOUS = [task for task in sorted(listdir(DATA)) if not hasattr(envs.load(task), "ACTIONS")]
SEEDS = [3, 8]
P, O, A, L = 2, 3, 2, 10
DISCOUNT, STD = 0.9, 0.3
CONFIG = mgail.Config(ppo=PathwiseConfig(hidden=(), length=L, discount=DISCOUNT))


class Toy:
    """s' = s F + a G, with a logit -|x|^2 weighed by q, x = (s, a): linear and quadratic, of double precision."""

    def __init__(self) -> None:
        g = torch.Generator().manual_seed(1)
        self.F = 0.9 * torch.eye(O).double() + 0.1 * torch.randn(P, O, O, generator=g).double()
        self.G = 0.3 * torch.randn(P, A, O, generator=g).double()
        self.q = torch.rand(O + A, generator=g).double()
        self.policy = GaussianPolicy(O, torch.ones(A), (), Generators(SEEDS, "weights"), math.log(STD)).double()
        self.weight.data = 0.2 * torch.randn(P, O, A, generator=g).double()
        self.start = torch.randn(P, 64, O, generator=g).double()
        self.xi = torch.randn(P, 64, L, A, generator=g).double()

    @property
    def weight(self) -> Tensor:
        return linears(self.policy.mean)[0].weight

    def model(self, obs: Tensor, action: Tensor) -> Tensor:
        return obs @ self.F + action @ self.G

    def logit(self, inputs: Tensor) -> Tensor:
        return -(inputs.square() * torch.cat([self.q[:O], self.q[:1], self.q[O:]])).sum(-1)

    @torch.no_grad()
    def segments(self, weight: Tensor) -> Segments:
        """Simulate, with fixed noise, the policy of these weights."""
        obs, rows = self.start, []
        for t in range(L):
            action = obs @ weight + STD * self.xi[:, :, t]
            following = self.model(obs, action)
            rows.append((obs, action, following))
            obs = following
        obs, action, next_obs = (torch.stack(column, 2) for column in zip(*rows, strict=True))
        return Segments(obs, action, next_obs, torch.ones(P, 64, L).double())

    def value(self, weight: Tensor) -> Tensor:
        """Return J of a simulation, `[P]`."""
        s = self.segments(weight)
        reward = logsigmoid(-(torch.cat([s.obs, s.action], -1).square() * self.q).sum(-1))
        return (DISCOUNT ** torch.arange(L).double() * reward).sum(2).mean(1)

    def gradient(self, segments: Segments, config: mgail.Config = CONFIG, model: Step | None = None) -> Tensor:
        """Return the method's own gradient by the policy's weights, `[P, O, A]`."""
        value = mgail.objective(self.policy, model or self.model, self.logit, segments, config)
        return torch.autograd.grad(value.sum(), self.weight)[0]

    def recursion(self, segments: Segments, F: Tensor, G: Tensor) -> Tensor:  # noqa: N803 - matrices
        """Return the gradient by the paper's recursion, from the last step back."""
        gain = self.weight.detach()
        of_s, of_theta = torch.zeros(P, 64, O).double(), torch.zeros(P, 64, O, A).double()
        for t in reversed(range(L)):
            s, a = segments.obs[:, :, t], segments.action[:, :, t]
            slope = torch.sigmoid((s.square() * self.q[:O]).sum(-1) + (a.square() * self.q[O:]).sum(-1))[..., None]
            r_s, r_a = (-2 * slope * x * q for x, q in ((s, self.q[:O]), (a, self.q[O:])))
            by_action = r_a + DISCOUNT * of_s @ G.mT  # of J by the action, all that follows included
            of_theta = s[..., None] * by_action[..., None, :] + DISCOUNT * of_theta
            of_s = r_s + r_a @ gain.mT + DISCOUNT * of_s @ (F + gain @ G).mT
        return of_theta.mean(1)


@pytest.fixture
def lq():
    return Toy()


def test_the_gradient_is_the_recursions_and_that_of_finite_differences(lq):
    """Finite differences are of simulations with the noise held fixed: no model, no replay."""
    segments, weight, step = lq.segments(lq.weight), lq.weight.detach(), 1e-5
    found = lq.gradient(segments)
    torch.testing.assert_close(found, lq.recursion(segments, lq.F, lq.G), rtol=1e-9, atol=1e-12)
    for i, j in itertools.product(range(O), range(A)):
        change = torch.zeros_like(weight)
        change[:, i, j] = step
        slope = (lq.value(weight + change) - lq.value(weight - change)) / (2 * step)
        torch.testing.assert_close(found[:, i, j], slope, rtol=1e-6, atol=1e-8)


def test_the_objective_is_the_simulations(lq):
    value = mgail.objective(lq.policy, lq.model, lq.logit, lq.segments(lq.weight), CONFIG)
    torch.testing.assert_close(value, lq.value(lq.weight), rtol=1e-12, atol=0)
    assert (value < 0).all()


def test_without_the_models_derivatives_only_the_actions_count(lq):
    segments = lq.segments(lq.weight)
    found = lq.gradient(segments, replace(CONFIG, state_gradient=False))
    nothing = torch.zeros_like(lq.F), torch.zeros_like(lq.G)
    torch.testing.assert_close(found, lq.recursion(segments, *nothing), rtol=1e-9, atol=1e-12)
    assert cosine(found, lq.gradient(segments)).max() < 0.99


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return torch.cosine_similarity(a.flatten(1), b.flatten(1))


def test_a_wrong_model_leaves_the_states_and_spoils_the_gradient_by_its_error(lq):
    """A model whose matrices are wrong by a tenth, and one of another system altogether."""
    segments = lq.segments(lq.weight)
    g = torch.Generator().manual_seed(2)
    F, G = (x * (1 + 0.1 * torch.randn(x.shape, generator=g).sign()) for x in (lq.F, lq.G))  # noqa: N806
    right = lq.gradient(segments)
    for wrong, least in ((lambda s, a: s @ F + a @ G, 0.9), (lambda s, a: torch.sin(3 * s) - a.sum(-1, True), -1)):
        obs, action = replay(segments, lq.policy.mean, wrong)
        torch.testing.assert_close(obs, segments.obs, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(action, segments.action, rtol=1e-9, atol=1e-9)
        spoilt = cosine(lq.gradient(segments, model=wrong), right)
        assert ((least < spoilt) & (spoilt < 1 - 1e-6)).all()
    torch.testing.assert_close(lq.gradient(segments, model=lambda s, a: s @ F + a @ G), lq.recursion(segments, F, G))


def test_without_the_residual_the_states_are_the_models_own(lq):
    segments = lq.segments(lq.weight)
    obs, action = replay(segments, lq.policy.mean, lambda s, a: s * 0.5, residual=False)
    expected = segments.obs[:, :, :1] * 0.5 ** torch.arange(L).double().view(L, 1)
    torch.testing.assert_close(obs, expected, rtol=1e-12, atol=0)
    noise = segments.action - segments.obs @ lq.weight[:, None]
    torch.testing.assert_close(action, obs @ lq.weight[:, None] + noise)


def test_its_variance_is_far_below_that_of_reinforce(lq):
    """Of one segment's gradient, at equal means: likelihood ratios of every action, with the sum of what follows.

    As it is, and less its mean over the other segments, which takes the sign of all rewards out of it.
    """
    segments, n = lq.segments(lq.weight), 64
    pathwise = torch.stack([lq.gradient(only(segments, i)) for i in range(n)], 1)
    weight = lq.weight.detach().requires_grad_()
    log_prob = Normal(segments.obs @ weight[:, None], STD).log_prob(segments.action).sum(-1)
    inputs = torch.cat([segments.obs, segments.action], -1)
    reward = DISCOUNT ** torch.arange(L).double() * logsigmoid(-(inputs.square() * lq.q).sum(-1))
    to_come = reward.flip(2).cumsum(2).flip(2)
    baseline = (to_come.sum(1, keepdim=True) - to_come) / (n - 1)
    for weighed, least in ((to_come, 20), (to_come - baseline, 3)):
        each = (log_prob * weighed).sum(2)
        ratios = [torch.autograd.grad(each[:, i].sum(), weight, retain_graph=True)[0] for i in range(n)]
        reinforce = torch.stack(ratios, 1)
        spread = [x.var(1).sum((1, 2)) for x in (reinforce, pathwise)]
        error = (spread[0] / n).sqrt()
        assert ((reinforce.mean(1) - pathwise.mean(1)).flatten(1).norm(dim=1) < 4 * error).all()
        assert (spread[0] / spread[1] > least).all(), spread[0] / spread[1]


def only(segments: Segments, i: int) -> Segments:
    return Segments(*(x[:, i : i + 1] for x in vars(segments).values()))


def record(ended: list[list[int]], T: int = 8) -> Experience:
    """Two learners, two parallel episodes; `ended` are the (step, episode) at which learner 0's ends."""
    number = torch.arange(P * T * 2).view(P, T, 2, 1).float()
    terminal = torch.zeros(P, T, 2, dtype=torch.bool)
    for step, episode in ended:
        terminal[0, step, episode] = True
    never = torch.zeros_like(terminal)
    return Experience(number, -number, number + 0.5, terminal, never, torch.zeros(P, T, 2))


def test_segments_are_consecutive_steps_of_one_parallel_episode():
    drawn = draw(record([]), 200, 3, Generators(SEEDS, "segments"))
    steps = drawn.obs[..., 0]
    assert (steps.diff(dim=2) == 2).all()  # of two parallel episodes, numbered in turn
    assert torch.equal(drawn.action, -drawn.obs)
    assert torch.equal(drawn.next_obs, drawn.obs + 0.5)
    assert (drawn.weight == 1).all()
    for p in range(P):
        assert set(steps[p, :, 0].tolist()) == set(range(16 * p, 16 * p + 12))
    assert draw(record([]), 5, 20, Generators(SEEDS, "segments")).obs.shape == (P, 5, 8, 1)


def test_a_segment_ends_with_its_episode_for_either_reason():
    e = record([[3, 1]])
    for end in (e, replace(e, terminal=e.truncated, truncated=e.terminal)):
        drawn = draw(end, 200, 3, Generators(SEEDS, "segments"))
        last = 2 * 3 + 1  # the number of the step at which it ends
        stream, step = drawn.obs[0, ..., 0] % 2, drawn.obs[0, ..., 0]
        after = (stream == 1) & (step > last) & (step[:, :1] <= last)
        assert torch.equal(drawn.weight[0], 1 - after.float())
        assert after.any()
        assert (drawn.weight[1] == 1).all()


def test_what_comes_after_an_end_changes_nothing(lq):
    whole = lq.segments(lq.weight)
    weight = whole.weight.clone()
    weight[:, ::2, 4:] = 0
    cut = replace(whole, weight=weight)
    after = (weight == 0).double()[..., None]
    other = replace(cut, obs=whole.obs + 3 * after, action=whole.action - after, next_obs=whole.next_obs + 2 * after)
    torch.testing.assert_close(lq.gradient(other), lq.gradient(cut), rtol=1e-12, atol=0)
    assert not torch.allclose(lq.gradient(cut), lq.gradient(whole))


def made(kind):
    return kind(O, -torch.ones(A), 2 * torch.ones(A), 8, Generators(SEEDS, "model weights"))


@pytest.mark.parametrize("kind", [GatedModel, DifferenceModel])
def test_a_model_sees_actions_as_the_env_does(kind):
    model, obs = made(kind), torch.randn(P, 6, O)
    action = torch.tensor([-3.0, 1.5]).expand(P, 6, A).clone().requires_grad_()
    following = model(obs, action)
    torch.testing.assert_close(following, model(obs, torch.tensor([-1.0, 1.5]).expand(P, 6, A)))
    (slope,) = torch.autograd.grad(following.square().sum(), action)
    assert (slope[..., 0] == 0).all()
    assert (slope[..., 1] != 0).all()


def test_a_difference_model_begins_close_to_standing_still():
    obs = torch.randn(P, 6, O)
    assert (made(DifferenceModel)(obs, torch.zeros(P, 6, A)) - obs).abs().max() < 0.1


def test_the_gated_model_is_torchs_layers_in_turn():
    """The hidden state of the recurrent unit is 1, whatever came before."""
    model, obs, action = made(GatedModel), torch.randn(P, 6, O), torch.rand(P, 6, A)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape)
    for p in range(P):

        def layer(linear, x, p=p):
            return torch.nn.functional.linear(x, linear.weight[p].T, linear.bias[p, 0])

        h = layer(model.obs, obs[p]).relu()
        z, r = layer(model.gates, h).sigmoid().split(8, -1)
        hidden = torch.ones_like(h)
        cell = z * hidden + (1 - z) * torch.tanh(layer(model.candidate, torch.cat([h, r * hidden], -1)))
        code = layer(model.action_code, layer(model.action, action[p]).relu()).sigmoid()
        x = layer(model.obs_code, cell).sigmoid() * code
        for inner in model.decoder:
            x = layer(inner, x).relu()
        torch.testing.assert_close(model(obs, action)[p], layer(model.last, x), rtol=1e-5, atol=1e-5)


def test_the_loss_of_the_model_is_the_mean_squared_error_by_hand():
    class Still(Samples):
        def __init__(self) -> None:
            pass

        def transitions(self, n):
            return replace(test_gail.batch(torch.tensor([[0.0, 1.0], [2.0, 3.0]])), next_obs=torch.full((2, 2, 1), 2.0))

    found = mgail.model_loss(lambda obs, action: obs * action, Still(), CONFIG)
    torch.testing.assert_close(found, torch.tensor([(4 + 1) / 2, (0 + 1) / 2]))


def test_the_discriminators_loss_is_gails_without_its_entropy():
    model: Any = test_gail.model(test_gail.WEIGHT, test_gail.PLAIN)
    config = replace(CONFIG, batch=2, gradient_penalty=0.0)
    found = mgail.loss(model, test_gail.EXPERT, test_gail.POLICY, config)
    torch.testing.assert_close(found, torch.tensor(test_gail.CROSS_ENTROPY), rtol=1e-5, atol=1e-5)


def test_statistics_and_std_are_those_of_the_demonstrations_that_a_learner_may_use():
    counts = [1, 6]
    shown, env = toy.demonstrations(counts), toy.Puck(SEEDS, 3)
    policy = Pathwise(env, shown, SEEDS, 0.5, PathwiseConfig(hidden=(8,))).policy
    for p, rows in enumerate(shown.size.tolist()):
        torch.testing.assert_close(policy.normalizer.mean[p, 0], shown.obs[:rows].double().mean(0))
        std = 0.5 * shown.action[:rows].std(0, correction=0) / 2  # in units of half the range
        torch.testing.assert_close(policy.log_std[p, 0].exp(), std)
    still = toy.demonstrations(counts)
    still.action = torch.ones_like(still.action)
    least = Pathwise(env, still, SEEDS, 0.5, PathwiseConfig()).policy.log_std
    torch.testing.assert_close(least.detach(), torch.full_like(least, math.log(1e-3)))


def test_held_modules_pass_gradients_on_and_have_none():
    model, action = made(DifferenceModel), torch.zeros(P, 4, A, requires_grad=True)
    with held(model):
        model(torch.randn(P, 4, O), action).sum().backward()
    assert action.grad is not None
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    "task", sorted(set(listdir(DATA)) - {t for t in envs.names() if hasattr(envs.load(t), "ACTIONS")})
)
def test_it_trains_on_every_task_whose_actions_are_continuous(task):
    ppo = PathwiseConfig(steps=12, minibatches=2, segments=4, length=5)
    loop = LoopConfig(reward_steps=2, reward_rate=1e-3, recent=2)
    config = mgail.Config(batch=16, preparation=2, model_steps=2, loop=loop, ppo=ppo)
    env = Monitor(envs.make(task, [0, 1], 2, threads=1))
    shown = load(DATA / task, task, [1, 2], env=env)
    for progress in itertools.islice(mgail.train(env, shown, [0, 1], config), 3):
        assert all(finite.all() for finite in progress.finite.values())
    assert progress.env_steps == 3 * 12 * 2
    assert (progress.metrics["model_error"] > 0).all()


@pytest.mark.slow
def test_it_beats_its_own_start():
    """As of every adversarial method (tests/test_learning.py), by a permutation test over learners."""
    ppo = PathwiseConfig(hidden=(32, 32), steps=48, discount=0.9, length=6)
    config = mgail.Config(loop=LoopConfig(reward_steps=20, reward_rate=3e-3), ppo=ppo)
    training = mgail.train(toy.Puck(EIGHT, 16), expert(), EIGHT, config)
    start, *_, end = (error(progress.policy) for progress in itertools.islice(training, 16))
    signs = torch.tensor(list(itertools.product([1.0, -1.0], repeat=8)))
    gain = start - end
    assert float(((signs * gain).mean(1) >= gain.mean()).double().mean()) < 0.01


def test_discrete_actions_are_refused_in_one_line():
    with pytest.raises(InputError, match="actions are discrete here, .* leave it out with `left_out`") as error:
        next(mgail.train(toy.Kicked(SEEDS, 2), toy.demonstrations([2, 2], discrete=True), SEEDS, mgail.Config()))
    assert "\n" not in str(error.value)
