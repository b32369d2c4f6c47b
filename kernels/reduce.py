"""Reductions, elementwise on arrays: the operations that MPI predefines, averages, and scale-and-add.

``reduction(left, right, out)`` folds two arrays and ``reduction.fold(inputs, out)`` any number, each input read once;
``average`` and ``scale_add`` multiply by a factor on the way. NumPy arrays are reduced here, in compiled code
(``kernels.cpu``) or by NumPy's ufunc where that is as good; arrays on a device there (``kernels.cuda``), queued on
their stream.

Integers wrap around. float16 and bfloat16 are computed in float32, over all inputs in the order given, and rounded to
nearest even once. A factor is rounded to the type that is computed in, and nothing is fused: product, then sum.
NaN: ``min`` and ``max`` (and ``minloc``, ``maxloc``) give NaN where any input is NaN, as ``numpy.minimum`` does; MPI
leaves that open, and we leave open which NaN, and which of two zeros. Compiled code gives no floating-point warnings;
those of NumPy's ufuncs are the caller's choice (``numpy.errstate``).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from kernels.cpu.arrays import KINDS, check, last_cache

__all__ = ["Reduction", "average", "get", "names", "scale", "scale_add"]

Numbers = NDArray[Any]

Array = Any
"""A NumPy array, a DeviceArray, or what shows memory on a device by ``__cuda_array_interface__``."""


_FAR = last_cache()
"""Bytes from which on compiled code, which writes past the caches, is worth the half second in which it is loaded."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """``reduction(left, right, out)`` computes ``out[:] = left ∘ right`` elementwise.

    The arrays are 1-D, contiguous, of one dtype and one length, all in one place; ``out`` may be an input, but must
    not overlap one in part. ``kinds`` are NumPy's letters of the dtypes that MPI defines the operation for, "p" for
    a pair; ``ready`` are the characters of those for which NumPy's ufunc will do: as fast in place, but for truth
    values of integers, which are too rare to load a compiler for.
    All are associative (floating point: up to rounding) and commutative.
    Cost: one pass over memory, 2 reads and 1 write an element; no array is made.
    """

    name: str
    function: Callable[..., object]
    kinds: str
    ready: str
    commutative: bool = True

    def __call__(self, left: Array, right: Array, out: Array) -> None:
        """Compute ``out[:] = left ∘ right``."""
        if type(out) is not np.ndarray:
            self.fold((left, right), out)
        # A process that only adds float32 in place should not wait half a second for the compiler to be loaded.
        elif out.dtype.char in self.ready and (out.nbytes < _FAR or out is left or out is right):
            self.function(left, right, out=out)  # by keyword: NumPy is retiring the third position
        else:
            self.on(out.dtype)(left, right, out)

    def fold(self, inputs: Sequence[Array], out: Array) -> None:
        """Compute ``out[:] = inputs[0] ∘ inputs[1] ∘ ...``, from the left; of one input, a copy.

        Cost for k inputs: k reads and 1 write an element. Compiled once for each dtype and k, and kept on disk.
        TypeError or ValueError for arrays that do not go together.
        """
        if _on_host(out):
            _folding(self.name, out.dtype, len(inputs))(inputs, out)
            return
        from kernels.cuda import arrays, reduce

        given, result = arrays.together(inputs, out)
        known = result.dtype in KINDS or result.dtype.names is not None
        if not known or not self.supports(result.dtype):
            raise TypeError(f"{self.name} is not defined for {result.dtype} on a device")
        reduce.fold(self.name, given, result)

    def on(self, dtype: np.dtype[Any]) -> Callable[[Numbers, Numbers, Numbers], None]:
        """The same as ``reduction(left, right, out)`` for NumPy arrays of one dtype: for a caller with many calls.

        Compiled code if there is some for the dtype, loaded now; its calls take half of the time of a ufunc's.
        """
        return _function(self.name, dtype)

    def supports(self, dtype: np.dtype[Any]) -> bool:
        """Whether MPI defines the operation for such a dtype (float16 and bfloat16 count as floating point)."""
        return _kind(dtype) in self.kinds


def average(inputs: Sequence[Array], out: Array) -> None:
    """``out[:] = (inputs[0] + inputs[1] + ...) * (1 / k)`` of k inputs, floating point or complex, in one pass.

    Within 1.5 units in the last place of the quotient that the same sum has: a reciprocal, unlike a division, costs
    no time beside the memory. The rest is as for ``Reduction.fold``. Cost: k reads and 1 write an element.
    """
    if not inputs:
        raise ValueError("there is nothing to average: pass at least one input")
    _scaled("average", inputs, out, 1 / len(inputs))


def scale_add(left: Array, right: Array, scale: float, out: Array) -> None:
    """``out[:] = left + scale * right`` for numbers; an integer dtype takes an integer ``scale`` within its range.

    ``out`` may be an input. Cost: 2 reads and 1 write an element.
    """
    _scaled("scale_add", (left, right), out, scale)


def scale(array: Array, factor: float, out: Array) -> None:
    """``out[:] = factor * array``, floating point or complex; ``out`` may be the array. Cost: 1 read and 1 write."""
    _scaled("average", (array,), out, factor)


def get(name: str) -> Reduction:
    """The reduction called ``name``; a KeyError lists the known names."""
    if name not in REDUCTIONS:
        raise KeyError(f"no reduction is called {name!r}; known: {', '.join(REDUCTIONS)}")
    return REDUCTIONS[name]


def names() -> list[str]:
    """All names, in MPI's order."""
    return list(REDUCTIONS)


