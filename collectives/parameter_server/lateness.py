"""Which workers are slow, from what a server sees of them.

A step is taken from the answer that a worker got to its next push. The time from push to push would show nothing: in
lockstep everyone is as late as the last one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Lateness", "Slow"]

WINDOW = 16
"""Steps of which the median is taken."""

ENOUGH = 5
"""Steps before anything is said of a worker: the first ones load libraries and touch memory."""


@dataclass(frozen=True, slots=True)
class Slow:
    """A worker whose step takes ``seconds``, where the others' take ``usual`` seconds (medians)."""

    worker: int
    seconds: float
    usual: float

    def __str__(self) -> str:
        """A line for a log."""
        ratio = self.seconds / self.usual
        return (
            f"worker {self.worker} is slow: {self.seconds:.3g} s a step, {ratio:.1f} times the others' {self.usual:.3g}"
        )


@dataclass(slots=True)
class Lateness:
    """Step times of workers. Slow is who takes ``factor`` times the median of the others' medians.

    Differences below ``least`` seconds are the scheduling of the machine, and say nothing of a worker.
    A median needs half of the steps to be slow, so a few hiccups make nobody slow; a step that is still going on
    counts as soon as it is longer than that by itself.
    """

    factor: float = 2.0
    least: float = 0.02
    steps: dict[int, deque[float]] = field(default_factory=dict[int, deque[float]], init=False)
    _since: dict[int, float] = field(default_factory=dict[int, float], init=False)
    _told: frozenset[int] = field(default=frozenset(), init=False)

    def __post_init__(self) -> None:
        if self.factor <= 1:
            raise ValueError(f"slow is a factor above 1, got {self.factor}")

    def answered(self, worker: int, now: float) -> None:
        """``worker`` got what it waited for, at ``now`` seconds; its step begins."""
        self._since[worker] = now

    def pushed(self, worker: int, now: float) -> None:
        """``worker`` has pushed: its step is over. A second push of the same step (another part) says nothing."""
        since = self._since.pop(worker, None)
        if since is not None:
            self.steps.setdefault(worker, deque(maxlen=WINDOW)).append(now - since)

    def left(self, worker: int) -> None:
        """``worker`` is gone."""
        self.steps.pop(worker, None)
        self._since.pop(worker, None)

    def slow(self, now: float) -> tuple[Slow, ...]:
        """Who is slow now, in ascending order. With one worker nobody is: there is nothing to compare with."""
        typical = {worker: median(steps) for worker, steps in self.steps.items() if len(steps) >= ENOUGH}
        return tuple(found for worker in sorted(typical) if (found := self._judged(worker, typical, now)))

    def news(self, now: float) -> tuple[str, ...]:
        """A line for each worker that became slow, or is no longer, since the last call."""
        found = {each.worker: str(each) for each in self.slow(now)}
        recovered = sorted(self._told.difference(found) & self.steps.keys())
        lines = [found[worker] for worker in sorted(found.keys() - self._told)]
        self._told = frozenset(found)
        return (*lines, *(f"worker {worker} keeps up again" for worker in recovered))

    def _judged(self, worker: int, typical: dict[int, float], now: float) -> Slow | None:
        usual = _median(seconds for other, seconds in typical.items() if other != worker)
        if usual is None:
            return None
        running = now - self._since.get(worker, now)
        seconds = max(typical[worker], running)
        slow = seconds > self.factor * max(usual, 1e-9) and seconds - usual > self.least
        return Slow(worker, seconds, usual) if slow else None


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return median(listed) if listed else None
