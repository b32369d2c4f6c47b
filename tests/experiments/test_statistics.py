"""Intervals keep their promised coverage, and fits find the line that made the data."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from experiments.statistics import fit_line, fit_rate, median, median_ratio

TIMES = st.lists(st.floats(1e-7, 1e2), min_size=1, max_size=60)


@given(TIMES)
def test_the_interval_holds_the_median_and_its_ends_are_samples(samples: list[float]) -> None:
    found = median(samples)
    assert found.value == np.median(samples)
    if len(samples) < 6:
        assert found.low is None
        assert found.high is None
    else:
        assert found.low is not None
        assert found.high is not None
        assert found.low <= found.value <= found.high
        assert {found.low, found.high} <= set(samples)


@given(st.lists(st.floats(1e-7, 1e2), min_size=6, max_size=40), st.floats(1e-3, 1e3))
def test_the_interval_scales_with_the_unit(samples: list[float], scale: float) -> None:
    plain, scaled = median(samples), median([scale * value for value in samples])
    assert scaled.value == pytest.approx(scale * plain.value)
    assert (scaled.low, scaled.high) == pytest.approx((scale * (plain.low or 0), scale * (plain.high or 0)))


def test_known_interval() -> None:
    # n = 10: the 2nd and the 9th of the ordered samples, at 97.9 % (David and Nagaraja, table of section 7.1).
    found = median(range(1, 11))
    assert (found.value, found.low, found.high) == (5.5, 2, 9)


@pytest.mark.parametrize("confidence", [0.95, 0.975])
def test_the_interval_is_that_of_scipy(confidence: float) -> None:
    random = np.random.default_rng(5)
    for count in range(1, 60):
        samples = random.normal(size=count)
        found = median(samples, confidence)
        known = stats.quantile_test(samples, q=0, p=0.5).confidence_interval(confidence)
        if found.low is None:
            assert np.isnan(known.low) or np.isnan(known.high)
        else:
            assert (found.low, found.high) == tuple(known)


@pytest.mark.parametrize("count", [6, 11, 40])
@pytest.mark.parametrize("law", ["exponential", "bimodal", "cauchy"])
def test_coverage_is_at_least_what_is_promised(count: int, law: str) -> None:
    random = np.random.default_rng(20240601)
    trials = 500
    draws = {
        "exponential": lambda: random.exponential(size=(trials, count)),
        "bimodal": lambda: random.choice([0.0, 10.0], size=(trials, count)) + random.uniform(-4, 6, (trials, count)),
        "cauchy": lambda: random.standard_cauchy(size=(trials, count)),
    }[law]()
    truth = {"exponential": np.log(2), "bimodal": 6.0, "cauchy": 0.0}[law]
    covered = np.mean([found.low <= truth <= found.high for found in map(median, draws)])
    # 95 % less three standard errors of 500 trials.
    assert covered >= 0.92
    if count == 40:  # few samples leave only coarse intervals, but here a too wide one would be a defect as well
        assert covered <= 0.99


def test_ratio_coverage() -> None:
    random = np.random.default_rng(7)
    found = [median_ratio(random.exponential(3.0, 20), random.exponential(2.0, 30)) for _ in range(300)]
    covered = np.mean([ratio.low <= 1.5 <= ratio.high for ratio in found])
    assert covered >= 0.93
    assert np.median([ratio.value for ratio in found]) == pytest.approx(1.5, rel=0.1)


def test_a_ratio_of_few_samples_has_no_interval() -> None:
    assert median_ratio([1.0] * 6, [2.0] * 30).low is None
    assert median_ratio([1.0] * 7, [2.0] * 30).value == 0.5


def test_no_samples_are_an_error() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median([])


@settings(max_examples=6, deadline=None)
@given(st.floats(1e-7, 1e-3), st.floats(1e-12, 1e-7))
def test_an_exact_line_is_found(alpha: float, beta: float) -> None:
    sizes = [0.0, 64, 1024, 65536, 1 << 20, 1 << 22]
    line = fit_line(sizes, [[alpha + beta * size] * 8 for size in sizes])
    assert line.intercept.value == pytest.approx(alpha, rel=1e-3)
    if beta * sizes[-1] > 0.1 * alpha:
        assert line.slope.value == pytest.approx(beta, rel=1e-2)


def test_a_noisy_line_with_one_odd_size_is_still_found() -> None:
    random = np.random.default_rng(3)
    sizes = np.array([8.0, 64, 512, 4096, 32768, 262144, 1 << 21, 1 << 24])
    groups = [(2e-6 + 1e-10 * size) * random.lognormal(0, 0.05, 30) for size in sizes]
    groups[3] = groups[3] * 3
    line = fit_line(sizes, groups)
    assert line.intercept.value == pytest.approx(2e-6, rel=0.15)
    assert line.slope.value == pytest.approx(1e-10, rel=0.15)
    assert line.intercept.low is not None
    assert line.intercept.low <= line.intercept.value <= (line.intercept.high or 0)


@pytest.mark.parametrize(("sizes", "groups"), [([8], [[1.0]]), ([8, 8], [[1.0], [1.0]]), ([8, 9], [[1.0]])])
def test_a_line_needs_two_sizes(sizes: list[float], groups: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="two different sizes"):
        fit_line(sizes, groups)


def test_a_rate_counts_each_size_alike() -> None:
    rate = fit_rate([100, 1000, 10000], [[1e-8] * 50, [2e-7] * 9, [3e-6] * 9])
    assert rate.value == pytest.approx(2e-10)
