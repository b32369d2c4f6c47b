"""Reductions of one or more arrays in one pass, in vector instructions whatever memory the arrays share.

The code is written in vectors rather than left to the compiler's vectoriser: where ``out`` may be one of the inputs,
that one goes element by element. Each block is read before it is written, so ``out`` may be an input, but must not
overlap one in part.

Where the arrays fill half of the last cache, a result that lies apart from the inputs is stored past the caches
(non-temporally), for a plain store reads each line before it writes it. So the traffic for k inputs of n bytes is
(k + 1)·n there, as it is in place; with plain stores it would be (k + 2)·n.

The functions are compiled for one dtype and number of inputs, and refuse arrays of any other, of more than one
dimension or not contiguous by a TypeError. They answer one of the codes below; other than FINE, nothing was written.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from numba import types as numba_types
from numba.core.extending import overload as numba_overload

from kernels.cpu.arithmetic import kind_of
from kernels.cpu.arrays import last_cache
from kernels.cpu.compiled import compiled_for
from kernels.cpu.vectors import address, fence, sweep

__all__ = ["FINE", "LENGTHS_DIFFER", "OVERLAPS", "many", "pair", "scaled"]

types = cast("Any", numba_types)
overload = cast("Callable[..., Callable[[Callable[..., Any]], Any]]", numba_overload)

FINE, LENGTHS_DIFFER, OVERLAPS = range(3)

_BLOCK, _STEP, _LINE = 128, 16, 64
"""Bytes: of a vector in the body, of one behind it, and of a line of cache, which stores past the caches fill."""


@cache
def pair(operation: str, kind: str, *, read_only: bool = False) -> Callable[[Any, Any, Any], int]:
    """``function(left, right, out)``: ``out = left ∘ right``; halves are given as uint16."""
    far, array, given = last_cache() // 2, _array(kind), _array(kind, read_only=read_only)

    def reduce(left: Any, right: Any, out: Any) -> int:
        return _fold(operation, kind, far, (left, right), out, 1.0)

    return compiled_for(types.int64(given, given, array), reduce)


@cache
def many(operation: str, kind: str, inputs: int, *, read_only: bool = False) -> Callable[[tuple[Any, ...], Any], int]:
    """``function(inputs, out)``: ``out = inputs[0] ∘ inputs[1] ∘ ...``, from the left; each input is read once."""
    far, array, given = last_cache() // 2, _array(kind), _array(kind, read_only=read_only)

    def reduce(inputs: Any, out: Any) -> int:
        return _fold(operation, kind, far, inputs, out, 1.0)

    return compiled_for(types.int64(types.UniTuple(given, inputs), array), reduce)


@cache
def scaled(
    operation: str, kind: str, inputs: int, *, read_only: bool = False
) -> Callable[[tuple[Any, ...], Any, float], int]:
    """``function(inputs, out, scale)`` for "average" (the sum times scale) and "scale_add" (left + scale * right)."""
    far, array, given = last_cache() // 2, _array(kind), _array(kind, read_only=read_only)
    number = types.float64 if kind_of(kind).real else types.int64

    def reduce(inputs: Any, out: Any, scale: Any) -> int:
        return _fold(operation, kind, far, inputs, out, scale)

    return compiled_for(types.int64(types.UniTuple(given, inputs), array, number), reduce)


def _array(kind: str, *, read_only: bool = False) -> Any:
    names = {"float16": "uint16", "bfloat16": "uint16", "bool": "boolean"}
    return types.Array(getattr(types, names.get(kind, kind)), 1, "C", readonly=read_only)


def _fold(operation: str, kind: str, far: int, inputs: tuple[Any, ...], out: Any, scale: float) -> int:
    raise NotImplementedError("compiled code calls this; Python calls what pair, many and scaled return")


@overload(_fold, prefer_literal=True)
def _compiled_fold(operation: Any, kind: Any, far: Any, inputs: Any, out: Any, scale: Any) -> Any:
    about = kind_of(kind.literal_value)
    itemsize = about.bits * about.numbers // 8
    block, step = _BLOCK // itemsize, _STEP // itemsize

    def fold(operation: Any, kind: Any, far: Any, inputs: Any, out: Any, scale: Any) -> int:
        size, place, apart = out.size, address(out), True
        for array in inputs:
            distance = abs(address(array) - place)
            if array.size != size:
                return LENGTHS_DIFFER
            if 0 < distance < out.nbytes:
                return OVERLAPS
            apart = apart and distance > 0
        i = sweep(operation, kind, 1, False, inputs, out, 0, min(size, -place % _STEP // itemsize), scale)
        i = sweep(operation, kind, step, False, inputs, out, i, min(size, -place % _LINE // itemsize), scale)
        if apart and (len(inputs) + 1) * out.nbytes >= far and (place + i * itemsize) % _LINE == 0:
            i = sweep(operation, kind, block, True, inputs, out, i, size, scale)
            fence()
        i = sweep(operation, kind, block, False, inputs, out, i, size, scale)
        i = sweep(operation, kind, step, False, inputs, out, i, size, scale)
        sweep(operation, kind, 1, False, inputs, out, i, size, scale)
        return FINE

    return fold
