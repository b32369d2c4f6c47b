"""Gradient buckets on a CUDA device: one launch copies all arrays of a bucket. Not yet run on hardware.

A table in device memory lists pieces of up to 32 KiB, each with its two addresses. A block copies a piece at a time, by
vectors of 128 bits of which each thread has four under way; by 4 bytes, or single ones, where the two addresses allow
no more. The table is made when arrays are first seen at their addresses, and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numba import cuda as numba_cuda
from numba.cuda import extending

from kernels.cuda.device import Device, blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.vector import WIDTH, lanes
from kernels.cuda.words import moves
from kernels.device_array import DeviceArray

__all__ = ["every", "pack", "unpack"]

cuda = cast("Any", numba_cuda)
inlined = cast("Callable[[Any], Any]", cast("Any", extending).register_jitable)

PIECE = 32 << 10
THREADS = 256

Move = tuple[int, int, int, int]
"""Source, target, bytes to copy, and bytes to fill with zeros after them."""


def pack(arrays: Sequence[Any], offsets: Sequence[int], size: int, buffer: Any) -> None:
    """Copy each array, in the order in which it lies, to its offset (in elements) of the buffer, and zeros between."""
    there = DeviceArray.here(buffer, "buffer")
    _copy(there, _moves(there, [DeviceArray.here(array) for array in arrays], (*offsets, size)))


def unpack(buffer: Any, offsets: Sequence[int], arrays: Sequence[Any]) -> None:
    """Copy each part of the buffer back to its array."""
    there = DeviceArray.here(buffer, "buffer")
    shown = [DeviceArray.here(array) for array in arrays]
    back = _moves(there, shown, (*offsets, offsets[-1]))
    _copy(there, tuple((target, source, nbytes, 0) for source, target, nbytes, _ in back))


def every() -> Iterator[Kernel]:
    """The one kernel."""
    yield _kernel()


def _moves(buffer: DeviceArray, arrays: Sequence[DeviceArray], offsets: Sequence[int]) -> tuple[Move, ...]:
    itemsize = buffer.dtype.itemsize
    found: list[Move] = []
    for array, (start, stop) in zip(arrays, pairwise(offsets), strict=True):
        gap = (stop - start) * itemsize - array.nbytes
        found.append((array.address, buffer.address + start * itemsize, array.nbytes, max(0, gap)))
    return tuple(found)


def _copy(buffer: DeviceArray, wanted: tuple[Move, ...]) -> None:
    table = _table(buffer.device, wanted)
    blocks = blocks_for(_kernel(), table.size * THREADS, buffer.device)
    buffer.device.launch(_kernel(), blocks, (table.address, table.size // 4), buffer.stream)


@lru_cache(maxsize=256)
def _table(device: Device, wanted: tuple[Move, ...]) -> DeviceArray:
    """Rows of four int64, a piece each, on the device."""
    rows = np.array([row for move in wanted for row in _pieces(*move)], np.int64).reshape(-1)
    table = device.allocate(rows.nbytes).view(np.int64)
    device.copy_in(table, rows, table.stream)
    device.synchronize(table.stream)  # other streams will read it, and the rows on this side go
    return table


def _pieces(source: int, target: int, nbytes: int, zeros: int) -> Iterator[Move]:
    for start in range(0, max(nbytes, 1), PIECE):
        length = min(PIECE, nbytes - start)
        yield source + start, target + start, length, zeros if start + length == nbytes else 0


@cache
def _kernel() -> Kernel:
    row, put_byte, zero = lanes("int64").load, lanes("uint8").put, np.uint8(0)
    by_vectors, by_words, by_bytes = _by_vectors(), _by_units(4), _by_units(1)

    def copy_pieces(table: int, pieces: int) -> None:
        piece, thread = cuda.blockIdx.x, cuda.threadIdx.x
        while piece < pieces:
            source, target = row(table + piece * 32)
            nbytes, zeros = row(table + piece * 32 + WIDTH)
            done = 0
            if (source | target) % WIDTH == 0:
                done = by_vectors(source, target, nbytes, thread)
            elif (source | target) % 4 == 0:
                done = by_words(source, target, nbytes, thread)
            by_bytes(source + done, target + done, nbytes - done, thread)
            if thread < zeros:
                put_byte(target + nbytes + thread, zero)
            piece += cuda.gridDim.x

    return Kernel("copy_pieces", copy_pieces, ("int64", "int64"), threads=THREADS)


def _by_vectors() -> Any:
    """``function(source, target, nbytes, thread)``: this thread's vectors; how many bytes all threads copy."""
    load, store = moves(WIDTH)
    step = THREADS * WIDTH

    @inlined
    def copied(source: int, target: int, nbytes: int, thread: int) -> int:
        whole = nbytes // WIDTH * WIDTH
        at = thread * WIDTH
        while at + 3 * step < whole:
            a, b = load(source + at), load(source + at + step)
            c, d = load(source + at + 2 * step), load(source + at + 3 * step)
            store(target + at, a)
            store(target + at + step, b)
            store(target + at + 2 * step, c)
            store(target + at + 3 * step, d)
            at += 4 * step
        while at < whole:
            store(target + at, load(source + at))
            at += step
        return whole

    return copied


def _by_units(unit: int) -> Any:
    load, store = moves(unit)

    @inlined
    def copied(source: int, target: int, nbytes: int, thread: int) -> int:
        whole = nbytes // unit * unit
        at = thread * unit
        while at < whole:
            store(target + at, load(source + at))
            at += THREADS * unit
        return whole

    return copied
