"""The card that the driver has current. Not yet run on hardware: no machine that this was written on has one."""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from kernels.cuda import presence
from kernels.cuda.kernel import Kernel
from kernels.device_array import LEGACY, DeviceArray

__all__ = ["Hardware", "hardware"]

_MEMORY_TYPE, _IS_MANAGED, _ORDINAL = 2, 8, 9  # CUpointer_attribute of cuda.h
_ON_DEVICE = 2  # CU_MEMORYTYPE_DEVICE
_MULTIPROCESSORS = 16  # CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT
_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING
_NO_TIMING = 2  # CU_EVENT_DISABLE_TIMING
_NOT_READY = 600  # CUDA_ERROR_NOT_READY


class Hardware:
    """One card, in the primary context that CuPy, PyTorch and Numba share. See ``Device`` for the methods.

    Every failing call of the driver raises RuntimeError with the call's name and status.
    """

    def __init__(self, ordinal: int) -> None:
        driver = presence.driver()
        if driver is None:
            raise RuntimeError("there is no CUDA driver on this machine, or no device behind it")
        self._driver, self._ordinal = driver, ordinal
        self._retain(ordinal)
        name = ctypes.create_string_buffer(256)
        self._do("cuDeviceGetName", name, 256, ordinal)
        self.name = name.value.decode()
        number = ctypes.c_int(0)
        self._do("cuDeviceGetAttribute", ctypes.byref(number), _MULTIPROCESSORS, ordinal)
        self.multiprocessors = number.value

    def owns(self, address: int) -> bool:
        """Whether the host cannot reach the memory: it is not managed. BufferError if it is another card's."""
        kind, managed = ctypes.c_uint(0), ctypes.c_uint(0)
        pointer = ctypes.c_uint64(address)
        # What the driver does not know is the host's own.
        if self._driver.cuPointerGetAttribute(ctypes.byref(kind), _MEMORY_TYPE, pointer) != 0:
            return False
        self._do("cuPointerGetAttribute", ctypes.byref(managed), _IS_MANAGED, pointer)
        if kind.value != _ON_DEVICE or managed.value:
            return False
        card = ctypes.c_int(0)
        self._do("cuPointerGetAttribute", ctypes.byref(card), _ORDINAL, pointer)
        if card.value != self._ordinal:
            raise BufferError(
                f"the array is on card {card.value}, and this thread works on card {self._ordinal} ({self.name}): make "
                "the array's card the current one first"
            )
        return True

    def launch(self, kernel: Kernel, blocks: int, arguments: Sequence[int | float], stream: int = LEGACY) -> None:
        """Run the kernel through Numba's launcher, on the caller's stream."""
        from numba import cuda

        queue = cast("Any", cuda).external_stream(stream)
        kernel.dispatcher()[blocks, kernel.threads, queue](*_typed(kernel, arguments))

    def allocate(self, nbytes: int, stream: int = LEGACY) -> DeviceArray:
        """Memory from cuMemAlloc, given back with its last reference."""
        address = ctypes.c_uint64(0)
        self._do("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(nbytes, 1)))
        owner = _Owner()
        weakref.finalize(owner, self._driver.cuMemFree_v2, ctypes.c_uint64(address.value))
        return DeviceArray(address.value, nbytes, np.dtype(np.uint8), self, owner, stream=stream)

    def pinned(self, nbytes: int) -> NDArray[np.uint8]:
        """Memory from cuMemHostAlloc, portable among contexts, given back with its last view."""
        address = ctypes.c_void_p(0)
        self._do("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(max(nbytes, 1)), 1)
        memory = (ctypes.c_uint8 * max(nbytes, 1)).from_address(address.value or 0)
        weakref.finalize(memory, self._driver.cuMemFreeHost, ctypes.c_void_p(address.value))
        return np.ctypeslib.as_array(memory)[:nbytes]

    def copy_in(self, target: DeviceArray, source: NDArray[Any], stream: int) -> None:
        """cuMemcpyHtoDAsync."""
        place, size = ctypes.c_void_p(source.ctypes.data), ctypes.c_size_t(source.nbytes)
        self._do("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(target.address), place, size, ctypes.c_void_p(stream))

    def copy_out(self, target: NDArray[Any], source: DeviceArray, stream: int) -> None:
        """cuMemcpyDtoHAsync."""
        place, size = ctypes.c_void_p(target.ctypes.data), ctypes.c_size_t(source.nbytes)
        self._do("cuMemcpyDtoHAsync_v2", place, ctypes.c_uint64(source.address), size, ctypes.c_void_p(stream))

    def copy(self, target: DeviceArray, source: DeviceArray, stream: int) -> None:
        """cuMemcpyDtoDAsync."""
        there, here = ctypes.c_uint64(target.address), ctypes.c_uint64(source.address)
        self._do("cuMemcpyDtoDAsync_v2", there, here, ctypes.c_size_t(source.nbytes), ctypes.c_void_p(stream))

    def stream(self) -> int:
        """A stream that does not wait for the legacy default stream."""
        handle = ctypes.c_void_p(0)
        self._do("cuStreamCreate", ctypes.byref(handle), _NON_BLOCKING)
        return handle.value or 0

    def record(self, stream: int) -> object:
        """A new event without timing; destroyed with its last reference."""
        handle = ctypes.c_void_p(0)
        self._do("cuEventCreate", ctypes.byref(handle), _NO_TIMING)
        event = _Owner()
        event.handle = handle.value or 0
        weakref.finalize(event, self._driver.cuEventDestroy_v2, ctypes.c_void_p(handle.value))
        self._do("cuEventRecord", handle, ctypes.c_void_p(stream))
        return event

    def wait(self, stream: int, event: object) -> None:
        """cuStreamWaitEvent."""
        self._do("cuStreamWaitEvent", ctypes.c_void_p(stream), _handle(event), 0)

    def reached(self, event: object) -> bool:
        """cuEventQuery."""
        status = self._driver.cuEventQuery(_handle(event))
        if status == _NOT_READY:
            return False
        _checked("cuEventQuery", status)
        return True

    def synchronize(self, stream: int) -> None:
        """cuStreamSynchronize."""
        self._do("cuStreamSynchronize", ctypes.c_void_p(stream))

    def _retain(self, ordinal: int) -> None:
        """Make the primary context current where this thread has none."""
        context = ctypes.c_void_p(0)
        self._do("cuCtxGetCurrent", ctypes.byref(context))
        if not context.value:
            self._do("cuDevicePrimaryCtxRetain", ctypes.byref(context), ordinal)
            self._do("cuCtxSetCurrent", context)

    def _do(self, call: str, *arguments: Any) -> None:
        _checked(call, getattr(self._driver, call)(*arguments))


class _Owner:
    """Something to hang a finalizer on."""

    __slots__ = ("__weakref__", "handle")
    handle: int


def hardware() -> Hardware:
    """The card of this thread's current context; the first card where there is none."""
    driver = presence.driver()
    ordinal = ctypes.c_int(0)
    if driver is not None and driver.cuCtxGetDevice(ctypes.byref(ordinal)) != 0:
        ordinal.value = 0
    return _card(ordinal.value)


@cache
def _card(ordinal: int) -> Hardware:
    return Hardware(ordinal)


def _handle(event: object) -> ctypes.c_void_p:
    return ctypes.c_void_p(cast("_Owner", event).handle)


def _typed(kernel: Kernel, arguments: Sequence[int | float]) -> list[Any]:
    """The numbers in the types of the signature, for Numba reads a kernel's types off its arguments."""
    return [getattr(np, name)(value) for name, value in zip(kernel.signature, arguments, strict=True)]


def _checked(call: str, status: int) -> None:
    if status != 0:
        raise RuntimeError(f"CUDA driver: {call} failed with status {status}; is the array still alive on its device?")
