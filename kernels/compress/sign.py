"""One bit each: the sign, and one scale for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kernels.compress import sizes
from kernels.compress.base import Formed
from kernels.compress.encoding import Buffer
from kernels.compress.place import fitting, form, largest

__all__ = ["LANES", "TILE", "VOTERS", "Sign"]

LANES, TILE = 1024, 4096
"""The order of adding magnitudes, the same on every processor: in each tile element i goes to lane i % LANES, lanes are
folded in halves, and the tiles' float32 sums go the same way, tile t to lane t % LANES, in float64."""

VOTERS = 255
"""Messages that a majority takes at most."""


@dataclass(frozen=True, slots=True)
class Sign(Formed):
    """A thirty-second of the bytes. Wire: bit i % 8 of byte i // 8 is the sign of element i, then a float32 scale.

    scale = the mean of the magnitudes; value = scale, with the sign. So ||x - decoded||² = ||x||² - ||x||₁²/count: what
    error feedback makes up for. A zero counts by its sign bit. With a NaN among the values all are decoded as NaN, with
    an infinity as infinite. Memory is read once, with feedback twice.

    Messages cannot be added: a sum of signs is no sign. ``majority`` is what is sound: a vote.
    Source: Karimireddy et al. 2019 (EF-signSGD, ICML), algorithm 1 and lemma 8; Bernstein et al. 2018 (ICML).
    """

    module: ClassVar[str] = "sign"

    def nbytes(self, count: int) -> int:
        """A bit each, and four bytes."""
        return sizes.sign(count)

    def majority(self, wires: Buffer, out: Buffer, *, count: int) -> None:
        """``out`` = for each element the sign that most of the messages in ``wires`` have; a tie is positive.

        ``wires`` holds up to 255 messages of ``count`` elements, one after another, as an allgather leaves them. The
        scale is the mean of theirs. Each bit is read once. Source: Bernstein et al. 2018 (ICML), section 4, signSGD
        with majority vote; the votes of all bits of a word are counted at once, in bit slices.
        """
        size = self.nbytes(count)
        voters = len(wires) // size if size else 0
        if size and not (1 <= voters <= VOTERS and len(wires) == voters * size):
            raise ValueError(f"wires must hold 1 to {VOTERS} messages of {size} bytes, got {len(wires)} bytes")
        _, (wires,) = fitting(lambda count: voters * size, [], [wires], count)
        _, (out,) = fitting(self.nbytes, [], [out], count)
        form(self.module, out).majority(wires, out, voters, count)

    def bound(self, values: Buffer) -> float:
        """The largest magnitude, for the scale is none greater but for rounding (12 additions in float32)."""
        return largest(values) * (1 + 2.0**-20)
