"""Training with a parameter server in one process: virtual workers of stated speeds, and a clock of its own.

What is learnt is real: the server's own state machine, the rules, the gradients and the data. What takes how long is
stated, so a run gives the same bits every time, and shows what staleness and uneven speeds do to learning. All parts
travel at once and take equally long; a network with bandwidth is the simulator's business.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.consistency import Async, Elastic
from collectives.parameter_server.messages import Kind, Message, as_bytes
from collectives.parameter_server.server import Server, layerwise
from collectives.parameter_server.sharding import Sharding
from experiments.training.batches import Batches
from experiments.training.dataset import Dataset
from experiments.training.exchange import descend, due
from experiments.training.flat import Flat
from experiments.training.model import Model
from experiments.training.stepper import Stepper
from kernels.optimise import Optimiser

__all__ = ["Judged", "Outcome", "Times", "Work", "train"]

Rate = Callable[[int], float]
"""The learning rate of step 1, 2, ...."""


@dataclass(frozen=True, slots=True)
class Times:
    """``computing``: seconds of each worker for its share of a step; ``message``: of a message, whatever its size.

    ``variation``: standard deviation over mean of the computing, which is drawn anew at each step (gamma).
    """

    computing: tuple[float, ...]
    message: float = 0.0
    variation: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """What is learnt, and for how many global batches. ``rate`` by step, ``every``: steps between two judgements."""

    model: Model
    data: Dataset
    batches: Batches
    optimiser: Optimiser
    steps: int
    rate: Rate
    seed: int = 0
    every: int = 10


class Judged(NamedTuple):
    """The parameters at the server, on the test samples, when so many batches' worth of pushes had come."""

    seconds: float
    steps: float
    accuracy: float
    loss: float


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """``waited`` (seconds) and ``steps`` by worker; ``staleness`` of each push (a part's each), ``late``: dropped."""

    curve: list[Judged]
    waited: list[float]
    staleness: Counter[int]
    steps: list[int]
    late: int
    seconds: float
    weights: Flat

    def seconds_to(self, accuracy: float) -> float | None:
        """When the test samples were first told so well; None if never."""
        return next((judged.seconds for judged in self.curve if judged.accuracy >= accuracy), None)


def train(work: Work, configuration: Configuration, times: Times) -> Outcome:
    """Run until all batches are worked off. The same arguments give the same outcome, bit for bit."""
    if len(times.computing) != configuration.workers:
        raise ValueError(f"{configuration.workers} workers, and computing times of {len(times.computing)}")
    return _Run(work, configuration, times).outcome()


@dataclass(slots=True, eq=False)
class _Worker:
    number: int
    weights: Flat
    gradients: Flat
    chance: np.random.Generator
    stepper: Stepper
    step: int = 0
    """The last that it did, or that was done without it."""
    done: int = 0
    clock: int = 0
    samples: int = 0
    rate: float = 0.0
    """Of its last step."""
    missing: int = 0
    """Parts whose answers it waits for."""
    since: float = 0.0


