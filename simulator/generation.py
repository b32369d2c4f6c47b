"""What all ranks do, round by round, with as few calls of the algorithm as its branches allow.

An algorithm is called once for all ranks (``simulator.lanes``). Where a test parts them, each part starts anew and is
taken to the round reached; when there are too many parts, the ranks of the next one are called one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from math import isqrt
from typing import cast

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from collectives.matching import check_lengths
from collectives.schedule import Round, Send
from simulator.lanes import Diverged, Lanes

__all__ = ["Part", "parts"]

Ints = NDArray[np.int64]
Part = tuple[Ints | int, Round]
"""Some ranks and what they do in a round: one rank and plain ints, or many ranks and ``Lanes`` or ints for all."""

_FEWEST = 16
"""Fewer ranks than this are called one by one: an array of them would be no faster."""

_MOST_SPLITS = 64
"""More splits than this are not worth their restarts, each of which plays all rounds so far."""


@dataclass(slots=True, eq=False)
class _Group:
    """Ranks that have passed the same tests so far, and the algorithm that plays them all."""

    ranks: Ints
    lanes: Lanes
    rounds: Iterator[Round]


def parts(algorithm: Algorithm, size: int) -> Iterator[list[Part]]:
    """For each round what the ranks do, in parts that cover every rank that does anything.

    Raises ScheduleError where ranks differ in their number of rounds.
    """
    players = _Players(algorithm, size)
    while (found := players.advance()) is not None:
        yield found


class _Players:
    """All ranks in one round: in groups, or on their own."""

    def __init__(self, algorithm: Algorithm, size: int) -> None:
        self._algorithm = algorithm
        self._size = size
        self._number = 0
        self._splits = min(isqrt(size), _MOST_SPLITS) if size >= _FEWEST else 0
        self._singles: list[tuple[int, Iterator[Round]]] = []
        self._groups = self._started(np.arange(size))

    def advance(self) -> list[Part] | None:
        """What everyone does in the next round; None when all are through."""
        playing, ended = self._play_groups()
        for rank, rounds in self._singles:
            operations = next(rounds, None)
            if operations:
                playing.append((rank, operations))
            elif operations is None:
                ended += 1
        if ended and ended < len(self._groups) + len(self._singles):
            _complain_of_lengths(self._algorithm, self._size)
        self._number += 1
        return None if ended else playing

    def _play_groups(self) -> tuple[list[Part], int]:
        """The next round of all groups, and how many have none; groups that part are replaced by their parts."""
        found: list[Part] = []
        whole: list[_Group] = []
        ended = 0
        pending = self._groups
        while pending:
            group = pending.pop()
            where = None
            try:
                operations = next(group.rounds, None)
                together = not group.lanes.stained and _understood(operations or (), len(group.ranks))
            except Diverged as parted:
                operations, together, where = None, False, parted.where
            except Exception:  # noqa: BLE001 - whatever a vector of ranks cannot do, an int can, or raises again
                operations, together = None, False
            if not together:
                pending += self._parted(group.ranks, where)
                continue
            whole.append(group)
            if operations:
                found.append((group.ranks, operations))
            ended += operations is None
        self._groups = whole
        return found, ended

    def _parted(self, ranks: Ints, where: NDArray[np.bool_] | None) -> list[_Group]:
        if where is None or not self._splits:
            played = self._number
            self._singles += [
                (rank, islice(self._algorithm.rounds(rank, self._size), played, None)) for rank in ranks.tolist()
            ]
            return []
        self._splits -= 1
        return [*self._started(ranks[where]), *self._started(ranks[~where])]

    def _started(self, ranks: Ints) -> list[_Group]:
        """A group at the round reached, if these ranks are enough for one and lanes are wanted at all."""
        if len(ranks) < _FEWEST:
            return self._parted(ranks, None)
        lanes = Lanes(ranks, int(ranks[0]), int(ranks[-1]))

        def playing() -> Iterator[Round]:  # a generator, so that nothing is called before its first round is wanted
            yield from self._algorithm.rounds(cast("int", lanes), self._size)

        return [_Group(ranks, lanes, islice(playing(), self._number, None))]


def _understood(operations: Round, lanes: int) -> bool:
    """Whether all that an algorithm made of its lanes is an int for each of them."""
    for operation in operations:
        peer = operation.dest if isinstance(operation, Send) else operation.source
        if not all(_is_int(value, lanes) for value in (peer, *chain.from_iterable(operation.spans))):
            return False
    return True


def _is_int(value: object, lanes: int) -> bool:
    return type(value) is int or (type(value) is Lanes and len(value.values) == lanes)


def _complain_of_lengths(algorithm: Algorithm, size: int) -> None:
    check_lengths([range(sum(1 for _ in algorithm.rounds(rank, size))) for rank in range(size)])
