"""The reader of GOAL texts, strict: what it does not understand, or cannot play, it refuses by line number."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType
from typing import cast

from collectives.catalogue import Algorithm
from collectives.cost import Cost
from collectives.schedule import Round

__all__ = ["Calc", "Goal", "Transfer", "read"]

_LABELLED = re.compile(r"([A-Za-z][A-Za-z0-9_]*)\s*:\s*(.*)")
_TRANSFER = re.compile(r"(send|recv)\s+(\d+)\s*b\s+(to|from)\s+(\d+)((?:\s+(?:tag|cpu|nic)\s+\d+)*)")
_CALC = re.compile(r"calc\s+(\d+)((?:\s+cpu\s+\d+)?)")
_CLAUSE = re.compile(r"(tag|cpu|nic)\s+(\d+)")
_REQUIRES = re.compile(r"([A-Za-z][A-Za-z0-9_]*)\s+(i?requires)\s+([A-Za-z][A-Za-z0-9_]*)")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Calc:
    """Work of ``ticks`` ticks on ``line``; ``requires``: what its rank must have finished before, as indices."""

    ticks: int
    line: int
    requires: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Transfer:
    """One end of a message: ``nbytes`` bytes to ``peer`` (``sends``) or from it; the other end has the same ``tag``."""

    sends: bool
    peer: int
    nbytes: int
    tag: int
    line: int
    requires: tuple[int, ...] = ()


Operation = Calc | Transfer


@dataclass(frozen=True)
class Goal:
    """A GOAL text: the operations of each rank in listed order. ``tick``: seconds of one unit of ``calc``."""

    ranks: tuple[tuple[Operation, ...], ...]
    tick: float = 1e-9

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self.ranks)

    @cached_property
    def nbytes(self) -> int:
        """Bytes of the longest message: the vector of ``algorithm``, whose chunks are its single bytes."""
        transfers = (each for mine in self.ranks for each in mine if isinstance(each, Transfer))
        return max((each.nbytes for each in transfers), default=0)

    @property
    def compute(self) -> Mapping[tuple[int, int], float]:
        """What every rank computes before which of its rounds, in seconds by (rank, round): for ``Conditions``.

        The reductions are in it, so ``algorithm`` has none. Raises ValueError as ``algorithm`` does.
        """
        return self._played[1]

    def algorithm(self, name: str = "goal") -> Algorithm:
        """A schedule of the same messages in the same rounds, for vectors of ``nbytes`` bytes and ``size`` ranks.

        It promises no collective, so it has no lower bound and no closed form. Raises ValueError, naming the line, for
        a text that is not made of rounds: in which some operation waits for a part of those before it only.
        """
        played = self._played[0]

        def rounds(rank: int, size: int, servers: int) -> list[Round]:
            return played[rank]

        parameters = MappingProxyType({"servers": self.size - 1})  # a lone worker: nothing must be heard by anybody
        return Algorithm(
            name=name,
            collective="push_pull",
            function=rounds,
            chunk_count=lambda size, at: max(1, self.nbytes),
            closed_form=_no_closed_form,
            source="a GOAL text",
            defaults=parameters,
            parameters=parameters,
            needs_commutative=False,
            sizes=lambda size, at: size == self.size,
        )

    @cached_property
    def _played(self) -> tuple[list[list[Round]], Mapping[tuple[int, int], float]]:
        from simulator.exports.goal_rounds import rounds

        return rounds(self)


def read(text: str, tick: float = 1e-9) -> Goal:
    """The schedule that ``text`` describes; ``tick``: seconds of one unit of ``calc``.

    Raises ValueError with the number of the line that is wrong, or that cannot be played: ``irequires``, any source or
    tag (-1), a second processor or network card, a label that is unknown or given twice, a send without its receive.
    """
    reader = _Reader()
    for number, line in _code(text):
        reader.take(number, line)
    goal = Goal(reader.finished(), tick)
    _check_ends(goal)
    return goal


def _no_closed_form(size: int, parameters: Mapping[str, int]) -> Cost:
    raise ValueError("a GOAL text has no closed form")


def _code(text: str) -> Iterator[tuple[int, str]]:
    """The lines that say something, with their numbers from 1; comments become as many line ends as they held."""
    plain = _COMMENT.sub(lambda found: "\n" * found[0].count("\n"), text)
    for number, line in enumerate(plain.split("\n"), 1):
        if line.strip():
            yield number, line.strip()


class _Reader:
    """What has been read so far."""

    def __init__(self) -> None:
        self.ranks: list[list[Operation] | None] | None = None
        self.open: int | None = None
        self.labels: dict[str, int] = {}
        self.requires: list[list[int]] = []

    def take(self, number: int, line: str) -> None:
        """One line."""
        if found := re.fullmatch(r"num_ranks\s+(\d+)", line):
            self._begin(number, int(found[1]))
        elif self.ranks is None:
            raise ValueError(f"line {number}: num_ranks must come first, not {line!r}")
        elif found := re.fullmatch(r"rank\s+(\d+)\s*\{", line):
            self._open(number, int(found[1]), self.ranks)
        elif self.open is None:
            raise ValueError(f"line {number}: {line!r} stands outside of any rank")
        elif line == "}":
            self._close(self.open, self.ranks)
        elif found := _REQUIRES.fullmatch(line):
            self._require(number, *found.groups())
        else:
            self._add(number, line, self.open, self.ranks)

    def finished(self) -> tuple[tuple[Operation, ...], ...]:
        """All ranks, if the text was whole."""
        if self.ranks is None:
            raise ValueError("line 1: there is no num_ranks, so this is no GOAL text")
        if self.open is not None:
            raise ValueError(f"rank {self.open} is not closed by a brace: the text ends too soon")
        return tuple(tuple(mine or ()) for mine in self.ranks)

    def _begin(self, number: int, size: int) -> None:
        if self.ranks is not None or not 1 <= size <= 1 << 24:
            raise ValueError(f"line {number}: num_ranks stands once, and is 1 to {1 << 24}, got {size}")
        self.ranks = [None for _ in range(size)]

    def _open(self, number: int, rank: int, ranks: list[list[Operation] | None]) -> None:
        if self.open is not None:
            raise ValueError(f"line {number}: rank {self.open} is still open")
        if rank >= len(ranks) or ranks[rank] is not None:
            raise ValueError(f"line {number}: rank {rank} is not one of {len(ranks)}, or stands here a second time")
        ranks[rank], self.open, self.labels, self.requires = [], rank, {}, []

    def _close(self, rank: int, ranks: list[list[Operation] | None]) -> None:
        mine = ranks[rank] or []
        ranks[rank] = [_with(each, tuple(sorted(set(needs)))) for each, needs in zip(mine, self.requires, strict=True)]
        self.open = None

    def _require(self, number: int, label: str, how: str, other: str) -> None:
        if how == "irequires":
            raise ValueError(f"line {number}: irequires (start after start) cannot be played, only requires can")
        for each in (label, other):
            if each not in self.labels:
                raise ValueError(f"line {number}: no operation of this rank is called {each!r} so far")
        self.requires[self.labels[label]].append(self.labels[other])

    def _add(self, number: int, line: str, rank: int, ranks: list[list[Operation] | None]) -> None:
        label, rest = found.groups() if (found := _LABELLED.fullmatch(line)) else (None, line)
        mine = ranks[rank]
        assert mine is not None
        if label in self.labels:
            raise ValueError(f"line {number}: there is a second operation called {label!r}")
        if label is not None:
            self.labels[label] = len(mine)
        mine.append(_operation(number, rest, rank, len(ranks)))
        self.requires.append([])


def _operation(number: int, text: str, rank: int, size: int) -> Operation:
    if found := _CALC.fullmatch(text):
        _clauses(number, found[2])
        return Calc(int(found[1]), number)
    found = _TRANSFER.fullmatch(text)
    if not found or (found[1] == "send") != (found[3] == "to"):
        raise ValueError(
            f"line {number}: {text!r} is no operation; write 'send 8b to 1 tag 3', 'recv 8b from 0 tag 3' or 'calc 100'"
        )
    peer = int(found[4])
    if peer >= size or peer == rank:
        raise ValueError(f"line {number}: rank {rank} cannot exchange messages with rank {peer} of {size}")
    return Transfer(found[1] == "send", peer, int(found[2]), _clauses(number, found[5]), number)


def _clauses(number: int, text: str) -> int:
    """The tag, 0 if none is said; one processor and one network card are all that a rank has here."""
    said = {key: int(value) for key, value in _CLAUSE.findall(text)}
    for key in ("cpu", "nic"):
        if said.get(key):
            raise ValueError(f"line {number}: {key} {said[key]} cannot be played, a rank has {key} 0 and no other")
    return said.get("tag", 0)


def _with(operation: Operation, requires: tuple[int, ...]) -> Operation:
    if isinstance(operation, Calc):
        return Calc(operation.ticks, operation.line, requires)
    return Transfer(operation.sends, operation.peer, operation.nbytes, operation.tag, operation.line, requires)


def _check_ends(goal: Goal) -> None:
    """Each send meets one receive of as many bytes, and nothing waits for itself."""
    ends: dict[tuple[int, int, int], tuple[list[Transfer], list[Transfer]]] = {}
    for rank, mine in enumerate(goal.ranks):
        _check_order(rank, mine)
        for each in mine:
            if isinstance(each, Transfer):
                edge = (rank, each.peer) if each.sends else (each.peer, rank)
                ends.setdefault((*edge, each.tag), ([], []))[not each.sends].append(each)
    for (source, dest, tag), (sends, recvs) in ends.items():
        for send, recv in zip(sends, recvs, strict=False):
            if send.nbytes != recv.nbytes:
                raise ValueError(
                    f"line {recv.line}: expects {recv.nbytes} bytes, and line {send.line} sends {send.nbytes}"
                )
        for alone in [*sends[len(recvs) :], *recvs[len(sends) :]]:
            kind = "receive" if alone.sends else "send"
            raise ValueError(f"line {alone.line}: no {kind} meets this message from {source} to {dest} with tag {tag}")


def _check_order(rank: int, mine: Sequence[Operation]) -> None:
    try:
        TopologicalSorter({index: each.requires for index, each in enumerate(mine)}).prepare()
    except CycleError as fault:
        line = mine[cast("int", fault.args[1][0])].line
        raise ValueError(f"line {line}: this operation of rank {rank} waits for itself") from None
