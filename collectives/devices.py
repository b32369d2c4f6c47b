"""Arrays that live on a CUDA device: found by protocol, never by importing their library, and staged through the host.

Nothing here touches the driver until an array that shows ``__cuda_array_interface__`` arrives. The device path has
been run on arrays that show the interface over host memory; it has not yet been run on hardware.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from collectives import memory

__all__ = ["Staged", "count", "is_cuda_array", "stage"]

_MEMORY_TYPE, _CONTEXT, _IS_MANAGED = 2, 1, 8  # CUpointer_attribute of cuda.h
_ON_DEVICE = 2  # CU_MEMORYTYPE_DEVICE


@dataclass(frozen=True, slots=True)
class Staged:
    """Host memory that stands for a device array; ``store`` copies it back, if it is not the array's own memory."""

    octets: NDArray[np.uint8]
    dtype: np.dtype[Any]
    store: Callable[[], object] = tuple  # does nothing


def count() -> int:
    """The number of CUDA devices: 0 without a driver. Starts the driver's library, but makes no context."""
    driver = _driver()
    found = ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(found)) != 0:
        return 0
    return found.value


def is_cuda_array(buffer: object) -> bool:
    """Whether the object shows itself by ``__cuda_array_interface__``."""
    return hasattr(buffer, "__cuda_array_interface__")


def stage(buffer: object, *, writable: bool) -> Staged:
    """The array's bytes in host memory, after the work that its stream has queued is done.

    Memory that the host can reach (no driver, or managed or host memory) is used as it is; device memory is copied to
    the host, and back by ``store``. Raises BufferError for an array that is masked, not contiguous or not writable.
    """
    facts = cast("dict[str, Any]", cast("Any", buffer).__cuda_array_interface__)
    dtype, shape = np.dtype(cast("str", facts["typestr"])), tuple(cast("tuple[int, ...]", facts["shape"]))
    address, readonly = cast("tuple[int | None, bool]", facts["data"])
    _check(facts, dtype, shape, readonly=readonly and writable)
    nbytes = dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if nbytes == 0 or not address:
        return Staged(np.empty(0, np.uint8), dtype)
    driver = _driver()
    if driver is None or not _known(driver, address):
        return Staged(memory.at(address, nbytes, buffer), dtype)
    with _context(driver, address):
        _synchronize(driver, facts.get("stream"))
        if not _only_on_device(driver, address):
            return Staged(memory.at(address, nbytes, buffer), dtype)
        host = np.empty(nbytes, np.uint8)
        target, size = ctypes.c_void_p(host.ctypes.data), ctypes.c_size_t(nbytes)
        _checked(driver.cuMemcpyDtoH_v2(target, ctypes.c_uint64(address), size), "cuMemcpyDtoH")
    return Staged(host, dtype, partial(_store, driver, host, address) if writable else tuple)


def _check(facts: dict[str, Any], dtype: np.dtype[Any], shape: tuple[int, ...], *, readonly: bool) -> None:
    if facts.get("mask") is not None:
        raise BufferError("__cuda_array_interface__: masked arrays are not supported")
    if readonly:
        raise BufferError("__cuda_array_interface__: the array is not writable")
    strides = facts.get("strides")
    if strides is not None and tuple(strides) not in (_strides(shape, dtype, "C"), _strides(shape, dtype, "F")):
        raise BufferError("__cuda_array_interface__: the array is not contiguous")


def _strides(shape: tuple[int, ...], dtype: np.dtype[Any], order: str) -> tuple[int, ...]:
    sizes: list[int] = []
    step = dtype.itemsize
    for length in shape if order == "F" else reversed(shape):
        sizes.append(step)
        step *= length
    return tuple(sizes if order == "F" else reversed(sizes))


@cache
def _driver() -> ctypes.CDLL | None:
    """The CUDA driver's library, started; None where there is none, or no device behind it."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return library if library.cuInit(0) == 0 else None


def _known(driver: ctypes.CDLL, address: int) -> bool:
    """Whether the driver knows this memory; what it does not know is the host's, and no stream works on it."""
    kind = ctypes.c_uint(0)
    return driver.cuPointerGetAttribute(ctypes.byref(kind), _MEMORY_TYPE, ctypes.c_uint64(address)) == 0


def _only_on_device(driver: ctypes.CDLL, address: int) -> bool:
    kind, managed = ctypes.c_uint(0), ctypes.c_uint(0)
    pointer = ctypes.c_uint64(address)
    _checked(driver.cuPointerGetAttribute(ctypes.byref(kind), _MEMORY_TYPE, pointer), "cuPointerGetAttribute")
    _checked(driver.cuPointerGetAttribute(ctypes.byref(managed), _IS_MANAGED, pointer), "cuPointerGetAttribute")
    return kind.value == _ON_DEVICE and not managed.value


@contextmanager
def _context(driver: ctypes.CDLL, address: int) -> Generator[None]:
    """Make the context that the memory belongs to the current one of this thread, and restore the one before."""
    context = ctypes.c_void_p(0)
    pointer = ctypes.c_uint64(address)
    _checked(driver.cuPointerGetAttribute(ctypes.byref(context), _CONTEXT, pointer), "cuPointerGetAttribute")
    _checked(driver.cuCtxPushCurrent_v2(context), "cuCtxPushCurrent")
    try:
        yield
    finally:
        driver.cuCtxPopCurrent_v2(ctypes.byref(context))


def _synchronize(driver: ctypes.CDLL, stream: int | None) -> None:
    """Wait for the stream of the interface: None asks for no synchronisation, 1 and 2 are the two default streams."""
    if stream is not None:
        _checked(driver.cuStreamSynchronize(ctypes.c_void_p(stream)), "cuStreamSynchronize")


def _store(driver: ctypes.CDLL, host: NDArray[np.uint8], address: int) -> None:
    with _context(driver, address):
        source, size = ctypes.c_void_p(host.ctypes.data), ctypes.c_size_t(host.size)
        _checked(driver.cuMemcpyHtoD_v2(ctypes.c_uint64(address), source, size), "cuMemcpyHtoD")
        # A copy from pageable memory may return before it has arrived, and other streams would not wait for it.
        _synchronize(driver, 1)


def _checked(status: int, call: str) -> None:
    if status != 0:
        raise RuntimeError(f"CUDA driver: {call} failed with status {status}; is the array still alive on its device?")
