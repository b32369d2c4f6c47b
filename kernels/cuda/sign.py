"""Signs and their scale on a CUDA device. Not yet run on hardware.

A block of 256 threads takes a tile of 4,096 elements, each thread four vectors of 128 bits in flight. Eight threads put
their signs together by shuffles; magnitudes go to lanes that are folded as on the host, first through shared memory,
then by shuffles. A second launch adds up the tiles. Memory is read once, with feedback twice; 4 bytes a tile are left.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import cuda as numba_cuda

from kernels.compress.sign import LANES, TILE
from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.patterns import MAGNITUDE, bits_of, float_of, get32, on_device, put32
from kernels.cuda.sweep import aligned, launch, sweeping
from kernels.cuda.vector import WIDTH, lanes
from kernels.cuda.votes import majority
from kernels.device_array import DeviceArray

if TYPE_CHECKING:
    from kernels.compress.sign import Sign

__all__ = ["decode", "decode_add", "encode", "encode_feedback", "every", "majority"]

cuda = cast("Any", numba_cuda)
_FLOATS, _DOUBLES, _BYTES = lanes("float32"), lanes("float64"), lanes("uint8")
_load, _store, _one, _put = _FLOATS.load, _FLOATS.store, _FLOATS.one, _FLOATS.put
_byte, _put_byte = _BYTES.one, _BYTES.put

_THREADS = 256
_ROWS = TILE // LANES
_EACH = 16
_ALL = 0xFFFFFFFF
_ZERO = np.float32(0)


def encode(values: DeviceArray, wire: DeviceArray, encoding: Sign, counter: int) -> None:
    """Signs, and the mean magnitude behind them."""
    _launch(_tiles(False), values, values, wire)


def decode(wire: DeviceArray, values: DeviceArray, encoding: Sign) -> None:
    """``values = ±scale``."""
    launch(_decoder("put"), [(values, 4), (wire, 0)], values.size, _EACH)


def decode_add(wire: DeviceArray, values: DeviceArray, encoding: Sign) -> None:
    """``values += ±scale``."""
    launch(_decoder("add"), [(values, 4), (wire, 0)], values.size, _EACH)


def encode_feedback(
    values: DeviceArray, wire: DeviceArray, residual: DeviceArray, encoding: Sign, counter: int
) -> None:  # fmt: skip
    """Encode with error feedback; see ``Encoding``."""
    _launch(_tiles(True), values, residual, wire)
    launch(_decoder("settle"), [(values, 4), (wire, 0), (residual, 4)], values.size, _EACH)


def every() -> Iterator[Kernel]:
    """All of them."""
    yield from (_tiles(False), _tiles(True), _total())
    yield from (_decoder("put"), _decoder("add"), _decoder("settle"))


def _launch(kernel: Kernel, values: DeviceArray, residual: DeviceArray, wire: DeviceArray) -> None:
    count, device = values.size, values.device
    if count == 0:
        return
    tiles, apart = -(-count // TILE), any(aligned(array, 4) % WIDTH for array in (values, residual))
    sums = device.allocate(4 * tiles, values.stream)
    whole = 0 if apart else count // TILE
    arguments = [values.address, residual.address, wire.address, sums.address, count, whole, tiles]
    device.launch(kernel, blocks_for(kernel, tiles * _THREADS, device), arguments, values.stream)
    device.launch(_total(), 1, [sums.address, tiles, count, wire.address + -(-count // 8)], values.stream)


@cache
def _tiles(feedback: bool) -> Kernel:
    """Signs and the sum of each tile; with feedback of ``residual += values``."""
    four, some = (_four_sums, _some_sums) if feedback else (_four, _some)

    def kernel(values: int, residual: int, wire: int, sums: int, count: int, whole: int, tiles: int) -> None:
        room = cuda.shared.array(LANES, "float32")
        thread, lane, tile = cuda.threadIdx.x, cuda.laneid, cuda.blockIdx.x
        while tile < tiles:
            at = tile * TILE + 4 * thread
            if tile < whole:
                x, y = four(values, residual, at), four(values, residual, at + LANES)
                z, w = four(values, residual, at + 2 * LANES), four(values, residual, at + 3 * LANES)
                if feedback:
                    _store(residual + 4 * at, x)
                    _store(residual + 4 * (at + LANES), y)
                    _store(residual + 4 * (at + 2 * LANES), z)
                    _store(residual + 4 * (at + 3 * LANES), w)
            else:
                x, y = some(values, residual, at, count), some(values, residual, at + LANES, count)
                z, w = some(values, residual, at + 2 * LANES, count), some(values, residual, at + 3 * LANES, count)
            _write_signs(wire, count, at, lane, x)
            _write_signs(wire, count, at + LANES, lane, y)
            _write_signs(wire, count, at + 2 * LANES, lane, z)
            _write_signs(wire, count, at + 3 * LANES, lane, w)
            total = _folded(_magnitudes(x, y, z, w), room, thread)
            if thread == 0:
                _put(sums + 4 * tile, total)
            cuda.syncthreads()
            tile += cuda.gridDim.x

    return Kernel(f"sign_tiles{'_feedback' if feedback else ''}", kernel, ("int64",) * 7, _THREADS)


@cache
def _total() -> Kernel:
    """The scale, by one block: the tiles' sums in lanes of float64."""

    @on_device
    def summed(sums: int, tiles: int, lane: int) -> Any:
        total = 0.0
        for tile in range(lane, tiles, LANES):
            total += np.float64(_one(sums + 4 * tile))
        return total

    def kernel(sums: int, tiles: int, count: int, scale: int) -> None:
        room = cuda.shared.array(LANES, "float64")
        thread = cuda.threadIdx.x
        lane = 4 * thread
        four = (
            summed(sums, tiles, lane), summed(sums, tiles, lane + 1),
            summed(sums, tiles, lane + 2), summed(sums, tiles, lane + 3),
        )  # fmt: skip
        total = _folded(four, room, thread)
        if thread == 0:
            put32(scale, bits_of(np.float32(total / np.float64(count))))

    return Kernel("sign_scale", kernel, ("int64",) * 4, _THREADS, vectorised=False)


