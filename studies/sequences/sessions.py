"""Sessions of items by a stated law, and what learners recommend next: a synthetic stand-in for ratings of people.

The law. A session has one of 4 tastes, all alike likely, which nobody sees. A taste ranks the items in an order of its
own, drawn at random; the item at rank r is chosen with a share of 1/r (Zipf). The first item comes from the taste; each
later one does with probability 0.6, and else is one of three followers of the item before it, with probabilities 0.6,
0.3 and 0.1. The followers are drawn at random, once, and the same for every taste. So popularity, what follows what,
and the taste that the whole session betrays all matter, and the best recommendation is known: the posterior over tastes
gives the probability of every next item.

Learners see a finite data set. The last item of held-out sessions is what they rank: there an energy has an exact
conditional, softmax(-E(prefix, .)), with no log Z of sessions. Models:

- optimum: the law. popularity: counts. followers: counts of neighbours, and popularity where there are none.
- likelihood: an LSTM; likelihood_again: that LSTM, then as many such steps at a tenth of the rate, a control.
- ebm_gan, eb_seqgan, seqgan: that LSTM, then as many adversarial steps at a tenth of the rate, by REINFORCE with the
  rewards to go less their mean; no roll-outs. A session's E is sum_t e(prefix_t, x_t), for EB-SeqGAN made positive by
  softplus. Its margin is T log V, what a uniform density has: a margin of the tree's would clip sessions (clip.py).

Of each training the look with the best likelihood of validation data counts: of sessions for generators, of last items
for energies; SeqGAN's discriminator is no density, and ranks nothing.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from algorithms.core.population import Generators, adam, descend
from studies.core.discriminator import Points, discriminator_loss, solve_log_z
from studies.sequences.gradients import less_mean
from studies.sequences.networks import GRU, LSTM, Recurrent
from studies.sequences.schema import Sessions
from studies.sequences.training import RATES, Rates

TASTES, STICK = 4, 0.4
FOLLOWERS = torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64)
RANKED = 10
HIDDEN = 32
BATCH = 128
LOOKS = 20
RATE = 1e-2  # of the likelihood
SLOWER = 0.1  # of the tree's rates: here gradients are noisy, and the generator has begun already


class Law:
    """The probability of everything, of one drawn world."""

    def __init__(self, items: int) -> None:
        generator = torch.Generator().manual_seed(0)
        zipf = 1 / torch.arange(1, items + 1, dtype=torch.float64)
        orders = torch.stack([torch.randperm(items, generator=generator) for _ in range(TASTES)])
        self.taste = torch.zeros(TASTES, items, dtype=torch.float64)
        self.taste.scatter_(1, orders, (zipf / zipf.sum()).expand(TASTES, -1))  # [tastes, V]
        after = torch.stack([torch.randperm(items, generator=generator)[: len(FOLLOWERS)] for _ in range(items)])
        follow = torch.zeros(items, items, dtype=torch.float64)
        follow.scatter_(1, after, FOLLOWERS.expand(items, -1))
        self.step = (1 - STICK) * self.taste[:, None] + STICK * follow  # [tastes, V, V]

    def sample(self, n: int, length: int, generator: torch.Generator) -> Tensor:
        """Return n sessions, `[n, T]`."""
        taste = torch.randint(TASTES, (n,), generator=generator)
        item = self.taste[taste].multinomial(1, generator=generator)
        found = [item]
        for _ in range(length - 1):
            item = self.step[taste, item[:, 0]].multinomial(1, generator=generator)
            found.append(item)
        return torch.cat(found, 1)

    def log_conditional(self, sessions: Tensor) -> Tensor:
        """Return log p of every next item after every prefix of sessions `[n, T]`, `[n, T, V]`."""
        posterior = torch.full((len(sessions), TASTES), 1 / TASTES, dtype=torch.float64)
        given = self.taste.expand(len(sessions), -1, -1)  # [n, tastes, V]
        found = []
        for item in sessions.T:
            found.append((posterior[..., None] * given).sum(1))
            posterior = posterior * given[torch.arange(len(item)), :, item]
            posterior = posterior / posterior.sum(1, keepdim=True)
            given = self.step[:, item].transpose(0, 1)
        return torch.stack(found, 1).log()


class Data(NamedTuple):
    """Sessions of every learner, `[P, N, T]`."""

    train: Tensor
    validation: Tensor
    test: Tensor


def draw(law: Law, size: Sessions, seeds: list[int]) -> Data:
    """Return the data sets of the seeds."""
    generators = Generators(seeds, "sessions")
    numbers = size.train, -(-size.train // 4), size.test
    return Data(*(torch.stack([law.sample(n, size.length, g) for g in generators]) for n in numbers))


def chosen(values: Tensor, sessions: Tensor) -> Tensor:
    """Return what is said of the items that came, `[..., T]`, of `[..., T, V]` and sessions `[..., T]`."""
    return values.gather(-1, sessions[..., None])[..., 0]


def ranked(scores: Tensor, items: Tensor) -> dict[str, Tensor]:
    """Return the hit rate and NDCG of ten, `[P]`, of scores `[P, N, V]` and items `[P, N]`; a tie counts half."""
    own = scores.gather(-1, items[..., None])
    rank = (scores > own).sum(-1) + ((scores == own).sum(-1) - 1) / 2  # 0 is the first
    hit = (rank < RANKED).double()
    return {"hit": hit.mean(-1), "ndcg": (hit / (rank + 2).log2()).mean(-1)}


def of_last(log_item: Tensor, sessions: Tensor) -> dict[str, Tensor]:
    """Return measures, `[P]`, of log densities `[P, N, V]` of the last items of sessions `[P, N, T]`."""
    items = sessions[..., -1]
    return ranked(log_item, items) | {"item_nll": -chosen(log_item, items).mean(-1)}


def of_conditionals(log_item: Tensor, sessions: Tensor) -> dict[str, Tensor]:
    """Return measures, `[P]`, of log conditionals `[P, N, T, V]`."""
    return of_last(log_item[:, :, -1], sessions) | {"session_nll": -chosen(log_item, sessions).sum(-1).mean(-1)}


def counted(data: Data, items: int) -> dict[str, dict[str, Tensor]]:
    """Return the measures of what counts alone recommend."""
    popularity = torch.stack([x.flatten().bincount(minlength=items) for x in data.train]).double() + 1
    popularity = popularity / popularity.sum(-1, keepdim=True)
    pairs = data.train[..., :-1] * items + data.train[..., 1:]
    between = torch.stack([x.flatten().bincount(minlength=items**2) for x in pairs]).double().unflatten(1, (items, -1))
    followers = between + items * popularity[:, None] / 2  # as if each had been seen so often beforehand
    followers = followers / followers.sum(-1, keepdim=True)
    before = data.test[..., -2, None].expand(-1, -1, items)
    return {
        "popularity": of_last(popularity[:, None].expand(-1, data.test.shape[1], -1).log(), data.test),
        "followers": of_last(followers.gather(1, before).log(), data.test),
    }


class Best:
    """Of every learner the parameters and measures at the look that validation data like best."""

    def __init__(self, net: nn.Module) -> None:
        self.net, self.value, self.found = net, torch.tensor(torch.inf), dict[str, Tensor]()
        self.parameters = [p.detach().clone() for p in net.parameters()]

    @torch.no_grad()
    def look(self, value: Tensor, found: dict[str, Tensor]) -> None:
        """Take `found` and the parameters, where `value` `[P]` is the least so far."""
        better = value < self.value
        self.value = torch.where(better, value, self.value)
        self.found = {name: torch.where(better, x, self.found.get(name, x)) for name, x in found.items()}
        for kept, parameter in zip(self.parameters, self.net.parameters(), strict=True):
            kept.copy_(torch.where(better.view(-1, *[1] * (kept.dim() - 1)), parameter, kept))

    @torch.no_grad()
    def restore(self) -> None:
        """Put the parameters back."""
        for kept, parameter in zip(self.parameters, self.net.parameters(), strict=True):
            parameter.copy_(kept)


def log_items(net: LSTM, sessions: Tensor) -> Tensor:
    """Return a generator's log conditionals, `[P, N, T, V]`."""
    return net.along(sessions).double().log_softmax(-1)


