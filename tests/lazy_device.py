"""A device for tests of order: memory of the host, and streams that do nothing before somebody waits for it.

What is queued runs at the last moment: one item whenever an event is asked for, everything of a stream when it is
synchronised, and what another stream waits for. So code that forgets to wait reads old data, every time.
"""

from __future__ import annotations

import weakref
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from collectives import memory
from kernels.device_array import LEGACY, DeviceArray


@dataclass(frozen=True)
class Event:
    stream: int
    position: int


class Owner:
    """What memory lives as long as."""

    __slots__ = ("__weakref__",)


class Lazy:
    """``log`` holds what was asked of it, in order."""

    name = "a lazy device"
    multiprocessors = 1

    def __init__(self) -> None:
        self.log: list[str] = []
        self._queues: dict[int, deque[Callable[[], object] | Event]] = defaultdict(deque)
        self._queued: dict[int, int] = defaultdict(int)
        self._done: dict[int, int] = defaultdict(int)
        self._blocks: list[tuple[int, int]] = []
        self._kept: list[np.ndarray] = []
        self._streams = 100

    def owns(self, address: int) -> bool:
        return any(start <= address < end for start, end in self._blocks)

    def launch(self, *arguments: object) -> None:
        raise AssertionError(f"a lazy device has no processor, and cannot run {arguments}: queue what it should do")

    def allocate(self, nbytes: int, stream: int = LEGACY) -> DeviceArray:
        block = np.zeros(max(nbytes, 1), np.uint8)
        self._blocks.append((block.ctypes.data, block.ctypes.data + block.size))
        self._kept.append(block)
        owner = Owner()
        weakref.finalize(owner, block.fill, 0xFF)  # what still works in freed memory finds or leaves nonsense
        return DeviceArray(block.ctypes.data, nbytes, np.dtype(np.uint8), self, owner, stream=stream)

    def pinned(self, nbytes: int) -> np.ndarray:
        return np.empty(nbytes, np.uint8)

    def copy_in(self, target: DeviceArray, source: np.ndarray, stream: int) -> None:
        self.queue(stream, lambda: np.copyto(octets(target), source.view(np.uint8)), "copy in")

    def copy_out(self, target: np.ndarray, source: DeviceArray, stream: int) -> None:
        self.queue(stream, lambda: np.copyto(target.view(np.uint8), octets(source)), "copy out")

    def copy(self, target: DeviceArray, source: DeviceArray, stream: int) -> None:
        self.queue(stream, lambda: np.copyto(octets(target), octets(source)), "copy")

    def stream(self) -> int:
        self._streams += 1
        return self._streams

    def record(self, stream: int) -> Event:
        self.log.append(f"record {stream}")
        return Event(stream, self._queued[stream])

    def wait(self, stream: int, event: Event) -> None:
        self.queue(stream, event, f"wait for {event.stream}")

    def reached(self, event: Event) -> bool:
        if self._done[event.stream] < event.position:
            self._step(event.stream)
        return self._done[event.stream] >= event.position

    def synchronize(self, stream: int) -> None:
        self.log.append(f"synchronize {stream}")
        self._run(Event(stream, self._queued[stream]))

    def queue(self, stream: int, item: Callable[[], object] | Event, what: str) -> None:
        self.log.append(f"{what} on {stream}")
        self._queues[stream].append(item)
        self._queued[stream] += 1

    def _run(self, event: Event) -> None:
        while self._done[event.stream] < event.position:
            self._step(event.stream)

    def _step(self, stream: int) -> None:
        item = self._queues[stream].popleft()
        if isinstance(item, Event):
            self._run(item)
        else:
            item()
        self._done[stream] += 1


def octets(array: DeviceArray) -> np.ndarray:
    """The bytes as the device sees them now."""
    return memory.at(array.address, array.nbytes, array.owner)


def put(device: Any, array: np.ndarray, stream: int = LEGACY) -> DeviceArray:
    """The array in device memory, at once."""
    placed = device.allocate(array.nbytes, stream)
    octets(placed)[:] = array.reshape(-1).view(np.uint8)
    return placed.view(array.dtype)


def got(array: DeviceArray) -> np.ndarray:
    """A copy of what the device's array holds when all its stream's work is done."""
    array.device.synchronize(array.stream)
    return octets(array).view(array.dtype).copy()


def on_stream(combine: Callable[..., object]) -> Callable[[DeviceArray, DeviceArray, DeviceArray], None]:
    """An operation on NumPy arrays as one that is queued on the stream of ``out``."""

    def queued(left: DeviceArray, right: DeviceArray, out: DeviceArray) -> None:
        arrays = [octets(one).view(one.dtype) for one in (left, right, out)]
        out.device.queue(out.stream, lambda: combine(*arrays), "fold")

    return queued
