"""The study of sequences by other routes: loops over all sequences, numpy, torch's own cells, scipy's minimiser."""

import itertools
import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.optimize import minimize
from torch.nn.functional import softplus

from algorithms.core.partition import solve_log_z
from algorithms.core.population import Generators
from studies.core import parts
from studies.core.gradients import gradient
from studies.core.losses import kim_bengio
from studies.core.parts import kept
from studies.sequences import chapter, claims, clip, gradients, oracles, schema, sessions, study, tree
from studies.sequences.measures import Measures, mean
from studies.sequences.networks import GRU, LSTM
from studies.sequences.schema import Sessions, Size
from studies.sequences.training import Learner, Learners, Trial, greedy, hinge, reverse_kl, seqgan, train
from tests import synthetic
from tests.command import threefold
from tests.fresh import CONTEXT
from threefold.base.errors import InputError
from threefold.cells.study import run
from threefold.profile.design import load
from threefold.report import studies as chapters
from threefold.report.tables import latex
from threefold.tables.schema import read_csv

V, T = 4, 5
SEEDS = [0, 1, 2]


def every(kinds, length):
    return list(itertools.product(range(kinds), repeat=length))


def random_log_p(size, seed=0, spread=2.0):
    return (spread * torch.randn(2, size, generator=torch.Generator().manual_seed(seed)).double()).log_softmax(-1)


@pytest.fixture(scope="module")
def log_p():
    return torch.stack([oracles.oracle(seed, V, T).log_p for seed in SEEDS])


# The tree


def test_log_z_by_three_routes_and_by_a_loop():
    """Every sequence in turn, the soft value of the empty prefix, and a transfer matrix."""
    first, between = torch.randn(2, 3).double(), torch.randn(2, 3, 3).double()
    by_loop = [
        math.log(
            sum(math.exp(first[i, x[0]] + sum(between[i, a, b] for a, b in itertools.pairwise(x))) for x in every(3, 4))
        )
        for i in range(2)
    ]
    levels = tree.pairs(first, between, 4)
    for found in (tree.total(levels).logsumexp(-1), tree.soft_value(levels), tree.transfer(first, between, 4)):
        assert found.tolist() == pytest.approx(by_loop, rel=1e-12)


def test_long_sequences_by_a_transfer_matrix():
    """50 tokens, 20 steps: 10^34 sequences; numpy's product of matrices."""
    first, between = torch.randn(1, 50).double(), torch.randn(1, 50, 50).double()
    power = np.linalg.matrix_power(between[0].exp().numpy(), 19)
    expected = np.log((first[0].exp().numpy() @ power).sum())
    assert tree.transfer(first, between, 20).item() == pytest.approx(expected, rel=1e-12)


def test_totals_and_steps_are_those_of_each_sequence():
    levels = [torch.randn(2, 3**t, 3) for t in range(3)]
    total, index = tree.total(levels), torch.arange(27).expand(2, -1)
    steps = tree.steps(levels, index)
    for i, (a, b, c) in enumerate(every(3, 3)):
        expected = [levels[0][1, 0, a].item(), levels[1][1, a, b].item(), levels[2][1, 3 * a + b, c].item()]
        assert steps[1, i].tolist() == pytest.approx(expected)
        assert total[1, i].item() == pytest.approx(sum(expected), rel=1e-5)


def test_conditionals_make_the_density_again():
    log_density = random_log_p(27)
    levels = tree.conditionals(log_density, 3, 3)
    torch.testing.assert_close(tree.total(levels), log_density)
    for level in levels:
        torch.testing.assert_close(level.exp().sum(-1), torch.ones(level.shape[:2]).double())


def test_draws_have_their_shares():
    log_density = torch.tensor([[0.1, 0.6, 0.0, 0.3]]).double().log()
    drawn = tree.draw(log_density, 20_000, Generators([0], "draws"))
    assert (drawn[0].bincount(minlength=4) / 20_000).tolist() == pytest.approx([0.1, 0.6, 0, 0.3], abs=0.015)
    assert not (drawn == 2).any()


# Networks and oracles


