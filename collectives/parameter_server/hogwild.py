"""Asynchronous training without a server process: parameters in MPI windows, which all ranks read and add to.

    with Hogwild(comm, initial) as shared:
        shared.pull(weights)
        shared.push(gradient, learning_rate)

No rank answers a message and none takes a lock: a push is ``MPI_Accumulate`` with a sum, a pull is
``MPI_Get_accumulate`` without an operation, all within one shared access epoch that begins and ends with the window.
MPI makes both atomic for each element and for no more: a pull may see one half of another rank's push. (``MPI_Get``
would not even promise that: beside an accumulate its result is undefined; MPI 4.1, section 12.7.)

Sources: Niu, Recht, Ré and Wright, "Hogwild!" (NIPS 2011), whose sparse updates rarely meet; Dean et al., "Large scale
distributed deep networks" (NIPS 2012) for dense ones.

Progress: where the parameters lie in shared memory, nobody else is needed. Over a network without remote memory
access the MPI library of the rank that keeps them has to be called from time to time, and a rank that computes for long
without it makes the others wait.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from collectives.schedule import extents

__all__ = ["Hogwild"]

Vector = NDArray[np.float32]


class Hogwild:
    """``initial``, as rank 0 has it, cut evenly over the first ``servers`` ranks of ``comm`` (all by default).

    Collective, and so is ``close``. The vector is 1-D, contiguous, float32 and equally long on every rank (ValueError
    on all of them if not). Messages: a pull or push one for each server, n bytes in all. ``staleness`` lists, for each
    push of this rank, how many pushes of others were made since its last pull.
    """

    def __init__(self, comm: MPI.Intracomm, initial: Vector, servers: int | None = None) -> None:
        self._comm = comm.Dup()
        self.staleness: list[int] = []
        try:
            self._check(initial, servers)
        except ValueError:
            self._comm.Free()
            raise
        self._cuts = extents(initial.size, servers or comm.size)
        self._step = np.empty_like(initial)
        self._seen = self._mine = 0  # pushes that the last pull saw, and own ones since
        self._window, self._counter = self._kept(initial), MPI.Win.Allocate(8, 8, comm=self._comm)
        np.frombuffer(cast("Any", self._counter.tomemory()), np.int64)[:] = 0
        self._comm.Barrier()  # nobody reads what is not written yet
        for window in (self._window, self._counter):
            window.Lock_all(MPI.MODE_NOCHECK)
            window.Sync()

    def pull(self, out: Vector) -> None:
        """Fill ``out`` with the parameters as they are, element by element."""
        self._fits(out)
        self._seen, self._mine = self._count(0, MPI.NO_OP), 0
        empty = np.empty(0, np.float32)
        for server, (lo, hi) in self._pieces():
            self._window.Get_accumulate([empty, 0, MPI.FLOAT], out[lo:hi], server, [0, hi - lo, MPI.FLOAT], MPI.NO_OP)
        self._window.Flush_all()

    def push(self, gradient: Vector, learning_rate: float) -> None:
        """Take ``learning_rate`` · ``gradient`` from the parameters. On return every later pull of any rank sees it."""
        self._fits(gradient)
        np.multiply(gradient, np.float32(-learning_rate), out=self._step)
        for server, (lo, hi) in self._pieces():
            self._window.Accumulate(self._step[lo:hi], server, [0, hi - lo, MPI.FLOAT], MPI.SUM)
        self._pushed()

    def push_at(self, indices: NDArray[np.int64], gradient: Vector, learning_rate: float) -> None:
        """The same for the elements at ``indices`` alone, as ascending as they come; the others' gradient is 0.

        Messages: one for each server that keeps one of them, of their bytes. Duplicates add up. IndexError for an index
        outside of the vector.
        """
        if indices.size != gradient.size:
            raise ValueError(f"{indices.size} indices for {gradient.size} elements of a gradient")
        if indices.size and (indices.min() < 0 or indices.max() >= self._step.size):
            raise IndexError(f"an index lies outside of {self._step.size} parameters")
        places, inverse = np.unique(indices, return_inverse=True)
        step = np.zeros(places.size, np.float32)
        np.add.at(step, inverse, np.float32(-learning_rate) * gradient)
        for server, (lo, hi) in self._pieces():
            first, last = (int(place) for place in np.searchsorted(places, (lo, hi)))
            if first < last:
                self._scatter(server, places[first:last] - lo, step[first:last])
        self._pushed()

    def close(self) -> None:
        """Wait for all ranks, and give the windows back. Collective."""
        self._comm.Barrier()
        for window in (self._window, self._counter):
            window.Unlock_all()
            window.Free()
        self._comm.Free()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:  # else the others may be elsewhere, and waiting for them would hide the fault
            self.close()

    def _check(self, initial: Vector, servers: int | None) -> None:
        size = self._comm.size
        fault = ""
        if initial.dtype != np.float32 or initial.ndim != 1 or not initial.flags.c_contiguous:
            fault = f"parameters are a contiguous vector of float32, not {initial.ndim}-D {initial.dtype}"
        elif servers is not None and not 1 <= servers <= size:
            fault = f"{servers} servers cannot be among {size} ranks"
        counts = np.empty(size, np.int64)
        self._comm.Allgather(np.array([-1 if fault else initial.size], np.int64), counts)
        if not fault and (counts != initial.size).any():
            fault = f"rank {self._comm.rank} has {initial.size} parameters, and all ranks have {counts.tolist()}"
        if fault or (counts < 0).any():
            raise ValueError(fault or f"ranks {np.flatnonzero(counts < 0).tolist()} have no fitting parameters")

    def _kept(self, initial: Vector) -> MPI.Win:
        first = np.array(initial)
        self._comm.Bcast(first)
        lo, hi = self._cuts[self._comm.rank] if self._comm.rank < len(self._cuts) else (0, 0)
        window = MPI.Win.Allocate(4 * (hi - lo), 4, comm=self._comm)
        if hi > lo:
            np.frombuffer(cast("Any", window.tomemory()), np.float32)[:] = first[lo:hi]
        return window

    def _pieces(self) -> list[tuple[int, tuple[int, int]]]:
        """The servers that keep anything, beginning behind this rank so that not all begin with server 0."""
        servers = len(self._cuts)
        order = ((self._comm.rank + step) % servers for step in range(servers))
        return [(server, self._cuts[server]) for server in order if self._cuts[server][0] < self._cuts[server][1]]

    def _scatter(self, server: int, places: NDArray[np.int64], step: Vector) -> None:
        kind = MPI.FLOAT.Create_indexed_block(1, places.tolist())
        kind.Commit()
        try:
            self._window.Accumulate(step, server, [0, 1, kind], MPI.SUM)
            self._window.Flush_local(server)
        finally:
            kind.Free()

    def _pushed(self) -> None:
        self._window.Flush_all()
        before = self._count(1, MPI.SUM)
        self.staleness.append(before - self._seen - self._mine)
        self._mine += 1

    def _count(self, step: int, op: MPI.Op) -> int:
        before = np.zeros(1, np.int64)
        self._counter.Fetch_and_op(np.array([step], np.int64), before, 0, 0, op)
        self._counter.Flush(0)
        return int(before[0])

    def _fits(self, vector: Vector) -> None:
        if vector.shape != self._step.shape or vector.dtype != np.float32:
            raise ValueError(
                f"{self._step.size} float32 parameters do not fit {vector.dtype} of the shape {vector.shape}"
            )
