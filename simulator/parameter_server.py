"""A parameter server at work: workers compute, push gradients and pull parameters; servers queue, add and answer.

The vector is cut into ``servers · slices`` parts; part j lives on server j mod k. In every step a worker computes,
pushes each part of its gradient to the part's server, and goes on when all parts have come back. A push asks for its
answer, as in BytePS: the server adds it (γ a byte, first come, first served) and answers as soon as its clock allows.
The clock of a worker counts its steps. ``bsp``: the answer waits until all workers have pushed this step. ``ssp:s``:
until no worker is more than s steps behind. ``asp``: not at all. So ``bsp`` is ``ssp:0``.

Sources: Li et al., "Scaling distributed machine learning with the parameter server" (2014); Ho et al., "More effective
distributed ML via a stale synchronous parallel parameter server" (2013); Jiang et al., "A unified architecture for
accelerating distributed DNN training in heterogeneous GPU/CPU clusters" (BytePS, 2020) for slices and colocation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collectives.schedule import extents
from simulator.compute_times import ComputeTime
from simulator.networks import Network
from simulator.processes import Delivery, Process, Signal, World

__all__ = ["Outcome", "Server", "Setup", "simulate", "slack"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Setup:
    """``workers`` train a model of ``nbytes`` bytes that ``servers`` keep; worker w is rank w.

    Servers are ranks ``workers, workers + 1, ...`` of their own, or with ``colocated`` ranks ``0 .. servers - 1``
    beside the workers there, sharing their ports and processors. ``compute``: a step's computing, on an accelerator
    (it takes no processor); ``slow``: by worker, how many times longer. ``slices``: into how many parts a server's
    share is cut, so that the first come back while the last are still on their way. ``update``: seconds a byte that a
    server takes to add a push; by default what the network's model says of reductions.
    Raises ValueError for what cannot be.
    """

    workers: int
    servers: int
    nbytes: int
    compute: ComputeTime
    colocated: bool = False
    slow: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    slices: int = 1
    update: float | None = None

    def __post_init__(self) -> None:
        counts = ("workers", self.workers, 1), ("servers", self.servers, 1), ("slices", self.slices, 1)
        for what, value, least in (*counts, ("bytes", self.nbytes, 0)):
            if value < least:
                raise ValueError(f"a parameter server needs at least {least} {what}, got {value}")
        if self.colocated and self.servers > self.workers:
            raise ValueError(f"{self.servers} servers cannot sit beside {self.workers} workers: one at each at most")
        for worker, factor in self.slow.items():
            if not 0 <= worker < self.workers:
                raise ValueError(f"worker {worker} is slow, and there are workers 0 to {self.workers - 1}")
            if not (math.isfinite(factor) and factor > 0):
                raise ValueError(f"worker {worker} takes {factor} times as long: that must be finite and above 0")
        if self.update is not None and not (math.isfinite(self.update) and self.update >= 0):
            raise ValueError(f"the time to add a byte must be finite and at least 0 s, got {self.update}")

    @property
    def ranks(self) -> int:
        """How many ranks it takes."""
        return self.workers if self.colocated else self.workers + self.servers

    def rank_of(self, server: int) -> int:
        """The rank of a server."""
        return server if self.colocated else self.workers + server


@dataclass(frozen=True, slots=True)
class Server:
    """What one server saw. ``busy``, ``receiving``, ``sending``: share of the time for its processor and its ports.

    ``waited``: mean seconds between a push's arrival and the start of its addition; ``queue``: mean number of pushes
    that wait or are being added (Little's law); ``longest``: the most that an arriving push found before it.
    """

    rank: int
    busy: float
    receiving: float
    sending: float
    waited: float
    queue: float
    longest: int


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What came of ``workers · steps`` steps. Arrays have an entry for each step that ended, in that order.

    ``seconds``: when the last of them ended. ``step_seconds``: computing and waiting for the parameters. ``worker``:
    whose step it was. ``lead``: how many steps its worker was ahead of the slowest when it went on. ``staleness`` has
    an entry for each push: updates by others that its server made between the worker's pull and this push's addition.
    In ``bsp`` all pushes of a step are one update, so it is 0.
    """

    setup: Setup
    mode: str
    seconds: float
    worker: Ints
    step_seconds: Floats
    lead: Ints
    staleness: Ints
    servers: tuple[Server, ...]

    @property
    def throughput(self) -> float:
        """Steps per second of all workers together, the start included; infinite where steps take no time."""
        return len(self.worker) / self.seconds if self.seconds else math.inf

    def percentile(self, percent: float) -> float:
        """Seconds that ``percent`` % of the steps do not exceed."""
        return float(np.percentile(self.step_seconds, percent))


def slack(mode: str) -> float:
    """How many steps a worker may be ahead: 0 in ``bsp``, s in ``ssp:s``, infinity in ``asp``. Else a ValueError."""
    name, colon, steps = mode.partition(":")
    if mode in ("bsp", "asp"):
        return 0.0 if mode == "bsp" else math.inf
    if name == "ssp" and colon and steps.isascii() and steps.isdigit():
        return float(int(steps))
    raise ValueError(f"no mode is called {mode!r}; known: bsp, ssp:STEPS such as ssp:3, asp")


def simulate(
    setup: Setup, network: Network, *, mode: str = "bsp", steps: int = 50, contention: bool = True, seed: int = 0
) -> Outcome:
    """Let the workers do ``workers · steps`` steps together; the faster ones do more of them where the mode lets them.

    The same ``seed`` gives each worker the same computing times in every mode. Rank r of ``network`` is rank r of
    ``setup``; the network may have more. Raises ValueError for an unknown mode, a network that is too small, no steps.
    """
    if network.size < setup.ranks:
        raise ValueError(f"{setup.ranks} ranks are needed, and {network.name} has {network.size}")
    if steps < 1:
        raise ValueError(f"there must be at least one step, got {steps}")
    if seed < 0:
        raise ValueError(f"a seed must not be negative, got {seed}")
    return _Training(setup, World(network, contention, seed), mode, steps, seed).outcome()


class _Part:
    """A piece of the parameters on its server: the clock of each worker here, and who waits for an answer."""

    def __init__(self, server: int, nbytes: int, setup: Setup, allowed: float, seconds: float) -> None:
        self.server, self.nbytes, self.seconds = server, nbytes, seconds
        self._allowed = allowed
        self.slowest = 0
        self._clocks = [0] * setup.workers
        self._pulled = [0] * setup.workers
        self._updates = 0
        self._waiting: list[int] = []

    @property
    def _version(self) -> int:
        return self._updates if self._allowed else self.slowest

    def add(self, worker: int) -> int:
        """A push of ``worker`` is added; returns its staleness."""
        stale = self._version - self._pulled[worker]
        self._clocks[worker] += 1
        self._updates += 1
        self.slowest = min(self._clocks)
        self._waiting.append(worker)
        return stale

    def answered(self) -> list[int]:
        """The workers that get their answer now."""
        now = [worker for worker in self._waiting if self._clocks[worker] - self.slowest <= self._allowed]
        self._waiting = [worker for worker in self._waiting if worker not in now]
        for worker in now:
            self._pulled[worker] = self._version
        return now


class _Push(NamedTuple):
    worker: int
    part: _Part


@dataclass(slots=True)
class _Seen:
    """Of the pushes at one server: how long each waited, how many it found there, and the sum of their stays."""

    waits: list[float] = field(default_factory=list[float])
    found: list[int] = field(default_factory=list[int])
    stays: float = 0.0
    present: int = 0


class _Training:
    """One run: its processes, and what they note."""

    def __init__(self, setup: Setup, world: World, mode: str, steps: int, seed: int) -> None:
        self._setup, self._world, self._mode, self._seed = setup, world, mode, seed
        self._allowed = slack(mode)
        self._left = setup.workers * steps
        self._finished: Signal[None] = Signal("the last step")
        count = setup.servers * setup.slices
        sizes = [hi - lo for lo, hi in extents(setup.nbytes, count)]
        reduction = world.network.model.reduction.seconds(np.array(sizes))
        seconds = reduction if setup.update is None else np.array(sizes) * setup.update
        self._parts = [
            _Part(number % setup.servers, size, setup, self._allowed, float(each))
            for number, (size, each) in enumerate(zip(sizes, seconds, strict=True))
        ]
        self._clocks = [0] * setup.workers
        self._steps: list[tuple[int, float, int]] = []
        self._staleness: list[int] = []
        self._seen = [_Seen() for _ in range(setup.servers)]

    def outcome(self) -> Outcome:
        for server in range(self._setup.servers):
            self._world.spawn(self._serve(server), f"server {server}", serves=True)
        for worker in range(self._setup.workers):
            self._world.spawn(self._work(worker), f"worker {worker}")
        seconds = self._world.run(until=self._finished)
        worker, took, lead = zip(*self._steps, strict=True)
        return Outcome(
            self._setup, self._mode, seconds, np.array(worker), np.array(took), np.array(lead),
            np.array(self._staleness), tuple(self._server(server, seconds) for server in range(self._setup.servers)),
        )  # fmt: skip

    def _work(self, worker: int) -> Process[None]:
        world, inbox = self._world, ("parameters for", worker)
        times = self._setup.compute.draw(self._seed, worker)
        while True:
            began = world.now
            yield world.sleep(next(times) * self._setup.slow.get(worker, 1.0))
            world.spawn(self._push(worker), f"the pushes of worker {worker}")
            for _ in self._parts:
                yield world.get(inbox)
            self._note(worker, world.now - began)

    def _push(self, worker: int) -> Process[None]:
        """Slice after slice, each worker beginning with another server, so that they do not all wait for the first."""
        servers = self._setup.servers
        for piece in range(self._setup.slices):
            turns = [self._parts[piece * servers + (slot + worker) % servers] for slot in range(servers)]
            for delivery in [self._send(_Push(worker, part)) for part in turns]:
                yield delivery.sent

    def _send(self, push: _Push) -> Delivery:
        server = push.part.server
        rank = self._setup.rank_of(server)
        return self._world.send(push.worker, rank, push.part.nbytes, queue=("pushes to", server), item=push)

    def _note(self, worker: int, seconds: float) -> None:
        self._clocks[worker] += 1
        lead = self._clocks[worker] - min(part.slowest for part in self._parts)
        assert lead <= self._allowed, f"worker {worker} went on {lead} steps ahead in {self._mode}"
        self._steps.append((worker, seconds, lead))
        self._left -= 1
        if not self._left:
            self._world.happen(self._finished, None)

    def _serve(self, server: int) -> Process[None]:
        world, rank = self._world, self._setup.rank_of(server)
        while True:
            push: _Push = yield world.get(("pushes to", server))
            world.spawn(self._add(push, rank), f"an addition at server {server}")

    def _add(self, push: _Push, rank: int) -> Process[None]:
        part, seen, came = push.part, self._seen[push.part.server], self._world.now
        seen.found.append(seen.present)
        seen.present += 1
        seen.waits.append((yield self._world.work(rank, part.seconds)))
        seen.present -= 1
        seen.stays += self._world.now - came
        self._staleness.append(part.add(push.worker))
        for worker in part.answered():
            self._world.send(rank, worker, part.nbytes, queue=("parameters for", worker))

    def _server(self, server: int, seconds: float) -> Server:
        rank, world, seen = self._setup.rank_of(server), self._world, self._seen[server]
        whole = seconds or 1.0  # all are 0 in a run that takes no time
        return Server(
            rank=rank,
            busy=float(world.working[rank]) / whole,
            receiving=float(world.receiving[rank]) / whole,
            sending=float(world.sending[rank]) / whole,
            waited=float(np.mean(seen.waits)) if seen.waits else 0.0,
            queue=seen.stays / whole,
            longest=max(seen.found, default=0),
        )
