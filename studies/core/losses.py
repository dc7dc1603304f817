"""Losses of an energy on samples of the data p and of a generator q, whatever space these are in."""

from typing import Protocol

from torch import Tensor

from studies.core.discriminator import Points, discriminator_loss, solve_log_z


class Learners(Protocol):
    """P learners that can be asked for both samples."""

    def sides(self, n: int) -> tuple[Points, Points]:
        """Return n points of the data and n of the generator, `[P, n]`, differentiable in the energy alone."""


def ebm_gan(learners: Learners, n: int) -> Tensor:
    """Return L_D, `[P]`, at the log Z where its slope is zero."""
    p, q = learners.sides(n)
    return discriminator_loss(p, q, solve_log_z(p, q))


def kim_bengio(learners: Learners, n: int) -> Tensor:
    """Return E_p[E] - E_q[E], `[P]` (Kim & Bengio 2016, arXiv 1606.03439)."""
    p, q = learners.sides(n)
    return p.energy.mean(-1) - q.energy.mean(-1)
