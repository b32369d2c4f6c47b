"""Optimiser steps on a CUDA device: every array read or written once, by 128 bits. Not yet run on hardware.

A thread takes two vectors of 128 bits of every array, and loads them all before it uses any. The two are ``apart``
bytes from each other: half of the array, so that the threads of a warp read without gaps; or 16, where a gradient or a
copy is a half, of which one vector goes with two of the others. Elements before the first address that suits all arrays
and after the last whole group go one by one; so do all where no address suits all arrays. The formulas are those of the
CPU form, and give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

import numpy as np
from numba import cuda as numba_cuda

from kernels import norms
from kernels.cuda import halves
from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.optimise_kernel import COEFFICIENTS, kernel
from kernels.cuda.vector import WIDTH, lanes
from kernels.device_array import DeviceArray
from kernels.formulas import optimise as formulas

__all__ = ["every", "sweep", "trust"]

cuda = cast("Any", numba_cuda)


def sweep(
    formula: Callable[..., Any], weights: DeviceArray, gradient: DeviceArray, state: tuple[DeviceArray, ...],
    coefficients: tuple[float, ...], *, scale: float, trust: DeviceArray | None, update: DeviceArray | None,
    copy: DeviceArray | None,
) -> None:  # fmt: skip
    """Apply ``formula`` to every weight and its ``scale``·gradient, in place, or with its first result to ``update``.

    ``trust``, one float64 on the device, multiplies the first coefficient. Queued on the stream of the weights.
    """
    if not weights.size:
        return
    rounded = None if copy is None else copy.dtype.name
    chosen = kernel(formula, weights.dtype.name, gradient.dtype.name, rounded, trusted=trust is not None)
    arrays = [weights, gradient, *state, *(array for array in (update, copy) if array is not None)]
    group, vector = 2 * WIDTH // weights.dtype.itemsize, WIDTH // min(array.dtype.itemsize for array in arrays)
    head = _head(arrays, vector, weights.size)
    groups = (weights.size - head) // group
    apart = WIDTH if vector == group else groups * WIDTH
    target = weights if update is None else update
    places = (weights, gradient, *(*state, None, None)[:2], target, copy, trust)
    addresses = [0 if array is None else array.address for array in places]
    numbers = (*coefficients, *[0.0] * (COEFFICIENTS - len(coefficients)))
    blocks = blocks_for(chosen, max(groups, weights.size - groups * group), weights.device)
    weights.device.launch(
        chosen, blocks, (*addresses, head, groups, weights.size, apart, scale, *numbers), weights.stream
    )


def trust(weights: DeviceArray, other: DeviceArray, coefficients: tuple[float, float, float]) -> DeviceArray:
    """The ratio of two norms that scales a layer's step, as one float64 on the device: nothing waits for it."""
    device, stream = weights.device, weights.stream
    own, others = norms.l2([weights]), norms.l2([other.on(stream)])
    ratio = device.allocate(8, stream).view(np.float64)
    device.launch(_ratio(), 1, (own.address, others.address, ratio.address, *coefficients), stream)
    return ratio


def every() -> Iterator[Kernel]:
    """Each formula, and each mix of precisions with one of them."""
    for formula in formulas.FORMULAS:
        yield kernel(formula, "float32", "float32", None, trusted=formula is formulas.momentum)
    for half in halves.HALVES:
        yield kernel(formulas.adamw, "float32", half, half, trusted=False)
    yield kernel(formulas.sgd, "float32", "float32", "bfloat16", trusted=True)
    yield kernel(formulas.adam, "float64", "float64", None, trusted=False)
    yield _ratio()


@cache
def _ratio() -> Kernel:
    load, store, ratio = lanes("float64").one, lanes("float64").put, formulas.trust

    def trust_ratio(own: int, other: int, out: int, gain: float, share: float, kept: float) -> None:
        if cuda.grid(1) == 0:
            store(out, ratio(load(own), load(other), (gain, share, kept)))

    return Kernel("trust_ratio", trust_ratio, (*["int64"] * 3, *["float64"] * 3), threads=32, vectorised=False)


def _head(arrays: list[DeviceArray], vector: int, count: int) -> int:
    """Elements before the groups: all of them where no address suits every array."""
    for head in range(min(vector, count)):
        if all((array.address + head * array.dtype.itemsize) % WIDTH == 0 for array in arrays):
            return head
    return count
