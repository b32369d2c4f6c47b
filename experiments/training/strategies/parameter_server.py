"""Data parallel by a parameter server: workers push gradients, layer by layer as backward ends them, and pull."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from collectives.parameter_server import consistency
from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.gathering import Terms
from collectives.parameter_server.tickets import Ticket
from experiments.training.exchange import Due, descend, due
from experiments.training.gradients import Gradients
from experiments.training.layer import Layer
from experiments.training.model import Scores
from experiments.training.strategies.servers import Bytes, Member, Servers
from experiments.training.strategy import Step, Task

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["Asynchronous", "Bytes", "Lockstep", "Pushing", "Spared", "Stale"]


@dataclass(frozen=True)
class _Pushes(Servers):
    def member(self, task: Task, configuration: Configuration, workers: Communicator) -> Pushing:
        """A worker that pushes gradients."""
        return Pushing(task, configuration, workers)


@dataclass(frozen=True)
class Lockstep(_Pushes, consistency.BSP):
    """A parameter server in lockstep: each update is the sum of all workers' gradients (BSP)."""

    rules = consistency.BSP


@dataclass(frozen=True)
class Stale(_Pushes, consistency.SSP):
    """A parameter server whose workers are at most ``steps`` ahead of the slowest (SSP); each push is an update."""

    steps: int = 3
    rules = consistency.SSP


@dataclass(frozen=True)
class Asynchronous(_Pushes, consistency.Async):
    """A parameter server for which nobody waits (Downpour): a push every ``push`` steps, a pull every ``fetch``.

    Each worker does as many steps as there are; what a worker has not pushed at the end is left out.
    """

    rules = consistency.Async


@dataclass(frozen=True)
class Spared(_Pushes, consistency.Backup):
    """A parameter server in lockstep that does not wait for the last ``workers``: their gradients are dropped."""

    workers: int = 1
    rules = consistency.Backup


class Pushing(Member):
    """A worker that pushes gradients, and pulls what the servers made of them.

    A push weighs as much as its samples in the global batch, whoever else pushes: for any rules, as many pushes as
    there are workers move the parameters as far as a step of the whole batch. Cost of a step: n bytes of gradients to
    the servers and n of parameters back; a layer's go as soon as backward is done with it, front layers first.
    """

    def __init__(self, task: Task, configuration: Configuration, workers: Communicator) -> None:
        super().__init__(task, configuration, workers)
        self._gradients = Gradients(task)
        self._own_gradient = self.own.like()
        self._gathered = self.own.like()
        self._samples = 0
        self._tickets: list[Ticket] = []
        self._over = 0  # the last clock that is over: steps up to it are done, by this worker or without it
        self._every_step = not isinstance(self.rules, consistency.Async) or self.rules.push == 1

    def step(self, number: int, learning_rate: float) -> Step:
        """Gradients of this worker's share, on their way while backward goes on, and the pull where one is due."""
        if number <= self._over:
            return Step(Scores(0.0, 0, 0), 0.0, 0.0)
        wanted = due(self.rules, number)
        grains = self._shares.of(number)
        samples = self.samples(grains)
        clock = number if isinstance(self.rules, consistency.Backup) else None
        self._own_gradient.vector[...] = 0

        def ready(layer: Layer) -> None:
            for key in layer.shapes():
                self._give(f"{layer.name}.{key}", Terms(samples, learning_rate, clock), pull=wanted.pull)

        heard = ready if self._every_step else None
        scores, computing = self._gradients.add(number, grains, self.own, self._own_gradient, heard)
        self._shares.computed(grains[1] - grains[0], computing)
        if not self._every_step:
            self._gather(samples, learning_rate, wanted)
        if not wanted.pull:
            each = self.configuration.workers * samples
            descend(self.own.vector, self._own_gradient.vector, learning_rate / each)
        exposed, staleness = self._settle(wait=wanted.pull)
        return Step(scores, computing, exposed, self.sent(), staleness)

    def _give(self, name: str, terms: Terms, *, pull: bool) -> None:
        """Push one tensor's gradient; the answer is written to the worker's own, whose backward is over."""
        gradient = self._own_gradient[name].reshape(-1)
        samples, rate = terms.samples, terms.learning_rate
        if pull:
            into = self.own[name].reshape(-1)
            ticket = self._server.ipush_pull(
                name, gradient, samples=samples, learning_rate=rate, into=into, clock=terms.clock
            )
        else:
            ticket = self._server.ipush(name, gradient, samples=samples, learning_rate=rate)
        self._tickets.append(ticket)

    def _gather(self, samples: int, rate: float, wanted: Due) -> None:
        """Add the step's gradient to those that wait, push all that wait if it is time, and pull if it is."""
        self._gathered.vector += self._own_gradient.vector
        self._samples += samples
        if wanted.push:
            gathered = self._gathered.vector
            self._tickets.append(self._server.ipush(None, gathered, samples=self._samples, learning_rate=rate))
            gathered[...] = 0
            self._samples = 0
        if wanted.pull:
            self._tickets.append(self._server.ipull(into=self.own.vector))

    def _settle(self, *, wait: bool) -> tuple[float, tuple[int, ...]]:
        """Seconds of waiting for what is under way, and what pushes missed whose answers are here."""
        began = time.perf_counter()
        for ticket in self._tickets if wait else ():
            ticket.wait()
        exposed = time.perf_counter() - began
        answered = [ticket.wait() for ticket in self._tickets if ticket.done()]
        self._tickets = [ticket for ticket in self._tickets if ticket not in answered]
        self._over = self._server.clock if isinstance(self.rules, consistency.Backup) else 0
        missed = [number for ticket in answered for number in ticket.staleness]
        return exposed, (max(missed),) if missed else ()
