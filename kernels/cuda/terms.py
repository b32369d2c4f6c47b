"""What a norm takes from each element of an array, and how two of these become one, as LLVM code.

Elements come as bit patterns. Squares and sums are float64; largest magnitudes and counts stay patterns and integers
(see ``kernels.cpu.norms``). Nothing, all bits zero, is neutral to each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

from llvmlite import ir
from numba import types as numba_types

from kernels.cuda.assembly import instruction
from kernels.cuda.halves import HALVES, widened

__all__ = ["TERMS", "Term"]

types = cast("Any", numba_types)

_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()
_BITS: Mapping[str, int] = MappingProxyType({"float64": 64, "float32": 32, "float16": 16, "bfloat16": 16})
_EXPONENTS: Mapping[str, int] = MappingProxyType({"float16": 0x7C00, "bfloat16": 0x7F80})


@dataclass(frozen=True, slots=True)
class Term:
    """For elements of one dtype.

    ``state`` is Numba's type of what is made of them; ``of(builder, pattern)`` makes it, ``merged(builder, one,
    other)`` joins two, ``result(builder, state)`` is the float64 that is written.
    """

    bits: int
    state: Any
    of: Callable[[Any, Any], Any]
    merged: Callable[[Any, Any, Any], Any]
    result: Callable[[Any, Any], Any]


def _squares(kind: str) -> Term:
    """Squares of float32 and halves are exact in float64, so there it does not matter that they may be fused."""

    def square(builder: Any, pattern: Any) -> Any:
        value = _wide(builder, kind, pattern)
        if kind == "float64":
            return instruction(builder, "mul.rn.f64 $0, $1, $1;", _DOUBLE, [value])
        return builder.fmul(value, value)

    return Term(_BITS[kind], types.float64, square, _added, _as_it_is)


def _values(kind: str) -> Term:
    def value(builder: Any, pattern: Any) -> Any:
        return _wide(builder, kind, pattern)

    return Term(_BITS[kind], types.float64, value, _added, _as_it_is)


def _magnitudes(kind: str) -> Term:
    bits = _BITS[kind]

    def magnitude(builder: Any, pattern: Any) -> Any:
        unsigned = _magnitude(builder, pattern)
        return unsigned if bits >= 32 else builder.zext(unsigned, ir.IntType(32))

    def larger(builder: Any, one: Any, other: Any) -> Any:
        return builder.select(builder.icmp_unsigned(">", one, other), one, other)

    def number(builder: Any, state: Any) -> Any:
        return _wide(builder, kind, state if bits >= 32 else builder.trunc(state, ir.IntType(bits)))

    return Term(bits, types.uint64 if bits == 64 else types.uint32, magnitude, larger, number)


def _nonfinite(kind: str) -> Term:
    def counted(builder: Any, pattern: Any) -> Any:
        if kind in HALVES:
            mask = ir.Constant(pattern.type, _EXPONENTS[kind])
            found = builder.icmp_unsigned("==", builder.and_(pattern, mask), mask)
        else:  # of patterns NVVM would load the upper words only, one by one
            number = _DOUBLE if kind == "float64" else _FLOAT
            magnitude = builder.bitcast(_magnitude(builder, pattern), number)
            found = builder.fcmp_unordered(">=", magnitude, ir.Constant(number, float("inf")))
        return builder.zext(found, ir.IntType(32))

    def added(builder: Any, one: Any, other: Any) -> Any:
        return builder.add(one, other)

    def number(builder: Any, state: Any) -> Any:
        return builder.uitofp(state, _DOUBLE)

    return Term(_BITS[kind], types.uint32, counted, added, number)


def _magnitude(builder: Any, pattern: Any) -> Any:
    """The pattern without its sign."""
    return builder.and_(pattern, ir.Constant(pattern.type, (1 << (pattern.type.width - 1)) - 1))


def _added(builder: Any, one: Any, other: Any) -> Any:
    return builder.fadd(one, other)


def _as_it_is(builder: Any, state: Any) -> Any:
    return state


def _wide(builder: Any, kind: str, pattern: Any) -> Any:
    """A pattern as float64."""
    if kind == "float64":
        return builder.bitcast(pattern, _DOUBLE)
    value = widened(builder, kind, pattern)[0] if kind in HALVES else builder.bitcast(pattern, _FLOAT)
    return builder.fpext(value, _DOUBLE)


TERMS: Mapping[str, Callable[[str], Term]] = MappingProxyType(
    {"squares": _squares, "values": _values, "magnitudes": _magnitudes, "nonfinite": _nonfinite}
)
