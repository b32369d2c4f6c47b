"""Everyone talks to the root, one after the other: the baseline that every other algorithm has to beat."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import INCOMING_FIRST, MINE_FIRST, OVERWRITE, Recv, Round, Send, mirror

__all__ = ["allreduce", "broadcast", "reduce"]


def reduce(rank: int, size: int, *, root: int = 0) -> Iterator[Round]:
    """The root takes the lower ranks from its neighbour downwards, then the higher ones upwards: in rank order.

    Rounds: p - 1
    Bytes per rank: 1 if p > 1 else 0
    Reductions: p - 1
    Sizes: any
    Order: any operation
    Source: Chan et al., "Collective communication" (2007)
    """
    for source in (*range(root - 1, -1, -1), *range(root + 1, size)):
        if rank == root:
            yield (Recv(source, 0, INCOMING_FIRST if source < root else MINE_FIRST),)
        else:
            yield (Send(root, 0),) if rank == source else ()


def broadcast(rank: int, size: int, *, root: int = 0) -> Iterator[Round]:
    """The root sends to one rank after the other: the linear reduce, backwards in time.

    Rounds: p - 1
    Bytes per rank: p - 1
    Reductions: 0
    Sizes: any
    Order: nothing is combined
    Source: Chan et al., "Collective communication" (2007)
    """
    yield from mirror(lambda rank, size: reduce(rank, size, root=root), OVERWRITE)(rank, size)


def allreduce(rank: int, size: int) -> Iterator[Round]:
    """Reduce to rank 0, then broadcast from it.

    Rounds: 2*(p - 1)
    Bytes per rank: p - 1
    Reductions: p - 1
    Sizes: any
    Order: any operation
    Source: Chan et al., "Collective communication" (2007)
    """
    yield from reduce(rank, size)
    yield from broadcast(rank, size)
