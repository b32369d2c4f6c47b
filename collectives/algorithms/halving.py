"""Rabenseifner's algorithm: recursive halving of the vector with doubling distance, then the way back."""

from __future__ import annotations

from collections.abc import Iterator

from collectives.schedule import INCOMING_FIRST, MINE_FIRST, OVERWRITE, Recv, Round, Send, fold_extras, mirror, then

__all__ = ["allreduce"]


def _reduce_scatter(rank: int, size: int) -> Iterator[Round]:
    lo, hi, distance = 0, size, 1
    while distance < size:
        partner, middle = rank ^ distance, (lo + hi) // 2
        lower, upper = range(lo, middle), range(middle, hi)
        if rank < partner:
            yield Send(partner, upper), Recv(partner, lower, MINE_FIRST)
            hi = middle
        else:
            yield Send(partner, lower), Recv(partner, upper, INCOMING_FIRST)
            lo = middle
        distance *= 2


def allreduce(rank: int, size: int) -> Iterator[Round]:
    """Neighbours exchange halves first, so groups stay contiguous (rank order); the way back is the mirror image.

    Rounds: 2*q if p == 2**q else 2*f + 2
    Bytes per rank: 2*(p - 1)/p if p == 2**q else 2*(2**f - 1)/2**f + 1
    Reductions: (p - 1)/p if p == 2**q else (2**f - 1)/2**f + 1
    Sizes: any (the extra ranks beyond a power of two are folded into their neighbours)
    Order: any operation
    Source: Rabenseifner, "Optimization of Collective Reduction Operations" (2004)
    """
    core = then(_reduce_scatter, mirror(_reduce_scatter, OVERWRITE))
    yield from fold_extras(core, chunks=lambda power: power)(rank, size)
