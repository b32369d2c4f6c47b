"""All ranks in one process and without MPI: the executor of labs, tests and the playground.

It follows the schedule chunk by chunk and knows nothing of plans, scratch memory or requests, so that it can be held
against the interpreted executor. The results agree bit for bit: both evaluate the same expressions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from collectives.contract import CONTRACTS, special
from collectives.schedule import INCOMING_FIRST, OVERWRITE, Recv, Round, ScheduleError, Send, extents
from kernels import reduce

__all__ = ["run"]

Array = NDArray[Any]
Combine = Callable[[Array, Array, Array], object]
Held = dict[int, Array]


def run(algorithm: Algorithm, inputs: Sequence[Array], op: str | Combine = "sum") -> list[Array]:
    """What each rank holds at the end, ``inputs[r]`` being what rank r brings: 1-D arrays of one dtype.

    A rank's input is cut by ``extents`` into the chunks that its collective says it brings, and its output joins the
    chunks that it must get: in allreduce the whole vector, in reduce_scatter the rank's part, in allgather all
    inputs one after the other (they may differ in length), in alltoall the p blocks meant for it. Ranks that bring
    nothing (all but the root of a broadcast, servers) are not read, and ranks that get nothing end with an empty
    array. ``op`` is a name in ``kernels.reduce`` or any ``combine(left, right, out)``, for instance a NumPy ufunc;
    it must be associative, and commutative where the algorithm says so. Inputs are not changed.

    Cost: the same bytes as over MPI, one array for each fold. Raises ValueError for inputs that don't go together.
    """
    size = len(inputs)
    contract, chunks = CONTRACTS[algorithm.collective], algorithm.chunks(size)
    part = special(algorithm.collective, size, algorithm.parameters)
    held = [_cut(inputs, rank, list(contract.brings(rank, size, chunks, part))) for rank in range(size)]
    dtype = _common_dtype(held, inputs)
    if contract.reduces:
        _same_counts(held)
    combine = _operation(op, dtype) if contract.reduces else None
    rounds = [list(algorithm.rounds(rank, size)) for rank in range(size)]
    with np.errstate(all="ignore"):  # as MPI does
        for operations in zip(*rounds, strict=True):
            _play(operations, held, combine)
    gets = (contract.gets(rank, size, chunks, part) for rank in range(size))
    return [_joined([mine[chunk] for chunk in kept], dtype) for kept, mine in zip(gets, held, strict=True)]


def _cut(inputs: Sequence[Array], rank: int, own: list[int]) -> Held:
    array = inputs[rank]
    if own and array.ndim != 1:
        raise ValueError(f"rank {rank} brings an array of shape {array.shape}; 1-D arrays are needed")
    return {chunk: array[lo:hi] for chunk, (lo, hi) in zip(own, extents(array.size, len(own)), strict=True)}


def _common_dtype(held: Sequence[Held], inputs: Sequence[Array]) -> np.dtype[Any]:
    dtypes = {array.dtype for mine in held for array in mine.values()}
    if len(dtypes) > 1:
        raise ValueError(f"the ranks bring arrays of different dtypes: {', '.join(sorted(map(str, dtypes)))}")
    return dtypes.pop() if dtypes else inputs[0].dtype


def _same_counts(held: Sequence[Held]) -> None:
    counts = {rank: sum(array.size for array in mine.values()) for rank, mine in enumerate(held) if mine}
    if len(set(counts.values())) > 1:
        raise ValueError(f"the ranks bring different numbers of elements: {counts}")


def _operation(op: str | Combine, dtype: np.dtype[Any]) -> Combine:
    if not isinstance(op, str):
        return op
    reduction = reduce.get(op)
    if not reduction.supports(dtype):
        raise ValueError(f"{op} is not defined for {dtype}")
    return reduction


def _play(operations: Sequence[Round], held: Sequence[Held], combine: Combine | None) -> None:
    """One round of all ranks: first what is sent is taken as it stands, then every rank commits its receives."""
    mail = {
        (rank, send.dest): {chunk: held[rank][chunk] for chunk in send.chunks}
        for rank, mine in enumerate(operations)
        for send in mine
        if isinstance(send, Send)
    }
    for rank, mine in enumerate(operations):
        for recv in mine:
            if isinstance(recv, Recv):
                parcel = mail.pop((recv.source, rank), None)
                if parcel is None or parcel.keys() != set(recv.chunks):
                    raise ScheduleError(f"rank {rank} waits for chunks {recv.chunks} from rank {recv.source} in vain")
                for chunk, incoming in parcel.items():
                    _commit(held[rank], chunk, incoming, recv, combine)
    if mail:
        source, dest = next(iter(mail))
        raise ScheduleError(f"rank {dest} does not receive what rank {source} sends it")


def _commit(mine: Held, chunk: int, incoming: Array, recv: Recv, combine: Combine | None) -> None:
    if combine is None or recv.fold is OVERWRITE:
        mine[chunk] = incoming
        return
    left, right = (incoming, mine[chunk]) if recv.fold is INCOMING_FIRST else (mine[chunk], incoming)
    mine[chunk] = out = np.empty_like(left)  # a new array, because the old one may be on its way to others
    combine(left, right, out)


def _joined(pieces: Sequence[Array], dtype: np.dtype[Any]) -> Array:
    return np.concatenate([np.empty(0, dtype), *pieces], dtype=dtype)  # said, or byte order would become native
