"""A worker as processes: one computes, step after step, the other takes in what servers answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from collectives.parameter_server.sharding import Part
from simulator.parameter_server.run import Kind, Note, Outbox, Run
from simulator.processes import Process, Signal

__all__ = ["WorkerProcess"]


class WorkerProcess:
    """Worker ``number``. A part is pushed again only when its push before was answered, so none overtakes another."""

    def __init__(self, run: Run, number: int) -> None:
        self._run, self._number = run, number
        self._outbox = Outbox(run, number, f"the sending of worker {number}")
        self._push_every, self._pull_every = run.setup.periods
        self._clock = 0
        self._completed = [0] * len(run.setup.parts)
        self._answers: dict[int, Signal[Any]] = {}
        self._missing = 0
        run.world.spawn(self._take(), f"the door of worker {number}", serves=True)
        run.world.spawn(self._work(), f"worker {number}")

    def _work(self) -> Process[None]:
        run, setup, step = self._run, self._run.setup, 0
        noise = setup.noise.draw(run.seed, self._number)
        while True:
            step += 1
            factor = next(noise)
            for index, layer in enumerate(setup.layers):
                yield from self._await(setup.needed[index] if setup.by_layer else setup.parts)
                yield from self._compute(factor * layer.forward)
            pushes, pulls = step % self._push_every == 0, step % self._pull_every == 0
            self._begin(pushes=pushes, pulls=pulls)
            self._outbox.pause()
            for index in reversed(range(len(setup.layers))):
                yield from self._compute(factor * setup.layers[index].backward)
                if setup.overlap and (pushes or pulls):
                    yield from self._tell(setup.completed[index], pushes=pushes, pulls=pulls)
            if not setup.overlap and (pushes or pulls):
                yield from self._tell(setup.parts, pushes=pushes, pulls=pulls)
            if not pulls:
                run.stepped(self._number)

    def _compute(self, seconds: float) -> Process[None]:
        if seconds:
            world = self._run.world
            yield world.sleep(seconds * self._run.setup.factor(self._number, world.now))

    def _await(self, parts: Iterable[Part]) -> Process[None]:
        for part in parts:
            if part.number in self._answers:
                yield self._answers[part.number]

    def _begin(self, *, pushes: bool, pulls: bool) -> None:
        """Who was left behind by updates without it goes on where they are."""
        if pushes:
            self._clock = max(self._clock, min(self._completed)) + 1
        self._missing = len(self._completed) if pulls else 0

    def _tell(self, parts: Iterable[Part], *, pushes: bool, pulls: bool) -> Process[None]:
        """Push and pull these parts. Each worker begins with another server, so that they do not all want the first."""
        run, servers = self._run, self._run.configuration.servers
        yield from self._await(parts)
        for part in sorted(parts, key=lambda part: (part.server - self._number) % servers):
            self._answers[part.number] = Signal("the answer about part", part.number)
            kind = Kind.PUSH if pushes else Kind.PULL
            nbytes = run.setup.pushed_bytes[part.number] if pushes else run.setup.handling.header
            seconds = run.seconds(run.setup.handling.push, part) if pushes else 0.0
            note = Note(kind, self._number, part, self._clock, pulls)
            rank = run.configuration.rank_of(part.server)
            self._outbox.put(rank, nbytes, seconds, ("to server", part.server), note)

    def _take(self) -> Process[None]:
        run = self._run
        while True:
            note: Note = yield run.world.get(("to worker", self._number))
            seconds = run.seconds(run.setup.handling.take, note.part) if note.pulls else 0.0
            if seconds:
                yield run.world.work(self._number, seconds)
            self._completed[note.part.number] = note.completed
            run.world.happen(self._answers[note.part.number], None)
            if self._missing and note.pulls:
                self._missing -= 1
                if not self._missing:
                    run.stepped(self._number)
