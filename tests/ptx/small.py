"""Kernels made for tests of the tests: simple ones, and such as have a fault on purpose."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import cuda, types

from kernels.cuda.kernel import Kernel
from kernels.cuda.vector import lanes

__all__ = ["THREADS", "block_sum", "copying"]

THREADS = 128
WARPS = THREADS // 32

FLOATS: Any = lanes("float32")
SIGNATURE = ("int64", "int64", "int64")


@cache
def copying(width: int, *, narrow_store: bool = False) -> Kernel:
    """Adds 1 to each float32 from ``source`` to ``out``: elements of ``width`` numbers, one in a step of the loop."""
    load, store, one, put = FLOATS.load, FLOATS.store, FLOATS.one, FLOATS.put

    def wide(source: int, out: int, count: int) -> None:
        i = cuda.grid(1)
        while i < count:
            x = load(source + 16 * i)
            store(out + 16 * i, (x[0] + 1, x[1] + 1, x[2] + 1, x[3] + 1))
            i += cuda.gridsize(1)

    def mixed(source: int, out: int, count: int) -> None:
        i = cuda.grid(1)
        while i < count:
            x = load(source + 16 * i)
            put(out + 4 * i, x[0] + x[1] + x[2] + x[3])
            i += cuda.gridsize(1)

    def narrow(source: int, out: int, count: int) -> None:
        i = cuda.grid(1)
        while i < count:
            put(out + 4 * i, one(source + 4 * i) + 1)
            i += cuda.gridsize(1)

    function = mixed if narrow_store else wide if width == 4 else narrow
    return Kernel(f"copying_{width}{'_mixed' * narrow_store}", function, SIGNATURE)


@cache
def block_sum() -> Kernel:
    """The sum of ``count`` float32 by each block, to ``out``: within warps by shuffles, among them by shared memory."""
    one, put = FLOATS.one, FLOATS.put

    def function(source: int, out: int, count: int) -> None:
        warps = cuda.shared.array(WARPS, types.float32)
        total = np.float32(0)
        i = cuda.grid(1)
        while i < count:
            total += one(source + 4 * i)
            i += cuda.gridsize(1)
        distance = 16
        while distance > 0:
            total += cuda.shfl_down_sync(0xFFFFFFFF, total, distance)
            distance //= 2
        if cuda.threadIdx.x % 32 == 0:
            warps[cuda.threadIdx.x // 32] = total
        cuda.syncthreads()
        if cuda.threadIdx.x == 0:
            whole = warps[0]
            for warp in range(1, WARPS):
                whole += warps[warp]
            put(out + 4 * cuda.blockIdx.x, whole)

    return Kernel("block_sum", function, SIGNATURE, threads=THREADS, vectorised=False)
