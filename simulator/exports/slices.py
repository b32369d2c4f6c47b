"""What each rank does, when, and on which of its lanes: the common ground of the trace formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from simulator.engine import Run
    from simulator.timeline import Message, Timeline

__all__ = ["Lane", "Slice", "lanes", "slices"]

Lane = Literal["processor", "sends", "receives"]


@dataclass(frozen=True, slots=True)
class Slice:
    """``rank`` was busy with ``name`` from ``begin`` to ``end`` seconds on one of its lanes, for message ``index``."""

    rank: int
    lane: Lane
    name: str
    begin: float
    end: float
    index: int = -1
    message: Message | None = None


def slices(run: Run, timeline: Timeline) -> Iterator[Slice]:
    """Sends and receives at the ports, and overheads, folds and compute phases at the processor of every rank."""
    overhead, slow = run.network.model.message, run.conditions.slow_ranks
    for index, message in enumerate(timeline):
        cost = overhead.overhead + overhead.overhead_per_byte * message.nbytes
        yield Slice(message.source, "sends", f"to {message.dest}", message.start, message.sent, index, message)
        yield Slice(
            message.dest, "receives", f"from {message.source}", message.receiving, message.arrived, index, message
        )
        if before := cost + run.network.model.synchronise + message.encoding:
            begin = max(0.0, message.injected - before * slow.get(message.source, 1.0))
            yield Slice(message.source, "processor", f"send to {message.dest}", begin, message.injected, index, message)
        if message.end > message.arrived:
            begin = max(message.arrived, message.end - (cost + message.decoding) * slow.get(message.dest, 1.0))
            yield Slice(message.dest, "processor", f"take from {message.source}", begin, message.end, index, message)
    left = [0.0] * run.size
    for stay in sorted(timeline.stays, key=lambda each: each.round):
        if stay.entered > left[stay.rank]:
            yield Slice(stay.rank, "processor", "compute", left[stay.rank], stay.entered)
        if stay.left > stay.received:
            yield Slice(stay.rank, "processor", f"fold in round {stay.round}", stay.received, stay.left)
        left[stay.rank] = stay.left
    for rank, done in enumerate(run.completion.tolist()):
        if done > left[rank]:
            yield Slice(rank, "processor", "compute", left[rank], done)


def lanes(busy: Iterable[Slice]) -> dict[tuple[int, Lane, int], list[Slice]]:
    """Slices by (rank, lane, number), so that no two of one list overlap; there are as many numbers as are needed.

    Latencies differ, so messages that left one after another can arrive together.
    """
    found: dict[tuple[int, Lane, int], list[Slice]] = {}
    for each in sorted(busy, key=lambda each: (each.begin, each.end, each.index)):
        number = 0
        while (mine := found.get((each.rank, each.lane, number))) and mine[-1].end > each.begin:
            number += 1
        found.setdefault((each.rank, each.lane, number), []).append(each)
    return found
