"""Philox 4x32-10 eight counters at a time, in vectors: the compiler's own vectoriser does not see through its products.

The same numbers as ``kernels.compress.philox.ten_rounds``, from which a single one is made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import njit
from numba import types as numba_types
from numba.core import cgutils as numba_cgutils
from numba.core.extending import intrinsic as numba_intrinsic

from kernels.compress import philox

__all__ = ["eight", "one"]

types, cgutils = cast("Any", numba_types), cast("Any", numba_cgutils)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)

one = cast("Any", njit)(philox.ten_rounds)

_LANES = 8
_VECTOR = ir.VectorType(ir.IntType(64), _LANES)


@intrinsic
def eight(typing: Any, bits: Any, at: Any, first: Any, stream: Any, key: Any) -> Any:
    """Write the 16 words of counters ``first .. first + 7`` to ``bits[at : at + 16]``, an array of uint64."""
    if not isinstance(bits, types.Array) or bits.dtype != types.uint64:
        return None
    word = types.uint64

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, place, *counter = arguments
        base = builder.gep(context.make_array(bits)(context, builder, array).data, [place])
        lower, upper = _rounds(builder, *counter)
        order = [lane + half * _LANES for lane in range(_LANES) for half in range(2)]
        mask = ir.Constant(ir.VectorType(ir.IntType(32), 2 * _LANES), order)
        both = builder.shuffle_vector(lower, upper, mask)
        builder.store(both, builder.bitcast(base, both.type.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(bits, types.int64, word, word, word), generate


def _rounds(builder: Any, first: Any, stream: Any, key: Any) -> tuple[Any, Any]:
    """Code for the lower and the upper half of what ``ten_rounds`` gives for eight counters in a row."""
    lanes = ir.Constant(_VECTOR, list(range(_LANES)))
    low, half = _all(philox.LOW), _all(philox.HALF)
    index, stream, key = builder.add(_spread(builder, first), lanes), _spread(builder, stream), _spread(builder, key)
    a, b = builder.and_(index, low), builder.lshr(index, half)
    c, d = builder.and_(stream, low), builder.lshr(stream, half)
    k, m = builder.and_(key, low), builder.lshr(key, half)
    for _ in range(philox.ROUNDS):
        left, right = builder.mul(_all(philox.FIRST), a), builder.mul(_all(philox.SECOND), c)
        a = builder.xor(builder.xor(builder.lshr(right, half), b), k)
        c = builder.xor(builder.xor(builder.lshr(left, half), d), m)
        b, d = builder.and_(right, low), builder.and_(left, low)
        k = builder.and_(builder.add(k, _all(philox.GOLDEN)), low)
        m = builder.and_(builder.add(m, _all(philox.ROOT)), low)
    return builder.or_(a, builder.shl(b, half)), builder.or_(c, builder.shl(d, half))


def _all(value: Any) -> Any:
    return ir.Constant(_VECTOR, [int(value)] * _LANES)


def _spread(builder: Any, value: Any) -> Any:
    anything, first = ir.Constant(_VECTOR, cast("Any", ir).Undefined), ir.Constant(ir.IntType(32), 0)
    single = builder.insert_element(anything, value, first)
    return builder.shuffle_vector(single, single, ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES))
