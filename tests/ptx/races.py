"""Data races, found in the log of a launch: two threads, the same byte, at least one write, and nothing in between.

Between threads of one block a barrier stands in between; between blocks nothing does but that both are atomic.
The interpreter's threads run in lockstep, where a missing barrier may well give the right result: so it is the log
that is judged, and a race is found in every run.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.ptx.faults import Fault
from tests.ptx.threads import WARP, Array

__all__ = ["ATOMIC", "READ", "WRITE", "Access", "Log", "Traffic"]

Traffic = Counter[tuple[int, int]]
"""Bytes by what was done (READ, WRITE, ATOMIC) and the bytes that one access moves."""

READ, WRITE, ATOMIC = 0, 1, 2
NOBODY, ATOMICALLY = -1, -2


@dataclass(frozen=True, slots=True)
class Access:
    """What the active threads did in one instruction, and how many barriers each thread's block and warp had before."""

    addresses: NDArray[np.int64]
    width: int
    how: int
    threads: NDArray[np.int64]
    epochs: NDArray[np.int64]
    warp_epochs: NDArray[np.int64]
    text: str


class Log:
    """The accesses to one kind of memory; ``size`` threads make a block."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self._size = name, size
        self._accesses: list[Access] = []

    def add(self, access: Access) -> None:
        """Remember an access."""
        if access.addresses.size:
            self._accesses.append(access)

    def traffic(self) -> Traffic:
        """Bytes moved."""
        moved: Traffic = Counter()
        for access in self._accesses:
            moved[access.how, access.width] += access.width * access.addresses.size
        return moved

    def check(self) -> None:
        """Fault if two of the accesses race."""
        if not any(access.how != READ for access in self._accesses):
            return
        lowest = min(int(access.addresses.min()) for access in self._accesses)
        bits = np.bitwise_or.reduce(
            [int(np.bitwise_or.reduce(access.addresses - lowest)) | access.width for access in self._accesses]
        )
        grain = int(bits & -bits)
        parts = [_grains(access, lowest, grain) for access in self._accesses]
        shared = self._shared(parts)
        if shared.size:
            self._judge(parts, shared, lowest, grain)

    def _shared(self, parts: list[Array]) -> NDArray[np.int64]:
        """The grains that somebody writes and somebody else reaches too, at whatever time."""
        length = 1 + max(int(part.max()) for part in parts)
        writer = np.full(length, NOBODY, np.int64)
        flagged = np.zeros(length, bool)
        tags = [_tags(access, part) for access, part in zip(self._accesses, parts, strict=True)]
        writes = [(part, tag) for access, part, tag in zip(self._accesses, parts, tags, strict=True) if access.how]
        for part, tag in writes:
            before = writer[part]
            flagged[part[(before != NOBODY) & (before != tag)]] = True
            writer[part] = tag
        for part, tag in zip(parts, tags, strict=True):
            found = writer[part]
            flagged[part[(found != NOBODY) & (found != tag)]] = True
        return np.flatnonzero(flagged)

    def _judge(self, parts: list[Array], shared: NDArray[np.int64], lowest: int, grain: int) -> None:
        columns = [self._rows(number, part, shared) for number, part in enumerate(parts)]
        grains, threads, epochs, warp_epochs, hows, numbers = (
            np.concatenate(column) for column in zip(*columns, strict=True)
        )
        blocks = threads // self._size
        warps = blocks * self._size + threads % self._size // WARP
        for keys, actors, words in (
            ((grains, warps, epochs, warp_epochs), threads, "with no barrier between"),
            ((grains, blocks, epochs), warps, "with no barrier between"),
            ((grains,), blocks, "in different blocks"),
        ):
            pair = _conflict(keys, actors, hows)
            if pair is not None:
                place = lowest + grain * int(grains[pair[0]])
                raise Fault(self._told(place, [(int(threads[row]), int(numbers[row])) for row in pair], words))

    def _rows(self, number: int, part: Array, shared: NDArray[np.int64]) -> list[Array]:
        """What is known of each time that the access reached one of the shared grains, as columns."""
        access = self._accesses[number]
        lanes, places = np.nonzero(np.isin(part, shared))
        alike = [np.full(lanes.size, access.how), np.full(lanes.size, number)]
        return [part[lanes, places], access.threads[lanes], access.epochs[lanes], access.warp_epochs[lanes], *alike]

    def _told(self, place: int, pair: list[tuple[int, int]], words: str) -> str:
        told = [
            f"block {thread // self._size}, thread {thread % self._size} in {self._accesses[number].text!r}"
            for thread, number in pair
        ]
        return f"a race: {' and '.join(told)} reach {self.name} memory at {place:#x}, one of them writes, {words}"


def _grains(access: Access, lowest: int, grain: int) -> Array:
    """Which pieces of ``grain`` bytes each of the accesses covers."""
    starts = (access.addresses - lowest) // grain
    return starts[:, None] + np.arange(access.width // grain)


def _tags(access: Access, part: Array) -> Array:
    tags = access.threads if access.how != ATOMIC else np.full(access.threads.size, ATOMICALLY)
    return np.broadcast_to(tags[:, None], part.shape)


def _conflict(keys: tuple[Array, ...], actors: Array, hows: Array) -> tuple[int, int] | None:
    """Two rows with equal keys and different actors that race, if there are any."""
    order = np.lexsort((hows == READ, actors, *reversed(keys)))
    changed = np.any([np.diff(key[order]) != 0 for key in keys], axis=0)
    starts = np.concatenate(([0], np.flatnonzero(changed) + 1))
    lowest, highest = (function.reduceat(actors[order], starts) for function in (np.minimum, np.maximum))
    kinds = [np.logical_or.reduceat((hows == how)[order], starts) for how in (READ, WRITE, ATOMIC)]
    races = (lowest != highest) & (kinds[WRITE] | (kinds[ATOMIC] & kinds[READ]))
    if not races.any():
        return None
    segment = int(np.argmax(races))
    rows = order[starts[segment] : starts[segment + 1] if segment + 1 < len(starts) else None]
    plain = bool(kinds[WRITE][segment])
    return next(
        (int(one), int(other))
        for one in rows
        for other in rows
        if hows[one] == (WRITE if plain else ATOMIC) and actors[one] != actors[other] and (plain or hows[other] == READ)
    )
