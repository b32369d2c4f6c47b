"""128 bits at a time: loads and stores by address, whose values are tuples of elements.

``load(address)`` and ``store(address, values)`` of ``lanes("float32")`` move four float32 in one instruction
(``LDG.E.128``); the address must be a multiple of 16. ``one`` and ``put`` move a single element, for the head before
the first such address and the tail after the last. Plain indexing in Numba moves one element an instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

from llvmlite import ir
from numba import types as numba_types
from numba.core import cgutils
from numba.cuda.extending import intrinsic as numba_intrinsic

__all__ = ["WIDTH", "Lanes", "give", "lanes", "read", "take", "write"]

WIDTH = 16  # bytes
_GLOBAL = 1  # NVVM's address space
_WORDS = ir.VectorType(ir.IntType(32), 4)
"""NVVM loads and stores at most four numbers at once, so 16 bytes of smaller ones go as four words."""

types = cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)


@dataclass(frozen=True, slots=True)
class Lanes:
    """``count`` elements of ``dtype`` in 16 bytes, and the four device functions that move them.

    ``load(address) -> tuple``, ``store(address, tuple)``, ``one(address) -> element``, ``put(address, element)``;
    addresses are int64, and count bytes.
    """

    dtype: str
    itemsize: int
    count: int
    load: Any
    store: Any
    one: Any
    put: Any


@cache
def lanes(dtype: str) -> Lanes:
    """The functions for a Numba type name: float32, float64, int8 ... uint64. Halves and bfloat16 are uint16."""
    element = getattr(types, dtype)
    itemsize = element.bitwidth // 8
    count = WIDTH // itemsize
    many = types.UniTuple(element, count)
    return Lanes(
        dtype, itemsize, count,
        _loader(element, many, count), _storer(many, count), _loader(element, element, 1), _storer(element, 1),
    )  # fmt: skip


def _loader(element: Any, result: Any, count: int) -> Any:
    @intrinsic
    def load(typing: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            inner = context.get_value_type(element)
            if count == 1:
                return builder.load(_pointer(builder, arguments[0], inner), align=element.bitwidth // 8)
            vector = read(builder, arguments[0], ir.VectorType(inner, count))
            values = [builder.extract_element(vector, _index(lane)) for lane in range(count)]
            return cast("Any", cgutils).pack_array(builder, values)

        return result(types.int64), generate

    return load


def _storer(value: Any, count: int) -> Any:
    @intrinsic
    def store(typing: Any, address: Any, values: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            place, given = arguments
            if count == 1:
                builder.store(given, _pointer(builder, place, given.type), align=value.bitwidth // 8)
                return context.get_dummy_value()
            kind = ir.VectorType(context.get_value_type(value.dtype), count)
            vector = ir.Constant(kind, cast("Any", ir).Undefined)
            for lane in range(count):
                vector = builder.insert_element(vector, builder.extract_value(given, lane), _index(lane))
            write(builder, place, vector)
            return context.get_dummy_value()

        return types.void(types.int64, value), generate

    return store


def read(builder: Any, address: Any, shape: Any) -> Any:
    """Code that loads a vector of ``shape``, 16 bytes, from an address that is a multiple of 16."""
    if shape.count <= _WORDS.count:
        return builder.load(_pointer(builder, address, shape), align=WIDTH)
    words = builder.load(_pointer(builder, address, _WORDS), align=WIDTH)
    vector, each = ir.Constant(shape, cast("Any", ir).Undefined), shape.count // _WORDS.count
    for lane in range(shape.count):
        word = builder.extract_element(words, _index(lane // each))
        moved = builder.lshr(word, _index(lane % each * shape.element.width))
        vector = builder.insert_element(vector, builder.trunc(moved, shape.element), _index(lane))
    return vector


def write(builder: Any, address: Any, vector: Any) -> None:
    """Code that stores 16 bytes."""
    words = _in_words(builder, vector)
    builder.store(words, _pointer(builder, address, words.type), align=WIDTH)


def take(builder: Any, address: Any, shape: Any) -> Any:
    """Code that loads a vector of any size as single numbers, each where its own size allows."""
    return builder.load(_pointer(builder, address, shape), align=_bytes(shape.element))


def give(builder: Any, address: Any, vector: Any) -> None:
    """Code that stores a vector as ``take`` loads it."""
    builder.store(vector, _pointer(builder, address, vector.type), align=_bytes(vector.type.element))


def _bytes(number: Any) -> int:
    return number.width // 8 if isinstance(number, ir.IntType) else {ir.FloatType(): 4, ir.DoubleType(): 8}[number]


def _in_words(builder: Any, vector: Any) -> Any:
    shape = vector.type
    if shape.count <= _WORDS.count:
        return vector
    words, each = ir.Constant(_WORDS, cast("Any", ir).Undefined), shape.count // _WORDS.count
    for place in range(_WORDS.count):
        total = _index(0)
        for part in range(each):
            lane = builder.zext(builder.extract_element(vector, _index(place * each + part)), _WORDS.element)
            total = builder.or_(total, builder.shl(lane, _index(part * shape.element.width)))
        words = builder.insert_element(words, total, _index(place))
    return words


def _pointer(builder: Any, address: Any, pointee: Any) -> Any:
    return builder.inttoptr(address, pointee.as_pointer(_GLOBAL))


def _index(lane: int) -> Any:
    return ir.Constant(ir.IntType(32), lane)
