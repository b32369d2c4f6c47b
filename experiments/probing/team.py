"""Ranks that are measured together, while the others nap."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from collectives.executors.interpreted import Interpreted
from collectives.executors.plan import Scheduled, lower
from collectives.executors.waiting import naps_wanted
from experiments.job import Job
from experiments.probing.sizes import MESSAGE_SIZES

__all__ = ["Team", "by_host", "napping"]

_SHORTEST, _LONGEST = 2e-4, 5e-3  # seconds of a nap between two looks
_SLOTH = 8  # a nap is as long as what was waited already, over this


@dataclass(frozen=True, slots=True)
class Team:
    """Ranks at work together.

    ``job`` knows their communicator and clock, ``executor`` carries their messages, which lie in ``memory``.

    All methods but ``runner`` are collective over them.
    """

    job: Job
    executor: Interpreted
    memory: NDArray[np.uint8]

    @classmethod
    def of(cls, comm: MPI.Intracomm) -> Team:
        """The ranks of ``comm``."""
        return cls(Job.survey(comm), Interpreted(comm.Dup()), np.ones(2 * MESSAGE_SIZES[-1], np.uint8))

    @property
    def comm(self) -> MPI.Intracomm:
        """The communicator of the team."""
        return self.job.comm

    def line_up(self) -> None:
        """Wait for all: where cores are short with naps, so that who is late has a core to catch up on."""
        if self.job.oversubscribed and not naps_wanted():
            napping(self.comm)
        self.job.line_up()

    def agreed(self, number: float, most: int) -> int:
        """Rank 0's whole number between 1 and ``most``."""
        agreed = np.array([np.clip(number, 1, most)]).astype(np.int64)
        self.comm.Bcast(agreed)
        return int(agreed[0])

    def span(self, entered: int | None, left: int) -> float:
        """Seconds from the first entry to the last exit, in ns of each rank's clock; None: it takes no part.

        Where the clocks are not one, the longest time of a rank.
        """
        first = np.array([np.iinfo(np.int64).max if entered is None else entered])
        last = np.array([0 if entered is None else left])
        if not self.job.shared_clock:
            first, last = np.zeros(1, np.int64), last - first if entered is not None else last
            self.comm.Allreduce(MPI.IN_PLACE, last, MPI.MAX)
            return float(last[0]) * 1e-9
        self.comm.Allreduce(MPI.IN_PLACE, first, MPI.MIN)
        self.comm.Allreduce(MPI.IN_PLACE, last, MPI.MAX)
        return float(last[0] - first[0]) * 1e-9

    def runner(self, pattern: Scheduled, size: int) -> Callable[[], None]:
        """A call that carries out the rank's part of ``pattern``, a chunk of which has ``size`` bytes.

        Even chunks lie in ``memory`` before odd ones. All messages use the same memory, as those of a program do.
        """
        comm, buffers = self.comm, (self.memory[: 2 * size],)

        def place(chunk: int) -> tuple[int, int, int]:
            return 0, chunk % 2 * size, (chunk % 2 + 1) * size

        plan = lower(pattern, comm.rank, comm.size, place)
        return lambda: self.executor.run(plan, buffers)


def napping(comm: MPI.Intracomm) -> None:
    """A barrier in which a waiting rank leaves the core to others; it takes some milliseconds."""
    request, began = comm.Ibarrier(), time.monotonic()
    while not request.Test():
        waited = time.monotonic() - began
        time.sleep(min(_LONGEST, max(_SHORTEST, waited / _SLOTH)))


def by_host(comm: MPI.Intracomm) -> list[int]:
    """For each rank the number of its host, in the order in which hosts first appear; collective over ``comm``."""
    width = MPI.MAX_PROCESSOR_NAME
    mine = np.frombuffer(MPI.Get_processor_name().encode()[:width].ljust(width, b"\0"), np.uint8)
    table = np.empty((comm.size, width), np.uint8)
    comm.Allgather(mine, table)
    names = [row.tobytes() for row in table]
    seen = list(dict.fromkeys(names))
    return [seen.index(name) for name in names]
