"""Two binary trees at once: each rank is an inner node in at most one, so both its ports are busy in every round.

Both trees are in order, so folding from the left and from the right keeps rank order. Over eight ranks::

    tree 0                  7          tree 1      ______6______
                  ____3____/                ____2____           7
                1           5              0         4   (hangs under 6)
              0   2       4   6              1     3   5

The leaves of tree 0 are the even ranks, those of tree 1 the odd ones, for every size.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from collectives.schedule import (
    INCOMING_FIRST,
    MINE_FIRST,
    OVERWRITE,
    Recv,
    Round,
    Schedule,
    Send,
    beside,
    mirror,
    pipeline,
    shift_chunks,
)

__all__ = ["allreduce", "depth", "parent"]


def allreduce(rank: int, size: int, *, segments: int = 8) -> Iterator[Round]:
    """Each tree reduces one half of the vector in ``segments`` pieces, then the same backwards as a broadcast.

    Rounds: 2*(depth(p) + 2*k - 2) if p > 1 else 0
    Bytes per rank: 2 if p > 3 else p/2 if p > 1 else 0
    Reductions: min(p - 1, 2)/2
    Sizes: any
    Order: any operation
    Source: Sanders, Speck and Träff, "Two-tree algorithms for full bandwidth broadcast, reduction and scan" (2009)
    """
    halves = (pipeline(_reduce(tree), segments, stride=2) for tree in (0, 1))
    reduce = beside(next(halves), shift_chunks(next(halves), segments))
    if size > 1:
        yield from reduce(rank, size)
        yield from mirror(reduce, OVERWRITE)(rank, size)


def _reduce(tree: int) -> Schedule:
    """One segment up one tree: the broadcast calendar read backwards."""

    def rounds(rank: int, size: int) -> Iterator[Round]:
        heard = _calendar(size)
        children = _children(size)[tree].get(rank, ())
        for moment in range(depth(size) - 1, -1, -1):
            yield (
                *(Send(up, 0) for up in [parent(rank, size, tree)] if up is not None and heard[tree][rank] == moment),
                *(
                    Recv(child, 0, INCOMING_FIRST if child < rank else MINE_FIRST)
                    for child in children
                    if heard[tree][child] == moment
                ),
            )

    return rounds


def parent(rank: int, size: int, tree: int) -> int | None:
    """The parent of ``rank`` in ``tree`` (0 or 1), ``None`` at the root.

    Number the nodes of an in-order tree from 1: a node's lowest set bit is its height, clearing that bit and
    setting the next gives its parent, or, where that lies outside, just clearing it. Tree 1 is shifted by one
    node: its node 1 would be rank -1, a leaf that nobody misses.
    """
    node = rank + 1 + tree
    bit = node & -node
    above = (node ^ bit) | (bit << 1)
    if above > size + tree:
        above = node ^ bit
    return above - 1 - tree if above else None


def depth(size: int) -> int:
    """Rounds until one segment has reached every rank of both trees: about 2 lg p, found from the calendar."""
    return max(map(max, _calendar(size))) + 1


@lru_cache(maxsize=64)
def _children(size: int) -> tuple[dict[int | None, list[int]], dict[int | None, list[int]]]:
    """For each tree the children of every rank that has any, in ascending order."""
    children: tuple[dict[int | None, list[int]], dict[int | None, list[int]]] = ({}, {})
    for tree in (0, 1):
        for rank in range(size):
            children[tree].setdefault(parent(rank, size, tree), []).append(rank)
    return children


@lru_cache(maxsize=64)
def _calendar(size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For each tree the round in which each rank hears from its parent in a broadcast (-1 at the root).

    Rounds of one parity belong to one colour of an edge colouring in which edges that share a sender or a receiver
    differ; so segments may follow each other every two rounds and no port is ever asked for twice.
    """
    parents = [[parent(rank, size, tree) for rank in range(size)] for tree in (0, 1)]
    edges = [(tree, rank) for tree in (0, 1) for rank in range(size) if parents[tree][rank] is not None]
    children = _children(size)
    colour: dict[tuple[int, int], int] = {}
    for edge in edges:
        pending = [] if edge in colour else [(edge, 0)]
        while pending:
            (tree, rank), hue = pending.pop()
            if (tree, rank) not in colour and parents[tree][rank] is not None:
                colour[tree, rank] = hue
                pending.append(((1 - tree, rank), 1 - hue))
                pending += [((tree, sibling), 1 - hue) for sibling in children[tree][parents[tree][rank]]]

    def heard(tree: int, rank: int) -> int:
        up = parents[tree][rank]
        if up is None:
            return -1
        earliest = heard(tree, up) + 1
        return earliest + (earliest + colour[tree, rank]) % 2

    return tuple(heard(0, rank) for rank in range(size)), tuple(heard(1, rank) for rank in range(size))
