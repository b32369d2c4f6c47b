"""How far a compressed allreduce may be off, and how many bytes it sends: known before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from collectives.catalogue import Algorithm
from collectives.compression.codings import codings
from collectives.compression.shared import Shared
from collectives.schedule import Send, extents
from kernels.compress import Encoding
from kernels.compress.casts import Cast
from kernels.compress.int8 import Int8

__all__ = ["bytes_sent", "error_bound"]

_ROUNDOFF = 2.0**-24
"""Of the larger side, what one float32 addition may be off."""

_MEAN = 2.0**-20
"""By how much of the largest magnitude the mean of magnitudes, which ``sign`` sends, may exceed it by rounding."""


def error_bound(algorithm: Algorithm, encoding: Encoding, largest: Sequence[float]) -> float:
    """What no element of the result is further off than, where rank r brings magnitudes up to ``largest[r]``.

    Every value that is encoded on the way of a result loses at most what the encoding may lose of its magnitude, and
    each addition rounds; all of that is added up along the schedule. For ring with p ranks, int8 to the nearest and
    magnitudes up to A: partial sums of 1, 2, ..., p terms are encoded, each of k terms up to k·A, so about
    p(p + 1)/2 · A/254. Without error feedback; with it, what earlier calls lost counts as brought.
    Raises ValueError for a number of ranks that the algorithm does not work for, and for what is no encoding on the
    wire (random-k, PowerSGD): what that leaves out has no such bound.
    """
    if isinstance(encoding, Shared):
        raise ValueError(f"{encoding.name} may leave out any element altogether: it has no bound but the sum itself")
    found = codings(algorithm, len(largest))

    def added(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
        exact = one[0] + other[0]
        rounding = exact * _ROUNDOFF
        return exact + rounding, one[1] + other[1] + rounding

    def coded(value: tuple[float, float]) -> tuple[float, float]:
        lost = _lost(encoding, value[0])
        return value[0] + lost, value[1] + lost

    bounds = found.values.evaluate(lambda rank: (float(largest[rank]), 0.0), added, coded)
    return max((bounds[value][1] for results in found.results for value in results), default=0.0)


def _lost(encoding: Encoding, largest: float) -> float:
    """What the encoding may lose of numbers up to ``largest``: all of it, unless it rounds every number by itself."""
    if isinstance(encoding, (Cast, Int8)):
        with np.errstate(over="ignore"):
            return encoding.bound(np.array([np.nextafter(np.float32(largest), np.float32(np.inf))]))
    return largest * (1 + _MEAN)


def bytes_sent(algorithm: Algorithm, rank: int, size: int, count: int, nbytes: Callable[[int], int]) -> int:
    """Bytes that ``rank`` sends in an allreduce of ``count`` elements, ``nbytes(m)`` for a chunk of m of them.

    No header travels beside the encoded chunks. Cost: a pass over the rank's operations and their chunks.
    """
    sizes = [nbytes(hi - lo) for lo, hi in extents(count, algorithm.chunks(size))]
    sends = (one for operations in algorithm.rounds(rank, size) for one in operations if isinstance(one, Send))
    return sum(sizes[chunk] for send in sends for chunk in send.chunks)
