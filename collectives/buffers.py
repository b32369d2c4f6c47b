"""What a caller hands to a collective, as flat memory in the host or on a device: mpi4py's buffer specifications.

mpi4py takes an array, or a list ``[buffer, count, datatype]`` in several spellings, where the buffer shows itself by
the buffer protocol, DLPack or ``__cuda_array_interface__``. ``block`` and ``vector`` read the same spellings, without
a copy where the memory is contiguous and the datatype a plain one; arrays with gaps, which mpi4py refuses, are packed.
What they do not take on raises ``Declined``; the caller then leaves the call to mpi4py, whose errors are thus its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate
from operator import index
from typing import Any, cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from collectives import datatypes, devices, dlpack, packing
from collectives.datatypes import Element
from collectives.memory import Flat
from kernels.device_array import DeviceArray
from kernels.strided import pack_strided, unpack_strided

__all__ = ["Array", "Block", "Declined", "Octets", "Vector", "block", "in_place", "numbers", "on_device", "vector"]

Array = NDArray[Any]
Octets = NDArray[np.uint8]
Finish = Callable[[], object]


class Declined(Exception):
    """This call is not for our algorithms, for the reason given: mpi4py may do it, or say what is wrong."""


@dataclass(slots=True, eq=False)
class Block:
    """Blocks of ``count`` elements, ``nbytes`` bytes each, all together in ``octets``.

    ``finish`` must be called when the octets of a receive buffer are complete: it brings them to where the caller
    wants them, if they are a packed copy. Device memory is complete when the work queued on its stream is.
    """

    octets: Flat
    count: int
    nbytes: int
    element: Element
    finish: Finish

    @property
    def array(self) -> Any:
        """The same memory as elements of a plain datatype: a NumPy array or a DeviceArray."""
        return self.octets.view(self.element.dtype)


@dataclass(slots=True, eq=False)
class Vector:
    """A piece for each rank: ``lengths[i]`` bytes from byte ``starts[i]`` of ``octets``; ``finish`` as in Block."""

    octets: Flat
    lengths: tuple[int, ...]
    starts: tuple[int, ...]
    finish: Finish


@dataclass(slots=True, eq=False)
class _Memory:
    """Flat bytes of a buffer (none for BOTTOM and None), and the element that the buffer itself declares."""

    octets: Flat
    element: Element | None
    store: Finish = tuple  # does nothing
    absolute: bool = False


def in_place(spec: object) -> bool:
    """Whether a send buffer says that the data are in the receive buffer; None does too, as in mpi4py."""
    return spec is None or spec is MPI.IN_PLACE


def block(spec: object, *, writable: bool, blocks: int = 1) -> Block:
    """Read ``buffer | [buffer, count | (count, displ) | datatype ...]`` as ``blocks`` blocks of ``count`` elements.

    Without a count the buffer is divided among the blocks. Raises Declined for what mpi4py must do or refuse, and
    ValueError for a count that the buffer cannot hold (mpi4py would read or write beyond its end).
    """
    buffer, count, displ, datatype = _taken_apart(spec, (list, tuple))
    memory = _memory(buffer, writable=writable)
    element = _element(memory, datatype)
    start = element.extent * (0 if displ is None else _number(displ))
    available = memory.octets.size - start
    if start < 0 or available < 0:
        raise Declined("a displacement outside of the buffer")
    if count is None:
        each, rest = divmod(available, element.extent * blocks)
        if rest:
            raise Declined("a buffer that is no multiple of its blocks and datatype")
    else:
        each = _number(count)
    nbytes = each * element.size
    if not element.derived and 0 <= each * element.extent * blocks <= available:  # the common case, and the quick way
        return Block(memory.octets[start : start + nbytes * blocks], each, nbytes, element, memory.store)
    octets, starts, finish = _laid_out(memory, element, [start], [each * blocks], writable=writable)
    return Block(octets[starts[0] : starts[0] + nbytes * blocks], each, nbytes, element, finish)


def vector(spec: object, *, writable: bool, blocks: int) -> Vector:
    """Read ``buffer | [buffer, counts | (counts, displs) | datatype ...]`` as one piece of its own for each rank.

    Without counts the buffer is divided as evenly as it goes. Raises as ``block`` does.
    """
    buffer, counts, displs, datatype = _taken_apart(spec, (tuple,))
    memory = _memory(buffer, writable=writable)
    element = _element(memory, datatype)
    total, rest = divmod(memory.octets.size, element.extent)
    if counts is not None:
        each = _one_each(counts, blocks)
    elif rest:
        raise Declined("a buffer that is no multiple of its datatype")
    else:
        each = [total // blocks + (total % blocks > rank) for rank in range(blocks)]
    starts = [element.extent * displ for displ in _displacements(displs, each)]
    octets, starts, finish = _laid_out(memory, element, starts, each, writable=writable)
    return Vector(octets, tuple(count * element.size for count in each), tuple(starts), finish)


def on_device(spec: object) -> bool:
    """Whether the buffer of such a specification is memory of a device, which the processor can't reach."""
    if isinstance(spec, (list, tuple)):
        parts = cast("Sequence[object]", spec)
        return bool(parts) and on_device(parts[0])
    return not isinstance(spec, np.ndarray) and devices.on_device(spec)


def numbers(values: object) -> list[int]:
    """A sequence of whole numbers, of whatever type, as ints; Declined for anything else."""
    try:
        return [index(value) for value in cast("Sequence[int]", values)]
    except TypeError:
        raise Declined("counts or displacements that are no whole numbers") from None


# --- spellings ------------------------------------------------------------------------------------------------------


