"""What learners of sequences are worth: sums over all sequences, without an error."""

import torch
from torch import Tensor

from algorithms.core.population import Generators
from studies.core.discriminator import Points, solve_log_z
from studies.sequences import tree
from studies.sequences.oracles import entropy
from studies.sequences.training import Learners

POINTS = 10_000  # of each source behind an estimate of log Z


class Measures:
    """Every metric that the learners have, in nats; a call returns `[P]` of each.

    Of the energy, p_theta = exp(-E) / Z: kl_energy = KL(p || p_theta), reverse_energy = KL(p_theta || p), log_z, range,
    from the least log p_theta to the largest, and validation_energy, the mean log p_theta of the validation data. Of
    the generator the same but for log Z and the range, and nll_oracle = E_q[-log p], nll_gen = E_p[-log q] and entropy.
    Of both: b, and between = KL(q || p_theta).
    """

    def __init__(self, learners: Learners, log_p: Tensor, validation: Tensor) -> None:
        """`log_p` `[P, S]` are the oracles', `validation` `[P, S]` shares of data that the learners do not see."""
        self.learners, self.log_p, self.validation = learners, log_p, validation
        self.noise = Generators(learners.noise.seeds, "measures")  # so that looking changes nothing

    @torch.no_grad()
    def __call__(self) -> dict[str, Tensor]:
        """Measure the learners as they are."""
        found: dict[str, Tensor] = {}
        if self.learners.has_energy:
            energy = self.learners.energies().double()
            log_z = (-energy).logsumexp(-1)
            log_theta = -energy - log_z[:, None]
            found |= {"log_z": log_z} | self.compared(log_theta, "energy")
            found |= {"range": log_theta.amax(-1) - log_theta.amin(-1)}
        if self.learners.has_generator:
            log_q = self.learners.log_q().double()
            found |= self.compared(log_q, "generator")
            found |= {"nll_oracle": -mean(log_q, self.log_p), "nll_gen": -mean(self.log_p, log_q)}
            found |= {"entropy": entropy(log_q)}
        if self.learners.has_energy and self.learners.has_generator:
            index = tree.draw(self.log_p, POINTS, self.noise), tree.draw(log_q, POINTS, self.noise)
            p, q = (Points(energy.gather(1, i), log_q.gather(1, i)) for i in index)
            found |= {"b": solve_log_z(p, q), "between": mean(log_q, log_q - log_theta)}
        return found

    def compared(self, log_density: Tensor, source: str) -> dict[str, Tensor]:
        """Return what a density is worth beside the oracle's."""
        return {
            f"kl_{source}": mean(self.log_p, self.log_p - log_density),
            f"reverse_{source}": mean(log_density, log_density - self.log_p),
            f"validation_{source}": (self.validation * log_density).sum(-1),
        }


def mean(log_p: Tensor, f: Tensor) -> Tensor:
    """Return E_p[f], `[P]`, of values `[P, S]`."""
    return (log_p.exp() * f).sum(-1)
