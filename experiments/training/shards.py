"""Which elements of a model each rank keeps: an equal part of every unit, which is a layer or the whole model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from collectives import selection
from collectives.catalogue import Algorithm
from collectives.schedule import Send, extents

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["Shards", "Unit"]


@dataclass(frozen=True, slots=True)
class Unit:
    """Elements ``lo`` to ``hi`` of the model; ``counts[r]`` of them are rank r's, in rank order.

    This rank's are elements ``at`` to ``at + counts[rank]`` of what it keeps.
    """

    lo: int
    hi: int
    counts: tuple[int, ...]
    at: int


class Shards:
    """``units`` are gathered and scattered one at a time on ``comm``, which nothing else uses.

    ``count``: elements that this rank keeps. ``sent`` adds up the bytes that this rank sends.
    """

    def __init__(
        self, comm: Communicator, ranges: Sequence[tuple[int, int]], gather: str = "", scatter: str = ""
    ) -> None:
        self._comm = comm
        self._chosen = {"allgather": gather, "reduce_scatter": scatter}
        self.sent = 0
        self.units: list[Unit] = []
        self.count = 0
        for lo, hi in ranges:
            counts = tuple(end - start for start, end in extents(hi - lo, comm.size))
            self.units.append(Unit(lo, hi, counts, self.count))
            self.count += counts[comm.rank]

    def own(self, unit: Unit, kept: Any) -> Any:
        """This rank's part of a unit, a view of what it keeps."""
        return kept[unit.at : unit.at + unit.counts[self._comm.rank]]

    def cut(self, unit: Unit, whole: Any) -> Any:
        """This rank's part of a unit, a view of the unit."""
        start = sum(unit.counts[: self._comm.rank])
        return whole[start : start + unit.counts[self._comm.rank]]

    def gather(self, unit: Unit, kept: Any, whole: Any) -> None:
        """Everybody's parts of a unit into ``whole``. Cost: (p−1)/p of its bytes received."""
        self._count("allgather", unit, whole.itemsize)
        self._comm.Allgatherv(
            self.own(unit, kept), [whole, list(unit.counts)], algorithm=self._chosen["allgather"] or None
        )

    def scatter(self, unit: Unit, whole: Any, out: Any) -> None:
        """This rank's part of the sum of all ranks' ``whole`` into ``out``. Cost: (p−1)/p of its bytes sent."""
        self._count("reduce_scatter", unit, whole.itemsize)
        chosen = self._chosen["reduce_scatter"] or None
        self._comm.Reduce_scatter(whole, out, list(unit.counts), algorithm=chosen)

    def gathered(self, kept: Any) -> Any:
        """All units, one after another. Collective."""
        found = np.empty(sum(unit.hi - unit.lo for unit in self.units), kept.dtype)
        for unit in self.units:
            self.gather(unit, kept, found[unit.lo : unit.hi])
        return found

    def taken(self, vector: Any) -> Any:
        """What this rank keeps of a whole model's vector; a copy."""
        parts = [self.cut(unit, vector[unit.lo : unit.hi]) for unit in self.units]
        return np.concatenate(parts) if parts else vector[:0].copy()

    def _count(self, collective: str, unit: Unit, itemsize: int) -> None:
        algorithm = self._algorithm(collective, sum(unit.counts) * itemsize)
        rounds = algorithm.rounds(self._comm.rank, self._comm.size)
        sends = (one for operations in rounds for one in operations if isinstance(one, Send))
        self.sent += itemsize * sum(unit.counts[chunk] for send in sends for chunk in send.chunks)

    def _algorithm(self, collective: str, nbytes: int) -> Algorithm:
        if self._chosen[collective]:
            return selection.resolve(self._chosen[collective], collective, self._comm.size)
        found = self._comm.explain(collective, nbytes).algorithm
        assert found is not None  # some algorithm of the catalogue works for any number of ranks
        return found
