"""What a gradient's compression remembers from call to call: how far its random numbers are, and what it still owes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from collectives.compression.shared import Majority
from collectives.executors.encoded import Flat, Floats, zeros_like
from collectives.memory import place
from kernels import compress as known
from kernels.compress import Encoding

__all__ = ["Compress", "Compression", "Method", "method_of"]

Method = Encoding | Majority


class Compression:
    """How one gradient is compressed. Make one for each gradient, alike on all ranks, and use it for nothing else.

    ``method`` is an encoding of ``kernels.compress``, or its name (``"int8:block=128"``), or ``"sign_majority"``. With
    ``feedback`` every rank keeps what got lost of its part in ``residual``, and adds it to its part of the next call:
    so nothing is lost but put off, and the sum of all results and of the last residuals of all ranks is the exact sum,
    up to rounding. Its memory: a float32 vector as long as the gradient. ``start`` is where PowerSGD begins: with the
    last call's factor.
    """

    def __init__(self, method: str | Method, *, feedback: bool = False) -> None:
        self.method = method_of(method)
        self.feedback = feedback
        self.residual: Flat | None = None
        self.start: Floats | None = None
        self._counter = 0

    def __repr__(self) -> str:
        return f"Compression({self.method.name!r}{', feedback=True' if self.feedback else ''})"

    @property
    def name(self) -> str:
        """What ranks compare, in check mode, and what ``explain`` calls it."""
        return f"{self.method.name} with feedback" if self.feedback else self.method.name

    def reset(self) -> None:
        """Forget what is still owed and where to start, on all ranks alike; random numbers go on."""
        self.residual = self.start = None

    def memory(self) -> dict[str, Any]:
        """All that it remembers, as arrays by name: for a checkpoint, of which ``recall`` goes on."""
        kept = {"residual": self.residual, "start": self.start, "counter": np.array([self._counter], np.int64)}
        return {name: array for name, array in kept.items() if array is not None}

    def recall(self, memory: Mapping[str, Any]) -> None:
        """Go on as the one did whose ``memory`` this was. KeyError if it is none."""
        self._counter = int(memory["counter"][0])
        self.residual, self.start = (memory[name].copy() if name in memory else None for name in ("residual", "start"))

    def owed(self, values: Flat) -> Flat | None:
        """The residual for a gradient of as many elements as ``values``, where those are; None without feedback.

        Begins with zeros. Raises ValueError for another number of elements than before, and for another place.
        """
        if not self.feedback:
            return None
        if self.residual is None:
            self.residual = zeros_like(values)
        if self.residual.size != values.size:
            raise ValueError(
                f"{self!r} keeps what {self.residual.size} elements lost, and this call has {values.size}: "
                "make a Compression for each gradient, or reset() this one on all ranks"
            )
        if place(self.residual) != place(values):
            raise ValueError(f"{self!r} keeps what was lost {place(self.residual)}, and this call is {place(values)}")
        return self.residual

    def draw(self, counters: int) -> int:
        """The first of so many counters in a row that no call has used yet."""
        first = self._counter
        self._counter += counters
        return first


Compress = str | Method | Compression
"""How callers say it: a name, a method, or one of either with what it remembers."""


def method_of(compress: Compress) -> Method:
    """The method that is meant. KeyError for an unknown name, ValueError for a parameter that it cannot have."""
    if isinstance(compress, Compression):
        return compress.method
    if not isinstance(compress, str):
        return compress
    majority = Majority()
    return majority if compress == majority.name else known.get(compress)
