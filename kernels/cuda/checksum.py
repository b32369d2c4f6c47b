"""Checksums of device memory: many pieces at once, put together at the end. Not yet run on hardware.

CRC-32C: each thread takes a piece of up to 1 KiB by vectors of 128 bits, four under way, and divides bit by bit: about
24 instructions a byte, and no tables, whose look-ups would collide in shared memory. A warp puts its 32 pieces together
by shuffles, and the host the warps' (one in 32 KiB). Pieces are counted from the end of the buffer, for zeros before
its start change nothing: so only one piece is not whole. XXH64 of a tree: a thread takes a piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

import numpy as np
from numba import cuda as numba_cuda
from numba.cuda import extending
from numpy.typing import NDArray

from kernels.cpu import checksum as on_host
from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.loops import onward
from kernels.cuda.vector import WIDTH, lanes
from kernels.device_array import DeviceArray
from kernels.formulas import checksum as formulas

__all__ = ["crc32c", "every", "xxh64_pieces"]

cuda = cast("Any", numba_cuda)
inlined = cast("Callable[[Any], Any]", cast("Any", extending).register_jitable)

WARP = 32
STEP = 4 * WIDTH
"""Bytes that a thread has under way."""

LONGEST = 1024
"""Bytes of a thread's piece at most."""

MANY = 1 << 17
"""Threads that keep a device busy: shorter buffers have shorter pieces."""

for _formula in formulas.FORMULAS:
    inlined(_formula)


