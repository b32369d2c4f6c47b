"""Optimiser steps on NumPy arrays: one sweep over memory, in pieces that a first-level cache holds.

float16 arrays come in as uint16 and bfloat16 as int16, so that the type tells compiled code which it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

import ml_dtypes
import numpy as np
from numba import types as numba_types
from numba.core import extending
from numpy.typing import NDArray

from kernels import norms
from kernels.cpu.compiled import compiled
from kernels.cpu.halves import narrowed, widened
from kernels.formulas import optimise as formulas

__all__ = ["sweep", "trust"]

Array = NDArray[Any]
types = cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", extending.intrinsic)
inlined = cast("Callable[[Any], Any]", extending.register_jitable)

PIECE = 2048
"""Elements: the rounded copy is made from weights that are still in the cache."""

_KINDS: dict[Any, str] = {types.uint16: "float16", types.int16: "bfloat16"}

for _formula in (formulas.times, *formulas.FORMULAS):
    inlined(_formula)


def sweep(
    formula: Callable[..., Any], weights: Array, gradient: Array, state: tuple[Array, ...],
    coefficients: tuple[float, ...], *, scale: float, trust: float | None, update: Array | None, copy: Array | None,
) -> None:  # fmt: skip
    """Apply ``formula`` to every weight and its ``scale``·gradient, in place, or with its first result to ``update``.

    ``trust`` multiplies the first coefficient. ``copy`` gets the new weights, rounded. No two arrays may overlap.
    One pass: each array is read or written once.
    """
    real = weights.dtype.type
    first, *others = (real(number) for number in coefficients)
    numbers = (first if trust is None else first * real(trust), *others)
    loop = _toward(formula) if update is not None else _LOOPS[len(state)](formula)
    arrays = [weights, _bits(gradient), *state, update if update is not None else _bits(copy)]
    loop(*arrays, real(scale), numbers)


def trust(weights: Array, other: Array, coefficients: tuple[float, float, float]) -> float:
    """The ratio of two norms that scales a layer's step. Two arrays read."""
    own, others = norms.number(norms.l2([weights])), norms.number(norms.l2([other]))
    return formulas.trust(own, others, coefficients)


def _bits(array: Array | None) -> Array | None:
    if array is None or array.dtype.itemsize != 2:
        return array
    return array.view(np.int16 if array.dtype == ml_dtypes.bfloat16 else np.uint16)


@intrinsic
def _widened(typing: Any, value: Any) -> Any:
    """A gradient's element as a number that can be computed with."""
    kind = _KINDS.get(value)

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return given[0] if kind is None else widened(builder, kind, given[0])

    return (value if kind is None else types.float32)(value), generate


@intrinsic
def _narrowed(typing: Any, value: Any, like: Any) -> Any:
    """A float32 rounded to the half precision of another element."""
    kind = _KINDS[like]

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return narrowed(builder, kind, given[0])

    return like(value, like), generate


@inlined
def _rounded(copy: Any, part: Any, w: Any) -> None:
    """Round a piece of the weights into the copy, if there is one."""
    if copy is not None:
        half = copy[part]
        for i in range(half.size):
            half[i] = _narrowed(w[i], half[i])


# Slices, for LLVM makes vectors of a loop over 0 .. size - 1, and takes start .. stop - 1 for possibly negative.


@cache
def _stateless(formula: Callable[..., Any]) -> Callable[..., None]:
    @compiled
    def loop(weights: Any, gradient: Any, copy: Any, scale: Any, c: Any) -> None:
        for start in range(0, weights.size, PIECE):
            part = slice(start, start + PIECE)
            w, g = weights[part], gradient[part]
            for i in range(w.size):
                w[i] = formula(w[i], _widened(g[i]) * scale, c)
            _rounded(copy, part, w)

    return loop


@cache
def _with_one(formula: Callable[..., Any]) -> Callable[..., None]:
    @compiled
    def loop(weights: Any, gradient: Any, first: Any, copy: Any, scale: Any, c: Any) -> None:
        for start in range(0, weights.size, PIECE):
            part = slice(start, start + PIECE)
            w, g, a = weights[part], gradient[part], first[part]
            for i in range(w.size):
                w[i], a[i] = formula(w[i], _widened(g[i]) * scale, a[i], c)
            _rounded(copy, part, w)

    return loop


@cache
def _with_two(formula: Callable[..., Any]) -> Callable[..., None]:
    @compiled
    def loop(weights: Any, gradient: Any, first: Any, second: Any, copy: Any, scale: Any, c: Any) -> None:
        for start in range(0, weights.size, PIECE):
            part = slice(start, start + PIECE)
            w, g, a, b = weights[part], gradient[part], first[part], second[part]
            for i in range(w.size):
                w[i], a[i], b[i] = formula(w[i], _widened(g[i]) * scale, a[i], b[i], c)
            _rounded(copy, part, w)

    return loop


@cache
def _toward(formula: Callable[..., Any]) -> Callable[..., None]:
    @compiled
    def loop(weights: Any, gradient: Any, first: Any, second: Any, update: Any, scale: Any, c: Any) -> None:
        for i in range(weights.size):
            g = _widened(gradient[i]) * scale
            update[i], first[i], second[i] = formula(weights[i], g, first[i], second[i], c)

    return loop


_LOOPS = _stateless, _with_one, _with_two
