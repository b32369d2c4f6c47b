"""Why a run took as long as it did: its critical path, walked backwards from the last rank's completion.

At each moment the path names the one thing that the end of the run was waiting for. A rank leaves a round when its
folds are done, its folds begin when its last message is complete, that message went when both its ranks were there, and
so on to the beginning. So the path has at most one message a round, and its steps fill the run without gap or overlap.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from simulator.engine import Run
    from simulator.timeline import Message, Stay

__all__ = ["KINDS", "Explanation", "Kind", "Step", "explain"]

Floats = NDArray[np.float64]
Kind = Literal[
    "latency", "bandwidth", "contention", "overhead", "reduction", "encoding", "staging", "waiting", "compute"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Latency α, bytes β, sharing links with others, processor work o, reducing γ, encoding and decoding, the first piece
through memories on the way, a busy port or processor, phases."""

_SAME = 1e-12


@dataclass(frozen=True, slots=True)
class Step:
    """From ``begin`` to ``end`` (seconds) the run waited for ``kind`` at ``rank``, and for ``message`` if for one.

    While a message is under way, ``rank`` is the one that needs it complete: its receiver, or its sender.
    """

    kind: Kind
    begin: float
    end: float
    rank: int
    message: Message | None = None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end - self.begin


@dataclass(frozen=True, eq=False)
class Explanation:
    """The critical path of ``run``: ``steps`` in order of time, from 0 to ``run.seconds`` without gap or overlap."""

    run: Run
    steps: tuple[Step, ...]

    @property
    def seconds(self) -> float:
        """The length of the path, which is that of the run."""
        return self.run.seconds

    def shares(self) -> dict[Kind, float]:
        """Seconds of each kind on the path, zeros included; together they are ``seconds``."""
        return {kind: math.fsum(step.seconds for step in self.steps if step.kind == kind) for kind in KINDS}

    @cached_property
    def messages(self) -> tuple[Message, ...]:
        """The messages on the path, each once, in the order in which the path takes them."""
        found = {id(step.message): step.message for step in self.steps if step.message is not None}
        return tuple(found.values())

    @property
    def slack(self) -> Floats:
        """How many seconds before the end of the run each rank was done, float64 of shape (size,)."""
        return self.run.seconds - self.run.completion

    def words(self, language: str = "en") -> list[str]:
        """The path in a few sentences, in ``en`` or ``pt``; ValueError for another language."""
        from simulator.sentences import sentences

        return sentences(self, language)


def explain(run: Run) -> Explanation:
    """Find the critical path of ``run``. It plays the run again with all messages kept, so it suits runs that fit."""
    walk = _Walk(run)
    backwards = walk.back_from(walk.last(run.completion), run.seconds) if run.seconds > 0 else iter(())
    return Explanation(run, tuple(reversed(list(backwards))))


