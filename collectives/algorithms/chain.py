"""The pipelined chain: long vectors flow through all ranks in segments, every link busy at once."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import MINE_FIRST, OVERWRITE, Recv, Round, Send, mirror, pipeline, rooted

__all__ = ["allreduce", "broadcast", "reduce"]


def _reduce(rank: int, size: int) -> Iterator[Round]:
    for receiver in range(size - 2, -1, -1):
        if rank == receiver:
            yield (Recv(rank + 1, 0, MINE_FIRST),)
        else:
            yield (Send(receiver, 0),) if rank == receiver + 1 else ()


def reduce(rank: int, size: int, *, root: int = 0, segments: int = 8) -> Iterator[Round]:
    """Each segment is handed from the last rank down to rank 0, and each rank adds its share.

    Rounds: p - 2 + k if p > 1 else 0
    Bytes per rank: 1 if p > 1 else 0
    Reductions: 1 if p > 1 else 0
    Sizes: any
    Order: any operation for root 0, commutative operations only for other roots
    Source: Pješivac-Grbović et al., "Performance analysis of MPI collective operations" (2007)
    """
    yield from rooted(pipeline(_reduce, segments), root)(rank, size) if size > 1 else ()


def broadcast(rank: int, size: int, *, root: int = 0, segments: int = 8) -> Iterator[Round]:
    """The chain reduce, backwards in time.

    Rounds: p - 2 + k if p > 1 else 0
    Bytes per rank: 1 if p > 1 else 0
    Reductions: 0
    Sizes: any
    Order: nothing is combined
    Source: Pješivac-Grbović et al. (2007)
    """
    whole = pipeline(mirror(_reduce, OVERWRITE), segments)
    yield from rooted(whole, root)(rank, size) if size > 1 else ()


def allreduce(rank: int, size: int, *, segments: int = 8) -> Iterator[Round]:
    """Reduce to rank 0 along the chain, then broadcast back along it.

    Rounds: 2*(p - 2 + k) if p > 1 else 0
    Bytes per rank: 0 if p == 1 else 1 if p == 2 else 2
    Reductions: 1 if p > 1 else 0
    Sizes: any
    Order: any operation
    Source: Pješivac-Grbović et al. (2007)
    """
    yield from reduce(rank, size, segments=segments)
    yield from broadcast(rank, size, segments=segments)
