"""A loss scale that follows the gradients: as large as float16 bears, and back when one overflows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

__all__ = ["LossScale"]


@dataclass(frozen=True, slots=True)
class LossScale:
    """Multiply the loss by ``factor``, step with ``scale=1 / factor``, and ask for the next after every step.

    A step whose gradient has inf or NaN on *any* rank is skipped on all of them; ``after(overflowed=True)``
    then gives a scale ``backoff`` times as large, and ``interval`` good steps in a row one ``growth`` times as large.
    Powers of two change no mantissa. Source: Micikevicius et al., "Mixed precision training" (ICLR 2018), section 3.2.
    """

    factor: float = 65536.0
    growth: float = 2.0
    backoff: float = 0.5
    interval: int = 2000
    good: int = 0
    """Steps since the last overflow or growth."""

    def __post_init__(self) -> None:
        if not (0 < self.factor < math.inf and self.growth >= 1 and 0 < self.backoff < 1 and self.interval >= 1):
            raise ValueError(f"a loss scale needs factor > 0, growth >= 1, 0 < backoff < 1 and interval >= 1: {self}")

    def after(self, *, overflowed: bool) -> LossScale:
        """The scale for the next step. It grows no further where the next factor would be no float32."""
        if overflowed:
            return replace(self, factor=self.factor * self.backoff, good=0)
        if self.good + 1 < self.interval:
            return replace(self, good=self.good + 1)
        grown = self.factor * self.growth
        return replace(self, factor=grown if grown < LARGEST else self.factor, good=0)


LARGEST = 2.0**127
