"""int8 by block on a CUDA device. Not yet run on hardware.

A thread has 16 elements: 64 bytes of float32 by four loads in flight, 16 of codes by one store. The threads of a block
of the encoding find its largest magnitude by shuffles, so memory is read once. Where ``values`` and ``wire`` do not
both begin at a multiple of 16, and behind the last whole warp, elements go one by one: as many sectors of memory, in
four to sixteen times as many instructions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import cuda as numba_cuda

from kernels.compress.int8 import TINY
from kernels.compress.philox import ten_rounds
from kernels.cuda.device import blocks_for
from kernels.cuda.exact import times
from kernels.cuda.kernel import Kernel
from kernels.cuda.sweep import aligned
from kernels.cuda.vector import WIDTH, lanes
from kernels.cuda.words import (
    INFINITY,
    MAGNITUDE,
    bits_of,
    float_of,
    get32,
    lower_whole,
    nearest_whole,
    on_device,
    put32,
)
from kernels.device_array import DeviceArray

if TYPE_CHECKING:
    from kernels.compress.int8 import Int8

__all__ = ["decode", "decode_add", "encode", "encode_feedback", "every", "reduce"]

cuda = cast("Any", numba_cuda)
_FLOATS, _WORDS, _BYTES = lanes("float32"), lanes("uint32"), lanes("uint8")
_load, _store, _one, _put = _FLOATS.load, _FLOATS.store, _FLOATS.one, _FLOATS.put
_load_words, _store_words, _word = _WORDS.load, _WORDS.store, _WORDS.one
_byte, _put_byte = _BYTES.one, _BYTES.put

_EACH, _WARP, _ALL = 16, 32, 0xFFFFFFFF
_ZERO, _ONE, _TOP, _NAN = np.float32(0), np.float32(1), np.float32(127), np.float32(np.nan)
_UNIT, _PART, _MOST = np.float32(65536), np.float32(1 / 65536), np.float32(127 * 65536)
_LEAST = np.float32(TINY)
_LOW8, _LOW16 = np.uint32(0xFF), np.uint64(0xFFFF)

_philox = on_device(ten_rounds)


def encode(values: DeviceArray, wire: DeviceArray, encoding: Int8, counter: int) -> None:
    """Codes and scales of ``values``."""
    _launch("encode", [values], wire, values.size, encoding, counter, values.stream)


def encode_feedback(
    values: DeviceArray, wire: DeviceArray, residual: DeviceArray, encoding: Int8, counter: int
) -> None:  # fmt: skip
    """Encode with error feedback; see ``Encoding``."""
    _launch("feedback", [values, residual], wire, values.size, encoding, counter, values.stream)


def reduce(
    left: DeviceArray, right: DeviceArray, out: DeviceArray, count: int, encoding: Int8, counter: int
) -> None:  # fmt: skip
    """Decode, add, encode."""
    _launch("reduce", [left, right], out, count, encoding, counter, out.stream)


def decode(wire: DeviceArray, values: DeviceArray, encoding: Int8) -> None:
    """``values = code * scale``."""
    _launch("decode", [values], wire, values.size, encoding, 0, values.stream)


def decode_add(wire: DeviceArray, values: DeviceArray, encoding: Int8) -> None:
    """``values += code * scale``."""
    _launch("decode_add", [values], wire, values.size, encoding, 0, values.stream)


def every() -> Iterator[Kernel]:
    """All with blocks of 256, and one with other blocks."""
    for work in ("encode", "feedback", "reduce"):
        yield _kernel(work, 256, False)
    yield from (_kernel("encode", 256, True), _kernel("encode", 64, False))
    yield from (_kernel("decode", 256, False), _kernel("decode_add", 256, False))


def _launch(
    work: str, arrays: Sequence[DeviceArray], wire: DeviceArray, count: int, encoding: Int8, counter: int, stream: int
) -> None:  # fmt: skip
    """Threads stride over groups of 16 elements; only whole warps of groups, and so whole blocks, are moved as vectors."""
    if count == 0:
        return
    kernel = _kernel(work, encoding.block, encoding.rounding == "nearest")
    addresses = [array.address if array.dtype == np.uint8 else aligned(array, 4) for array in arrays]
    if any(address % WIDTH for address in (*addresses, wire.address)):
        fast = 0
    else:
        fast = count // (_EACH * _WARP) * _WARP
    addresses += [0] * (2 - len(addresses))
    groups = -(-count // encoding.block) * (encoding.block // _EACH)
    blocks = blocks_for(kernel, groups, wire.device)
    arguments = [*addresses, wire.address, count, fast, groups, _signed(counter), _signed(encoding.seed)]
    wire.device.launch(kernel, blocks, arguments, stream)


def _signed(number: int) -> int:
    """The int64 of the same bits as a uint64."""
    return number - (1 << 64) if number >> 63 else number


@cache
def _kernel(work: str, block: int, nearest: bool) -> Kernel:
    name = f"int8_{work}_{block}{'_nearest' if nearest else ''}"
    made = _decoder(block, work == "decode_add") if work.startswith("decode") else _encoder(work, block, nearest)
    return Kernel(name, made, ("int64",) * 8, registers=128)


def _encoder(work: str, block: int, nearest: bool) -> Callable[..., None]:
    """All lanes of a warp go round the loops together, for they ask each other for magnitudes."""
    scales, four, element = _sources(work, block)
    scaled, words, code = _scaled(block // _EACH), _words(nearest), _code(nearest)
    keep, keep_one = _remains(work)
    in_place = work == "reduce"  # then the scales that are read may be those that are written

    @on_device
    def whole(a: int, b: int, wire: int, count: int, at: int, stream: Any, key: Any) -> None:
        mine, other = scales(a, b, count, at)
        x, y = four(a, b, at, mine, other), four(a, b, at + 4, mine, other)
        z, w = four(a, b, at + 8, mine, other), four(a, b, at + 12, mine, other)
        top = max(max(_peak(x), _peak(y)), max(_peak(z), _peak(w)))
        scale, inverse = scaled(top)
        if in_place:
            cuda.syncwarp()
        if at % block == 0:
            put32(wire + count + at // block * 4, bits_of(scale))
        p, q, r, s = words(x, y, z, w, inverse, at, stream, key)
        _store_words(wire + at, (p, q, r, s))
        keep(a, b, at, x, p, scale)
        keep(a, b, at + 4, y, q, scale)
        keep(a, b, at + 8, z, r, scale)
        keep(a, b, at + 12, w, s, scale)

    @on_device
    def single(a: int, b: int, wire: int, count: int, at: int, stream: Any, key: Any) -> None:
        mine, other = scales(a, b, count, min(at, count - 1))
        stop, top = min(at + _EACH, count), np.uint32(0)
        for i in range(at, stop):
            top = max(top, np.uint32(bits_of(element(a, b, i, mine, other)) & MAGNITUDE))
        scale, inverse = scaled(top)
        if in_place:
            cuda.syncwarp()
        if at % block == 0 and at < count:
            put32(wire + count + at // block * 4, bits_of(scale))
        for i in range(at, stop):
            wanted = element(a, b, i, mine, other)
            made = code(wanted, inverse, _chance(i, stream, key))
            _put_byte(wire + i, np.uint8(np.int32(made) & 0xFF))
            keep_one(a, b, i, wanted, times(made, scale))

    def kernel(a: int, b: int, wire: int, count: int, fast: int, groups: int, counter: int, seed: int) -> None:
        first, stride, lane = cuda.grid(1), cuda.gridsize(1), cuda.laneid
        stream, key = np.uint64(counter), np.uint64(seed)
        group = first
        while group < fast:
            whole(a, b, wire, count, group * _EACH, stream, key)
            group += stride
        group = first + fast
        while group - lane < groups:
            single(a, b, wire, count, group * _EACH, stream, key)
            group += stride

    return kernel


def _decoder(block: int, add: bool) -> Callable[..., None]:
    @on_device
    def whole(values: int, wire: int, count: int, at: int) -> None:
        scale, codes = float_of(get32(wire + count + at // block * 4)), _load_words(wire + at)
        for part in range(4):
            place = values + 4 * (at + 4 * part)
            x, y, z, w = _floats(codes[part], scale)
            if add:
                old = _load(place)
                _store(place, (old[0] + x, old[1] + y, old[2] + z, old[3] + w))
            else:
                _store(place, (x, y, z, w))

    @on_device
    def single(values: int, wire: int, count: int, at: int) -> None:
        for i in range(at, min(at + _EACH, count)):
            value = times(np.float32(np.int8(_byte(wire + i))), float_of(get32(wire + count + i // block * 4)))
            _put(values + 4 * i, _one(values + 4 * i) + value if add else value)

    def kernel(values: int, b: int, wire: int, count: int, fast: int, groups: int, counter: int, seed: int) -> None:
        first, stride = cuda.grid(1), cuda.gridsize(1)
        group = first
        while group < fast:
            whole(values, wire, count, group * _EACH)
            group += stride
        group = first + fast
        while group < groups:
            single(values, wire, count, group * _EACH)
            group += stride

    return kernel


def _sources(work: str, block: int) -> tuple[Any, Any, Any]:
    """What is encoded: the scales of the messages that it is made of, four elements of it, and one."""
    if work == "encode":
        return _none, _four_values, _one_value
    if work == "feedback":
        return _none, _four_sums, _one_sum

    @on_device
    def scales(a: int, b: int, count: int, at: int) -> Any:
        place = count + at // block * 4
        return float_of(get32(a + place)), float_of(get32(b + place))

    return scales, _four_decoded, _one_decoded


def _remains(work: str) -> tuple[Any, Any]:
    """What is done with four elements that were encoded, and with one."""
    return (_keep, _keep_one) if work == "feedback" else (_forget, _forget_one)


@on_device
def _none(a: int, b: int, count: int, at: int) -> Any:
    return _ZERO, _ZERO


@on_device
def _four_values(a: int, b: int, at: int, mine: Any, other: Any) -> Any:
    return _load(a + 4 * at)


@on_device
def _one_value(a: int, b: int, i: int, mine: Any, other: Any) -> Any:
    return _one(a + 4 * i)


@on_device
def _four_sums(a: int, b: int, at: int, mine: Any, other: Any) -> Any:
    x, y = _load(a + 4 * at), _load(b + 4 * at)
    return x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]


@on_device
def _one_sum(a: int, b: int, i: int, mine: Any, other: Any) -> Any:
    return _one(a + 4 * i) + _one(b + 4 * i)


@on_device
def _four_decoded(a: int, b: int, at: int, mine: Any, other: Any) -> Any:
    x, y = _floats(_word(a + at), mine), _floats(_word(b + at), other)
    return x[0] + y[0], x[1] + y[1], x[2] + y[2], x[3] + y[3]


@on_device
def _one_decoded(a: int, b: int, i: int, mine: Any, other: Any) -> Any:
    left, right = np.float32(np.int8(_byte(a + i))), np.float32(np.int8(_byte(b + i)))
    return times(left, mine) + times(right, other)


@on_device
def _keep(a: int, b: int, at: int, wanted: Any, word: Any, scale: Any) -> None:
    x, y, z, w = _floats(word, scale)
    _store(a + 4 * at, (x, y, z, w))
    rest = _rest(wanted[0], x), _rest(wanted[1], y), _rest(wanted[2], z), _rest(wanted[3], w)
    _store(b + 4 * at, rest)


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
def _floats(word: Any, scale: Any) -> Any:
    """Four codes in a word, decoded; the products are not fused with what is added to them."""
    x, y = np.float32(np.int8(word & _LOW8)), np.float32(np.int8(word >> np.uint32(8) & _LOW8))
    z, w = np.float32(np.int8(word >> np.uint32(16) & _LOW8)), np.float32(np.int8(word >> np.uint32(24)))
    return times(x, scale), times(y, scale), times(z, scale), times(w, scale)


@on_device
def _peak(four: Any) -> Any:
    """The largest magnitude's pattern."""
    x, y = np.uint32(bits_of(four[0]) & MAGNITUDE), np.uint32(bits_of(four[1]) & MAGNITUDE)
    z, w = np.uint32(bits_of(four[2]) & MAGNITUDE), np.uint32(bits_of(four[3]) & MAGNITUDE)
    return max(max(x, y), max(z, w))


