"""Allreduce with an encoding on the wire: a plan in bytes, and what to encode and decode at both ends of each step.

Every chunk has a place of its own in the *store*, where its encoded form lies. A send takes its chunks from there, a
receive that overwrites puts them there, so what is passed on is passed on as it came. What is to be folded in arrives
in the *inbox*. The messages themselves are a plan like any other, in bytes and without folds, for any executor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collectives.catalogue import Algorithm
from collectives.compression.codings import Coding, Codings, Loss, codings
from collectives.executors.plan import Plan, Receive, Step, lower
from collectives.schedule import OVERWRITE, extents
from kernels import reduce
from kernels.compress import Encoding
from kernels.device_array import DeviceArray

__all__ = ["Coder", "Encoded", "Flat", "Floats", "Octets", "Place", "encode_plan", "zeros_like"]

Floats = NDArray[np.float32]
Octets = NDArray[np.uint8]
Flat = Floats | DeviceArray
"""Float32 values, in the host or on a device."""

STORE, INBOX = 0, 1


@dataclass(frozen=True, slots=True)
class Place:
    """A chunk: elements ``lo .. hi - 1`` of the vector, and bytes ``start .. stop - 1`` of a buffer of the plan."""

    chunk: int
    lo: int
    hi: int
    buffer: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A chunk that has come, to take the place of the rank's own or to be added to it."""

    place: Place
    folds: bool


@dataclass(frozen=True, eq=False)
class Encoded:
    """One rank's part of an allreduce with an encoding: ``plan`` in bytes over the store and the inbox.

    ``before[i]`` is what to encode before step ``i`` of the plan, ``after[i]`` what has come when it is done, in the
    order in which it commits, and ``last`` what to encode at the end, for the rank's own copy. ``chunks`` are their
    places in the store. ``counters`` is how many different counters the encodings of a call need. ``alike``: whether
    all ranks end with the same bits, as they do for every algorithm of the catalogue.
    """

    plan: Plan
    before: tuple[tuple[tuple[Coding, Place], ...], ...]
    after: tuple[tuple[Arrival, ...], ...]
    last: tuple[tuple[Coding, Place], ...]
    chunks: tuple[Place, ...]
    counters: int
    alike: bool


def encode_plan(algorithm: Algorithm, rank: int, size: int, count: int, nbytes: Callable[[int], int]) -> Encoded:
    """The part of ``rank`` among ``size`` in an allreduce of ``count`` elements, ``nbytes(m)`` bytes for m of them.

    Cost: that of ``codings``, once for each algorithm and size, and a pass over the rank's operations.
    """
    chunks = _laid_out(extents(count, algorithm.chunks(size)), nbytes)
    lowered = lower(algorithm, rank, size, lambda chunk: (STORE, chunks[chunk].start, chunks[chunk].stop))
    steps = [_step(step, chunks) for step in lowered.steps]
    inbox = max((receive.spans[0][2] for step, _ in steps for receive in step.receives if _folds(receive)), default=0)
    plan = replace(
        lowered,
        steps=tuple(step for step, _ in steps),
        scratch=max((_end(message) for step, _ in steps for message in (*step.receives, *step.sends)), default=0),
        lengths=(chunks[-1].stop if chunks else 0, inbox),
        folds=False,
    )
    found = codings(algorithm, size)
    before = tuple(_coded(found, rank, step.index, chunks) for step in plan.steps)
    last = _coded(found, rank, plan.rounds, chunks)
    after = tuple(arrivals for _, arrivals in steps)
    return Encoded(plan, before, after, last, tuple(chunks), found.numbers, found.alike)


def _laid_out(parts: Sequence[tuple[int, int]], nbytes: Callable[[int], int]) -> list[Place]:
    ends = accumulate((nbytes(hi - lo) for lo, hi in parts), initial=0)
    cuts = zip(parts, pairwise(ends), strict=True)
    return [Place(chunk, lo, hi, STORE, start, stop) for chunk, ((lo, hi), (start, stop)) in enumerate(cuts)]


def _coded(found: Codings, rank: int, number: int, chunks: Sequence[Place]) -> tuple[tuple[Coding, Place], ...]:
    jobs = [(coding, chunks[coding.chunk]) for coding in found.of[rank].get(number, ())]
    return tuple([(coding, place) for coding, place in jobs if place.lo < place.hi])