class _Walk:
    """One walk from the end of a run to its beginning; ``self.now`` is the moment that it has reached."""

    def __init__(self, run: Run) -> None:
        timeline = run.timeline()
        self.model = run.network.model
        self.slow: Mapping[int, float] = run.conditions.slow_ranks
        self.stays: dict[int, list[Stay]] = {}
        for stay in sorted(timeline.stays, key=lambda each: each.round):
            self.stays.setdefault(stay.rank, []).append(stay)
        self.entered = {(stay.rank, stay.round): stay.entered for stay in timeline.stays}
        self.sends: dict[tuple[int, int], list[Message]] = {}
        self.recvs: dict[tuple[int, int], list[Message]] = {}
        for message in timeline:
            self.sends.setdefault((message.source, message.round), []).append(message)
            self.recvs.setdefault((message.dest, message.round), []).append(message)
        self.now = run.seconds

    def last(self, completion: Floats) -> int:
        """The rank that is through last; of several the first that waits for what it receives, if there is one."""
        through = np.flatnonzero(completion == completion.max()).tolist()
        takers = (rank for rank in through if (place := self._last_place(rank)) and self.recvs.get(place))
        return next(takers, through[0])

    def _last_place(self, rank: int) -> tuple[int, int] | None:
        return (rank, self.stays[rank][-1].round) if rank in self.stays else None

    def back_from(self, rank: int, end: float) -> Iterator[Step]:
        """The steps, the last one first."""
        self.now, before = end, math.inf
        while self.now > 0:
            stay = self._stay_before(rank, before)
            if stay is None:
                yield from self._until(0.0, "compute", rank)
                return
            yield from self._until(stay.left, "compute", rank)
            yield from self._folds(stay)
            message = self._last(stay)
            if message is not None and self._complete(message, rank) > stay.entered:
                yield from self._until(self._complete(message, rank), "waiting", rank)
                rank = yield from self._message(message, rank)
            yield from self._until(self.entered[rank, stay.round], "waiting", rank)
            before = stay.round

    def _stay_before(self, rank: int, number: float) -> Stay | None:
        mine = self.stays.get(rank, [])
        while mine and mine[-1].round >= number:
            mine.pop()
        return mine[-1] if mine else None

    def _folds(self, stay: Stay) -> Iterator[Step]:
        """The folds of a stay take what the model says; what is beyond that, others had the processor."""
        alone = math.fsum(each.folding for each in self.recvs.get((stay.rank, stay.round), []))
        yield from self._work(stay.received, alone, "reduction", stay.rank)

    def _last(self, stay: Stay) -> Message | None:
        """The message that the stay waited for last, one that it received before one that it sent."""
        place = stay.rank, stay.round
        mine = [*self.recvs.get(place, []), *self.sends.get(place, [])]
        return max(mine, key=lambda message: self._complete(message, stay.rank), default=None)

    def _complete(self, message: Message, rank: int) -> float:
        """When a message is complete at one of its two ranks."""
        if rank == message.dest:
            return message.end
        return message.injected if self._eager(message) else message.arrived

    def _eager(self, message: Message) -> bool:
        return message.nbytes <= self.model.message.eager

    def _message(self, message: Message, rank: int) -> Generator[Step, None, int]:
        """What a message took until it was complete at ``rank``; ends at the rank whose arrival it waited for."""
        if rank == message.dest:
            there = max(message.arrived, self.entered[rank, message.round])
            yield from self._back(message.decoding * self.slow.get(rank, 1.0), there, "encoding", rank, message)
            yield from self._work(there, self._overhead(message), "overhead", rank, message)
            if there > message.arrived:
                return rank  # it was there before its receiver
        elif self._eager(message):
            yield from self._injected(message)
            return rank
        slow = max(self.slow.get(each, 1.0) for each in (message.source, message.dest))
        yield from self._back(message.staging * slow, message.sent, "staging", rank, message)
        yield from self._until(message.sent, "latency", rank, message)
        alone = _snapped(self.now, min(self.now, message.start + message.ideal))
        yield from self._until(alone, "contention", rank, message)
        yield from self._until(message.start, "bandwidth", rank, message)
        yield from self._until(message.ready, "waiting", message.source, message)
        receiver = self.entered[message.dest, message.round]
        if not self._eager(message):
            yield from self._until(max(message.injected, receiver), "latency", message.source, message)  # the handshake
            if receiver > message.injected:
                return message.dest
        yield from self._injected(message)
        return message.source

    def _injected(self, message: Message) -> Iterator[Step]:
        """Back to where the sender entered the round: its processor spent the overhead of each send in turn."""
        sends = self.sends[message.source, message.round]
        turn = [each for each in sends if each.injected <= message.injected]
        for each in sorted(turn, key=lambda each: each.injected, reverse=True):
            since = self.entered[message.source, message.round]
            yield from self._until(max(each.injected, since), "waiting", message.source, each)
            slow = self.slow.get(message.source, 1.0)
            alone = self._overhead(each) + self.model.synchronise
            yield from self._back(alone * slow, since, "overhead", message.source, each)
            yield from self._back(each.encoding * slow, since, "encoding", message.source, each)

    def _overhead(self, message: Message) -> float:
        return self.model.message.overhead + self.model.message.overhead_per_byte * message.nbytes

    def _work(
        self, begin: float, alone: float, kind: Kind, rank: int, message: Message | None = None
    ) -> Iterator[Step]:
        """Processor work since ``begin`` that takes a rank of normal speed ``alone`` seconds on a core of its own."""
        yield from self._back(alone * self.slow.get(rank, 1.0), begin, kind, rank, message)
        yield from self._until(begin, "waiting", rank, message)

    def _back(self, seconds: float, begin: float, kind: Kind, rank: int, message: Message | None) -> Iterator[Step]:
        """One step back by ``seconds``, if that is any time, but no further than ``begin``."""
        if seconds:
            yield from self._until(_snapped(begin, max(begin, self.now - seconds)), kind, rank, message)

    def _until(self, begin: float, kind: Kind, rank: int, message: Message | None = None) -> Iterator[Step]:
        """One step back to ``begin``, if there is any way to go."""
        if begin < self.now:
            yield Step(kind, begin, self.now, rank, message)
            self.now = begin


def _snapped(edge: float, moment: float) -> float:
    """``edge`` where ``moment`` differs from it by rounding only, so that no step of 1e-20 s remains."""
    return edge if abs(moment - edge) <= _SAME * abs(edge) else moment