@pytest.mark.parametrize(("own", "theirs"), [(LSTM, torch.nn.LSTM), (GRU, torch.nn.GRU)])
def test_cells_are_torchs(own, theirs):
    net = own(3, 5, Generators([0, 1], "cells"))
    with torch.no_grad():
        net.recurrent.bias.normal_()
    other = theirs(3 + 1, 5, batch_first=True)
    with torch.no_grad():
        other.weight_ih_l0.copy_(net.token[1].T)
        other.bias_ih_l0.zero_()
        other.weight_hh_l0.copy_(net.recurrent.weight[1].T)
        other.bias_hh_l0.copy_(net.recurrent.bias[1, 0])
    sequences = torch.tensor(every(3, 4))
    heard = torch.cat([torch.full((len(sequences), 1), 3), sequences[:, :-1]], 1)
    state, _ = other(torch.nn.functional.one_hot(heard, 4).float())
    expected = net.head(state.flatten(0, 1).expand(2, -1, -1))[1].view(len(sequences), 4, 3)
    found = net.along(sequences.expand(2, -1, -1))
    torch.testing.assert_close(found[1], expected, rtol=1e-4, atol=1e-5)
    steps = tree.steps(net.levels(4), torch.arange(len(sequences)).expand(2, -1))
    torch.testing.assert_close(sessions.chosen(found, sequences.expand(2, -1, -1)), steps, rtol=1e-4, atol=1e-5)


def lstm_log_p(kinds, length, hidden, rng):
    """SeqGAN's oracle in numpy, a gate at a time; the numbers of `test_the_law_is_as_computed_elsewhere` are of it."""
    embedding = rng.normal(size=(kinds + 1, hidden))
    weights = {
        gate: (rng.normal(size=(hidden, hidden)), rng.normal(size=(hidden, hidden)), rng.normal(size=hidden))
        for gate in "ifoc"
    }
    out, bias = rng.normal(size=(hidden, kinds)), rng.normal(size=kinds)
    h, c, token, log_density = np.zeros((1, hidden)), np.zeros((1, hidden)), np.full(1, kinds), np.zeros(1)
    for _ in range(length):
        gate = {name: embedding[token] @ a + h @ b + d for name, (a, b, d) in weights.items()}
        i, f, o = (1 / (1 + np.exp(-gate[name])) for name in "ifo")
        c = f * c + i * np.tanh(gate["c"])
        h = o * np.tanh(c)
        logit = h @ out + bias
        logit = logit - np.log(np.exp(logit).sum(1, keepdims=True))
        log_density = (log_density[:, None] + logit).reshape(-1)
        token = np.tile(np.arange(kinds), len(h))
        h, c = np.repeat(h, kinds, 0), np.repeat(c, kinds, 0)
    return torch.from_numpy(log_density)


class Numbers:
    """Hands out the normal numbers of a numpy generator in the order that `density` asks for."""

    def __init__(self, rng, hidden, kinds):
        embedding = rng.normal(size=(kinds + 1, hidden))
        gates = {g: [rng.normal(size=s) for s in ((hidden, hidden), (hidden, hidden), (hidden,))] for g in "ifoc"}
        out, bias = rng.normal(size=(hidden, kinds)), rng.normal(size=kinds)
        heard, recurrent, offset = (np.concatenate([gates[g][k] for g in "ifco"], -1) for k in range(3))
        self.each = iter([embedding, heard, offset[None], recurrent, out, bias[None]])

    def normal(self, *shape):
        return torch.from_numpy(next(self.each).reshape(1, *shape))


def test_the_oracle_is_an_lstm_with_normal_weights(monkeypatch):
    real = oracles.Generators

    def fake(seeds, stream):
        return Numbers(np.random.default_rng(5), oracles.HIDDEN, V) if stream == "oracle 7" else real(seeds, stream)

    monkeypatch.setattr(oracles, "Generators", fake)
    expected = lstm_log_p(V, T, oracles.HIDDEN, np.random.default_rng(5))
    torch.testing.assert_close(oracles.density(3, 7, V, T), expected, rtol=1e-9, atol=1e-9)


def test_an_oracle_is_the_first_draw_with_enough_entropy(monkeypatch):
    entropies = [1.0, 2.0, 5.0, 6.0]

    def draw(seed, attempt, kinds, length):
        n = round(math.exp(entropies[attempt]))
        return torch.full((n,), -math.log(n)).double()

    monkeypatch.setattr(oracles, "density", draw)
    assert oracles.oracle(0, 4, 5).draw == 2  # half of 5 log 4 is 3.5
    assert oracles.oracle(0, 2, 2).draw == 0