def crc32c(data: DeviceArray, state: int) -> int:
    """The CRC's state after the bytes of ``data``. Waits for the stream of ``data``."""
    device, stream = data.device, data.stream
    ragged = (data.address + data.size) % WIDTH if data.size >= WIDTH else data.size
    body, rest = data[: data.size - ragged], np.empty(ragged, np.uint8)
    piece = _piece(body.size)
    warps = -(-body.size // (WARP * piece))
    sums = np.empty(warps, np.uint32)
    if warps:
        there = device.allocate(sums.nbytes, stream)
        chosen = _crc()
        arguments = body.address, body.address + body.size, piece, on_host.power(piece), warps, there.address
        device.launch(chosen, blocks_for(chosen, warps * WARP, device), arguments, stream)
        device.copy_out(sums, there, stream)
    device.copy_out(rest, data[body.size :], stream)
    device.synchronize(stream)
    start = int(on_host.folded(np.array([state, 0], np.uint32), np.uint64(on_host.power(body.size))))
    whole = start ^ int(on_host.folded(sums, np.uint64(on_host.power(WARP * piece))))
    rest.flags.writeable = False
    return on_host.crc32c(rest, whole)


def xxh64_pieces(data: DeviceArray, piece: int) -> NDArray[np.uint64]:
    """XXH64 of each ``piece`` bytes, a multiple of 64; the last may be shorter. Waits for the stream of ``data``.

    A buffer that does not start at a multiple of 16 is copied on the device first.
    """
    device, stream = data.device, data.stream
    digests = np.empty(-(-data.size // piece), np.uint64)
    whole = data.size // piece
    rest = np.empty(data.size - whole * piece, np.uint8)
    if whole:
        there = device.allocate(8 * whole, stream)
        chosen = _xxh64()
        aligned = _aligned(data)
        arguments = aligned.address, piece, whole, there.address
        device.launch(chosen, blocks_for(chosen, whole, device), arguments, stream)
        device.copy_out(digests[:whole], there, stream)
    device.copy_out(rest, data[whole * piece :], stream)
    device.synchronize(stream)
    rest.flags.writeable = False
    on_host.xxh64_pieces(rest, piece, digests[whole:])
    return digests


def every() -> Iterator[Kernel]:
    """Both kernels."""
    yield _crc()
    yield _xxh64()


def _piece(nbytes: int) -> int:
    """A power of two, so that the device is busy with short buffers too."""
    piece = STEP
    while piece < LONGEST and nbytes > MANY * piece:
        piece *= 2
    return piece


def _aligned(data: DeviceArray) -> DeviceArray:
    if data.address % WIDTH == 0:
        return data
    copy = data.device.allocate(data.size, data.stream)
    data.device.copy(copy, data, data.stream)
    return copy


@cache
def _crc() -> Kernel:
    put, whole, cut, joined = lanes("uint32").put, _whole(), _cut(), _joined()

    def crc32c(first: int, end: int, piece: int, power: int, warps: int, sums: int) -> None:
        lane, warp = cuda.grid(1) % WARP, cuda.grid(1) // WARP
        while warp < warps:
            start = end - ((warps - warp) * WARP - lane) * piece
            state = whole(start, start + piece) if start >= first else cut(max(start, first), start + piece)
            state = joined(state, power)
            if lane == 0:
                put(sums + warp * 4, state)
            warp = onward(warp, cuda.gridsize(1) // WARP)

    return Kernel("crc32c", crc32c, ("int64",) * 6, registers=80)


def _whole() -> Any:
    """``function(start, stop)``: the state after bytes at an address and of a number that vectors suit."""
    load, divided, zero = lanes("uint32").load, formulas.divided, np.uint32(0)

    @inlined
    def four(state: np.uint32, words: Any) -> np.uint32:
        return divided(divided(divided(divided(state, words[0], 32), words[1], 32), words[2], 32), words[3], 32)

    @inlined
    def whole(start: int, stop: int) -> np.uint32:
        state = zero
        a, b, c, d = load(start), load(start + 16), load(start + 32), load(start + 48)
        while start < stop:
            p, q, r, s = a, b, c, d
            start += STEP
            if start < stop:  # the next vectors are under way while these are divided
                a, b, c, d = load(start), load(start + 16), load(start + 32), load(start + 48)
            state = four(four(four(four(state, p), q), r), s)
        return state

    return whole


def _cut() -> Any:
    """The same byte by byte, for the piece that the buffer starts in, and for those before, which are empty."""
    byte, divided, zero = lanes("uint8").one, formulas.divided, np.uint32(0)

    @inlined
    def cut(start: int, stop: int) -> np.uint32:
        state = zero
        while start < stop:
            state = divided(state, np.uint32(byte(start)), 8)
            start += 1
        return state

    return cut


def _joined() -> Any:
    """``function(state, power)``: in lane 0 the state of the pieces of all lanes, one after the other."""
    product, lower = formulas.product, np.uint64(0xFFFFFFFF)

    @inlined
    def joined(state: np.uint32, power: int) -> np.uint32:
        total, ahead = np.uint64(state), np.uint64(power)
        for level in range(5):
            later = cuda.shfl_down_sync(0xFFFFFFFF, np.int32(total), 1 << level)
            total = product(ahead, total) ^ (np.uint64(later) & lower)
            ahead = product(ahead, ahead)
        return np.uint32(total)

    return joined


@cache
def _xxh64() -> Kernel:
    load, put = lanes("uint64").load, lanes("uint64").put
    absorbed, together, stirred = formulas.absorbed, formulas.together, formulas.stirred
    seeds = formulas.SEEDS

    @inlined
    def stripe(a: Any, b: Any, c: Any, d: Any, low: Any, high: Any) -> Any:
        return absorbed(a, low[0]), absorbed(b, low[1]), absorbed(c, high[0]), absorbed(d, high[1])

    def xxh64(data: int, piece: int, pieces: int, digests: int) -> None:
        i = cuda.grid(1)
        while i < pieces:
            a, b, c, d = seeds
            place = data + i * piece
            stop = place + piece
            u, v, w, x = load(place), load(place + 16), load(place + 32), load(place + 48)
            while place < stop:
                p, q, r, s = u, v, w, x
                place += STEP
                if place < stop:
                    u, v, w, x = load(place), load(place + 16), load(place + 32), load(place + 48)
                a, b, c, d = stripe(a, b, c, d, p, q)
                a, b, c, d = stripe(a, b, c, d, r, s)
            put(digests + i * 8, stirred(together(a, b, c, d) + np.uint64(piece)))
            i = onward(i, cuda.gridsize(1))

    return Kernel("xxh64", xxh64, ("int64",) * 4, threads=64, registers=80)
