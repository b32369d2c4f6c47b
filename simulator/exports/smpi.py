"""Time-independent traces of SMPI, which SimGrid replays: what every rank does, and nothing about when.

One text a rank, and an index that names them. Every round is its receives, its sends and a wait for all of them, then
its folds as computation. Replayed with rendezvous (``smpi/send-is-detached-thresh:0``), a round waits as it does here.
Source: Desprez, Markomanolis and Suter, "Improving the accuracy and efficiency of time-independent trace replay"
(2012); the actions of SimGrid's replay.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from simulator.engine import Run
    from simulator.timeline import Message, Stay, Timeline

__all__ = ["INDEX", "OPTIONS", "text", "write", "write_folder"]

SPEED = 1e9
"""Flops per second of the hosts on which to replay: a second of computation here is as many flops."""

INDEX = "index.txt"
OPTIONS = (
    "network/model:CM02", "network/latency-factor:1", "network/bandwidth-factor:1", "network/TCP-gamma:0",
    "network/weight-S:0", "network/crosstraffic:0", "smpi/send-is-detached-thresh:0", "smpi/async-small-thresh:0",
)  # fmt: skip
"""Values of SimGrid's ``--cfg`` under which it has no hidden factors."""


def text(run: Run) -> str:
    """The actions of all ranks in one text, rank after rank; each line begins with its rank."""
    return "".join(f"{line}\n" for lines in _traces(run) for line in lines)


def write(run: Run, stream: TextIO) -> None:
    """Write the actions of all ranks, rank after rank."""
    for lines in _traces(run):
        stream.writelines(f"{line}\n" for line in lines)


def write_folder(run: Run, folder: Path) -> Path:
    """Write ``rank0.txt``, ``rank1.txt``, ... and an index of them into ``folder``; returns the index.

    The index names the files by their whole paths, for SimGrid looks for them from wherever it runs. It is written last
    and under its own name at once, so that a reader never finds half of it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    names: list[str] = []
    for rank, lines in enumerate(_traces(run)):
        place = folder.resolve() / f"rank{rank}.txt"
        with place.open("w", encoding="utf-8") as stream:
            stream.writelines(f"{line}\n" for line in lines)
        names.append(str(place))
    index, draft = folder / INDEX, folder / f".{INDEX}"
    draft.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    draft.replace(index)
    return index


def _traces(run: Run) -> Iterator[Iterator[str]]:
    timeline = run.timeline()
    stays: list[list[Stay]] = [[] for _ in range(run.size)]
    for stay in sorted(timeline.stays, key=lambda each: each.round):
        stays[stay.rank].append(stay)
    sends, recvs = _ends(timeline)
    for rank in range(run.size):
        yield _trace(rank, stays[rank], sends, recvs, float(run.completion[rank]))


def _ends(timeline: Timeline) -> tuple[dict[tuple[int, int], list[Message]], dict[tuple[int, int], list[Message]]]:
    """Messages by (sender, round) and by (receiver, round)."""
    sends: dict[tuple[int, int], list[Message]] = {}
    recvs: dict[tuple[int, int], list[Message]] = {}
    for message in timeline:
        sends.setdefault((message.source, message.round), []).append(message)
        recvs.setdefault((message.dest, message.round), []).append(message)
    return sends, recvs


def _trace(
    rank: int,
    stays: list[Stay],
    sends: dict[tuple[int, int], list[Message]],
    recvs: dict[tuple[int, int], list[Message]],
    done: float,
) -> Iterator[str]:
    """The actions of one rank. Sizes are bytes: SMPI's datatype of a trace whose ``init`` names none."""
    yield f"{rank} init"
    left = 0.0
    for stay in stays:
        yield from _work(rank, stay.entered - left)
        place = rank, stay.round
        yield from (f"{rank} irecv {each.source} {each.round} {each.nbytes}" for each in recvs.get(place, []))
        yield from (f"{rank} isend {each.dest} {each.round} {each.nbytes}" for each in sends.get(place, []))
        yield f"{rank} waitall"
        yield from _work(rank, stay.left - stay.received)
        left = stay.left
    yield from _work(rank, done - left)
    yield f"{rank} finalize"


def _work(rank: int, seconds: float) -> Iterator[str]:
    if seconds > 0:
        yield f"{rank} compute {seconds * SPEED:.17g}"
