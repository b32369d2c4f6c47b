"""The largest magnitudes on a CUDA device, wholly: the host waits for nothing. Not yet run on hardware.

Three times blocks count magnitudes by some leading bits, in shared memory, and one block finds the bin in which the
least one lies that is kept. Then tiles of 4,096 elements count what they have to give, one block adds those up, and
tiles write their places and values where they belong, in order: no result depends on who comes first. Memory is read
five times; 8 bytes a tile and 24 KiB are left.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import cuda as numba_cuda

from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.patterns import MAGNITUDE, add_at, bits_of, on_device
from kernels.cuda.sparse import clear, gather_sums, scatter
from kernels.cuda.sweep import aligned
from kernels.cuda.vector import WIDTH, lanes
from kernels.device_array import DeviceArray

if TYPE_CHECKING:
    from kernels.compress.topk import TopK

__all__ = ["decode", "decode_add", "encode", "encode_feedback", "every"]

cuda = cast("Any", numba_cuda)
_FLOATS, _INTS = lanes("float32"), lanes("int32")
_load, _one, _put = _FLOATS.load, _FLOATS.one, _FLOATS.put
_index, _put_index = _INTS.one, _INTS.put

_THREADS, _WARPS, _EACH = 256, 8, 16
_TILE = _THREADS * _EACH
_BINS = 2048
_SHIFTS = 20, 10, 0
"""Bits below the eleven, ten and ten that are counted."""
_PREFIX, _LEFT, _COUNTS = 0, 4, 8
"""Bytes of the workspace: the leading bits that are settled, which of the elements with those bits is sought, bins."""
_ALL, _HALF = 0xFFFFFFFF, 1 << 16


def encode(values: DeviceArray, wire: DeviceArray, encoding: TopK, counter: int) -> None:
    """Places and values of the largest magnitudes."""
    count, device, stream = values.size, values.device, values.stream
    if count == 0:
        return
    kept, tiles = encoding.kept(count), -(-count // _TILE)
    work = device.allocate(_COUNTS + 4 * _BINS * len(_SHIFTS) + 8 * tiles, stream)
    clear(work.view(np.float32))
    whole = 0 if aligned(values, 4) % WIDTH else tiles - (count % _TILE > 0)
    per_tile = work.address + _COUNTS + 4 * _BINS * len(_SHIFTS)
    everywhere = blocks_for(_counting(), tiles * _THREADS, device)
    for turn, shift in enumerate(_SHIFTS):
        counts = work.address + _COUNTS + 4 * _BINS * turn
        given = [values.address, work.address, counts, shift, count, whole, tiles]
        device.launch(_counting(), everywhere, given, stream)
        device.launch(_descending(), 1, [work.address, counts, shift, kept], stream)
    given = [values.address, work.address, per_tile, count, whole, tiles]
    device.launch(_weighing(), everywhere, given, stream)
    device.launch(_placing(), 1, [per_tile, tiles], stream)
    given = [values.address, work.address, per_tile, aligned(wire, 4), kept, count, whole, tiles]
    device.launch(_writing(), everywhere, given, stream)


def decode(wire: DeviceArray, values: DeviceArray, encoding: TopK) -> None:
    """Zeros, but for what was kept; places that are not there are left out."""
    clear(values)
    scatter("put", wire, values, values, encoding.kept(values.size))


def decode_add(wire: DeviceArray, values: DeviceArray, encoding: TopK) -> None:
    """Add what was kept; nothing else is touched."""
    scatter("add", wire, values, values, encoding.kept(values.size))


def encode_feedback(
    values: DeviceArray, wire: DeviceArray, residual: DeviceArray, encoding: TopK, counter: int
) -> None:  # fmt: skip
    """Encode with error feedback; see ``Encoding``. What is kept leaves the residual altogether."""
    gather_sums(values, residual, empty=True)
    encode(residual.on(values.stream), wire, encoding, counter)
    scatter("move", wire, values, residual, encoding.kept(values.size))


def every() -> Iterator[Kernel]:
    """All of them."""
    yield from (_counting(), _descending(), _weighing(), _placing(), _writing())


@on_device
def _pattern(values: int, i: int, count: int) -> Any:
    """A magnitude's pattern as int64; -1, less than any, behind the last."""
    return np.int64(bits_of(_one(values + 4 * i)) & MAGNITUDE) if i < count else np.int64(-1)


