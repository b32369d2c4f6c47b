"""The threads that run together: their registers, their place in the grid, and which of them are active now.

A register is one array with an element for each thread, so that an instruction is one NumPy expression over all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tests.ptx.faults import Unknown

if TYPE_CHECKING:
    from tests.ptx.spaces import Spaces

__all__ = ["WARP", "Active", "Array", "Threads", "among", "joined"]

WARP = 32
Array = NDArray[Any]
Active = slice | NDArray[np.int64]
"""Indices of threads, ascending: a slice where they follow one another, for that makes views and no copies."""

STORAGE = {1: np.dtype(bool), 8: np.dtype(np.uint8), 16: np.dtype(np.uint16), 32: np.dtype(np.uint32),
           64: np.dtype(np.uint64)}  # fmt: skip


class Threads:
    """The threads of ``blocks`` blocks from ``first`` on, of a grid of ``grid`` blocks with ``size`` threads each."""

    def __init__(
        self, registers: dict[str, int], addresses: dict[str, int], *, first: int, blocks: int, grid: int, size: int
    ) -> None:
        self.count = blocks * size
        self.first, self.blocks, self.grid, self.size = first, blocks, grid, size
        self.active: Active = slice(0, self.count)
        self.spaces: Spaces
        self.carry = np.zeros(self.count, bool)
        self._bits, self._addresses = registers, addresses
        self._registers: dict[str, Array] = {}
        self._named: dict[str, Array] = {}

    def register(self, name: str) -> Array:
        """The bits of a register in all threads, zero before they are first written."""
        found = self._registers.get(name)
        if found is None:
            found = self._registers[name] = np.zeros(self.count, STORAGE[self._bits[name]])
        return found

    def indices(self) -> NDArray[np.int64]:
        """Which threads are active, counted from the first of the first block here."""
        return np.arange(self.active.start, self.active.stop) if isinstance(self.active, slice) else self.active

    def among_active(self, chosen: NDArray[np.bool_]) -> Active:
        """Those of the active threads for which ``chosen`` is true."""
        positions = np.flatnonzero(chosen)
        if not isinstance(self.active, slice):
            return among(self.active[positions])
        return among(positions + self.active.start)

    def place(self, index: int) -> str:
        """Where a thread is, in words."""
        block, thread = divmod(int(index), self.size)
        return f"block {self.first + block}, thread {thread}"

    def named(self, name: str) -> Array:
        """A special register as uint32, or the address of a variable as uint64, in all threads."""
        found = self._named.get(name)
        if found is None:
            found = self._named[name] = np.broadcast_to(self._value(name), self.count)
        return found

    def _value(self, name: str) -> Any:
        if name in self._addresses:
            return np.uint64(self._addresses[name])
        if name not in SPECIAL:
            raise Unknown(f"the special register or variable {name}")
        return np.asarray(SPECIAL[name](self)).astype(np.uint32)

    def in_block(self) -> NDArray[np.int64]:
        """Each thread's index in its block."""
        return np.arange(self.count) % self.size


SPECIAL: dict[str, Callable[[Threads], Any]] = {
    "%tid.x": Threads.in_block,
    "%ntid.x": lambda threads: threads.size,
    "%ctaid.x": lambda threads: np.arange(threads.count) // threads.size + threads.first,
    "%nctaid.x": lambda threads: threads.grid,
    "%laneid": lambda threads: threads.in_block() % WARP,
    "%warpid": lambda threads: threads.in_block() // WARP,
    "%lanemask_eq": lambda threads: np.uint64(1) << (threads.in_block() % WARP).astype(np.uint64),
    "%lanemask_lt": lambda threads: (np.uint64(1) << (threads.in_block() % WARP).astype(np.uint64)) - np.uint64(1),
    **dict.fromkeys(("%tid.y", "%tid.z", "%ctaid.y", "%ctaid.z"), lambda threads: 0),
    **dict.fromkeys(("%ntid.y", "%ntid.z", "%nctaid.y", "%nctaid.z"), lambda threads: 1),
}


def among(indices: NDArray[np.int64]) -> Active:
    """The same threads, as a slice if they follow one another."""
    if indices.size and indices[-1] - indices[0] + 1 == indices.size:
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices


def joined(one: Active, other: Active) -> Active:
    """The threads of two sets that have none in common."""
    both = [np.arange(part.start, part.stop) if isinstance(part, slice) else part for part in (one, other)]
    return among(np.sort(np.concatenate(both)))
