"""The dissemination barrier: messages without content, and yet everyone has heard of everyone."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import Recv, Round, Send

__all__ = ["barrier"]


def barrier(rank: int, size: int) -> Iterator[Round]:
    """In round i each rank signals the one 2^i above: it then has heard, directly or not, of 2^(i+1) ranks.

    Rounds: q
    Bytes per rank: 0
    Reductions: 0
    Sizes: any
    Order: nothing is combined
    Source: Hensgen, Finkel and Manber, "Two algorithms for barrier synchronization" (1988)
    """
    distance = 1
    while distance < size:
        yield Send((rank + distance) % size, ()), Recv((rank - distance) % size, ())
        distance *= 2
