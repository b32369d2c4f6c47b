"""Memory for encoded messages, kept from call to call, and the coder that works in it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import numpy as np

from collectives.executors.encoded import Coder, Encoded, Flat, Octets
from collectives.executors.encoded_on_device import DeviceCoder, room
from collectives.memory import Workspace
from kernels.compress import Encoding
from kernels.cuda.device import Device
from kernels.device_array import DeviceArray

__all__ = ["Wires"]

_BYTE = np.dtype(np.uint8)


class Wires:
    """One piece in the host, and for vectors on a device one that is pinned and one there; each for the longest call.

    The pinned one is never that of a vector in the host: copies from it may be queued yet when a call returns.
    """

    def __init__(self) -> None:
        self._host = np.empty(0, np.uint8)
        self._pinned: tuple[Device, Octets] | None = None
        self._there = Workspace()

    @contextmanager
    def coder(
        self, encoded: Encoded, encoding: Encoding, values: Flat, residual: Flat | None, counter: int
    ) -> Generator[tuple[Coder, tuple[Octets, Octets]]]:
        """A coder for one call, and the buffers of the plan."""
        store, inbox = encoded.plan.lengths
        if not isinstance(values, DeviceArray):
            if self._host.size < store + inbox:
                self._host = np.empty(store + inbox, np.uint8)
            buffers = self._host[:store], self._host[store : store + inbox]
            yield Coder(encoded, encoding, values, buffers, residual, counter), buffers
            return
        assert not isinstance(residual, np.ndarray)
        with self._there.borrowed(max(room(encoded), 1), _BYTE, values) as wires:
            pinned = self._pinned_for(values.device, store + inbox)
            buffers = pinned[:store], pinned[store : store + inbox]
            yield DeviceCoder(encoded, encoding, values, buffers, residual, counter, wires), buffers

    def _pinned_for(self, device: Device, nbytes: int) -> Octets:
        if self._pinned is None or self._pinned[0] is not device or self._pinned[1].size < nbytes:
            self._pinned = device, device.pinned(max(nbytes, 1))
        return self._pinned[1]