def test_oracles_are_densities(log_p):
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(3).double())
    assert (oracles.entropy(log_p) >= 0.5 * T * math.log(V)).all()


# The clip law


def test_the_law_by_hand():
    """With a margin of log 4 the last two of 0.8, 0.15, 0.05 lie at the floor, and f = 1/6."""
    found = clip.law(torch.tensor([[0.8, 0.15, 0.05]]).double().log(), math.log(4)).exp()
    assert found[0].tolist() == pytest.approx([4 / 6, 1 / 6, 1 / 6])
    even = torch.full((1, 7), 1 / 7, dtype=torch.float64)
    torch.testing.assert_close(clip.law(even.log(), 3.0).exp(), even)


def test_the_law_is_as_computed_elsewhere():
    """KL(p || q) of another program, for numpy's oracle of seed 0, whose range is 23.3 nats."""
    log_density = lstm_log_p(4, 5, 8, np.random.default_rng(0))[None]
    assert (log_density.max() - log_density.min()).item() == pytest.approx(23.3, abs=0.05)
    for margin, kl in ((2, 3.273), (4, 1.701), (6, 0.630), (8, 0.136), (12, 0.0020), (20, 0.0)):
        assert mean(log_density, log_density - clip.law(log_density, margin)).item() == pytest.approx(kl, abs=6e-4)


@pytest.mark.parametrize("margin", [1.0, 2.0, 4.0, 6.0, 8.0, 12.0])
def test_descent_on_the_hinge_ends_at_the_law(log_p, margin):
    law, found = clip.law(log_p, margin), clip.descend(log_p, margin)
    gap = mean(log_p, law - found)
    assert gap.abs().max() < 1e-5
    assert (law.exp() - found.exp()).abs().sum(-1).max() < 2e-3
    assert (law.exp().sum(-1) - 1).abs().max() < 1e-9
    assert (law.amax(-1) - law.amin(-1)).max() <= margin + 1e-9


@pytest.mark.parametrize("margin", [1.0, 4.0])
def test_the_law_is_maximum_likelihood_within_a_range(margin):
    log_density = random_log_p(40)[0]
    p = log_density.exp().numpy()

    def loss(energy):
        q = np.exp(-energy) / np.exp(-energy).sum()
        return p @ energy + np.log(np.exp(-energy).sum()), p - q

    best = minimize(
        loss, np.full(40, margin / 2), jac=True, bounds=[(0, margin)] * 40, options={"ftol": 1e-14, "gtol": 1e-9}
    )
    q = np.exp(-best.x) / np.exp(-best.x).sum()
    assert clip.law(log_density[None], margin)[0].exp().numpy() == pytest.approx(q, abs=5e-5)


def test_a_margin_beyond_the_range_has_no_bias():
    log_density = random_log_p(40)
    span = (log_density.amax(-1) - log_density.amin(-1)).max().item()
    torch.testing.assert_close(clip.law(log_density, span + 0.1), log_density)
    assert (clip.law(log_density, span - 1.0) - log_density).abs().max() > 1e-3


# The claims


def test_the_claims_hold_to_rounding_and_log_z_by_all_routes(log_p):
    rows = pd.DataFrame(claims.rows(log_p, SEEDS, V, T))
    assert rows["relative_error"].max() < 1e-12
    assert set(rows.groupby("where")["claim"].nunique().items()) >= {("sample", 4), ("tree", 5)}


def test_a_wrong_log_z_breaks_claims_1_and_2(log_p):
    case = claims.Case(SEEDS, V, T)
    weights = claims.everything(case, log_p)
    off = claims.claims(case, weights._replace(log_z=weights.log_z + 0.5))
    assert off["1"].min() > 0.01
    assert off["2"].min() > 0.05
    assert off["3"].max() < 1e-12


def test_scipys_root_is_the_solvers():
    """With the shares of a sample for weights the two roots are one."""
    case = claims.Case([0, 1], 3, 4)
    index = [torch.randint(81, (2, n), generator=torch.Generator().manual_seed(n)) for n in (30, 50)]
    u = -case.energy.detach() - case.log_q.detach()
    p, q = (torch.stack([i.bincount(minlength=81).double() / len(i) for i in each]) for each in index)
    solved = solve_log_z(*(u.gather(1, i) for i in index))
    for i in range(2):
        assert abs(claims.excess(p[i], q[i], u[i], solved[i].item())) < 1e-12


