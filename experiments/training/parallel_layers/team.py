"""The ranks that compute the same layers together, each with its share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from collectives.schedule import extents
from experiments.training.flat import Array
from experiments.training.sums import Sums

if TYPE_CHECKING:
    from collectives import Communicator
    from collectives.catalogue import Algorithm

__all__ = ["Team"]


class Team:
    """Sums and gathers activations over ``comm``; ``seconds`` and ``nbytes`` count what that took and sent in all.

    Sums are by the allreduce called ``algorithm``, or the fastest by prediction. They have the same bits at all ranks,
    so whole tensors stay equal without a word. Making one is collective.
    """

    def __init__(self, comm: Communicator, algorithm: str = "") -> None:
        self.comm = comm
        self.rank, self.size = comm.rank, comm.size
        self.seconds, self.nbytes = 0.0, 0
        self._sums = Sums(comm, algorithm)
        self._chosen: dict[tuple[int, int], tuple[Algorithm, int]] = {}

    def share(self, units: int) -> tuple[int, int]:
        """This rank's range of so many units."""
        return extents(units, self.size)[self.rank]

    def summed(self, array: Array) -> Array:
        """The sum over the team, in a new array. An allreduce: 2(p−1)/p of its bytes from each rank with a ring."""
        began = time.perf_counter()
        key = array.size, array.itemsize
        if key not in self._chosen:
            self._chosen[key] = self._sums.algorithm(array.nbytes), self._sums.sent(*key)
        algorithm, sent = self._chosen[key]
        total = np.empty(array.shape, array.dtype)
        self.comm.Allreduce(np.ascontiguousarray(array), total, algorithm=algorithm)
        self._count(began, sent)
        return total

    def gathered(self, part: Array, units: int) -> Array:
        """Each rank's share of ``units`` along the last axis, side by side. An allgather: its own bytes p−1 times."""
        began = time.perf_counter()
        rows = part.size // part.shape[-1]
        counts = [(hi - lo) * rows for lo, hi in extents(units, self.size)]
        pieces = np.empty(rows * units, part.dtype)
        self.comm.Allgatherv(np.ascontiguousarray(part), [pieces, counts])
        ends = np.cumsum(counts)[:-1]
        whole = np.concatenate([each.reshape(rows, -1) for each in np.split(pieces, ends)], axis=1)
        self._count(began, part.nbytes * (self.size - 1))
        return whole.reshape(*part.shape[:-1], units)

    def _count(self, began: float, nbytes: int) -> None:
        self.seconds += time.perf_counter() - began
        self.nbytes += nbytes
