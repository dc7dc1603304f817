"""Learners of one row, side by side: what they see, which worlds they pick, and cloning.

A network is evaluated once for every state of the picked worlds, not for each time that a state is met: a loss weights
its outputs by how often walks met them, and what no walk met weighs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from algorithms.core.population import Generators, adam, descend
from algorithms.core.ppo import ReturnScale
from algorithms.core.state import State
from studies.visual import networks
from studies.visual.exact import DISCOUNT, HORIZON
from studies.visual.rollouts import WAYS, demonstrate, label, walk, weights
from studies.visual.views import Views, views
from studies.visual.worlds import Worlds, take

SHIFT = 2  # pixels, at most, by which a picture is moved where demonstrations are learnt from
AT_A_TIME = 16  # worlds that are looked at together
ROUNDS = 5  # in which DAgger asks the expert, the demonstrations one of them
BODIES: dict[str, type[networks.Pixels | networks.Table]] = {"pixels": networks.Pixels, "table": networks.Table}


@dataclass(frozen=True)
class Row:
    """What learns, from what."""

    method: str = "gail"  # bc, dagger
    sight: str = "pixels"  # table
    demonstrations: str = "start"  # a key of WAYS
    walks: str = "start"  # the learner's own
    reward: str = "log_d"  # a key of REWARDS in gail.py
    sees_action: bool = True  # the discriminator
    shared: bool = False  # one representation for policy and discriminator


@dataclass(frozen=True)
class Config:
    """Constants; found on seeds 10 to 12, which no profile has."""

    rate: float  # of Adam, as the others falling to 0 in a straight line; GAIL's policy
    reward_rate: float
    entropy_weight: float
    cloning_rate: float = 2e-3
    worlds: int = 32  # of an iteration, at most; new ones teach more than epochs on few
    walks: int = 512  # of an iteration, in all of its worlds
    minibatch: int = 1  # worlds; with 4, five maps take more than twice the iterations
    epochs: int = 8  # at most
    steps: int = 128  # of PPO in an iteration, at most: 32 worlds have 4 epochs
    clip: float = 0.2
    gae: float = 0.95
    max_norm: float = 0.5
    reward_steps: int = 4  # of the discriminator; of cloning
    batch: int = 4  # worlds of such a step, at most


CONFIGS = {
    # With 4 steps of norm 0.5 the discriminator of 10 maps stays at 0, and what is learnt from is a constant.
    "pixels": Config(1e-3, 1e-3, 0.01, reward_steps=12, max_norm=5.0),  # at 2e-3 most of 64 units die
    "table": Config(2e-2, 0.1, 0.001),
}


class Learners:
    """P learners, each in worlds of its own."""

    def __init__(self, row: Row, seeds: Sequence[int], worlds: Worlds, walks: int, iterations: int) -> None:
        """`walks`: the expert's in each world, or as many pairs. They live where `worlds` do."""
        device = worlds.start.device
        self.row, self.config, self.iterations = row, CONFIGS[row.sight], iterations
        self.worlds, self.walks = worlds, walks
        first, self.noise = Generators(seeds, "weights", device), Generators(seeds, "noise", device)
        self.counts = demonstrate(worlds, row.demonstrations, walks, Generators(seeds, "demonstrations", device))
        body = BODIES[row.sight](first)
        self.policy = networks.policy(body, first)
        self.discriminator = networks.discriminator(body if row.shared else BODIES[row.sight](first), first)
        self.rate = self.config.rate if row.method == "gail" else self.config.cloning_rate
        self.optimizer = adam(self.policy.parameters(), self.rate)
        self.reward_optimizer = adam(self.discriminator.parameters(), self.config.reward_rate)
        self.picked = min(worlds.start.shape[1], self.config.worlds)
        episodes = self.picked * (self.config.walks // self.picked)
        self.scale = ReturnScale(len(first), episodes, DISCOUNT, device)

    def state_dict(self) -> dict[str, Any]:
        """Return what goes on from one iteration to the next."""
        return self._state().state_dict()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Go back to a saved state."""
        state = self._state()
        state.load_state_dict(saved)
        self.counts = state.counts

    def _state(self) -> State:
        return State(
            policy=self.policy,
            discriminator=self.discriminator,
            optimizer=self.optimizer,
            reward_optimizer=self.reward_optimizer,
            scale=self.scale,
            noise=self.noise,
            counts=self.counts,
        )

    def cool(self, iteration: int) -> None:
        """Set the rates of an iteration."""
        left = 1 - iteration / self.iterations
        self.optimizer.param_groups[0]["lr"] = self.rate * left
        self.reward_optimizer.param_groups[0]["lr"] = self.config.reward_rate * left

    def pick(self) -> tuple[Tensor, Worlds]:
        """Return the worlds of an iteration, by number `[P, B]` and as they are."""
        index = self.noise.permutations(1, self.worlds.start.shape[1])[:, 0, : self.picked]
        return index, self.worlds.take(index)

    def see(self, worlds: Worlds, shifted: bool = False) -> Views:
        """Return what is seen in every state of B worlds; shifted: by each learner as its noise says."""
        if shifted:
            shift = (self.noise.uniform(2) * (2 * SHIFT + 1)).long() - SHIFT
        else:
            shift = worlds.start.new_zeros(len(worlds.start), 2)
        return views(worlds, shift)

    def glance(self, worlds: Worlds) -> tuple[Tensor, Views]:
        """Return which of B worlds a step on demonstrations is on, `[P, batch]`, and what is seen there."""
        index = self.noise.permutations(1, worlds.start.shape[1])[:, 0, : self.config.batch]
        return index, self.see(worlds.take(index), shifted=True)

    def logits(self, seen: Views) -> Tensor:
        """Return the discriminator's logits `[P, B, S, A]`, high for the expert."""
        (logit,) = self.discriminator(seen)
        return logit if self.row.sees_action else logit.mean(-1, keepdim=True).expand_as(logit)

    @torch.no_grad()
    def tables(self, worlds: Worlds) -> tuple[Tensor, Tensor]:
        """Return the policy and the discriminator's logits, `[P, M, S, A]` each, in given worlds."""
        policies, logits = [], []
        for some in worlds.split(AT_A_TIME):
            seen = self.see(some)
            policies.append(self.policy(seen)[0].softmax(-1))
            logits.append(self.logits(seen))
        return torch.cat(policies, 1), torch.cat(logits, 1)

    def clone(self) -> None:
        """Take steps up the likelihood of the expert's actions."""
        picked, worlds = self.pick()
        counts = take(self.counts, picked)
        for _ in range(self.config.reward_steps):
            index, seen = self.glance(worlds)
            log_policy = self.policy(seen)[0].log_softmax(-1)
            loss = -(weights(take(counts, index)) * log_policy).sum((1, 2, 3))
            descend(self.optimizer, loss, self.config.max_norm)

    def ask(self) -> None:
        """DAgger: add what the expert would do wherever the policy goes (Ross et al. 2011, arXiv 1011.0686)."""
        policy, _ = self.tables(self.worlds)
        walked = walk(self.worlds, policy, WAYS["start"], self.walks, HORIZON, self.noise)
        self.counts = self.counts + label(self.worlds, walked, self.noise).counts(walked.first())
