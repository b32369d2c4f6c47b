"""What kernels and executors ask of a device: launches, copies, streams, events. Hardware is one, a test's another."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kernels.cuda.kernel import Kernel
from kernels.device_array import LEGACY, DeviceArray

__all__ = ["Device", "blocks_for", "current", "using"]

WAVES = 8
"""Blocks a multiprocessor that a grid-stride launch asks for at most: enough to hide latency, few enough to start."""


class Device(Protocol):
    """Everything is queued on a stream (a handle, as ``__cuda_array_interface__`` numbers them) unless it says so."""

    @property
    def name(self) -> str:
        """What people call it."""
        ...

    @property
    def multiprocessors(self) -> int:
        """How many blocks run at once, at least."""
        ...

    def owns(self, address: int) -> bool:
        """Whether only this device's kernels and copies may touch the memory there (not the host)."""
        ...

    def launch(self, kernel: Kernel, blocks: int, arguments: Sequence[int | float], stream: int = LEGACY) -> None:
        """Run ``blocks`` blocks of the kernel."""
        ...

    def allocate(self, nbytes: int, stream: int = LEGACY) -> DeviceArray:
        """New memory as uint8, at an address that is a multiple of 256; freed with its last reference. Not queued."""
        ...

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        """New host memory that copies reach without a detour. Not queued."""
        ...

    def copy_in(self, target: DeviceArray, source: NDArray[Any], stream: int) -> None:
        """Host to device, equal numbers of bytes; ``source`` must stay as it is until the copy is done."""
        ...

    def copy_out(self, target: NDArray[Any], source: DeviceArray, stream: int) -> None:
        """Device to host; ``target`` is complete when the stream has come so far."""
        ...

    def copy(self, target: DeviceArray, source: DeviceArray, stream: int) -> None:
        """Device to device; the two do not overlap."""
        ...

    def stream(self) -> int:
        """A new stream that waits for no other. It lives as long as the device."""
        ...

    def record(self, stream: int) -> object:
        """An event: the point that the stream's queue has now come to."""
        ...

    def wait(self, stream: int, event: object) -> None:
        """Let what is queued on the stream from now on wait for the event."""
        ...

    def reached(self, event: object) -> bool:
        """Whether all work before the event is done. Does not wait."""
        ...

    def synchronize(self, stream: int) -> None:
        """Wait until all work of the stream is done."""
        ...


_CHOSEN: ContextVar[Device | None] = ContextVar("device", default=None)


def current() -> Device | None:
    """The device chosen by ``using``, else the card that the driver has current, else None. Costs little without."""
    chosen = _CHOSEN.get()
    if chosen is not None:
        return chosen
    from kernels.cuda import presence

    if presence.count() == 0:
        return None
    from kernels.cuda.hardware import hardware

    return hardware()


@contextmanager
def using(device: Device) -> Generator[Device]:
    """Take ``device`` for the device in this context."""
    token = _CHOSEN.set(device)
    try:
        yield device
    finally:
        _CHOSEN.reset(token)


def blocks_for(kernel: Kernel, items: int, device: Device) -> int:
    """Blocks for a grid-stride loop over ``items`` vectors: at least 1, at most ``WAVES`` a multiprocessor."""
    wanted = -(-items // kernel.threads)
    return max(1, min(wanted, WAVES * device.multiprocessors))
