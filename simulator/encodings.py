"""Vectors that travel encoded: fewer bytes on the wire, and work at both ends of every message for it.

The schedule stays as it is. Every message is encoded by its sender and decoded by its receiver, as a whole, also where
a rank passes on what it received; folds work on decoded elements. The processor of a rank does that work, between
messages; where vectors live on a device, its kernels do.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kernels.compress.sizes import SIZES

__all__ = ["Encoding", "Work", "get", "names"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MANY = 10**12
"""Elements at which what a message costs beside its elements no longer shows, and which blocks divide."""


@dataclass(frozen=True, slots=True)
class Work:
    """A kernel over a vector: ``launch`` seconds, and ``per_byte`` seconds for each byte of the vector."""

    launch: float = 0.0
    per_byte: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and value >= 0 for value in (self.launch, self.per_byte)):
            raise ValueError(f"a kernel's seconds must be finite and at least 0, got {self.launch} and {self.per_byte}")

    def seconds(self, nbytes: Ints) -> Floats:
        """Of each of ``nbytes``; nothing is launched for an empty vector."""
        return np.where(nbytes > 0, self.launch + np.multiply(nbytes, self.per_byte, dtype=np.float64), 0.0)


@dataclass(frozen=True, slots=True)
class Encoding:
    """``wire(elements)`` bytes for so many elements of ``itemsize`` bytes, and what each end spends on that.

    ``wire`` never gives less for two messages than for one of as many elements, and nothing for none.
    """

    name: str
    wire: Callable[[int], int]
    itemsize: int = 4
    encode: Work = field(default_factory=Work)
    decode: Work = field(default_factory=Work)

    def check(self, itemsize: int) -> None:
        """Raise ValueError unless the elements of a vector are of ``itemsize`` bytes, as the encoding takes them."""
        if itemsize != self.itemsize:
            raise ValueError(f"{self.name} encodes elements of {self.itemsize} bytes, not of {itemsize}: give itemsize")

    @property
    def works(self) -> bool:
        """Whether it takes any time at either end."""
        return any(work.launch or work.per_byte for work in (self.encode, self.decode))

    @property
    def ratio(self) -> float:
        """Bytes on the wire for each byte of a very long vector: no message has less."""
        return self.wire(_MANY) / (_MANY * self.itemsize)

    def nbytes(self, content: Ints) -> Ints:
        """Bytes on the wire of messages that carry ``content`` bytes of vector each. Every length is asked for once."""
        sizes, which = np.unique(content, return_inverse=True)
        wire = [self.wire(size) for size in (sizes // self.itemsize).tolist()]
        return np.array(wire, dtype=np.int64)[which]


def names() -> list[str]:
    """The encodings, in alphabetical order."""
    return sorted(SIZES)


def get(name: str, itemsize: int = 4, launch: float = 0.0, memory: float = math.inf) -> Encoding:
    """The encoding ``name`` by kernels that are launched in ``launch`` s and move ``memory`` bytes/s.

    Assumed: encoding and decoding read and write each byte of the vector and of the message once. What error feedback
    or a search for the largest elements adds is left out: give an ``Encoding`` with the times of your own.
    Raises ValueError for an unknown name, the nearest first.
    """
    if name not in SIZES:
        nearest = difflib.get_close_matches(name, names(), n=len(SIZES), cutoff=0.0)
        raise ValueError(f"no encoding is called {name!r}; known: {', '.join(nearest)}")
    size = SIZES[name]
    moved = Work(launch, (1 + size(_MANY) / (_MANY * itemsize)) / memory)
    return Encoding(name, size, itemsize, moved, moved)
