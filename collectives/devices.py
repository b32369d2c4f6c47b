"""Arrays that live on a CUDA device: found by protocol, never by importing their library, and taken without a copy.

Nothing here touches the driver until an array that shows itself as a device array arrives. Not yet run on hardware; the
tests run it on emulated devices, whose memory is the host's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from collectives import dlpack, memory
from collectives.foreign import Foreign
from collectives.memory import Flat
from kernels.cuda import presence
from kernels.cuda.device import Device, current
from kernels.device_array import LEGACY, DeviceArray
from kernels.strided import pack_strided, unpack_strided

__all__ = ["Seen", "Unfit", "count", "fetched", "is_cuda_array", "on_device", "seen"]

Store = Callable[[], object]


class Unfit(BufferError):
    """Device memory that can't be used here, and that an MPI without CUDA-awareness must not be given either."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An array's bytes, flat, on the device or in the host; ``store`` brings them to where the array wants them."""

    octets: Flat
    dtype: np.dtype[Any]
    store: Store = tuple  # does nothing


def count() -> int:
    """The number of CUDA devices: 0 without a driver. Starts the driver's library, but makes no context."""
    return presence.count()


def is_cuda_array(buffer: object) -> bool:
    """Whether the object shows itself as an array of a CUDA device, by its interface or by DLPack."""
    return isinstance(buffer, DeviceArray) or _interface(buffer) is not None or dlpack.is_cuda(buffer)


def on_device(buffer: object) -> bool:
    """Whether the memory is a device's, so that the processor can't reach it."""
    if isinstance(buffer, DeviceArray):
        return True
    try:
        if not is_cuda_array(buffer):
            return False  # and no card is touched
        device = current()
        return device is not None and _owned(device, _shown(buffer).address)
    except Unfit:
        return True
    except BufferError:
        return False


def seen(buffer: object, *, writable: bool) -> Seen:
    """The array's bytes where they are; no copy of what is contiguous, rows or columns first.

    Strided arrays of a device are packed by a kernel, and unpacked by ``store``. What the host can reach (managed or
    host memory, or anything where there is no device) is host memory, ready when its stream is.
    Raises BufferError for what is masked, not writable or of a kind that is not known: Unfit if it is on a device.
    """
    if isinstance(buffer, DeviceArray):
        if writable and buffer.read_only:
            raise Unfit("the array on the device is read-only: pass one that can be written")
        return Seen(buffer.view(np.uint8), buffer.dtype)
    device = current()
    shown = _shown(buffer)
    if device is None or not _owned(device, shown.address):
        return _in_host(shown, device, writable=writable)
    try:
        shown.check(writable=writable)
    except BufferError as problem:
        raise Unfit(str(problem)) from None
    return _flat(shown, device) if shown.contiguous else _packed(shown, device, writable=writable)


def fetched(array: DeviceArray, *, writable: bool) -> tuple[NDArray[np.uint8], Store]:
    """The array's bytes in host memory once its stream's work is done, and what brings them back."""
    host = np.empty(array.nbytes, np.uint8)
    array.device.copy_out(host, array.view(np.uint8), array.stream)
    array.device.synchronize(array.stream)
    return host, partial(_bring_back, host, array) if writable else tuple


def _bring_back(host: NDArray[np.uint8], array: DeviceArray) -> None:
    array.device.copy_in(array.view(np.uint8), host, array.stream)
    array.device.synchronize(array.stream)  # the host memory may go


def _interface(buffer: object) -> dict[str, Any] | None:
    try:
        return cast("dict[str, Any] | None", getattr(buffer, "__cuda_array_interface__", None))
    except (RuntimeError, TypeError):  # tensors that need a gradient, or of a dtype that the interface lacks
        return None


def _shown(buffer: object) -> Foreign:
    """What the array shows: its interface if that names a stream, else DLPack, which waits for the array's own."""
    facts = _interface(buffer)
    if facts is not None and (facts.get("stream") is not None or not dlpack.is_cuda(buffer)):
        return Foreign.by_interface(buffer, facts)
    return dlpack.foreign(buffer, LEGACY)


def _owned(device: Device, address: int) -> bool:
    try:
        return address != 0 and device.owns(address)
    except BufferError as problem:
        raise Unfit(str(problem)) from None


def _in_host(shown: Foreign, device: Device | None, *, writable: bool) -> Seen:
    shown.check(writable=writable)
    if not shown.contiguous:
        raise BufferError("__cuda_array_interface__: the array is not contiguous; pass a contiguous copy")
    if device is not None and shown.stream is not None and shown.address:
        device.synchronize(shown.stream)
    return Seen(memory.at(shown.address, shown.nbytes, shown.owner, read_only=shown.read_only), shown.dtype)


def _flat(shown: Foreign, device: Device) -> Seen:
    array = shown.flat(device)
    # Whoever names no stream does not wait for ours.
    return Seen(array, shown.dtype, tuple if shown.stream is not None else partial(device.synchronize, array.stream))


def _packed(shown: Foreign, device: Device, *, writable: bool) -> Seen:
    stream = LEGACY if shown.stream is None else shown.stream
    octets = device.allocate(shown.nbytes, stream)
    words = octets.view(shown.word)
    pack_strided(shown, words)
    if not writable:
        return Seen(octets, shown.dtype)

    def store() -> None:
        unpack_strided(words, shown)
        device.synchronize(stream)  # the packed copy may go, and whoever named no stream does not wait for ours

    return Seen(octets, shown.dtype, store)
