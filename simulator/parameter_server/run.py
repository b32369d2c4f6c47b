"""One run: the world, the ledgers of all parts, outboxes, and what is noted."""

from __future__ import annotations

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from enum import Enum
from itertools import count

import numpy as np

from collectives.parameter_server.consistency import Ledger, Reception
from collectives.parameter_server.sharding import Part
from simulator.encodings import Work
from simulator.parameter_server.outcome import Outcome, Server
from simulator.parameter_server.setup import ITEMSIZE, Setup
from simulator.processes import Process, Signal, World

__all__ = ["Kind", "Note", "Outbox", "Run"]


class Kind(Enum):
    """What a message to or from a server is."""

    PUSH = "gradients, or an elastic worker's parameters"
    PULL = "a question for parameters"
    COPY = "a push on its way along the chain of replicas"
    COPIED = "all replicas have the push"
    ANSWER = "parameters, or that the push is taken where none were asked for"


@dataclass(frozen=True, slots=True)
class Note:
    """A message of ``worker``'s clock about ``part``. ``pulls``: it wants parameters. ``copies``: made so far.

    ``completed``: of an answer, how many clocks are over at the part.
    """

    kind: Kind
    worker: int
    part: Part
    clock: int
    pulls: bool = True
    copies: int = 0
    completed: int = 0


@dataclass(slots=True)
class _Seen:
    """Of the messages at one server: how long each waited, how many it found there, and how many there were when."""

    arrivals: list[float] = field(default_factory=list[float])
    waits: list[float] = field(default_factory=list[float])
    found: list[int] = field(default_factory=list[int])
    lengths: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    stays: float = 0.0


