"""A flat piece of memory on a device, as kernels, executors and MPI all take it: an address, a length, a dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

if TYPE_CHECKING:
    from kernels.cuda.device import Device

__all__ = ["LEGACY", "PER_THREAD", "DeviceArray"]

LEGACY, PER_THREAD = 1, 2
"""The two default streams, as ``__cuda_array_interface__`` (version 3) numbers them."""


class DeviceArray:
    """``size`` elements of ``dtype`` at ``address`` on ``device``; work on them is queued on ``stream``.

    It keeps ``owner`` alive, copies nothing, and shows itself by ``__cuda_array_interface__``. Slices and views share
    the memory. Unlike the arrays of the libraries it knows bfloat16.
    """

    __slots__ = ("address", "device", "dtype", "owner", "read_only", "size", "stream")

    def __init__(
        self, address: int, size: int, dtype: np.dtype[Any], device: Device, owner: object,
        *, stream: int = LEGACY, read_only: bool = False,
    ) -> None:  # fmt: skip
        self.address, self.size, self.dtype = address, size, dtype
        self.device, self.owner, self.stream, self.read_only = device, owner, stream, read_only

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.dtype.itemsize

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, part: slice) -> DeviceArray:
        """Elements ``lo .. hi - 1`` of the same memory; steps other than 1 are an IndexError."""
        lo, hi, step = part.indices(self.size)
        if step != 1:
            raise IndexError("a DeviceArray is contiguous: take slices without a step")
        return self._as(self.address + lo * self.dtype.itemsize, max(hi - lo, 0), self.dtype)

    def view(self, dtype: np.dtype[Any] | type[Any]) -> DeviceArray:
        """The same bytes as elements of another dtype; ValueError if they are no whole number of them."""
        other = np.dtype(dtype)
        size, rest = divmod(self.nbytes, other.itemsize)
        if rest:
            raise ValueError(f"{self.nbytes} bytes are no whole number of {other.name} elements")
        return self._as(self.address, size, other)

    def on(self, stream: int) -> DeviceArray:
        """The same memory with its work queued on another stream; the caller orders the two streams."""
        array = self._as(self.address, self.size, self.dtype)
        array.stream = stream
        return array

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return {
            "version": 3, "shape": (self.size,), "typestr": self.dtype.str, "strides": None,
            "data": (self.address, self.read_only), "stream": self.stream,
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<DeviceArray of {self.size} {self.dtype.name} at {self.address:#x} on {self.device.name}>"

    def _as(self, address: int, size: int, dtype: np.dtype[Any]) -> DeviceArray:
        return DeviceArray(
            address, size, dtype, self.device, self.owner, stream=self.stream, read_only=self.read_only
        )  # fmt: skip

    @staticmethod
    def here(array: object, name: str = "an argument") -> DeviceArray:
        """``array`` itself if it is one, else what it shows on the current device; TypeError where that is nothing."""
        if isinstance(array, DeviceArray):
            return array
        from kernels.cuda.device import current

        device = current()
        if device is None or not hasattr(array, "__cuda_array_interface__"):
            kind = type(array).__name__
            raise TypeError(f"{name}: a {kind} is not on a device that is here; keep all arrays in one place")
        return DeviceArray.shown(array, device)

    @staticmethod
    def shown(buffer: object, device: Device) -> DeviceArray:
        """What an object shows by ``__cuda_array_interface__``, flat and without a copy.

        Raises BufferError for an array that is masked or not contiguous, with a word on what to do.
        """
        facts = cast("dict[str, Any]", cast("Any", buffer).__cuda_array_interface__)
        dtype, shape = np.dtype(cast("str", facts["typestr"])), tuple(cast("tuple[int, ...]", facts["shape"]))
        if facts.get("mask") is not None:
            raise BufferError("__cuda_array_interface__: masked arrays are not supported; fill in the masked elements")
        strides = facts.get("strides")
        if strides is not None and tuple(strides) not in (strides_of(shape, dtype, "C"), strides_of(shape, dtype, "F")):
            raise BufferError("__cuda_array_interface__: the array is not contiguous; pass a contiguous copy")
        address, read_only = cast("tuple[int | None, bool]", facts["data"])
        size = int(np.prod(shape, dtype=np.int64))
        stream = facts.get("stream")
        return DeviceArray(
            address or 0, size, dtype, device, buffer, stream=LEGACY if stream is None else stream, read_only=read_only
        )  # fmt: skip


def strides_of(shape: tuple[int, ...], dtype: np.dtype[Any], order: str) -> tuple[int, ...]:
    """The strides in bytes of a contiguous array, rows ("C") or columns ("F") first."""
    sizes: list[int] = []
    step = dtype.itemsize
    for length in shape if order == "F" else reversed(shape):
        sizes.append(step)
        step *= length
    return tuple(sizes if order == "F" else reversed(sizes))
