"""Sources of samples that always give the same: for losses worked out by hand."""

from typing import Any

import torch

from algorithms.core.experience import Batch, Samples, Trajectories


class Fixed(Samples):
    """Gives this batch, or these trajectories, whatever is asked for."""

    def __init__(self, batch: Batch | None = None, trajectories: Trajectories | None = None) -> None:
        self._batch, self._trajectories = batch, trajectories

    def transitions(self, n: int) -> Batch:
        assert self._batch is not None
        return self._batch

    def trajectories(self, n: int, segment: int | None = None) -> Trajectories:
        assert self._trajectories is not None
        return self._trajectories


def searcher(parameters: Any) -> torch.optim.LBFGS:
    """Return an optimiser that goes on until rounding stops it."""
    return torch.optim.LBFGS(
        parameters,
        max_iter=2000,
        history_size=50,
        tolerance_grad=1e-11,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )
