"""The parts of a profile: measured points, piecewise-linear curves over bytes, and what differs by ranks or by pair."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

__all__ = [
    "Crowd", "Fitted", "Knots", "Pair", "PairClass", "ProfileError",
    "blended", "check", "check_knots", "interpolated", "intervals", "knots",
]  # fmt: skip

Knots = tuple[tuple[int, float], ...]
"""``((nbytes, value), ...)``, ascending in bytes: a function of the message's size, straight between two knots."""


class ProfileError(ValueError):
    """A profile that cannot be found, read or believed."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """One point of the calibration and what the fitted line says there.

    ``pattern`` is ``pingpong`` (one way), ``exchange`` (both ways at once), ``stream`` (back to back) or
    ``reduction``. ``seconds`` is the median of ``samples`` measurements for ``nbytes`` bytes, ``low`` to ``high`` its
    95 % interval (None with too few samples), ``fitted`` the seconds of the model: the one-way line for messages,
    gamma for ``reduction``. ``curve`` is what the piecewise fit says there (None where there is none).
    """

    pattern: str
    nbytes: int
    seconds: float
    low: float | None
    high: float | None
    samples: int
    fitted: float
    curve: float | None = None

    @property
    def residual(self) -> float:
        """Relative error of the straight line: ``(fitted - seconds) / seconds``."""
        return (self.fitted - self.seconds) / self.seconds

    @property
    def curve_residual(self) -> float | None:
        """Relative error of the piecewise fit: ``(curve - seconds) / seconds``."""
        return None if self.curve is None else (self.curve - self.seconds) / self.seconds


@dataclass(frozen=True, slots=True)
class Crowd:
    """What messages cost while only ``ranks`` ranks of the launch are at work; the fields are those of Profile."""

    ranks: int
    alpha: float
    beta: float
    overhead: float = 0.0
    overhead_per_byte: float = 0.0
    curve: Knots = ()
    duplex: Knots = ()
    streams: Knots = ()
    start: float = 0.0

    def __post_init__(self) -> None:
        check(self, ("alpha", "beta", "overhead", "overhead_per_byte", "start"), ("curve", "duplex", "streams"))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Crowd:
        """The crowd in a profile's file; raises TypeError or ValueError for anything else."""
        values: dict[str, Any] = dict(content)
        values.update({name: knots(content.get(name, ())) for name in ("curve", "duplex", "streams")})
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Pair:
    """Messages from ``source`` to ``dest`` alone: ``alpha`` seconds each, and ``beta`` seconds per byte."""

    source: int
    dest: int
    alpha: float
    beta: float

    def __post_init__(self) -> None:
        check(self, ("alpha", "beta"))


@dataclass(frozen=True, slots=True)
class PairClass:
    """Pairs that cost alike: ``name`` is "near" (in one group) or "far", ``pairs`` how many of them were measured.

    ``alpha`` and ``beta`` are medians over the pairs, ``intervals`` their 95 % intervals by name.
    """

    name: str
    pairs: int
    alpha: float
    beta: float
    intervals: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        check(self, ("alpha", "beta"))

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> PairClass:
        """The class in a profile's file; raises TypeError or ValueError for anything else."""
        values: dict[str, Any] = dict(content)
        values["intervals"] = intervals(content.get("intervals", {}))
        return cls(**values)


def interpolated(points: Knots, nbytes: float, *, onward: bool = False) -> float:
    """The value at ``nbytes``: straight between knots, level outside of them; never negative.

    ``onward``: beyond the last knot it goes on in the direction of the last two, as times do (and factors do not).
    Raises ValueError without knots. Cost: O(log knots).
    """
    if not points:
        raise ValueError("there is nothing to interpolate between: no knots")
    index = bisect_left(points, nbytes, key=itemgetter(0))
    if index == 0 or (index < len(points) and points[index][0] == nbytes):
        return points[index][1]
    if index == len(points):
        if not onward or index == 1:
            return points[-1][1]
        index -= 1
    (left, low), (right, high) = points[index - 1 : index + 1]
    return max(0.0, low + (high - low) * (nbytes - left) / (right - left))


def blended(fewer: Knots, more: Knots, weight: float, *, onward: bool = False) -> Knots:
    """``(1 - weight)`` of one function and ``weight`` of the other, on the knots of both; of one where one is empty.

    >>> blended(((0, 1.0), (10, 2.0)), ((0, 3.0),), 0.5)
    ((0, 2.0), (10, 2.5))
    """
    if not fewer or not more or fewer == more:
        return fewer or more

    def mixed(size: int) -> float:
        low, high = (interpolated(points, size, onward=onward) for points in (fewer, more))
        return (1 - weight) * low + weight * high

    return tuple((size, mixed(size)) for size in sorted({size for size, _ in (*fewer, *more)}))


def knots(content: Iterable[Sequence[float]]) -> Knots:
    """Knots from a file's lists; raises TypeError or ValueError for anything else."""
    return tuple((int(nbytes), float(value)) for nbytes, value in content)


def intervals(content: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float]]:
    """Intervals by name from a file's object; raises TypeError, ValueError or AttributeError for anything else."""
    return {key: (float(low), float(high)) for key, (low, high) in content.items()}


def check(owner: object, costs: Iterable[str], curves: Iterable[str] = ()) -> None:
    """Raise ProfileError unless these fields are numbers that can be costs, and knots in ascending order."""
    for name in costs:
        _check_cost(name, getattr(owner, name))
    for name in curves:
        check_knots(name, getattr(owner, name))


def _check_cost(name: str, value: object) -> None:
    """Raise ProfileError unless ``value`` is a number that can be a cost."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ProfileError(f"profile: {name} must be a number, got {value!r}")
    if not math.isfinite(value) or value < 0:
        raise ProfileError(f"profile: {name} must be finite and not negative, got {value!r}")


def check_knots(name: str, points: Knots) -> None:
    """Raise ProfileError unless the knots ascend in bytes from 0 or more and have values that can be costs."""
    sizes = [nbytes for nbytes, _ in points]
    if sizes != sorted(set(sizes)) or (sizes and sizes[0] < 0):
        raise ProfileError(f"profile: {name} must list sizes of at least 0 B in ascending order, got {sizes}")
    for _, value in points:
        _check_cost(name, value)
