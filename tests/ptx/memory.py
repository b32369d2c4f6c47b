"""The memory that a kernel reaches, each byte of it known: whose it is, whether it may be written, whether it was.

Global memory is the host's, at its own addresses, in regions that were made known; any other address is a Fault. A
block's shared memory and a thread's local memory lie in windows of their own, with red zones between the variables.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.ptx.faults import Fault
from tests.ptx.syntax import Variable
from tests.ptx.threads import Array, Threads

__all__ = ["LOCAL", "SHARED", "Global", "Private", "Region", "aligned"]

SHARED, LOCAL = 1 << 56, 1 << 57
"""Where the windows of shared and local memory begin among generic addresses."""

RED_ZONE = 64
ALIGNMENT = 256
UNWRITTEN = 0xFF
"""What memory holds before it is written: NaN to every float."""

Octets = NDArray[np.uint8]


@dataclass(slots=True, weakref_slot=True)
class Region:
    """Bytes of the host from ``address`` on. ``written`` marks those that have a value; None where all have."""

    octets: Octets
    name: str
    read_only: bool = False
    written: NDArray[np.bool_] | None = None

    @property
    def address(self) -> int:
        """Where the host has it."""
        return self.octets.ctypes.data

    @property
    def end(self) -> int:
        """The address after its last byte."""
        return self.address + self.octets.size


def aligned(nbytes: int) -> Octets:
    """Host memory at a multiple of 256, with at least as many bytes on both sides that are in no region."""
    whole = np.full(nbytes + 3 * ALIGNMENT, UNWRITTEN, np.uint8)
    start = ALIGNMENT + -whole.ctypes.data % ALIGNMENT
    return whole[start : start + nbytes]


class Global:
    """The regions of global memory, in the order of their addresses."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._regions = sorted(regions, key=lambda region: region.address)
        self._starts = [region.address for region in self._regions]

    def load(self, threads: Threads, addresses: Array, width: int) -> Array:
        """``width`` bytes from each address, as one void element for each active thread."""
        self._aligned(threads, addresses, width)
        result = np.empty(addresses.size, f"V{width}")
        for region, chosen in self._split(threads, addresses, width):
            result[chosen] = self._from(threads, region, addresses[chosen], width, chosen)
        return result

    def store(self, threads: Threads, addresses: Array, values: Array) -> None:
        """One void element of ``values`` to each address."""
        width = values.itemsize
        self._aligned(threads, addresses, width)
        for region, chosen in self._split(threads, addresses, width):
            if region.read_only:
                where, lane = addresses[chosen][0], np.arange(addresses.size)[chosen][0]
                raise Fault(f"{_who(threads, lane)} writes to {where:#x} in {region.name}, which is read-only")
            places, first = _places(region, addresses[chosen], width)
            _window(region.octets, first, width)[places] = values[chosen]
            if region.written is not None:
                _window(region.written, first, width)[places] = _ones(width)

    def _from(self, threads: Threads, region: Region, addresses: Array, width: int, chosen: slice | Array) -> Array:
        places, first = _places(region, addresses, width)
        if region.written is not None:
            known = _window(region.written, first, width)[places].view(bool).reshape(-1, width).all(axis=1)
            if not known.all():
                lane = int(np.argmin(known))
                who = _who(threads, int(np.arange(len(threads.indices()))[chosen][lane]))
                raise Fault(f"{who} reads {addresses[lane]:#x} in {region.name}, where nothing was ever written")
        return _window(region.octets, first, width)[places]

    def _split(self, threads: Threads, addresses: Array, width: int) -> Iterable[tuple[Region, slice | Array]]:
        """The regions that are reached, each with the positions of the addresses in it."""
        lowest, highest = int(addresses.min()), int(addresses.max())
        region = self._at(lowest)
        if region is not None and highest + width <= region.end:
            yield region, slice(None)
            return
        numbers = np.searchsorted(np.array(self._starts, np.uint64), addresses, side="right") - 1
        for number in np.unique(numbers):
            chosen = np.flatnonzero(numbers == number)
            outside = number < 0 or addresses[chosen] + np.uint64(width) > np.uint64(self._regions[number].end)
            if np.any(outside):
                lane = int(chosen[np.argmax(outside)])
                raise Fault(f"{_who(threads, lane)} reaches {width} bytes at {self._described(int(addresses[lane]))}")
            yield self._regions[number], chosen

    def _at(self, address: int) -> Region | None:
        number = bisect_right(self._starts, address) - 1
        return self._regions[number] if number >= 0 and address < self._regions[number].end else None

    def _described(self, address: int) -> str:
        """An address that is in no region, or near the end of one, beside those that are."""
        number = bisect_right(self._starts, address) - 1
        near = self._regions[max(number, 0) : number + 2]
        known = [f"{region.name} is {region.address:#x} to {region.end:#x}" for region in near]
        return f"{address:#x}, which is outside of every buffer ({', '.join(known) or 'there is none'})"

    def _aligned(self, threads: Threads, addresses: Array, width: int) -> None:
        wrong = addresses & np.uint64(width - 1)
        if wrong.any():
            lane = int(np.argmax(wrong != 0))
            who = _who(threads, lane)
            raise Fault(f"{who} reaches {width} bytes at {addresses[lane]:#x}, which is no multiple of {width}")


