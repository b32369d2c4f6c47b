"""Arrays of any length from all ranks to rank 0, and arrays by name as bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["broadcast", "gather", "packed", "scatter", "unpacked"]

Octets = NDArray[np.uint8]


def gather(comm: MPI.Intracomm, array: NDArray[Any]) -> list[NDArray[Any]]:
    """Everybody's 1-D ``array`` in rank order, at rank 0; nothing elsewhere. Two small collectives and the bytes."""
    counts = np.zeros(comm.size, np.int64)
    comm.Gather(np.array([array.size], np.int64), counts)
    if comm.rank:
        comm.Gatherv(array, None)
        return []
    whole = np.empty(int(counts.sum()), array.dtype)
    comm.Gatherv(array, [whole, counts])
    return np.split(whole, np.cumsum(counts)[:-1])


def scatter(comm: MPI.Intracomm, arrays: list[Octets]) -> Octets:
    """Of rank 0's ``arrays`` each rank's own; elsewhere the argument does not matter."""
    counts = np.array([array.size for array in arrays] if comm.rank == 0 else [0], np.int64)
    count = np.zeros(1, np.int64)
    comm.Scatter(counts, count)
    mine = np.empty(int(count[0]), np.uint8)
    comm.Scatterv([np.concatenate(arrays), counts] if comm.rank == 0 else None, mine)
    return mine


def broadcast(comm: MPI.Intracomm, octets: Octets) -> Octets:
    """Rank 0's ``octets`` to all; elsewhere the argument does not matter."""
    length = np.array([octets.size], np.int64)
    comm.Bcast(length)
    found = octets if comm.rank == 0 else np.empty(int(length[0]), np.uint8)
    comm.Bcast(found)
    return found


def packed(arrays: Mapping[str, NDArray[Any]]) -> Octets:
    """Arrays with their names, dtypes and shapes as bytes, for ``unpacked``."""
    whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    header = json.dumps([[name, array.dtype.str, array.shape] for name, array in whole.items()]).encode()
    parts = [np.array([len(header)], "<i8").tobytes(), header, *(array.tobytes() for array in whole.values())]
    return np.frombuffer(b"".join(parts), np.uint8)


def unpacked(octets: Octets) -> dict[str, NDArray[Any]]:
    """The arrays, in memory of their own."""
    text = octets.tobytes()
    start = 8 + int(np.frombuffer(text, "<i8", 1)[0])
    found: dict[str, NDArray[Any]] = {}
    for name, dtype, shape in json.loads(text[8:start]):
        count = int(np.prod(shape, dtype=np.int64))
        found[name] = np.frombuffer(text, np.dtype(dtype), count, start).reshape(shape).copy()
        start += found[name].nbytes
    return found
