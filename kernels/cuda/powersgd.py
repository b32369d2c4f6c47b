"""Products of a matrix with a few vectors on a CUDA device, bit for bit the CPU's. Not yet run on hardware.

They are memory-bound (2·rank operations for each 4 bytes), so a matrix library would win little, and its order of
adding is its own. Rows begin at any address, so elements are loaded one by one, 32 of a row side by side. P = M·Q: a
warp a row, lanes folded by shuffles. Q = Mᵀ·P: a thread a column of each segment of rows; then the segments are added
in order. M is read from memory twice and, for the further columns of the factors, from the caches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import cuda as numba_cuda

from kernels.compress.philox import HALF, LOW, ten_rounds
from kernels.compress.powersgd import DEPENDENT, LANES, SEGMENT, THREADS
from kernels.cuda.device import blocks_for
from kernels.cuda.exact import times
from kernels.cuda.kernel import Kernel
from kernels.cuda.patterns import on_device
from kernels.cuda.sparse import gather_sums
from kernels.cuda.sweep import aligned, signed
from kernels.cuda.vector import lanes
from kernels.device_array import DeviceArray

if TYPE_CHECKING:
    from kernels.compress.powersgd import Powersgd, Shape

__all__ = [
    "decode", "decode_add", "encode", "encode_feedback", "every", "expand", "orthonormalise", "project", "project_back",
    "start",
]  # fmt: skip

cuda = cast("Any", numba_cuda)
_FLOATS = lanes("float32")
_one, _put = _FLOATS.one, _FLOATS.put

_ALL = 0xFFFFFFFF
_ZERO, _STEP = np.float32(0), np.float32(2.0**-31)

_philox = on_device(ten_rounds)


def encode(values: DeviceArray, wire: DeviceArray, encoding: Powersgd, counter: int) -> None:
    """Both factors, from a start of the counter's."""
    if values.size:
        shape = encoding.shape(values.size)
        p, q = (part.on(values.stream) for part in _parts(wire, shape))
        start(q, encoding.seed, counter)
        project(values, q, p, shape)
        orthonormalise(p, shape)
        project_back(values, p, q, shape)


def decode(wire: DeviceArray, values: DeviceArray, encoding: Powersgd) -> None:
    """``values`` = the product."""
    shape = encoding.shape(values.size)
    expand(*_parts(wire, shape), values, shape, add=False)


def decode_add(wire: DeviceArray, values: DeviceArray, encoding: Powersgd) -> None:
    """``values`` += the product."""
    shape = encoding.shape(values.size)
    expand(*_parts(wire, shape), values, shape, add=True)


def encode_feedback(
    values: DeviceArray, wire: DeviceArray, residual: DeviceArray, encoding: Powersgd, counter: int
) -> None:  # fmt: skip
    """Encode with error feedback; see ``Encoding``."""
    if values.size:
        shape = encoding.shape(values.size)
        gather_sums(values, residual, empty=False)
        encode(residual.on(values.stream), wire, encoding, counter)
        p, q = _parts(wire, shape)
        _launch(_expanding("settle"), [p, q, values, residual], shape, shape.count, values)


def start(q: DeviceArray, seed: int, counter: int) -> None:
    """Random numbers from -1 to 1."""
    if q.size:
        arguments = [aligned(q, 4), q.size, signed(counter), signed(seed)]
        q.device.launch(_starting(), blocks_for(_starting(), q.size, q.device), arguments, q.stream)


def project(values: DeviceArray, q: DeviceArray, p: DeviceArray, shape: Shape) -> None:
    """Pᵀ = (M·Q)ᵀ."""
    _launch(_projecting(), [values, q, p, p], shape, shape.rows * LANES, p)


def orthonormalise(p: DeviceArray, shape: Shape) -> None:
    """Gram and Schmidt's, by one block: P is small."""
    if p.size:
        p.device.launch(_orthonormalising(), 1, [aligned(p, 4), shape.rows, shape.rank], p.stream)


