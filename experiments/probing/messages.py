"""Messages of one size: single ones, exchanges, and trains."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from collectives.executors.plan import Scheduled
from experiments.probing.sampling import Item
from experiments.probing.sizes import MESSAGE_SIZES, Budget
from experiments.probing.team import Team
from experiments.traffic import Exchange, PingPong, Stream, partner

__all__ = ["exchange", "ping_pong", "sizing", "start", "train", "wagons"]

_SMALL = 8  # bytes
_STARTS = 25  # of a sample, for single ones scatter widely
_TRAIN, _TRAIN_BYTES = 20e-3, 3 << 17  # seconds and bytes of a train, which has between 3 and 24 messages
_SAMPLE = 2e-3  # seconds that a sample of messages should last, to be long beside the clock and the line-up


def sizing(team: Team, limit: float) -> Budget:
    """Which sizes ``limit`` seconds allow: one ping-pong of each, up to the one that takes too long."""
    sizes: list[int] = []
    seconds: list[float] = []
    for size in MESSAGE_SIZES:
        call = team.runner(PingPong(2), size)
        sizes.append(size)
        seconds.append(min(_agreed_seconds(team, call) for _ in range(2)) / 2)
        if size >= MESSAGE_SIZES[9] and 1.5 * seconds[-1] > Budget.longest(limit):
            break  # the next is at least that much longer
    return Budget(limit, tuple(sizes), tuple(seconds))


def ping_pong(team: Team, size: int, estimate: float) -> Item:
    """Seconds of one message one way."""
    count = 2 * _many(_SAMPLE / 2 / estimate, 1, 10)
    return replace(_timing(team, PingPong(count), size, count, first_only=True), seconds=count * estimate)


def exchange(team: Team, size: int, estimate: float) -> Item:
    """Seconds of one round in which both send."""
    count = _many(_SAMPLE / estimate, 2 if estimate < 20e-3 else 1, 20)
    return replace(_timing(team, Exchange(count), size, count, first_only=False), seconds=count * estimate)


def train(team: Team, size: int, estimate: float) -> Item:
    """Seconds of a train there and one back, each of ``wagons(size, estimate)`` messages, over twice that number."""
    count = wagons(size, estimate)
    return replace(_timing(team, Stream(count), size, 2 * count, first_only=True), seconds=2 * count * estimate)


def wagons(size: int, estimate: float) -> int:
    """How many messages of ``size`` bytes and about ``estimate`` seconds a train has.

    Enough for its time, and for so many bytes that what a link lets through faster after a pause is a small part.
    """
    return _many(max(_TRAIN / estimate, _TRAIN_BYTES / size), 3, 24)


def start(team: Team) -> Item:
    """Seconds of one exchange of 8 bytes after a pause, from the first entry to the last exit; the median of a few."""
    call = team.runner(Exchange(1), _SMALL)
    takes_part = partner(team.comm.rank, team.comm.size) is not None

    def once() -> float:
        team.line_up()
        entered = time.perf_counter_ns()
        call()
        return team.span(entered, time.perf_counter_ns()) if takes_part else team.span(None, 0)

    def take() -> float:
        return statistics.median(once() for _ in range(_STARTS))

    return Item(take)


def _timing(team: Team, pattern: Scheduled, size: int, count: int, *, first_only: bool) -> Item:
    """What follows another message at once, so that nobody has to wake up first.

    ``first_only``: what ends with a message to the first of a pair is over when it is there, and the second is rid of
    that message earlier.
    """
    waking = team.runner(PingPong(2), _SMALL)
    call = team.runner(pattern, size)
    sees_the_end = partner(team.comm.rank, team.comm.size) is not None
    if first_only:
        sees_the_end = team.comm.rank < team.comm.size // 2

    def take() -> float | None:
        team.line_up()
        waking()
        start = time.perf_counter_ns()
        call()
        seconds = (time.perf_counter_ns() - start) * 1e-9 / count
        return seconds if sees_the_end else None

    return Item(take)


def _agreed_seconds(team: Team, call: Callable[[], None]) -> float:
    team.line_up()
    start = time.perf_counter()
    call()
    seconds = np.array([time.perf_counter() - start])
    team.comm.Bcast(seconds)
    return max(float(seconds[0]), 1e-9)


def _many(number: float, least: int, most: int) -> int:
    return int(min(max(number, least), most))
