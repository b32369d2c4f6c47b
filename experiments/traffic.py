"""The point-to-point traffic that calibration times, as schedules, so that the executor carries it like any other.

Rank i has rank i + p//2 for a partner, all pairs are at work at once, and with an odd number the last rank idles.
Chunk 0 belongs to the first of a pair, chunk 1 to the second.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from collectives.schedule import Recv, Round, Send

__all__ = ["Exchange", "PingPong", "partner"]


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
    label: str = "ping-pong"

    def rounds(self, rank: int, size: int) -> Iterable[Round]:
        """What ``rank`` does: every message is a round of its own."""
        other, first = partner(rank, size), rank < size // 2
        for turn in range(self.messages):
            if other is None:
                yield ()
            elif first == (turn % 2 == 0):
                yield (Send(other, turn % 2),)
            else:
                yield (Recv(other, turn % 2),)


@dataclass(frozen=True, slots=True)
class Exchange:
    """``messages`` rounds in each of which both ranks of a pair send to the other at once."""

    messages: int
    label: str = "exchange"

    def rounds(self, rank: int, size: int) -> Iterable[Round]:
        """What ``rank`` does: a send and a receive in every round."""
        other, mine = partner(rank, size), int(rank >= size // 2)
        for _ in range(self.messages):
            yield () if other is None else (Recv(other, 1 - mine), Send(other, mine))
