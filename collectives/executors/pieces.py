"""A message cut into pieces, so that copying, sending and folding overlap; both ends cut alike, by its length alone."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from collectives.executors.plan import Span

__all__ = ["PIECE", "Cover", "Piece", "cut", "elements"]

PIECE = 1 << 20
"""Bytes of a piece: long enough to run at full speed (some 40 µs over PCIe), short enough to begin the next stage."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Elements ``lo .. hi - 1`` of a message, which lie in ``spans`` of the buffers, one after the other."""

    lo: int
    hi: int
    spans: tuple[Span, ...]


def elements(itemsize: int, largest: int = PIECE) -> int:
    """How many elements a piece has at most."""
    return max(1, largest // itemsize)


def cut(spans: Sequence[Span], length: int, largest: int) -> tuple[Piece, ...]:
    """The pieces of a message of ``length`` elements in ``spans``; an empty message is one piece without elements."""
    ends = list(accumulate(hi - lo for _, lo, hi in spans))
    found: list[Piece] = []
    for start in range(0, max(length, 1), largest):
        end = min(start + largest, length)
        found.append(Piece(start, end, tuple(_between(spans, ends, start, end))))
    return tuple(found)


def _between(spans: Sequence[Span], ends: Sequence[int], start: int, end: int) -> Iterator[Span]:
    for index in range(bisect_right(ends, start), len(spans)):
        buffer, lo, hi = spans[index]
        first = ends[index] - (hi - lo)  # where the span begins in the message
        if first >= end:
            return
        yield buffer, lo + max(start - first, 0), hi - max(ends[index] - end, 0)


class Cover:
    """Which pieces of one message touch a span: the last one, for pieces leave in order."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._held = sorted((*span, index) for index, piece in enumerate(pieces) for span in piece.spans)
        self._starts = [(buffer, lo) for buffer, lo, _, _ in self._held]

    def last(self, span: Span) -> int:
        """The index of the last piece that shares an element with ``span``; -1 if none does."""
        buffer, lo, hi = span
        last, position = -1, bisect_right(self._starts, (buffer, hi - 1)) - 1
        while position >= 0 and self._held[position][0] == buffer and self._held[position][2] > lo:
            last = max(last, self._held[position][3])
            position -= 1
        return last
