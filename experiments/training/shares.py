"""Who computes which grains of a batch: equal shares, or shares by measured speed.

Where ranks wait for each other a step takes as long as the slowest, so grains go where they end soonest: each in turn
to the rank that would be done with it first. No other way of sharing whole grains has an earlier end (exchange any
grain: it would end no earlier); as a way of dividing seats it is D'Hondt's.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["Balanced", "Equal", "Shares", "agreement", "apportion", "ranges"]

Agree = Callable[[float], Sequence[float]]
"""One number of each rank, in rank order, at all ranks."""


class Shares(Protocol):
    """What a strategy asks before a step, and tells after it."""

    def of(self, step: int, /) -> tuple[int, int]:
        """This rank's range of grains in step 1, 2, ...; ask once for each step, on all ranks."""
        ...

    def computed(self, grains: int, seconds: float, /) -> None:
        """So many grains took this rank so long, waiting left out."""
        ...


@dataclass(frozen=True, slots=True)
class Equal:
    """``rank`` of ``ranks`` has as many grains as any other, or one more."""

    grains: int
    ranks: int
    rank: int

    def of(self, _step: int, /) -> tuple[int, int]:
        """The same range at each step."""
        return self.grains * self.rank // self.ranks, self.grains * (self.rank + 1) // self.ranks

    def computed(self, _grains: int, _seconds: float, /) -> None:
        """Nothing comes of it."""


@dataclass(slots=True)
class Balanced:
    """Shares by measured speed, settled anew ``every`` so many steps.

    All ranks tell their seconds a grain (8 bytes each by ``agree``) and work out the same shares from the same numbers.
    ``smoothing``: the weight of what is measured now against what was known before, above 0 and at most 1. Each rank
    keeps at least one grain if there are enough, for one without work would never be measured again.
    """

    grains: int
    ranks: int
    rank: int
    agree: Agree
    every: int = 10
    smoothing: float = 0.5
    counts: list[int] = field(init=False)
    """Grains of each rank, as last settled."""
    _known: float = field(init=False, default=0.0)
    _measured: tuple[int, float] = field(init=False, default=(0, 0.0))

    def __post_init__(self) -> None:
        if self.every < 1 or not 0 < self.smoothing <= 1:
            raise ValueError(
                "shares are settled every so many steps, at least 1, with a smoothing above 0 and at most 1; "
                f"got {self.every} and {self.smoothing}"
            )
        self.counts = apportion(self.grains, [1.0] * self.ranks)

    def of(self, step: int) -> tuple[int, int]:
        """This rank's range; a meeting of all ranks where ``every`` steps are over."""
        if step > 1 and (step - 1) % self.every == 0:
            self._settle()
        return ranges(self.counts)[self.rank]

    def computed(self, grains: int, seconds: float) -> None:
        """Kept until shares are settled next."""
        before = self._measured
        self._measured = before[0] + grains, before[1] + seconds

    def _settle(self) -> None:
        grains, seconds = self._measured
        if grains and seconds > 0:
            now = seconds / grains
            self._known = now if not self._known else self.smoothing * now + (1 - self.smoothing) * self._known
        self._measured = 0, 0.0
        self.counts = apportion(self.grains, self.agree(self._known))


def apportion(grains: int, seconds: Sequence[float]) -> list[int]:
    """How many grains each rank gets, given its seconds a grain, so that the last to end ends as early as can be.

    Of two ranks the faster never has fewer. A rank whose time is not known (0) counts as the mean of the others.
    ValueError for times that are negative or not finite. Ranks log ranks + grains log ranks operations.
    """
    if any(not 0 <= each < float("inf") for each in seconds):
        raise ValueError(f"seconds a grain must be finite and not negative, got {', '.join(map(str, seconds))}")
    known = [each for each in seconds if each > 0] or [1.0]
    times = [each or sum(known) / len(known) for each in seconds]
    least = 1 if grains >= len(times) else 0
    counts = [least] * len(times)
    ends = [((least + 1) * each, each, rank) for rank, each in enumerate(times)]
    heapq.heapify(ends)
    for _ in range(grains - sum(counts)):
        _, each, rank = ends[0]
        counts[rank] += 1
        heapq.heapreplace(ends, ((counts[rank] + 1) * each, each, rank))
    return counts


def ranges(counts: Sequence[int]) -> list[tuple[int, int]]:
    """The range of grains of each rank, one after the other."""
    return list(pairwise(accumulate(counts, initial=0)))


def agreement(comm: Communicator) -> Agree:
    """An allgather of one float64: 8 bytes from each rank."""
    mine, all_of_them = np.zeros(1), np.zeros(comm.size)

    def agree(value: float) -> Sequence[float]:
        mine[0] = value
        comm.Allgather(mine, all_of_them)
        return all_of_them.tolist()

    return agree