@cache
def _decoder(work: str) -> Kernel:
    """Put, add, or put and take from the residual; the scale is finite only if all that was wanted is."""
    add, settle = work == "add", work == "settle"

    @on_device
    def signed(places: Any, count: int, i: int) -> Any:
        scale, bits = get32(places[1] + (count + 7) // 8), np.uint32(_byte(places[1] + i // 8)) >> np.uint32(i % 8)
        return float_of(np.uint32(scale ^ (np.uint32(bits) << np.uint32(31))))

    @on_device
    def single(places: Any, count: int, i: int) -> None:
        value, place = signed(places, count, i), places[0] + 4 * i
        _put(place, _one(place) + value if add else value)
        if settle:
            _put(places[2] + 4 * i, _rest(_one(places[2] + 4 * i), value))

    @on_device
    def four(places: Any, i: int, scale: Any, bits: Any) -> None:
        place = places[0] + 4 * i
        x, y = _signed(scale, bits), _signed(scale, bits >> np.uint32(1))
        z, w = _signed(scale, bits >> np.uint32(2)), _signed(scale, bits >> np.uint32(3))
        if add:
            old = _load(place)
            _store(place, (old[0] + x, old[1] + y, old[2] + z, old[3] + w))
        else:
            _store(place, (x, y, z, w))
        if settle:
            old = _load(places[2] + 4 * i)
            _store(places[2] + 4 * i, (_rest(old[0], x), _rest(old[1], y), _rest(old[2], z), _rest(old[3], w)))

    @on_device
    def group(places: Any, count: int, i: int) -> None:
        scale, place = get32(places[1] + (count + 7) // 8), places[1] + i // 8
        # The third byte is there: the scale follows the bits.
        both = np.uint32(_byte(place)) | np.uint32(_byte(place + 1)) << np.uint32(8)
        bits = np.uint32(both | np.uint32(_byte(place + 2)) << np.uint32(16)) >> np.uint32(i % 8)
        for part in range(0, _EACH, 4):
            four(places, i + part, scale, np.uint32(bits >> np.uint32(part)))

    return sweeping(f"sign_{work}", single, group, _EACH, vectorised=False)


@on_device
def _four(values: int, residual: int, i: int) -> Any:
    return _load(values + 4 * i)


@on_device
def _some(values: int, residual: int, i: int, count: int) -> Any:
    """Four elements, zeros behind the last."""
    x = _one(values + 4 * i) if i < count else _ZERO
    y = _one(values + 4 * i + 4) if i + 1 < count else _ZERO
    z = _one(values + 4 * i + 8) if i + 2 < count else _ZERO
    w = _one(values + 4 * i + 12) if i + 3 < count else _ZERO
    return x, y, z, w


@on_device
def _four_sums(values: int, residual: int, i: int) -> Any:
    new, old = _load(values + 4 * i), _load(residual + 4 * i)
    return old[0] + new[0], old[1] + new[1], old[2] + new[2], old[3] + new[3]


@on_device
def _some_sums(values: int, residual: int, i: int, count: int) -> Any:
    for j in range(i, min(i + 4, count)):
        _put(residual + 4 * j, _one(residual + 4 * j) + _one(values + 4 * j))
    return _some(residual, values, i, count)


@on_device
def _magnitudes(x: Any, y: Any, z: Any, w: Any) -> Any:
    """Four lanes: the magnitudes of a tile's four rows."""
    first = _size(x[0]) + _size(y[0]) + _size(z[0]) + _size(w[0])
    second = _size(x[1]) + _size(y[1]) + _size(z[1]) + _size(w[1])
    third = _size(x[2]) + _size(y[2]) + _size(z[2]) + _size(w[2])
    return first, second, third, _size(x[3]) + _size(y[3]) + _size(z[3]) + _size(w[3])


@on_device
def _size(value: Any) -> Any:
    return float_of(np.uint32(bits_of(value) & MAGNITUDE))


@on_device
def _folded(four: Any, room: Any, thread: int) -> Any:
    """The sum of all lanes, four of each thread, folded in halves; right in thread 0."""
    a, b, c, d = four
    half = _THREADS // 2
    while half >= 32:
        if thread < 2 * half:
            room[4 * thread], room[4 * thread + 1], room[4 * thread + 2], room[4 * thread + 3] = a, b, c, d
        cuda.syncthreads()
        if thread < half:
            other = 4 * (thread + half)
            a, b, c, d = a + room[other], b + room[other + 1], c + room[other + 2], d + room[other + 3]
        cuda.syncthreads()
        half //= 2
    while half:
        a, b = a + cuda.shfl_down_sync(_ALL, a, half), b + cuda.shfl_down_sync(_ALL, b, half)
        c, d = c + cuda.shfl_down_sync(_ALL, c, half), d + cuda.shfl_down_sync(_ALL, d, half)
        half //= 2
    return (a + c) + (b + d)


@on_device
def _write_signs(wire: int, count: int, i: int, lane: int, four: Any) -> None:
    """The signs of eight threads' elements make four bytes, which four of the threads write."""
    nibble = _bit(four[0]) | _bit(four[1]) << 1 | _bit(four[2]) << 2 | _bit(four[3]) << 3
    word = np.int32(nibble << 4 * (lane % 8))
    word |= cuda.shfl_xor_sync(_ALL, word, 1)
    word |= cuda.shfl_xor_sync(_ALL, word, 2)
    word |= cuda.shfl_xor_sync(_ALL, word, 4)
    octet = i // 32 * 4 + lane % 8
    if lane % 8 < 4 and octet < (count + 7) // 8:
        _put_byte(wire + octet, np.uint8(word >> 8 * (lane % 8) & 0xFF))


@on_device
def _bit(value: Any) -> Any:
    return np.int64(bits_of(value) >> np.uint32(31))


@on_device
def _signed(scale: Any, bits: Any) -> Any:
    """The scale with the sign that the lowest bit says."""
    return float_of(np.uint32(scale ^ (np.uint32(bits) << np.uint32(31))))


@on_device
def _rest(wanted: Any, decoded: Any) -> Any:
    less = wanted - decoded
    return less if decoded - decoded == _ZERO else _ZERO
