"""What a schedule costs, as three numbers that no network has touched yet."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Cost"]


@dataclass(frozen=True, slots=True)
class Cost:
    """``messages·α + volume·n·β + reductions·n·γ`` along the longest path, for a vector of n bytes."""

    messages: Fraction
    volume: Fraction
    reductions: Fraction = Fraction(0)

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.messages + other.messages, self.volume + other.volume, self.reductions + other.reductions)

    def seconds(self, nbytes: float, alpha: float, beta: float, gamma: float = 0.0) -> float:
        """Seconds at ``alpha`` s per message, ``beta`` s per byte and ``gamma`` s per reduced byte, n = ``nbytes``."""
        return float(self.messages) * alpha + (float(self.volume) * beta + float(self.reductions) * gamma) * nbytes
