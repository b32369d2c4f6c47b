"""What a caller hands to a collective, as flat NumPy arrays: mpi4py's buffer specifications, read without copies.

mpi4py takes an array, or a list ``[buffer, count, datatype]`` in several spellings, where the buffer shows itself by
the buffer protocol, DLPack or ``__cuda_array_interface__``. ``block`` and ``vector`` read the same spellings. What
they do not take on raises ``Declined``; the caller then leaves the call to mpi4py, whose errors are thus its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import index
from typing import Any, cast

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from collectives import datatypes, devices
from collectives.datatypes import Element

__all__ = ["Array", "Block", "Declined", "Vector", "block", "vector"]

Array = NDArray[Any]


class Declined(Exception):  # noqa: N818 - no error: the call goes to mpi4py, which may do it or say what is wrong
    """This call is not for our algorithms, for the reason given."""


@dataclass(frozen=True, slots=True)
class Block:
    """``blocks`` times ``count`` elements in one piece; ``array`` is flat and covers exactly these.

    ``finish`` must be called when the array is complete: it copies staged memory back to its device.
    """

    array: Array
    count: int
    element: Element
    finish: Callable[[], None] | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of one block of ``count`` elements."""
        return self.count * self.element.dtype.itemsize

    @property
    def octets(self) -> NDArray[np.uint8]:
        """The same memory as bytes."""
        return self.array.view(np.uint8)


@dataclass(frozen=True, slots=True)
class Vector:
    """A buffer with ``counts[i]`` elements at element ``displs[i]`` for rank i; ``array`` is the whole buffer, flat."""

    array: Array
    counts: tuple[int, ...]
    displs: tuple[int, ...]
    element: Element
    finish: Callable[[], None] | None = None

    @property
    def octets(self) -> NDArray[np.uint8]:
        """The same memory as bytes."""
        return self.array.view(np.uint8)


@dataclass(frozen=True, slots=True)
class _Memory:
    """Flat bytes of a buffer, and the element that the buffer itself declares."""

    octets: NDArray[np.uint8]
    element: Element | None
    finish: Callable[[], None] | None = None


def block(spec: object, *, writable: bool, blocks: int = 1) -> Block:
    """Read ``buffer | [buffer, count | (count, displ) | datatype ...]`` as ``blocks`` blocks of ``count`` elements.

    Without a count the buffer is divided among the blocks. Raises Declined for what mpi4py must do or refuse, and
    ValueError for a count that the buffer cannot hold (mpi4py would read or write beyond its end).
    """
    buffer, count, displ, datatype = _taken_apart(spec, lists=True)
    memory = _memory(buffer, writable=writable)
    element = _element(memory, datatype)
    size, start = element.dtype.itemsize, _index(displ) if displ is not None else 0
    available = memory.octets.size - start * size
    if start < 0 or available < 0:
        raise Declined(f"displacement {start} is outside of the buffer")
    if count is None:
        each, rest = divmod(available, size * max(blocks, 1))
        if rest:
            raise Declined("the buffer is no multiple of its blocks and datatype")
    else:
        each = _index(count)
        if each < 0:
            raise Declined(f"count {each} is negative")
        if each * max(blocks, 1) * size > available:
            raise _too_short(buffer, each * max(blocks, 1), size, available)
    lo = start * size
    octets = memory.octets[lo : lo + each * max(blocks, 1) * size]
    return Block(octets.view(element.dtype), each, element, memory.finish)


def vector(spec: object, *, writable: bool, blocks: int) -> Vector:
    """Read ``buffer | [buffer, counts | (counts, displs) | datatype ...]`` as one piece of its own for each rank.

    Without counts the buffer is divided as evenly as it goes. Raises as ``block`` does.
    """
    buffer, counts, displs, datatype = _taken_apart(spec, lists=False)
    memory = _memory(buffer, writable=writable)
    element = _element(memory, datatype)
    size = element.dtype.itemsize
    total, rest = divmod(memory.octets.size, size)
    if counts is None and rest:
        raise Declined("the buffer is no multiple of its datatype")
    each = _numbers(counts, blocks) if counts is not None else tuple(
        total // blocks + (total % blocks > rank) for rank in range(blocks)
    )
    starts = _starts(displs, each, blocks)
    if min(each, default=0) < 0 or min(starts, default=0) < 0:
        raise Declined("a count or displacement is negative")
    needed = max((start + count for start, count in zip(starts, each, strict=True) if count), default=0)
    if needed * size > memory.octets.size:
        raise _too_short(buffer, needed, size, memory.octets.size)
    return Vector(memory.octets[: total * size].view(element.dtype), each, starts, element, memory.finish)


