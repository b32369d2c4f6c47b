"""Shares of a batch: nobody can divide the grains for an earlier end, and all ranks divide them alike."""

from itertools import combinations_with_replacement
from threading import Barrier, Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.training.batches import Batches
from experiments.training.shares import Balanced, Equal, apportion, ranges

SECONDS = st.lists(st.floats(0.01, 100), min_size=1, max_size=4)


def ways(grains: int, ranks: int) -> list[list[int]]:
    """All ways to give so many grains to so many ranks, each at least one."""
    cuts = combinations_with_replacement(range(grains - ranks + 1), ranks - 1)
    return [[b - a + 1 for a, b in zip((0, *cut), (*cut, grains - ranks), strict=True)] for cut in cuts]


@settings(max_examples=60, deadline=None)
@given(SECONDS, st.integers(0, 5))
def test_no_other_shares_end_sooner(seconds: list[float], more: int) -> None:
    counts = apportion(len(seconds) + more, seconds)

    def end(shares: list[int]) -> float:
        return max(count * each for count, each in zip(shares, seconds, strict=True))

    assert sum(counts) == len(seconds) + more
    assert min(counts) >= 1
    assert end(counts) <= min(end(way) for way in ways(len(seconds) + more, len(seconds))) * (1 + 1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=9), st.integers(0, 64))
def test_the_faster_never_has_less_and_all_is_given_out(seconds: list[float], grains: int) -> None:
    counts = apportion(grains, seconds)
    assert sum(counts) == grains
    by_speed = [count for _, count in sorted(zip(seconds, counts, strict=True), key=lambda each: (each[0], -each[1]))]
    assert by_speed == sorted(by_speed, reverse=True)


def test_a_rank_of_unknown_speed_is_taken_for_an_average_one() -> None:
    assert apportion(12, [1.0, 0.0, 1.0]) == [4, 4, 4]
    assert apportion(12, [0.0, 0.0]) == [6, 6]


@pytest.mark.parametrize("wrong", [-1.0, float("nan"), float("inf")])
def test_times_that_cannot_be_are_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        apportion(4, [1.0, wrong])


def test_equal_shares_are_those_of_batches() -> None:
    batches = Batches(samples=64, batch=14, grains=7)
    assert [Equal(7, 3, rank).of(1) for rank in range(3)] == batches.shares(3)


def run(true_seconds: list[float], steps: int, grains: int = 24) -> list[list[tuple[int, int]]]:
    """By step the ranges that ranks of these speeds find, each in a thread of its own."""
    ranks = len(true_seconds)
    meeting, told = Barrier(ranks, timeout=10), [0.0] * ranks
    found = [[(0, 0)] * ranks for _ in range(steps)]

    def work(rank: int) -> None:
        def agree(value: float) -> list[float]:
            told[rank] = value
            meeting.wait()
            everyone = list(told)
            meeting.wait()
            return everyone

        shares = Balanced(grains, ranks, rank, agree, every=2, smoothing=1.0)
        for step in range(steps):
            lo, hi = shares.of(step + 1)
            found[step][rank] = lo, hi
            shares.computed(hi - lo, (hi - lo) * true_seconds[rank])

    threads = [Thread(target=work, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    return found


def test_shares_follow_the_speed_that_was_measured() -> None:
    found = run([1.0, 3.0, 1.0], steps=4)
    assert [found[step] for step in (0, 1)] == [[(0, 8), (8, 16), (16, 24)]] * 2
    assert [hi - lo for lo, hi in found[2]] == [11, 3, 10]  # done after 11 s; 10, 4 and 10 would take 12
    assert found[2] == found[3] == ranges([11, 3, 10])


def test_smoothing_weighs_what_is_new_against_what_was_known() -> None:
    told: list[float] = []

    def agree(value: float) -> list[float]:
        told.append(value)
        return [value]

    shares = Balanced(4, 1, 0, agree, every=1, smoothing=0.25)
    for step, seconds in enumerate((4.0, 8.0, 0.0), start=1):
        shares.of(step)
        shares.computed(4 if seconds else 0, seconds)
    shares.of(4)
    assert told == [1.0, 1.25, 1.25]  # a step in which nothing was computed says nothing


@pytest.mark.parametrize(("every", "smoothing"), [(0, 0.5), (1, 0.0), (1, 1.5)])
def test_a_way_of_balancing_that_cannot_be_is_refused(every: int, smoothing: float) -> None:
    with pytest.raises(ValueError, match="shares are settled"):
        Balanced(4, 2, 0, lambda value: [value, value], every=every, smoothing=smoothing)
