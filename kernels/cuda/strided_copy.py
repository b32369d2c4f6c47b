"""Copies between strided and contiguous memory on a CUDA device. Not yet run on hardware.

A thread moves one word at a time, of 1 to 16 bytes, as large as both sides allow, and finds its two places by dividing
the word's number by the lengths of the axes. Neighbouring threads write neighbouring words, where the target has such;
where the source has its neighbours in another axis, a block turns tiles of both over in shared memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, cast

import numpy as np
from numba import cuda as numba_cuda

from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.loops import onward
from kernels.cuda.places import places
from kernels.cuda.transposed import tiles, transposed
from kernels.cuda.words import moves
from kernels.device_array import DeviceArray, strides_of
from kernels.layout import AXES, Axis, Layout, layout

__all__ = ["every", "kernel", "pack", "unpack"]

cuda = cast("Any", numba_cuda)

LARGEST = 16

ENOUGH = 8
"""Words that both axes of a tile must have, for a quarter of its threads to be busy."""

Side = tuple[int, tuple[int, ...]]
"""An address, and strides."""


def pack(array: Any, out: Any) -> None:
    """Copy the elements of ``array`` in C order to ``out``, on the stream of ``out``."""
    flat, shape, side = _sides(array, out)
    _copy(flat, shape, side, (flat.address, strides_of(shape, flat.dtype, "C")))


def unpack(flat: Any, array: Any) -> None:
    """Copy ``flat`` to the elements of ``array`` in C order, on the stream of ``flat``."""
    here, shape, side = _sides(array, flat)
    _copy(here, shape, (here.address, strides_of(shape, here.dtype, "C")), side)


def every() -> Iterator[Kernel]:
    """Rows of vectors, planes of single words, and tiles."""
    yield kernel(LARGEST, 2, wide=False)
    yield kernel(4, 3, wide=True)
    yield transposed(4, 1)


def _copy(flat: DeviceArray, shape: tuple[int, ...], source: Side, target: Side) -> None:
    if 0 in shape:
        return
    addresses = source[0] | target[0]
    how = layout(shape, source[1], target[1], flat.dtype.itemsize, addresses=addresses, largest=LARGEST)
    turned = how.transposed and how.unit < LARGEST and min(axis.length for axis in how.axes[-2:]) >= ENOUGH
    chosen, count, numbers = _turned(how) if turned else _straight(how)
    blocks = blocks_for(chosen, count * (chosen.threads if turned else 1), flat.device)
    flat.device.launch(chosen, blocks, (source[0], target[0], count, *numbers), flat.stream)


def _straight(how: Layout) -> tuple[Kernel, int, list[int]]:
    """The kernel, the words, and the axes, innermost first."""
    axes = how.axes[::-1] or (Axis(1, 0, 0),)
    return kernel(how.unit, len(axes), wide=how.words >= 1 << 31), how.words, _numbers(axes, AXES)


def _turned(how: Layout) -> tuple[Kernel, int, list[int]]:
    """The kernel, the tiles, and the axes: the source's, the target's, then the others from within."""
    *outer, near_source, near_target = how.axes
    others = outer[::-1] or [Axis(1, 0, 0)]
    count = tiles(near_source.length) * tiles(near_target.length) * math.prod(axis.length for axis in others)
    return transposed(how.unit, len(others)), count, _numbers((near_source, near_target, *others), AXES)


def _numbers(axes: Sequence[Axis], room: int) -> list[int]:
    padded = (*axes, *[Axis(1, 0, 0)] * (room - len(axes)))
    return [number for axis in padded for number in (axis.length, axis.source, axis.target)]


def _sides(array: Any, flat: Any) -> tuple[DeviceArray, tuple[int, ...], Side]:
    """The flat side, the shape, and where the other side lies."""
    there = DeviceArray.here(flat)
    if not hasattr(array, "__cuda_array_interface__"):
        raise TypeError(f"a {type(array).__name__} beside memory on a device: bring them to one place first")
    facts = array.__cuda_array_interface__
    dtype = array.dtype if isinstance(array, DeviceArray) else np.dtype(facts["typestr"])
    shape, address = tuple(facts["shape"]), facts["data"][0] or 0
    strides = tuple(facts.get("strides") or strides_of(shape, dtype, "C"))
    if dtype != there.dtype or math.prod(shape) != there.size:
        raise ValueError(f"{math.prod(shape)} {dtype} elements on one side and {there.size} {there.dtype} on the other")
    if _overlap(shape, (address, strides), there):
        raise ValueError("the two sides may overlap in memory: copy to memory of its own")
    return there, shape, (address, strides)


def _overlap(shape: tuple[int, ...], side: Side, flat: DeviceArray) -> bool:
    if 0 in shape:
        return False
    reach = [(length - 1) * step for length, step in zip(shape, side[1], strict=True)]
    first = side[0] + sum(step for step in reach if step < 0)
    last = side[0] + sum(step for step in reach if step > 0) + flat.dtype.itemsize
    return first < flat.address + flat.nbytes and flat.address < last


@cache
def kernel(unit: int, axes: int, *, wide: bool) -> Kernel:
    """The kernel for words of ``unit`` bytes and a number of axes; ``wide`` where 31 bits cannot count the words."""
    load, store = moves(unit)
    number = np.uint64 if wide else np.uint32
    offsets = places(axes, number)

    def copy_strided(
        source: int, target: int, words: int,
        length0: int, here0: int, there0: int, length1: int, here1: int, there1: int,
        length2: int, here2: int, there2: int, length3: int, here3: int, there3: int,
        length4: int, here4: int, there4: int, length5: int, here5: int, there5: int,
        length6: int, here6: int, there6: int, length7: int, here7: int, there7: int,
    ) -> None:  # fmt: skip
        lengths = (number(length0), number(length1), number(length2), number(length3),
                   number(length4), number(length5), number(length6), number(length7))  # fmt: skip
        here = (here0, here1, here2, here3, here4, here5, here6, here7)
        there = (there0, there1, there2, there3, there4, there5, there6, there7)
        word = cuda.grid(1)
        while word < words:
            a, b = offsets(number(word), lengths, here, there)
            store(target + b, load(source + a))
            word = onward(word, cuda.gridsize(1))

    name = f"copy_strided_{unit}_{axes}{'_wide' if wide else ''}"
    return Kernel(name, copy_strided, ("int64",) * (3 + 3 * AXES), vectorised=False)
