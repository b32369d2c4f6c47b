"""The norms of ``kernels.norms`` on the CPU; ``tree`` there tells in which order squares are summed.

Largest magnitudes and counts are taken of the bit patterns: without its sign a number is the larger the larger its
pattern is, a NaN comes after infinity, and what is not finite has all bits of the exponent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, cast

import numpy as np
from numba import types as numba_types
from numba.core.extending import overload as numba_overload
from numpy.typing import NDArray

from kernels.cpu.arrays import plain
from kernels.cpu.compiled import compiled_for
from kernels.cpu.halves import bfloat16_to_float32, float16_to_float32

__all__ = ["LANES", "PIECE", "absmax", "l2", "nonfinite", "square_sum"]

PIECE, LANES = 4096, 256
"""Elements that make one partial sum, and the sums side by side that it is made of."""

types = cast("Any", numba_types)
overload = cast("Callable[..., Callable[[Callable[..., Any]], Any]]", numba_overload)

Bits = NDArray[Any]
Sums = NDArray[np.float64]


def square_sum(arrays: Sequence[NDArray[Any]]) -> Sums:
    """Flat arrays to an array of one number."""
    sums = [_pieces(array, squared=True) for array in arrays]
    total = sums[0] if len(sums) == 1 else np.concatenate([np.empty(0), *sums])
    while total.size > 1:
        total = _pieces(total, squared=False)
    return total if total.size else np.zeros(1)


def l2(arrays: Sequence[NDArray[Any]]) -> Sums:
    """Flat arrays to an array of one number."""
    return np.sqrt(square_sum(arrays))


def absmax(arrays: Sequence[NDArray[Any]]) -> Sums:
    """Flat arrays to an array of one number."""
    magnitudes = [np.float64(_magnitude(array)) for array in arrays]
    return np.array([np.max(magnitudes, initial=0.0)])


def nonfinite(arrays: Sequence[NDArray[Any]]) -> Sums:
    """Flat arrays to an array of one number."""
    return np.array([sum(_count(array) for array in arrays)], np.float64)


def _pieces(array: NDArray[Any], *, squared: bool) -> Sums:
    sums = np.empty(-(-array.size // PIECE))
    _tree(array.dtype.name, squared=squared)(plain(array), np.empty(LANES), sums)
    return sums


def _magnitude(array: NDArray[Any]) -> Any:
    """As a number of the array's dtype."""
    patterns = _patterns(array)
    found = _largest(array.itemsize * 8)(patterns, patterns.dtype.type((1 << (array.itemsize * 8 - 1)) - 1))
    return np.array([found], patterns.dtype).view(array.dtype)[0]


def _count(array: NDArray[Any]) -> int:
    patterns = _patterns(array)
    infinity = np.array([np.inf]).astype(array.dtype).view(patterns.dtype)[0]
    return _with_all(array.itemsize * 8)(patterns, infinity)


def _patterns(array: NDArray[Any]) -> NDArray[Any]:
    return array.view(f"u{array.itemsize}")


def _term(element: Any, kind: str, squared: bool) -> float:
    raise NotImplementedError("compiled code calls this, with constants for kind and squared")


@overload(_term, prefer_literal=True)
def _compiled_term(element: Any, kind: Any, squared: Any) -> Any:
    widenings: dict[str, Any] = {"float16": float16_to_float32, "bfloat16": bfloat16_to_float32}
    wide = widenings.get(kind.literal_value, np.float64)

    def itself(element: Any, kind: Any, squared: Any) -> float:
        return np.float64(wide(element))

    def square(element: Any, kind: Any, squared: Any) -> float:
        value = np.float64(wide(element))
        return value * value

    return square if squared.literal_value else itself


@cache
def _tree(kind: str, *, squared: bool) -> Callable[[NDArray[Any], Sums, Sums], None]:
    """``function(values, lanes, sums)``: one sum of (squared) values for each ``PIECE`` of them, in float64.

    ``lanes`` is room for ``LANES`` numbers; ``kind`` is float64, float32, float16 or bfloat16 (these two as uint16).
    """
    number = {"float64": types.float64, "float32": types.float32}.get(kind, types.uint16)

    def sums_of_pieces(values: Any, lanes: Any, sums: Any) -> None:
        for piece in range(sums.size):
            start, end = piece * PIECE, min(piece * PIECE + PIECE, values.size)
            for lane in range(LANES):
                lanes[lane] = 0.0
            while start + LANES <= end:
                for lane in range(LANES):
                    lanes[lane] += _term(values[start + lane], kind, squared)
                start += LANES
            for i in range(start, end):
                lanes[i % LANES] += _term(values[i], kind, squared)
            half = LANES // 2
            while half:
                for lane in range(half):
                    lanes[lane] += lanes[lane + half]
                half //= 2
            sums[piece] = lanes[0]

    sums = types.float64[::1]
    given = types.Array(number, 1, "C", readonly=True)
    return compiled_for(types.void(given, sums, sums), sums_of_pieces)


@cache
def _largest(bits: int) -> Callable[[Bits, int], int]:
    """``function(patterns, mask)``: the largest of some unsigned integers of so many bits, of the bits in the mask."""

    def greatest(patterns: Any, mask: Any) -> int:
        found = patterns.dtype.type(0)
        for i in range(patterns.size):
            found = max(found, patterns[i] & mask)
        return found

    return _of_patterns(bits, greatest)


@cache
def _with_all(bits: int) -> Callable[[Bits, int], int]:
    """``function(patterns, mask)``: how many have all bits of the mask, which are those of the exponent."""

    def count(patterns: Any, mask: Any) -> int:
        found = 0
        for i in range(patterns.size):
            found += (patterns[i] & mask) == mask
        return found

    return _of_patterns(bits, count)


def _of_patterns(bits: int, function: Callable[[Any, Any], int]) -> Callable[[Bits, int], int]:
    number = getattr(types, f"uint{bits}")
    return compiled_for(types.int64(types.Array(number, 1, "C", readonly=True), number), function)
