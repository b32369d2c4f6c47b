"""Elastic averaging: every worker trains a model of its own, and from time to time it and the centre move together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from collectives.parameter_server import consistency
from collectives.parameter_server.configuration import Configuration
from experiments.errors import UsageFault
from experiments.training.exchange import due
from experiments.training.gradients import Gradients
from experiments.training.stepper import Stepper
from experiments.training.strategies.servers import Bytes, Member, Servers
from experiments.training.strategy import Step, Strategy, Task

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["Averaging", "Bytes"]


@dataclass(frozen=True)
class Averaging(Servers, consistency.Elastic):
    """Elastic averaging with a parameter server (EASGD): each worker steps a model of its own, and it and a centre
    draw each other by ``rate`` every ``period`` steps."""  # fmt: skip

    rules = consistency.Elastic

    def start(self, task: Task) -> Strategy:
        """Begin on all ranks of the task."""
        if self.compress:
            raise UsageFault("easgd sends parameters, not gradients: leave compress out")
        return super().start(task)

    def member(self, task: Task, configuration: Configuration, workers: Communicator) -> Drawn:
        """A worker with a model of its own."""
        return Drawn(self, task, configuration, workers)


class Drawn(Member):
    """A worker with a model and an optimiser of its own, whose ``weights`` are the centre.

    Its step is by the mean gradient of its own share. Cost of every ``period``-th step: n bytes to the servers, n back.
    """

    def __init__(self, plan: Averaging, task: Task, configuration: Configuration, workers: Communicator) -> None:
        super().__init__(task, configuration, workers)
        self._plan = plan
        self._gradients = Gradients(task)
        self._gradient, self._centre = self.own.like(), self.own.like()
        self._stepper = Stepper(task.optimiser, self.own)

    def step(self, number: int, learning_rate: float) -> Step:
        """A step of the worker's own; where the period is over, it and the centre then move together."""
        grains = self._shares.of(number)
        samples = self.samples(grains)
        self._gradient.vector[...] = 0
        scores, computing = self._gradients.add(number, grains, self.own, self._gradient)
        self._stepper.step(self._gradient, number, learning_rate=learning_rate, scale=1 / samples)
        if not due(self.rules, number).push:
            return Step(scores, computing, 0.0)
        began = time.perf_counter()
        own, centre = self.own.vector, self._centre.vector
        ticket = self.server.push_pull(None, own, samples=samples, into=centre)
        own += np.float32(self._plan.rate) * (centre - own)
        return Step(scores, computing, time.perf_counter() - began, self.sent(), (max(ticket.staleness),))
