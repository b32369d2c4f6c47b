"""Recursive doubling: exchange everything with a partner twice as far away in every round."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import INCOMING_FIRST, MINE_FIRST, Recv, Round, Send, fold_extras

__all__ = ["allreduce"]


def _core(rank: int, size: int) -> Iterator[Round]:
    distance = 1
    while distance < size:
        partner = rank ^ distance
        yield Send(partner, 0), Recv(partner, 0, MINE_FIRST if rank < partner else INCOMING_FIRST)
        distance *= 2


def allreduce(rank: int, size: int) -> Iterator[Round]:
    """After round i each rank holds the sum over its aligned group of 2^(i+1) neighbours.

    Rounds: q if p == 2**q else f + 2
    Bytes per rank: q if p == 2**q else f + 1
    Reductions: q if p == 2**q else f + 1
    Sizes: any (the extra ranks beyond a power of two are folded into their neighbours)
    Order: any operation
    Source: Thakur, Rabenseifner and Gropp (2005), section 4.5
    """
    yield from fold_extras(_core, chunks=lambda _: 1)(rank, size)