@on_device
def _sixteen(values: int, i: int, step: int, count: int, whole: bool) -> Any:
    """Four times four patterns, ``step`` elements apart, by four loads in flight where it can be."""
    if whole:
        x, y = _load(values + 4 * i), _load(values + 4 * (i + step))
        z, w = _load(values + 4 * (i + 2 * step)), _load(values + 4 * (i + 3 * step))
        return _patterns(x), _patterns(y), _patterns(z), _patterns(w)
    x, y = _some(values, i, count), _some(values, i + step, count)
    return x, y, _some(values, i + 2 * step, count), _some(values, i + 3 * step, count)


@on_device
def _patterns(four: Any) -> Any:
    x, y = np.int64(bits_of(four[0]) & MAGNITUDE), np.int64(bits_of(four[1]) & MAGNITUDE)
    return x, y, np.int64(bits_of(four[2]) & MAGNITUDE), np.int64(bits_of(four[3]) & MAGNITUDE)


@on_device
def _some(values: int, i: int, count: int) -> Any:
    x, y = _pattern(values, i, count), _pattern(values, i + 1, count)
    return x, y, _pattern(values, i + 2, count), _pattern(values, i + 3, count)


@cache
def _counting() -> Kernel:
    """Count magnitudes that begin with the prefix by their next bits."""

    @on_device
    def tally(bins: Any, pattern: Any, prefix: Any, shift: int, above: int) -> None:
        if pattern >= 0 and pattern >> above == prefix:
            cuda.atomic.add(bins, pattern >> shift & ((1 << (above - shift)) - 1), np.int32(1))

    def kernel(values: int, work: int, counts: int, shift: int, count: int, whole: int, tiles: int) -> None:
        bins = cuda.shared.array(_BINS, "int32")
        thread, tile = cuda.threadIdx.x, cuda.blockIdx.x
        prefix, above = np.int64(_index(work + _PREFIX)), 31 if shift == 20 else shift + 10
        for i in range(thread, _BINS, _THREADS):
            bins[i] = 0
        cuda.syncthreads()
        while tile < tiles:
            for four in _sixteen(values, tile * _TILE + 4 * thread, 4 * _THREADS, count, tile < whole):
                tally(bins, four[0], prefix, shift, above)
                tally(bins, four[1], prefix, shift, above)
                tally(bins, four[2], prefix, shift, above)
                tally(bins, four[3], prefix, shift, above)
            tile += cuda.gridDim.x
        cuda.syncthreads()
        for i in range(thread, _BINS, _THREADS):
            if bins[i]:
                add_at(counts + 4 * i, np.uint32(bins[i]))

    return Kernel("topk_count", kernel, ("int64",) * 7, _THREADS)


@cache
def _descending() -> Kernel:
    """Find the bin of the one that is sought; its bits join the prefix. One block, a thread for eight bins."""

    def kernel(work: int, counts: int, shift: int, kept: int) -> None:
        room = cuda.shared.array(_THREADS, "int64")
        thread = cuda.threadIdx.x
        total = np.int64(0)
        for i in range(8):
            total += _index(counts + 4 * (8 * thread + i))
        room[thread] = total
        cuda.syncthreads()
        if thread == 0:
            left = kept if shift == 20 else np.int64(_index(work + _LEFT))
            chunk = _THREADS - 1
            while chunk > 0 and room[chunk] < left:
                left -= room[chunk]
                chunk -= 1
            digit = 8 * chunk + 7
            while digit > 0 and _index(counts + 4 * digit) < left:
                left -= _index(counts + 4 * digit)
                digit -= 1
            prefix = digit if shift == 20 else np.int64(_index(work + _PREFIX)) << 10 | digit
            _put_index(work + _PREFIX, np.int32(prefix))
            _put_index(work + _LEFT, np.int32(left))

    return Kernel("topk_descend", kernel, ("int64",) * 4, _THREADS, vectorised=False)


@on_device
def _weight(pattern: Any, threshold: Any) -> Any:
    """1 for what is above the threshold, 65,536 for what is equal to it."""
    return np.int32((pattern > threshold) + _HALF * (pattern == threshold))


