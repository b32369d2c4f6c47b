"""Arrays on a device, whoever made them, as the kernels take them; and what is wrong with others."""

from __future__ import annotations

from collections.abc import Sequence

from kernels.device_array import DeviceArray

__all__ = ["together"]


def together(inputs: Sequence[object], out: object) -> tuple[list[DeviceArray], DeviceArray]:
    """Inputs and result as DeviceArrays without a copy; TypeError or ValueError if they do not go together."""
    *arrays, result = (DeviceArray.here(array) for array in (*inputs, out))
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
