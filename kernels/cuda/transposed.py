"""Copies whose source and target have their neighbours in different axes, by tiles in shared memory.

A block reads a tile of 32 × 32 words in the order of the source and writes it in the order of the target, so both go by
whole sectors. Rows of the tile are 33 words apart: then neither order meets one bank of shared memory twice.
Not yet run on hardware.
"""

from __future__ import annotations

from functools import cache
from typing import Any, cast

import numpy as np
from numba import cuda as numba_cuda
from numba import types as numba_types

from kernels.cuda.kernel import Kernel
from kernels.cuda.loops import onward
from kernels.cuda.places import places
from kernels.cuda.words import moves

__all__ = ["tiles", "transposed"]

cuda, types = cast("Any", numba_cuda), cast("Any", numba_types)

SIDE, PITCH = 32, 33
ROOM = SIDE * PITCH

ROWS = 8
"""Of a tile, which a block moves at once."""


def tiles(length: int) -> int:
    """How many tiles cover so many words."""
    return -(-length // SIDE)


@cache
def transposed(unit: int, axes: int) -> Kernel:
    """The kernel for words of ``unit`` bytes, 1 to 8, and a number of axes beside the two that are turned over."""
    load, store = moves(unit)
    kind = getattr(types, f"uint{8 * unit}")
    offsets = places(axes, np.uint64)

    def copy_transposed(
        source: int, target: int, count: int,
        height: int, here_i: int, there_i: int, width: int, here_j: int, there_j: int,
        length0: int, here0: int, there0: int, length1: int, here1: int, there1: int,
        length2: int, here2: int, there2: int, length3: int, here3: int, there3: int,
        length4: int, here4: int, there4: int, length5: int, here5: int, there5: int,
    ) -> None:  # fmt: skip
        tile = cuda.shared.array(ROOM, kind)
        lengths = (np.uint64(length0), np.uint64(length1), np.uint64(length2),
                   np.uint64(length3), np.uint64(length4), np.uint64(length5))  # fmt: skip
        here, there = (here0, here1, here2, here3, here4, here5), (there0, there1, there2, there3, there4, there5)
        across = (width + SIDE - 1) // SIDE
        down = (height + SIDE - 1) // SIDE
        lane, row = cuda.threadIdx.x % SIDE, cuda.threadIdx.x // SIDE
        number = np.int64(cuda.blockIdx.x)
        while number < count:
            outer = number // across
            j0, i0 = (number - outer * across) * SIDE, outer % down * SIDE
            a, b = offsets(np.uint64(outer // down), lengths, here, there)
            for step in range(0, SIDE, ROWS):
                i, j = i0 + lane, j0 + row + step
                if i < height and j < width:
                    tile[(row + step) * PITCH + lane] = load(source + a + i * here_i + j * here_j)
            cuda.syncthreads()
            for step in range(0, SIDE, ROWS):
                i, j = i0 + row + step, j0 + lane
                if i < height and j < width:
                    store(target + b + i * there_i + j * there_j, tile[lane * PITCH + row + step])
            cuda.syncthreads()
            number = onward(number, np.int64(cuda.gridDim.x))

    signature = ("int64",) * 27
    return Kernel(f"copy_transposed_{unit}_{axes}", copy_transposed, signature, threads=SIDE * ROWS, vectorised=False)