class _Run:
    def __init__(self, work: Work, configuration: Configuration, times: Times) -> None:
        self._work, self._configuration, self._times = work, configuration, times
        self._consistency = configuration.consistency
        first = work.model.initial(work.seed)
        sizes = {name: first[name].size for name in first}
        whole = layerwise(work.optimiser)
        sharding = Sharding.plan(sizes, configuration.servers, configuration.partition, whole=whole)
        self._parts = sharding.parts
        self._servers = [
            Server(configuration, sharding, number, first.vector, work.optimiser)
            for number in range(configuration.servers)
        ]
        self._workers = [self._worker(number, first) for number in range(configuration.workers)]
        self._curve: list[Judged] = []
        self._waited = [0.0] * configuration.workers
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self._now, self._pushed = 0.0, 0

    def outcome(self) -> Outcome:
        self._judge()
        for worker in self._workers:
            self._begin(worker)
        while self._events:
            self._now, _, event = heapq.heappop(self._events)
            event()
        statistics = [server.statistics for server in self._servers]
        staleness = sum((found for each in statistics for found in each.staleness.values()), Counter[int]())
        late, done = sum(each.late for each in statistics), [worker.done for worker in self._workers]
        return Outcome(self._curve, self._waited, staleness, done, late, self._now, self._current())

    def _worker(self, number: int, first: Flat) -> _Worker:
        weights = Flat(first.shapes, first.vector.copy())
        chance = np.random.default_rng([self._work.seed, number, 7])
        return _Worker(number, weights, first.like(), chance, Stepper(self._work.optimiser, weights))

    def _at(self, delay: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._now + delay, next(self._order), event))

    # --- a worker ---------------------------------------------------------------------------------------------------

    def _begin(self, worker: _Worker) -> None:
        """Compute the share of the next batch, if there is one."""
        if worker.step >= self._work.steps:
            if worker.samples and not isinstance(self._consistency, Elastic):
                self._push(worker, Kind.PUSH)
            return
        seconds, variation = self._times.computing[worker.number], self._times.variation
        if variation:
            seconds *= worker.chance.gamma(variation**-2, variation**2)
        self._at(seconds, lambda: self._computed(worker))

    def _computed(self, worker: _Worker) -> None:
        worker.step, worker.done = worker.step + 1, worker.done + 1
        gradient, samples = self._gradient(worker)
        worker.samples += samples
        worker.rate = self._work.rate(worker.step)
        wanted = due(self._consistency, worker.step)
        if isinstance(self._consistency, Elastic):
            worker.stepper.step(gradient, worker.done, learning_rate=worker.rate, scale=1 / samples)
        else:
            worker.gradients.vector += gradient.vector
        if not wanted.pull and isinstance(self._consistency, Async):
            descend(worker.weights.vector, gradient.vector, worker.rate / (self._configuration.workers * samples))
        if wanted.push:
            self._push(worker, Kind.PUSH_PULL if wanted.pull else Kind.PUSH)
        elif wanted.pull:
            self._send(worker, Kind.PULL)
        if not wanted.pull:
            self._begin(worker)

    def _gradient(self, worker: _Worker) -> tuple[Flat, int]:
        batches, data, gradient = self._work.batches, self._work.data, worker.weights.like()
        lo, hi = batches.shares(self._configuration.workers)[worker.number]
        chosen = batches.of(worker.step)[lo:hi].ravel()
        scores = self._work.model.gradient(worker.weights, data.inputs[chosen], data.targets[chosen], gradient)
        return gradient, scores.samples

    def _push(self, worker: _Worker, kind: Kind) -> None:
        worker.clock += 1
        self._send(worker, kind)
        worker.samples = 0
        worker.gradients.vector[...] = 0

    def _send(self, worker: _Worker, kind: Kind) -> None:
        elastic = isinstance(self._consistency, Elastic)
        vector = (worker.weights if elastic else worker.gradients).vector
        if kind is not Kind.PUSH:
            worker.missing, worker.since = len(self._parts), self._now
        for part in self._parts:
            payload = as_bytes(vector[part.lo : part.hi].copy()) if kind is not Kind.PULL else as_bytes(vector[:0])
            message = Message(
                kind, worker.number, part.number, worker.clock, payload,
                samples=worker.samples, learning_rate=worker.rate, request=worker.clock + 1,
            )  # fmt: skip
            server = self._servers[part.server]
            self._at(self._times.message, lambda message=message, server=server: self._serve(server, message))

    def _received(self, message: Message) -> None:
        worker = self._workers[message.worker]
        if message.kind is Kind.ACK:
            return
        part = self._parts[message.part]
        mine = worker.weights.vector[part.lo : part.hi]
        numbers = message.payload.view(np.float32)
        if isinstance(self._consistency, Elastic):
            mine += np.float32(self._consistency.rate) * (numbers - mine)
        else:
            mine[...] = numbers
        worker.missing -= 1
        if message.clock > worker.clock:  # an update was made without this worker, which goes on with the others
            worker.clock = worker.step = message.clock
        if not worker.missing:
            self._waited[worker.number] += self._now - worker.since
            self._begin(worker)

    # --- the servers ------------------------------------------------------------------------------------------------

    def _serve(self, server: Server, message: Message) -> None:
        for envelope in server.handle(message):
            self._at(self._times.message, lambda envelope=envelope: self._received(envelope.message))
        if message.kind in (Kind.PUSH, Kind.PUSH_PULL):
            self._pushed += 1
            if self._pushed % (self._work.every * self._configuration.workers * len(self._parts)) == 0:
                self._judge()

    def _current(self) -> Flat:
        weights = self._workers[0].weights.like()
        for server in self._servers:
            for shard in server.shards.values():
                weights.vector[shard.part.lo : shard.part.hi] = shard.parameters
        return weights

    def _judge(self) -> None:
        data = self._work.data
        scores = self._work.model.score(self._current(), data.test_inputs, data.test_targets)
        steps = self._pushed / (self._configuration.workers * len(self._parts))
        self._curve.append(Judged(self._now, steps, scores.accuracy, scores.loss / scores.samples))
