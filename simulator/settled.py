"""Runs in which nothing is shared but the ranks' own ports: one round settled after the other, without an event queue.

A rank's ports serve no round but the one that the rank is in, for both ends of a message must be there. So all that
happens in a round follows from the moments at which each rank entered it, although ranks drift apart: a recursion in
(max, +), a few nanoseconds a message. It holds for models without processor time, gap and eager messages; the event
engine gives the same to the last digits, and tests compare them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulator.compiled import compiled

__all__ = ["settle"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_TIE = 1e-12
"""Moments that differ by less than this share are one: so rounding never decides which message goes first."""


@compiled
def settle(
    first: Ints, fan: Ints, source: Ints, dest: Ints, delay: Floats, ideal: Floats, fold: Floats,
    left: Floats, start: Floats, stays: Floats,
) -> None:  # fmt: skip
    """Play the rounds of one block: ``left``, of shape (size,), is when each rank leaves its last round.

    ``start`` receives when each message took its ports. ``stays``, of shape (rounds or 0, size, 3), receives when each
    rank entered, had received, and left.
    """
    size = len(left)
    received, folding, seen = left.copy(), np.zeros(size), np.full(size, -1)
    out_free, in_free = np.zeros(size), np.zeros(size)
    for number in range(len(fan)):
        lo, hi = int(first[number]), int(first[number + 1])
        if fan[number] <= 1:
            for m in range(lo, hi):
                start[m] = max(left[source[m]], left[dest[m]])
        else:
            _in_turn(lo, hi, source, dest, ideal, left, start, out_free, in_free)
        for m in range(lo, hi):
            end = start[m] + ideal[m] + delay[m]
            for rank in (source[m], dest[m]):
                if seen[rank] != number:
                    seen[rank], received[rank], folding[rank] = number, left[rank], 0.0
                received[rank] = max(received[rank], end)
            folding[dest[m]] += fold[m]
        for m in range(lo, hi):
            for rank in (source[m], dest[m]):
                if seen[rank] == number:
                    seen[rank] = -2 - number  # once a round
                    _leave(rank, number, received, folding, left, stays)


@compiled
def _leave(rank: int, number: int, received: Floats, folding: Floats, left: Floats, stays: Floats) -> None:
    entered, left[rank] = left[rank], received[rank] + folding[rank]
    if len(stays):
        stays[number, rank, 0], stays[number, rank, 1], stays[number, rank, 2] = entered, received[rank], left[rank]


@compiled
def _earliest(m: int, source: Ints, dest: Ints, left: Floats, out_free: Floats, in_free: Floats) -> float:
    """When both ranks and both ports are there for a message."""
    return float(max(left[source[m]], left[dest[m]], out_free[source[m]], in_free[dest[m]]))


@compiled
def _in_turn(
    lo: int, hi: int, source: Ints, dest: Ints, ideal: Floats, left: Floats, start: Floats,
    out_free: Floats, in_free: Floats,
) -> None:  # fmt: skip
    """Where messages compete for ports: whenever a port is free, the first in order that can go goes."""
    for m in range(lo, hi):
        out_free[source[m]] = in_free[dest[m]] = 0.0
    waiting = np.arange(lo, hi)
    count = hi - lo
    while count:
        now = np.inf
        for at in range(count):
            now = min(now, _earliest(int(waiting[at]), source, dest, left, out_free, in_free))
        kept = 0
        for at in range(count):
            m = int(waiting[at])
            earliest = _earliest(m, source, dest, left, out_free, in_free)
            if earliest <= now * (1 + _TIE):
                start[m] = earliest
                out_free[source[m]] = in_free[dest[m]] = earliest + ideal[m]
            else:
                waiting[kept] = m
                kept += 1
        count = kept
