"""Compiled reductions as Python calls them: halves shown as uint16, and a refusal turned into words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.cpu import reduce
from kernels.cpu.arrays import HALVES, KINDS, check, plain

__all__ = ["fold", "pair", "scaled"]

Array = NDArray[Any]


@cache
def pair(operation: str, dtype: np.dtype[Any]) -> Callable[[Array, Array, Array], None]:
    """``function(left, right, out)`` for arrays of ``dtype``, which is one of KINDS."""
    compiled, half, bits = reduce.pair(operation, KINDS[dtype]), dtype in HALVES, np.dtype(np.uint16)

    def combine(left: Array, right: Array, out: Array) -> None:
        try:
            if not half:
                refused = compiled(left, right, out)
            elif left.dtype == right.dtype == out.dtype == dtype:
                refused = compiled(left.view(bits), right.view(bits), out.view(bits))
            else:
                refused = True
        except TypeError:
            refused = True
        if refused:
            fold(operation, (left, right), out)

    return combine


def fold(operation: str, inputs: Sequence[Array], out: Array) -> None:
    """``out = inputs[0] ∘ inputs[1] ∘ ...``; ValueError or TypeError for arrays that do not go together."""
    _call(reduce.many, operation, inputs, out)


def scaled(operation: str, inputs: Sequence[Array], out: Array, scale: float) -> None:
    """The same for the operations with a factor, "average" and "scale_add"."""
    _call(reduce.scaled, operation, inputs, out, scale)


def _call(form: Callable[..., Any], operation: str, inputs: Sequence[Array], out: Array, *scale: float) -> None:
    kind, half = KINDS[out.dtype], out.dtype in HALVES
    if half and any(array.dtype != out.dtype for array in inputs):
        check(inputs, out)  # as uint16 they would look alike
    arrays = tuple(plain(array) for array in inputs) if half else tuple(inputs)
    compiled = form(operation, kind, len(arrays))
    try:
        refused = compiled(arrays, plain(out), *scale)
    except TypeError:
        refused = True
    if refused:
        check(inputs, out)
        # Nothing is wrong but that an input is read-only, which Numba takes for another type: show all of them so.
        form(operation, kind, len(arrays), read_only=True)(tuple(map(_read_only, arrays)), plain(out), *scale)


def _read_only(array: Array) -> Array:
    shown = array.view()
    shown.flags.writeable = False
    return shown
