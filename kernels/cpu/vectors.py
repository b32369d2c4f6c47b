"""Loops over vectors of elements in compiled code: read from arrays, combined, written to one or past the caches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from llvmlite import ir
from numba import types as numba_types
from numba.core import cgutils as numba_cgutils
from numba.core.extending import intrinsic as numba_intrinsic

from kernels.cpu.arithmetic import Kind, combined, kind_of

__all__ = ["address", "fence", "sweep"]

types, cgutils = cast("Any", numba_types), cast("Any", numba_cgutils)
intrinsic = cast("Callable[..., Any]", numba_intrinsic)

_LINE = 64  # bytes: stores past the caches are aligned to lines


@intrinsic
def address(typing: Any, array: Any) -> Any:
    """Where an array's first element lies."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ptrtoint(_data(context, builder, array, arguments[0]), ir.IntType(64))

    return types.int64(array), generate


@intrinsic(prefer_literal=True)
def sweep(
    typing: Any, operation: Any, kind: Any, lanes: Any, past: Any, inputs: Any, out: Any, start: Any, stop: Any,
    scale: Any,
) -> Any:  # fmt: skip
    """Reduce elements from ``start`` on, ``lanes`` at a time, as long as so many are left before ``stop``.

    The answer is the first element that is left. Each vector is read from every input, and then written to ``out``.
    ``operation``, ``kind``, ``lanes`` and ``past`` (whether to store past the caches) are constants.
    """
    about = kind_of(kind.literal_value)
    pointer = partial(_pointer, about=about, width=lanes.literal_value * about.numbers)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays, result, first, end, factor = arguments[4:]
        sources = [_data(context, builder, inputs.dtype, array) for array in cgutils.unpack_tuple(builder, arrays)]
        target, step = _data(context, builder, out, result), ir.Constant(first.type, lanes.literal_value)
        behind = builder.sub(end, builder.srem(builder.sub(end, first), step))
        with cgutils.for_range_slice(builder, first, behind, step) as (place, _):
            values = [about.read(builder, builder.load(pointer(builder, source, place), align=1)) for source in sources]
            value = about.write(builder, combined(builder, operation.literal_value, about, values, factor))
            _store(builder, value, pointer(builder, target, place), past.literal_value)
        return behind

    return types.int64(operation, kind, lanes, past, inputs, out, start, stop, scale), generate


@intrinsic
def fence(typing: Any) -> Any:
    """Let no later write be seen before what was stored past the caches."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _pointer(builder: Any, data: Any, index: Any, about: Kind, width: int) -> Any:
    """Of a vector of ``width`` numbers that begins at the index-th element."""
    numbers = builder.bitcast(data, about.memory.as_pointer())
    first = builder.gep(numbers, [builder.mul(index, ir.Constant(index.type, about.numbers))])
    return builder.bitcast(first, ir.VectorType(about.memory, width).as_pointer())


def _store(builder: Any, value: Any, pointer: Any, past: bool) -> None:
    stored = builder.store(value, pointer, align=_LINE if past else 1)
    if past:
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
