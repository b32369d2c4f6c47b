"""An array of another library, as its protocol describes it: an address, a shape, strides, a dtype, a stream."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from kernels.device_array import LEGACY, DeviceArray, strides_of

__all__ = ["Foreign"]


@dataclass(frozen=True, slots=True)
class Foreign:
    """``strides`` are in bytes (None: rows first, without gaps); ``stream`` is None where the exporter names none.

    It shows itself by ``__cuda_array_interface__`` in its turn, as words without a meaning, and keeps ``owner`` alive.
    """

    owner: object
    address: int
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    dtype: np.dtype[Any]
    read_only: bool
    stream: int | None
    masked: bool = False

    @classmethod
    def by_interface(cls, owner: object, facts: dict[str, Any]) -> Foreign:
        """What ``__cuda_array_interface__`` of ``owner`` says."""
        address, read_only = cast("tuple[int | None, bool]", facts["data"])
        strides = facts.get("strides")
        return cls(
            owner, address or 0, tuple(facts["shape"]), None if strides is None else tuple(strides),
            np.dtype(cast("str", facts["typestr"])), read_only, facts.get("stream"), facts.get("mask") is not None,
        )  # fmt: skip

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def word(self) -> np.dtype[Any]:
        """Bytes of an element, without a meaning."""
        return np.dtype(f"V{self.dtype.itemsize}")

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie without gaps, rows or columns first."""
        if self.strides is None or not self.nbytes:
            return True
        long = [(length, stride) for length, stride in zip(self.shape, self.strides, strict=True) if length != 1]
        shape, strides = tuple(length for length, _ in long), tuple(stride for _, stride in long)
        return any(strides == strides_of(shape, self.dtype, order) for order in "CF")

    def check(self, *, writable: bool) -> None:
        """BufferError for what cannot take part."""
        if self.masked:
            raise BufferError("__cuda_array_interface__: masked arrays are not supported; fill in the masked elements")
        if writable and self.read_only:
            raise BufferError("__cuda_array_interface__: the array is not writable; pass one that is")
        if self.dtype.hasobject:
            raise BufferError("__cuda_array_interface__: Python objects cannot travel")

    def flat(self, device: Any) -> DeviceArray:
        """The bytes on ``device``, for an array that is contiguous."""
        stream = LEGACY if self.stream is None else self.stream
        return DeviceArray(
            self.address, self.nbytes, np.dtype(np.uint8), device, self.owner, stream=stream, read_only=self.read_only
        )  # fmt: skip

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        return {
            "version": 3, "shape": self.shape, "typestr": self.word.str, "strides": self.strides,
            "data": (self.address, self.read_only), "stream": self.stream,
        }  # fmt: skip
