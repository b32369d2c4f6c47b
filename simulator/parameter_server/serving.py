"""A server as a process: it takes one message after another, keeps the ledgers of its parts, and answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simulator.parameter_server.run import Kind, Note, Outbox, Run
from simulator.parameter_server.setup import ITEMSIZE
from simulator.processes import Process, Signal

__all__ = ["ServerProcess"]


class ServerProcess:
    """Server ``number``. A push is in the ledger when all replicas of its part have it."""

    def __init__(self, run: Run, number: int) -> None:
        self._run, self._number = run, number
        self._rank = run.configuration.rank_of(number)
        self._outbox = Outbox(run, self._rank, f"the sending of server {number}")
        run.world.spawn(self._arrive(), f"the door of server {number}", serves=True)
        run.world.spawn(self._serve(), f"server {number}", serves=True)

    def _arrive(self) -> Process[None]:
        world = self._run.world
        while True:
            note: Note = yield world.get(("to server", self._number))
            self._run.arrived(self._number)
            world.put(("at server", self._number), note)

    def _serve(self) -> Process[None]:
        while True:
            note: Note = yield self._run.world.get(("at server", self._number))
            self._run.begun(self._number)
            yield from self._handle(note)
            self._run.handled(self._number)

    def _handle(self, note: Note) -> Process[None]:
        if note.kind in (Kind.PUSH, Kind.COPY):
            yield self._work(self._run.fold_seconds(note.part))
            chain = self._run.configuration.chain(note.part.server)
            if note.copies + 1 < len(chain):
                self._pass_on(replace(note, kind=Kind.COPY, copies=note.copies + 1), chain[note.copies + 1])
            elif note.copies:
                self._pass_on(replace(note, kind=Kind.COPIED), chain[0])
            else:
                yield from self._commit(note)
        elif note.kind is Kind.COPIED:
            yield from self._commit(note)
        else:
            self._run.ledgers[note.part.number].pull(note.worker)
            self._answer(note)

    def _pass_on(self, note: Note, server: int) -> None:
        run = self._run
        nbytes = run.setup.pushed_bytes[note.part.number] if note.kind is Kind.COPY else run.setup.handling.header
        self._outbox.put(run.configuration.rank_of(server), nbytes, 0.0, ("to server", server), note)

    def _commit(self, note: Note) -> Process[None]:
        ledger = self._run.ledgers[note.part.number]
        pushed = ledger.push(note.worker, note.clock)
        self._run.pushed(note.worker, pushed.reception, pushed.staleness)
        update = self._run.setup.handling.update
        if pushed.updates and update:
            yield self._work(len(pushed.updates) * self._run.seconds(update, note.part))
        if note.pulls:
            ledger.pull(note.worker)
        else:
            self._send(replace(note, kind=Kind.ANSWER), self._run.setup.handling.header, 0.0)
        self._answer(note)

    def _answer(self, note: Note) -> None:
        """All who may have the part now get it; servers begin with different workers, as workers do with servers."""
        run, part, workers = self._run, note.part, self._run.configuration.workers
        ledger, seconds = run.ledgers[part.number], run.seconds(run.setup.handling.answer, part)
        nbytes = run.setup.handling.header + part.count * ITEMSIZE
        for worker in sorted(ledger.released(), key=lambda worker: (worker - self._number) % workers):
            self._send(Note(Kind.ANSWER, worker, part, note.clock, completed=ledger.completed), nbytes, seconds)

    def _send(self, note: Note, nbytes: int, seconds: float) -> None:
        self._outbox.put(note.worker, nbytes, seconds, ("to worker", note.worker), note)

    def _work(self, seconds: float) -> Signal[Any]:
        return self._run.world.work(self._rank, seconds)