def project_back(values: DeviceArray, p: DeviceArray, q: DeviceArray, shape: Shape) -> None:
    """Qᵀ = (Mᵀ·P)ᵀ, from the parts of each segment, for which memory is taken."""
    segments = -(-shape.rows // SEGMENT)
    parts = q.device.allocate(4 * segments * q.size, q.stream)
    _launch(_projecting_back(), [values, p, parts, parts], shape, segments * shape.columns, q)
    _launch(_adding_parts(), [q, q, parts, parts], shape, q.size, q)


def expand(p: DeviceArray, q: DeviceArray, values: DeviceArray, shape: Shape, *, add: bool) -> None:
    """``values`` = P·Qᵀ, or that more."""
    _launch(_expanding("add" if add else "put"), [p, q, values, values], shape, shape.count, values)


def every() -> Iterator[Kernel]:
    """All of them."""
    yield from (_starting(), _projecting(), _orthonormalising(), _projecting_back(), _adding_parts())
    yield from (_expanding("put"), _expanding("add"), _expanding("settle"))


def _parts(wire: DeviceArray, shape: Shape) -> tuple[DeviceArray, DeviceArray]:
    """Pᵀ and Qᵀ."""
    both = wire.view(np.float32)
    return both[: shape.rank * shape.rows], both[shape.rank * shape.rows :]


def _launch(kernel: Kernel, arrays: list[DeviceArray], shape: Shape, items: int, place: DeviceArray) -> None:
    """Over so many threads' worth of work, on the stream of ``place``."""
    if items:
        arguments = [*(aligned(array, 4) for array in arrays), shape.count, shape.rows, shape.columns, shape.rank]
        place.device.launch(kernel, blocks_for(kernel, items, place.device), arguments, place.stream)


def _made(name: str, function: Any) -> Kernel:
    return Kernel(name, function, ("int64",) * 8, vectorised=False)


@cache
def _starting() -> Kernel:
    def kernel(q: int, count: int, counter: int, seed: int) -> None:
        i = cuda.grid(1)
        while i < count:
            pair = _philox(np.uint64(i // 4), np.uint64(counter), np.uint64(seed))
            both = pair[1] if i % 4 // 2 else pair[0]
            word = both >> HALF if i % 2 else both & LOW
            _put(q + 4 * i, np.float32(np.int32(np.uint32(word))) * _STEP)
            i += cuda.gridsize(1)

    return Kernel("powersgd_start", kernel, ("int64",) * 4, vectorised=False)


@cache
def _projecting() -> Kernel:
    def kernel(values: int, q: int, p: int, d: int, count: int, rows: int, columns: int, rank: int) -> None:
        lane, row = cuda.laneid, cuda.grid(1) // LANES
        while row < rows:
            stop = min(columns, count - row * columns)
            for column in range(rank):
                total = _ZERO
                for first in range(0, stop, LANES):  # as often for every lane: they meet in the shuffles
                    j = first + lane
                    if j < stop:
                        factor = _one(q + 4 * (column * columns + j))
                        total += times(_one(values + 4 * (row * columns + j)), factor)
                half = LANES // 2
                while half:
                    total += cuda.shfl_xor_sync(_ALL, total, half)
                    half //= 2
                # Another lane each time: for a fixed one the compiler makes a loop of its own, where it meets nobody.
                if lane == (row + column) % LANES:
                    _put(p + 4 * (column * rows + row), total)
            row += cuda.gridsize(1) // LANES

    return _made("powersgd_project", kernel)


@on_device
def _dot(left: int, right: int, rows: int, room: Any, thread: int) -> Any:
    """In float64, a lane a thread; the same answer for all threads."""
    total = 0.0
    for i in range(thread, rows, THREADS):
        total += times(np.float64(_one(left + 4 * i)), np.float64(_one(right + 4 * i)))
    room[thread] = total
    cuda.syncthreads()
    half = THREADS // 2
    while half:
        if thread < half:
            room[thread] += room[thread + half]
        cuda.syncthreads()
        half //= 2
    total = room[0]
    cuda.syncthreads()
    return total


@cache
def _orthonormalising() -> Kernel:
    """Each thread changes the elements that it alone reads, so only the sums want barriers."""

    def kernel(p: int, rows: int, rank: int) -> None:
        room = cuda.shared.array(THREADS, "float64")
        thread = cuda.threadIdx.x
        for column in range(rank):
            mine = p + 4 * column * rows
            before = _dot(mine, mine, rows, room, thread)
            for turn in range(2 * column):
                other = p + 4 * (turn % column) * rows
                factor = np.float32(_dot(other, mine, rows, room, thread))
                for i in range(thread, rows, THREADS):
                    _put(mine + 4 * i, _one(mine + 4 * i) - times(factor, _one(other + 4 * i)))
            after = _dot(mine, mine, rows, room, thread)
            scale = 0.0 if after <= before * DEPENDENT else 1.0 / math.sqrt(after)
            for i in range(thread, rows, THREADS):
                _put(mine + 4 * i, np.float32(np.float64(_one(mine + 4 * i)) * scale))

    return Kernel("powersgd_orthonormalise", kernel, ("int64",) * 3, THREADS, vectorised=False, registers=96)


@cache
def _projecting_back() -> Kernel:
    def kernel(values: int, p: int, parts: int, d: int, count: int, rows: int, columns: int, rank: int) -> None:
        item, segments = cuda.grid(1), (rows + SEGMENT - 1) // SEGMENT
        while item < segments * columns:
            segment, j = item // columns, item % columns
            first = segment * SEGMENT
            for column in range(rank):
                total = _ZERO
                for row in range(first, min(first + SEGMENT, rows)):
                    if row * columns + j < count:
                        factor = _one(p + 4 * (column * rows + row))
                        total += times(_one(values + 4 * (row * columns + j)), factor)
                _put(parts + 4 * ((segment * rank + column) * columns + j), total)
            item += cuda.gridsize(1)

    return _made("powersgd_project_back", kernel)


@cache
def _adding_parts() -> Kernel:
    def kernel(q: int, b: int, parts: int, d: int, count: int, rows: int, columns: int, rank: int) -> None:
        i, segments = cuda.grid(1), (rows + SEGMENT - 1) // SEGMENT
        while i < rank * columns:
            total = _ZERO
            for segment in range(segments):
                total += _one(parts + 4 * (segment * rank * columns + i))
            _put(q + 4 * i, total)
            i += cuda.gridsize(1)

    return _made("powersgd_add_parts", kernel)


@cache
def _expanding(work: str) -> Kernel:
    """Put, add, or put and take from the residual."""
    add, settle = work == "add", work == "settle"

    def kernel(p: int, q: int, values: int, residual: int, count: int, rows: int, columns: int, rank: int) -> None:
        i = cuda.grid(1)
        while i < count:
            total = _ZERO
            for column in range(rank):
                right = _one(q + 4 * (column * columns + i % columns))
                total += times(right, _one(p + 4 * (column * rows + i // columns)))
            _put(values + 4 * i, _one(values + 4 * i) + total if add else total)
            if settle:
                rest = _one(residual + 4 * i) - total
                _put(residual + 4 * i, rest if rest - rest == _ZERO else _ZERO)
            i += cuda.gridsize(1)

    return _made(f"powersgd_{work}", kernel)
