"""The binomial tree: a rank that has the data tells one that has not, so the informed double in every round."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import MINE_FIRST, OVERWRITE, Recv, Round, Send, mirror, rooted

__all__ = ["allreduce", "broadcast", "reduce", "scatter"]


def reduce(rank: int, size: int, *, root: int = 0) -> Iterator[Round]:
    """In round i the ranks whose lowest set bit is i hand all they gathered, ``rank .. rank + 2^i - 1``, downwards.

    Rounds: q
    Bytes per rank: 1 if p > 1 else 0
    Reductions: q
    Sizes: any
    Order: any operation for root 0, commutative operations only for other roots
    Source: Thakur, Rabenseifner and Gropp, "Optimization of collective communication operations in MPICH" (2005)
    """
    yield from rooted(_reduce, root)(rank, size)


def _reduce(rank: int, size: int) -> Iterator[Round]:
    distance = 1
    while distance < size:
        if rank % (2 * distance) == distance:
            yield (Send(rank - distance, 0),)
        elif rank % (2 * distance) == 0 and rank + distance < size:
            yield (Recv(rank + distance, 0, MINE_FIRST),)
        else:
            yield ()
        distance *= 2


def broadcast(rank: int, size: int, *, root: int = 0) -> Iterator[Round]:
    """The binomial reduce, backwards in time.

    Rounds: q
    Bytes per rank: q
    Reductions: 0
    Sizes: any
    Order: nothing is combined
    Source: Thakur, Rabenseifner and Gropp (2005), section 4.2
    """
    yield from rooted(mirror(_reduce, OVERWRITE), root)(rank, size)


def allreduce(rank: int, size: int) -> Iterator[Round]:
    """Reduce to rank 0, then broadcast from it.

    Rounds: 2*q
    Bytes per rank: q
    Reductions: q
    Sizes: any
    Order: any operation
    Source: Thakur, Rabenseifner and Gropp (2005), section 4.5
    """
    yield from _reduce(rank, size)
    yield from broadcast(rank, size)


def scatter(rank: int, size: int) -> Iterator[Round]:
    """Rank 0 starts with all p chunks; each holder of ``rank .. rank + 2d - 1`` gives the upper half away.

    Rounds: q
    Bytes per rank: (p - 1)/p
    Reductions: 0
    Sizes: any
    Order: nothing is combined
    Source: Chan et al., "Collective communication" (2007)
    """
    distance = 1 << (size - 1).bit_length() >> 1
    while distance:
        if rank % (2 * distance) == distance:
            yield (Recv(rank - distance, range(rank, min(rank + distance, size))),)
        elif rank % (2 * distance) == 0 and rank + distance < size:
            yield (Send(rank + distance, range(rank + distance, min(rank + 2 * distance, size))),)
        else:
            yield ()
        distance //= 2
