"""Arrays of any strides to contiguous memory and back, where they live.

NumPy arrays are copied by NumPy, arrays on a device by a kernel. Cost: every byte read once and written once, in
sectors of 32 bytes on a device, however few of their bytes are wanted.
"""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack_strided", "unpack_strided"]


def pack_strided(array: Any, out: Any) -> None:
    """Copy the elements of ``array``, in C order, to ``out``: 1-D, contiguous, of the same dtype and length.

    ``array`` is a NumPy array, or shows itself by ``__cuda_array_interface__``, of any strides and up to 8 axes that
    do not join; ``out`` is where ``array`` is (a DeviceArray will do). Work is queued on the stream of ``out``.
    Raises ValueError for arrays that do not fit or that may overlap.
    """
    if isinstance(array, np.ndarray):
        here = cast("NDArray[Any]", array)
        np.copyto(_flat(here, out).reshape(here.shape), here)
    else:
        _cuda().pack(array, out)


def unpack_strided(flat: Any, array: Any) -> None:
    """The way back: copy ``flat``, 1-D and contiguous, to the elements of ``array`` in C order."""
    if isinstance(array, np.ndarray):
        here = cast("NDArray[Any]", array)
        np.copyto(here, _flat(here, flat).reshape(here.shape))
    else:
        _cuda().unpack(flat, array)


def _flat(array: NDArray[Any], flat: Any) -> NDArray[Any]:
    if not isinstance(flat, np.ndarray):
        raise TypeError(f"a NumPy array beside a {type(flat).__name__}: bring them to one place first")
    other = cast("NDArray[Any]", flat)
    if other.ndim != 1 or not other.flags.c_contiguous:
        raise ValueError(f"the flat side must be 1-D and contiguous, not of shape {other.shape}")
    if other.dtype != array.dtype or other.size != math.prod(array.shape):
        raise ValueError(f"{array.size} {array.dtype} elements on one side and {other.size} {other.dtype} on the other")
    if np.may_share_memory(array, other):
        raise ValueError("the two sides may overlap in memory: copy to memory of its own")
    return other


def _cuda() -> Any:
    from kernels.cuda import strided_copy

    return cast("Any", strided_copy)
