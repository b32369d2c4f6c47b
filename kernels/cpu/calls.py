"""Compiled reductions as Python calls them: halves shown as uint16, and a refusal turned into words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.cpu import reduce
from kernels.cpu.arrays import HALVES, KINDS, check, plain

__all__ = ["many", "pair", "scaled"]

Array = NDArray[Any]

_BITS = np.dtype(np.uint16)


@cache
def pair(operation: str, dtype: np.dtype[Any]) -> Callable[[Array, Array, Array], None]:
    """``function(left, right, out)`` for arrays of ``dtype``, which is one of KINDS."""
    compiled, half = reduce.pair(operation, KINDS[dtype]), dtype in HALVES

    def combine(left: Array, right: Array, out: Array) -> None:
        try:
            if not half:
                refused = compiled(left, right, out)
            elif left.dtype is dtype and right.dtype is dtype and out.dtype is dtype:
                refused = compiled(left.view(_BITS), right.view(_BITS), out.view(_BITS))
            else:
                refused = True
        except TypeError:
            refused = True
        if refused:
            many(operation, dtype, 2)((left, right), out)

    return combine


@cache
def many(operation: str, dtype: np.dtype[Any], inputs: int) -> Callable[[Sequence[Array], Array], None]:
    """``function(inputs, out)`` for so many inputs; ValueError or TypeError for arrays that do not go together."""
    return _checked(reduce.many, operation, dtype, inputs)


@cache
def scaled(operation: str, dtype: np.dtype[Any], inputs: int) -> Callable[[Sequence[Array], Array, float], None]:
    """``function(inputs, out, scale)`` for the operations with a factor, "average" and "scale_add"."""
    return _checked(reduce.scaled, operation, dtype, inputs)


def _checked(form: Callable[..., Any], operation: str, dtype: np.dtype[Any], inputs: int) -> Callable[..., None]:
    kind, half = KINDS[dtype], dtype in HALVES
    compiled = form(operation, kind, inputs)

    def combine(arrays: Sequence[Array], out: Array, *scale: float) -> None:
        try:
            if not half:
                refused = compiled(tuple(arrays), out, *scale)
            elif out.dtype is dtype and all(array.dtype is dtype for array in arrays):
                refused = compiled(tuple(array.view(_BITS) for array in arrays), out.view(_BITS), *scale)
            else:
                refused = True
        except TypeError:
            refused = True
        if refused:
            check(arrays, out)
            # Nothing is wrong but that an input is read-only, which Numba takes for another type: show all of them so.
            shown = tuple(_read_only(plain(array)) for array in arrays)
            form(operation, kind, inputs, read_only=True)(shown, plain(out), *scale)

    return combine


def _read_only(array: Array) -> Array:
    shown = array.view()
    shown.flags.writeable = False
    return shown
