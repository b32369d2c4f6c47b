"""Flat memory, in the host or on a device, by one set of verbs: show it by its address, copy it, borrow it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.device_array import DeviceArray

__all__ = ["Flat", "Workspace", "at", "copy", "nothing", "overlap", "place"]

Flat = NDArray[Any] | DeviceArray
"""1-D contiguous memory."""


class _Shown:
    """What NumPy asks for memory, and keeps as the base of the array."""

    def __init__(self, address: int, nbytes: int, owner: object, *, read_only: bool) -> None:
        self.owner = owner
        self.__array_interface__ = {
            "version": 3, "shape": (nbytes,), "typestr": "|u1", "data": (address, read_only),
        }  # fmt: skip


def at(address: int, nbytes: int, owner: object, *, read_only: bool = False) -> NDArray[np.uint8]:
    """``nbytes`` bytes at ``address``, which belong to ``owner``."""
    if nbytes == 0:
        return np.empty(0, np.uint8)
    return np.asarray(_Shown(address, nbytes, owner, read_only=read_only))


def place(array: Flat) -> str:
    """Where an array is, in words."""
    return f"on {array.device.name}" if isinstance(array, DeviceArray) else "in host memory"


def nothing(like: Flat) -> Flat:
    """Memory without bytes, where ``like`` is."""
    return like[:0].view(np.uint8)


def copy(target: Flat, source: Flat) -> None:
    """``target`` becomes ``source``, of the same length and dtype and in the same place; they may overlap.

    On a device this is queued on the stream of ``target``. Cost: one pass; none if the two are the same memory.
    """
    if not isinstance(target, DeviceArray):
        assert not isinstance(source, DeviceArray)
        np.copyto(target, source)
        return
    assert isinstance(source, DeviceArray)
    if target.address == source.address or target.size == 0:
        return
    if overlap(target, source):  # a device's copy takes no overlap
        between = target.device.allocate(source.nbytes, target.stream).view(source.dtype)
        target.device.copy(between, source, target.stream)
        source = between
    target.device.copy(target, source, target.stream)


def overlap(some: Flat, other: Flat) -> bool:
    """Whether the two may share bytes."""
    if not isinstance(some, DeviceArray) or not isinstance(other, DeviceArray):
        return isinstance(some, np.ndarray) and isinstance(other, np.ndarray) and np.may_share_memory(some, other)
    return max(some.address, other.address) < min(some.address + some.nbytes, other.address + other.nbytes)


class Workspace:
    """Work memory that is kept from call to call, one piece in the host and one on the device last asked for."""

    def __init__(self) -> None:
        self._host = np.empty(0, np.uint8)
        self._device: DeviceArray | None = None
        self._last: tuple[int, object] | None = None

    @contextmanager
    def borrowed(self, count: int, dtype: np.dtype[Any], like: Flat) -> Generator[Any]:
        """``count`` elements where ``like`` is, for the time of the context; on a device for work on its stream."""
        nbytes = count * dtype.itemsize
        if not isinstance(like, DeviceArray):
            if self._host.size < nbytes:
                self._host = np.empty(nbytes, np.uint8)
            yield self._host[:nbytes].view(dtype)
            return
        self._follow(like)
        if self._device is None or self._device.device is not like.device or self._device.size < nbytes:
            self._device = like.device.allocate(nbytes)
        yield self._device[:nbytes].view(dtype).on(like.stream)
        self._last = like.stream, like.device.record(like.stream)

    def _follow(self, like: DeviceArray) -> None:
        """Work of an earlier call, on another stream, may not be done."""
        held, last = self._device, self._last
        if held is not None and last is not None and held.device is like.device and last[0] != like.stream:
            like.device.wait(like.stream, last[1])
