"""What a processor spends: on a message at each end, and on reducing."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI

from experiments.probing.sampling import Item
from experiments.probing.team import Team
from experiments.traffic import Stream, partner
from kernels import reduce

__all__ = ["DEPENDABLE", "burst_sizes", "effort", "reduction", "reduction_together"]

_BURST_BYTES, _MOST_MESSAGES = 1 << 16, 16  # of a burst: what buffers of the system take without anyone waiting
_LONGEST_MESSAGE = 1 << 15
DEPENDABLE = _LONGEST_MESSAGE
"""Eager limit (bytes) from which on senders are rid of a burst; a way through memory with a lower one is full soon."""

_ARRIVAL = 3e-3  # seconds that receivers nap beside what the burst takes on the way
_ARITHMETIC = 2e-3  # CPU seconds of a sample of reductions
_SLICE = 40e-3  # seconds that a sample of reductions lasts with too few cores: several turns of the scheduler


def burst_sizes(eager: int) -> tuple[int, ...]:
    """Sizes of messages of which a sender is rid without its receiver, for the cost per message and per byte."""
    largest = min(max(eager, 8), _LONGEST_MESSAGE)
    return tuple(sorted({8, *(size for size in (largest // 4, largest // 2, largest) if size >= 256)}))


def effort(team: Team, size: int, beta: float, *, eager: bool) -> Item:
    """CPU seconds that one end spends on a message: the o of LogP (Culler et al. 1993), and its growth with the size.

    Nobody waits, for waiting costs CPU time too: the senders send a burst while the receivers nap, and then these take
    it, which is all there. Where senders are not rid of bursts before their receivers are ready (``eager`` is false),
    only posting them counts. ``beta``: about how many seconds a byte takes.
    """
    count = min(_MOST_MESSAGES, max(2, _BURST_BYTES // size))
    return Item(_sent_early(team, size, count, beta) if eager else _posted(team, size, count))


def _sent_early(team: Team, size: int, count: int, beta: float) -> Callable[[], float | None]:
    call = team.runner(Stream(count, back=False), size)
    receives = team.comm.rank >= team.comm.size // 2
    takes_part = partner(team.comm.rank, team.comm.size) is not None

    def take() -> float | None:
        team.line_up()
        if receives:
            time.sleep(_ARRIVAL + 2 * count * size * beta)
        start = time.thread_time_ns()
        call()
        return (time.thread_time_ns() - start) * 1e-9 / count if takes_part else None

    return take


def _posted(team: Team, size: int, count: int) -> Callable[[], float | None]:
    comm = team.comm.Dup()
    other, sends = partner(comm.rank, comm.size), comm.rank < comm.size // 2
    prepare = comm.Send_init if sends else comm.Recv_init
    requests = [] if other is None else [prepare(box, other) for box in np.ones((count, size), np.uint8)]

    def take() -> float | None:
        spent = 0
        for side in (True, False):  # when the receivers' turn comes, the messages are there
            team.line_up()
            if sends is side:
                start = time.thread_time_ns()
                for request in requests:
                    request.Start()
                if not sends:
                    MPI.Prequest.Waitall(requests)
                spent = time.thread_time_ns() - start
        MPI.Prequest.Waitall(requests)
        return spent * 1e-9 / count if requests else None

    return take


def reduction(team: Team, size: int, dtype: str) -> Item:
    """CPU seconds of adding a vector of ``size`` bytes to another, while all ranks of the team do so."""
    few, add = _adding(size, dtype, 1), 0.0
    few()
    start = time.perf_counter()
    few()
    add = max(time.perf_counter() - start, 1e-7)
    count = team.agreed(_ARITHMETIC / add, most=2000)
    call = _adding(size, dtype, count)

    def take() -> float | None:
        team.line_up()
        start = time.thread_time_ns()
        call()
        return (time.thread_time_ns() - start) * 1e-9 / count

    return Item(take)


def reduction_together(team: Team, size: int) -> Item:
    """Seconds, by the clock, of adding float32 vectors of ``size`` bytes while all ranks of the team do so."""
    few = _adding(size, "float32", 3)
    few()
    start = time.perf_counter()
    few()
    once = max((time.perf_counter() - start) / 3, 1e-7)
    count = team.agreed((_SLICE if team.job.oversubscribed else _ARITHMETIC) / once, most=10_000)
    call = _adding(size, "float32", count)

    def take() -> float | None:
        team.line_up()
        start = time.perf_counter_ns()
        call()
        return (time.perf_counter_ns() - start) * 1e-9 / count

    return Item(take)


def _adding(size: int, dtype: str, count: int) -> Callable[[], None]:
    kind = np.dtype(dtype)
    left, right = (np.ones(size // kind.itemsize, kind) for _ in range(2))
    add = reduce.get("sum")

    def repeat() -> None:
        with np.errstate(all="ignore"):
            for _ in range(count):
                add(left, right, right)

    return repeat
