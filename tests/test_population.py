"""A population computes what its learners would compute one by one."""

import numpy as np
import pytest
import torch
from torch import nn

from algorithms.core.population import (
    Generators,
    Linear,
    Normalizer,
    Tanh,
    adam,
    affine,
    clip_gradients,
    descend,
    finite,
    mlp,
)
from tests.toy import linears

SEEDS = [3, 11, 4]


def separate(population: nn.Sequential) -> list[nn.Sequential]:
    """The learners' networks, each of torch's own layers."""
    learners = []
    for p in range(len(linears(population)[0].weight)):
        layers = []
        for layer in population:
            if not isinstance(layer, Linear):
                layers.append(type(layer)())
                continue
            own = nn.Linear(*layer.weight.shape[1:])
            own.weight.data, own.bias.data = layer.weight[p].T.detach().clone(), layer.bias[p, 0].detach().clone()
            layers.append(own)
        learners.append(nn.Sequential(*layers))
    return learners


def equal(population: nn.Sequential, learners: list[nn.Sequential], rtol: float, atol: float) -> None:
    for ours, theirs in zip(separate(population), learners, strict=True):
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=rtol, atol=atol)


def gradients(network: nn.Sequential) -> list[torch.Tensor]:
    return [p.grad for p in network.parameters() if p.grad is not None]


