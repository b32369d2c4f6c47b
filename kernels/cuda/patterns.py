"""float32 as bit patterns on a CUDA device, whole numbers as float32, and words at any address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import cuda as numba_cuda
from numba import types as numba_types
from numba.cuda.extending import intrinsic as numba_intrinsic

from kernels.cuda.assembly import instruction
from kernels.cuda.vector import lanes

__all__ = [
    "INFINITY", "MAGNITUDE", "add_at", "bits_of", "float_of", "get32", "lower_whole", "nearest_whole", "on_device",
    "put32",
]  # fmt: skip

types = cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)
on_device = cast("Any", numba_cuda).jit(device=True)

MAGNITUDE, INFINITY = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)

_FLOAT, _WORD = ir.FloatType(), ir.IntType(32)
_BYTE = lanes("uint8")
_get, _put = _BYTE.one, _BYTE.put


@intrinsic
def bits_of(typing: Any, value: Any) -> Any:
    """The pattern of a float32, as uint32."""
    return _made(value, types.float32, types.uint32, lambda builder, given: builder.bitcast(given, _WORD))


@intrinsic
def float_of(typing: Any, bits: Any) -> Any:
    """The float32 of a pattern."""
    return _made(bits, types.uint32, types.float32, lambda builder, given: builder.bitcast(given, _FLOAT))


@intrinsic
def nearest_whole(typing: Any, value: Any) -> Any:
    """The whole number nearest to a float32, ties to even, as float32."""
    return _made(value, types.float32, types.float32, _rounded("cvt.rni.f32.f32 $0, $1;"))


@intrinsic
def lower_whole(typing: Any, value: Any) -> Any:
    """The largest whole number that is not above a float32, as float32."""
    return _made(value, types.float32, types.float32, _rounded("cvt.rmi.f32.f32 $0, $1;"))


@intrinsic
def add_at(typing: Any, address: Any, number: Any) -> Any:
    """Add to the uint32 at an address in global memory, whoever else does so at the same time."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = builder.inttoptr(arguments[0], _WORD.as_pointer(1))
        builder.atomic_rmw("add", place, arguments[1], "monotonic")
        return context.get_dummy_value()

    return types.void(types.int64, types.uint32), generate


@on_device
def get32(address: int) -> Any:
    """The uint32 at any address, lowest byte first."""
    low = np.uint32(_get(address)) | np.uint32(_get(address + 1)) << np.uint32(8)
    high = np.uint32(_get(address + 2)) << np.uint32(16) | np.uint32(_get(address + 3)) << np.uint32(24)
    return np.uint32(low | high)


@on_device
def put32(address: int, word: Any) -> None:
    """Write a uint32 to any address, lowest byte first."""
    for byte in range(4):
        _put(address + byte, np.uint8(word >> np.uint32(8 * byte) & np.uint32(255)))


def _rounded(text: str) -> Callable[[Any, Any], Any]:
    return lambda builder, given: instruction(builder, text, _FLOAT, [given])


def _made(given: Any, source: Any, result: Any, write: Callable[[Any, Any], Any]) -> Any:
    """What an intrinsic of one argument answers."""
    if given != source:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return write(builder, arguments[0])

    return result(source), generate
