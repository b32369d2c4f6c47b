"""Direct exchange: every pair of ranks talks once, at a distance that grows by one in every round."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import INCOMING_FIRST, MINE_FIRST, Recv, Round, Send

__all__ = ["alltoall", "reduce_scatter"]


def alltoall(rank: int, size: int) -> Iterator[Round]:
    """In round d rank r gives rank r + d its block; chunk ``i*p + j`` is what rank i sends rank j.

    Rounds: p - 1
    Bytes per rank: (p - 1)/p
    Reductions: 0
    Sizes: any
    Order: nothing is combined
    Source: Thakur, Rabenseifner and Gropp (2005), section 4.3
    """
    for distance in range(1, size):
        dest, source = (rank + distance) % size, (rank - distance) % size
        yield Send(dest, rank * size + dest), Recv(source, source * size + rank)


def reduce_scatter(rank: int, size: int) -> Iterator[Round]:
    """Each rank takes its chunk from the neighbours at distance 1, 2, ... on both sides, and so in rank order.

    All messages upwards come first at both their ends, so no port that is free waits for one that is not.

    Rounds: p - 1
    Bytes per rank: (p - 1)/p
    Reductions: (p - 1)/p
    Sizes: any
    Order: any operation
    Source: Thakur, Rabenseifner and Gropp (2005), section 4.4, in two directions to keep rank order
    """
    for distance in range(1, size):
        below, above = rank - distance, rank + distance
        yield (
            *((Send(above, above),) if above < size else ()),
            *((Send(below, below),) if below >= 0 else ()),
            *((Recv(below, rank, INCOMING_FIRST),) if below >= 0 else ()),
            *((Recv(above, rank, MINE_FIRST),) if above < size else ()),
        )
