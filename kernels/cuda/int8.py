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

from kernels.cuda import codes
from kernels.cuda.codes import EACH, chance, decoded, peak, plus
from kernels.cuda.device import blocks_for
from kernels.cuda.exact import times
from kernels.cuda.kernel import Kernel
from kernels.cuda.patterns import MAGNITUDE, bits_of, float_of, get32, on_device, put32
from kernels.cuda.sweep import aligned, signed
from kernels.cuda.vector import WIDTH, lanes
from kernels.device_array import DeviceArray

if TYPE_CHECKING:
    from kernels.compress.int8 import Int8

__all__ = ["decode", "decode_add", "encode", "encode_feedback", "every", "reduce"]

cuda = cast("Any", numba_cuda)
_FLOATS, _WORDS, _BYTES = lanes("float32"), lanes("uint32"), lanes("uint8")
_load, _store, _one, _put = _FLOATS.load, _FLOATS.store, _FLOATS.one, _FLOATS.put
_load_words, _store_words = _WORDS.load, _WORDS.store
_byte, _put_byte = _BYTES.one, _BYTES.put

_WARP = 32


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
    """Threads stride over groups of 16 elements; whole warps of groups, and so whole blocks, are moved as vectors."""
    if count == 0:
        return
    kernel = _kernel(work, encoding.block, encoding.rounding == "nearest")
    addresses = [array.address if array.dtype == np.uint8 else aligned(array, 4) for array in arrays]
    apart = any(address % WIDTH for address in (*addresses, wire.address))
    fast = 0 if apart else count // (EACH * _WARP) * _WARP
    addresses += [0] * (2 - len(addresses))
    groups = -(-count // encoding.block) * (encoding.block // EACH)
    blocks = blocks_for(kernel, groups, wire.device)
    arguments = [*addresses, wire.address, count, fast, groups, signed(counter), signed(encoding.seed)]
    wire.device.launch(kernel, blocks, arguments, stream)


@cache
def _kernel(work: str, block: int, nearest: bool) -> Kernel:
    name = f"int8_{work}_{block}{'_nearest' if nearest else ''}"
    decoding = work.startswith("decode")
    made = _decoder(block, work == "decode_add") if decoding else _encoder(work, block, nearest)
    # Scales are read byte by byte, beside the vectors; and random numbers keep a card busier than its memory.
    narrow = decoding or work == "reduce" or (work == "encode" and not nearest)
    return Kernel(name, made, ("int64",) * 8, vectorised=not narrow, registers=128)


def _encoder(work: str, block: int, nearest: bool) -> Callable[..., None]:
    """All lanes of a warp go round the loops together, for they ask each other for magnitudes."""
    whole, single = _whole(work, block, nearest), _single(work, block, nearest)

    def kernel(a: int, b: int, wire: int, count: int, fast: int, groups: int, counter: int, seed: int) -> None:
        first, stride, lane = cuda.grid(1), cuda.gridsize(1), cuda.laneid
        stream, key = np.uint64(counter), np.uint64(seed)
        group = first
        while group < fast:
            whole(a, b, wire, count, group * EACH, stream, key)
            group += stride
        group = first + fast
        while group - lane < groups:
            single(a, b, wire, count, group * EACH, stream, key)
            group += stride

    return kernel


def _whole(work: str, block: int, nearest: bool) -> Any:
    """Sixteen elements that lie at multiples of 16 bytes."""
    scales, sixteen, _, keep, _ = codes.sources(work, block)
    scaled, words = codes.scaled(block // EACH, work == "reduce"), codes.words(nearest)

    @on_device
    def whole(a: int, b: int, wire: int, count: int, at: int, stream: Any, key: Any) -> None:
        mine, other = scales(a, b, count, at)
        x, y, z, w = sixteen(a, b, at, mine, other)
        scale, inverse = scaled(max(peak(x), peak(y), peak(z), peak(w)))
        if at % block == 0:
            put32(wire + count + at // block * 4, bits_of(scale))
        p, q, r, s = words(x, y, z, w, inverse, at, stream, key)
        _store_words(wire + at, (p, q, r, s))
        keep(a, b, at, x, p, scale)
        keep(a, b, at + 4, y, q, scale)
        keep(a, b, at + 8, z, r, scale)
        keep(a, b, at + 12, w, s, scale)

    return whole


def _single(work: str, block: int, nearest: bool) -> Any:
    """Up to sixteen, one by one."""
    scales, _, element, _, keep = codes.sources(work, block)
    scaled, code = codes.scaled(block // EACH, work == "reduce"), codes.code(nearest)

    @on_device
    def single(a: int, b: int, wire: int, count: int, at: int, stream: Any, key: Any) -> None:
        mine, other = scales(a, b, count, min(at, count - 1))
        stop, top = min(at + EACH, count), np.uint32(0)
        for i in range(at, stop):
            top = max(top, np.uint32(bits_of(element(a, b, i, mine, other)) & MAGNITUDE))
        scale, inverse = scaled(top)
        if at % block == 0 and at < count:
            put32(wire + count + at // block * 4, bits_of(scale))
        for i in range(at, stop):
            wanted = element(a, b, i, mine, other)
            made = code(wanted, inverse, chance(i, stream, key))
            _put_byte(wire + i, np.uint8(made & 0xFF))
            keep(a, b, i, wanted, times(np.float32(made), scale))

    return single


def _decoder(block: int, add: bool) -> Callable[..., None]:
    @on_device
    def whole(values: int, wire: int, count: int, at: int) -> None:
        scale, given = float_of(get32(wire + count + at // block * 4)), _load_words(wire + at)
        for part in range(4):
            place = values + 4 * (at + 4 * part)
            four = decoded(given[part], scale)
            _store(place, plus(_load(place), four) if add else four)

    @on_device
    def single(values: int, wire: int, count: int, at: int) -> None:
        for i in range(at, min(at + EACH, count)):
            value = times(np.float32(np.int8(_byte(wire + i))), float_of(get32(wire + count + i // block * 4)))
            _put(values + 4 * i, _one(values + 4 * i) + value if add else value)

    def kernel(values: int, b: int, wire: int, count: int, fast: int, groups: int, counter: int, seed: int) -> None:
        first, stride = cuda.grid(1), cuda.gridsize(1)
        group = first
        while group < fast:
            whole(values, wire, count, group * EACH)
            group += stride
        group = first + fast
        while group < groups:
            single(values, wire, count, group * EACH)
            group += stride

    return kernel
