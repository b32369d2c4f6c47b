"""Arithmetic that the compiler leaves as it stands, so that a result can be compared bit for bit with the CPU form.

A plain ``a * b + c`` becomes one instruction with one rounding where NVVM or ptxas likes; ``times(a, b) + c`` is
rounded twice everywhere. Source: PTX ISA, section "Floating Point Instructions: mul" (contraction and ``.rn``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types as numba_types
from numba.cuda.extending import intrinsic as numba_intrinsic

__all__ = ["times"]

types = cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)


@intrinsic
def times(typing: Any, left: Any, right: Any) -> Any:
    """The product of two float32 or two float64, rounded to nearest even and never fused with a sum."""
    if left != right or left not in (types.float32, types.float64):
        return None
    suffix, register = ("f32", "f") if left == types.float32 else ("f64", "d")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(left)
        text = f"mul.rn.{suffix} $0, $1, $2;"
        code = ir.InlineAsm(ir.FunctionType(kind, [kind, kind]), text, f"={register},{register},{register}")
        return builder.call(code, arguments)

    return left(left, right), generate
