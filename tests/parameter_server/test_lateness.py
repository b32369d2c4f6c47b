import random

import pytest

from collectives.parameter_server.lateness import Lateness

RNG = random.Random(3)


def steps(lateness: Lateness, seconds: dict[int, float], count: int, now: float = 0.0) -> float:
    """``count`` steps in lockstep: all push after their own time and are answered when the last one has pushed."""
    for _ in range(count):
        taken = {worker: each * RNG.uniform(0.9, 1.1) for worker, each in seconds.items()}
        for worker in seconds:
            lateness.answered(worker, now)
        for worker, each in taken.items():
            lateness.pushed(worker, now + each)
            lateness.pushed(worker, now + 2 * each)  # another part of the same step
        now += max(taken.values())
    return now


def test_who_is_slow_in_lockstep_is_found_although_all_take_as_long() -> None:
    lateness = Lateness()
    now = steps(lateness, {0: 1, 1: 1, 2: 3, 3: 1}, 10)
    (slow,) = lateness.slow(now)
    assert slow.worker == 2
    assert slow.seconds == pytest.approx(3, rel=0.1)
    assert slow.usual == pytest.approx(1, rel=0.1)
    (line,) = lateness.news(now)
    assert line.startswith("worker 2 is slow: ")
    assert lateness.news(now) == ()  # said once
    now = steps(lateness, {0: 1, 1: 1, 2: 1, 3: 1}, 20, now)
    assert lateness.news(now) == ("worker 2 keeps up again",)


@pytest.mark.parametrize("workers", [2, 3, 8])
def test_jitter_hiccups_and_beginnings_make_nobody_slow(workers: int) -> None:
    lateness = Lateness()
    now = steps(lateness, dict.fromkeys(range(workers), 1.0), 4)
    assert lateness.slow(now) == ()
    for _ in range(20):
        now = steps(lateness, dict.fromkeys(range(workers), 1.0), 3, now)
        now = steps(lateness, dict.fromkeys(range(workers), 1.0) | {0: 50.0}, 1, now)
        assert lateness.slow(now) == ()


def test_a_step_without_end_is_seen_before_it_ends() -> None:
    lateness = Lateness()
    now = steps(lateness, {0: 1, 1: 1, 2: 1}, 10)
    lateness.answered(1, now)
    assert lateness.slow(now + 1.5) == ()
    assert [slow.worker for slow in lateness.slow(now + 2.5)] == [1]


def test_of_two_the_slower_is_found_and_one_alone_is_never_slow() -> None:
    lateness = Lateness(factor=1.5)
    now = steps(lateness, {0: 1, 1: 2}, 10)
    assert [slow.worker for slow in lateness.slow(now)] == [1]
    lateness.left(0)
    assert lateness.slow(now) == ()


def test_milliseconds_are_the_scheduling_of_the_machine() -> None:
    lateness = Lateness()
    assert lateness.slow(steps(lateness, {0: 0.001, 1: 0.008}, 10)) == ()
