"""How many samples each cell gets within the time limit, and in which launch.

Cells differ in cost by six orders of magnitude. First each gets one sample, cheapest first, as far as a part of the
time goes. Then a cell whose call takes c seconds gets about √(s/c) samples, the least sum of relative variances that a
given time can buy where all cells vary alike (Neyman's allocation with costs; Cochran, Sampling Techniques, 3rd ed.
1977, section 5.5), with one s for all that fills the time. Cells for which no time is left are not measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from experiments.scaling.cells import Cell

__all__ = ["SLOW", "Planner", "Visit", "visit_seconds"]

SLOW = 0.1
"""Seconds of a call from which on a cell gets no warm-up: its first call is a sample."""

WARMUPS = 2
_PREPARED = 1 + WARMUPS  # calls before the samples of a cell that is not slow: one that is checked, and the warm-up
_EACH = 3e-4  # seconds beside the call: lining up, looking at the clock, writing the sample down
_VISIT = 2e-3  # seconds of a visit beside its calls: filling buffers, checking, gathering
_CHECKED = 1e-9  # seconds per byte of filling and checking a vector
_COVERAGE = 0.6  # part of the time that may go to one sample of each cell
_STEPS = 60  # halvings of the interval in which s is sought


@dataclass(frozen=True, slots=True)
class Visit:
    """A cell in one launch: ``samples`` of it, each expected to take ``seconds``."""

    cell: Cell
    samples: int
    seconds: float

    @property
    def slow(self) -> bool:
        """Whether every call counts."""
        return self.seconds >= SLOW

    @property
    def total(self) -> float:
        """Seconds that the visit is expected to take."""
        return visit_seconds(self.cell, self.samples, self.seconds)


@dataclass(slots=True)
class Planner:
    """Shares out the time over the launches, anew before each, by what is known of the cells' costs until then.

    ``expected``: seconds of one call of each cell, predicted at first. ``most``: samples of a cell in one launch.
    """

    expected: dict[Cell, float]
    launches: int
    most: int
    taken: dict[Cell, int] = field(default_factory=dict[Cell, int])

    def learn(self, measured: Mapping[Cell, float], samples: Mapping[Cell, int]) -> None:
        """Put measured seconds of a call in the place of expected ones, and count the samples taken so far."""
        self.expected |= measured
        self.taken = dict(samples)

    def next(self, launch: int, budget: float) -> list[Visit]:
        """What ``launch`` (from 0) measures; it and those after it have ``budget`` seconds together."""
        left = self.launches - launch
        wanted = self._wanted(budget, left)
        counts = {cell: -(-count // left) for cell, count in wanted.items() if count >= left}
        rare = {cell: count for cell, count in wanted.items() if 0 < count < left}
        counts |= dict.fromkeys(_due(rare, self._single, left), 1)
        return [Visit(cell, count, self.expected[cell]) for cell, count in counts.items()]

    def _wanted(self, budget: float, left: int) -> dict[Cell, int]:
        """Samples still to be taken of each cell over all launches that are left."""
        covered = self._cheapest(self.expected, _COVERAGE * budget)

        def counts(level: float) -> dict[Cell, int]:
            return {
                cell: min(self.most * left, max(cell in covered, self._fair(cell, level) - self.taken.get(cell, 0)))
                for cell in self.expected
            }

        low, high = 0.0, max(self.expected.values()) * (self.most * self.launches + 1) ** 2
        if self._spent(counts(high), left) <= budget:
            return counts(high)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            fits = self._spent(counts(middle), left) <= budget
            low, high = (middle, high) if fits else (low, middle)
        found = counts(low)
        rest = self._cheapest([cell for cell in found if not found[cell]], budget - self._spent(found, left))
        return found | dict.fromkeys(rest, 1)

    def _fair(self, cell: Cell, level: float) -> int:
        return math.isqrt(int(level / self.expected[cell]))

    def _cheapest(self, cells: Iterable[Cell], budget: float) -> set[Cell]:
        """As many of the cells without a sample as can have one within ``budget`` seconds, cheapest first."""
        found: set[Cell] = set()
        for cell in sorted((cell for cell in cells if not self.taken.get(cell)), key=self._single):
            budget -= self._single(cell)
            if budget < 0:
                break
            found.add(cell)
        return found

    def _spent(self, counts: Mapping[Cell, int], left: int) -> float:
        return sum(
            min(count, left) * visit_seconds(cell, max(1.0, count / left), self.expected[cell])
            for cell, count in counts.items()
            if count
        )

    def _single(self, cell: Cell) -> float:
        return visit_seconds(cell, 1, self.expected[cell])


def visit_seconds(cell: Cell, samples: float, seconds: float) -> float:
    """Seconds of a visit that takes ``samples`` samples of ``seconds`` each."""
    calls = samples if seconds >= SLOW else samples + _PREPARED
    checks = samples if seconds >= SLOW else 2
    return _VISIT + calls * (seconds + _EACH) + checks * cell.case.nbytes * _CHECKED


def _due(rare: Mapping[Cell, int], cost: Callable[[Cell], float], left: int) -> Sequence[Cell]:
    """Which of the cells that are not measured in every launch are in the next one: an equal part of their cost."""
    share = sum(count * cost(cell) for cell, count in rare.items()) / left
    chosen: list[Cell] = []
    for cell in sorted(rare, key=cost, reverse=True):
        if share <= 0:
            break
        chosen.append(cell)
        share -= cost(cell)
    return chosen
