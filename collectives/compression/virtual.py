"""Compressed allreduce, all ranks in one process and without MPI: the bits that real ranks get, for any size.

The ranks' plans and what they encode and decode are those of the real thing; only the messages are copies here, and
exact sums are those of the virtual executor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collectives.catalogue import Algorithm
from collectives.compression.memory import Compression
from collectives.compression.shared import Gather, Shared, Sum, steps
from collectives.executors import virtual as plain
from collectives.executors.encoded import Coder, Encoded, Floats, Octets, encode_plan
from collectives.executors.plan import Span
from kernels.compress import Encoding

__all__ = ["run"]

Buffers = tuple[Octets, Octets]


def run(algorithm: Algorithm, inputs: Sequence[Floats], compressions: Sequence[Compression]) -> list[Floats]:
    """What each rank holds at the end, ``inputs[r]`` being what rank r brings: 1-D float32 arrays of one length.

    ``compressions[r]`` is that of rank r: all alike, and kept for the next call. Inputs are not changed. Raises
    ValueError for inputs that do not go together.
    """
    count = len(inputs[0]) if inputs else 0
    if any(array.shape != (count,) or array.dtype != np.float32 for array in inputs):
        raise ValueError(f"every rank must bring {count} float32 elements, as rank 0 does")
    outputs = [array.copy() for array in inputs]
    with np.errstate(all="ignore"):  # as MPI does
        if isinstance(compressions[0].method, Shared):
            _run_shared(algorithm, outputs, compressions)
        else:
            _run_encoded(algorithm, outputs, compressions, compressions[0].method)
    return outputs


def _run_encoded(
    algorithm: Algorithm, outputs: Sequence[Floats], compressions: Sequence[Compression], encoding: Encoding
) -> None:
    size, count = len(outputs), len(outputs[0])
    plans = [encode_plan(algorithm, rank, size, count, encoding.nbytes) for rank in range(size)]
    buffers = [_buffers(plan) for plan in plans]
    coders = [
        Coder(plan, encoding, output, memory, compression.owed(output), compression.draw(plan.counters))
        for plan, output, memory, compression in zip(plans, outputs, buffers, compressions, strict=True)
    ]
    for number in range(plans[0].plan.rounds):
        _play(number, plans, coders, buffers)
    for coder in coders:
        coder.finish()


def _run_shared(algorithm: Algorithm, outputs: Sequence[Floats], compressions: Sequence[Compression]) -> None:
    together = zip(
        *(steps(output, len(outputs), compression) for output, compression in zip(outputs, compressions, strict=True)),
        strict=True,
    )
    for asked in together:
        sums = [one.values for one in asked if isinstance(one, Sum)]
        for values, total in zip(sums, plain.run(algorithm, sums) if sums else (), strict=True):
            values[:] = total
        gathered = [one for one in asked if isinstance(one, Gather)]
        for one in gathered:
            np.concatenate([other.mine for other in gathered], out=one.every)


def _buffers(encoded: Encoded) -> Buffers:
    store, inbox = (np.empty(length, np.uint8) for length in encoded.plan.lengths)
    return store, inbox


def _play(number: int, plans: Sequence[Encoded], coders: Sequence[Coder], buffers: Sequence[Buffers]) -> None:
    """One round of all ranks."""
    busy = [
        (rank, index, step)
        for rank, encoded in enumerate(plans)
        for index, step in enumerate(encoded.plan.steps)
        if step.index == number
    ]
    mail: dict[tuple[int, int], Octets] = {}
    for rank, index, step in busy:
        coders[rank].before(index)
        mail |= {(rank, send.peer): _gathered(buffers[rank], send.spans) for send in step.sends}
    for rank, index, step in busy:
        for receive in step.receives:
            _scatter(mail[receive.peer, rank], buffers[rank], receive.spans)
        coders[rank].after(index)


def _gathered(buffers: Buffers, spans: Sequence[Span]) -> Octets:
    return np.concatenate([np.empty(0, np.uint8), *(buffers[buffer][lo:hi] for buffer, lo, hi in spans)])


def _scatter(parcel: Octets, buffers: Buffers, spans: Sequence[Span]) -> None:
    start = 0
    for buffer, lo, hi in spans:
        buffers[buffer][lo:hi] = parcel[start : start + hi - lo]
        start += hi - lo
