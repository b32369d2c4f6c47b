"""Allreduce with an encoding, of vectors on a device: encoded and decoded there, so that only few bytes leave it.

Messages start and end in (pinned) host memory, whatever MPI can do: what is passed on never comes back to the device,
and every copy is of encoded bytes. Not yet run on hardware.
"""

from __future__ import annotations

from itertools import accumulate

from collectives.executors.encoded import Coder, Encoded, Octets, Place
from kernels.compress import Encoding
from kernels.device_array import DeviceArray

__all__ = ["DeviceCoder", "room"]

_ALIGNED = 16
"""Bytes; where values and wire both begin at such a multiple, kernels take the whole of a vector in one load."""


def room(encoded: Encoded) -> int:
    """Bytes of the device that a DeviceCoder works in."""
    return _slots(encoded)[-1]


def _slots(encoded: Encoded) -> list[int]:
    lengths = (-(-(place.stop - place.start) // _ALIGNED) * _ALIGNED for place in encoded.chunks)
    return list(accumulate(lengths, initial=0))


class DeviceCoder(Coder):
    """A Coder whose ``values`` and ``residual`` are on a device; ``wires`` is memory there, of ``room(encoded)`` bytes.

    Its work is queued on the stream of ``values``, which is waited for before each step's messages start: so what is
    sent is complete, and what has come was taken before the next comes. When it is finished the last decodings may yet
    be in the queue, and ``buffers`` must not be written to before they are done.
    """

    def __init__(
        self, encoded: Encoded, encoding: Encoding, values: DeviceArray, buffers: tuple[Octets, Octets],
        residual: DeviceArray | None, counter: int, wires: DeviceArray,
    ) -> None:  # fmt: skip
        super().__init__(encoded, encoding, values, buffers, residual, counter)
        self._device, self._stream, self._wires = values.device, values.stream, wires
        self._slots = _slots(encoded)

    def before(self, index: int) -> None:
        """Encode what step ``index`` sends, and bring it to the host."""
        super().before(index)
        for _, place in self._encoded.before[index]:
            self._device.copy_out(self._sent(place), self._wire(place), self._stream)
        self._device.synchronize(self._stream)

    def after(self, index: int) -> None:
        """Bring what step ``index`` received to the device, and decode it."""
        for arrival in self._encoded.after[index]:
            place = arrival.place
            self._device.copy_in(self._wire(place), self._sent(place), self._stream)
            self._decode(arrival)

    def _sent(self, place: Place) -> Octets:
        return self._buffers[place.buffer][place.start : place.stop]

    def _wire(self, place: Place) -> DeviceArray:
        start = self._slots[place.chunk]
        return self._wires[start : start + place.stop - place.start]
