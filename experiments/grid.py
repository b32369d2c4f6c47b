"""What a benchmark measures: the cells of a grid, and the settings with which each launch goes over it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from collectives import catalogue
from experiments import contestants
from experiments.errors import UsageFault
from experiments.records import NATIVE
from experiments.units import format_bytes

__all__ = ["Case", "Grid", "Pace"]

_NATIVE_LACKS = ("float16", "bfloat16")
"""What the MPI standard has no datatype for, so that there is nothing native to measure."""


class Case(NamedTuple):
    """One cell: an algorithm label (or ``native``) on a vector of ``nbytes`` bytes."""

    algorithm: str
    nbytes: int
    dtype: str
    op: str
    in_place: bool

    def __str__(self) -> str:
        """As a person would name it."""
        return f"{self.algorithm} at {format_bytes(self.nbytes)}, {self.dtype} {self.op}"


@dataclass(frozen=True, slots=True)
class Grid:
    """Every algorithm at every size, dtype and operation. Raises UsageFault for a combination that means nothing."""

    algorithms: tuple[str, ...]
    sizes: tuple[int, ...]
    dtypes: tuple[str, ...] = ("float32",)
    ops: tuple[str, ...] = ("sum",)
    placements: tuple[bool, ...] = (False,)

    def __post_init__(self) -> None:
        from experiments import payload  # imports NumPy, which `ciranda --help` should not wait for

        for dtype in self.dtypes:
            for op in self.ops:
                payload.require(op, dtype)
            itemsize = payload.dtype(dtype).itemsize
            for size in self.sizes:
                if size < 1 or size % itemsize:
                    raise UsageFault(f"{size} bytes are no whole number of {dtype} elements ({itemsize} bytes each)")
        for name in self.algorithms:
            if name != NATIVE:
                self._check(contestants.parse(name))

    def _check(self, contestant: contestants.Contestant) -> None:
        collective = contestant.algorithm.collective
        if collective != "allreduce":
            raise UsageFault(f"{contestant.label} carries out {collective}, and the benchmark measures allreduce")
        for dtype in self.dtypes:
            for op in self.ops:
                contestant.require(op, dtype)

    @classmethod
    def choose(
        cls,
        algorithms: Sequence[str],
        sizes: Sequence[int],
        dtypes: Sequence[str],
        ops: Sequence[str],
        placements: Sequence[bool] = (False,),
    ) -> Grid:
        """A grid of the algorithms named, or of all for allreduce; the MPI library's own is always beside them.

        A name may have an encoding behind it, as in ``ring@int8``.
        """
        named = [name if name == NATIVE else contestants.parse(name).label for name in algorithms]
        chosen = list(dict.fromkeys([*(named or catalogue.names("allreduce")), NATIVE]))
        return cls(tuple(chosen), tuple(sizes), tuple(dtypes), tuple(ops), tuple(placements))

    def cases(self, ranks: int) -> list[Case]:
        """All cells that ``ranks`` ranks can run. Raises UsageFault for an algorithm that does not take that many."""
        for name in self.algorithms:
            if name != NATIVE and not contestants.parse(name).algorithm.supports(ranks):
                raise UsageFault(f"{name} does not work for {ranks} ranks; leave it out or change -n")
        return [
            Case(name, nbytes, dtype, op, in_place)
            for dtype in self.dtypes
            for op in self.ops
            for in_place in self.placements
            for nbytes in self.sizes
            for name in self.algorithms
            if not (name == NATIVE and dtype in _NATIVE_LACKS)
        ]

    def order(self, ranks: int, seed: int, launch: int, visit: int) -> list[Case]:
        """The cells in an order of their own for each launch and visit, the same on every rank."""
        cases = self.cases(ranks)
        random.Random(f"{seed}/{launch}/{visit}").shuffle(cases)
        return cases


@dataclass(frozen=True, slots=True)
class Pace:
    """How one launch goes over its grid.

    It visits every cell ``VISITS`` times, each time in another order, so that slow moments of the machine hit all
    contestants alike. ``samples`` is the most that a cell gets in one launch; where ``time_limit`` seconds do not
    suffice it gets fewer, but ``LEAST`` at a visit, and once the time is over only first visits are made. A visit of
    more than ``cell_limit`` seconds ends the launch.
    """

    seed: int
    launch: int
    samples: int
    time_limit: float
    cell_limit: float

    VISITS = 2
    LEAST = 3

    @property
    def most(self) -> int:
        """Samples of one visit at most."""
        return max(self.LEAST, -(-self.samples // self.VISITS))
