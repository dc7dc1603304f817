"""Learning a density of sequences: an energy, a generator or both, P learners at once.

| method             | the energy's loss                                | the generator's loss             |
| exact              | E_p[E] + log Z by enumeration: an upper bound    |                                  |
| likelihood         |                                                  | E_p[-log q]                      |
| ebm_gan            | the discriminator's, with log Z solved           | E_q[E + log q]                   |
| kim_bengio         | E_p[E] - E_q[E]                                  | E_q[E + log q]                   |
| eb_seqgan          | the hinge, E_p[E] + E_q[max(0, m - E)], E >= 0   | E_q[E + log q]                   |
| eb_seqgan_optimal  | the hinge                                        | none: q = exp(-E)/Z, enumerated  |
| eb_seqgan_greedy   | the hinge                                        | E_q[E]: EBGAN's, without entropy |
| seqgan             | E_p[softplus(-l)] + E_q[softplus(l)], l = -E     | -E_q[sigmoid(l)]                 |

EB-SeqGAN: Yoo et al. 2017 (arXiv 1706.09200), of which the abstract alone was at hand: its principle, no replication.
The hinge is EBGAN's (Zhao et al. 2017, arXiv 1609.03126). With the entropy its generator's reward is -E - log q, and
the whole is maximum-entropy imitation: a prefix is a state, a token an action.

Every expectation in an energy's loss is over a batch, drawn anew. A generator's loss is the exact sum over all
sequences, so that its gradient has no noise: `gradients.py` says what roll-outs would add. SeqGAN's generator begins
with maximum likelihood (Yu et al. 2017, arXiv 1609.05473), here for half of the steps; the others begin anew.

An energy is `steps`, sum_t e(prefix_t, x_t) by a GRU; `whole`, one number of the GRU's for the sequence; or `pairs`,
w . f(x) with the counts of neighbours as f: energy as feature function.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from algorithms.core.population import Generators, adam, descend
from studies.core.discriminator import Points, discriminator_loss
from studies.core.losses import ebm_gan, kim_bengio
from studies.sequences import tree
from studies.sequences.networks import GRU, LSTM

HIDDEN = 32
WARM = 0.5  # of SeqGAN's steps are its generator's on the likelihood


class Trial(NamedTuple):
    """What learns, and with which energy."""

    method: str
    energy: str = "steps"


class Learner(NamedTuple):
    """One of a trial's: EB-SeqGAN's margin, the size of its data (0: endless) and the seed."""

    margin: float
    data: int
    seed: int


@dataclass(frozen=True)
class Rates:
    """Adam's rates at the start; they fall to zero in a straight line."""

    energy: float = 1e-2
    generator: float = 1e-2
    max_norm: float = 1.0  # of a learner's gradient


# Of 1e-2, 3e-3, 1e-3 and 3e-4 the best for these: without weights a fast energy runs away from its generator.
UNWEIGHTED = Rates(energy=3e-3)
HINGED = ("eb_seqgan", "eb_seqgan_optimal", "eb_seqgan_greedy")
RATES = dict.fromkeys(("kim_bengio", *HINGED), UNWEIGHTED)


class Energy(nn.Module):
    """E of every sequence, by a GRU's totals over the steps, or what it says at the last one."""

    def __init__(self, kinds: int, length: int, whole: bool, generators: Generators) -> None:
        super().__init__()
        self.net, self.length, self.whole = GRU(kinds, HIDDEN, generators), length, whole

    def forward(self) -> Tensor:
        """Return `[P, S]`."""
        levels = self.net.levels(self.length)
        return levels[-1].flatten(1) if self.whole else tree.total(levels)


class Pairs(nn.Module):
    """E = w . f of every sequence; f counts its first token and each two neighbours."""

    def __init__(self, kinds: int, length: int, generators: Generators) -> None:
        """Start from 0."""
        super().__init__()
        self.first = nn.Parameter(torch.zeros(len(generators), kinds))
        self.between = nn.Parameter(torch.zeros(len(generators), kinds, kinds))
        self.length = length

    def forward(self) -> Tensor:
        """Return `[P, S]`."""
        return tree.total(tree.pairs(self.first, self.between, self.length))


