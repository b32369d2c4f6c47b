"""float16 and bfloat16 for compiled code: Numba's CPU target knows neither, so both are bit patterns in uint16.

``widened`` and ``narrowed`` write LLVM code for a number or for a vector of them, which the kernels build on; the four
functions between them are what other compiled code calls. Both narrow to nearest, ties to even (IEEE 754-2019, section
4.3.1): overflow gives infinity, subnormals are kept, a NaN stays a NaN. float16 is converted by the processor
(F16C, AVX-512, NEON) if it can; bfloat16, the upper half of a float32, by integers, for AVX512_BF16 drops subnormals.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, cast

from llvmlite import ir
from numba import types as numba_types
from numba.core import registry
from numba.core.extending import intrinsic as numba_intrinsic

from kernels.cpu import float16_words
from kernels.cpu.float16_words import constant, like

__all__ = ["HALVES", "bfloat16_to_float32", "float16_to_float32", "float32_to_bfloat16", "float32_to_float16",
           "narrowed", "widened"]  # fmt: skip

types = cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)

HALVES = "float16", "bfloat16"


def widened(builder: Any, kind: str, bits: Any) -> Any:
    """Code that makes float32 of the int16 pattern(s) of ``kind``; exact."""
    if kind == "float16" and not _by_processor():
        return float16_words.widened(builder, bits)
    if kind == "float16":
        return builder.fpext(builder.bitcast(bits, like(bits.type, ir.HalfType())), like(bits.type, ir.FloatType()))
    word = like(bits.type, ir.IntType(32))
    upper = builder.shl(builder.zext(bits, word), constant(word, 16))
    return builder.bitcast(upper, like(bits.type, ir.FloatType()))


def narrowed(builder: Any, kind: str, value: Any) -> Any:
    """Code that rounds float32 to the int16 pattern(s) of ``kind``."""
    short = like(value.type, ir.IntType(16))
    if kind == "float16" and not _by_processor():
        return float16_words.narrowed(builder, value)
    if kind == "float16":
        return builder.bitcast(builder.fptrunc(value, like(value.type, ir.HalfType())), short)
    word = like(value.type, ir.IntType(32))
    bits, sixteen = builder.bitcast(value, word), constant(word, 16)
    odd = builder.and_(builder.lshr(bits, sixteen), constant(word, 1))
    rounded = builder.add(bits, builder.add(odd, constant(word, 0x7FFF)))
    quiet = builder.or_(bits, constant(word, 0x400000))  # rounding could carry a NaN's mantissa into infinity
    chosen = builder.select(builder.fcmp_unordered("uno", value, value), quiet, rounded)
    return builder.trunc(builder.lshr(chosen, sixteen), short)


@cache
def _by_processor() -> bool:
    """Whether the processor that Numba compiles for converts float16."""
    triple, _, features = cast("Any", registry).cpu_target.target_context.codegen().magic_tuple()
    return not triple.startswith("x86") or "+f16c" in features.split(",")


@intrinsic
def float16_to_float32(typing: Any, bits: Any) -> Any:
    """The float32 of a float16 given as uint16."""
    return _conversion(bits, types.uint16, types.float32, widened, "float16")


@intrinsic
def float32_to_float16(typing: Any, value: Any) -> Any:
    """The float16 nearest to a float32, as uint16."""
    return _conversion(value, types.float32, types.uint16, narrowed, "float16")


@intrinsic
def bfloat16_to_float32(typing: Any, bits: Any) -> Any:
    """The float32 of a bfloat16 given as uint16."""
    return _conversion(bits, types.uint16, types.float32, widened, "bfloat16")


@intrinsic
def float32_to_bfloat16(typing: Any, value: Any) -> Any:
    """The bfloat16 nearest to a float32, as uint16."""
    return _conversion(value, types.float32, types.uint16, narrowed, "bfloat16")


def _conversion(given: Any, source: Any, result: Any, write: Callable[[Any, str, Any], Any], kind: str) -> Any:
    """What an intrinsic answers: its signature and its code, or None for an argument of another type."""
    if given != source:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return write(builder, kind, arguments[0])

    return result(source), generate
