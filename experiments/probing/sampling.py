"""Passes over a list of measurements: each takes some samples in turn, so that a slow moment hits no single one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from mpi4py import MPI

from experiments.probing.team import Team

__all__ = ["Item", "gathered", "visit"]

_MOST = 8  # samples of a visit
_COLD = 20e-3  # seconds of a sample from which on it needs no warm-up


@dataclass(slots=True)
class Item:
    """One measurement. ``take`` returns what this rank saw of one sample (None: it has no part), on all alike.

    ``seconds`` is about how long a sample takes, ``found`` what this rank saw so far.
    """

    take: Callable[[], float | None]
    seconds: float = 0.0
    found: list[float] = field(default_factory=list[float])


def visit(team: Team, items: Sequence[Item], share: float, *, fewest: int = 1) -> None:
    """Take samples of each item for about ``share`` seconds, at least ``fewest``; collective over the team."""
    for item in items:
        # Rank 0's clock decides for all: the ranks must take the same samples.
        if team.agreed(2 if item.found and item.seconds > _COLD else 1, most=2) == 1:
            _timed(item)
        count = max(fewest, team.agreed(share / item.seconds, most=_MOST))
        for _ in range(count):
            value = _timed(item)
            item.found.append(float("nan") if value is None else value)


def gathered(team: Team, items: Sequence[Item]) -> list[list[float]]:
    """For each item and sample the mean over the ranks that take part; collective over the team."""
    mine = np.concatenate([np.asarray(item.found, np.float64) for item in items])
    part = ~np.isnan(mine)
    total = np.stack([np.where(part, mine, 0.0), part.astype(np.float64)])
    team.comm.Allreduce(MPI.IN_PLACE, total, MPI.SUM)
    ends = np.cumsum([len(item.found) for item in items])[:-1]
    return [group.tolist() for group in np.split(total[0] / total[1], ends)]


def _timed(item: Item) -> float | None:
    began = time.perf_counter()
    value = item.take()
    item.seconds = time.perf_counter() - began
    return value