@on_device
def _weights(values: int, tile: int, thread: int, count: int, whole: int, threshold: Any) -> Any:
    """Of sixteen elements in a row."""
    total = np.int32(0)
    for x, y, z, w in _sixteen(values, tile * _TILE + thread * _EACH, 4, count, tile < whole):
        total += _weight(x, threshold) + _weight(y, threshold) + _weight(z, threshold) + _weight(w, threshold)
    return np.int32(total)


@on_device
def _before(weight: Any, room: Any, thread: int) -> Any:
    """The sum of the weights of all threads before this one, and of all; ``room`` is for one a warp."""
    running, lane, distance = weight, thread % 32, 1
    while distance < 32:
        other = cuda.shfl_up_sync(_ALL, running, distance)
        running += other if lane >= distance else 0
        distance *= 2
    cuda.syncthreads()
    if lane == 31:
        room[thread // 32] = running
    cuda.syncthreads()
    start, total = 0, 0
    for warp in range(_WARPS):
        start += room[warp] if warp < thread // 32 else 0
        total += room[warp]
    return start + running - weight, total


@cache
def _weighing() -> Kernel:
    """For each tile: how many are above the threshold, how many are equal to it."""

    def kernel(values: int, work: int, per_tile: int, count: int, whole: int, tiles: int) -> None:
        room = cuda.shared.array(_WARPS, "int32")
        thread, tile = cuda.threadIdx.x, cuda.blockIdx.x
        threshold = np.int64(_index(work + _PREFIX))
        while tile < tiles:
            _, total = _before(_weights(values, tile, thread, count, whole, threshold), room, thread)
            if thread == 0:
                _put_index(per_tile + 8 * tile, np.int32(total % _HALF))
                _put_index(per_tile + 8 * tile + 4, np.int32(total // _HALF))
            tile += cuda.gridDim.x

    return Kernel("topk_weigh", kernel, ("int64",) * 6, _THREADS)


@cache
def _placing() -> Kernel:
    """Make of each tile's numbers those of all tiles before it. One block, a run of tiles for each thread."""

    def kernel(per_tile: int, tiles: int) -> None:
        above, equal = cuda.shared.array(_THREADS, "int64"), cuda.shared.array(_THREADS, "int64")
        thread = cuda.threadIdx.x
        first, last = thread * tiles // _THREADS, (thread + 1) * tiles // _THREADS
        mine, other = np.int64(0), np.int64(0)
        for tile in range(first, last):
            mine += _index(per_tile + 8 * tile)
            other += _index(per_tile + 8 * tile + 4)
        above[thread], equal[thread] = mine, other
        cuda.syncthreads()
        mine, other = np.int64(0), np.int64(0)
        for before in range(thread):
            mine += above[before]
            other += equal[before]
        for tile in range(first, last):
            more, further = _index(per_tile + 8 * tile), _index(per_tile + 8 * tile + 4)
            _put_index(per_tile + 8 * tile, np.int32(mine))
            _put_index(per_tile + 8 * tile + 4, np.int32(other))
            mine += more
            other += further

    return Kernel("topk_place", kernel, ("int64",) * 2, _THREADS, vectorised=False)


@cache
def _writing() -> Kernel:
    """Write what is above the threshold, and the first of what is equal to it, in the order of the elements."""

    def kernel(
        values: int, work: int, per_tile: int, wire: int, kept: int, count: int, whole: int, tiles: int
    ) -> None:  # fmt: skip
        room = cuda.shared.array(_WARPS, "int32")
        thread, tile = cuda.threadIdx.x, cuda.blockIdx.x
        threshold, ties = np.int64(_index(work + _PREFIX)), np.int64(_index(work + _LEFT))
        while tile < tiles:
            start, _ = _before(_weights(values, tile, thread, count, whole, threshold), room, thread)
            above = np.int64(_index(per_tile + 8 * tile)) + start % _HALF
            equal = np.int64(_index(per_tile + 8 * tile + 4)) + start // _HALF
            first = tile * _TILE + thread * _EACH
            for i in range(first, min(first + _EACH, count)):
                pattern = _pattern(values, i, count)
                if pattern > threshold or (pattern == threshold and equal < ties):
                    at = wire + 4 * (above + min(equal, ties))
                    _put_index(at, np.int32(i))
                    _put(at + 4 * kept, _one(values + 4 * i))
                above += pattern > threshold
                equal += pattern == threshold
            tile += cuda.gridDim.x

    return Kernel("topk_write", kernel, ("int64",) * 8, _THREADS, vectorised=False)
