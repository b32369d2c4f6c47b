"""Elements at random places on a CUDA device. Not yet run on hardware.

Threads draw their places themselves. A call of Philox would do for four of them; a call for each is simpler, and costs
less than the scattered access that follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numba import cuda as numba_cuda

from kernels.compress.philox import HALF, LOW, ten_rounds
from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.patterns import get32, on_device, put32
from kernels.cuda.sparse import clear, gather_sums
from kernels.cuda.sweep import aligned, signed
from kernels.cuda.vector import lanes
from kernels.device_array import DeviceArray

if TYPE_CHECKING:
    from kernels.compress.randomk import RandomK

__all__ = ["decode", "decode_add", "encode", "encode_feedback", "every", "reduce"]

cuda = cast("Any", numba_cuda)
_FLOATS = lanes("float32")
_one, _put = _FLOATS.one, _FLOATS.put

_ZERO, _NAN = np.float32(0), np.float32(np.nan)

_philox = on_device(ten_rounds)


def encode(values: DeviceArray, wire: DeviceArray, encoding: RandomK, counter: int) -> None:
    """The values at the counter's places, and the counter."""
    _launch(_taking(encoding.unbiased), [values, wire], values.size, encoding, values, counter)


def decode(wire: DeviceArray, values: DeviceArray, encoding: RandomK) -> None:
    """Zeros, but for what was chosen."""
    clear(values)
    _launch(_putting("put"), [values, wire], values.size, encoding, values)


def decode_add(wire: DeviceArray, values: DeviceArray, encoding: RandomK) -> None:
    """Add what was chosen; nothing else is touched."""
    _launch(_putting("add"), [values, wire], values.size, encoding, values)


def encode_feedback(
    values: DeviceArray, wire: DeviceArray, residual: DeviceArray, encoding: RandomK, counter: int
) -> None:  # fmt: skip
    """Encode with error feedback; see ``Encoding``."""
    gather_sums(values, residual, empty=True)
    _launch(_taking(encoding.unbiased), [residual, wire], values.size, encoding, values, counter)
    _launch(_settling(), [values, wire, residual], values.size, encoding, values)


def reduce(
    left: DeviceArray, right: DeviceArray, out: DeviceArray, count: int, encoding: RandomK, counter: int
) -> None:  # fmt: skip
    """Add values at the same places; NaN where the places differ, which no host knows in time."""
    _launch(_adding(), [left, right, out], count, encoding, out)


def every() -> Iterator[Kernel]:
    """All, of what can be scaled one."""
    yield from (_taking(True), _putting("put"), _putting("add"), _settling(), _adding())


def _launch(
    kernel: Kernel, arrays: list[DeviceArray], count: int, encoding: RandomK, place: DeviceArray, counter: int = 0
) -> None:  # fmt: skip
    """Over the places that are chosen."""
    kept = encoding.kept(count)
    if kept:
        addresses = [aligned(array, 4) for array in arrays] + [0] * (3 - len(arrays))
        arguments = [*addresses, count, kept, signed(counter), signed(encoding.seed)]
        place.device.launch(kernel, blocks_for(kernel, kept, place.device), arguments, place.stream)


def _made(name: str, function: Callable[..., None]) -> Kernel:
    return Kernel(name, function, ("int64",) * 7, vectorised=False, registers=80)


@on_device
def _place(i: int, count: int, kept: int, counter: Any, key: Any) -> Any:
    """Where the i-th is, and how many it was chosen from."""
    low, high = i * count // kept, (i + 1) * count // kept
    pair = _philox(np.uint64(i // 4), counter, key)
    both = pair[1] if i % 4 // 2 else pair[0]
    word = both >> HALF if i % 2 else both & LOW
    return low + np.int64(word * np.uint64(high - low) >> HALF), high - low


@on_device
def _counter(wire: int, kept: int) -> Any:
    """The counter that a message ends with."""
    return np.uint64(get32(wire + 4 * kept)) | np.uint64(get32(wire + 4 * kept + 4)) << HALF


@on_device
def _write_counter(wire: int, kept: int, counter: Any) -> None:
    put32(wire + 4 * kept, np.uint32(counter & LOW))
    put32(wire + 4 * kept + 4, np.uint32(counter >> HALF))


@cache
def _taking(unbiased: bool) -> Kernel:
    def kernel(values: int, wire: int, c: int, count: int, kept: int, counter: int, seed: int) -> None:
        stream, key = np.uint64(counter), np.uint64(seed)
        i = cuda.grid(1)
        if i == 0:
            _write_counter(wire, kept, stream)
        while i < kept:
            place, run = _place(i, count, kept, stream, key)
            value = _one(values + 4 * place)
            _put(wire + 4 * i, value * np.float32(run) if unbiased else value)
            i += cuda.gridsize(1)

    return _made(f"randomk_take{'_unbiased' if unbiased else ''}", kernel)


@cache
def _putting(work: str) -> Kernel:
    add = work == "add"

    def kernel(values: int, wire: int, c: int, count: int, kept: int, counter: int, seed: int) -> None:
        stream, key = _counter(wire, kept), np.uint64(seed)
        i = cuda.grid(1)
        while i < kept:
            place, _ = _place(i, count, kept, stream, key)
            value = _one(wire + 4 * i)
            _put(values + 4 * place, _one(values + 4 * place) + value if add else value)
            i += cuda.gridsize(1)

    return _made(f"randomk_{work}", kernel)


@cache
def _settling() -> Kernel:
    def kernel(values: int, wire: int, residual: int, count: int, kept: int, counter: int, seed: int) -> None:
        stream, key = _counter(wire, kept), np.uint64(seed)
        i = cuda.grid(1)
        while i < kept:
            place, _ = _place(i, count, kept, stream, key)
            value = _one(wire + 4 * i)
            rest = _one(residual + 4 * place) - value
            _put(values + 4 * place, value)
            _put(residual + 4 * place, rest if rest - rest == _ZERO else _ZERO)
            i += cuda.gridsize(1)

    return _made("randomk_settle", kernel)


@cache
def _adding() -> Kernel:
    def kernel(left: int, right: int, out: int, count: int, kept: int, counter: int, seed: int) -> None:
        mine, other = _counter(left, kept), _counter(right, kept)
        i = cuda.grid(1)
        if i == 0 and out not in (left, right):
            _write_counter(out, kept, mine)
        while i < kept:
            _put(out + 4 * i, _one(left + 4 * i) + _one(right + 4 * i) if mine == other else _NAN)
            i += cuda.gridsize(1)

    return _made("randomk_add_messages", kernel)