def _folds(receive: Receive) -> bool:
    return bool(receive.spans) and receive.spans[0][0] == INBOX


def _end(message: Any) -> int:
    return 0 if message.stage is None else message.stage + message.length


def _step(step: Step, chunks: Sequence[Place]) -> tuple[Step, tuple[Arrival, ...]]:
    """The step with what it folds in sent to the inbox, and everything that comes, in order."""
    receives: list[Receive] = []
    arrivals: list[Arrival] = []
    offset = 0
    for receive in step.receives:
        if receive.fold is OVERWRITE:
            receives.append(receive)
            arrivals += [Arrival(chunks[chunk], folds=False) for chunk in receive.chunks]
            continue
        end = offset + receive.length
        spans = ((INBOX, offset, end),) if receive.length else ()
        receives.append(replace(receive, spans=spans, fold=OVERWRITE, stage=None))
        for chunk in receive.chunks:
            place = chunks[chunk]
            length = place.stop - place.start
            arrivals.append(Arrival(replace(place, buffer=INBOX, start=offset, stop=offset + length), folds=True))
            offset += length
    return replace(step, receives=tuple(receives)), tuple([one for one in arrivals if one.place.lo < one.place.hi])


class Coder:
    """What one rank does in one call, around the steps of ``encoded.plan`` over ``buffers``, the store and the inbox.

    ``values`` is the rank's vector, changed in place. With a ``residual``, of the same length, it gets back what it
    lost in earlier calls, and what it loses in this one is kept there. ``counter`` is the first of
    ``encoded.counters`` that no other call uses. Raises ValueError for a residual where ranks do not end alike: what
    one result lacks is then in another.
    """

    def __init__(
        self, encoded: Encoded, encoding: Encoding, values: Flat, buffers: tuple[Octets, Octets],
        residual: Flat | None, counter: int,
    ) -> None:  # fmt: skip
        if residual is not None and not encoded.alike:
            raise ValueError(f"{encoded.plan.algorithm} gives ranks different roundings of a sum: leave feedback out")
        self._encoded, self._encoding, self._values, self._buffers = encoded, encoding, values, buffers
        self._residual, self._counter = residual, counter

    def before(self, index: int) -> None:
        """Encode what step ``index`` sends."""
        for coding, place in self._encoded.before[index]:
            self._encode(coding, place)

    def after(self, index: int) -> None:
        """Decode what step ``index`` received."""
        for arrival in self._encoded.after[index]:
            self._decode(arrival)

    def finish(self) -> None:
        """After the last step: let this rank hold what others hold."""
        for coding, place in self._encoded.last:
            self._encode(coding, place)

    def _encode(self, coding: Coding, place: Place) -> None:
        own, wire, counter = self._values[place.lo : place.hi], self._wire(place), self._counter + coding.number
        residual = None if self._residual is None else self._residual[place.lo : place.hi]
        if residual is None or coding.loss is Loss.ELSEWHERE:
            self._encoding.encode(own, wire, counter=counter)
            if coding.held:
                self._encoding.decode(wire, own)
        elif coding.loss is Loss.FIRST:
            self._encoding.encode_feedback(own, wire, residual, counter=counter)
        else:
            lost = zeros_like(own)
            self._encoding.encode_feedback(own, wire, lost, counter=counter)
            reduce.get("sum")(residual, lost, residual)

    def _decode(self, arrival: Arrival) -> None:
        place = arrival.place
        decode = self._encoding.decode_add if arrival.folds else self._encoding.decode
        decode(self._wire(place), self._values[place.lo : place.hi])

    def _wire(self, place: Place) -> Octets | DeviceArray:
        """Where the encoding writes and reads a chunk."""
        return self._buffers[place.buffer][place.start : place.stop]


def zeros_like(values: Flat) -> Flat:
    """Float32 zeros, as many as ``values`` has and where it is. On a device this waits for its stream."""
    zeros = np.zeros(values.size, np.float32)
    if not isinstance(values, DeviceArray):
        return zeros
    device = values.device
    made = device.allocate(max(zeros.nbytes, 1), values.stream)[: zeros.nbytes].view(np.float32)
    device.copy_in(made, zeros, values.stream)
    device.synchronize(values.stream)  # the copy reads zeros until then
    return made
