"""Device functions for int8 codes: sixteen elements a thread, from where they lie to four words and back."""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
from numba import cuda as numba_cuda

from kernels.compress.int8 import TINY
from kernels.compress.philox import ten_rounds
from kernels.cuda.exact import times
from kernels.cuda.patterns import (
    INFINITY,
    MAGNITUDE,
    bits_of,
    float_of,
    get32,
    lower_whole,
    nearest_whole,
    on_device,
)
from kernels.cuda.vector import WIDTH, lanes

__all__ = ["EACH", "chance", "code", "decoded", "peak", "plus", "scaled", "sources", "words"]

cuda = cast("Any", numba_cuda)
_FLOATS, _WORDS, _BYTES = lanes("float32"), lanes("uint32"), lanes("uint8")
_load, _store, _one, _put = _FLOATS.load, _FLOATS.store, _FLOATS.one, _FLOATS.put
_load_words, _byte = _WORDS.load, _BYTES.one

EACH = 16
"""Elements of a thread: as many codes as are stored at once."""

_ALL = 0xFFFFFFFF
_ZERO, _ONE, _TOP, _NAN = np.float32(0), np.float32(1), np.float32(127), np.float32(np.nan)
_UNIT, _PART = np.float32(65536), np.float32(1 / 65536)
_LEAST = np.float32(TINY)
_LOW8, _LOW16 = np.uint32(0xFF), np.uint64(0xFFFF)

_philox = on_device(ten_rounds)


def sources(work: str, block: int) -> tuple[Any, Any, Any, Any, Any]:
    """Device functions for what is encoded, and for what becomes of it beside its codes.

    The scales of the messages that it is made of; sixteen elements of it, in fours, and one; what is done with four
    elements that were encoded, and with one.
    """
    if work == "encode":
        return _none, _values, _one_value, _forget, _forget_one
    if work == "feedback":
        return _none, _sums, _one_sum, _keep, _keep_one

    @on_device
    def scales(a: int, b: int, count: int, at: int) -> Any:
        place = count + at // block * 4
        return float_of(get32(a + place)), float_of(get32(b + place))

    return scales, _sixteen_decoded, _one_decoded, _forget, _forget_one


@on_device
def _none(a: int, b: int, count: int, at: int) -> Any:
    return _ZERO, _ZERO


@on_device
def _values(a: int, b: int, at: int, mine: Any, other: Any) -> Any:
    place = a + 4 * at
    return _load(place), _load(place + WIDTH), _load(place + 2 * WIDTH), _load(place + 3 * WIDTH)


@on_device
def _one_value(a: int, b: int, i: int, mine: Any, other: Any) -> Any:
    return _one(a + 4 * i)


@on_device
def _sums(a: int, b: int, at: int, mine: Any, other: Any) -> Any:
    (x, y, z, w), (p, q, r, s) = _values(a, b, at, mine, other), _values(b, a, at, mine, other)
    return plus(x, p), plus(y, q), plus(z, r), plus(w, s)


@on_device
def plus(x: Any, y: Any) -> Any:
    """The sums of four and four."""
    return x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]


@on_device
def _one_sum(a: int, b: int, i: int, mine: Any, other: Any) -> Any:
    return _one(a + 4 * i) + _one(b + 4 * i)


@on_device
def _sixteen_decoded(a: int, b: int, at: int, mine: Any, other: Any) -> Any:
    (x, y, z, w), (p, q, r, s) = _load_words(a + at), _load_words(b + at)
    first, second = plus(decoded(x, mine), decoded(p, other)), plus(decoded(y, mine), decoded(q, other))
    return first, second, plus(decoded(z, mine), decoded(r, other)), plus(decoded(w, mine), decoded(s, other))


@on_device
def _one_decoded(a: int, b: int, i: int, mine: Any, other: Any) -> Any:
    left, right = np.float32(np.int8(_byte(a + i))), np.float32(np.int8(_byte(b + i)))
    return times(left, mine) + times(right, other)


@on_device
def _keep(a: int, b: int, at: int, wanted: Any, word: Any, scale: Any) -> None:
    x, y, z, w = decoded(word, scale)
    _store(a + 4 * at, (x, y, z, w))
    _store(b + 4 * at, (_rest(wanted[0], x), _rest(wanted[1], y), _rest(wanted[2], z), _rest(wanted[3], w)))