@cache
def _scaled(lanes: int) -> Any:
    """``function(top)``: scale and reciprocal of a block that ``lanes`` threads have, from the largest of each."""

    @on_device
    def scaled(top: Any) -> Any:
        distance = lanes // 2
        while distance:
            top = max(top, np.uint32(cuda.shfl_xor_sync(_ALL, np.int32(top), distance)))
            distance //= 2
        scale, inverse = _ZERO, _ZERO
        if top >= INFINITY:
            scale = _NAN
        elif float_of(top) >= _LEAST:
            scale = float_of(top) / _TOP
            inverse = _ONE / scale
        return scale, inverse

    return scaled


@cache
def _words(nearest: bool) -> Any:
    """``function``: the codes of sixteen elements as four words."""
    code = _code(nearest)

    @on_device
    def word(four: Any, inverse: Any, bits: Any) -> Any:
        total = np.uint32(0)
        total |= np.uint32(np.int32(code(four[0], inverse, bits)) & 0xFF)
        total |= np.uint32(np.int32(code(four[1], inverse, bits >> np.uint64(16))) & 0xFF) << np.uint32(8)
        total |= np.uint32(np.int32(code(four[2], inverse, bits >> np.uint64(32))) & 0xFF) << np.uint32(16)
        total |= np.uint32(np.int32(code(four[3], inverse, bits >> np.uint64(48))) & 0xFF) << np.uint32(24)
        return total

    @on_device
    def words(x: Any, y: Any, z: Any, w: Any, inverse: Any, at: int, stream: Any, key: Any) -> Any:
        p = q = r = s = np.uint64(0)
        if not nearest:
            p, q = _philox(np.uint64(at // 8), stream, key)
            r, s = _philox(np.uint64(at // 8 + 1), stream, key)
        return word(x, inverse, p), word(y, inverse, q), word(z, inverse, r), word(w, inverse, s)

    return words


@cache
def _code(nearest: bool) -> Any:
    """``function(value, reciprocal, random bits)``: the code as float32; 0 for the reciprocal 0, whatever the value."""

    @on_device
    def code(value: Any, inverse: Any, bits: Any) -> Any:
        if inverse == _ZERO:
            return _ZERO
        if nearest:
            return nearest_whole(times(value, inverse))
        steps = min(max(nearest_whole(times(value, inverse * _UNIT)), -_MOST), _MOST)
        return lower_whole((steps + np.float32(bits & _LOW16)) * _PART)

    return code


@on_device
def _chance(i: int, stream: Any, key: Any) -> Any:
    """The random bits of one element, lowest in what is given."""
    pair = _philox(np.uint64(i // 8), stream, key)
    return (pair[1] if i % 8 // 4 else pair[0]) >> np.uint64(i % 4 * 16)
