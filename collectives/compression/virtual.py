"""Allreduce with an encoding, all ranks in one process and without MPI: the bits that real ranks get, for any size.

The ranks' plans and what they encode and decode are those of the real thing; only the messages are copies here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from collectives.catalogue import Algorithm
from collectives.executors.encoded import Coder, Encoded, Floats, Octets, encode_plan
from collectives.executors.plan import Span
from kernels.compress import Encoding

__all__ = ["run"]

Buffers = tuple[Octets, Octets]


def run(
    algorithm: Algorithm, inputs: Sequence[Floats], encoding: Encoding,
    residuals: Sequence[Floats] | None = None, counter: int = 0,
) -> list[Floats]:  # fmt: skip
    """What each rank holds at the end, ``inputs[r]`` being what rank r brings: 1-D float32 arrays of one length.

    ``residuals[r]``, of the same length, is what rank r lost in earlier calls, and is changed in place; without them
    what is lost is lost. ``counter`` as for a Coder. Inputs are not changed. Raises ValueError for inputs that do not
    go together.
    """
    size, count = len(inputs), len(inputs[0]) if inputs else 0
    if any(array.shape != (count,) or array.dtype != np.float32 for array in inputs):
        raise ValueError(f"every rank must bring {count} float32 elements, as rank 0 does")
    plans = [encode_plan(algorithm, rank, size, count, encoding.nbytes) for rank in range(size)]
    buffers = [_buffers(plan) for plan in plans]
    outputs = [array.copy() for array in inputs]
    coders = [
        Coder(plan, encoding, output, memory, None if residuals is None else residuals[rank], counter)
        for rank, (plan, output, memory) in enumerate(zip(plans, outputs, buffers, strict=True))
    ]
    with np.errstate(all="ignore"):  # as MPI does
        for number in range(plans[0].plan.rounds):
            _play(number, plans, coders, buffers)
        for coder in coders:
            coder.finish()
    return outputs


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