class Run:
    """What the processes of one run share."""

    def __init__(self, setup: Setup, world: World, steps: int, seed: int) -> None:
        self.setup, self.world, self.seed = setup, world, seed
        self.configuration = setup.configuration
        workers = range(self.configuration.workers)
        self.ledgers = [Ledger.start(self.configuration.consistency, workers) for _ in setup.parts]
        self.finished: Signal[None] = Signal("the last step")
        self._left = len(workers) * steps
        self._ended = [0.0] * len(workers)
        self._steps: list[tuple[int, float, int]] = []
        self._pushes: list[tuple[int, int]] = []
        self._late = 0
        self._seen = [_Seen() for _ in range(self.configuration.servers)]
        self._bytes = np.zeros((2, self.configuration.ranks), dtype=np.int64)
        model = world.network.model.reduction
        sizes = np.array([part.count * ITEMSIZE for part in setup.parts])
        self._reduction = model.seconds(sizes).tolist()

    # --- what things cost -----------------------------------------------------------------------------------------

    def fold_seconds(self, part: Part) -> float:
        """Processor seconds for a server to read a push of this part and add it."""
        fold = self.setup.handling.fold
        return self._reduction[part.number] if fold is None else self.seconds(fold, part)

    def seconds(self, work: Work, part: Part) -> float:
        """Processor seconds of ``work`` on a part."""
        return work.launch + work.per_byte * part.count * ITEMSIZE

    # --- what happens ---------------------------------------------------------------------------------------------

    def crossed(self, source: int, dest: int, nbytes: int) -> None:
        """A message leaves; between a rank and itself it does not touch the wire."""
        if source != dest:
            self._bytes[0, source] += nbytes
            self._bytes[1, dest] += nbytes

    def arrived(self, server: int) -> None:
        """A message is there."""
        seen = self._seen[server]
        present = seen.lengths[-1][1] if seen.lengths else 0
        seen.arrivals.append(self.world.now)
        seen.found.append(present)
        seen.lengths.append((self.world.now, present + 1))

    def begun(self, server: int) -> None:
        """The first that has not yet been is taken up."""
        seen = self._seen[server]
        seen.waits.append(self.world.now - seen.arrivals[len(seen.waits)])

    def handled(self, server: int) -> None:
        """And it is dealt with."""
        seen = self._seen[server]
        seen.stays += self.world.now - seen.arrivals[len(seen.waits) - 1]
        seen.lengths.append((self.world.now, seen.lengths[-1][1] - 1))

    def pushed(self, worker: int, reception: Reception, staleness: int) -> None:
        """A push met its ledger."""
        self._pushes.append((worker, staleness))
        self._late += reception is Reception.LATE

    def stepped(self, worker: int) -> None:
        """A step of ``worker`` is over."""
        lead = max(ledger.lead(worker) for ledger in self.ledgers)
        bound = self.configuration.consistency.bound
        assert lead <= bound, f"worker {worker} went on {lead} clocks ahead, and at most {bound} are allowed"
        now = self.world.now
        self._steps.append((worker, now - self._ended[worker], lead))
        self._ended[worker] = now
        self._left -= 1
        if not self._left:
            self.world.happen(self.finished, None)

    # --- what came of it ------------------------------------------------------------------------------------------

    def outcome(self, seconds: float) -> Outcome:
        """The figures, when the run is over."""
        worker, took, lead = zip(*self._steps, strict=True)
        pusher, stale = zip(*self._pushes, strict=True) if self._pushes else ((), ())
        return Outcome(
            self.setup, seconds, np.array(worker), np.array(took), np.array(lead), np.array(stale, dtype=np.int64),
            np.array(pusher, dtype=np.int64), self._late, min(ledger.version for ledger in self.ledgers),
            tuple(self._bytes[0].tolist()),
            tuple(self._server(server, seconds) for server in range(self.configuration.servers)),
        )  # fmt: skip

    def _server(self, server: int, seconds: float) -> Server:
        rank, world, seen = self.configuration.rank_of(server), self.world, self._seen[server]
        whole = seconds or 1.0  # all are 0 in a run that takes no time
        return Server(
            rank=rank,
            busy=float(world.working[rank]) / whole,
            receiving=float(world.receiving[rank]) / whole,
            sending=float(world.sending[rank]) / whole,
            waited=float(np.mean(seen.waits)) if seen.waits else 0.0,
            queue=seen.stays / whole,
            longest=max(seen.found, default=0),
            lengths=np.array(seen.lengths, dtype=np.float64).reshape(-1, 2),
            received_bytes=int(self._bytes[1, rank]),
            sent_bytes=int(self._bytes[0, rank]),
        )


class Outbox:
    """What one worker or server has to send: to each rank one message at a time, front parts first."""

    def __init__(self, run: Run, rank: int, name: str) -> None:
        self._run, self._rank, self._name = run, rank, name
        self._turns = count()
        self._paused = 0.0
        self._waiting: dict[int, list[tuple[int, int, int, float, Hashable, Note]]] = {}

    def pause(self) -> None:
        """The rank computes: what it sends next is late by what the model of the network says of pauses."""
        self._paused = self._run.world.network.model.start

    def put(self, dest: int, nbytes: int, seconds: float, queue: Hashable, note: Note) -> None:
        """Send ``note`` to ``queue`` at rank ``dest``, after ``seconds`` of the processor."""
        if dest not in self._waiting:
            self._waiting[dest] = []
            self._run.world.spawn(self._send(dest), f"{self._name} to rank {dest}", serves=True)
        heapq.heappush(self._waiting[dest], (note.part.number, next(self._turns), nbytes, seconds, queue, note))
        self._run.world.put((self._name, dest), None)

    def _send(self, dest: int) -> Process[None]:
        world, waiting = self._run.world, self._waiting[dest]
        while True:
            yield world.get((self._name, dest))
            _, _, nbytes, seconds, queue, note = heapq.heappop(waiting)
            if self._paused:
                late, self._paused = self._paused, 0.0
                yield world.sleep(late)
            if seconds:
                yield world.work(self._rank, seconds)
            self._run.crossed(self._rank, dest, nbytes)
            yield world.send(self._rank, dest, nbytes, queue=queue, item=note).sent
