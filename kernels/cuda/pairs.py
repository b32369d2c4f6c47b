"""``minloc`` and ``maxloc`` of pairs of a number and an index on a CUDA device. Not yet run on hardware.

Threads stride over the pairs one by one, number and index apart: a warp uses all of each sector that it reads, in two
loads of at most 8 bytes a pair. Traffic for two inputs of n bytes: 3·n; more inputs go one after the other, 3·n each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, cast

import numpy as np
from numba import cuda as numba_cuda
from numba.cuda import extending as numba_extending

from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.loops import onward
from kernels.cuda.vector import lanes
from kernels.device_array import DeviceArray

__all__ = ["every", "fold"]

cuda = cast("Any", numba_cuda)
inlined = cast("Callable[[Any], Any]", cast("Any", numba_extending).register_jitable)

SAMPLE = np.dtype([("value", "f4"), ("index", "i4")]), np.dtype([("value", "f8"), ("index", "i4")], align=True)
"""Dtypes of pairs of the hundreds that there can be: MPI's FLOAT_INT and DOUBLE_INT, the latter with a gap."""


def fold(name: str, inputs: Sequence[DeviceArray], out: DeviceArray) -> None:
    """``out = inputs[0] ∘ inputs[1] ∘ ...`` from the left, queued on the stream of ``out``; it may be an input.

    TypeError for pairs of halves, ValueError for arrays that do not begin at a multiple of what their numbers take.
    """
    step = max(_field(out.dtype, part)[0].itemsize for part in range(2))
    for array in (*inputs, out):
        if array.address % step:
            raise ValueError(f"{array!r} does not begin at a multiple of {step} bytes: pass a copy of it")
    if out.size == 0:
        return
    total, *others = inputs
    partial = out if all(array.address != out.address for array in others[1:]) else _room_like(out)
    chosen = kernel(name, out.dtype)
    for number, other in enumerate(others or [total], 1):
        target = out if number >= len(others) else partial
        arguments = [total.address, other.address, target.address, out.size]
        out.device.launch(chosen, blocks_for(chosen, out.size, out.device), arguments, out.stream)
        total = partial


@cache
def kernel(name: str, dtype: np.dtype[Any]) -> Kernel:
    """``left``, ``right`` and ``out`` are addresses, ``count`` is of pairs."""
    (number, at), (index, beside) = (_field(dtype, part) for part in range(2))
    one, put, one_index, put_index = (*_moves(number), *_moves(index))
    size, comes_first = dtype.itemsize, _lower if name == "minloc" else _higher

    def locate(left: int, right: int, out: int, count: int) -> None:
        i, stride = cuda.grid(1), cuda.gridsize(1)
        while i < count:
            place = i * size
            value, mark = one(left + place + at), one_index(left + place + beside)
            other, other_mark = one(right + place + at), one_index(right + place + beside)
            if comes_first(other, other_mark, value, mark):
                value, mark = other, other_mark
            put(out + place + at, value)
            put_index(out + place + beside, mark)
            i = onward(i, stride)

    parts = f"{number.name}_{at}_{index.name}_{beside}_{size}"
    return Kernel(f"{name}_{parts}", locate, ("int64",) * 4, vectorised=False)


def every() -> Iterator[Kernel]:
    """A telling sample."""
    yield from (kernel(name, dtype) for name, dtype in zip(("minloc", "maxloc"), SAMPLE, strict=True))


@inlined
def _lower(value: Any, mark: Any, than: Any, its_mark: Any) -> Any:
    """Whether a pair comes before another: a NaN before all, else the smaller number, of equals the lower index."""
    if value != value or than != than:  # only NaN differs from itself
        return value != value and (than == than or mark < its_mark)
    return value < than or (value == than and mark < its_mark)


@inlined
def _higher(value: Any, mark: Any, than: Any, its_mark: Any) -> Any:
    """The same with the larger number first."""
    if value != value or than != than:
        return value != value and (than == than or mark < its_mark)
    return value > than or (value == than and mark < its_mark)


def _field(dtype: np.dtype[Any], part: int) -> tuple[np.dtype[Any], int]:
    """One of the two fields, and how many bytes before it."""
    field, at, *_ = list((dtype.fields or {}).values())[part]
    if field.name not in ("float32", "float64") and field.kind not in "iu":
        raise TypeError(f"there are no kernels for pairs with {field.name}: reduce them on the host, or use float32")
    return field, at


def _moves(field: np.dtype[Any]) -> tuple[Any, Any]:
    known = lanes(field.name)
    return known.one, known.put


def _room_like(out: DeviceArray) -> DeviceArray:
    return out.device.allocate(out.nbytes, out.stream).view(out.dtype)
