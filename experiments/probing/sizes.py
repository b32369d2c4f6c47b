"""Which sizes are measured, and how often: bounded by how long a message takes on the network at hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["DTYPES", "MESSAGE_SIZES", "REDUCTION_SIZES", "Budget", "crowds"]

KIB = 1 << 10
MESSAGE_SIZES = (
    8, 64, 512, 3 * KIB // 2, 4 * KIB, 8 * KIB, 16 * KIB, 32 * KIB, 48 * KIB, 64 * KIB, 96 * KIB, 128 * KIB,
    256 * KIB, 512 * KIB, 1 << 20, 1 << 21, 1 << 22,
)  # fmt: skip
"""Bytes of a message; dense around 64 KiB, where Open MPI over TCP begins to ask before it sends."""

REDUCTION_SIZES = (1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22)
"""Bytes of a vector that is added to another."""

DTYPES = ("float32", "float64", "int32")

_ALWAYS = 64 * KIB  # bytes that are measured however slow the network


@dataclass(frozen=True, slots=True)
class Budget:
    """What fits ``limit`` seconds, given the ``seconds`` of one message of each of ``sizes`` (ascending).

    A message may take this part of the limit: 1/120 for single ones, 1/240 in trains, and 1/480 in trains and exchanges
    where only some of the ranks are at work.
    """

    limit: float
    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @staticmethod
    def longest(limit: float) -> float:
        """Seconds that a single message may take at most."""
        return limit / 120

    def within(self, part: float) -> tuple[int, ...]:
        """The sizes of which one message takes at most ``limit / part`` seconds; those up to 64 KiB in any case."""
        timed = zip(self.sizes, self.seconds, strict=True)
        return tuple(size for size, seconds in timed if size <= _ALWAYS or seconds <= self.limit / part)

    def one(self, size: int) -> float:
        """Seconds of one message of that size."""
        return self.seconds[self.sizes.index(size)]

    def single(self) -> tuple[int, ...]:
        """Sizes of single messages and exchanges."""
        return self.within(120)

    def trains(self) -> tuple[int, ...]:
        """Sizes of messages in trains."""
        return self.within(240)

    def crowded(self) -> tuple[int, ...]:
        """Sizes of messages in trains and exchanges while only some of the ranks are at work."""
        return self.within(480)

    def typical(self) -> int:
        """The largest size whose message takes at most 1/1200 of the limit: for questions asked of every pair."""
        return max(size for size in self.within(1200) if size <= 1 << 20)


def crowds(ranks: int) -> Sequence[int]:
    """How many ranks are at work at once: 2, 4, 8 ... and all of them, which come first."""
    fewer = [2**power for power in range(1, ranks.bit_length()) if 2**power < ranks]
    return [ranks, *fewer]
