"""GOAL, the text in which LogGOPSim takes schedules: written from runs, and read back into schedules.

A rank is a list of labelled operations, ``send``, ``recv`` and ``calc``, and of what each requires to be finished. Of a
run it keeps what happened in the ranks (messages, rounds, folds and compute phases), and nothing of the network.
Source: Hoefler, Siebert and Lumsdaine, "Group Operation Assembly Language" (2009); the scanner of LogGOPSim.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from simulator.exports.goal_reader import Calc, Goal, Transfer, read

if TYPE_CHECKING:
    from simulator.engine import Run
    from simulator.timeline import Message, Stay

__all__ = ["Calc", "Goal", "Transfer", "read", "text", "write"]


def text(run: Run, tick: float = 1e-9) -> str:
    """``run`` as GOAL; a ``calc`` counts whole ticks of ``tick`` seconds, so each is up to half a tick off."""
    stream = io.StringIO()
    write(run, stream, tick)
    return stream.getvalue()


def write(run: Run, stream: TextIO, tick: float = 1e-9) -> None:
    """Write ``run`` as GOAL; see ``text``. Tags are rounds, so a receive meets the send of its own round."""
    if not tick > 0:
        raise ValueError(f"a tick must be longer than 0 s, got {tick}")
    timeline = run.timeline()
    stays: list[list[Stay]] = [[] for _ in range(run.size)]
    for stay in sorted(timeline.stays, key=lambda each: each.round):
        stays[stay.rank].append(stay)
    operations: dict[tuple[int, int], list[str]] = {}
    for message in timeline:
        for rank, line in _ends(message):
            operations.setdefault((rank, message.round), []).append(line)
    about = " ".join(f"{run.algorithm.label}, {run.nbytes} bytes, calc in units of {tick:g} s".split())
    stream.write(f"// {about}\nnum_ranks {run.size}\n")
    for rank in range(run.size):
        stream.write(f"\nrank {rank} {{\n")
        todo = [(stay, operations[rank, stay.round]) for stay in stays[rank]]
        stream.writelines(f"{line}\n" for line in _lines(todo, float(run.completion[rank]), tick))
        stream.write("}\n")


def _ends(message: Message) -> tuple[tuple[int, str], tuple[int, str]]:
    """The two operations of a message, each with its rank."""
    size, tag = f"{message.nbytes}b", f"tag {message.round}"
    return (
        (message.source, f"send {size} to {message.dest} {tag}"),
        (message.dest, f"recv {size} from {message.source} {tag}"),
    )


def _lines(todo: Sequence[tuple[Stay, list[str]]], done: float, tick: float) -> Iterator[str]:
    """The rounds of one rank: the operations of each require those of the one before, and the work in between."""
    labels = (f"l{number}" for number in itertools.count(1))
    before: list[str] = []
    left = 0.0
    for stay, operations in todo:
        if work := round((stay.entered - left) / tick):
            yield from _required(label := [next(labels)], [f"calc {work}"], before)
            before = label
        mine = [next(labels) for _ in operations]
        yield from _required(mine, operations, before)
        before, left = mine, stay.left
        if folding := round((stay.left - stay.received) / tick):
            yield from _required(label := [next(labels)], [f"calc {folding}"], before)
            before = label
    if work := round((done - left) / tick):
        yield from _required([next(labels)], [f"calc {work}"], before)


def _required(labels: Sequence[str], operations: Sequence[str], before: Sequence[str]) -> Iterator[str]:
    yield from (f"{label}: {operation}" for label, operation in zip(labels, operations, strict=True))
    yield from (f"{label} requires {each}" for label in labels for each in before)
