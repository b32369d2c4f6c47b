"""What sparse encodings have in common on a CUDA device: clearing, adding up, and moving elements by their places.

Not yet run on hardware. Sweeps move vectors of 128 bits; elements at places are touched one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import numpy as np
from numba import cuda as numba_cuda

from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.patterns import on_device
from kernels.cuda.sweep import aligned, launch, sweeping
from kernels.cuda.vector import lanes
from kernels.device_array import DeviceArray

__all__ = ["clear", "every", "gather_sums", "scatter"]

cuda = cast("Any", numba_cuda)
_FLOATS, _INTS = lanes("float32"), lanes("int32")
_index = _INTS.one
_load, _store, _one, _put = _FLOATS.load, _FLOATS.store, _FLOATS.one, _FLOATS.put

_EACH = 4
_ZERO = np.float32(0)


def clear(values: DeviceArray) -> None:
    """``values = 0``."""
    launch(_clearing(), [(values, 4)], values.size, _EACH)


def gather_sums(values: DeviceArray, residual: DeviceArray, *, empty: bool) -> None:
    """``residual += values``, and, if ``empty``, ``values = 0``."""
    launch(_summing(empty), [(values, 4), (residual, 4)], values.size, _EACH)


def scatter(work: str, wire: DeviceArray, values: DeviceArray, residual: DeviceArray, kept: int) -> None:
    """Put or add the ``kept`` values of a message at its places; "move": put them, and make the residual there 0.

    Places that are not there are left out. On the stream of ``values``.
    """
    if kept:
        arguments = [aligned(wire, 4), aligned(values, 4), aligned(residual, 4), kept, values.size]
        kernel = _scattering(work)
        values.device.launch(kernel, blocks_for(kernel, kept, values.device), arguments, values.stream)


def every() -> Iterator[Kernel]:
    """All of them."""
    yield from (_clearing(), _summing(True), _summing(False))
    yield from (_scattering("put"), _scattering("add"), _scattering("move"))


@cache
def _clearing() -> Kernel:
    @on_device
    def single(places: Any, count: int, i: int) -> None:
        _put(places[0] + 4 * i, _ZERO)

    @on_device
    def group(places: Any, count: int, i: int) -> None:
        _store(places[0] + 4 * i, (_ZERO, _ZERO, _ZERO, _ZERO))

    return sweeping("clear", single, group, _EACH, vectorised=False)


@cache
def _summing(empty: bool) -> Kernel:
    @on_device
    def single(places: Any, count: int, i: int) -> None:
        _put(places[1] + 4 * i, _one(places[1] + 4 * i) + _one(places[0] + 4 * i))
        if empty:
            _put(places[0] + 4 * i, _ZERO)

    @on_device
    def group(places: Any, count: int, i: int) -> None:
        new, old = _load(places[0] + 4 * i), _load(places[1] + 4 * i)
        _store(places[1] + 4 * i, (old[0] + new[0], old[1] + new[1], old[2] + new[2], old[3] + new[3]))
        if empty:
            _store(places[0] + 4 * i, (_ZERO, _ZERO, _ZERO, _ZERO))

    return sweeping(f"gather_sums{'_empty' if empty else ''}", single, group, _EACH)


@cache
def _scattering(work: str) -> Kernel:
    """Put, add, or put and take from the residual."""
    add, move = work == "add", work == "move"

    def kernel(wire: int, values: int, residual: int, kept: int, count: int) -> None:
        i = cuda.grid(1)
        while i < kept:
            place, value = np.int64(_index(wire + 4 * i)), _one(wire + 4 * (kept + i))
            if 0 <= place < count:
                _put(values + 4 * place, _one(values + 4 * place) + value if add else value)
                if move:
                    _put(residual + 4 * place, _ZERO)
            i += cuda.gridsize(1)

    return Kernel(f"scatter_{work}", kernel, ("int64",) * 5, vectorised=False)
