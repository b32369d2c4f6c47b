"""A device without hardware: kernels run in the PTX interpreter, memory is the host's, and streams can be late.

``Emulated(delayed=True)`` carries queued work out only when somebody waits for it, and no more of it than that asks
for: so what forgets to synchronise gets wrong data here in every run, where a real card would give it now and then.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from kernels.cuda.kernel import Capability, Kernel
from kernels.device_array import LEGACY, PER_THREAD, DeviceArray
from tests.ptx import machine
from tests.ptx.compiled import program, ptx
from tests.ptx.faults import Fault
from tests.ptx.memory import Region, aligned
from tests.ptx.program import Program, build
from tests.ptx.races import Traffic

__all__ = ["Emulated"]


@dataclass(eq=False, slots=True)
class Event:
    """A point in a stream's queue."""

    stream: int
    done: bool = False


@dataclass(slots=True)
class Queue:
    """What a stream has still to do."""

    work: deque[Callable[[], None]] = field(default_factory=deque)


class Emulated:
    """See ``kernels.cuda.device.Device`` for the methods that it has in common with hardware.

    ``trace`` is what was asked for, in order: pairs of a word (``launch sum_float32``, ``copy in``, ``record``,
    ``wait``, ``synchronize`` ...) and a stream. ``traffic`` is the bytes that kernels moved so far, by width. Memory
    whose bytes MPI or the host write by address must not be watched for reads of what was never written:
    ``watched=False``. ``altered`` puts faults into the PTX, ``limit`` is how many instructions a launch may take.
    """

    name = "PTX interpreter"
    multiprocessors = 2

    def __init__(
        self, capability: Capability = (9, 0), *, delayed: bool = False, watched: bool = True,
        altered: Callable[[str], str] | None = None, limit: int = 1_000_000,
    ) -> None:  # fmt: skip
        self.trace: list[tuple[str, int]] = []
        self.traffic: Traffic = Counter()
        self._capability, self._delayed, self._watched = capability, delayed, watched
        self._altered, self._limit = altered, limit
        self._regions: WeakValueDictionary[int, Region] = WeakValueDictionary()
        self._queues: defaultdict[int, Queue] = defaultdict(Queue)
        self._streams = itertools.count(PER_THREAD + 1)

    def owns(self, address: int) -> bool:
        return self._at(address) is not None

    def launch(self, kernel: Kernel, blocks: int, arguments: Sequence[int | float], stream: int = LEGACY) -> None:
        # The list keeps freed memory alive until the work is done, as the driver's cuMemFree does by waiting.
        regions = list(self._regions.values())
        made = self._program(kernel)
        given = tuple(arguments)

        def work() -> None:
            self.traffic += machine.launch(made, blocks, kernel.threads, given, regions, limit=self._limit)

        self._queue(f"launch {kernel.name}", stream, work)

    def _program(self, kernel: Kernel) -> Program:
        if self._altered is None:
            return program(kernel, self._capability)
        return build(self._altered(ptx(kernel, self._capability)))

    def allocate(self, nbytes: int, stream: int = LEGACY) -> DeviceArray:
        octets = aligned(nbytes)
        region = Region(octets, f"{nbytes} bytes on the device")
        if self._watched:
            region.written = np.zeros(octets.size, bool)
        self._regions[region.address] = region
        return DeviceArray(region.address, nbytes, np.dtype(np.uint8), self, region, stream=stream)

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        return aligned(nbytes)

    def copy_in(self, target: DeviceArray, source: NDArray[Any], stream: int) -> None:
        self._queue("copy in", stream, lambda: self._write(target, _octets(source)))

    def copy_out(self, target: NDArray[Any], source: DeviceArray, stream: int) -> None:
        def work() -> None:
            _octets(target)[:] = self._read(source)

        self._queue("copy out", stream, work)

    def copy(self, target: DeviceArray, source: DeviceArray, stream: int) -> None:
        self._queue("copy", stream, lambda: self._write(target, self._read(source)))

    def stream(self) -> int:
        return next(self._streams)

    def record(self, stream: int) -> object:
        event = Event(stream)

        def work() -> None:
            event.done = True

        self._queue("record", stream, work)
        return event

    def wait(self, stream: int, event: object) -> None:
        self._queue("wait", stream, lambda: self._until(_event(event)))

    def reached(self, event: object) -> bool:
        """As hardware says it; each question lets the event's stream do one more piece of its work."""
        found = _event(event)
        answer = found.done
        self._next(found.stream)
        return answer

    def synchronize(self, stream: int) -> None:
        self.trace.append(("synchronize", stream))
        while self._next(stream):
            pass

    def array(self, values: NDArray[Any], *, offset: int = 0, stream: int = LEGACY) -> DeviceArray:
        """A copy of the values on the device, ``offset`` bytes after an address that is a multiple of 256."""
        whole = self.allocate(values.nbytes + offset, stream)
        part = whole[offset:]
        self._write(part, _octets(values))
        return part.view(values.dtype)

    def values(self, array: DeviceArray) -> NDArray[Any]:
        """What the array holds now, whatever is still queued."""
        return self._read(array).view(array.dtype)

    def _queue(self, what: str, stream: int, work: Callable[[], None]) -> None:
        self.trace.append((what, stream))
        if self._delayed:
            self._queues[stream].work.append(work)
        else:
            work()

    def _next(self, stream: int) -> bool:
        """Do the stream's next piece of work; whether there was one."""
        work = self._queues[stream].work
        if not work:
            return False
        work.popleft()()
        return True

    def _until(self, event: Event) -> None:
        while not event.done and self._next(event.stream):
            pass

    def _at(self, address: int) -> Region | None:
        return next((each for each in self._regions.values() if each.address <= address < each.end), None)

    def _part(self, array: DeviceArray) -> tuple[Region, slice]:
        region = self._at(array.address)
        if region is None or array.address + array.nbytes > region.end:
            raise Fault(f"a copy reaches {array.nbytes} bytes at {array.address:#x}, which are not the device's")
        start = array.address - region.address
        return region, slice(start, start + array.nbytes)

    def _write(self, target: DeviceArray, values: NDArray[np.uint8]) -> None:
        if target.nbytes != values.size:
            raise Fault(f"a copy of {values.size} bytes to {target.nbytes}")
        if target.nbytes:
            region, part = self._part(target)
            region.octets[part] = values
            if region.written is not None:
                region.written[part] = True

    def _read(self, source: DeviceArray) -> NDArray[np.uint8]:
        if not source.nbytes:
            return np.empty(0, np.uint8)
        region, part = self._part(source)
        if region.written is not None and not region.written[part].all():
            missing = int(np.argmin(region.written[part]))
            raise Fault(f"a copy reads byte {missing} of {source!r}, where nothing was ever written")
        return region.octets[part].copy()


def _octets(values: NDArray[Any]) -> NDArray[np.uint8]:
    if not values.flags.c_contiguous:
        raise ValueError("the device copies contiguous arrays only")
    return values.reshape(-1).view(np.uint8)


def _event(event: object) -> Event:
    if not isinstance(event, Event):
        raise TypeError(f"{event!r} is no event of this device")
    return event