DRAWS = {
    "normal": lambda g: g.normal(2, 3),
    "uniform": lambda g: g.uniform(2, 3),
    "permutations": lambda g: g.permutations(2, 9),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_learner_draws_the_same_numbers_whoever_trains_beside_it(draw):
    together, alone = Generators(SEEDS, "actions"), Generators([11], "actions")
    other = Generators([7, 11], "actions")
    for _ in range(3):  # also after the first draw
        numbers = draw(together)
        assert torch.equal(numbers[1], draw(alone)[0])
        assert torch.equal(numbers[1], draw(other)[1])
        assert not torch.equal(numbers[0], numbers[2])


def test_streams_and_seeds_are_independent():
    n = 20_000
    rows = [Generators([seed], stream).normal(n)[0] for seed in (0, 1, 2) for stream in ("actions", "minibatches")]
    correlation = torch.corrcoef(torch.stack(rows)) - torch.eye(len(rows))
    assert correlation.abs().max() < 4.5 / n**0.5  # 15 pairs, each of standard error n^-0.5
    again = Generators([0], "actions").normal(n)[0]
    assert torch.equal(again, rows[0])


def test_draws_have_their_distribution():
    g, n = Generators(SEEDS, "any"), 20_000
    normal, uniform = g.normal(n), g.uniform(n)
    assert normal.mean(1).abs().max() < 4 / n**0.5
    assert (normal.std(1) - 1).abs().max() < 4 / (2 * n) ** 0.5
    assert ((uniform >= 0) & (uniform < 1)).all()
    assert (uniform.mean(1) - 0.5).abs().max() < 4 / (12 * n) ** 0.5


def test_permutations_are_permutations():
    orders = Generators(SEEDS, "minibatches").permutations(4, 50)
    assert orders.shape == (3, 4, 50)
    assert torch.equal(orders.sort(-1).values, torch.arange(50).expand(3, 4, 50))
    assert len({tuple(order.tolist()) for order in orders.flatten(0, 1)}) == 12


def test_linear_and_mlp_equal_separate_layers():
    x = torch.randn(3, 7, 5)
    layer = Linear(5, 4, Generators(SEEDS, "weights"))
    layer.bias.data.normal_()
    network = mlp(5, (8, 6), 2, Generators(SEEDS, "weights"))
    for population in (nn.Sequential(layer), network):
        expected = torch.stack([own(x[p]) for p, own in enumerate(separate(population))])
        found = population(x)
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
        with torch.no_grad():
            assert torch.equal(population(x), found)
    assert [type(part) for part in network] == [Linear, Tanh, Linear, Tanh, Linear]


@pytest.mark.parametrize("n_out", [1, 3, 20])  # one column, a narrow product and a wide one
@pytest.mark.parametrize("rows", [1, 4])  # one bias for all rows, or one of each
@pytest.mark.parametrize("tanh", [False, True])
def test_gradients_of_an_affine_map_are_right_twice(n_out, rows, tanh):
    """By finite differences; the second ones are those of gradient penalties."""
    x, weight, bias = torch.randn(2, 4, 3), torch.randn(2, 3, n_out), torch.randn(2, rows, n_out)
    x, weight, bias = ((0.5 * part.double()).requires_grad_() for part in (x, weight, bias))

    def ours(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return affine(x, weight, bias, tanh)

    expected = torch.baddbmm(bias, x, weight)
    torch.testing.assert_close(ours(x, weight, bias), expected.tanh() if tanh else expected)
    assert torch.autograd.gradcheck(ours, (x, weight, bias))
    assert torch.autograd.gradgradcheck(ours, (x, weight, bias))


def test_initial_weights_are_orthogonal_of_the_gain_asked_for():
    network = mlp(5, (8,), 2, Generators(SEEDS, "weights"), last_gain=0.01)
    for layer, gain in zip(linears(network), (2**0.5, 0.01), strict=True):
        values = torch.linalg.svdvals(layer.weight.detach())
        torch.testing.assert_close(values, torch.full_like(values, gain))
        assert not layer.bias.any()
    alone = mlp(5, (8,), 2, Generators([11], "weights"))
    assert torch.equal(linears(network)[0].weight[1], linears(alone)[0].weight[0])


@pytest.mark.parametrize("weighted", [False, True])
def test_normalizer_has_the_moments_of_all_it_saw(weighted):
    rng = np.random.default_rng(0)
    normalizer, seen, weights = Normalizer(2, 3), [], []
    for n in (1, 40, 7):
        x = rng.normal(size=(2, n, 3)) * [1, 50, 1e-3] + [5, -2e3, 0]
        w = np.ones((2, n))
        if weighted:
            w[:, 1:] = rng.integers(0, 3, (2, n - 1))  # never nothing at all
        x[w == 0] = 1e9  # must not count
        normalizer.update(torch.tensor(x), torch.tensor(w) if weighted else None)
        seen.append(x)
        weights.append(w)
    x, w = np.concatenate(seen, 1), np.concatenate(weights, 1)
    for p in range(2):
        mean = np.average(x[p], 0, w[p])
        var = np.average((x[p] - mean) ** 2, 0, w[p])
        np.testing.assert_allclose(normalizer.mean[p, 0], mean, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(normalizer.var[p, 0], var, rtol=1e-10)
        rows = rng.normal(size=(5, 3)) * np.sqrt(var) * 2 + mean
        expected = (rows - mean) / np.sqrt(var + 1e-8)
        ours = normalizer(torch.tensor(rows).float().expand(2, -1, -1))[p]
        np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-3)  # float32: 2000 +- 50 keeps 5 digits
    assert normalizer.count.flatten().tolist() == w.sum(1).tolist()


def test_normalizer_starts_as_identity_clips_and_survives_saving():
    normalizer = Normalizer(1, 2)
    x = torch.tensor([[[3.0, -4.0], [50.0, -1e6]]])
    torch.testing.assert_close(normalizer(x), torch.tensor([[[3.0, -4.0], [10.0, -10.0]]]))
    normalizer.update(torch.randn(1, 30, 2) * 5 + 1)
    copy = Normalizer(1, 2)
    copy.load_state_dict(normalizer.state_dict())
    assert torch.equal(copy(x), normalizer(x))
    assert not torch.equal(normalizer(x), Normalizer(1, 2)(x))


def test_gradients_are_clipped_learner_by_learner():
    network = mlp(4, (6,), 2, Generators(SEEDS, "weights"))
    learners, max_norm = separate(network), 0.5
    x, scale = torch.randn(3, 9, 4), torch.tensor([0.01, 1.0, 100.0])  # the first is below the norm, the last far above
    (network(x).square().sum((1, 2)) * scale).sum().backward()
    clip_gradients(list(network.parameters()), max_norm)
    norms = []
    for p, own in enumerate(learners):
        (own(x[p]).square().sum() * scale[p]).backward()
        norms.append(nn.utils.clip_grad_norm_(own.parameters(), max_norm))
        for ours, theirs in zip(gradients(network), gradients(own), strict=True):
            expected = theirs.T if theirs.dim() == 2 else theirs[None]
            torch.testing.assert_close(ours[p], expected, rtol=1e-5, atol=1e-7)
    assert norms[0] < max_norm < norms[1] < norms[2]


@pytest.mark.parametrize("max_norm", [0.5, float("inf")])
def test_descend_is_adam_on_every_learner_by_itself(max_norm):
    network = mlp(4, (6,), 1, Generators(SEEDS, "weights"))
    learners = separate(network)
    optimizer = adam(network.parameters(), 1e-2)
    optimizers = [torch.optim.Adam(own.parameters(), lr=1e-2, eps=1e-5) for own in learners]
    for _ in range(20):
        x = torch.randn(3, 8, 4)
        target = torch.tensor([[0.1], [1.0], [30.0]])
        descend(optimizer, (network(x)[..., 0] - target).square().mean(1), max_norm)
        for p, (own, single) in enumerate(zip(learners, optimizers, strict=True)):
            single.zero_grad()
            (own(x[p])[:, 0] - target[p]).square().mean().backward()
            nn.utils.clip_grad_norm_(own.parameters(), max_norm)
            single.step()
        # Rounding alone: a mean over learners is off by 3e-5 after 20 steps, one clip for all by 1e-3.
        equal(network, learners, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("max_norm", [0.5, float("inf")])
def test_a_nan_loss_spoils_its_own_learner_only(max_norm):
    def trained(poison: float) -> nn.Sequential:
        network = mlp(4, (6,), 1, Generators(SEEDS, "weights"))
        optimizer, x = adam(network.parameters(), 1e-2), torch.ones(3, 8, 4)
        for _ in range(3):
            descend(optimizer, network(x).square().mean((1, 2)) * torch.tensor([1.0, poison, 1.0]), max_norm)
        return network

    sound, spoilt = trained(1.0), trained(float("nan"))
    assert finite(sound).tolist() == [True, True, True]
    assert finite(spoilt).tolist() == [True, False, True]
    for a, b in zip(sound.parameters(), spoilt.parameters(), strict=True):
        assert torch.equal(a[[0, 2]], b[[0, 2]])


def test_finite_looks_at_every_parameter_of_every_module():
    first, second = (mlp(2, (3,), 1, Generators(SEEDS, stream)) for stream in ("a", "b"))
    assert finite(first, second).tolist() == [True, True, True]
    linears(second)[1].bias.data[2] = float("inf")
    linears(first)[0].weight.data[0, 1, 2] = float("nan")
    assert finite(first, second).tolist() == [False, True, False]
    assert finite(second).tolist() == [True, True, False]