def _taken_apart(spec: object, pairs: tuple[type, ...]) -> tuple[object, object, object, object]:
    """``(buffer, count, displ, datatype)``; ``pairs`` are the types in which count and displ may come together."""
    if not isinstance(spec, (list, tuple)):
        return spec, None, None, None
    parts = cast("Sequence[object]", spec)
    if len(parts) == 4:
        return parts[0], parts[1], parts[2], parts[3]
    if len(parts) not in (2, 3):
        raise Declined(f"a message of {len(parts)} items")
    count, datatype = parts[1], parts[2] if len(parts) == 3 else None
    if len(parts) == 2 and isinstance(count, (MPI.Datatype, str)):
        return parts[0], None, None, count
    if isinstance(count, pairs):
        couple = cast("Sequence[object]", count)
        if len(couple) != 2:
            raise Declined("a pair (count, displacement) of another length")
        return parts[0], couple[0], couple[1], datatype
    return parts[0], count, None, datatype


def _number(value: object) -> int:
    return numbers((value,))[0]


def _one_each(values: object, blocks: int) -> list[int]:
    """``values`` for each rank: a number stands for all."""
    try:
        found = [index(cast("int", values))] * blocks
    except TypeError:
        found = numbers(values)
    if len(found) != blocks:
        raise Declined(f"{len(found)} counts or displacements for {blocks} ranks")
    return found


def _displacements(displs: object, counts: Sequence[int]) -> list[int]:
    if displs is None:
        return list(accumulate(counts, initial=0))[:-1]
    if isinstance(displs, int):
        return [displs * rank for rank in range(len(counts))]
    return _one_each(displs, len(counts))


def _element(memory: _Memory, datatype: object) -> Element:
    if datatype is None:
        element = memory.element
    elif isinstance(datatype, MPI.Datatype):
        element = datatypes.of_mpi(datatype)
    else:
        element = datatypes.of_format(datatype) if isinstance(datatype, str) else None
    if element is None:
        raise Declined("a dtype or datatype that is not known")
    return element


# --- memory ---------------------------------------------------------------------------------------------------------


def _laid_out(
    memory: _Memory, element: Element, starts: Sequence[int], counts: Sequence[int], *, writable: bool
) -> tuple[Flat, Sequence[int], Finish]:
    """The octets, where in them each of ``counts[i]`` elements from byte ``starts[i]`` begins, and how to finish."""
    if min((*starts, *counts), default=0) < 0:
        raise Declined("a negative count or displacement")
    datatype = element.datatype
    for start, count in zip(starts, counts, strict=True):
        first, end = packing.reach(datatype, count) if element.derived and datatype else (0, count * element.size)
        if start + first < 0 or (start + end > memory.octets.size and count):
            if memory.absolute:
                raise Declined("a buffer given by address (BOTTOM or None)")
            raise ValueError(
                f"message: {count} elements end {start + end} bytes into a buffer of {memory.octets.size} bytes"
            )
    if not element.derived or datatype is None:
        return memory.octets, starts, memory.store
    if isinstance(memory.octets, DeviceArray):
        raise Declined("a derived datatype on a device")
    base = MPI.Get_address(memory.octets) if memory.octets.size else 0
    places = [(base + start, count) for start, count in zip(starts, counts, strict=True)]
    try:
        octets = packing.gather(datatype, places)
    except BufferError as problem:
        raise Declined(str(problem)) from None
    sizes = (count * element.size for count in counts)
    finish = partial(_unpack, memory, datatype, places, octets) if writable else tuple
    return octets, list(accumulate(sizes, initial=0))[:-1], finish


def _unpack(memory: _Memory, datatype: MPI.Datatype, places: list[packing.Place], octets: Octets) -> None:
    packing.scatter(datatype, places, octets)
    memory.store()


def _memory(buffer: object, *, writable: bool) -> _Memory:
    if buffer is None or buffer is MPI.BOTTOM:
        return _Memory(np.empty(0, np.uint8), None, absolute=True)
    if isinstance(buffer, np.ndarray):
        return _array(cast("Array", buffer), writable=writable)
    try:
        view = memoryview(cast("bytes", buffer))
    except (TypeError, BufferError, ValueError):
        return _exchanged(buffer, writable=writable)
    if writable and view.readonly:
        raise Declined("a buffer that is not writable")
    if not view.contiguous:
        raise Declined("a buffer that is not contiguous")
    element = datatypes.of_format(view.format or "B")
    octets = np.frombuffer(view, np.uint8) if view.c_contiguous else _flat(np.asarray(view))
    return _Memory(octets, element)


def _array(array: Array, *, writable: bool) -> _Memory:
    flags = array.flags
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("a masked array: what is under the mask would travel too; pass array.filled(value)")
    if writable and not flags.writeable:
        raise Declined("an array that is not writable")
    if array.dtype.hasobject:
        raise Declined("an array of Python objects")
    element = datatypes.of_dtype(array.dtype)
    if flags.c_contiguous or flags.f_contiguous:
        return _Memory(_flat(array), element)
    packed = np.empty(array.size, array.dtype)
    pack_strided(array, packed)
    return _Memory(packed.view(np.uint8), element, partial(unpack_strided, packed, array) if writable else tuple)


def _flat(array: Array) -> Octets:
    return array.reshape(-1, order="A").view(np.uint8)


def _exchanged(buffer: object, *, writable: bool) -> _Memory:
    """Memory that shows itself by DLPack or ``__cuda_array_interface__``."""
    try:
        if dlpack.is_host(buffer):
            return _array(dlpack.view(buffer), writable=writable)
        if devices.is_cuda_array(buffer):
            seen = devices.seen(buffer, writable=writable)
            return _Memory(seen.octets, datatypes.of_dtype(seen.dtype), seen.store)
    except devices.Unfit:
        raise
    except BufferError as problem:
        raise Declined(str(problem)) from None
    raise Declined("no buffer")
