"""float16 without the processor's conversions, by integer arithmetic on float32 patterns, on one number or a vector.

For processors, and for NUMBA_CPU_NAME=generic, without F16C: LLVM would call functions there that Numba does not have.
Widening: the 15 bits, shifted into place and multiplied by 2^112, which sets the exponent right and is exact for
subnormals too. Narrowing: by hand to nearest even, for subnormals by the addition of 0.5, whose last place is theirs.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

__all__ = ["constant", "like", "narrowed", "widened"]

_INFINITY = 0x7F800000  # as float32, like all of these
_BEYOND = 143 << 23  # 2^16
_NORMAL = 113 << 23  # 2^-14
_HALF = 126 << 23  # 0.5


def widened(builder: Any, bits: Any) -> Any:
    """Code that makes float32 of the int16 pattern(s)."""
    word, number = like(bits.type, ir.IntType(32)), like(bits.type, ir.FloatType())
    given = builder.zext(bits, word)
    magnitude = builder.shl(builder.and_(given, constant(word, 0x7FFF)), constant(word, 13))
    scaled = builder.fmul(builder.bitcast(magnitude, number), constant(number, 2.0**112))
    special = builder.icmp_unsigned(">=", magnitude, constant(word, 0x7C00 << 13))
    exponent = builder.select(special, constant(word, _INFINITY), constant(word, 0))
    sign = builder.shl(builder.and_(given, constant(word, 0x8000)), constant(word, 16))
    return builder.bitcast(builder.or_(builder.or_(builder.bitcast(scaled, word), exponent), sign), number)


def narrowed(builder: Any, value: Any) -> Any:
    """Code that rounds float32 to the int16 pattern(s)."""
    word, number = like(value.type, ir.IntType(32)), value.type
    bits = builder.bitcast(value, word)
    magnitude = builder.and_(bits, constant(word, 0x7FFFFFFF))
    odd = builder.and_(builder.lshr(magnitude, constant(word, 13)), constant(word, 1))
    rounded = builder.add(builder.add(magnitude, odd), constant(word, (0xFFF - (112 << 23)) & 0xFFFFFFFF))
    normal = builder.lshr(rounded, constant(word, 13))
    lifted = builder.fadd(builder.bitcast(magnitude, number), constant(number, 0.5))
    subnormal = builder.sub(builder.bitcast(lifted, word), constant(word, _HALF))
    nan = builder.icmp_unsigned(">", magnitude, constant(word, _INFINITY))
    beyond = builder.select(nan, constant(word, 0x7E00), constant(word, 0x7C00))
    below = builder.icmp_unsigned("<", magnitude, constant(word, _NORMAL))
    finite = builder.select(below, subnormal, normal)
    result = builder.select(builder.icmp_unsigned(">=", magnitude, constant(word, _BEYOND)), beyond, finite)
    sign = builder.lshr(builder.and_(bits, constant(word, 0x80000000)), constant(word, 16))
    return builder.trunc(builder.or_(result, sign), like(value.type, ir.IntType(16)))


def like(shape: Any, element: Any) -> Any:
    """``element``, or a vector of as many as ``shape`` is."""
    count = getattr(shape, "count", None)  # only a vector type has one
    return element if count is None else ir.VectorType(element, count)


def constant(shape: Any, value: float) -> Any:
    """The number in every place."""
    count = getattr(shape, "count", None)
    return ir.Constant(shape, value if count is None else [value] * count)