class Private:
    """Memory of which each block (or thread) has its own: variables by offset, with red zones between them."""

    def __init__(self, name: str, variables: Iterable[Variable], owners: int) -> None:
        self.name = name
        self.offsets: dict[str, int] = {}
        end = RED_ZONE
        for variable in variables:
            align = max(variable.align, 16)
            self.offsets[variable.name] = start = -(-end // align) * align
            end = start + variable.nbytes + RED_ZONE
        self.stride = -(-end // RED_ZONE) * RED_ZONE
        self._valid = np.zeros(self.stride, bool)
        for variable in variables:
            start = self.offsets[variable.name]
            self._valid[start : start + variable.nbytes] = True
        size = self.stride * owners if self.offsets else 0
        self._octets, self._written = np.zeros(size, np.uint8), np.zeros(size, bool)

    def load(self, threads: Threads, owners: Array, offsets: Array, width: int) -> Array:
        """``width`` bytes from each offset in the owner's memory, as void elements."""
        places = self._checked(threads, owners, offsets, width)
        known = self._written.view(f"V{width}")[places].view(bool).reshape(-1, width).all(axis=1)
        if not known.all():
            lane = int(np.argmin(known))
            where = f"{self.name} memory at offset {offsets[lane]:#x}"
            raise Fault(f"{_who(threads, lane)} reads {where}, where nothing was ever written")
        return self._octets.view(f"V{width}")[places]

    def store(self, threads: Threads, owners: Array, offsets: Array, values: Array) -> None:
        """One void element of ``values`` to each offset in the owner's memory."""
        width = values.itemsize
        places = self._checked(threads, owners, offsets, width)
        self._octets.view(f"V{width}")[places] = values
        self._written.view(f"V{width}")[places] = _ones(width)

    def _checked(self, threads: Threads, owners: Array, offsets: Array, width: int) -> Array:
        places = offsets.astype(np.int64)
        wrong = (places % width != 0) | (places < 0) | (places + width > self.stride)
        if not wrong.any():
            wrong = ~self._valid.view(f"V{width}")[places // width].view(bool).reshape(-1, width).all(axis=1)
        if wrong.any():
            lane = int(np.argmax(wrong))
            where = f"{width} bytes of {self.name} memory at offset {int(offsets[lane]):#x}"
            raise Fault(f"{_who(threads, lane)} reaches {where}, which is in no variable or not a multiple of {width}")
        return (owners * self.stride + places) // width


def _places(region: Region, addresses: Array, width: int) -> tuple[Array, int]:
    """Which elements of ``width`` bytes the addresses are, and at which byte of the region the first one begins."""
    first = -region.address % width
    return (addresses - np.uint64(region.address + first)).astype(np.int64) // width, first


def _window(octets: Array, first: int, width: int) -> Array:
    """The bytes from ``first`` on as elements of ``width`` bytes."""
    return octets[first : first + (octets.size - first) // width * width].view(f"V{width}")


def _ones(width: int) -> Array:
    return np.ones(width, bool).view(f"V{width}")


def _who(threads: Threads, lane: int) -> str:
    return threads.place(threads.indices()[lane])
