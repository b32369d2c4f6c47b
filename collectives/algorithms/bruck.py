"""Bruck's alltoall: lg p messages instead of p - 1, for about (lg p)/2 times the bytes."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import Recv, Round, Send

__all__ = ["alltoall"]


def alltoall(rank: int, size: int) -> Iterator[Round]:
    """A block that must travel ``t`` ranks upwards takes the steps that are the set bits of ``t``, lowest first.

    Rounds: q
    Bytes per rank: sum(t >> i & 1 for t in range(p) for i in range(q))/p
    Reductions: 0
    Sizes: any
    Order: nothing is combined
    Source: Bruck et al., "Efficient algorithms for all-to-all communications" (1997)
    """
    step = 1
    while step < size:
        yield (
            Send((rank + step) % size, _moving(rank, size, step)),
            Recv((rank - step) % size, _moving((rank - step) % size, size, step)),
        )
        step *= 2


def _moving(rank: int, size: int, step: int) -> Iterator[int]:
    """Chunks that stand at ``rank`` when steps below ``step`` are done, and take this step too."""
    for travel in range(size):
        if travel & step:
            origin = (rank - travel % step) % size
            yield origin * size + (origin + travel) % size
