"""Each pair alone, pairs in company, and everything between two groups at once: what a topology shows itself by."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from experiments.probing.sizes import Budget
from experiments.probing.team import Team, napping
from experiments.traffic import Pairs, PingPong, Stream

__all__ = ["ALL_PAIRS", "alone", "chosen", "company", "crossing", "matchings", "seated", "together"]

ALL_PAIRS = 8
"""Up to so many ranks every pair is measured alone; beyond, a sample of as many pairs as 8 ranks have."""

SMALL = 8
_PINGS, _WAGONS = 10, 3
_LEAST_PASSES, _MOST_PASSES = 2, 9


def chosen(ranks: int) -> list[tuple[int, int]]:
    """The pairs that are measured alone: all of them up to 8 ranks, else a sample in which every rank appears."""
    every = [(low, high) for low in range(ranks) for high in range(low + 1, ranks)]
    if ranks <= ALL_PAIRS:
        return every
    wanted = max(ALL_PAIRS * (ALL_PAIRS - 1) // 2, ranks)
    across = [(rank, (rank + ranks // 2) % ranks) for rank in range(ranks)]
    others = random.Random(ranks).sample(every, len(every))
    return list(dict.fromkeys([*((min(pair), max(pair)) for pair in across), *others]))[:wanted]


def seated(ranks: Sequence[int], hosts: Sequence[int], groups: Sequence[int]) -> list[int]:
    """The ranks in an order in which partners, half of them apart, are of one group and of different hosts if possible.

    ``hosts`` and ``groups`` are by rank. Pairs within a group do not get in each other's way on a link between two.
    """
    first, second, left = list[int](), list[int](), list[int]()
    for group in dict.fromkeys(groups[rank] for rank in ranks):
        members = sorted((rank for rank in ranks if groups[rank] == group), key=lambda rank: (hosts[rank], rank))
        half = len(members) // 2
        first += members[:half]
        second += members[half : 2 * half]
        left += members[2 * half :]
    half = len(left) // 2
    return [*first, *left[:half], *second, *left[half:]]


def matchings(ranks: int) -> list[Pairs]:
    """Rounds of disjoint pairs in which every pair meets once.

    With a power of two, the partners of one round differ in the same bits, so that of racks of 2^k ranks all pairs
    cross at once or none; else the circle method of tournaments, in which a rank sits out where the number is odd.
    """
    if ranks & (ranks - 1) == 0:
        return [tuple((rank, rank ^ bits) for rank in range(ranks) if rank < rank ^ bits) for bits in range(1, ranks)]
    even = ranks + ranks % 2
    rounds: list[Pairs] = []
    for turn in range(even - 1):
        circle = [0, *((turn + place) % (even - 1) + 1 for place in range(even - 1))]
        pairs = ((circle[place], circle[-1 - place]) for place in range(even // 2))
        rounds.append(tuple((min(pair), max(pair)) for pair in pairs if max(pair) < ranks))
    return rounds


def alone(team: Team, budget: Budget, share: float) -> dict[str, list[list[float]]]:
    """``small`` and ``large``: for each of ``chosen(ranks)`` the seconds of one message, a sample per pass.

    One pair at a time, while all other ranks nap. ``large`` is of ``budget.typical()`` bytes.
    """
    pairs, began = chosen(team.comm.size), time.perf_counter()
    mine = {pair: _calls(team, pair, budget.typical()) for pair in pairs if team.comm.rank in pair}
    tables: list[NDArray[np.float64]] = []
    while team.agreed(1 + _late(began, share, len(tables)), most=2) == 1:
        table = np.zeros((len(pairs), 2))
        for row, pair in enumerate(pairs):
            napping(team.comm)
            if pair in mine:
                small, large = mine[pair]
                small()  # who sat still has cold caches, and the two have yet to meet
                table[row] = [_pinged(small, _PINGS), _pinged(large, 2)]
                table[row] *= team.comm.rank == pair[0]
        tables.append(table)
    stacked = np.stack(tables)
    team.comm.Allreduce(MPI.IN_PLACE, stacked, MPI.SUM)
    return {name: stacked[:, :, column].T.tolist() for column, name in enumerate(("small", "large"))}


def company(team: Team, budget: Budget, share: float) -> list[tuple[int, int, float]]:
    """``(source, dest, seconds)`` per message for every pair, while as many other pairs as there are send too."""
    began, found = time.perf_counter(), dict[tuple[int, int], list[float]]()
    passes = 0
    while team.agreed(1 + _late(began, share, passes), most=2) == 1:
        passes += 1
        for pairs in matchings(team.comm.size):
            for pair, seconds in zip(pairs, _streamed(team, pairs, budget.typical(), _WAGONS), strict=True):
                found.setdefault(pair, []).append(seconds)
    return [(source, dest, float(np.median(seconds))) for (source, dest), seconds in sorted(found.items())]


def together(team: Team, budget: Budget, pairs: Pairs) -> float:
    """Bytes/s of all these pairs at once, one way: median of three."""
    size, rates = budget.typical(), list[float]()
    for _ in range(3):
        seconds = _streamed(team, pairs, size, 2 * _WAGONS)
        rates.append(len(pairs) * size / float(np.mean(seconds)))  # the last one has the link to itself in the end
    return float(np.median(rates))


def _streamed(team: Team, pairs: Pairs, size: int, wagons: int) -> Sequence[float]:
    """Seconds per message that each pair's receiver saw, the same on all ranks."""
    call = team.runner(Stream(wagons, pairs, back=False), size)
    seconds = np.zeros(len(pairs))
    team.line_up()
    start = time.perf_counter()
    call()
    for place, (_, dest) in enumerate(pairs):
        if dest == team.comm.rank:
            seconds[place] = (time.perf_counter() - start) / wagons
    napping(team.comm)
    team.comm.Allreduce(MPI.IN_PLACE, seconds, MPI.SUM)
    return seconds.tolist()


def _calls(team: Team, pair: tuple[int, int], size: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Ping-pongs of the two: small messages, and large ones of ``size`` bytes."""
    return team.runner(PingPong(_PINGS, (pair,)), SMALL), team.runner(PingPong(2, (pair,)), size)


def _pinged(call: Callable[[], None], count: int) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) / count


def _late(began: float, share: float, passes: int) -> int:
    if passes < _LEAST_PASSES:
        return 0
    return int(passes >= _MOST_PASSES or (time.perf_counter() - began) * (passes + 1) / passes > share)


def crossing(groups: Iterable[int]) -> Pairs:
    """As many disjoint pairs as there are from a rank of the largest group to one of the second largest."""
    members: dict[int, list[int]] = {}
    for rank, group in enumerate(groups):
        members.setdefault(group, []).append(rank)
    largest = sorted(members.values(), key=len, reverse=True)[:2]
    return tuple(zip(*largest, strict=False)) if len(largest) == 2 else ()  # pyright: ignore[reportReturnType]