def _on_host(array: Array) -> TypeGuard[Numbers]:
    return isinstance(array, np.ndarray)


@cache
def _function(name: str, dtype: np.dtype[Any]) -> Callable[[Numbers, Numbers, Numbers], None]:
    reduction = get(name)
    if not reduction.supports(dtype):
        raise TypeError(f"{name} is not defined for {dtype}")
    if dtype in KINDS:
        from kernels.cpu import calls

        return calls.pair(name, dtype)

    def by_numpy(left: Numbers, right: Numbers, out: Numbers) -> None:
        reduction.function(left, right, out=out)

    return by_numpy


@cache
def _folding(name: str, dtype: np.dtype[Any], inputs: int) -> Callable[[Sequence[Numbers], Numbers], None]:
    """What folds so many NumPy arrays."""
    reduction = get(name)
    if not inputs:
        raise ValueError("there is nothing to reduce: pass at least one input")
    if not reduction.supports(dtype):
        raise TypeError(f"{name} is not defined for {dtype}")
    if dtype not in KINDS:
        return partial(_fold_in_turn, reduction.function)
    from kernels.cpu import calls

    return calls.many(name, dtype, inputs)


def _fold_in_turn(function: Callable[..., object], inputs: Sequence[Numbers], out: Numbers) -> None:
    """For what NumPy alone knows, such as pairs: one after the other, then a copy, for ``out`` may be an input."""
    check(inputs, out)
    total = inputs[0].copy()
    for array in inputs[1:]:
        function(total, array, out=total)
    np.copyto(out, total)


def _scaled(name: str, inputs: Sequence[Array], out: Array, scale: float) -> None:
    if _on_host(out):
        _scaling(name, out.dtype, len(inputs))(inputs, out, scale)
        return
    from kernels.cuda import arrays, reduce

    given, result = arrays.together(inputs, out)
    reduce.fold(name, given, result, _factor(name, result.dtype)(scale))


@cache
def _scaling(name: str, dtype: np.dtype[Any], inputs: int) -> Callable[[Sequence[Numbers], Numbers, float], None]:
    """What folds so many NumPy arrays with a factor."""
    factor = _factor(name, dtype)
    from kernels.cpu import calls

    run = calls.scaled(name, dtype, inputs)
    return lambda arrays, out, scale: run(arrays, out, factor(scale))


def _factor(name: str, dtype: np.dtype[Any]) -> Callable[[float], float]:
    """What makes a number fit to multiply elements by; TypeError for a dtype that is not multiplied."""
    kind = _kind(dtype)
    if dtype not in KINDS or kind not in ("fc" if name == "average" else "iufc"):  # no average of integers is one
        raise TypeError(f"{name} is not defined for {dtype}: convert to floating point of at most 64 bits")
    return float if kind in "fc" else partial(_within, dtype=dtype)


def _within(scale: Any, dtype: np.dtype[Any]) -> int:
    """An integer factor as the int64 of the same low bits; OverflowError beyond the dtype's range."""
    return int(dtype.type(operator.index(scale)).astype(np.int64))


@cache
def _kind(dtype: np.dtype[Any]) -> str:
    """NumPy's letter for the kind of a dtype; "f" for bfloat16 too, "p" for a pair of number and integer index."""
    if dtype.names is not None:
        kinds = [_kind(dtype[name]) for name in dtype.names]
        return "p" if len(kinds) == 2 and kinds[0] in "iuf" and kinds[1] in "iu" else "V"
    return "f" if dtype.name == "bfloat16" else dtype.kind


def _locate(left: Numbers, right: Numbers, *, out: Numbers, precedes: np.ufunc) -> None:
    """The pair whose value comes first; of equal values (and of NaNs, which come before all) the lower index."""
    # only NaN differs from itself
    value, index = left.dtype.names or ("", "")
    mine, other = left[value], right[value]
    right_wins = precedes(other, mine) | ((other != other) & (mine == mine))
    tied = (mine == other) | ((mine != mine) & (other != other))
    right_wins |= tied & (right[index] < left[index])
    np.copyto(out, np.where(right_wins, right, left))


_INTEGERS, _FLOATS, _COMPLEX = "bBhHiIlLqQ", "fdg", "FDG"

REDUCTIONS: Mapping[str, Reduction] = MappingProxyType(
    {
        reduction.name: reduction
        for reduction in (
            Reduction("max", np.maximum, "iuf", _INTEGERS + _FLOATS),
            Reduction("min", np.minimum, "iuf", _INTEGERS + _FLOATS),
            Reduction("sum", np.add, "iufc", _INTEGERS + _FLOATS + _COMPLEX),
            Reduction("prod", np.multiply, "iufc", _INTEGERS + _FLOATS + _COMPLEX),
            Reduction("land", np.logical_and, "iub", _INTEGERS + "?"),
            Reduction("band", np.bitwise_and, "iu", _INTEGERS),
            Reduction("lor", np.logical_or, "iub", _INTEGERS + "?"),
            Reduction("bor", np.bitwise_or, "iu", _INTEGERS),
            Reduction("lxor", np.logical_xor, "iub", _INTEGERS + "?"),
            Reduction("bxor", np.bitwise_xor, "iu", _INTEGERS),
            Reduction("minloc", partial(_locate, precedes=np.less), "p", "V"),
            Reduction("maxloc", partial(_locate, precedes=np.greater), "p", "V"),
        )
    }
)
