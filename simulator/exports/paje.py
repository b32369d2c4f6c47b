"""Paje traces: a container for each rank and each link, for ViTE and the pajeng tools.

Source: Schnorr, "Paje trace file format" (2016).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from simulator.exports.slices import Lane, lanes, slices

if TYPE_CHECKING:
    from simulator.engine import Run
    from simulator.timeline import Timeline

__all__ = ["text", "write"]

_BINS = 64
_FIELDS = {
    "PajeDefineContainerType": ("Alias string", "Type string", "Name string"),
    "PajeDefineStateType": ("Alias string", "Type string", "Name string"),
    "PajeDefineVariableType": ("Alias string", "Type string", "Name string", "Color color"),
    "PajeDefineLinkType": (
        "Alias string", "Type string", "StartContainerType string", "EndContainerType string", "Name string",
    ),
    "PajeCreateContainer": ("Time date", "Alias string", "Type string", "Container string", "Name string"),
    "PajeDestroyContainer": ("Time date", "Type string", "Name string"),
    "PajePushState": ("Time date", "Type string", "Container string", "Value string"),
    "PajePopState": ("Time date", "Type string", "Container string"),
    "PajeSetVariable": ("Time date", "Type string", "Container string", "Value double"),
    "PajeStartLink": (
        "Time date", "Type string", "Container string", "StartContainer string", "Value string", "Key string",
    ),
    "PajeEndLink": (
        "Time date", "Type string", "Container string", "EndContainer string", "Value string", "Key string",
    ),
}  # fmt: skip
_NUMBER = {name: number for number, name in enumerate(_FIELDS)}
_STATES: tuple[Lane, ...] = ("processor", "sends", "receives")


def text(run: Run) -> str:
    """The trace of ``run``."""
    stream = io.StringIO()
    write(run, stream)
    return stream.getvalue()


def write(run: Run, stream: TextIO) -> None:
    """Write the trace of ``run``: definitions, then events in order of time."""
    stream.writelines(f"{line}\n" for line in _header())
    stream.writelines(f"{line}\n" for line in _definitions(run))
    ordered = sorted(_events(run, run.timeline()), key=lambda event: event[:2])
    stream.writelines(f"{line}\n" for _, _, line in ordered)
    stream.writelines(f"{line}\n" for line in _endings(run))


def _header() -> Iterator[str]:
    for name, fields in _FIELDS.items():
        yield f"%EventDef {name} {_NUMBER[name]}"
        yield from (f"% {field}" for field in fields)
        yield "%EndEventDef"


def _definitions(run: Run) -> Iterator[str]:
    yield _line("PajeDefineContainerType", "RUN", "0", "run")
    yield _line("PajeDefineContainerType", "RANK", "RUN", "rank")
    yield _line("PajeDefineContainerType", "LINK", "RUN", "link")
    yield from (_line("PajeDefineStateType", lane.upper(), "RANK", lane) for lane in _STATES)
    yield _line("PajeDefineVariableType", "USE", "LINK", "share used", "0.2 0.4 0.8")
    yield _line("PajeDefineLinkType", "MESSAGE", "RUN", "RANK", "RANK", "message")
    yield _line("PajeCreateContainer", 0.0, "run", "RUN", "0", f"{run.algorithm.label} on {run.network.name}")
    yield from (
        _line("PajeCreateContainer", 0.0, f"r{rank}", "RANK", "run", f"rank {rank}") for rank in range(run.size)
    )


def _events(run: Run, timeline: Timeline) -> Iterator[tuple[float, int, str]]:
    """(moment, order within it, line): what ends comes before what begins."""
    for (rank, lane, number), busy in lanes(slices(run, timeline)).items():
        if number:  # one state a rank and lane; what overlaps it is seen by its arrow
            continue
        for each in busy:
            instant = each.begin == each.end
            yield each.begin, 1, _line("PajePushState", each.begin, lane.upper(), f"r{rank}", each.name)
            yield each.end, 2 if instant else 0, _line("PajePopState", each.end, lane.upper(), f"r{rank}")
    for index, message in enumerate(timeline):
        what, key = f"{message.nbytes} bytes in round {message.round}", f"m{index}"
        source, dest = f"r{message.source}", f"r{message.dest}"
        yield message.start, 3, _line("PajeStartLink", message.start, "MESSAGE", "run", source, what, key)
        yield message.arrived, 4, _line("PajeEndLink", message.arrived, "MESSAGE", "run", dest, what, key)
    yield from _links(run)


def _links(run: Run) -> Iterator[tuple[float, int, str]]:
    if not run.seconds:
        return
    topology, use = run.network.topology, run.utilisation(_BINS)
    for link in range(len(use)):
        if use[link].any():
            begin, end = (topology.label(vertex) for vertex in topology.ends[link].tolist())
            yield 0.0, -1, _line("PajeCreateContainer", 0.0, f"l{link}", "LINK", "run", f"{begin} → {end}")
            for number, share in enumerate(use[link].tolist()):
                moment = run.seconds * number / _BINS
                yield moment, 5, _line("PajeSetVariable", moment, "USE", f"l{link}", share)


def _endings(run: Run) -> Iterator[str]:
    yield _line("PajeDestroyContainer", run.seconds, "RUN", "run")


def _line(event: str, *values: float | str) -> str:
    return " ".join([str(_NUMBER[event]), *(_plain(value) for value in values)])


def _plain(value: float | str) -> str:
    """Numbers in full; text in quotes, which the format cannot escape, so quotes and line ends become others."""
    if not isinstance(value, str):
        return f"{value:.17g}"
    if '"' in value or not value.isprintable():
        value = "".join("'" if sign == '"' else sign if sign.isprintable() else " " for sign in value)
    return f'"{value}"'
