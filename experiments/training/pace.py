"""How long computing takes: as long as it does, or a stated time, as if an accelerator did it; longer on a slow rank.

Where more ranks than cores run, computing is stated and the rest of the time slept: what is then measured is how
messages and computing fit together, and not how ranks share cores.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

__all__ = ["Pace", "Stretch"]


@dataclass(frozen=True, slots=True)
class Pace:
    """``grain``: seconds that the gradient of one grain takes at least; ``factor``: how many times longer all takes."""

    grain: float = 0.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.grain) and self.grain >= 0 and math.isfinite(self.factor) and self.factor >= 1):
            raise ValueError(
                f"computing takes a finite time of at least 0 s and at least 1 time as long as usual, got "
                f"{self.grain} s and {self.factor}"
            )

    def begin(self, grains: int) -> Stretch:
        """Computing for so many grains begins now."""
        return Stretch(self.grain * grains, self.factor, time.perf_counter())


@dataclass(slots=True)
class Stretch:
    """One piece of computing that takes ``planned`` seconds or what it needs, whichever is more, times ``factor``."""

    planned: float
    factor: float
    began: float
    slept: float = 0.0

    def reach(self, share: float) -> float:
        """Sleep until this share of it is over; returns the seconds since it began."""
        elapsed = time.perf_counter() - self.began
        worked = elapsed - self.slept
        left = max(self.planned * share, worked) * self.factor - elapsed
        if left <= 0:
            return elapsed
        time.sleep(left)
        now = time.perf_counter() - self.began
        self.slept += now - elapsed
        return now
