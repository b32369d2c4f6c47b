"""float16 and bfloat16 on a CUDA device, as bit patterns: one in a uint16, or two in a uint32, the first one lower.

``widened`` and ``narrowed`` write LLVM code, which the kernels build on; the others are device functions for code in
Numba. Narrowing is to nearest, ties to even (IEEE 754-2019, section 4.3.1): overflow gives infinity, subnormals are
kept, a NaN becomes the NaN 0x7fff. All are single instructions from sm_80 on, but for bfloat16's widening, a shift.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from llvmlite import ir
from numba import types as numba_types
from numba.core import cgutils
from numba.cuda.extending import intrinsic as numba_intrinsic

from kernels.cuda.assembly import instruction

__all__ = [
    "HALVES", "bfloat16_to_float32", "bfloat16x2_to_float32", "float16_to_float32", "float16x2_to_float32",
    "float32_to_bfloat16", "float32_to_bfloat16x2", "float32_to_float16", "float32_to_float16x2", "narrowed", "widened",
]  # fmt: skip

HALVES = {"float16": "f16", "bfloat16": "bf16"}
"""The two, and what PTX calls them."""

types = cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)

_SHORT, _WORD, _FLOAT = ir.IntType(16), ir.IntType(32), ir.FloatType()


def widened(builder: Any, kind: str, bits: Any) -> list[Any]:
    """Code that makes float32 of the one pattern in an i16, or of the two in an i32; exact."""
    if bits.type == _WORD:
        upper = builder.trunc(builder.lshr(bits, ir.Constant(_WORD, 16)), _SHORT)
        return [*widened(builder, kind, builder.trunc(bits, _SHORT)), *widened(builder, kind, upper)]
    if kind == "float16":
        return [instruction(builder, "cvt.f32.f16 $0, $1;", _FLOAT, [bits])]
    return [builder.bitcast(builder.shl(builder.zext(bits, _WORD), ir.Constant(_WORD, 16)), _FLOAT)]


def narrowed(builder: Any, kind: str, values: Sequence[Any]) -> Any:
    """Code that rounds one float32 to an i16, or two to an i32."""
    name = HALVES[kind]
    if len(values) == 1:
        return instruction(builder, f"cvt.rn.{name}.f32 $0, $1;", _SHORT, values)
    return instruction(builder, f"cvt.rn.{name}x2.f32 $0, $2, $1;", _WORD, values)  # PTX takes the upper one first


@intrinsic
def float16_to_float32(typing: Any, bits: Any) -> Any:
    """The float32 of a float16 given as uint16."""
    return _widening(bits, types.uint16, "float16")


@intrinsic
def bfloat16_to_float32(typing: Any, bits: Any) -> Any:
    """The float32 of a bfloat16 given as uint16."""
    return _widening(bits, types.uint16, "bfloat16")


@intrinsic
def float16x2_to_float32(typing: Any, bits: Any) -> Any:
    """The two float32 of two float16 given as uint32."""
    return _widening(bits, types.uint32, "float16")


@intrinsic
def bfloat16x2_to_float32(typing: Any, bits: Any) -> Any:
    """The two float32 of two bfloat16 given as uint32."""
    return _widening(bits, types.uint32, "bfloat16")


@intrinsic
def float32_to_float16(typing: Any, value: Any) -> Any:
    """The float16 nearest to a float32, as uint16."""
    return _narrowing((value,), types.uint16, "float16")


@intrinsic
def float32_to_bfloat16(typing: Any, value: Any) -> Any:
    """The bfloat16 nearest to a float32, as uint16."""
    return _narrowing((value,), types.uint16, "bfloat16")


@intrinsic
def float32_to_float16x2(typing: Any, lower: Any, upper: Any) -> Any:
    """The float16 nearest to two float32, as uint32."""
    return _narrowing((lower, upper), types.uint32, "float16")


@intrinsic
def float32_to_bfloat16x2(typing: Any, lower: Any, upper: Any) -> Any:
    """The bfloat16 nearest to two float32, as uint32."""
    return _narrowing((lower, upper), types.uint32, "bfloat16")


def _widening(given: Any, bits: Any, kind: str) -> Any:
    """What an intrinsic answers: its signature and its code, or None for an argument of another type."""
    if given != bits:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = widened(builder, kind, arguments[0])
        return values[0] if len(values) == 1 else cast("Any", cgutils).pack_array(builder, values)

    result = types.float32 if bits == types.uint16 else types.UniTuple(types.float32, 2)
    return result(bits), generate


def _narrowing(given: tuple[Any, ...], bits: Any, kind: str) -> Any:
    if any(value != types.float32 for value in given):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return narrowed(builder, kind, arguments)

    return bits(*given), generate
