"""What each collective promises: the chunks that a rank brings, and those that it must hold complete at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

__all__ = ["CONTRACTS", "Contract", "Holding", "special"]

Holding = Callable[[int, int, int, int], Iterable[int]]
"""``(rank, size, chunks, special) -> chunk indices``; ``special`` is the root, or the number of workers."""


def special(collective: str, size: int, parameters: Mapping[str, int]) -> int:
    """The root, or how many ranks are workers, of an algorithm with these parameters."""
    return size - parameters["servers"] if collective == "push_pull" else parameters.get("root", 0)


@dataclass(frozen=True, slots=True)
class Contract:
    """Before and after of one collective.

    ``brings``: chunks of the rank's own that it has at the start. ``gets``: chunks that it must hold at the end,
    each combined from every rank that brought it. ``vectors(size)``: how many n-byte vectors all chunks together
    make (n is the size by which the collective is known: the whole vector, for alltoall one rank's p blocks).
    """

    brings: Holding
    gets: Holding
    vectors: Callable[[int], int] = lambda size: 1
    reduces: bool = False


def _all(rank: int, size: int, chunks: int, special: int) -> Iterable[int]:
    return range(chunks)


def _own(rank: int, size: int, chunks: int, special: int) -> Iterable[int]:
    return range(rank, rank + 1)


def _at_root(rank: int, size: int, chunks: int, special: int) -> Iterable[int]:
    return range(chunks) if rank == special else range(0)


def _at_workers(rank: int, size: int, chunks: int, special: int) -> Iterable[int]:
    return range(chunks) if rank < special else range(0)


def _row(rank: int, size: int, chunks: int, special: int) -> Iterable[int]:
    return range(rank * size, (rank + 1) * size)


def _column(rank: int, size: int, chunks: int, special: int) -> Iterable[int]:
    return range(rank, chunks, size)


CONTRACTS = {
    "allreduce": Contract(_all, _all, reduces=True),
    "reduce_scatter": Contract(_all, _own, reduces=True),
    "reduce": Contract(_all, _at_root, reduces=True),
    "push_pull": Contract(_at_workers, _at_workers, reduces=True),
    "broadcast": Contract(_at_root, _all),
    "allgather": Contract(_own, _all),
    "alltoall": Contract(_row, _column, vectors=lambda size: size),
    "barrier": Contract(_all, _all),
}
