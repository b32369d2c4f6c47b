"""The answer to: which algorithm would run, why, and what has run so far?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from collectives.catalogue import Algorithm
from collectives.selection import Candidate, Prices

__all__ = ["Explanation", "OnWire"]


@dataclass(frozen=True, slots=True)
class OnWire:
    """What travels where vectors are compressed: the whole vector in ``nbytes`` bytes, ``sent`` of this rank in all."""

    encoding: str
    nbytes: int
    sent: int

    def __str__(self) -> str:
        """A line for people."""
        return f"as {self.encoding} the vector takes {self.nbytes} bytes; this rank sends {self.sent} bytes in all"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a communicator would do with a call, and what it has done so far; ``str()`` gives a table for people.

    ``candidates`` are in order of predicted time, the chosen one first; ``excluded`` maps the others' names to the
    reason. ``on_device`` tells how messages leave device memory and why, once a collective there has found out.
    ``runs`` counts this handle's calls of the collective by algorithm, ``passed_on`` those that went to
    mpi4py's own method, by reason.
    """

    collective: str
    size: int
    nbytes: int
    prices: Prices
    executor: str
    candidates: tuple[Candidate, ...]
    excluded: Mapping[str, str]
    runs: Mapping[str, int]
    passed_on: Mapping[str, int]
    note: str = ""
    wire: OnWire | None = None
    on_device: str = ""

    @property
    def algorithm(self) -> Algorithm | None:
        """The one that is selected; None if no algorithm fits."""
        return self.candidates[0].algorithm if self.candidates else None

    def __str__(self) -> str:
        """A table for people."""
        chosen = f"{self.algorithm.label}, run by the {self.executor} executor" if self.algorithm else "no algorithm"
        width = max(map(len, (*(candidate.algorithm.label for candidate in self.candidates), *self.excluded)))
        lines = [f"{self.collective} of {self.nbytes} bytes on {self.size} ranks: {chosen}", self._priced()]
        lines += [f"  {one.algorithm.label:<{width}}  {_time(one.seconds)}" for one in self.candidates]
        lines += [f"  {name:<{width}}  left out: it {reason}" for name, reason in self.excluded.items()]
        lines += [] if self.wire is None else [str(self.wire)]
        lines += [self.on_device] if self.on_device else []
        lines += [f"so far {count} x {label}" for label, count in self.runs.items()]
        lines += [
            f"so far {count} x passed on to mpi4py's own method: {reason}" for reason, count in self.passed_on.items()
        ]
        return "\n".join([*lines, self.note] if self.note else lines)

    def _priced(self) -> str:
        prices = self.prices
        origin = "measured" if prices.measured else "a guess, not measured: run ciranda calibrate"
        return (
            f"predicted with {_time(prices.alpha)} a message, {_time(prices.beta)} a byte "
            f"and {_time(prices.gamma)} a reduced byte ({origin}):"
        )


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if seconds >= scale:
            return f"{seconds / scale:.4g} {unit}"
    return f"{seconds / 1e-12:.4g} ps"
