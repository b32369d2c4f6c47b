"""Operations of consecutive rounds as flat columns of numbers, from single ranks and from many at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectives.schedule import OVERWRITE, ScheduleError, Send
from simulator.generation import Part
from simulator.lanes import Lanes

__all__ = ["Columns", "Side", "gather", "whole"]

Ints = NDArray[np.int64]


class Columns(NamedTuple):
    """Operations of one kind, in order of rounds. All int64.

    ``rank``, ``peer``: shape (n,). ``low``, ``high``: the ends of their chunk spans, one operation's after another's.
    ``runs``: shape (r, 5), for each run of like operations how many there are, their round, their turn in it, the
    spans of each, and 1 if they fold.
    """

    rank: Ints
    peer: Ints
    low: Ints
    high: Ints
    runs: Ints


class Side:
    """Sends, or receives, as they come in: how many ``operations`` and ``spans`` there are by now."""

    def __init__(self) -> None:
        self._runs: list[int] = []
        self._arrays: tuple[list[Ints], ...] = ([], [], [], [])
        self._numbers: tuple[list[int], ...] = ([], [], [], [])
        self.operations = self.spans = 0

    def one(self, rank: int, peer: int, number: int, turn: int, folds: bool, spans: Sequence[tuple[int, int]]) -> None:
        """Add an operation of a single rank."""
        ranks, peers, lows, highs = self._numbers
        self._runs += (1, number, turn, len(spans), folds)
        ranks.append(rank)
        peers.append(peer)
        for low, high in spans:
            lows.append(low)
            highs.append(high)
        self.operations += 1
        self.spans += len(spans)

    def many(
        self, ranks: Ints, peer: int | Lanes, number: int, turn: int, folds: bool, spans: Sequence[tuple[int, int]]
    ) -> None:
        """Add the same operation of each of ``ranks``."""
        self._settle()
        count = len(ranks)
        self._runs += (count, number, turn, len(spans), folds)
        ends = [_interleaved([_spread(span[end], count) for span in spans]) for end in (0, 1)]
        for arrays, new in zip(self._arrays, (ranks, _spread(peer, count), *ends), strict=True):
            arrays.append(new)
        self.operations += count
        self.spans += count * len(spans)

    def taken(self) -> Columns:
        """All that was added, which this forgets. Raises ScheduleError for what is no whole number of 64 bits."""
        self._settle()
        columns = [arrays[0] if len(arrays) == 1 else np.concatenate((_NONE, *arrays)) for arrays in self._arrays]
        runs = np.array(self._runs, dtype=np.int64).reshape(-1, 5)
        self.__init__()
        return Columns(*columns, runs=runs)

    def _settle(self) -> None:
        """Turn what single ranks brought into arrays, so that order is kept."""
        if self._numbers[0]:
            for arrays, numbers in zip(self._arrays, self._numbers, strict=True):
                arrays.append(whole(numbers))
                numbers.clear()


def gather(number: int, found: Sequence[Part], sends: Side, receives: Side) -> None:
    """Add the operations of round ``number``."""
    for who, operations in found:
        for turn, operation in enumerate(operations):
            if isinstance(operation, Send):
                side, peer, folds = sends, operation.dest, False
            else:
                side, peer, folds = receives, operation.source, operation.fold is not OVERWRITE
            if isinstance(who, int):
                side.one(who, peer, number, turn, folds, operation.chunks.spans)
            else:
                side.many(who, peer, number, turn, folds, operation.chunks.spans)


_NONE = np.zeros(0, dtype=np.int64)


def _spread(value: int | Lanes, count: int) -> Ints:
    return value.values if type(value) is Lanes else np.full(count, value, dtype=np.int64)


def _interleaved(columns: Sequence[Ints]) -> Ints:
    """Column by column in, row by row out."""
    if len(columns) == 1:
        return columns[0]
    return np.stack(columns, axis=1).ravel() if columns else _NONE


def whole(numbers: Sequence[int]) -> Ints:
    """``numbers`` as int64. Raises ScheduleError for what is no whole number of 64 bits."""
    found = np.array(numbers) if numbers else _NONE
    if found.dtype.kind not in "iub":
        raise ScheduleError("a partner or chunk of this schedule is no whole number of 64 bits")
    return found.astype(np.int64, copy=False)
