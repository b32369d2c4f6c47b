"""The model cut among ranks: by layers into stages, within layers into shares, and the batch among replicas of both."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from collectives.pipeline import Action, Forward, Order, cut
from experiments.errors import UsageFault
from experiments.training import exact_sum
from experiments.training.flat import Flat
from experiments.training.gradients import added, on_grid
from experiments.training.layer import Layer
from experiments.training.model import Scores
from experiments.training.pace import Stretch
from experiments.training.parallel_layers.plan import share
from experiments.training.parallel_layers.team import Team
from experiments.training.shares import Equal
from experiments.training.stage import Stage, Work, shapes_between
from experiments.training.stepper import Stepper, layerwise
from experiments.training.strategies.grid import Grid
from experiments.training.strategies.holding import Holding
from experiments.training.strategy import Snapshot, Step, Task
from experiments.training.sums import Sums

__all__ = ["ModelParallel"]

_FORWARD = 1 / 3
"""Share of the forward pass in computing: backward multiplies by the weights once and by the inputs once."""


class ModelParallel:
    """This rank's share of one stage, and the optimiser's state for it.

    A replica's grains go through the stages in ``micro`` micro-batches (0: one for each grain); each stage's gradients
    are then summed over the replicas. All sums are by ``algorithm``. In deterministic mode micro-batches are grains and
    their gradients are summed exactly, so a pipeline ends with the bits of one process; shares of layers could not, for
    the sums within layers round.

    Memory: a share of parameters, gradients and the optimiser's state, and the activations that the order keeps.
    Raises UsageFault on all ranks for what does not divide.
    """

    lockstep = True

    def __init__(self, task: Task, *, stages: int, ways: int, micro: int, order: Order, algorithm: str) -> None:
        _check(task, ways, micro)
        self.task, self.workers = task, task.comm
        costs = _costs(task)
        cuts = _stages(task, costs, stages)
        self._grid = Grid.of(task.comm, stages, ways, task.limit)
        self.team = Team(self._grid.team, algorithm)
        lo, hi = cuts[self._grid.line.rank]
        layers = task.model.layers
        shared = share(layers[lo:hi], self.team)
        self._holding = Holding.of([layers[lo:hi] for lo, hi in cuts], shared, self.team, self._grid.line)
        self.part = sum(costs[lo:hi]) / max(1, sum(costs)) / ways
        """This rank's share of the computing that one replica has."""
        self._shares = Equal(task.batches.grains, self._grid.replicas.size, self._grid.replicas.rank)
        self.micro, samples = _micro_batches(task, self._grid.replicas.size, self._grid.replicas.rank, micro)
        shapes = shapes_between(layers, (samples, *task.data.inputs.shape[1:]))
        self.stage = Stage(
            self._grid.line, shared.layers, task.model.loss, order, shapes[lo], shapes[hi], self.team, self._pass
        )
        self._own = self._holding.zeros()
        self._holding.take(task.model.initial(task.seed).vector, self._own)
        self._gradients = [self._own.like() for _ in range(self.micro if task.deterministic else 1)]
        self._stepper = Stepper(task.optimiser, self._own)
        self._sums = Sums(self._grid.replicas, algorithm)
        self._sum = self._sums.of(self._gradients[0].vector)

    @property
    def weights(self) -> Flat:
        """The whole model, gathered. Collective."""
        return Flat(self.task.model.shapes(), self._holding.gathered(self._own))

    def step(self, number: int, learning_rate: float) -> Step:
        """All micro-batches through the stages and back, the sum over the replicas, and the optimiser's step."""
        summing, nbytes = self.team.seconds, self.team.nbytes
        for gradients in self._gradients:
            gradients.vector[...] = 0
        work = self._work(number)
        began = time.perf_counter()
        sent = self._sum_over_replicas()
        exposed = work.waiting + self.team.seconds - summing + time.perf_counter() - began
        self._stepper.step(self._gradients[0], number, learning_rate=learning_rate, scale=self.task.scale)
        scores = Scores(0.0, 0, 0) if self.team.rank else self._scores(work)
        return Step(scores, work.computing, exposed, work.sent + self.team.nbytes - nbytes + sent)

    def _work(self, number: int) -> Work:
        task = self.task
        lo, hi = self._shares.of(number)
        samples = task.batches.of(number)[lo:hi].reshape(self.micro, -1)
        return self.stage.gradient(
            self._own, lambda i: task.data.inputs[samples[i]], lambda i: task.data.targets[samples[i]],
            self.micro, self._gradients,
        )  # fmt: skip

    def _scores(self, work: Work) -> Scores:
        found = map(on_grid, work.scores) if self.task.deterministic else work.scores
        return added([Scores(0.0, 0, 0), *found])

    def _sum_over_replicas(self) -> int:
        """Have the batch's gradient in the first of ``_gradients``; returns the bytes sent."""
        count = self._own.vector.size
        if self.task.deterministic:
            self._sum_exactly()
            return self._sums.sent(count, 8)
        if self._grid.replicas.size == 1 or not count:
            return 0
        self._sum()
        return self._sums.sent(count)

    def _sum_exactly(self) -> None:
        vectors = [gradients.vector for gradients in self._gradients]
        exact_sum.allreduce(
            self._grid.replicas, vectors, self.task.batches.grains, vectors[0], self._sum.algorithm, self._grid.whole
        )

    def _pass(self, action: Action) -> Stretch:
        """Where computing takes a stated time, a stage's pass takes its part of it, by the multiplications in it."""
        direction = _FORWARD if isinstance(action, Forward) else 1 - _FORWARD
        lo, hi = self._shares.of(1)
        seconds = self.task.pace.grain * (hi - lo) / self.micro * self.part * direction
        return replace(self.task.pace, grain=seconds).begin(1)

    def snapshot(self) -> Snapshot:
        """Weights and the optimiser's state of the whole model, gathered, so that any cut can go on from them."""
        held = {"weights": self._own.vector, **self._stepper.snapshot()}
        shapes = self._own.shapes
        return Snapshot({name: self._holding.gathered(Flat(shapes, vector)) for name, vector in held.items()})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there: each rank takes its share."""
        if snapshot.own:
            raise ValueError(f"the checkpoint has {', '.join(snapshot.own)} of each rank: it is another strategy's")
        self._holding.take(snapshot.shared["weights"], self._own)
        parts: dict[str, np.ndarray] = {}
        for name in self.task.optimiser.states:
            part = self._own.like()
            self._holding.take(snapshot.shared[name], part)
            parts[name] = part.vector
        self._stepper.restore(parts)

    def close(self) -> None:
        """Free the communicators."""
        self._grid.free()


def _check(task: Task, ways: int, micro: int) -> None:
    if task.balance:
        raise UsageFault("balance: stages wait for each other in every step, so shares of a batch cannot be balanced")
    if ways > 1 and layerwise(task.optimiser):
        raise UsageFault(f"{task.optimiser.name} steps by the norms of whole tensors, and here tensors are cut")
    if task.deterministic and (ways > 1 or micro):
        raise UsageFault(
            "deterministic: layers that are cut sum in another order than whole ones, and micro-batches must be "
            "grains: take a pipeline without ways and micro"
        )


def _costs(task: Task) -> list[int]:
    """What each layer costs a step: multiplications of both passes over the batch, and one a parameter."""
    shape, costs = (task.batches.batch, *task.data.inputs.shape[1:]), list[int]()
    for layer in task.model.layers:
        shape, count = layer.operations(shape)
        costs.append(3 * count + _parameters(layer))
    return costs


def _parameters(layer: Layer) -> int:
    return sum(map(math.prod, layer.shapes().values()))


def _stages(task: Task, costs: Sequence[int], stages: int) -> tuple[tuple[int, int], ...]:
    """The layers of each stage; those before the first that learns are with it, for none needs their gradients."""
    first = next((at for at, layer in enumerate(task.model.layers) if layer.shapes()), 0)
    try:
        ranges = cut([sum(costs[: first + 1]), *costs[first + 1 :]], stages)
    except ValueError as fault:
        raise UsageFault(f"{task.model.name}: from its first that learns on, {fault}") from None
    return tuple((lo + first if lo else 0, hi + first) for lo, hi in ranges)


def _micro_batches(task: Task, replicas: int, replica: int, micro: int) -> tuple[int, int]:
    """How many micro-batches this replica has, and their samples; UsageFault on all ranks if one cannot be cut so."""
    batches = task.batches
    if replicas > batches.grains:
        raise UsageFault(f"{replicas} replicas share {batches.grains} grains: take at least as many grains")
    grains = [hi - lo for lo, hi in batches.shares(replicas)]
    each = batches.batch // batches.grains
    if micro and (bad := [count * each for count in grains if count * each % micro]):
        raise UsageFault(f"a replica's {bad[0]} samples cannot be cut into {micro} equal micro-batches")
    number = micro or grains[replica]
    return number, grains[replica] * each // number
