"""The order of a calibration: what sizes fit, who is eager, every pair, and then passes over everything else."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mpi4py import MPI

from collectives.profile import SPINS, YIELDS
from experiments.job import Job
from experiments.probing import messages, pairs, processor
from experiments.probing.arrivals import eager_limit
from experiments.probing.sampling import Item, gathered, visit
from experiments.probing.sizes import DTYPES, REDUCTION_SIZES, Budget, crowds
from experiments.probing.team import Team, by_host, napping

__all__ = ["CALLS", "Probe"]

CALLS = "the interpreted executor (persistent mpi4py requests)"

_PASSES, _FEWEST_PASSES = 6, 2
_PAIRS, _COMPANY = 0.1, 0.05  # parts of the time limit
_MOST_IN_COMPANY = 32  # ranks
_YIELD = "OMPI_MCA_mpi_yield_when_idle"
_OWN_WAITING = "CIRANDA_WAITING"
_ARITHMETIC = ("reduction", *DTYPES)
_TOGETHER = (1 << 14, 1 << 18, 1 << 22)  # bytes of the vectors that all ranks add at once, for gamma


@dataclass(slots=True)
class _Crowd:
    """The measurements that a number of ranks makes together. ``team`` is None on the ranks that nap meanwhile."""

    ranks: int
    team: Team | None
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    items: dict[str, list[Item]] = field(default_factory=dict[str, list[Item]])
    wagons: list[int] = field(default_factory=list[int])

    def everything(self, *, arithmetic: bool = True) -> list[Item]:
        """All items, or all but those of ``arithmetic``, in an order that is the same on all ranks."""
        return [item for name, group in self.items.items() if arithmetic or name not in _ARITHMETIC for item in group]


@dataclass(slots=True)
class Probe:
    """Takes all samples within about ``time_limit`` seconds; collective over ``job.comm``."""

    job: Job
    time_limit: float

    def all(self) -> dict[str, Any]:
        """Everything that was measured, in seconds and bytes, as JSON has it; complete on rank 0.

        ``crowds``: by number of ranks at work, for each pattern (``pingpong``, ``exchange``, ``stream``, ``effort``)
        its sizes and a list of samples for each; ``wagons``: messages of each train. ``reduction`` (by the clock) and
        ``reductions`` (CPU time, by dtype) likewise. ``eager``; ``pairs`` with ``small`` and ``large`` seconds of
        ``typical`` bytes; ``company``; ``groups``; ``trunk``. ``cores`` and ``waiting`` of this rank's machine.
        """
        everyone = Team.of(self.job.comm)
        budget = messages.sizing(everyone, self.time_limit)
        topology = _topology(everyone, budget, self.time_limit)
        began = time.perf_counter()
        racks: list[int] = topology["topology"]["groups"]
        teams = self._teams(everyone, racks)
        if max(racks) > 0:  # partners are nearer now, and more fits
            budget = messages.sizing(teams[self.job.comm.size] or everyone, self.time_limit)
        eager = self._eager(teams, budget)
        groups = [self._crowd(count, team, budget, eager) for count, team in teams.items()]
        self._passes(groups, began, (1 - _PAIRS - _COMPANY) * self.time_limit)
        return {
            "calls": CALLS,
            "crowds": {str(group.ranks): self._told(group) for group in groups},
            "eager": eager,
            "cores": self.job.cores,
            "waiting": _waiting(self.job.library),
            **topology,
        }

    def _teams(self, everyone: Team, groups: Sequence[int]) -> dict[int, Team | None]:
        comm = everyone.comm
        hosts = by_host(comm)
        turn = [hosts[:rank].count(host) for rank, host in enumerate(hosts)]  # which rank of its host each is
        order = sorted(range(comm.size), key=lambda rank: (turn[rank], rank))
        teams: dict[int, Team | None] = {}
        for count in crowds(comm.size):
            seats = pairs.seated(order[:count], hosts, groups)
            seat = seats.index(comm.rank) if comm.rank in seats else MPI.UNDEFINED
            part = comm.Split(0 if comm.rank in seats else MPI.UNDEFINED, max(seat, 0))
            teams[count] = Team.of(MPI.Intracomm(part)) if comm.rank in seats else None
            napping(comm)
        return teams

    def _eager(self, teams: dict[int, Team | None], budget: Budget) -> int:
        team, comm = teams[min(teams)], self.job.comm
        found = np.array([-2 if team is None else eager_limit(team, budget)], np.int64)
        napping(comm)
        comm.Allreduce(MPI.IN_PLACE, found, MPI.MAX)
        return int(found[0])

    def _crowd(self, count: int, team: Team | None, budget: Budget, eager: int) -> _Crowd:
        whole = count == self.job.comm.size
        single, crossing = budget.single(), budget.single() if whole else budget.crowded()
        trains = budget.trains() if whole else budget.crowded()
        sizes = {"pingpong": single, "exchange": crossing, "stream": trains, "effort": processor.burst_sizes(eager),
                 "start": single[:1]}  # fmt: skip
        group = _Crowd(count, team, sizes, wagons=[messages.wagons(size, budget.one(size)) for size in trains])
        if team is not None:
            beta = budget.seconds[-1] / budget.sizes[-1]
            group.items = {
                "pingpong": [messages.ping_pong(team, size, budget.one(size)) for size in single],
                "exchange": [messages.exchange(team, size, budget.one(size)) for size in crossing],
                "stream": [messages.train(team, size, budget.one(size)) for size in trains],
                "effort": [
                    processor.effort(team, size, beta, eager=eager >= processor.DEPENDABLE) for size in sizes["effort"]
                ],
                "start": [messages.start(team)],
            }
        if team is not None and whole:
            group.items["reduction"] = [processor.reduction_together(team, size) for size in _TOGETHER]
            group.items |= {dtype: [processor.reduction(team, size, dtype) for size in REDUCTION_SIZES]
                            for dtype in DTYPES}  # fmt: skip
        if whole:
            group.sizes |= {"reduction": _TOGETHER} | dict.fromkeys(DTYPES, REDUCTION_SIZES)
        napping(self.job.comm)
        return group

    def _passes(self, groups: list[_Crowd], began: float, limit: float) -> None:
        """Pass after pass until ``limit`` seconds after ``began``, at least two; in each, the crowds take turns."""
        comm, last = self.job.comm, 0.0
        count = sum(len(sizes) for group in groups for sizes in group.sizes.values())
        share = max(0.0, limit - (time.perf_counter() - began)) / _PASSES / count
        for done in range(10 * _PASSES):
            start = time.perf_counter()
            over = np.array([start - began + last > limit], np.uint8)
            comm.Bcast(over)
            if done >= _FEWEST_PASSES and over[0]:
                break
            for group in groups:
                if group.team is not None:
                    visit(group.team, group.everything(arithmetic=done < _FEWEST_PASSES), share)
                napping(comm)
            last = time.perf_counter() - start

    def _told(self, group: _Crowd) -> dict[str, Any]:
        """The crowd's samples; only the ranks at work know them, and rank 0 always is."""
        told: dict[str, Any] = {"sizes": {name: list(sizes) for name, sizes in group.sizes.items()},
                                "wagons": group.wagons}  # fmt: skip
        if group.team is not None:
            samples = iter(gathered(group.team, group.everything()))
            told["samples"] = {name: [next(samples) for _ in items] for name, items in group.items.items()}
        napping(self.job.comm)
        return told


