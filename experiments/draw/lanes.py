"""Where ranks and moments stand in a space-time diagram."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.draw.canvas import WIDTH

__all__ = ["LEFT", "RIGHT", "TOP", "Lanes"]

LEFT, RIGHT, TOP = 74.0, 26.0, 108.0


@dataclass(frozen=True, slots=True)
class Lanes:
    """``size`` lines ``gap`` apart, rank 0 on top, bars of height ``bar`` above and below each, for ``end`` seconds."""

    size: int
    gap: int
    bar: int
    end: float

    @property
    def bottom(self) -> float:
        """The lower edge of the last lane."""
        return TOP + self.gap * self.size

    def y(self, rank: int) -> float:
        """The line of ``rank``."""
        return TOP + self.gap * (rank + 0.5)

    def x(self, moment: float) -> float:
        """The place of ``moment``."""
        return LEFT + (WIDTH - LEFT - RIGHT) * moment / self.end
