"""What a policy does in a grid world, exactly: occupancies, divergences, success, and whether it is right where.

Shapes: policies and occupancies `[..., S, A]`, distributions of starts `[..., S]`, as `worlds` has them.
"""

import torch
from torch import Tensor

from studies.visual.worlds import STATES, Worlds

DISCOUNT = 0.95
HORIZON = 32  # steps until the time limit


def transitions(worlds: Worlds, policy: Tensor) -> Tensor:
    """Return the probabilities `[..., S, S]` of going from state to state, float64; from the goal none goes on."""
    between = policy.new_zeros(*policy.shape[:-1], STATES, dtype=torch.float64)
    between.scatter_add_(-1, worlds.moves, policy.double())
    return between * worlds.alive()[..., None]


def visits(worlds: Worlds, policy: Tensor, starts: Tensor, discount: float) -> Tensor:
    """Return sum_t gamma^t P(s_t, a_t), `[..., S, A]`, without a time limit, by one linear solve."""
    system = torch.eye(STATES, dtype=torch.float64, device=policy.device) - discount * transitions(worlds, policy).mT
    found = torch.linalg.solve(system, starts.double())
    return (found * worlds.alive())[..., None] * policy.double()


def occupancy(worlds: Worlds, policy: Tensor, starts: Tensor) -> Tensor:
    """Return the discounted occupancy `[..., S, A]`: it sums to 1 less the share of what comes after the goal."""
    return (1 - DISCOUNT) * visits(worlds, policy, starts, DISCOUNT)


def divergence(p: Tensor, q: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence `[...]` of two occupancies, nats.

    What comes after the goal is one more pair, so that both sum to 1.
    """
    p, q = (torch.cat([x.flatten(-2), (1 - x.sum((-2, -1))).clamp(min=0)[..., None]], -1) for x in (p, q))
    middle = (p + q) / 2
    each = (torch.xlogy(x, x) - torch.xlogy(x, middle) for x in (p, q))
    return sum(term.sum(-1) for term in each) / 2  # type: ignore[return-value] # a tensor, of two


def success(worlds: Worlds, policy: Tensor, starts: Tensor) -> Tensor:
    """Return the probability `[...]` of reaching the goal within the horizon."""
    onward, here = transitions(worlds, policy), starts.double()
    alive, arrived = worlds.alive(), torch.zeros_like(here[..., 0])
    for _ in range(HORIZON):
        here = (here[..., None, :] @ onward)[..., 0, :]
        arrived = arrived + (here * ~alive).sum(-1)
        here = here * alive
    return arrived


def shares(worlds: Worlds, policy: Tensor, starts: Tensor) -> Tensor:
    """Return the shares `[..., S, A]` of pairs in a roll-out of `HORIZON` steps that starts again at the goal."""
    onward, here = transitions(worlds, policy), starts.double()
    alive, total = worlds.alive(), torch.zeros_like(here)
    for _ in range(HORIZON):
        total = total + here
        here = (here[..., None, :] @ onward)[..., 0, :]
        here = here * alive + (here * ~alive).sum(-1, keepdim=True) * starts
    return total[..., None] * policy.double() / HORIZON


def best_logit(worlds: Worlds, policy: Tensor, starts: Tensor) -> Tensor:
    """Return the optimal discriminator's logit `[..., S, A]`: -inf where the policy alone goes, NaN where neither does.

    The policy's pairs are those of its roll-outs, the expert's those of whole walks.
    """
    expert = visits(worlds, worlds.expert(), starts, 1.0)
    return (expert / expert.sum((-2, -1), keepdim=True)).log() - shares(worlds, policy, starts).log()


def on_path(worlds: Worlds) -> Tensor:
    """Return the states `[..., S]` that the expert meets from the start, but for the goal."""
    return occupancy(worlds, worlds.expert(), worlds.at_start()).sum(-1) > 0


def off_path(worlds: Worlds) -> Tensor:
    """Return the states `[..., S]` that the expert never meets."""
    return worlds.alive() & ~on_path(worlds)


def average(values: Tensor, where: Tensor) -> Tensor:
    """Return the mean `[...]` of values over states `[..., S]`; NaN where there is none."""
    return (values * where).sum(-1) / where.sum(-1)


def agreement(worlds: Worlds, policy: Tensor) -> Tensor:
    """Return the probability of an optimal action, `[..., S]`."""
    return (policy * worlds.optimal()).sum(-1)


def preferred(worlds: Worlds, logit: Tensor) -> Tensor:
    """Return the chance `[..., S]` that the action with the highest logit `[..., S, A]` is optimal; ties at random."""
    best = logit == logit.amax(-1, keepdim=True)
    return (best & worlds.optimal()).sum(-1) / best.sum(-1)
