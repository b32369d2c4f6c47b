"""Ranks in up to three dimensions: stages of a pipeline, replicas of the data, and teams that share layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.errors import UsageFault

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["Grid"]


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """``team``: who shares this rank's layers; ``replicas``: who has the same share; ``line``: all stages of a batch.

    Rank (stage · replicas + replica) · ways + place: teams, which talk most, are neighbours (Narayanan et al. 2021,
    section 3.2). ``whole``: all of them.
    """

    whole: Communicator
    line: Communicator
    replicas: Communicator
    team: Communicator

    @classmethod
    def of(cls, comm: Communicator, stages: int, ways: int, limit: float) -> Grid:
        """Cut ``comm`` into pipelines of so many ``stages`` of so many ``ways``. Collective: four communicators.

        UsageFault where the number of ranks does not divide. No wait lasts longer than ``limit`` seconds.
        """
        if stages < 1 or ways < 1 or comm.size % (stages * ways):
            product = max(1, stages) * max(1, ways)
            raise UsageFault(
                f"{comm.size} ranks cannot be cut into {stages} stages of {ways} ways: take a multiple of {product} "
                f"ranks, or stages and ways whose product is one of {_divisors(comm.size)}"
            )
        replicas = comm.size // (stages * ways)
        place = comm.rank % ways
        replica, stage = comm.rank // ways % replicas, comm.rank // (ways * replicas)
        parts = (
            comm.Dup(),
            comm.Split(replica * ways + place, stage),
            comm.Split(stage * ways + place, replica),
            comm.Split(stage * replicas + replica, place),
        )
        for part in parts:
            part.settings.timeout = limit
        return cls(*parts)

    def free(self) -> None:
        """Free the communicators. Collective."""
        for part in (self.team, self.replicas, self.line, self.whole):
            part.Free()


def _divisors(number: int) -> str:
    return ", ".join(str(each) for each in range(1, number + 1) if number % each == 0)
