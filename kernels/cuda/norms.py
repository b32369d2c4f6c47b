"""The norms of ``kernels.norms`` on a CUDA device: a warp reduces a piece. Not yet run on hardware.

Each thread of the warp keeps 8 of the piece's 256 lanes in registers; four loads of 128 bits are under way while it
adds the four before. The lanes are folded by halves, within threads where both halves lie in one, else by shuffles. One
number a piece is written, and further launches reduce those until one is left: no atomics, so the order is fixed; no
barriers and no shared memory, which a single warp does not need. A piece that is not whole, or of an array that does
not begin at a multiple of 16, goes by single loads: as many sectors of memory, in two to eight times as many
instructions.

Launches for n elements in k arrays: k, and one more up to 2^24 elements, two up to 2^36; ``l2`` has another.
Traffic: the elements once, and 16 bytes for each piece of 4,096.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, cast

import numpy as np
from llvmlite import ir
from numba import cuda as numba_cuda
from numba import types as numba_types
from numba.cuda.extending import intrinsic as numba_intrinsic

from kernels.cuda.assembly import instruction
from kernels.cuda.device import Device, blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.loops import onward
from kernels.cuda.terms import TERMS
from kernels.cuda.vector import WIDTH, lanes
from kernels.cuda.warps import LANES, STEP, WARP, steps
from kernels.device_array import DeviceArray

__all__ = ["absmax", "every", "l2", "nonfinite", "square_sum"]

PIECE = 4096

_REGISTERS = 80
"""Three blocks a multiprocessor then have at least 48 KiB under way, twice what an H100 takes to hide its latency."""

DTYPES = "float64", "float32", "float16", "bfloat16"

cuda, types = cast("Any", numba_cuda), cast("Any", numba_types)
intrinsic = cast("Callable[[Callable[..., Any]], Any]", numba_intrinsic)


def square_sum(arrays: Sequence[DeviceArray]) -> DeviceArray:
    """Arrays of one device to one number there, queued on the first array's stream."""
    return _reduced(arrays, "squares", "values")


def l2(arrays: Sequence[DeviceArray]) -> DeviceArray:
    """Arrays of one device to one number there."""
    total = square_sum(arrays)
    total.device.launch(_root(), 1, [total.address], total.stream)
    return total


def absmax(arrays: Sequence[DeviceArray]) -> DeviceArray:
    """Arrays of one device to one number there."""
    return _reduced(arrays, "magnitudes", "magnitudes")


def nonfinite(arrays: Sequence[DeviceArray]) -> DeviceArray:
    """Arrays of one device to one number there."""
    return _reduced(arrays, "nonfinite", "values")


def every() -> Iterator[Kernel]:
    """All kernels."""
    for name in ("squares", "magnitudes", "nonfinite"):
        yield from (_pieces(name, dtype) for dtype in DTYPES)
    yield _pieces("values", "float64")
    yield _root()


def _reduced(arrays: Sequence[DeviceArray], name: str, further: str) -> DeviceArray:
    """``name`` over the arrays, then ``further`` over the numbers of their pieces until one is left."""
    with _in_order(arrays) as stream:
        levels = _levels(arrays[0].device, sum(_pieces_of(array.size) for array in arrays), stream)
        done = 0
        for array in arrays:
            part = levels[0][done : done + _pieces_of(array.size)]
            _launch(_pieces(name, array.dtype.name), array, part)
            done += part.size
        for numbers, fewer in pairwise(levels):
            _launch(_pieces(further, "float64"), numbers, fewer)
    return levels[-1]


@contextmanager
def _in_order(arrays: Sequence[DeviceArray]) -> Generator[int]:
    """The first array's stream: it waits for the streams of the others, and these for what is queued meanwhile."""
    device, stream = arrays[0].device, arrays[0].stream
    others = sorted({array.stream for array in arrays} - {stream})
    for other in others:
        device.wait(stream, device.record(other))
    yield stream
    for other in others:
        device.wait(other, device.record(stream))


def _levels(device: Device, pieces: int, stream: int) -> list[DeviceArray]:
    """Room for the numbers of all pieces, for those of the pieces that they make ... and for the last one.

    It is one allocation, which the answer keeps alive: nothing has to wait for room to be freed.
    """
    sizes = [pieces]
    while sizes[-1] > 1:
        sizes.append(_pieces_of(sizes[-1]))
    room = device.allocate(8 * sum(sizes), stream).view(np.float64)
    ends = list(accumulate(sizes))
    return [room[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _pieces_of(size: int) -> int:
    """How many pieces there are; one of nothing where there are no elements."""
    return max(1, -(-size // PIECE))


def _launch(kernel: Kernel, source: DeviceArray, result: DeviceArray) -> None:
    device = result.device
    blocks = blocks_for(kernel, result.size * WARP, device)
    device.launch(kernel, blocks, [source.address, source.size, result.address, result.size], result.stream)


@cache
def _pieces(name: str, dtype: str) -> Kernel:
    """Reduces each piece of ``count`` elements at ``source`` to a float64 at ``sums``."""
    term = TERMS[name](dtype)
    known = steps(term)
    nothing, fetched, added, row, total = known.nothing, known.fetched, known.added, known.row, known.total
    put = lanes("float64").put
    size = term.bits // 8

    def reduce(source: int, count: int, sums: int, pieces: int) -> None:
        thread = cuda.threadIdx.x & (WARP - 1)
        piece, warps = cuda.grid(1) // WARP, cuda.gridsize(1) // WARP
        while piece < pieces:
            state = nothing()
            first, last = piece * PIECE, min(piece * PIECE + PIECE, count)
            if last - first == PIECE and source % WIDTH == 0:
                address, end = source + first * size + thread * WIDTH, source + last * size
                words = fetched(address)
                address = onward(address, STEP)
                while address < end:
                    following = fetched(address)
                    state = added(state, words)
                    words = following
                    address = onward(address, STEP)
                state = added(state, words)
            else:
                while first < last:
                    state = row(state, source, first, thread, count)
                    first = onward(first, LANES)
            found = total(state)
            if thread == 0:
                put(sums + piece * 8, found)
            piece = onward(piece, warps)

    return Kernel(f"{name}_{dtype}", reduce, ("int64",) * 4, registers=_REGISTERS)


@cache
def _root() -> Kernel:
    """The square root of a float64, in its place."""
    one, put, square_root = lanes("float64").one, lanes("float64").put, _square_root

    def root(place: int) -> None:
        if cuda.grid(1) == 0:
            put(place, square_root(one(place)))

    return Kernel("root_float64", root, ("int64",), threads=WARP, vectorised=False)


@intrinsic
def _square_root(typing: Any, value: Any) -> Any:
    """Of a float64, rounded to nearest."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return instruction(builder, "sqrt.rn.f64 $0, $1;", ir.DoubleType(), arguments)

    return types.float64(types.float64), generate
