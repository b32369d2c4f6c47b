"""Sums of float32 vectors that come out with the same bits, however the vectors are spread over ranks and added.

Every value becomes a whole number of a unit, and whole numbers add exactly in any order. The unit is a power of two
so small that the largest of all values, times the number of vectors, just fits int64; values are rounded to it one by
one, which no sharing out changes. With n vectors and a largest magnitude below 2^e the unit is 2^(e + ⌈lg n⌉ − 62): a
sum is off by at most n/2 units before it is rounded to float32, and vectors of similar size lose nothing.

Cost of ``allreduce``: one allreduce of 8 bytes (the largest exponent) and one of 8 bytes an element, where float32
takes 4; a pass over each vector to find its largest value, and one to add it up.

Source of the idea: Demmel and Nguyen, "Parallel reproducible summation", IEEE Trans. Comput. 64 (2015), here with one
bin, whose place a first allreduce settles.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collectives import Communicator
    from collectives.catalogue import Algorithm

__all__ = ["allreduce", "exponent", "rounded", "scale", "total"]

Floats = NDArray[np.floating[Any]]
Wholes = NDArray[np.int64]

_BITS = 62
_NOTHING = -(1 << 20)
"""The exponent of zeros."""
_SPOILT = 1 << 20
"""From here on: the exponent of a vector with inf or NaN, and the rank that has it."""


def exponent(vectors: Iterable[Floats]) -> int | None:
    """The least e for which all magnitudes are below 2^e, very low for zeros; None where there is inf or NaN."""
    found = _NOTHING
    for vector in vectors:
        largest = max(float(vector.max(initial=0)), -float(vector.min(initial=0)))
        if not math.isfinite(largest):
            return None
        if largest:
            found = max(found, math.frexp(largest)[1])
    return found


def scale(comm: Communicator, vectors: Iterable[Floats], terms: int) -> int:
    """The power of two by which all ranks multiply: the least unit that serves ``terms`` vectors such as theirs.

    Collective, an allreduce of 8 bytes. Raises FloatingPointError on all ranks where one of them has inf or NaN, and
    names that rank.
    """
    from mpi4py import MPI

    own = exponent(vectors)
    largest = np.array([_SPOILT + comm.rank if own is None else own], np.int64)
    comm.Allreduce(MPI.IN_PLACE, largest, MPI.MAX)
    if largest[0] >= _SPOILT:
        raise FloatingPointError(
            f"rank {largest[0] - _SPOILT} has inf or NaN in a gradient, which cannot be summed exactly: lower the "
            "learning rate, or warm it up"
        )
    return 0 if largest[0] == _NOTHING else _BITS - (terms - 1).bit_length() - int(largest[0])


def total(vectors: Iterable[Floats], scale: int, count: int) -> Wholes:
    """The sum of vectors · 2^scale of ``count`` elements, each element rounded to a whole number, halves to even."""
    found = np.zeros(count, np.int64)
    for vector in vectors:
        found += np.rint(np.ldexp(vector.astype(np.float64), scale)).astype(np.int64)
    return found


def rounded(total: Wholes, scale: int, out: Floats) -> None:
    """``out`` = total · 2^-scale."""
    out[...] = np.ldexp(total.astype(np.float64), -scale)


def allreduce(
    comm: Communicator, vectors: list[Floats], terms: int, out: Floats, algorithm: str | Algorithm | None = None,
    among: Communicator | None = None,
) -> None:  # fmt: skip
    """The sum of all ranks' ``vectors``, of which there are ``terms`` on all ranks together, in everybody's ``out``.

    ``among``: these ranks and others, that have other parts of the same vectors, so that all use the same unit.
    """
    from mpi4py import MPI

    power = scale(among or comm, vectors, terms)
    whole = total(vectors, power, out.size)
    comm.Allreduce(MPI.IN_PLACE, whole, algorithm=algorithm)
    rounded(whole, power, out)
