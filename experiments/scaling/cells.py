"""What the experiment measures: which algorithms on how many ranks at which sizes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from collectives import catalogue
from collectives.algorithms.hierarchical import ranks_per_node
from experiments.arguments import algorithm
from experiments.errors import UsageFault
from experiments.grid import Case
from experiments.records import NATIVE

__all__ = ["HALF", "MORE_RANKS", "MORE_SIZES", "RANKS", "SIZES", "Cell", "cells", "labels"]

_DTYPE, _OP = "float32", "sum"
_KIBI, _MEBI = 2**10, 2**20

HALF = "p/2"
"""In an algorithm's parameter: half of the ranks, rounded down."""

_SERVERS = ("parameter_server:servers=1", "parameter_server:servers=2", f"parameter_server:servers={HALF}")

RANKS, MORE_RANKS = (2, 3, 4, 5, 6, 8), (2, 3, 4, 5, 6, 8, 16)
"""Rank counts by default, and with --full."""

SIZES = (8, 64, 512, 4 * _KIBI, 32 * _KIBI, 64 * _KIBI, 256 * _KIBI, _MEBI, 4 * _MEBI, 16 * _MEBI)
MORE_SIZES = tuple(8 * 2**power for power in range(22))
"""Bytes of the vector by default, and with --full."""


class Cell(NamedTuple):
    """One algorithm (or the library's own) at one size on so many ranks."""

    ranks: int
    case: Case

    def __str__(self) -> str:
        """As a person would name it."""
        return f"{self.case}, {self.ranks} ranks"


def cells(chosen: Sequence[str], ranks: Iterable[int], sizes: Sequence[int]) -> list[Cell]:
    """All cells, the library's own MPI_Allreduce among them.

    ``chosen`` names algorithms; by default all for allreduce, and the parameter server with 1, 2 and half as many
    servers as ranks. An algorithm is left out on rank counts that it does not take; raises UsageFault for one that
    takes none of them, and for one that is no allreduce.
    """
    counts = list(ranks)
    for name in chosen:
        if name != NATIVE and not any(labels([name], count) for count in counts):
            raise UsageFault(f"{name} does not work for {', '.join(map(str, counts))} ranks; leave it out or change -n")
    return [
        Cell(count, Case(label, nbytes, _DTYPE, _OP, in_place=False))
        for count in counts
        for nbytes in sizes
        for label in (NATIVE, *labels(chosen or _default(), count))
    ]


def labels(names: Iterable[str], ranks: int) -> list[str]:
    """The algorithms called so that work for ``ranks`` ranks, each schedule once."""
    found = (_label(name, ranks) for name in names if name != NATIVE)
    return list(dict.fromkeys(label for label in found if label))


def _default() -> Iterator[str]:
    yield from catalogue.names("allreduce")
    yield from _SERVERS


def _label(name: str, ranks: int) -> str | None:
    entry = algorithm(name.replace(HALF, str(ranks // 2)))
    if entry.collective != "allreduce":
        raise UsageFault(f"{entry.label} carries out {entry.collective}, and the experiment measures allreduce")
    if not entry.supports(ranks):
        return None
    if entry.name == "parameter_server" and entry.parameters["servers"] == ranks:
        return entry.name  # as many servers as ranks is what it does by default
    if entry.name == "hierarchical" and ranks_per_node(ranks, entry.parameters["local"]) in (1, ranks):
        return None  # nodes of one rank, or one node: that is the ring
    return entry.label
