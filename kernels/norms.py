"""Sum of squares, Euclidean norm, largest magnitude and count of what is not finite, over one array or several.

They serve gradient clipping by global norm, trust ratios and loss scaling. NumPy arrays are read by compiled code,
arrays on a device by its kernels, whose answer stays there: one float64 as an array of length 1, so that nothing waits.
``number`` fetches it. Arrays are float64, float32, float16 or bfloat16, contiguous, of any shape; none is also fine.

The sum has one order, whatever the processor, and so the same bits in every run and in both forms. Each array is cut
into pieces of 4,096 elements. In a piece, element i goes to lane i mod 256, which adds its squares in ascending order;
then lane j takes lane j + 128, then j + 64, ... then j + 1. The sums of all pieces of all arrays, in order, are summed
in the same manner (without squaring) until one is left. Squares and sums are float64: for n < 2^36 elements a relative
error of at most 64·2^-53, as no square passes more than 16 + 8 additions a level (Higham 2002, section 4.2). Squares
of float32 and halves are exact and can neither overflow nor vanish; those of float64 beyond about 1e154 give infinity.

Cost: one pass over the memory, and 1/512 of it again for float32's piece sums.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernels.device_array import DeviceArray

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["absmax", "l2", "nonfinite", "number", "square_sum"]

DTYPES = "float64", "float32", "float16", "bfloat16"


def square_sum(arrays: Sequence[Any]) -> Any:
    """The sum of the squares of all elements; NaN if there is one."""
    form, flat = _flat(arrays)
    return form.square_sum(flat)


def l2(arrays: Sequence[Any]) -> Any:
    """The square root of ``square_sum``, rounded to nearest."""
    form, flat = _flat(arrays)
    return form.l2(flat)


def absmax(arrays: Sequence[Any]) -> Any:
    """The largest magnitude, exact; NaN if there is one, and 0 of no elements."""
    form, flat = _flat(arrays)
    return form.absmax(flat)


def nonfinite(arrays: Sequence[Any]) -> Any:
    """How many elements are infinite or NaN."""
    form, flat = _flat(arrays)
    return form.nonfinite(flat)


def number(result: Any) -> float:
    """What one of the functions above returned, as a number of Python: waits for the device if it lies on one."""
    if not isinstance(result, DeviceArray):
        return float(result[0])
    here = np.empty(1, np.float64)
    result.device.copy_out(here, result, result.stream)
    result.device.synchronize(result.stream)
    return float(here[0])


def _flat(arrays: Sequence[Any]) -> tuple[ModuleType, list[Any]]:
    """The form that computes, and the arrays in one dimension."""
    on_host = [isinstance(array, np.ndarray) for array in arrays]
    if all(on_host):
        return _cpu(), [_flat_on_host(array) for array in arrays]
    if any(on_host):
        raise TypeError("some arrays are NumPy's and some are on a device: bring them to one place first")
    from kernels.cuda import norms

    return norms, [_flat_on_device(array) for array in arrays]


def _flat_on_host(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.name not in DTYPES:
        raise TypeError(_wanted(array.dtype))
    if not array.flags.c_contiguous or not array.flags.aligned:
        raise ValueError("norms want a contiguous array at an address of its dtype: pass a contiguous copy")
    return array.reshape(-1)


def _flat_on_device(array: Any) -> DeviceArray:
    array = DeviceArray.here(array)
    if array.dtype.name not in DTYPES:
        raise TypeError(_wanted(array.dtype))
    if array.address % array.dtype.itemsize:
        raise ValueError("norms want an array at an address of its dtype: pass a copy")
    return array


def _wanted(dtype: np.dtype[Any]) -> str:
    return f"norms are for {', '.join(DTYPES)}, not {dtype.name}; complex arrays can be viewed as their real parts"


@cache
def _cpu() -> ModuleType:
    from kernels.cpu import norms  # compiled code: loaded by the first call, not by an import

    return norms
