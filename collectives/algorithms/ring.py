"""The ring: everyone joins hands, takes from the left and gives to the right.

Four ranks, four chunks ``a b c d``. A reduce-scatter walks each chunk once round the ring and collects on the way
(``a`` starts at rank 1 and is complete at rank 0); an allgather walks the complete chunks round once more::

    reduce-scatter   round 0: 0 --d--> 1 --a--> 2 --b--> 3 --c--> 0
                     round 1: 0 --c--> 1 --d--> 2 --a--> 3 --b--> 0
                     round 2: 0 --b--> 1 --c--> 2 --d--> 3 --a--> 0
    allgather        round 3: 0 --a--> 1 --b--> 2 --c--> 3 --d--> 0   ... and so on
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import INCOMING_FIRST, Recv, Round, Send

__all__ = ["allgather", "allreduce", "reduce_scatter"]


def reduce_scatter(rank: int, size: int) -> Iterator[Round]:
    """Each chunk goes once round the ring, gathers every rank's share, and ends complete at its own rank.

    Rounds: p - 1
    Bytes per rank: (p - 1)/p
    Reductions: (p - 1)/p
    Sizes: any
    Order: commutative operations only
    Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms" (2009)
    """
    left, right = (rank - 1) % size, (rank + 1) % size
    for step in range(1, size):
        yield Send(right, (rank - step) % size), Recv(left, (left - step) % size, INCOMING_FIRST)


def allgather(rank: int, size: int) -> Iterator[Round]:
    """Each rank passes on what it got last, starting with its own chunk.

    Rounds: p - 1
    Bytes per rank: (p - 1)/p
    Reductions: 0
    Sizes: any
    Order: nothing is combined
    Source: Chan et al., "Collective communication: theory, practice, and experience" (2007)
    """
    left, right = (rank - 1) % size, (rank + 1) % size
    for step in range(size - 1):
        yield Send(right, (rank - step) % size), Recv(left, (left - step) % size)


def allreduce(rank: int, size: int) -> Iterator[Round]:
    """Reduce-scatter, then allgather: the least bytes that any allreduce can send, in many small steps.

    Rounds: 2*(p - 1)
    Bytes per rank: 2*(p - 1)/p
    Reductions: (p - 1)/p
    Sizes: any
    Order: commutative operations only
    Source: Patarasuk and Yuan, "Bandwidth optimal all-reduce algorithms" (2009)
    """
    yield from reduce_scatter(rank, size)
    yield from allgather(rank, size)
