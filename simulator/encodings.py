"""Vectors that travel encoded: fewer bytes on the wire, and work at both ends of messages for it.

The schedule stays as it is, and what is encoded is as the executor does it (``collectives.compression``): a message is
its chunks, encoded one by one. A sender encodes those that changed since they came or were last encoded; a receiver
decodes all, into its vector or onto it. The processor of a rank does that, between messages; where vectors live on a
device, its kernels do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kernels import compress

__all__ = ["Encoding", "Work", "get", "names"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_MANY = 32_000**2
"""Elements of a very long chunk: a square, which the usual blocks and shares divide."""

_ITEMSIZE = 4  # encodings of the kernels take float32


@dataclass(frozen=True, slots=True)
class Work:
    """A kernel over a chunk: ``launch`` seconds, and ``per_byte`` seconds for each byte of the vector."""

    launch: float = 0.0
    per_byte: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and value >= 0 for value in (self.launch, self.per_byte)):
            raise ValueError(f"a kernel's seconds must be finite and at least 0, got {self.launch} and {self.per_byte}")

    def __bool__(self) -> bool:
        """Whether it takes any time."""
        return bool(self.launch or self.per_byte)

    def seconds(self, chunks: Ints, nbytes: Ints) -> Floats:
        """For so many chunks, of so many bytes together."""
        return chunks * self.launch + nbytes * self.per_byte


@dataclass(frozen=True, slots=True)
class Encoding:
    """``wire(elements)`` bytes for a chunk of so many elements of ``itemsize`` bytes, and what that takes.

    ``encode`` and ``decode`` are the work of either end. ``add``: that of a receiver which decodes a chunk onto what it
    has, in the place of decoding and reducing; without it the two follow each other. ``wire`` never gives less for two
    chunks than for one of as many elements, and nothing for none.
    """

    name: str
    wire: Callable[[int], int]
    itemsize: int = _ITEMSIZE
    encode: Work = field(default_factory=Work)
    decode: Work = field(default_factory=Work)
    add: Work | None = None

    def check(self, itemsize: int) -> None:
        """Raise ValueError unless the elements of a vector are of ``itemsize`` bytes, as the encoding takes them."""
        if itemsize != self.itemsize:
            raise ValueError(f"{self.name} encodes elements of {self.itemsize} bytes, not of {itemsize}: give itemsize")

    @property
    def works(self) -> bool:
        """Whether it takes any time at either end."""
        return bool(self.encode or self.decode or self.add)

    @property
    def ratio(self) -> float:
        """Bytes on the wire for each byte of a very long vector: no message has less."""
        return self.wire(_MANY) / (_MANY * self.itemsize)


def names() -> list[str]:
    """The encodings, in alphabetical order."""
    return compress.names()


def get(text: str, launch: float = 0.0, memory: float = math.inf) -> Encoding:
    """The encoding of float32 that ``kernels.compress.get`` has for ``text``, such as ``int8`` or ``int8:block=128``.

    Its kernels take ``launch`` s to start and move ``memory`` bytes/s. Assumed: each reads and writes every byte of
    vector and of message once; what error feedback, a search for the largest elements, or the sender's own copy add is
    left out. Give an ``Encoding`` with the times of your own for that.
    Raises ValueError for an unknown name, the nearest first, and for a parameter that it has not.
    """
    try:
        encoding = compress.get(text)
    except KeyError as problem:
        raise ValueError(problem.args[0]) from None
    ratio = encoding.nbytes(_MANY) / (_MANY * _ITEMSIZE)
    once, onto = Work(launch, (1 + ratio) / memory), Work(launch, (2 + ratio) / memory)
    return Encoding(encoding.name, encoding.nbytes, _ITEMSIZE, once, once, onto)