def _starts(displs: object, counts: tuple[int, ...], blocks: int) -> tuple[int, ...]:
    if displs is None:
        return tuple(accumulate(counts, initial=0))[:-1]
    if isinstance(displs, int):
        return tuple(displs * rank for rank in range(blocks))
    return _numbers(displs, blocks)


def _too_short(buffer: object, count: int, size: int, available: int) -> Exception:
    if buffer is None or buffer is MPI.BOTTOM:
        return Declined("a buffer given by address (BOTTOM or None)")
    return ValueError(f"message: {count} elements need {count * size} bytes, but the buffer has {available} bytes left")


def _numbers(values: object, blocks: int) -> tuple[int, ...]:
    try:
        numbers = (index(cast("int", values)),) * blocks
    except TypeError:
        numbers = tuple(_index(value) for value in cast("Sequence[object]", values))
    if len(numbers) != blocks:
        raise Declined(f"{len(numbers)} counts or displacements for {blocks} ranks")
    return numbers


def _index(value: object) -> int:
    try:
        return index(cast("int", value))
    except TypeError:
        raise Declined(f"{value!r} is no whole number") from None


def _taken_apart(spec: object, *, lists: bool) -> tuple[object, object, object, object]:
    """``(buffer, count, displ, datatype)``; ``lists`` says whether ``[count, displ]`` may be a list as well."""
    if not isinstance(spec, (list, tuple)):
        return spec, None, None, None
    parts = cast("Sequence[object]", spec)
    pair = (list, tuple) if lists else (tuple,)
    if len(parts) == 4:
        return parts[0], parts[1], parts[2], parts[3]
    if len(parts) not in (2, 3):
        raise Declined(f"a message of {len(parts)} items")
    count, datatype = parts[1], parts[2] if len(parts) == 3 else None
    if len(parts) == 2 and isinstance(count, (MPI.Datatype, str)):
        return parts[0], None, None, count
    if isinstance(count, pair):
        couple = cast("Sequence[object]", count)
        if len(couple) != 2:
            raise Declined("a pair (count, displacement) of another length")
        return parts[0], couple[0], couple[1], datatype
    return parts[0], count, None, datatype


def _element(memory: _Memory, datatype: object) -> Element:
    if datatype is None:
        element = memory.element
    elif isinstance(datatype, MPI.Datatype):
        element = datatypes.of_mpi(datatype)
    else:
        element = datatypes.of_format(datatype) if isinstance(datatype, str) else None
    if element is None:
        raise Declined("a derived or unknown datatype" if datatype is not None else "a dtype without an MPI datatype")
    return element


def _memory(buffer: object, *, writable: bool) -> _Memory:
    if buffer is None or buffer is MPI.BOTTOM:
        return _Memory(np.empty(0, np.uint8), None)
    if isinstance(buffer, np.ndarray):
        return _array(cast("Array", buffer), writable=writable)
    try:
        view = memoryview(cast("bytes", buffer))
    except (TypeError, BufferError, ValueError):
        return _exchanged(buffer, writable=writable)
    if not view.contiguous or (writable and view.readonly):
        raise Declined("a buffer that is not contiguous, or not writable")
    element = datatypes.of_format(view.format or "B")
    if not view.c_contiguous:
        return _Memory(_array(np.asarray(view), writable=writable).octets, element)
    return _Memory(np.frombuffer(view, np.uint8), element)


def _array(array: Array, *, writable: bool) -> _Memory:
    flags = array.flags
    if not (flags.c_contiguous or flags.f_contiguous) or (writable and not flags.writeable):
        raise Declined("an array that is not contiguous, or not writable")
    if array.dtype.hasobject:
        raise Declined("an array of Python objects")
    return _Memory(array.reshape(-1, order="A").view(np.uint8), datatypes.of_dtype(array.dtype))


def _exchanged(buffer: object, *, writable: bool) -> _Memory:
    """Memory that shows itself by DLPack (on the host) or ``__cuda_array_interface__``."""
    if devices.is_host_dlpack(buffer):
        try:
            return _array(np.from_dlpack(cast("Any", buffer)), writable=writable)
        except (BufferError, RuntimeError, TypeError, ValueError) as problem:
            raise Declined(f"DLPack: {problem}") from None
    if devices.is_cuda_array(buffer):
        try:
            staged = devices.stage(buffer, writable=writable)
        except BufferError as problem:
            raise Declined(str(problem)) from None
        return _Memory(staged.octets, datatypes.of_dtype(staged.dtype), staged.store)
    raise Declined("no buffer")
