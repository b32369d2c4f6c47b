"""Asynchronous training without servers: the model lies in windows of all ranks, which add to it as they please."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from collectives.parameter_server.hogwild import Hogwild
from experiments.errors import UsageFault
from experiments.training.flat import Flat
from experiments.training.gradients import Gradients
from experiments.training.strategy import Snapshot, Step, Task
from kernels.optimise import SGD

__all__ = ["OneSided"]


@dataclass(frozen=True, slots=True)
class OneSided:
    """Steps added to the one model in MPI windows, without locks and without servers (Hogwild).

    ``servers``: the first so many ranks hold it, 0: all. The optimiser must be sgd without weight_decay: what is added
    is a learning rate times a gradient.
    """

    servers: int = 0

    def __post_init__(self) -> None:
        if self.servers < 0:
            raise ValueError(f"servers must be at least 0, got {self.servers}")

    def start(self, task: Task) -> Adding:
        """Begin on all ranks of the task."""
        optimiser = task.optimiser
        if not isinstance(optimiser, SGD) or optimiser.weight_decay:
            raise UsageFault("hogwild adds gradients to the model: take --optimiser sgd:learning_rate=0.1")
        if task.deterministic or task.balance:
            raise UsageFault("hogwild's workers never meet: leave --deterministic and --balance out")
        if self.servers > task.comm.size or task.batches.grains < task.comm.size:
            raise UsageFault(
                f"{task.comm.size} ranks cannot hold the model on {self.servers} of them, or share "
                f"{task.batches.grains} grains of a batch: take fewer servers, or more grains"
            )
        return Adding(self, task)


class Adding:
    """A worker that pulls the model, computes a gradient and adds it, scaled as a part of the global batch.

    Cost of a step: n bytes read and n added, in as many pieces as ranks hold the model.
    """

    lockstep = False

    def __init__(self, plan: OneSided, task: Task) -> None:
        self.task, self.workers = task, task.comm
        self._own = task.model.initial(task.seed)
        self._gradient = self._own.like()
        self._gradients = Gradients(task)
        self._shares = self._gradients.shares(task.comm.size, task.comm.rank)
        self._shared = Hogwild(task.comm, self._own.vector, plan.servers or None)
        holders = plan.servers or task.comm.size
        kept = 1 / holders if task.comm.rank < holders else 0.0
        self._nbytes = math.ceil(self._own.vector.nbytes * (1 - kept))

    @property
    def weights(self) -> Flat:
        """The model as it is now: pulled."""
        self._shared.pull(self._own.vector)
        return self._own

    def step(self, number: int, learning_rate: float) -> Step:
        """Pull, compute, add."""
        began = time.perf_counter()
        self._gradient.vector[...] = 0
        grains = self._shares.of(number)
        scores, computing = self._gradients.add(number, grains, self.weights, self._gradient)
        self._shared.push(self._gradient.vector, learning_rate * self.task.scale)
        exposed = time.perf_counter() - began - computing
        return Step(scores, computing, exposed, self._nbytes, (self._shared.staleness[-1],))

    def snapshot(self) -> Snapshot:
        """There is no moment that is all ranks'."""
        raise UsageFault("hogwild's workers never meet, so there is no checkpoint of a step: leave --checkpoint out")

    def restore(self, snapshot: Snapshot) -> None:  # noqa: ARG002 - as the protocol has it
        """See ``snapshot``."""
        raise UsageFault("a run of hogwild cannot go on from a checkpoint: leave --resume out")

    def close(self) -> None:
        """Wait for all, and free the windows."""
        self._shared.close()
