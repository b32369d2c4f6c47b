"""Local SGD: every rank trains a model of its own, and now and then all average theirs."""

from __future__ import annotations

import time
from dataclasses import dataclass

from experiments.errors import UsageFault
from experiments.training.flat import Flat
from experiments.training.gradients import Gradients
from experiments.training.stepper import Stepper
from experiments.training.strategy import Snapshot, Step, Task
from experiments.training.sums import Sums

__all__ = ["LocalSGD"]


@dataclass(frozen=True, slots=True)
class LocalSGD:
    """Every rank steps by its own samples, and every ``period`` steps all average their parameters.

    An allreduce of the model in ``period`` steps, by ``algorithm``. The optimiser's state stays each rank's own. With
    period 1 and plain SGD it is data parallel, within rounding.
    Source: Stich, "Local SGD converges fast and communicates little" (ICLR 2019), algorithm 1.
    """

    period: int = 8
    algorithm: str = ""

    def __post_init__(self) -> None:
        if self.period < 1:
            raise ValueError(f"period must be at least 1, got {self.period}")

    def start(self, task: Task) -> Local:
        """Begin on all ranks of the task."""
        if task.deterministic:
            raise UsageFault("deterministic: what local SGD computes depends on how many ranks there are")
        if task.batches.grains < task.comm.size:
            raise UsageFault(
                f"local SGD: {task.batches.grains} grains are too few for {task.comm.size} ranks, of which each needs "
                "one; give more --grains"
            )
        return Local(self, task)


class Local:
    """This rank's own model, and the optimiser's state for it."""

    lockstep = True

    def __init__(self, plan: LocalSGD, task: Task) -> None:
        self.task, self.workers, self._plan = task, task.comm, plan
        self._own = task.model.initial(task.seed)
        self._gradient, self._mean = self._own.like(), self._own.like()
        self._gradients = Gradients(task)
        self._shares = self._gradients.shares(task.comm.size, task.comm.rank)
        self._stepper = Stepper(task.optimiser, self._own)
        self._comm = task.comm.Dup()
        self._comm.settings.timeout = task.limit
        sums = Sums(self._comm, plan.algorithm)
        self._sum, self._sent = sums.of(self._mean.vector), sums.sent(self._mean.vector.size)

    @property
    def weights(self) -> Flat:
        """The mean of all ranks' models. Collective: an allreduce."""
        self._mean.vector[...] = self._own.vector
        self._sum()
        self._mean.vector /= self.task.comm.size
        return self._mean

    def step(self, number: int, learning_rate: float) -> Step:
        """A step by this rank's samples, and with every ``period``-th the mean of all models."""
        grains = self._shares.of(number)
        self._gradient.vector[...] = 0
        scores, computing = self._gradients.add(number, grains, self._own, self._gradient)
        self._shares.computed(grains[1] - grains[0], computing)
        self._stepper.step(self._gradient, number, learning_rate=learning_rate, scale=1 / scores.samples)
        if number % self._plan.period:
            return Step(scores, computing, 0.0)
        began = time.perf_counter()
        self._own.vector[...] = self.weights.vector
        return Step(scores, computing, time.perf_counter() - began, self._sent)

    def snapshot(self) -> Snapshot:
        """Each rank's own model and state: as many ranks are needed to go on."""
        return Snapshot({}, {"weights": self._own.vector, **self._stepper.snapshot()})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there."""
        if "weights" not in snapshot.own:
            raise ValueError("the checkpoint has no models of single ranks: it is another strategy's")
        self._own.vector[...] = snapshot.own["weights"]
        self._stepper.restore(snapshot.own)

    def close(self) -> None:
        """Free the communicator."""
        self._comm.Free()