# Learners


def learners(method, log_density, energy="steps", margin=0.0, seeds=SEEDS):
    each = [Learner(margin, 0, seed) for seed in seeds]
    return Learners(Trial(method, energy), each, log_density, V, T)


def trained(method, log_density, steps=250, **kind):
    found = learners(method, log_density, **kind)
    for _ in train(found, steps, 1024):
        pass
    return Measures(found, log_density, log_density.exp())()


def test_ebm_gan_recovers_density_and_log_z(log_p):
    found = trained("ebm_gan", log_p, 400)
    assert (found["b"] - found["log_z"]).abs().max() < 0.05
    assert found["kl_energy"].max() < 0.05
    assert found["kl_generator"].max() < 0.05


def test_the_hinge_is_biased_as_the_law_says(log_p):
    """Networks come near the law from below: beyond the margin their energies only come back where data are."""
    found, law = trained("eb_seqgan_optimal", log_p, 400, margin=2.0), clip.law(log_p, 2.0)
    expected = mean(log_p, log_p - law)
    assert (found["kl_generator"] > 0.6 * expected).all()
    assert (found["kl_generator"] < 1.1 * expected).all()
    torch.testing.assert_close(found["kl_generator"], found["kl_energy"], rtol=1e-4, atol=1e-6)


def test_without_entropy_the_generator_forgets(log_p):
    found, with_it = (trained(method, log_p, margin=6.0) for method in ("eb_seqgan_greedy", "eb_seqgan"))
    assert (found["entropy"] < oracles.entropy(log_p) - 1).all()
    assert (found["kl_generator"] > 1).all()
    assert (with_it["kl_generator"] < 0.3).all()
    torch.testing.assert_close(found["nll_gen"], found["kl_generator"] + oracles.entropy(log_p))


def test_nll_oracle_praises_a_sharpened_oracle_with_every_seed():
    """SeqGAN's measure is by 0.6 to 1.4 nats better for q = p^2 / sum p^2 than for p, and KL(p, q) is 0.35 to 0.82."""
    for seed in SEEDS:
        one = oracles.oracle(seed, V, T)
        p = one.log_p.exp().numpy()
        q = p**2 / (p**2).sum()
        found = study.facts(seed, one)
        assert found["entropy"] == pytest.approx(-(p * np.log(p)).sum())
        assert found["sharp_nll"] == pytest.approx(-(q * np.log(p)).sum())
        assert found["sharp_entropy"] == pytest.approx(-(q * np.log(q)).sum())
        assert found["sharp_kl"] == pytest.approx((p * np.log(p / q)).sum())
        assert found["sharp_nll"] < found["entropy"] - 0.5  # the trap
        assert found["sharp_kl"] > 0.3


def test_weights_of_pairs_match_the_data_in_their_features(log_p):
    """Energy as feature function: at the optimum E_p[f] = E_p_theta[f]."""
    learner = learners("exact", log_p, energy="pairs")
    for _ in train(learner, 400, 2048):
        pass
    features = [learner.energy.first, learner.energy.between]
    energy = learner.energies()
    theta = (-energy).log_softmax(-1).exp().detach()
    by_p, by_theta = (
        torch.autograd.grad((w.float() * energy).sum(), features, retain_graph=True) for w in (log_p.exp(), theta)
    )
    for one, two in zip(by_p, by_theta, strict=True):
        assert (one - two).abs().max() < 0.05
        assert one.abs().max() > 0.2


def test_losses_are_the_sums_that_they_say():
    log_density = random_log_p(V**T, spread=1.0)
    found = learners("eb_seqgan", log_density, margin=3.0, seeds=[0, 1])
    with torch.no_grad():
        found.energy.net.head.weight.mul_(30)
    energy, log_q = found.energies().detach().double(), found.log_q().detach().double()
    assert energy.min() >= 0
    p, q = log_density.exp(), log_q.exp()
    n = 400_000
    assert hinge(found, n).tolist() == pytest.approx(
        ((p * energy).sum(-1) + (q * (3 - energy).clamp(min=0)).sum(-1)).tolist(), abs=0.02
    )
    assert kim_bengio(found, n).tolist() == pytest.approx(((p - q) * energy).sum(-1).tolist(), abs=0.02)
    expected = (p * softplus(energy)).sum(-1) + (q * softplus(-energy)).sum(-1)
    assert seqgan(found, n).tolist() == pytest.approx(expected.tolist(), abs=0.02)
    assert reverse_kl(found, 1).tolist() == pytest.approx((q * (energy + log_q)).sum(-1).tolist(), abs=1e-4)
    assert greedy(found, 1).tolist() == pytest.approx((q * energy).sum(-1).tolist(), abs=1e-4)


