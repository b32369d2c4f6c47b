"""Piecewise straight lines through message times, with as many pieces as an information criterion allows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Piece", "Piecewise", "fit_cost", "fit_pieces"]

Floats = NDArray[np.float64]

_MOST_PIECES = 5
_FEWEST_POINTS = 2
_FLOOR = 0.01  # relative error below which a difference is none: clocks and machines are no better
_DRAWN = 4  # as many samples as the usual scatter counts for
_OF_MEDIAN = 1.2533  # standard error of a median, in those of a mean (normal distribution)
_NORMAL = 1.4826  # standard deviations of a normal distribution in its median absolute deviation


@dataclass(frozen=True, slots=True)
class Piece:
    """``intercept + slope · nbytes`` seconds for sizes from ``low`` to ``high`` bytes, both among those measured."""

    low: int
    high: int
    intercept: float
    slope: float

    def __call__(self, nbytes: float) -> float:
        """Seconds at ``nbytes``."""
        return self.intercept + self.slope * nbytes


@dataclass(frozen=True, slots=True)
class Piecewise:
    """``knots``: (nbytes, seconds), straight between them; ``changes``: the sizes from which on another piece holds."""

    pieces: tuple[Piece, ...]
    knots: tuple[tuple[int, float], ...]
    changes: tuple[int, ...]


def fit_pieces(nbytes: Sequence[int], groups: Sequence[Sequence[float]], *, jump: int = -1) -> Piecewise:
    """Straight pieces through the medians of ``groups`` (seconds, one group for each of ``nbytes``, ascending).

    Each piece minimises relative errors, each in units of the standard error of its median, and rises or is level.
    Where pieces begin, and how many there are (up to 5), is what has the least Bayesian information criterion (Schwarz
    1978) for errors that are normal in the logarithm. The standard errors come from median absolute deviations, drawn
    towards what is usual where samples are few, so that single outliers count for nothing; none is below 1 %.
    Two neighbours meet where their lines cross, or leap from one size to the next; at ``jump`` bytes exactly if that
    lies between: the largest message that goes out unasked. Cost: as many least-squares fits as there are pairs of
    sizes. Raises ValueError for less than two sizes.
    """
    if len(nbytes) < _FEWEST_POINTS or len(nbytes) != len(groups):
        raise ValueError("pieces need one group of seconds for each of at least two sizes")
    medians = _Medians.of(nbytes, groups)
    return _joined([_piece(nbytes, medians, low, high) for low, high in _divided(medians)], jump)


@dataclass(frozen=True, slots=True)
class _Medians:
    """Median seconds at ``sizes``, and the relative standard error of each."""

    sizes: Floats
    seconds: Floats
    errors: Floats

    @classmethod
    def of(cls, nbytes: Sequence[int], groups: Sequence[Sequence[float]]) -> _Medians:
        counts = np.array([len(group) for group in groups], np.float64)
        scatter = np.array([_scatter(np.asarray(group, np.float64)) for group in groups])
        usual = float(np.median(scatter))
        scatter = np.sqrt((counts * scatter**2 + _DRAWN * usual**2) / (counts + _DRAWN))
        seconds = np.array([np.median(group) for group in groups])
        return cls(np.asarray(nbytes, np.float64), seconds, np.hypot(_FLOOR, _OF_MEDIAN * scatter / np.sqrt(counts)))

    def part(self, low: int, high: int) -> _Medians:
        """Those with index ``low`` to ``high``."""
        chosen = slice(low, high + 1)
        return _Medians(self.sizes[chosen], self.seconds[chosen], self.errors[chosen])


def fit_cost(nbytes: Sequence[int], groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """``(seconds, seconds per byte)``, neither negative, of the line through the medians of ``groups``.

    With one size, all of it is the cost of a message.
    """
    found = _Medians.of(nbytes, groups)
    if len(nbytes) == 1:
        return float(found.seconds[0]), 0.0
    intercept, slope = _line(found)
    return (intercept, slope) if intercept >= 0 else _line(found, through_zero=True)


def _divided(medians: _Medians) -> list[tuple[int, int]]:
    """First and last index of each piece in the division with the least criterion; by dynamic programming."""
    last = len(medians.sizes)
    misfit = {(low, high): _misfit(medians.part(low, high)) for low, high in itertools.combinations(range(last), 2)}
    # cheapest[k][end]: least misfit of k pieces over the first ``end`` sizes, and how they are divided.
    cheapest: list[dict[int, tuple[float, list[tuple[int, int]]]]] = [{0: (0.0, [])}]
    found: list[tuple[float, list[tuple[int, int]]]] = []
    for pieces in range(1, min(_MOST_PIECES, last // _FEWEST_POINTS) + 1):
        row: dict[int, tuple[float, list[tuple[int, int]]]] = {}
        for end in range(_FEWEST_POINTS * pieces, last + 1):
            options = [
                (before + misfit[start, end - 1], [*division, (start, end - 1)])
                for start, (before, division) in cheapest[-1].items()
                if end - start >= _FEWEST_POINTS
            ]
            if options:
                row[end] = min(options, key=lambda option: option[0])
        cheapest.append(row)
        if last in row:
            squares, division = row[last]
            found.append((float(squares + (3 * pieces - 1) * np.log(last)), division))
    return min(found, key=lambda option: option[0])[1]


def _misfit(medians: _Medians) -> float:
    intercept, slope = _line(medians)
    fitted = np.maximum(intercept + slope * medians.sizes, 1e-3 * medians.seconds)
    return float(((np.log(fitted / medians.seconds) / medians.errors) ** 2).sum())


def _line(medians: _Medians, *, through_zero: bool = False) -> tuple[float, float]:
    """Intercept and slope >= 0 with the least squares of relative errors, in standard errors."""
    weights, target = 1 / (medians.seconds * medians.errors), 1 / medians.errors
    scaled = medians.sizes * weights
    if through_zero:
        return 0.0, float((scaled * target).sum() / (scaled**2).sum())
    (intercept, slope), *_ = np.linalg.lstsq(np.stack([weights, scaled], axis=1), target)
    if slope < 0:
        return float((weights * target).sum() / (weights**2).sum()), 0.0
    return float(intercept), float(slope)


def _scatter(samples: Floats) -> float:
    logs = np.log(samples)
    return _NORMAL * float(np.median(np.abs(logs - np.median(logs))))


def _piece(nbytes: Sequence[int], medians: _Medians, low: int, high: int) -> Piece:
    return Piece(nbytes[low], nbytes[high], *_line(medians.part(low, high)))


def _joined(pieces: list[Piece], jump: int) -> Piecewise:
    knots, changes = [(pieces[0].low, pieces[0](pieces[0].low))], list[int]()
    for before, after in itertools.pairwise(pieces):
        steeper = after.slope - before.slope
        meeting = (before.intercept - after.intercept) / steeper if steeper else -1.0
        if before.high <= jump < after.low:
            ends = [(jump, before(jump)), (jump + 1, after(jump + 1))]
            changes.append(jump + 1)
        elif before.high <= meeting <= after.low:
            ends = [(round(meeting), before(meeting))]
            changes.append(round(meeting))
        else:
            ends = [(before.high, before(before.high)), (after.low, after(after.low))]
            changes.append(after.low)
        knots += ends
    knots.append((pieces[-1].high, pieces[-1](pieces[-1].high)))
    positive = {size: max(seconds, 1e-12) for size, seconds in knots}
    return Piecewise(tuple(pieces), tuple(positive.items()), tuple(changes))
