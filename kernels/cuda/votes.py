"""Votes on signs, counted on a CUDA device. Not yet run on hardware."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, cast

import numpy as np
from numba import cuda as numba_cuda

from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.patterns import bits_of, float_of, get32, put32
from kernels.cuda.vector import lanes
from kernels.device_array import DeviceArray

__all__ = ["every", "majority"]

cuda = cast("Any", numba_cuda)
_BYTES = lanes("uint8")
_byte, _put_byte = _BYTES.one, _BYTES.put

_SPREAD, _DIAGONAL = np.uint64(0x0101010101010101), np.uint64(0x8040201008040201)
_CARRY = np.uint64(0x7F7F7F7F7F7F7F7F)


def majority(wires: DeviceArray, out: DeviceArray, voters: int, count: int) -> None:
    """The vote on every bit, and the mean of the scales."""
    if count:
        octets = -(-count // 8)
        arguments = [wires.address, out.address, voters, octets]
        out.device.launch(_voting(), blocks_for(_voting(), octets, out.device), arguments, out.stream)


def every() -> Iterator[Kernel]:
    """The one."""
    yield _voting()


@cache
def _voting() -> Kernel:
    """A thread has a byte of all messages, and counts its eight bits in the bytes of one word."""

    def kernel(wires: int, out: int, voters: int, octets: int) -> None:
        i = cuda.grid(1)
        while i < octets:
            votes = np.uint64(0)
            for voter in range(voters):
                bits = np.uint64(_byte(wires + voter * (octets + 4) + i)) * _SPREAD & _DIAGONAL
                votes += (bits + _CARRY) >> np.uint64(7) & _SPREAD
            result = 0
            for bit in range(8):
                if np.int64(votes >> np.uint64(8 * bit) & np.uint64(255)) * 2 > voters:
                    result |= 1 << bit
            _put_byte(out + i, np.uint8(result))
            i += cuda.gridsize(1)
        if cuda.grid(1) == 0:
            total = 0.0
            for voter in range(voters):
                total += np.float64(float_of(get32(wires + voter * (octets + 4) + octets)))
            put32(out + octets, bits_of(np.float32(total / np.float64(voters))))

    return Kernel("sign_majority", kernel, ("int64",) * 4, vectorised=False)
