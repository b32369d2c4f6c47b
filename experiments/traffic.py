"""The point-to-point traffic that calibration times, as schedules, so that the executor carries it like any other.

Unless pairs are named, rank i has rank i + p//2 for a partner, all pairs are at work at once, and with an odd number
the last rank idles. Chunk 0 belongs to the first of a pair, chunk 1 to the second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from collectives.schedule import Recv, Round, Send

__all__ = ["Exchange", "Pairs", "PingPong", "Stream", "partner"]

Pairs = tuple[tuple[int, int], ...]
"""``((first, second), ...)``: ranks that send to each other, none of them twice."""


def partner(rank: int, size: int) -> int | None:
    """The other rank of the pair, or None for the one left over."""
    half = size // 2
    if rank >= 2 * half:
        return None
    return rank + half if rank < half else rank - half


@dataclass(frozen=True, slots=True)
class PingPong:
    """``messages`` messages one after another, first one way and then the other."""

    messages: int
    pairs: Pairs | None = None
    label: str = "ping-pong"

    def rounds(self, rank: int, size: int) -> Iterable[Round]:
        """What ``rank`` does: every message is a round of its own."""
        other, first = _role(rank, size, self.pairs)
        for turn in range(self.messages):
            yield _message(other, turn % 2, sends=first == (turn % 2 == 0))


@dataclass(frozen=True, slots=True)
class Exchange:
    """``messages`` rounds in each of which both ranks of a pair send to the other at once."""

    messages: int
    pairs: Pairs | None = None
    label: str = "exchange"

    def rounds(self, rank: int, size: int) -> Iterable[Round]:
        """What ``rank`` does: a send and a receive in every round."""
        other, first = _role(rank, size, self.pairs)
        mine = 0 if first else 1
        for _ in range(self.messages):
            yield () if other is None else (Recv(other, 1 - mine), Send(other, mine))


@dataclass(frozen=True, slots=True)
class Stream:
    """A train of ``messages`` messages from the first of a pair to the second, and, if ``back``, a train back.

    Every message is a round of its own: the receiver takes it before it asks for the next, and the sender goes on as
    soon as it is rid of it.
    """

    messages: int
    pairs: Pairs | None = None
    back: bool = True
    label: str = "stream"

    def rounds(self, rank: int, size: int) -> Iterable[Round]:
        """What ``rank`` does: ``messages`` rounds, or twice as many with the train back."""
        other, first = _role(rank, size, self.pairs)
        for way in (0, 1) if self.back else (0,):
            for _ in range(self.messages):
                yield _message(other, way, sends=first == (way == 0))


def _role(rank: int, size: int, pairs: Pairs | None) -> tuple[int | None, bool]:
    """The other rank of this one's pair (None: it has none), and whether this is the first of the two."""
    if pairs is None:
        return partner(rank, size), rank < size // 2
    for first, second in pairs:
        if rank in (first, second):
            return (second, True) if rank == first else (first, False)
    return None, False


def _message(other: int | None, chunk: int, *, sends: bool) -> Round:
    if other is None:
        return ()
    return (Send(other, chunk),) if sends else (Recv(other, chunk),)
