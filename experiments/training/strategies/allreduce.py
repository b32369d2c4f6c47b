"""Data parallel by allreduce: every rank has the model, and all sum their gradients while backward goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI

from experiments.errors import UsageFault
from experiments.training import buckets, exact_sum
from experiments.training.flat import Flat
from experiments.training.gradients import Gradients, added
from experiments.training.layer import Layer
from experiments.training.model import Scores
from experiments.training.overlap import Overlap
from experiments.training.stepper import Stepper
from experiments.training.strategy import Snapshot, Step, Task
from experiments.training.sums import Sum, Sums

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["AllReduce", "Bytes"]

Bytes = int


@dataclass(frozen=True, slots=True)
class AllReduce:
    """Gradients are summed by allreduce, in buckets, beside the rest of backward.

    ``algorithm``: of the catalogue, by default the fastest by prediction for each bucket. ``bucket``: bytes at which a
    bucket is closed; 0: the largest with which, by prediction, the least is left when computing ends. ``accumulate``:
    a rank's samples go through the model in so many pieces, one after another. ``compress``: an encoding of
    ``kernels.compress``, with error feedback. ``overlap``: false sums when all gradients are there.

    In deterministic mode gradients are summed exactly (see ``exact_sum``) and at once: then there are no buckets,
    nothing travels beside computing, and a rank needs memory for a gradient of each of its grains.
    """

    algorithm: str = ""
    bucket: Bytes = 0
    accumulate: int = 1
    compress: str = ""
    overlap: bool = True

    def __post_init__(self) -> None:
        if self.bucket < 0 or self.accumulate < 1:
            raise ValueError(
                f"bucket must be at least 0 and accumulate at least 1, got {self.bucket} and {self.accumulate}"
            )

    def start(self, task: Task) -> Replicas:
        """Begin on all ranks of the task."""
        if not task.deterministic:
            return Overlapped(self, task)
        if self.compress or self.accumulate > 1:
            raise UsageFault(
                "deterministic: gradients of single grains are summed as they are; no compress, no accumulate"
            )
        return Exact(self, task)


class Replicas(ABC):
    """What both ways of summing share: the whole model and the optimiser's state, the same on all ranks."""

    lockstep = True

    def __init__(self, task: Task) -> None:
        self.task, self.workers = task, task.comm
        self.weights = task.model.initial(task.seed)
        self._summed = self.weights.like()
        self._gradients = Gradients(task)
        self._shares = self._gradients.shares(task.comm.size, task.comm.rank)
        self._stepper = Stepper(task.optimiser, self.weights)
        self._comm: Communicator = task.comm.Dup()
        self._comm.settings.timeout = task.limit

    def step(self, number: int, learning_rate: float) -> Step:
        """Gradients of this rank's share, their sum over all ranks, and the optimiser's step."""
        grains = self._shares.of(number)
        scores, computing, exposed, sent = self._sum(number, grains)
        self._shares.computed(grains[1] - grains[0], computing)
        self._stepper.step(self._summed, number, learning_rate=learning_rate, scale=self.task.scale)
        return Step(scores, computing, exposed, sent)

    @abstractmethod
    def _sum(self, number: int, grains: tuple[int, int]) -> tuple[Scores, float, float, int]:
        """Have the batch's gradient in ``_summed``; returns scores, seconds computing and exposed, and bytes sent."""

    def snapshot(self) -> Snapshot:
        """Weights and the optimiser's state, of rank 0, and what each rank's compression remembers."""
        return Snapshot({"weights": self.weights.vector, **self._stepper.snapshot()}, self._own())

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there, on any number of ranks where nothing was compressed."""
        self.weights.vector[...] = snapshot.shared["weights"]
        self._stepper.restore(snapshot.shared)
        self._remember(snapshot.own)

    def _own(self) -> dict[str, Any]:
        return {}

    def _remember(self, own: Any) -> None:
        if own:
            raise ValueError(f"the checkpoint has {', '.join(own)} of each rank: it is another strategy's")

    def close(self) -> None:
        """Free the communicator."""
        self._comm.Free()


class Overlapped(Replicas):
    """Each bucket's allreduce begins on a thread of its own as soon as backward has filled the bucket."""

    def __init__(self, plan: AllReduce, task: Task) -> None:
        super().__init__(task)
        self._plan = plan
        self._sums = Sums(self._comm, plan.algorithm, plan.compress)
        self.buckets = buckets.cut(task.model, self._summed, plan.bucket or self._suitable())
        vector = self._summed.vector
        self._calls: list[Sum] = [self._sums.of(vector[lo:hi]) for _, lo, hi in self.buckets]
        self._sent = sum(self._sums.sent(hi - lo) for _, lo, hi in self.buckets)
        self._messages = Overlap(task.limit)

    def _suitable(self) -> int:
        """By the computing time of rank 0, measured unless it is stated, so that all ranks cut alike."""
        task, share = self.task, (0, -(-self.task.batches.grains // self.task.comm.size))
        seconds = np.array([share[1] * task.pace.grain])
        for _ in range(0 if task.pace.grain else 2):  # the first is not like the others
            _, seconds[0] = self._gradients.add(1, share, self.weights, self._summed)
        self._comm.Bcast(seconds)
        ready = self._gradients.progress
        return buckets.suitable(task.model, self._summed, ready, float(seconds[0]), self._sums.seconds)

    def _sum(self, number: int, grains: tuple[int, int]) -> tuple[Scores, float, float, int]:
        self._summed.vector[...] = 0
        left = list(zip(self.buckets, self._calls, strict=True))

        def ready(layer: Layer) -> None:
            while left and left[0][0].layer == layer.name:
                bucket, call = left.pop(0)
                self._messages.hand(f"the sum of the gradients down to layer {bucket.layer} in step {number}", call)

        heard = ready if self._plan.overlap else None
        found = self._gradients.add(number, grains, self.weights, self._summed, heard, self._plan.accumulate)
        for layer in reversed(self.task.model.layers):
            ready(layer)
        return *found, self._messages.wait(), self._sent

    def _own(self) -> dict[str, Any]:
        return {
            f"compression{number}.{name}": array
            for number, call in enumerate(self._calls) if call.compression is not None
            for name, array in call.compression.memory().items()
        }  # fmt: skip

    def _remember(self, own: Any) -> None:
        compressions = [call.compression for call in self._calls if call.compression is not None]
        super()._remember({} if compressions else own)
        for number, compression in enumerate(compressions):
            start = f"compression{number}."
            compression.recall({name.removeprefix(start): own[name] for name in own if name.startswith(start)})

    def close(self) -> None:
        """End the thread, and free the communicator."""
        self._messages.close()
        super().close()


class Exact(Replicas):
    """The same bits whatever the number of ranks, the shares and the algorithm: grain by grain, and summed exactly."""

    def __init__(self, plan: AllReduce, task: Task) -> None:
        super().__init__(task)
        sums = Sums(self._comm, plan.algorithm)
        self._algorithm = sums.algorithm(8 * self._summed.vector.size)
        self._sent = sums.sent(self._summed.vector.size, 8) + sums.sent(1, 8)

    def _sum(self, number: int, grains: tuple[int, int]) -> tuple[Scores, float, float, int]:
        found = [self._grain(number, grain) for grain in range(*grains)]
        began = MPI.Wtime()
        vectors = [gradients.vector for gradients, _, _ in found]
        exact_sum.allreduce(self._comm, vectors, self.task.batches.grains, self._summed.vector, self._algorithm)
        scores = added([Scores(0.0, 0, 0), *(scores for _, scores, _ in found)])
        return scores, sum(seconds for _, _, seconds in found), MPI.Wtime() - began, self._sent

    def _grain(self, number: int, grain: int) -> tuple[Flat, Scores, float]:
        gradients = self._summed.like()
        return gradients, *self._gradients.add(number, (grain, grain + 1), self.weights, gradients)
