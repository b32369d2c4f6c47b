"""Reduce a piece of an array in one warp: lanes in registers, folded by halves. The order is that of ``kernels.norms``.

A state is 8 values a thread, lanes of a row of 256. With v elements to 16 bytes, thread t's value m·v + j is of lane
m·32v + t·v + j: what the m-th vector of a row, taken by all threads side by side, holds for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from llvmlite import ir
from numba import types as numba_types
from numba.core import cgutils as numba_cgutils
from numba.cuda.extending import intrinsic as numba_intrinsic

from kernels.cuda.terms import Term
from kernels.cuda.vector import WIDTH, read, take

__all__ = ["LANES", "STEP", "WARP", "Steps", "steps"]

WARP = 32
LANES = 256
_STATE = LANES // WARP
_IN_FLIGHT = 4
STEP = _IN_FLIGHT * WARP * WIDTH
"""Bytes that a warp takes at once: as many vectors a thread as it has loads under way."""

types, cgutils = cast("Any", numba_types), cast("Any", numba_cgutils)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)

_I32, _I64 = ir.IntType(32), ir.IntType(64)
_WORDS = ir.VectorType(_I32, WIDTH // 4)
_FETCHED = types.UniTuple(types.uint32, _IN_FLIGHT * _WORDS.count)


@dataclass(frozen=True, slots=True)
class Steps:
    """Device functions that make and change a state.

    ``nothing()`` is the first; ``fetched(address)`` loads STEP bytes, of which this thread's first vector lies at
    ``address``, and ``added(state, words)`` adds what it gave; ``row(state, source, first, thread, count)`` adds the
    row that begins at element ``first`` of an array of ``count`` at any address; ``total(state)`` is float64, right in
    the warp's first thread and for all to call.
    """

    nothing: Any
    fetched: Any
    added: Any
    row: Any
    total: Any


def steps(term: Term) -> Steps:
    """The functions for one term."""
    state = types.UniTuple(term.state, _STATE)
    return Steps(_nothing(state), _fetched(), _added(term, state), _row(term, state), _total(term, state))


def _nothing(state: Any) -> Any:
    @intrinsic
    def nothing(typing: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return ir.Constant(context.get_value_type(state), None)

        return state(), generate

    return nothing


def _fetched() -> Any:
    """Words of memory, for they are on their way while those before them are added."""

    @intrinsic
    def fetched(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            places = [builder.add(arguments[0], ir.Constant(_I64, m * WARP * WIDTH)) for m in range(_IN_FLIGHT)]
            vectors = [read(builder, place, _WORDS) for place in places]
            words = [
                builder.extract_element(each, ir.Constant(_I32, k)) for each in vectors for k in range(_WORDS.count)
            ]
            return cgutils.pack_array(builder, words)

        return _FETCHED(types.int64), generate

    return fetched


def _added(term: Term, state: Any) -> Any:
    @intrinsic
    def added(typing: Any, before: Any, words: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            values, given = (cgutils.unpack_tuple(builder, argument) for argument in arguments)
            for number, element in enumerate(_elements(builder, given, term.bits)):
                slot = number % _STATE
                values[slot] = term.merged(builder, values[slot], term.of(builder, element))
            return cgutils.pack_array(builder, values)

        return state(state, _FETCHED), generate

    return added


def _elements(builder: Any, words: list[Any], bits: int) -> list[Any]:
    """The bit patterns in words of memory."""
    if bits == 64:
        pairs = zip(words[::2], words[1::2], strict=True)
        return [_joined(builder, lower, upper) for lower, upper in pairs]
    pattern = ir.IntType(bits)
    shifts = range(0, 32, bits)
    if bits == 32:
        return words
    return [builder.trunc(builder.lshr(word, ir.Constant(_I32, shift)), pattern) for word in words for shift in shifts]


def _row(term: Term, state: Any) -> Any:
    """Behind the end an element is loaded that is there, and not counted."""
    pattern, count = ir.IntType(term.bits), WIDTH * 8 // term.bits

    @intrinsic
    def row(typing: Any, before: Any, source: Any, first: Any, thread: Any, size: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            packed, base, start, lane, end = arguments
            own = builder.add(start, builder.mul(lane, ir.Constant(_I64, count)))
            values = cgutils.unpack_tuple(builder, packed)
            for slot in range(_STATE):
                index = builder.add(own, ir.Constant(_I64, slot // count * WARP * count + slot % count))
                inside = builder.icmp_signed("<", index, end)
                offset = builder.mul(builder.select(inside, index, start), ir.Constant(_I64, term.bits // 8))
                element = take(builder, builder.add(base, offset), ir.VectorType(pattern, 1))
                found = term.of(builder, builder.extract_element(element, ir.Constant(_I32, 0)))
                counted = builder.select(inside, found, ir.Constant(found.type, None))
                values[slot] = term.merged(builder, values[slot], counted)
            return cgutils.pack_array(builder, values)

        return state(state, *[types.int64] * 4), generate

    return row


def _total(term: Term, state: Any) -> Any:
    @intrinsic
    def total(typing: Any, before: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            values = cgutils.unpack_tuple(builder, arguments[0])
            values = _folded(builder, term, values, WIDTH * 8 // term.bits)
            distance = WARP // 2
            while distance:
                values = [term.merged(builder, value, _from_further(builder, value, distance)) for value in values]
                distance //= 2
            return term.result(builder, _folded(builder, term, values, 1)[0])

        return types.float64(state), generate

    return total


def _folded(builder: Any, term: Term, values: list[Any], count: int) -> list[Any]:
    """The first half of the values with the second half, until ``count`` are left."""
    while len(values) > count:
        half = len(values) // 2
        values = [term.merged(builder, values[k], values[k + half]) for k in range(half)]
    return values


def _from_further(builder: Any, value: Any, distance: int) -> Any:
    """The value that the thread has which is ``distance`` further on in the warp."""
    if value.type == _I32:
        return _shuffled(builder, value, distance)
    bits = builder.bitcast(value, _I64)
    lower = _shuffled(builder, builder.trunc(bits, _I32), distance)
    upper = _shuffled(builder, builder.trunc(builder.lshr(bits, ir.Constant(_I64, 32)), _I32), distance)
    return builder.bitcast(_joined(builder, lower, upper), value.type)


def _joined(builder: Any, lower: Any, upper: Any) -> Any:
    return builder.or_(builder.zext(lower, _I64), builder.shl(builder.zext(upper, _I64), ir.Constant(_I64, 32)))


def _shuffled(builder: Any, word: Any, distance: int) -> Any:
    """``shfl.sync.down``; NVVM knows by the name that all threads of the warp take part in it."""
    kind = ir.FunctionType(ir.LiteralStructType((_I32, ir.IntType(1))), [_I32] * 5)
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.nvvm.shfl.sync.i32")
    everyone, down, last = -1, 2, WARP - 1
    arguments = [ir.Constant(_I32, number) for number in (everyone, down)]
    arguments += [word, ir.Constant(_I32, distance), ir.Constant(_I32, last)]
    return builder.extract_value(builder.call(function, arguments), 0)
