"""Which NumPy arrays compiled code takes, and what is wrong with others; this module itself needs no compiler."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, cast

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

__all__ = ["HALVES", "KINDS", "check", "last_cache", "plain"]

Array = NDArray[Any]

HALVES = np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)

KINDS: Mapping[np.dtype[Any], str] = MappingProxyType(
    {np.dtype(code): np.dtype(code).name for code in "?bBhHiIlLqQfdFD"} | {dtype: dtype.name for dtype in HALVES}
)
"""The dtypes that there is compiled code for, and what it calls them."""


def last_cache() -> int:
    """Bytes that the last cache holds, which may be shared with other cores; 32 MiB where the system does not say."""
    names = "SC_LEVEL4_CACHE_SIZE", "SC_LEVEL3_CACHE_SIZE", "SC_LEVEL2_CACHE_SIZE"
    sizes = [os.sysconf(name) for name in names if name in os.sysconf_names]
    return next((size for size in sizes if size > 0), 32 << 20)


def plain(array: Array) -> Array:
    """The same memory as a dtype that Numba knows: halves as uint16."""
    return array.view(np.uint16) if array.dtype in HALVES else array


def check(inputs: Sequence[object], out: Array) -> None:
    """TypeError or ValueError with a word on what to do, unless all are flat, of one dtype and length, and apart.

    ``out`` may be an input. Read-only inputs pass.
    """
    for array in (*inputs, out):
        _check_one(array, out)
    if not out.flags.writeable:
        raise ValueError("out is read-only: pass an array that can be written")


def _check_one(given: object, out: Array) -> None:
    if not isinstance(given, np.ndarray):
        raise TypeError(f"a {type(given).__name__} among NumPy arrays: keep inputs and out in one place")
    array = cast("Array", given)
    if array.dtype != out.dtype:
        raise TypeError(f"inputs and out must have one dtype, not {array.dtype} and {out.dtype}: convert one of them")
    if array.ndim != 1 or not array.flags.c_contiguous:
        raise ValueError(
            f"arrays must be contiguous and of one dimension, not of shape {array.shape} and strides "
            f"{array.strides}: array.reshape(-1) makes them so, and copies where it has to"
        )
    if array.size != out.size:
        raise ValueError(f"an input of {array.size} elements and an out of {out.size}: all lengths must be equal")
    if 0 < abs(array.ctypes.data - out.ctypes.data) < out.nbytes:
        raise ValueError("out overlaps an input in part: let it be that input, or memory of its own")
    if not array.flags.aligned:
        raise ValueError(f"an array of {array.dtype} begins at an odd address: pass a copy of it")
