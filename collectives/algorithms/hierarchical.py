"""Two levels: what may stay inside a node stays there, and each rank of a node has a rail of its own between nodes.

Six ranks on two nodes of three. The vector is cut in a block for each rank of a node; rank i of every node collects
block i, sums it with the others of its rail, and hands it back::

    inside    reduce-scatter   node 0: 0 1 2     node 1: 3 4 5
    between   allreduce        rail 0: 0 3       rail 1: 1 4       rail 2: 2 5
    inside    allgather        node 0: 0 1 2     node 1: 3 4 5
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import isqrt

from collectives.algorithms import ring
from collectives.schedule import Chunks, Recv, Round, Send

__all__ = ["allreduce", "ranks_per_node"]


def allreduce(rank: int, size: int, *, local: int = 0) -> Iterator[Round]:
    """Rings inside nodes of ``local`` neighbouring ranks, and rings between them.

    ``local=0`` takes the largest divisor of the size that is not above its square root.

    Rounds: 2*(l + p/l - 2)
    Bytes per rank: 2*(p - 1)/p
    Reductions: (p - 1)/p
    Sizes: p a multiple of local
    Order: commutative operations only
    Source: Jia et al., "Highly scalable deep learning training system with mixed-precision" (2018), section 3.3
    """
    inside = ranks_per_node(size, local)
    nodes = size // inside
    node, place = rank // inside, rank % inside

    def on_node(rounds: Iterable[Round]) -> Iterator[Round]:
        return _moved(
            rounds, lambda part: node * inside + part, lambda block: range(block * nodes, (block + 1) * nodes)
        )

    yield from on_node(ring.reduce_scatter(place, inside))
    yield from _moved(
        ring.allreduce(node, nodes), lambda part: part * inside + place, lambda chunk: (place * nodes + chunk,)
    )
    yield from on_node(ring.allgather(place, inside))


def ranks_per_node(size: int, local: int) -> int:
    """``local``, or what stands for it if it is 0."""
    return local or next(ranks for ranks in range(isqrt(size), 0, -1) if size % ranks == 0)


def _moved(
    rounds: Iterable[Round], rank_at: Callable[[int], int], chunks_at: Callable[[int], Iterable[int]]
) -> Iterator[Round]:
    """The same rounds among other ranks, each chunk replaced by several."""

    def widened(chunks: Chunks) -> Chunks:
        return Chunks(index for chunk in chunks for index in chunks_at(chunk))

    for operations in rounds:
        yield tuple(
            Send(rank_at(operation.dest), widened(operation.chunks))
            if isinstance(operation, Send)
            else Recv(rank_at(operation.source), widened(operation.chunks), operation.fold)
            for operation in operations
        )