class Learners:
    """The learners of a trial. Both parts are there; one that the method does not have is never used."""

    def __init__(self, trial: Trial, each: Sequence[Learner], log_p: Tensor, kinds: int, length: int) -> None:
        """`log_p` `[P, S]` is what the learners see: their oracles', or that of finite data, -inf where it has none."""
        seeds = [learner.seed for learner in each]
        weights = Generators(seeds, "weights")
        self.trial, self.log_p, self.length = trial, log_p, length
        self.margin = torch.tensor([learner.margin for learner in each])[:, None]
        self.data, self.noise = Generators(seeds, "data"), Generators(seeds, "noise")
        self.generator = LSTM(kinds, HIDDEN, weights)
        self.energy = (
            Pairs(kinds, length, weights)
            if trial.energy == "pairs"
            else Energy(kinds, length, trial.energy == "whole", weights)
        )
        self.has_energy = trial.method in ENERGY_LOSSES
        self.has_generator = trial.method != "exact"

    def energies(self) -> Tensor:
        """Return E of every sequence, `[P, S]`; a hinge's has the floor that its paper gives it."""
        found = self.energy()
        return softplus(found) if self.trial.method in HINGED else found

    def log_q(self) -> Tensor:
        """Return log q of every sequence, `[P, S]`."""
        if self.trial.method == "eb_seqgan_optimal":
            return (-self.energies()).log_softmax(-1)
        return tree.total([level.log_softmax(-1) for level in self.generator.levels(self.length)])

    def sides(self, n: int) -> tuple[Points, Points]:
        """Return n sequences of the data and of the generator, differentiable in the energy alone."""
        with torch.no_grad():
            log_q = self.log_q()
        energies = self.energies()
        index = tree.draw(self.log_p, n, self.data), tree.draw(log_q, n, self.noise)
        p, q = (Points(energies.gather(1, i), log_q.gather(1, i)) for i in index)
        return p, q


def exact(learners: Learners, n: int) -> Tensor:
    """Return E_p[E] + log Z, `[P]`: minus the log likelihood."""
    energies = learners.energies()
    return energies.gather(1, tree.draw(learners.log_p, n, learners.data)).mean(-1) + (-energies).logsumexp(-1)


def hinge(learners: Learners, n: int) -> Tensor:
    """Return E_p[E] + E_q[max(0, m - E)], `[P]`."""
    p, q = learners.sides(n)
    return p.energy.mean(-1) + (learners.margin - q.energy).clamp(min=0).mean(-1)


def seqgan(learners: Learners, n: int) -> Tensor:
    """Return the cross-entropy, `[P]`, of a discriminator that knows no density: l = -E."""
    p, q = (Points(side.energy, torch.zeros_like(side.log_q)) for side in learners.sides(n))
    return discriminator_loss(p, q, p.energy.new_zeros(len(p.energy)))


def likelihood(learners: Learners, n: int) -> Tensor:
    """Return E_p[-log q], `[P]`."""
    return -learners.log_q().gather(1, tree.draw(learners.log_p, n, learners.data)).mean(-1)


def reverse_kl(learners: Learners, n: int) -> Tensor:
    """Return E_q[E + log q] = KL(q || p_theta) - log Z, `[P]`."""
    log_q = learners.log_q()
    return (log_q.exp() * (learners.energies().detach() + log_q)).sum(-1)


def greedy(learners: Learners, n: int) -> Tensor:
    """Return E_q[E], `[P]`."""
    return (learners.log_q().exp() * learners.energies().detach()).sum(-1)


def seen_as_real(learners: Learners, n: int) -> Tensor:
    """Return -E_q[sigmoid(l)], `[P]`: SeqGAN's reward is D itself."""
    return -(learners.log_q().exp() * torch.sigmoid(-learners.energies().detach())).sum(-1)


Loss = Callable[[Learners, int], Tensor]
ENERGY_LOSSES: dict[str, Loss] = {
    "exact": exact,
    "ebm_gan": ebm_gan,
    "kim_bengio": kim_bengio,
    **dict.fromkeys(HINGED, hinge),
    "seqgan": seqgan,
}
GENERATOR_LOSSES: dict[str, Loss] = {
    "likelihood": likelihood,
    "ebm_gan": reverse_kl,
    "kim_bengio": reverse_kl,
    "eb_seqgan": reverse_kl,
    "eb_seqgan_greedy": greedy,
    "seqgan": seen_as_real,
}


def train(learners: Learners, steps: int, batch: int) -> Iterator[int]:
    """Yield the number of steps done, 0 and `steps` included; a step is the energy's, then the generator's."""
    method = learners.trial.method
    rates = RATES.get(method, Rates())
    on_energy = ENERGY_LOSSES.get(method), rates.energy, adam(learners.energy.parameters(), rates.energy)
    on_generator = GENERATOR_LOSSES.get(method), rates.generator, adam(learners.generator.parameters(), rates.generator)
    warm = (likelihood, *on_generator[1:])
    for step in range(steps):
        yield step
        parts = [warm] if method == "seqgan" and step < WARM * steps else [on_energy, on_generator]
        for loss, rate, optimizer in parts:
            if loss:
                optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
                descend(optimizer, loss(learners, batch), rates.max_norm)
    yield steps
