"""Whether there is a CUDA device, asked of the driver's library alone: no context, no import of Numba."""

from __future__ import annotations

import ctypes
from functools import cache

__all__ = ["count", "driver"]


@cache
def driver() -> ctypes.CDLL | None:
    """The CUDA driver's library, started; None where there is none, or no device behind it."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return library if library.cuInit(0) == 0 else None


@cache
def count() -> int:
    """The number of CUDA devices: 0 without a driver. Starts the driver's library, but makes no context."""
    library = driver()
    found = ctypes.c_int(0)
    if library is None or library.cuDeviceGetCount(ctypes.byref(found)) != 0:
        return 0
    return found.value
