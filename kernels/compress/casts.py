"""float16 and bfloat16: each number rounded to nearest even."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from kernels.compress import sizes
from kernels.compress.base import FormedSum
from kernels.compress.encoding import Buffer
from kernels.compress.place import largest

__all__ = ["Cast"]

_LIMITS = {"float16": (2.0**-11, 2.0**-25, 65520.0), "bfloat16": (2.0**-8, 2.0**-134, (2 - 2.0**-8) * 2.0**127)}
"""Unit roundoff, half of the smallest subnormal, and from where on magnitudes become infinite."""


@dataclass(frozen=True, slots=True)
class Cast(FormedSum):
    """Half of the bytes. Wire: ``count`` numbers of two bytes, in the machine's order.

    Magnitudes of 65,520 (float16) or 3.3961e38 (bfloat16) and more become infinite, a NaN stays a NaN. Encoding what
    was decoded gives the same wire. Each element is read once and written once.

    ``reduce`` adds in float32 and rounds once: sound, for it is what decoding, adding and encoding give.
    """

    module: ClassVar[str] = "casts"
    kind: str

    @property
    def name(self) -> str:
        """The kind."""
        return self.kind

    def nbytes(self, count: int) -> int:
        """Two for each element."""
        return sizes.SIZES[self.kind](count)

    def bound(self, values: Buffer) -> float:
        """Half a unit in the last place of the largest magnitude (IEEE 754 rounding); inf where that overflows."""
        roundoff, least, overflow = _LIMITS[self.kind]
        top = largest(values)
        return max(top * roundoff, least) if top < overflow else top * float("inf")
