"""float32 as bit patterns in compiled code, and patterns in messages at any address."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import njit
from numba import types as numba_types
from numba.core.extending import intrinsic as numba_intrinsic

__all__ = ["INFINITY", "MAGNITUDE", "bits_of", "float_of", "get32", "put32"]

types = cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)

MAGNITUDE = np.uint32(0x7FFFFFFF)
"""All bits of a float32 but its sign: as whole numbers, larger magnitudes are larger, and NaNs largest of all."""

INFINITY = np.uint32(0x7F800000)


@intrinsic
def bits_of(typing: Any, value: Any) -> Any:
    """The pattern of a float32, as uint32."""
    return _bitcast(value, types.float32, types.uint32, ir.IntType(32))


@intrinsic
def float_of(typing: Any, bits: Any) -> Any:
    """The float32 of a pattern."""
    return _bitcast(bits, types.uint32, types.float32, ir.FloatType())


def _bitcast(given: Any, source: Any, result: Any, kind: Any) -> Any:
    if given != source:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], kind)

    return result(source), generate


@cast("Any", njit)
def get32(data: Any, at: int) -> Any:
    """The uint32 in bytes ``at .. at + 3`` of uint8, lowest first; the compiler makes one load of it."""
    low = np.uint32(data[at]) | np.uint32(data[at + 1]) << np.uint32(8)
    return np.uint32(low | np.uint32(data[at + 2]) << np.uint32(16) | np.uint32(data[at + 3]) << np.uint32(24))


@cast("Any", njit)
def put32(data: Any, at: int, bits: Any) -> None:
    """Write a uint32 to bytes ``at .. at + 3``, lowest first."""
    for byte in range(4):
        data[at + byte] = np.uint8(bits >> np.uint32(8 * byte) & np.uint32(255))