@torch.no_grad()
def sample(net: LSTM, n: int, length: int, noise: Generators) -> Tensor:
    """Return n sessions of every generator, `[P, n, T]`."""
    state, found = tuple(x.expand(-1, n, -1) for x in net.start()), []
    for uniform in noise.uniform(n, length).unbind(-1):
        edges = net.head(state[0]).softmax(-1).cumsum(-1)
        item = torch.searchsorted(edges, uniform[..., None] * edges[..., -1:], right=True)[..., 0]
        found.append(item.clamp(max=net.kinds - 1))
        state = net.follow(state, found[-1])
    return torch.stack(found, -1)


class Training:
    """A generator that learns by likelihood."""

    def __init__(self, size: Sessions, seeds: list[int], data: Data, begin: LSTM | None = None) -> None:
        """Begin anew, or with the generators of another training."""
        weights = Generators(seeds, "weights")
        self.size, self.data = size, data
        self.generator, self.energy = LSTM(size.items, HIDDEN, weights), GRU(size.items, HIDDEN, weights)
        if begin:
            self.generator.load_state_dict(begin.state_dict())
        self.batches, self.noise = Generators(seeds, "data"), Generators(seeds, "noise")

    def batch(self) -> Tensor:
        """Return sessions of the data, `[P, B, T]`."""
        index = (self.batches.uniform(BATCH) * self.data.train.shape[1]).long()
        return self.data.train.gather(1, index[..., None].expand(-1, -1, self.size.length))

    def run(self, *parts: tuple[Recurrent, float, Callable[[], Tensor]]) -> Iterator[None]:
        """Step networks down their losses in turn, at rates that fall to zero; yield at each look."""
        steps, optimizers = self.size.steps, [adam(net.parameters(), rate) for net, rate, _ in parts]
        due = {steps * k // LOOKS for k in range(1, LOOKS + 1)}
        for step in range(steps):
            for (_, rate, loss), optimizer in zip(parts, optimizers, strict=True):
                optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
                descend(optimizer, loss(), Rates().max_norm)
            if step + 1 in due:
                yield

    def on_likelihood(self, rate: float) -> dict[str, Tensor]:
        """Train the generator; leave it at its best look, and return what it is worth there."""
        best = Best(self.generator)
        for _ in self.run((self.generator, rate, self.likelihood)):
            self.look_at_generator(best)
        best.restore()
        return best.found

    def likelihood(self) -> Tensor:
        """Return E_p[-log q], `[P]`."""
        sessions = self.batch()
        return -chosen(self.generator.along(sessions).log_softmax(-1), sessions).sum(-1).mean(-1)

    def look_at_generator(self, best: Best) -> None:
        """Measure the generator."""
        with torch.no_grad():
            value = of_conditionals(log_items(self.generator, self.data.validation), self.data.validation)
            best.look(value["session_nll"], of_conditionals(log_items(self.generator, self.data.test), self.data.test))


class Adversarial(Training):
    """EBM-GAN, EB-SeqGAN or SeqGAN: an energy beside the generator."""

    def __init__(self, method: str, size: Sessions, seeds: list[int], data: Data, begin: LSTM) -> None:
        super().__init__(size, seeds, data, begin)
        self.method, self.rates = method, RATES.get(method, Rates())

    def learn(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Train both; return what the generator and what the energy is worth at its best look."""
        generator, energy = Best(self.generator), Best(self.energy)
        for _ in self.run(
            (self.energy, self.rates.energy, self.energy_loss),
            (self.generator, self.rates.generator * SLOWER, self.generator_loss),
        ):
            self.look_at_generator(generator)
            self.look_at_energy(energy)
        return generator.found, energy.found

    def look_at_energy(self, best: Best) -> None:
        """Measure the energy's conditional of the last item."""
        with torch.no_grad():
            value, found = (of_last(self.log_last(x), x) for x in (self.data.validation, self.data.test))
            best.look(value["item_nll"], found)

    def log_last(self, sessions: Tensor) -> Tensor:
        """Return the energy's log conditional of the last item, `[P, N, V]`."""
        said = self.energy.along(sessions).double()
        before = chosen(said[:, :, :-1], sessions[..., :-1]).sum(-1, keepdim=True)
        return (-self.of_steps(before + said[:, :, -1])).log_softmax(-1)

    def of_steps(self, total: Tensor) -> Tensor:
        """Return E of the sum over steps."""
        return softplus(total) if self.method == "eb_seqgan" else total

    def steps_of_energy(self, sessions: Tensor) -> Tensor:
        """Return e(prefix_t, x_t), `[P, B, T]`."""
        return chosen(self.energy.along(sessions), sessions)

    def total(self, sessions: Tensor) -> Tensor:
        """Return E, `[P, B]`."""
        return self.of_steps(self.steps_of_energy(sessions).sum(-1))

    def log_q(self, sessions: Tensor) -> Tensor:
        """Return log q of every item, `[P, B, T]`."""
        return chosen(self.generator.along(sessions).log_softmax(-1), sessions)

    def energy_loss(self) -> Tensor:
        """Return the energy's loss, `[P]`, on sessions of the data and of the generator."""
        both = self.batch(), sample(self.generator, BATCH, self.size.length, self.noise)
        with torch.no_grad():
            log_q = [self.log_q(x).sum(-1) for x in both]
        p, q = (Points(self.total(x), each) for x, each in zip(both, log_q, strict=True))
        if self.method == "eb_seqgan":
            margin = self.size.length * math.log(self.size.items)
            return p.energy.mean(-1) + (margin - q.energy).clamp(min=0).mean(-1)
        if self.method == "seqgan":
            p, q = (Points(x.energy, torch.zeros_like(x.log_q)) for x in (p, q))
            return discriminator_loss(p, q, p.energy.new_zeros(len(p.energy)))
        return discriminator_loss(p, q, solve_log_z(p, q))

    def generator_loss(self) -> Tensor:
        """Return a surrogate, `[P]`, whose gradient is an estimate of the generator's."""
        sessions = sample(self.generator, BATCH, self.size.length, self.noise)
        log_q = self.log_q(sessions)
        with torch.no_grad():
            reward = torch.zeros_like(log_q) if self.method == "seqgan" else -log_q  # a step's
            if self.method == "ebm_gan":
                reward = reward - self.steps_of_energy(sessions)
            else:  # at the end
                energy = self.total(sessions)
                reward[..., -1] += torch.sigmoid(-energy) if self.method == "seqgan" else -energy
            advantage = less_mean(reward.flip(-1).cumsum(-1).flip(-1))
        return -(advantage * log_q).sum(-1).mean(-1)


ADVERSARIAL = ("ebm_gan", "eb_seqgan", "seqgan")


def rows(model: str, size: Sessions, seeds: list[int]) -> Iterator[dict[str, Any]]:
    """Yield lines of sessions.csv: of an adversarial method, or of `likelihood` and all that is simpler."""
    law = Law(size.items)
    data = draw(law, size, seeds)
    first = Training(size, seeds, data)
    likeliest = first.on_likelihood(RATE)
    if model in ADVERSARIAL:
        generator, energy = Adversarial(model, size, seeds, data, first.generator).learn()
        yield from lines(model, "generator", seeds, generator)
        if model != "seqgan":
            yield from lines(model, "energy", seeds, energy)
        return
    truth = torch.stack([law.log_conditional(x) for x in data.test])
    yield from lines("optimum", "generator", seeds, of_conditionals(truth, data.test))
    for name, found in counted(data, size.items).items():
        yield from lines(name, "generator", seeds, found)
    yield from lines("likelihood", "generator", seeds, likeliest)
    again = Training(size, seeds, data, first.generator).on_likelihood(RATE * SLOWER)
    yield from lines("likelihood_again", "generator", seeds, again)


def lines(model: str, part: str, seeds: list[int], found: dict[str, Tensor]) -> Iterator[dict[str, Any]]:
    """Yield a line of every seed; what a model cannot say is nan."""
    for i, seed in enumerate(seeds):
        values = {
            name: found[name][i].item() if name in found else float("nan")
            for name in ("hit", "ndcg", "item_nll", "session_nll")
        }
        yield {"model": model, "part": part, "seed": seed} | values
