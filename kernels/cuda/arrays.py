"""Arrays on a device, whoever made them, as the kernels take them; and what is wrong with others."""

from __future__ import annotations

from collections.abc import Sequence

from kernels.cuda.device import current
from kernels.device_array import DeviceArray

__all__ = ["together"]


def together(inputs: Sequence[object], out: object) -> tuple[list[DeviceArray], DeviceArray]:
    """Inputs and result as DeviceArrays without a copy; TypeError or ValueError if they do not go together."""
    *arrays, result = (_shown(array) for array in (*inputs, out))
    for array in arrays:
        if array.dtype != result.dtype:
            raise TypeError(f"inputs and out must have one dtype, not {array.dtype} and {result.dtype}")
        if array.size != result.size:
            raise ValueError(f"an input of {array.size} elements and an out of {result.size}: lengths must be equal")
        if 0 < abs(array.address - result.address) < result.nbytes:
            raise ValueError("out overlaps an input in part: let it be that input, or memory of its own")
    if result.read_only:
        raise ValueError("out is read-only: pass an array that can be written")
    return arrays, result


def _shown(array: object) -> DeviceArray:
    if isinstance(array, DeviceArray):
        return array
    if not hasattr(array, "__cuda_array_interface__"):
        raise TypeError(f"a {type(array).__name__} among arrays on a device: keep inputs and out in one place")
    device = current()
    if device is None:
        raise RuntimeError(f"a {type(array).__name__} lies on a CUDA device, and there is none here")
    return DeviceArray.shown(array, device)
