"""A function of tensors, recorded on a CUDA device and replayed: a few launches in place of a hundred."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class Recorded:
    """A function of CUDA tensors, replayed as CUDA graphs for other inputs of the same shapes.

    The function, the same in every call, must neither read a tensor's value nor branch on one, and give tensors that it
    made. The first call runs it as it is, which loads the kernels; the second records it. Work that it gives to
    `launch` stands between two graphs: Warp's loops until a solver has converged can only be part of a graph that Warp
    itself records.
    """

    def __init__(self) -> None:
        self._warm = False
        self._pieces: list[Callable[[], None]] = []
        self._inputs: list[Tensor] = []
        self._outputs: Sequence[Tensor] = ()

    def __call__(self, function: Callable[..., Sequence[Tensor]], *inputs: Tensor) -> list[Tensor]:
        """Return the function's outputs, in memory that no later call touches."""
        if not self._warm:
            self._warm = True
            return list(function(*inputs))
        if not self._pieces:
            self._record(function, inputs)
        for kept, given in zip(self._inputs, inputs, strict=True):
            kept.copy_(given)
        for piece in self._pieces:
            piece()
        return [output.clone() for output in self._outputs]

    def cut(self, work: Callable[[], None]) -> None:
        """End the graph being recorded, put `work` after it, and begin another."""
        self._end()
        self._pieces.append(work)
        self._begin()

    def _record(self, function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor]) -> None:
        global _recording
        self._inputs = [x.clone() for x in inputs]
        self._pool = torch.cuda.graph_pool_handle()
        torch.cuda.synchronize()
        with torch.cuda.stream(torch.cuda.Stream()):
            self._begin()
            _recording = self
            try:
                self._outputs = function(*self._inputs)
            finally:
                _recording = None
                self._end()
        torch.cuda.synchronize()

    def _begin(self) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")

    def _end(self) -> None:
        self._graph.capture_end()
        self._pieces.append(self._graph.replay)


_recording: Recorded | None = None


def launch(work: Callable[[], None]) -> None:
    """Do `work`, which is a graph already; while a function is recorded, make it a piece of it."""
    if _recording is None:
        work()
    else:
        _recording.cut(work)