def test_with_an_endless_margin_the_hinge_is_kim_and_bengios(log_p):
    """Their gradients are one, so that a large margin has their noise in the place of a bias."""
    both = [learners("eb_seqgan", log_p, margin=1e3) for _ in range(2)]
    one, two = (gradient(loss(x, 64), x.energy) for loss, x in zip((hinge, kim_bengio), both, strict=True))
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6)


def test_measures_of_what_is_right(log_p):
    found = learners("ebm_gan", log_p)
    found.energies, found.log_q = lambda: -log_p - 1, lambda: log_p
    measured = Measures(found, log_p, log_p.exp())()
    torch.testing.assert_close(measured["log_z"], torch.ones(3).double())
    torch.testing.assert_close(measured["b"], torch.ones(3).double())
    for name in ("kl_energy", "kl_generator", "reverse_energy", "reverse_generator", "between"):
        assert measured[name].abs().max() < 1e-12, name
    for name in ("nll_oracle", "nll_gen", "entropy"):
        torch.testing.assert_close(measured[name], oracles.entropy(log_p))
    torch.testing.assert_close(measured["validation_energy"], -oracles.entropy(log_p))


@pytest.mark.parametrize("method", ["ebm_gan", "eb_seqgan", "seqgan"])
def test_a_learner_does_not_depend_on_who_learns_beside_it(log_p, method):
    alone = learners(method, log_p[2:], margin=4.0, seeds=[2])
    beside = learners(method, log_p, margin=4.0)
    for _ in zip(train(alone, 6, 64), train(beside, 6, 64), strict=True):
        pass
    for part in ("energy", "generator"):
        pairs = zip(getattr(alone, part).parameters(), getattr(beside, part).parameters(), strict=True)
        for one, two in pairs:
            torch.testing.assert_close(one[0], two[2], rtol=0, atol=1e-3)  # a tenth of one step


def test_finite_data_are_the_oracles_and_validation_is_apart(log_p):
    learner = Learner(0.0, 400, 0)
    log_share, validation = study.seen(log_p[0], learner)
    counts = log_share.exp() * 400
    torch.testing.assert_close(counts, counts.round())
    assert counts.sum().item() == pytest.approx(400)
    assert (validation * 100).sum().item() == pytest.approx(100)
    assert not torch.equal(log_share.exp(), validation)
    assert (log_p[0].exp()[log_share > -torch.inf]).min() > 1e-6
    again, _ = study.seen(log_p[0], Learner(6.0, 400, 0))
    assert torch.equal(again, log_share)  # all methods see the same


# Gradients


def test_values_of_prefixes_by_a_loop():
    log_q, reward = random_log_p(27, 1), torch.randn(2, 27).double()
    found = gradients.values(reward, log_q, 3, 3)
    weight = log_q[1].exp()
    assert found[0][1, 0].item() == pytest.approx((weight * reward[1]).sum().item())
    block = slice(9 * 2 + 3 * 1, 9 * 2 + 3 * 2)  # sequences that begin with 2, 1
    expected = (weight[block] * reward[1, block]).sum() / weight[block].sum()
    assert found[2][1, 7].item() == pytest.approx(expected.item())
    torch.testing.assert_close(found[3], reward)


