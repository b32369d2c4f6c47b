"""The MPI job that a measurement runs in: its clock, its library, whether cores are short, and a barrier of our own."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI

from collectives import catalogue
from collectives.executors.interpreted import Interpreted
from collectives.executors.plan import lower
from experiments.machine import cores

__all__ = ["BARRIER_CLOCK", "SHARED_CLOCK", "Job", "library_name"]

SHARED_CLOCK = "shared"
"""All ranks read one clock, and a sample lasts from the first entry to the last exit."""

BARRIER_CLOCK = "barrier"
"""The ranks' clocks are not synchronised, and a sample lasts as long as the longest local time after a barrier."""

_HEADSTART = 20_000  # ns in which the news of the starting moment reaches every rank
_LONG_HEADSTART = 2_000_000  # where they take turns on the cores, or live behind a slow network
_MOST_CPUS = 8192


@dataclass(frozen=True, slots=True)
class Job:
    """What all ranks of ``comm`` know alike.

    ``clock`` says how long a sample is (SHARED_CLOCK or BARRIER_CLOCK). ``oversubscribed``: on some machine there are
    more ranks than cores; ``cores``: how many this rank's machine has for its ranks (emulated hosts are one machine).
    ``timer_overhead``: median seconds between two looks at the clock with nothing between.
    ``line_up`` brings all ranks to the start of a sample: through the dissemination barrier of the catalogue on a
    communicator of its own (so that the MPI library's way of leaving its barrier favours no contestant), and then,
    where ``agreed_start``, until a moment on the shared clock that rank 0 names. That leaves about 0.1 µs between the
    first and the last entry, and the barrier alone about 1 µs. With too few cores, where nobody can wait by looking at
    the clock without keeping another from its work, the ranks sleep until that moment.
    """

    comm: MPI.Intracomm
    library: str
    hosts: int
    clock: str
    oversubscribed: bool
    cores: int
    agreed_start: bool
    timer_overhead: float
    line_up: Callable[[], None]

    @classmethod
    def survey(cls, comm: MPI.Intracomm) -> Job:
        """Find all that out; collective over ``comm``. Cost: three small collectives and about 1 ms."""
        clocks = _clocks(comm)
        here, available = _machine(comm, clocks)
        short = _any(comm, here > available)
        agreed = len(set(clocks)) == 1
        private = comm.Dup()
        return cls(
            comm=comm,
            library=library_name(MPI.Get_library_version()),
            hosts=len(set(clocks)),
            clock=SHARED_CLOCK if len(set(clocks)) == 1 else BARRIER_CLOCK,
            oversubscribed=short,
            cores=available,
            agreed_start=agreed,
            timer_overhead=_timer_overhead(),
            line_up=_starting_moment(private, asleep=short) if agreed else _barrier(private),
        )

    @property
    def shared_clock(self) -> bool:
        """Whether times of different ranks may be compared."""
        return self.clock == SHARED_CLOCK

    def describe(self) -> dict[str, Any]:
        """For the ``environment`` object."""
        return {
            "ranks": self.comm.size,
            "library": self.library,
            "hosts": self.hosts,
            "clock": self.clock,
            "oversubscribed": self.oversubscribed,
            "cores": self.cores,
            "start": "agreed moment" if self.agreed_start else "barrier",
            "timer_overhead_seconds": self.timer_overhead,
        }


def library_name(text: str) -> str:
    """Name and version from what MPI_Get_library_version says: ``"Open MPI 5.0.11"``, ``"MPICH 4.3.0"``."""
    first = text.strip().splitlines()[0] if text.strip() else "an unknown MPI"
    found = re.match(r"(Open MPI|MPICH|MVAPICH2?|Intel\(R\) MPI)\D*?(\d[\w.]*)", first)
    return f"{found[1]} {found[2]}" if found else first[:60]


def _clocks(comm: MPI.Intracomm) -> list[bytes]:
    """For each rank, which clock it reads: CLOCK_MONOTONIC is one for all that booted together and share its offset."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    offset = os.readlink("/proc/self/ns/time") if Path("/proc/self/ns/time").exists() else ""
    mine = np.frombuffer(hashlib.sha256(boot + offset.encode()).digest(), np.uint8)
    table = np.empty((comm.size, mine.size), np.uint8)
    comm.Allgather(mine, table)
    return [row.tobytes() for row in table]


def _machine(comm: MPI.Intracomm, clocks: list[bytes]) -> tuple[int, int]:
    """How many ranks run on this rank's machine, and how many cores they have.

    One clock is one machine: emulated hosts have names of their own, so that MPI tells them apart, and share cores.
    """
    node = comm.Split(clocks.index(clocks[comm.rank]))
    mask = np.zeros(_MOST_CPUS, np.uint8)
    mask[list(os.sched_getaffinity(0))] = 1
    node.Allreduce(MPI.IN_PLACE, mask, MPI.MAX)  # a launcher may have bound each rank to a core of its own
    here = node.size
    node.Free()
    return here, cores(set(np.flatnonzero(mask).tolist()))


def _any(comm: MPI.Intracomm, mine: bool) -> bool:
    said = np.array([mine], np.uint8)
    comm.Allreduce(MPI.IN_PLACE, said, MPI.MAX)
    return bool(said[0])


def _timer_overhead() -> float:
    clock = time.perf_counter_ns
    return float(np.median([-(clock() - clock()) for _ in range(1000)])) * 1e-9


def _barrier(comm: MPI.Intracomm) -> Callable[[], None]:
    executor = Interpreted(comm)
    plan = lower(catalogue.get("barrier_dissemination"), comm.rank, comm.size, lambda chunk: (0, chunk, chunk))
    return lambda: executor.run(plan, ())


def _starting_moment(comm: MPI.Intracomm, *, asleep: bool) -> Callable[[], None]:
    # The window-based start of Hunold and Carpen-Amarie, "Reproducible MPI benchmarking is still not as easy as you
    # think" (2016), with windows of which each opens when all are there.
    barrier, moment, clock = _barrier(comm), np.zeros(1, np.int64), time.perf_counter_ns
    other = Interpreted(comm.Dup())
    plan = lower(catalogue.get("broadcast_binomial"), comm.rank, comm.size, lambda chunk: (0, chunk, chunk + 1))
    headstart = _LONG_HEADSTART if asleep else _HEADSTART

    def line_up() -> None:
        barrier()
        if comm.rank == 0:
            moment[0] = clock() + headstart
        other.run(plan, (moment,))
        start = int(moment[0])
        if asleep:
            time.sleep(max(0, start - clock()) * 1e-9)
        while clock() < start:
            pass

    return line_up
