"""What a gradient's compression remembers from call to call: how far its random numbers are, and what it still owes."""

from __future__ import annotations

import numpy as np

from collectives.executors.encoded import Floats
from kernels import compress as kernels_compress
from kernels.compress import Encoding

__all__ = ["Compress", "Compression", "encoding_of"]


class Compression:
    """How one gradient is compressed. Make one for each gradient, alike on all ranks, and use it for nothing else.

    ``encoding`` is one of ``kernels.compress``, or its name (``"int8:block=128"``). With ``feedback`` every rank keeps
    what its encodings lost in ``residual``, and adds it to its part of the next call: so nothing is lost but put off,
    and the sum of all results and of the last residuals of all ranks is the exact sum, up to rounding. Its memory: a
    float32 vector as long as the gradient.
    """

    def __init__(self, encoding: str | Encoding, *, feedback: bool = False) -> None:
        self.encoding = kernels_compress.get(encoding) if isinstance(encoding, str) else encoding
        self.feedback = feedback
        self.residual: Floats | None = None
        self._counter = 0

    def __repr__(self) -> str:
        return f"Compression({self.encoding.name!r}{', feedback=True' if self.feedback else ''})"

    @property
    def name(self) -> str:
        """What ranks compare, in check mode, and what ``explain`` calls it."""
        return f"{self.encoding.name} with feedback" if self.feedback else self.encoding.name

    def reset(self) -> None:
        """Forget what is still owed, on all ranks alike; random numbers go on."""
        self.residual = None

    def owed(self, count: int) -> Floats | None:
        """The residual for a gradient of ``count`` elements, None without feedback. Begins with zeros.

        Raises ValueError for another number of elements than before.
        """
        if not self.feedback:
            return None
        if self.residual is None:
            self.residual = np.zeros(count, np.float32)
        if self.residual.size != count:
            raise ValueError(
                f"{self!r} keeps what {self.residual.size} elements lost, and this call has {count}: "
                "make a Compression for each gradient, or reset() this one on all ranks"
            )
        return self.residual

    def draw(self, counters: int) -> int:
        """The first of so many counters in a row that no call has used yet."""
        first = self._counter
        self._counter += counters
        return first


Compress = str | Encoding | Compression
"""How callers say it: a name, an encoding, or one of either with what it remembers."""


def encoding_of(compress: Compress) -> Encoding:
    """The encoding that is meant. KeyError for an unknown name, ValueError for a parameter that it cannot have."""
    if isinstance(compress, str):
        return kernels_compress.get(compress)
    return compress.encoding if isinstance(compress, Compression) else compress
