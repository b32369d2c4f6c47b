"""Sixteen float32 and a bit for each of them: one instruction either way where the processor has masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir
from numba import types as numba_types
from numba.core.extending import intrinsic as numba_intrinsic

__all__ = ["LANES", "add_signed", "at_least", "put_signed", "signs"]

types = cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)

LANES = 16
_INTS, _FLOATS = ir.VectorType(ir.IntType(32), LANES), ir.VectorType(ir.FloatType(), LANES)
_MASK, _TOP = ir.VectorType(ir.IntType(1), LANES), 1 << 31


@intrinsic
def signs(typing: Any, values: Any, at: Any) -> Any:
    """Bit i is the sign of ``values[at + i]``; uint16."""
    if not isinstance(values, types.Array) or values.dtype != types.float32:
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = builder.load(_place(context, builder, values, arguments, _INTS), align=4)
        negative = builder.icmp_signed("<", given, ir.Constant(_INTS, [0] * LANES))
        return builder.bitcast(negative, ir.IntType(16))

    return types.uint16(values, types.int64), generate


@intrinsic
def at_least(typing: Any, values: Any, at: Any, least: Any) -> Any:
    """Bit i says whether the pattern of ``values[at + i]`` without its sign is ``least`` (uint32) or more; uint16."""
    if not isinstance(values, types.Array) or (values.dtype, least) != (types.float32, types.uint32):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = builder.load(_place(context, builder, values, arguments, _INTS), align=4)
        magnitudes = builder.and_(given, ir.Constant(_INTS, [_TOP - 1] * LANES))
        return builder.bitcast(
            builder.icmp_unsigned(">=", magnitudes, _spread(builder, arguments[2])), ir.IntType(16)
        )  # fmt: skip

    return types.uint16(values, types.int64, least), generate


@intrinsic
def put_signed(typing: Any, values: Any, at: Any, bits: Any, scale: Any) -> Any:
    """``values[at + i] = -scale`` where bit i is set, else ``scale``."""
    return _signed(values, bits, scale, lambda builder, old, new: new)


@intrinsic
def add_signed(typing: Any, values: Any, at: Any, bits: Any, scale: Any) -> Any:
    """``values[at + i] += -scale`` where bit i is set, else ``scale``."""
    return _signed(values, bits, scale, lambda builder, old, new: builder.fadd(old, new))


def _signed(values: Any, bits: Any, scale: Any, join: Callable[[Any, Any, Any], Any]) -> Any:
    if not isinstance(values, types.Array) or (values.dtype, bits, scale) != (
        types.float32, types.uint16, types.float32
    ):  # fmt: skip
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        place = _place(context, builder, values, arguments, _FLOATS)
        flip = builder.select(
            builder.bitcast(arguments[2], _MASK), ir.Constant(_INTS, [_TOP] * LANES), ir.Constant(_INTS, [0] * LANES)
        )  # fmt: skip
        every = _spread(builder, builder.bitcast(arguments[3], ir.IntType(32)))
        new = builder.bitcast(builder.xor(every, flip), _FLOATS)
        builder.store(join(builder, builder.load(place, align=4), new), place, align=4)
        return context.get_dummy_value()

    return types.void(values, types.int64, bits, scale), generate


def _spread(builder: Any, word: Any) -> Any:
    """A vector of the same word in all lanes."""
    anything, first = ir.Constant(_INTS, cast("Any", ir).Undefined), ir.Constant(ir.IntType(32), 0)
    single = builder.insert_element(anything, word, first)
    return builder.shuffle_vector(single, single, ir.Constant(_INTS, [0] * LANES))


def _place(context: Any, builder: Any, array: Any, arguments: Any, kind: Any) -> Any:
    """Where a vector begins, as a pointer to one."""
    data = context.make_array(array)(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), kind.as_pointer())
