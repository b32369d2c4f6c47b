"""Many small arrays in few buffers, and back: what gradients go through before and after they are combined.

    buckets = plan([array.shape for array in gradients], [array.dtype for array in gradients], limit_bytes=25 << 20)
    for bucket in buckets:
        bucket.pack(gradients, buffer)   # buffer: 1-D, of bucket.dtype and bucket.size
        ...                              # allreduce it
        bucket.unpack(buffer, gradients)

NumPy arrays are copied by NumPy, arrays on a device by one launch for a whole bucket. Cost: every byte read once and
written once.
Source of the idea: Li et al., "PyTorch distributed" (VLDB 2020), section 3.2.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from kernels.strided import pack_strided, unpack_strided

__all__ = ["ALIGNMENT", "Bucket", "pack_strided", "plan", "unpack_strided"]

ALIGNMENT = 16
"""Bytes: every array starts at a multiple of this in its buffer, so that a device moves it by 128 bits."""

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Which arrays share a buffer of ``size`` elements of ``dtype``, and where each one starts in it.

    ``pack`` and ``unpack`` take the list of *all* arrays that the plan was made for, contiguous or not. What lies
    between two arrays in the buffer is zero after ``pack``.
    """

    dtype: np.dtype[Any]
    indices: tuple[int, ...]
    shapes: tuple[Shape, ...]
    offsets: tuple[int, ...]
    size: int

    @property
    def nbytes(self) -> int:
        """Bytes of the buffer."""
        return self.size * self.dtype.itemsize

    def pack(self, arrays: Sequence[Any], buffer: Any) -> None:
        """Copy this bucket's arrays into the buffer, on the stream of the buffer."""
        mine = self._mine(arrays, buffer)
        if isinstance(buffer, np.ndarray):
            for array, part in zip(mine, self._parts(cast("NDArray[Any]", buffer)), strict=True):
                np.copyto(part, array)
            for lo, hi in self._gaps():
                buffer[lo:hi] = 0
        else:
            _cuda().pack(mine, self.offsets, self.size, buffer)

    def unpack(self, buffer: Any, arrays: Sequence[Any]) -> None:
        """Copy the buffer's parts back into this bucket's arrays, on the stream of the buffer."""
        mine = self._mine(arrays, buffer)
        if isinstance(buffer, np.ndarray):
            for array, part in zip(mine, self._parts(cast("NDArray[Any]", buffer)), strict=True):
                np.copyto(array, part)
        else:
            _cuda().unpack(buffer, self.offsets, mine)

    def _mine(self, arrays: Sequence[Any], buffer: Any) -> list[Any]:
        """This bucket's arrays, once they are known to be the ones that were planned for."""
        if buffer.dtype != self.dtype or buffer.size != self.size:
            raise ValueError(
                f"the buffer has {buffer.size} {buffer.dtype} elements where the bucket needs {self.size} {self.dtype}"
            )
        if len(arrays) <= max(self.indices):
            raise ValueError(f"{len(arrays)} arrays where the plan has one with index {max(self.indices)}")
        mine = [arrays[index] for index in self.indices]
        for index, array, shape in zip(self.indices, mine, self.shapes, strict=True):
            found = tuple(array.shape) if hasattr(array, "shape") else (array.size,)
            if found not in (shape, (math.prod(shape),)) or array.dtype != self.dtype:
                raise ValueError(f"array {index} is {array.dtype} {found} and was planned as {self.dtype} {shape}")
        return mine

    def _parts(self, buffer: NDArray[Any]) -> list[NDArray[Any]]:
        """Views of the buffer, each in the shape of its array."""
        places = zip(self.offsets, self.shapes, strict=True)
        return [buffer[start : start + math.prod(shape)].reshape(shape) for start, shape in places]

    def _gaps(self) -> list[tuple[int, int]]:
        """Elements of the buffer that belong to no array."""
        ends = [start + math.prod(shape) for start, shape in zip(self.offsets, self.shapes, strict=True)]
        following = [*self.offsets[1:], self.size]
        return [(end, start) for end, start in zip(ends, following, strict=True) if start > end]


def plan(shapes: Sequence[Shape], dtypes: Sequence[DTypeLike], *, limit_bytes: int) -> tuple[Bucket, ...]:
    """Buckets for arrays in the order given; each array joins the last bucket of its dtype if the limit allows.

    An array that is larger than the limit has a bucket for itself. List the arrays in the order in which they get
    ready (gradients: the last layer first), so that the first bucket can go while others are computed.
    """
    if limit_bytes < 1:
        raise ValueError(f"limit_bytes must be at least 1, got {limit_bytes}")
    if len(shapes) != len(dtypes):
        raise ValueError(f"{len(shapes)} shapes and {len(dtypes)} dtypes: give one of each for every array")
    members: list[list[int]] = []
    last: dict[np.dtype[Any], int] = {}
    filled: list[int] = []
    for index, (shape, given) in enumerate(zip(shapes, dtypes, strict=True)):
        dtype = np.dtype(given)
        nbytes = _padded(math.prod(shape), dtype) * dtype.itemsize
        if dtype not in last or filled[last[dtype]] + nbytes > limit_bytes:
            last[dtype] = len(members)
            members.append([])
            filled.append(0)
        members[last[dtype]].append(index)
        filled[last[dtype]] += nbytes
    return tuple(_bucket(np.dtype(dtypes[those[0]]), those, shapes) for those in members)


def _bucket(dtype: np.dtype[Any], indices: Sequence[int], shapes: Sequence[Shape]) -> Bucket:
    offsets = [0]
    for index in indices:
        offsets.append(offsets[-1] + _padded(math.prod(shapes[index]), dtype))
    *starts, size = offsets
    return Bucket(dtype, tuple(indices), tuple(tuple(shapes[index]) for index in indices), tuple(starts), size)


def _padded(size: int, dtype: np.dtype[Any]) -> int:
    """Elements from the start of an array to the next start that is aligned, for itself and for its dtype."""
    step = ALIGNMENT // math.gcd(ALIGNMENT, dtype.itemsize)
    return -(-size // step) * step


def _cuda() -> Any:
    from kernels.cuda import buckets

    return cast("Any", buckets)
