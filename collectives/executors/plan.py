"""Lowering: from chunks to elements, once per (algorithm, rank, size, count) and good for any address and dtype.

The round law is settled here, so that an executor only has to follow: a receive that overwrites lands where it
belongs if nothing else in its round touches that place; every other one is staged in scratch memory and committed
when the sends of the round are complete. Messages of a few spans are packed in scratch memory at both ends, for MPI
sends what lies in one piece sooner than what it has to gather.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from collectives.schedule import OVERWRITE, Chunks, Fold, Round, Send

__all__ = ["Places", "Plan", "Receive", "Span", "Step", "Transmit", "lower", "touched"]

Span = tuple[int, int, int]
"""``(buffer, lo, hi)``: elements ``lo .. hi - 1`` of that buffer."""

Places = Callable[[int], Span]
"""Where a chunk lives; chunks must not share elements, and may have none (``lo == hi``)."""


PACKED = 8
"""Up to so many spans of a message are packed here; more are left to MPI, for each is a call from Python."""


class Scheduled(Protocol):
    """What lowering needs of an algorithm."""

    @property
    def label(self) -> str: ...

    def rounds(self, rank: int, size: int) -> Iterable[Round]: ...


@dataclass(frozen=True, slots=True)
class Transmit:
    """A message to ``peer``: ``length`` elements, the ``spans`` one after the other.

    It is packed at element ``stage`` of the scratch memory, or, if ``stage`` is None, read straight from the spans.
    """

    peer: int
    chunks: Chunks
    spans: tuple[Span, ...]
    length: int
    stage: int | None = None


@dataclass(frozen=True, slots=True)
class Receive:
    """A message from ``peer``, folded into the ``spans`` when the round ends.

    It arrives at element ``stage`` of the scratch memory, or, if ``stage`` is None, right in the spans.
    """

    peer: int
    chunks: Chunks
    spans: tuple[Span, ...]
    length: int
    fold: Fold
    stage: int | None


@dataclass(frozen=True, slots=True)
class Step:
    """What a rank does in round ``index``, receives in the order in which they commit."""

    index: int
    receives: tuple[Receive, ...]
    sends: tuple[Transmit, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """One rank's part of an algorithm in elements. Idle rounds are left out of ``steps``.

    ``scratch`` elements are needed beside the buffers, buffer ``b`` must have at least ``lengths[b]`` elements, and
    ``folds`` says whether anything is combined.
    Plans compare by identity: keep one and use it again.
    """

    algorithm: str
    rank: int
    size: int
    rounds: int
    steps: tuple[Step, ...]
    scratch: int
    lengths: tuple[int, ...]
    folds: bool


def lower(algorithm: Scheduled, rank: int, size: int, places: Places) -> Plan:
    """The part of ``rank`` among ``size`` in elements, chunk ``c`` lying at ``places(c) = (buffer, lo, hi)``.

    The chunks of one message may lie in several buffers. Chunks that are neighbours in the message and in memory
    become one span. Cost: one pass over the rank's operations and their chunks.
    """
    rounds = list(algorithm.rounds(rank, size))
    steps = tuple(_step(index, operations, places) for index, operations in enumerate(rounds) if operations)
    scratch = max((_staged(step) for step in steps), default=0)
    folds = any(receive.fold is not OVERWRITE for step in steps for receive in step.receives)
    return Plan(algorithm.label, rank, size, len(rounds), steps, scratch, _lengths(steps), folds)


def touched(algorithm: Scheduled, rank: int, size: int) -> list[int]:
    """The chunks that ``rank`` sends or receives, ascending: its own, those it keeps, and those that pass through."""
    operations = (operation for operations in algorithm.rounds(rank, size) for operation in operations)
    return sorted({chunk for operation in operations for chunk in operation.chunks})


def _step(index: int, operations: Round, places: Places) -> Step:
    sends: list[Transmit] = []
    receives: list[Receive] = []
    for operation in operations:
        spans = _merged(map(places, operation.chunks))
        length = sum(hi - lo for _, lo, hi in spans)
        if isinstance(operation, Send):
            sends.append(Transmit(operation.dest, operation.chunks, spans, length))
        else:
            receives.append(Receive(operation.source, operation.chunks, spans, length, operation.fold, None))
    staged = tuple(_stage(receives, sends))
    return Step(index, staged, tuple(_pack(sends, sum(recv.length for recv in staged if recv.stage is not None))))


def _stage(receives: list[Receive], sends: list[Transmit]) -> Iterator[Receive]:
    """Each receive with its place in scratch, or none where it may land at once without breaking the round law."""
    offset = 0
    for receive in receives:
        others = [other.spans for other in (*sends, *receives) if other is not receive]
        free = receive.fold is OVERWRITE and not any(_overlap(receive.spans, spans) for spans in others)
        if free and not _scattered(receive.spans):
            yield receive
        else:
            yield Receive(receive.peer, receive.chunks, receive.spans, receive.length, receive.fold, offset)
            offset += receive.length


def _pack(sends: list[Transmit], offset: int) -> Iterator[Transmit]:
    """Each send with its place in scratch from ``offset`` on, if it is to be packed."""
    for send in sends:
        if _scattered(send.spans):
            yield replace(send, stage=offset)
            offset += send.length
        else:
            yield send


def _scattered(spans: tuple[Span, ...]) -> bool:
    return 1 < len(spans) <= PACKED


def _merged(spans: Iterable[Span]) -> tuple[Span, ...]:
    merged: list[Span] = []
    for buffer, lo, hi in spans:
        if lo == hi:
            continue
        if merged and merged[-1][0] == buffer and merged[-1][2] == lo:
            merged[-1] = (buffer, merged[-1][1], hi)
        else:
            merged.append((buffer, lo, hi))
    return tuple(merged)


def _overlap(some: tuple[Span, ...], others: tuple[Span, ...]) -> bool:
    """Whether an element lies in both; within each, spans are disjoint."""
    line = sorted((*some, *others))
    return any(one[0] == two[0] and one[2] > two[1] for one, two in pairwise(line))


def _staged(step: Step) -> int:
    return sum(message.length for message in (*step.receives, *step.sends) if message.stage is not None)


def _lengths(steps: tuple[Step, ...]) -> tuple[int, ...]:
    lengths: dict[int, int] = {}
    for step in steps:
        for message in (*step.receives, *step.sends):
            for buffer, _, hi in message.spans:
                lengths[buffer] = max(hi, lengths.get(buffer, 0))
    return tuple(lengths.get(buffer, 0) for buffer in range(max(lengths, default=-1) + 1))
