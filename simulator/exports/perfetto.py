"""Chrome's trace format, as ui.perfetto.dev and chrome://tracing show it.

A process is a machine; a rank has a thread for its processor, and one for each direction of its port. An arrow leads
from each send to its receive, and a counter for each link says what share of it is used. Times are microseconds.
Source: "Trace Event Format", Google (2016).
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from simulator.exports.slices import Lane, Slice, lanes, slices

if TYPE_CHECKING:
    from simulator.engine import Run

__all__ = ["text", "write"]

Event = dict[str, Any]
_US = 1e6
_BINS = 64
_THREADS = {"processor": 0, "sends": 1, "receives": 2}
_WIDTH = 1000
"""Thread numbers of one rank; lanes beyond the first come after the three first ones."""


def text(run: Run) -> str:
    """The trace of ``run`` as JSON."""
    stream = io.StringIO()
    write(run, stream)
    return stream.getvalue()


def write(run: Run, stream: TextIO) -> None:
    """Write the trace of ``run`` as JSON, event by event."""
    about = {
        "algorithm": run.algorithm.label, "network": run.network.name, "ranks": run.size, "nbytes": run.nbytes,
        "seconds": run.seconds, "bound": run.bound,
    }  # fmt: skip
    stream.write(f'{{"displayTimeUnit":"ns","otherData":{json.dumps(about, allow_nan=False)},"traceEvents":[')
    for number, event in enumerate(_events(run)):
        stream.write(",\n" if number else "\n")
        stream.write(json.dumps(event, allow_nan=False, separators=(",", ":")))
    stream.write("\n]}\n")


def _events(run: Run) -> Iterator[Event]:
    machine = run.network.topology.machine[run.network.place].tolist()
    links = max(machine) + 1  # a process of its own, after the machines
    for process in sorted(set(machine)):
        yield _named("process_name", process, 0, f"machine {process}")
    for (rank, lane, number), busy in sorted(lanes(slices(run, run.timeline())).items()):
        process, thread = machine[rank], rank * _WIDTH + _THREADS[lane] + 3 * number
        yield _named("thread_name", process, thread, _thread_name(rank, lane, number))
        yield {"ph": "M", "name": "thread_sort_index", "pid": process, "tid": thread, "args": {"sort_index": thread}}
        for each in busy:
            yield from _slice(each, process, thread)
    yield from _counters(run, links)


def _thread_name(rank: int, lane: Lane, number: int) -> str:
    name = f"rank {rank}" if lane == "processor" else f"rank {rank} {lane}"
    return f"{name} {number + 1}" if number else name


def _named(kind: str, process: int, thread: int, name: str) -> Event:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}


def _slice(each: Slice, process: int, thread: int) -> Iterator[Event]:
    place: Event = {"pid": process, "tid": thread}
    begin, message = each.begin * _US, each.message
    event: Event = {"ph": "X", "name": each.name, "cat": each.lane, "ts": begin, "dur": each.end * _US - begin, **place}
    if message is not None:
        event["args"] = {"round": message.round, "chunks": repr(message.chunks), "nbytes": message.nbytes}
    yield event
    if message is not None and each.lane != "processor":
        # Both ends bind to the slice that encloses them, so they stand at its beginning and at its end.
        phase = {"ph": "s", "ts": begin} if each.lane == "sends" else {"ph": "f", "bp": "e", "ts": each.end * _US}
        yield {"name": "message", "cat": "message", "id": each.index, **phase, **place}


def _counters(run: Run, process: int) -> Iterator[Event]:
    """The share used of every link that is used, whenever it changes."""
    if not run.seconds:
        return
    yield _named("process_name", process, 0, "links")
    topology, use = run.network.topology, run.utilisation(_BINS)
    for link in range(len(use)):
        if not use[link].any():
            continue
        begin, end = (topology.label(vertex) for vertex in topology.ends[link].tolist())
        before = math.nan
        for number, share in enumerate([*use[link].tolist(), 0.0]):
            if share != before:
                moment = run.seconds * number / _BINS * _US
                yield {"ph": "C", "name": f"{begin} → {end}", "pid": process, "ts": moment, "args": {"share": share}}
            before = share
