"""Passes over a list of measurements: each takes some samples in turn, so that a slow moment hits no single one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from experiments.probing.team import Team

__all__ = ["Item", "gathered", "visit"]

_MOST = 8  # samples of a visit
_LONG = 20e-3  # seconds of a sample from which on one is enough for a visit, and needs no warm-up


@dataclass(slots=True)
class Item:
    """One measurement. ``take`` returns what this rank saw of one sample (None: it has no part), on all alike.

    ``seconds`` is about how long a sample takes (0: not known yet), ``found`` what this rank saw so far.
    """

    take: Callable[[], float | None]
    seconds: float = 0.0
    found: list[float] = field(default_factory=list[float])


def visit(team: Team, items: Sequence[Item], share: float) -> None:
    """Take samples of each item for about ``share`` seconds; collective over the team.

    At least one, and two of those that are over soon; before their first ones a warm-up.
    """
    for item in items:
        # Rank 0's clock decides for all: the ranks must take the same samples.
        long = team.agreed(1 + (item.seconds > _LONG), most=2) == 2
        if not item.found and not long:
            _timed(item)
        count = team.agreed(max(1 if long else 2, share / max(item.seconds, 1e-9)), most=_MOST)
        for _ in range(count):
            value = _timed(item)
            item.found.append(float("nan") if value is None else value)


def gathered(team: Team, items: Sequence[Item]) -> list[list[float]]:
    """For each item the samples of all ranks that take part, one after the other; collective over the team.

    Not their means: one slow pair among four would spoil each of these, and the median of all shrugs it off.
    """
    mine = np.concatenate([np.asarray(item.found, np.float64) for item in items])
    table = np.empty((team.comm.size, mine.size))
    team.comm.Allgather(mine, table)
    ends = np.cumsum([len(item.found) for item in items])[:-1]
    groups = np.split(table, ends, axis=1)
    return [group[~np.isnan(group)].tolist() for group in groups]


def _timed(item: Item) -> float | None:
    began = time.perf_counter()
    value = item.take()
    item.seconds = time.perf_counter() - began
    return value