def _topology(team: Team, budget: Budget, limit: float) -> dict[str, Any]:
    size = team.comm.size
    each = pairs.alone(team, budget, _PAIRS * limit)
    beside = pairs.company(team, budget, _COMPANY * limit) if 2 < size <= _MOST_IN_COMPANY else []
    found = {"pairs": pairs.chosen(size), "typical": budget.typical(), **each, "company": beside}
    groups = _groups(team, found)
    across = pairs.crossing(groups)
    trunk = {"pairs": across, "rate": pairs.together(team, budget, across)} if across else None
    return {"topology": found | {"groups": groups, "trunk": trunk}}


def _groups(team: Team, found: Mapping[str, Any]) -> list[int]:
    groups = np.zeros(team.comm.size, np.int64)
    if team.comm.rank == 0 and groups.size > 3:
        from experiments.topology_inference import grouping  # SciPy, which one rank alone needs to wait for

        groups[:] = grouping(groups.size, found)
    napping(team.comm)
    team.comm.Bcast(groups)
    return groups.tolist()


def _waiting(library: str) -> str:
    """What a waiting rank does with its core: Open MPI spins unless it is told to yield; MPICH yields now and then."""
    told = os.environ.get(_YIELD, "").lower() in ("1", "true", "yes") or os.environ.get(_OWN_WAITING) == "nap"
    return SPINS if library.startswith("Open MPI") and not told else YIELDS
