"""A launch over elements: groups of some by 128-bit vectors, single ones before and after. Not yet run on hardware."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from numba import cuda as numba_cuda

from kernels.cuda.device import blocks_for
from kernels.cuda.kernel import Kernel
from kernels.cuda.vector import WIDTH
from kernels.device_array import DeviceArray

__all__ = ["POINTERS", "aligned", "launch", "signed", "sweeping"]

cuda = cast("Any", numba_cuda)

POINTERS = 3
"""How many arrays such a kernel takes."""


def sweeping(name: str, single: Any, group: Any, each: int, *, vectorised: bool = True) -> Kernel:
    """A kernel that calls ``group(places, first element)`` for groups of ``each`` elements, ``single`` for the others.

    Both are device functions; ``places`` are the addresses of the arrays. A thread works on one group at a time.
    ``vectorised`` is False for groups that load less than 128 bits too, or nothing.
    """

    def kernel(a: int, b: int, c: int, count: int, head: int, body: int) -> None:
        places = (a, b, c)
        first, stride = cuda.grid(1), cuda.gridsize(1)
        i = first
        while i < count - body * each:
            single(places, count, i if i < head else i + body * each)
            i += stride
        i = first
        while i < body:
            group(places, count, head + i * each)
            i += stride

    return Kernel(name, cast("Callable[..., None]", kernel), ("int64",) * (POINTERS + 3), vectorised=vectorised)


def launch(kernel: Kernel, arrays: Sequence[tuple[DeviceArray, int]], count: int, each: int) -> None:
    """Run it over ``count`` elements on the stream of the first array; with each array goes the bytes of its elements.

    0 is for arrays in which the functions find their way at any address.
    Groups begin where all arrays are at multiples of 16 bytes; where there is no such place all elements go one by one
    (whole sectors of memory still, in several times as many instructions).
    """
    if count == 0:
        return
    for array, itemsize in arrays:
        aligned(array, itemsize)
    head = _head([(array.address, itemsize) for array, itemsize in arrays], count, each)
    body = (count - head) // each
    first, addresses = arrays[0][0], [array.address for array, _ in arrays]
    blocks = blocks_for(kernel, max(body, count - body * each), first.device)
    first.device.launch(kernel, blocks, [*addresses, *[0] * (POINTERS - len(arrays)), count, head, body], first.stream)


def aligned(array: DeviceArray, itemsize: int) -> int:
    """The array's address; ValueError unless numbers of ``itemsize`` bytes may lie there, as a card wants it."""
    if itemsize and array.address % itemsize:
        raise ValueError(f"the array begins at {array.address:#x}, no multiple of {itemsize}: take one that does")
    return array.address


def signed(number: int) -> int:
    """The int64 of the same bits as a uint64, as kernels take them."""
    return number - (1 << 64) if number >> 63 else number


def _head(arrays: Sequence[tuple[int, int]], count: int, each: int) -> int:
    """Elements before the groups: all of them where the arrays lie differently."""
    for head in range(min(each, count + 1)):
        if all((address + head * itemsize) % WIDTH == 0 for address, itemsize in arrays if itemsize):
            return head
    return count
