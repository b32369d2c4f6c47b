"""How many bytes the chunks of a schedule are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm

__all__ = ["Cut"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Cut:
    """``elements`` of ``itemsize`` bytes in ``chunks`` nearly equal pieces, as ``schedule.extents`` cuts them.

    ``wire(count)``: bytes of a chunk of so many elements, where it is encoded.
    """

    elements: int
    chunks: int
    itemsize: int
    wire: Callable[[int], int] | None = None

    @classmethod
    def of(cls, algorithm: Algorithm, size: int, nbytes: int, itemsize: int) -> Cut:
        """The cut of a vector of ``nbytes`` bytes, and of all vectors together where each rank has one for each."""
        return cls(nbytes * algorithm.vectors(size) // itemsize, algorithm.chunks(size), itemsize)

    def encoded(self, wire: Callable[[int], int] | None) -> Cut:
        """The same, each chunk as ``wire`` has it; as it is if that is None."""
        return replace(self, wire=wire)

    def nbytes(self, low: Ints, high: Ints, first: Ints) -> Ints:
        """Bytes of each message, the first of whose spans ``low .. high - 1`` is number ``first[i]``: shape (m,)."""
        lengths = self._start(high) - self._start(low)
        if len(lengths) == len(first) - 1 and not np.any(np.diff(first) != 1):
            return lengths  # one span each: nothing to add up
        before = np.concatenate(([0], np.cumsum(lengths)))
        return before[first[1:]] - before[first[:-1]]

    def filled(self, low: Ints, high: Ints, first: Ints) -> Ints:
        """How many chunks of each message have any elements."""
        return self.encoded(lambda count: min(count, 1)).nbytes(low, high, first)

    def lengths(self, chunk: Ints) -> Ints:
        """Bytes of each chunk."""
        return self._start(chunk + 1) - self._start(chunk)

    def _start(self, chunk: Ints) -> Ints:
        """The byte at which each chunk starts; ``chunks`` itself gives the end."""
        base, longer = divmod(self.elements, self.chunks) if self.chunks else (0, 0)
        short, long = self._bytes(base), self._bytes(base + 1)
        return short * chunk + np.minimum(chunk, longer) * (long - short)

    def _bytes(self, count: int) -> int:
        return count * self.itemsize if self.wire is None else self.wire(count)
