"""The step of a grid-stride loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types as numba_types
from numba.cuda.extending import intrinsic as numba_intrinsic

from kernels.cuda.assembly import instruction

__all__ = ["onward"]

types = cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)


@intrinsic
def onward(typing: Any, place: Any, stride: Any) -> Any:
    """``place + stride`` of two int64, which NVVM cannot see through; a word to ptxas goes with it.

    So neither unrolls the loop, for which NVVM would first divide by the stride: that alone takes as long as a few
    loads, and the loop has its loads in flight by its own writing.
    """
    if place != types.int64 or stride != types.int64:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        quoted = r"\22nounroll\22"  # as LLVM writes a quotation mark within a text
        return instruction(builder, f".pragma {quoted}; add.s64 $0, $1, $2;", ir.IntType(64), arguments)

    return types.int64(place, stride), generate
