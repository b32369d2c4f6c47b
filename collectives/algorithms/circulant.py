"""Circulant graphs: ⌈lg p⌉ rounds and optimal volume for *every* size, not only for powers of two.

The allgather is Bruck's without its final rotation, because chunks have global names; its mirror image in time is
a reduce-scatter; one after the other they are Träff's allreduce.
"""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import Recv, Round, Send, cyclic, mirror

__all__ = ["allgather", "allreduce", "reduce_scatter"]


def allgather(rank: int, size: int) -> Iterator[Round]:
    """Rank r holds chunks ``r .. r + d - 1`` (cyclically) and takes as many again from rank r + d; then d doubles.

    Rounds: q
    Bytes per rank: (p - 1)/p
    Reductions: 0
    Sizes: any
    Order: nothing is combined
    Source: Bruck et al., "Efficient algorithms for all-to-all communications" (1997)
    """
    distance = 1
    while distance < size:
        dest, source = (rank - distance) % size, (rank + distance) % size
        blocks = min(distance, size - distance)
        yield Send(dest, cyclic(rank, blocks, size)), Recv(source, cyclic(source, blocks, size))
        distance *= 2


def reduce_scatter(rank: int, size: int) -> Iterator[Round]:
    """The circulant allgather, backwards in time.

    Rounds: q
    Bytes per rank: (p - 1)/p
    Reductions: (p - 1)/p
    Sizes: any
    Order: commutative operations only
    Source: Träff, "Optimal, non-pipelined reduce-scatter and allreduce algorithms" (arXiv 2410.14234)
    """
    yield from mirror(allgather)(rank, size)


def allreduce(rank: int, size: int) -> Iterator[Round]:
    """Reduce-scatter, then allgather.

    Rounds: 2*q
    Bytes per rank: 2*(p - 1)/p
    Reductions: (p - 1)/p
    Sizes: any
    Order: commutative operations only
    Source: Träff (arXiv 2410.14234)
    """
    yield from reduce_scatter(rank, size)
    yield from allgather(rank, size)
