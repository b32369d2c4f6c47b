"""What sparse encodings have in common on a CUDA device: clearing, adding up, and moving elements by their places.

Not yet run on hardware. Sweeps move vectors of 128 bits; elements at places are touched one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from kernels.cuda.kernel import Kernel
from kernels.cuda.patterns import on_device
from kernels.cuda.sweep import launch, sweeping
from kernels.cuda.vector import lanes
from kernels.device_array import DeviceArray

__all__ = ["clear", "every", "gather_sums"]

_FLOATS = lanes("float32")
_load, _store, _one, _put = _FLOATS.load, _FLOATS.store, _FLOATS.one, _FLOATS.put

_EACH = 4
_ZERO = np.float32(0)


def clear(values: DeviceArray) -> None:
    """``values = 0``."""
    launch(_clearing(), [(values, 4)], values.size, _EACH)


def gather_sums(values: DeviceArray, residual: DeviceArray, *, empty: bool) -> None:
    """``residual += values``, and, if ``empty``, ``values = 0``."""
    launch(_summing(empty), [(values, 4), (residual, 4)], values.size, _EACH)


def every() -> Iterator[Kernel]:
    """Both, and what the second leaves out."""
    yield from (_clearing(), _summing(True), _summing(False))


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