@on_device
def _keep_one(a: int, b: int, i: int, wanted: Any, decoded: Any) -> None:
    _put(a + 4 * i, decoded)
    _put(b + 4 * i, _rest(wanted, decoded))


@on_device
def _forget(a: int, b: int, at: int, wanted: Any, word: Any, scale: Any) -> None:
    pass


@on_device
def _forget_one(a: int, b: int, i: int, wanted: Any, decoded: Any) -> None:
    pass


@on_device
def _rest(wanted: Any, decoded: Any) -> Any:
    less = wanted - decoded
    return less if less - less == _ZERO else _ZERO


@on_device
def decoded(word: Any, scale: Any) -> Any:
    """Four codes in a word, decoded; the products are not fused with what is added to them."""
    x, y = np.float32(np.int8(word & _LOW8)), np.float32(np.int8(word >> np.uint32(8) & _LOW8))
    z, w = np.float32(np.int8(word >> np.uint32(16) & _LOW8)), np.float32(np.int8(word >> np.uint32(24)))
    return times(x, scale), times(y, scale), times(z, scale), times(w, scale)


@on_device
def peak(four: Any) -> Any:
    """The largest magnitude's pattern."""
    x, y = np.uint32(bits_of(four[0]) & MAGNITUDE), np.uint32(bits_of(four[1]) & MAGNITUDE)
    z, w = np.uint32(bits_of(four[2]) & MAGNITUDE), np.uint32(bits_of(four[3]) & MAGNITUDE)
    return max(x, y, z, w)


@cache
def scaled(lanes: int, in_place: bool) -> Any:
    """``function(top)``: scale and reciprocal of a block that ``lanes`` threads have, from the largest of each.

    ``in_place``: the scales that were read may be those that are to be written, by another thread of the warp.
    """

    @on_device
    def function(top: Any) -> Any:
        distance = lanes // 2
        while distance:
            top = max(top, np.uint32(cuda.shfl_xor_sync(_ALL, np.int32(top), distance)))
            distance //= 2
        if in_place:
            cuda.syncwarp()
        scale, inverse = _ZERO, _ZERO
        if top >= INFINITY:
            scale = _NAN
        elif float_of(top) >= _LEAST:
            scale = float_of(top) / _TOP
            inverse = _ONE / scale
        return scale, inverse

    return function


@cache
def words(nearest: bool) -> Any:
    """``function``: the codes of sixteen elements as four words."""
    make = code(nearest)

    @on_device
    def word(four: Any, inverse: Any, bits: Any) -> Any:
        total = np.uint32(0)
        total |= np.uint32(make(four[0], inverse, bits) & 0xFF)
        total |= np.uint32(make(four[1], inverse, bits >> np.uint64(16)) & 0xFF) << np.uint32(8)
        total |= np.uint32(make(four[2], inverse, bits >> np.uint64(32)) & 0xFF) << np.uint32(16)
        total |= np.uint32(make(four[3], inverse, bits >> np.uint64(48)) & 0xFF) << np.uint32(24)
        return total

    @on_device
    def function(x: Any, y: Any, z: Any, w: Any, inverse: Any, at: int, stream: Any, key: Any) -> Any:
        p = q = r = s = np.uint64(0)
        if not nearest:
            p, q = _philox(np.uint64(at // 8), stream, key)
            r, s = _philox(np.uint64(at // 8 + 1), stream, key)
        return word(x, inverse, p), word(y, inverse, q), word(z, inverse, r), word(w, inverse, s)

    return function


@cache
def code(nearest: bool) -> Any:
    """``function(value, reciprocal, random bits)``: the code as int32; 0 for the reciprocal 0, whatever the value."""

    @on_device
    def function(value: Any, inverse: Any, bits: Any) -> Any:
        if inverse == _ZERO:
            return np.int32(0)
        if nearest:
            return np.int32(nearest_whole(times(value, inverse)))
        steps = nearest_whole(times(value, inverse * _UNIT))
        return np.int32(lower_whole((steps + np.float32(bits & _LOW16)) * _PART))

    return function


@on_device
def chance(i: int, stream: Any, key: Any) -> Any:
    """The random bits of one element, lowest in what is given."""
    pair = _philox(np.uint64(i // 8), stream, key)
    return (pair[1] if i % 8 // 4 else pair[0]) >> np.uint64(i % 4 * 16)