def test_roll_outs_complete_prefixes_as_the_generator_does():
    log_q, reward = random_log_p(27, 2), torch.randn(2, 27).double()
    index = torch.tensor([[20], [5]]).expand(2, 3000)
    found = gradients.completed(log_q, reward, index, 3, 3, Generators([0, 1], "roll-outs")).mean(1)
    value = gradients.values(reward, log_q, 3, 3)
    for i, x in enumerate((20, 5)):
        expected = [value[1][i, x // 9].item(), value[2][i, x // 3].item(), reward[i, x].item()]
        assert found[i].tolist() == pytest.approx(expected, abs=0.03)


def test_every_estimate_is_right_on_average(log_p):
    net = LSTM(V, 4, Generators(SEEDS, "weights")).double()
    estimates = gradients.Estimates(net, log_p, T, Generators(SEEDS, "gradients"))
    exact, draws = estimates.exact(net), 300
    sums: dict[str, list] = {}
    for _ in range(draws):
        for name, (objective, _) in estimates.draw().items():
            sums.setdefault(name, []).append(gradient(objective, net))
    errors = {}
    for name, each in sums.items():
        found = torch.stack(each)
        bias = (found.mean(0) - exact).square().sum(-1)
        noise = found.var(0).sum(-1) / draws  # what the bias would be by chance
        assert (bias < 2 * noise).all(), name
        errors[name] = noise
    assert (errors["exact value"] < errors["to go"]).all()
    assert (errors["to go"] < errors["sequence"]).all()
    assert (errors["roll-outs less mean"] < errors["less mean"]).all()


# Sessions


@pytest.fixture(scope="module")
def world():
    return sessions.Law(20)


def test_the_law_by_bayes_over_tastes(world):
    """The probability of a session is a mean over tastes; a conditional is a ratio of two."""

    def probability(session):
        total = 0.0
        for taste in range(sessions.TASTES):
            share = world.taste[taste, session[0]]
            for a, b in itertools.pairwise(session):
                share = share * world.step[taste, a, b]
            total += share / sessions.TASTES
        return float(total)

    found = world.log_conditional(torch.tensor([[3, 7, 2]])).exp()[0]
    torch.testing.assert_close(found.sum(-1), torch.ones(3).double())
    for t, prefix in enumerate(([], [3], [3, 7])):
        ratio = probability([*prefix, 11]) / (probability(prefix) if prefix else 1.0)
        assert found[t, 11].item() == pytest.approx(ratio)


def test_sessions_follow_the_law(world):
    drawn = world.sample(40_000, 2, torch.Generator().manual_seed(0))
    shares = drawn[:, 0].bincount(minlength=20).double() / 40_000
    assert shares.tolist() == pytest.approx(world.taste.mean(0).tolist(), abs=0.01)
    nll = -sessions.chosen(world.log_conditional(drawn), drawn).sum(-1).mean().item()
    joint = world.taste[:, :, None] * world.step
    p = joint.mean(0).flatten()
    assert nll == pytest.approx(-(p * p.log()).sum().item(), abs=0.03)


def test_hit_rate_and_ndcg_by_hand():
    """Ranked first, third, eleventh, and one of twelve that tie: place 5.5 from 0."""
    scores = torch.arange(12, 0, -1.0).expand(1, 4, -1).clone()
    scores[0, 3] = 0
    found = sessions.ranked(scores, torch.tensor([[0, 2, 10, 4]]))
    assert found["hit"].item() == pytest.approx(3 / 4)
    assert found["ndcg"].item() == pytest.approx((1 + 1 / math.log2(4) + 1 / math.log2(7.5)) / 4)


def test_drawn_sessions_are_the_generators():
    net = LSTM(3, 6, Generators([0, 1], "generator"))
    with torch.no_grad():
        net.head.weight.mul_(20)
    drawn = sessions.sample(net, 30_000, 2, Generators([0, 1], "noise"))
    p = tree.total([level.log_softmax(-1) for level in net.levels(2)]).exp()
    for i in range(2):
        shares = (3 * drawn[i, :, 0] + drawn[i, :, 1]).bincount(minlength=9) / 30_000
        assert shares.tolist() == pytest.approx(p[i].tolist(), abs=0.015)


SMALL = Sessions(items=20, length=3, train=200, test=300, steps=4)


@pytest.mark.parametrize("method", ["ebm_gan", "eb_seqgan"])
def test_an_energys_last_conditional_is_exact(world, method):
    """That of exp(-E) / Z over all 8,000 sessions."""
    learner = sessions.Adversarial(
        method, SMALL, [0], sessions.draw(world, SMALL, [0]), LSTM(20, 32, Generators([0], ""))
    )
    with torch.no_grad():
        learner.energy.head.weight.mul_(20)
        energy = learner.total(torch.tensor(every(20, 3))[None])[0].double()
        found = learner.log_last(torch.tensor([[[2, 1, 0]]]))[0, 0]
    block = -energy[400 * 2 + 20 * 1 : 400 * 2 + 20 * 2]
    torch.testing.assert_close(found, block.log_softmax(-1), rtol=1e-4, atol=1e-5)
    assert (found - found.mean()).abs().max() > 0.1


@pytest.mark.parametrize("method", ["ebm_gan", "eb_seqgan", "seqgan"])
def test_reinforce_on_sessions_is_right_on_average(world, method):
    """Its gradient against that of the exact sum over all 8,000 sessions."""
    data = sessions.draw(world, SMALL, [0])
    begin = LSTM(20, sessions.HIDDEN, Generators([0], "weights"))
    learner = sessions.Adversarial(method, SMALL, [0], data, begin)
    with torch.no_grad():
        learner.energy.head.weight.mul_(20)
    every_session = torch.tensor(every(20, 3))[None]
    log_q = learner.log_q(every_session).sum(-1)
    with torch.no_grad():
        energy = learner.total(every_session)
    loss = {"seqgan": -(log_q.exp() * torch.sigmoid(-energy)), "ebm_gan": log_q.exp() * (energy + log_q)}
    exact = gradient(loss.get(method, loss["ebm_gan"]).sum(-1), learner.generator)[0]
    drawn = torch.stack([gradient(learner.generator_loss(), learner.generator)[0] for _ in range(150)])
    bias, noise = (drawn.mean(0) - exact).square().sum(), drawn.var(0).sum() / 150
    assert bias < 2 * noise
    assert noise < exact.square().sum()


def test_the_best_look_is_each_learners_own():
    net = LSTM(3, 2, Generators([0, 1], "weights"))
    best = sessions.Best(net)
    for k, value in enumerate(([2.0, 1.0], [1.0, 3.0], [1.5, 2.0])):
        with torch.no_grad():
            net.head.bias.fill_(k)
        best.look(torch.tensor(value), {"hit": torch.tensor([float(k), float(k)])})
    assert best.found["hit"].tolist() == [1.0, 0.0]
    best.restore()
    assert net.head.bias[:, 0, 0].tolist() == [1.0, 0.0]


def test_learners_stand_between_popularity_and_the_optimum(world):
    size = SMALL.model_copy(update={"steps": 150, "test": 2000, "train": 1000})
    rows = [line for model in ("likelihood", "ebm_gan") for line in sessions.rows(model, size, [0])]
    of = pd.DataFrame(rows).set_index(["model", "part"])
    best = of.loc[("optimum", "generator")]
    for key in (("likelihood", "generator"), ("ebm_gan", "generator"), ("followers", "generator")):
        assert of.loc[("popularity", "generator"), "ndcg"] < of.loc[key, "ndcg"] < best["ndcg"]
        assert of.loc[key, "item_nll"] > best["item_nll"]


# Files, chapter, store

SIZE = Size(
    seeds=[0, 1],
    tokens=3,
    length=3,
    steps=4,
    batch=32,
    records=2,
    margins=[2.0, 4.0, 8.0],
    data=[20, 40],
    repeats=2,
    sessions=SMALL,
)


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    """A profile with the study of the smallest size, computed by the command, with a store of its own."""
    folder = tmp_path_factory.mktemp("project")
    path = synthetic.design(folder, studies={"sequences": SIZE.model_dump()})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THREEFOLD_STORE", str(folder / "store"))
        patch.setattr(parts, "get_context", lambda _: CONTEXT)  # whose workers have loaded torch
        assert threefold("study", "sequences", "--params", path) == 0
    return path


def test_files_have_every_learner(params):
    folder = load(params).results / "studies" / "sequences"
    found = {name: read_csv(folder / f"{name}.csv.gz", columns) for name, columns in schema.FILES.items()}
    training = found["training"]
    assert not training.duplicated([*schema.LEARNER, "step", "metric"]).any()
    assert set(training["step"]) == {0, 2, 4}
    expected = sum(len(each) for _, each in study.trials(SIZE).values())
    assert len(training[list(schema.LEARNER)].drop_duplicates()) == expected
    assert expected == 2 * (5 + 3 + 3 + 3 + 3 + 3 + 1 + 1 + 4)
    assert len(found["clip"]) == 3 * 2
    assert len(found["oracles"]) == 2
    assert len(found["gradients"]) == 2 * 6 * 2
    assert len(found["sessions"]) == 10 * 2
    assert found["claims"]["relative_error"].max() < 1e-12
    assert not found["densities"].duplicated(["method", "margin", "source", "rank"]).any()


def test_the_chapter_has_figures_and_tables(params):
    design = load(params)
    (one,) = chapters.chapters(design).values()
    for name, plot in one.plots.items():
        assert plot.caption.endswith("."), name
        assert all((design.results / file).exists() for file in plot.data)
        assert plot.draw().axes
    tables = one.tables()
    assert all(latex(table).isascii() for table in tables.values())
    assert {name: len(table.shown) for name, table in tables.items()} == {
        "sequences_results": 12,
        "sequences_clip_table": 3,
        "sequences_trap_table": 9,
        "sequences_data_table": 10,
        "sequences_claims_table": 12,
        "sequences_gradients_table": 6,
        "sequences_sessions_table": 10,
    }


def test_the_aim_is_met_by_every_seed_or_missed():
    def verdict(worst):
        rows = [
            ("ebm_gan", "steps", 0.0, 0, seed, 4, metric, value)
            for seed, kl in ((0, 0.01), (1, worst))
            for metric, value in {
                "b": 1.0,
                "log_z": 1.01,
                "kl_energy": kl,
                "kl_generator": 0.0,
                "reverse_generator": 0.0,
                "between": 0.0,
                "validation_energy": 0.0,
                "validation_generator": 0.0,
            }.items()
        ]
        return chapter.results(pd.DataFrame(rows, columns=list(schema.TRAINING)), SIZE).shown["Aim"].to_list()

    assert verdict(0.049) == ["met"]
    assert verdict(0.051) == ["missed"]


def test_of_finite_data_the_look_that_validation_likes_counts():
    rows = [
        ("likelihood", "none", 0.0, data, 0, step, metric, value)
        for data in (0, 40)
        for step, kl, validation in ((0, 0.9, -5.0), (2, 0.3, -3.0), (4, 0.5, -4.0))
        for metric, value in {
            "kl_generator": kl,
            "validation_generator": validation,
            "kl_energy": np.nan,
            "validation_energy": np.nan,
            "log_z": np.nan,
            "b": np.nan,
        }.items()
    ]
    found = chapter.ends(pd.DataFrame(rows, columns=list(schema.TRAINING))).set_index("data")
    assert found["kl_generator"].to_dict() == {0: 0.5, 40: 0.3}


def test_a_part_that_is_done_is_not_computed_again(tmp_path, monkeypatch):
    monkeypatch.setenv("THREEFOLD_STORE", str(tmp_path))
    again = partial(kept, "sequences", "claims", files=schema.FILES, work=study.part)
    first = again(size=SIZE)

    def never(*_):
        raise AssertionError("computed again")

    monkeypatch.setattr(claims, "rows", never)
    pd.testing.assert_frame_equal(again(size=SIZE)["claims"], first["claims"])
    with pytest.raises(AssertionError, match="computed again"):
        again(size=SIZE.model_copy(update={"length": 2}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": 0}, "studies.sequences.steps: Input should be greater than 0"),
        ({"margins": [2.0, -1.0]}, "studies.sequences.margins.1: Input should be greater than 0"),
        ({"margins": [1e308]}, "studies.sequences.margins.0: Input should be less than or equal to 1000"),
        ({"data": [10**9]}, "studies.sequences.data.0: Input should be less than or equal to 10000000"),
        ({"margins": [2.0, 2.0]}, "studies.sequences.margins: [2.0, 2.0] names one twice; remove it"),
        ({"tokens": 50, "length": 20}, "studies.sequences: 50^20 sequences are too many to enumerate; take fewer"),
        ({"margin": [2.0]}, "studies.sequences.margin: no such key; did you mean 'margins'?"),
        ({"sessions": SMALL.model_dump() | {"items": 5}}, "studies.sequences.sessions.items: Input should be greater"),
    ],
)
def test_a_wrong_size_is_one_line(tmp_path, change, said):
    path = synthetic.design(tmp_path, studies={"sequences": SIZE.model_dump() | change})
    with pytest.raises(InputError) as caught:
        run("sequences", path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)
