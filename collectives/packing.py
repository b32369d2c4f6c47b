"""Messages of a derived datatype as plain bytes: gathered by ``MPI_Pack``, scattered again by ``MPI_Unpack``.

Ranks may describe the same data in different ways (a column here, a vector there), as long as the basic types agree.
So a derived datatype on one rank must not change which way the call goes; packed, it is bytes like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

__all__ = ["Place", "gather", "reach", "scatter"]

Place = tuple[int, int]
"""``(address, count)``: so many elements of the datatype, the first at that address."""


def reach(datatype: MPI.Datatype, count: int) -> tuple[int, int]:
    """First byte, and the byte after the last, that ``count`` elements touch, from where the first element starts."""
    first, length = datatype.Get_true_extent()
    extent = datatype.Get_extent()[1]
    return (first, first + length + (count - 1) * extent) if count else (0, 0)


def gather(datatype: MPI.Datatype, places: Sequence[Place]) -> NDArray[np.uint8]:
    """The bytes of all places one after the other; BufferError where MPI's packed form is not just the data."""
    sizes = [count * datatype.Get_size() for _, count in places]
    room = max((datatype.Pack_size(count, MPI.COMM_SELF) for _, count in places), default=0)
    packed = np.empty(sum(sizes) + room, np.uint8)
    position = 0
    for place, size in zip(places, sizes, strict=True):
        end = datatype.Pack(_memory(datatype, place), packed, position, MPI.COMM_SELF) if size else position
        if end != position + size:
            raise BufferError("this MPI packs data into another form")
        position = end
    return packed[:position]


def scatter(datatype: MPI.Datatype, places: Sequence[Place], packed: NDArray[np.uint8]) -> None:
    """The reverse of ``gather``."""
    position = 0
    for place in places:
        if place[1] * datatype.Get_size():
            position = datatype.Unpack(packed, position, _memory(datatype, place), MPI.COMM_SELF)


def _memory(datatype: MPI.Datatype, place: Place) -> MPI.memory:
    # mpi4py takes the count from the length in extents, and the last element's tail may be shorter than its extent.
    address, count = place
    return MPI.memory.fromaddress(address, count * datatype.Get_extent()[1])
