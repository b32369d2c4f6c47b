"""Medians, ratios and straight lines, each with its interval and with no assumption that times are normal."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

__all__ = ["Estimate", "Line", "fit_line", "fit_rate", "median", "median_ratio"]

Floats = NDArray[np.float64]

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval, which is None where there are too few samples for one."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """``seconds = intercept + slope * nbytes`` with 95 % intervals."""

    intercept: Estimate
    slope: Estimate

    def __call__(self, nbytes: float) -> float:
        """Seconds that the line gives for ``nbytes`` bytes."""
        return self.intercept.value + self.slope.value * nbytes


def median(samples: Sequence[float] | Floats, confidence: float = CONFIDENCE) -> Estimate:
    """The median and its distribution-free interval between two order statistics.

    The interval covers the true median with at least ``confidence``, whatever the distribution of independent
    samples (David and Nagaraja, Order Statistics, 3rd ed., section 7.1). It needs n samples with
    2·(1/2)^n <= 1 - confidence: 6 for 95 %.
    """
    values = np.asarray(samples, dtype=np.float64)
    if values.size == 0:
        raise ValueError("a median of no samples was asked for")
    middle, place = float(np.median(values)), _place(values.size, confidence)
    if place == 0:
        return Estimate(middle)
    ends = np.partition(values, (place - 1, values.size - place))
    return Estimate(middle, float(ends[place - 1]), float(ends[values.size - place]))


def median_ratio(numerator: Sequence[float] | Floats, denominator: Sequence[float] | Floats) -> Estimate:
    """Ratio of two medians; the interval covers the true ratio with at least 95 %.

    Both medians lie in their 97.5 % intervals at once with at least 95 % (Bonferroni), and then the ratio lies
    between the quotients of the opposite ends. Needs 7 samples of each.
    """
    each = 1 - (1 - CONFIDENCE) / 2
    above, below = median(numerator, each), median(denominator, each)
    value = above.value / below.value
    if above.low is None or above.high is None or below.low is None or below.high is None or below.low <= 0:
        return Estimate(value)
    return Estimate(value, above.low / below.high, above.high / below.low)


def fit_line(nbytes: Sequence[float] | Floats, groups: Sequence[Sequence[float] | Floats], *, seed: int = 0) -> Line:
    """A line through the medians of ``groups`` (one group of seconds for each size), intercept and slope > 0.

    Minimises the logarithms of model over measurement, for message times span six orders of magnitude and twice too
    long is as wrong as half as long, under a soft-l1 loss, so that one size at which the library changes its protocol
    does not tilt the whole. The intervals are percentiles over
    200 bootstrap samples drawn within each group. Needs two different sizes.
    """
    sizes = np.asarray(nbytes, dtype=np.float64)
    if sizes.size != len(groups) or np.unique(sizes).size < 2:
        raise ValueError("a line needs one group of seconds for each of at least two different sizes")
    arrays = [np.asarray(group, dtype=np.float64) for group in groups]
    intercept, slope = _robust_line(sizes, np.array([np.median(group) for group in arrays]))
    resampled = _resampled_medians(arrays, 200, np.random.default_rng(seed))
    drawn = np.array([_robust_line(sizes, medians) for medians in resampled])
    ends = np.percentile(drawn, [2.5, 97.5], axis=0)
    return Line(Estimate(intercept, float(ends[0, 0]), float(ends[1, 0])),
                Estimate(slope, float(ends[0, 1]), float(ends[1, 1])))  # fmt: skip


def fit_rate(nbytes: Sequence[float] | Floats, groups: Sequence[Sequence[float] | Floats]) -> Estimate:
    """Seconds per byte as the median of ``seconds / nbytes`` over all sizes, each size counting alike."""
    rates = [np.asarray(group, dtype=np.float64) / size for size, group in zip(nbytes, groups, strict=True)]
    shortest = min(rate.size for rate in rates)
    return median(np.concatenate([rate[:shortest] for rate in rates]))


@functools.lru_cache
def _place(count: int, confidence: float) -> int:
    """The largest l with P(x_(l) <= median <= x_(count+1-l)) >= confidence, or 0: l - 1 below is a binomial event."""
    return int(stats.binom.ppf((1 - confidence) / 2, count, 0.5))


def _robust_line(sizes: Floats, seconds: Floats) -> tuple[float, float]:
    # Scaled so that both unknowns are near 1: the least time, and the time per byte of the largest message.
    scale = np.array([seconds.min(), seconds[sizes.argmax()] / sizes.max()])

    def residuals(unknowns: Floats) -> Floats:
        return np.log((unknowns[0] * scale[0] + unknowns[1] * scale[1] * sizes) / seconds)

    found = optimize.least_squares(residuals, [1.0, 1.0], bounds=(1e-9, math.inf), loss="soft_l1", f_scale=0.1)
    return float(found.x[0] * scale[0]), float(found.x[1] * scale[1])


def _resampled_medians(groups: Sequence[Floats], times: int, random: np.random.Generator) -> Floats:
    columns = [np.median(random.choice(group, (times, group.size)), axis=1) for group in groups]
    return np.stack(columns, axis=1)
