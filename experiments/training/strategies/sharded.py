"""Sharded data parallel: each rank keeps an equal part of the optimiser's state, of gradients, of parameters."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from experiments.errors import UsageFault
from experiments.training import exact_sum
from experiments.training.flat import Flat
from experiments.training.gradients import FORWARD, Gradients, added, work
from experiments.training.layer import Layer, Tensors, tensors
from experiments.training.model import Scores
from experiments.training.shards import Shards, Unit
from experiments.training.stepper import Stepper, layerwise
from experiments.training.strategy import Snapshot, Step, Task

__all__ = ["Sharded"]


@dataclass(frozen=True, slots=True)
class Sharded:
    """ZeRO: each of p ranks keeps 1/p of the optimiser's state (level 1), of gradients (2), of parameters (3: FSDP).

    Gradients are reduce-scattered, each rank steps its part, and parameters are gathered. Bytes that a rank holds for a
    model of n bytes and an optimiser with s arrays of state, beside activations: (2 + s)n/p for its part, and at level
    1 2n (parameters and gradients), at level 2 n and the largest layer, at level 3 the largest layer twice; a
    reduce-scatter works on a copy of what it sums. Bytes it sends a step: 2(p−1)/p·n at levels 1 and 2, 3(p−1)/p·n at
    level 3. Nothing of that is hidden behind computing.
    ``reduce_scatter`` and ``allgather``: algorithms of the catalogue, by default the fastest by prediction.
    In deterministic mode level 2 keeps whole gradients as level 1 does, for exact sums.
    Source: Rajbhandari et al., "ZeRO: memory optimizations toward training trillion parameter models" (SC 2020),
    section 5; Zhao et al., "PyTorch FSDP" (VLDB 2023), section 3 for what is gathered when.
    """

    level: int = 3
    reduce_scatter: str = ""
    allgather: str = ""

    def __post_init__(self) -> None:
        if self.level not in (1, 2, 3):
            raise ValueError(f"level must be 1, 2 or 3, got {self.level}")

    def start(self, task: Task) -> Levelled:
        """Begin on all ranks of the task."""
        if layerwise(task.optimiser):
            raise UsageFault(f"fsdp: {task.optimiser.name} needs whole layers, and each rank has a part; take another")
        if task.deterministic:
            if self.level == 3:
                raise UsageFault("deterministic: sums are exact at levels 1 and 2 alone: --strategy fsdp:level=2")
            return ExactParts(self, task)
        return (StateParts, GradientParts, AllParts)[self.level - 1](self, task)


class Levelled(ABC):
    """What all levels share: this rank's part of the parameters and of the optimiser's state."""

    lockstep = True

    def __init__(self, plan: Sharded, task: Task, ranges: Sequence[tuple[int, int]]) -> None:
        self.task, self.workers = task, task.comm
        self._comm = task.comm.Dup()
        self._comm.settings.timeout = task.limit
        self._comm.Barrier()  # from here on all ranks have the prices of rank 0
        self._shards = Shards(self._comm, ranges, plan.allgather, plan.reduce_scatter)
        self._kept = Flat({"part": (self._shards.count,)}, self._shards.taken(task.model.initial(task.seed).vector))
        self._gradient = self._kept.like()
        self._stepper = Stepper(task.optimiser, self._kept)
        self._gradients = Gradients(task)
        self._shares = self._gradients.shares(task.comm.size, task.comm.rank)
        self._computing = self._waiting = 0.0

    @property
    def weights(self) -> Flat:
        """The whole model, gathered. Collective."""
        return Flat(self.task.model.shapes(), self._shards.gathered(self._kept.vector))

    def step(self, number: int, learning_rate: float) -> Step:
        """This rank's part of the batch's gradient, and the optimiser's step of its part of the model."""
        self._computing = self._waiting = 0.0
        sent, grains = self._shards.sent, self._shares.of(number)
        scores = self._sum(number, grains)
        self._shares.computed(grains[1] - grains[0], self._computing)
        self._stepper.step(self._gradient, number, learning_rate=learning_rate, scale=self.task.scale)
        self._stepped()
        return Step(scores, self._computing, self._waiting, self._shards.sent - sent)

    @abstractmethod
    def _sum(self, number: int, grains: tuple[int, int]) -> Scores:
        """Have this rank's part of the batch's gradient in ``_gradient``."""

    @abstractmethod
    def _stepped(self) -> None:
        """This rank's part of the model has changed."""

    def _gather(self, unit: Unit, whole: Any) -> None:
        began = time.perf_counter()
        self._shards.gather(unit, self._kept.vector, whole)
        self._waiting += time.perf_counter() - began

    def _scatter(self, unit: Unit, whole: Any, out: Any) -> None:
        began = time.perf_counter()
        self._shards.scatter(unit, whole, out)
        self._waiting += time.perf_counter() - began

    def snapshot(self) -> Snapshot:
        """The whole model and the optimiser's whole state, gathered, so that any number of ranks can go on."""
        parts = {"weights": self._kept.vector, **self._stepper.snapshot()}
        return Snapshot({name: self._shards.gathered(part) for name, part in parts.items()})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from there: each rank takes its part."""
        if snapshot.own:
            raise ValueError(f"the checkpoint has {', '.join(snapshot.own)} of each rank: it is another strategy's")
        parts = {name: self._shards.taken(whole) for name, whole in snapshot.shared.items()}
        self._kept.vector[...] = parts["weights"]
        self._stepper.restore(parts)
        self._stepped()

    def close(self) -> None:
        """Free the communicator."""
        self._comm.Free()


class StateParts(Levelled):
    """Level 1: whole gradients and parameters at every rank."""

    def __init__(self, plan: Sharded, task: Task) -> None:
        self._whole = task.model.initial(task.seed)
        super().__init__(plan, task, [(0, self._whole.vector.size)])
        self._summed: Flat | None = self._whole.like()

    @property
    def weights(self) -> Flat:
        """The whole model."""
        return self._whole

    def _sum(self, number: int, grains: tuple[int, int]) -> Scores:
        assert self._summed is not None
        self._summed.vector[...] = 0
        scores, self._computing = self._gradients.add(number, grains, self._whole, self._summed)
        self._scatter(self._shards.units[0], self._summed.vector, self._gradient.vector)
        return scores

    def _stepped(self) -> None:
        for unit in self._shards.units:
            self._gather(unit, self._whole.vector[unit.lo : unit.hi])


class ExactParts(StateParts):
    """Levels 1 and 2 in deterministic mode: gradients of single grains, summed exactly."""

    def __init__(self, plan: Sharded, task: Task) -> None:
        super().__init__(plan, task)
        self._summed = None  # each grain has a gradient of its own

    def _sum(self, number: int, grains: tuple[int, int]) -> Scores:
        found = [Scores(0.0, 0, 0)]
        vectors: list[Any] = []
        for grain in range(*grains):
            gradient = self._whole.like()
            scores, seconds = self._gradients.add(number, (grain, grain + 1), self._whole, gradient)
            found.append(scores)
            vectors.append(gradient.vector)
            self._computing += seconds
        scale = exact_sum.scale(self._comm, vectors, self.task.batches.grains)
        total = exact_sum.total(vectors, scale, self._whole.vector.size)
        part = np.empty(self._shards.count, np.int64)
        self._scatter(self._shards.units[0], total, part)
        exact_sum.rounded(part, scale, self._gradient.vector)
        return added(found)


class ByLayer(Levelled):
    """Levels 2 and 3: the units are the layers that have parameters."""

    def __init__(self, plan: Sharded, task: Task) -> None:
        model = task.model
        flat = model.initial(task.seed)
        names = {layer.name: [f"{layer.name}.{key}" for key in layer.shapes()] for layer in model.layers}
        ranges = {name: (flat.ranges[keys[0]][0], flat.ranges[keys[-1]][1]) for name, keys in names.items() if keys}
        super().__init__(plan, task, list(ranges.values()))
        self._units = dict(zip(ranges, self._shards.units, strict=True))
        self._shapes = {name: {key: flat.shapes[key] for key in keys} for name, keys in names.items()}
        self._work = work(model, task.data.inputs.shape[1:])

    def _sum(self, number: int, grains: tuple[int, int]) -> Scores:
        """Layer by layer forwards and backwards. A rank without samples takes part with zeros."""
        data, model = self.task.data, self.task.model
        count = grains[1] - grains[0]
        samples = self.task.batches.of(number)[grains[0] : grains[1]].ravel()
        x, kept = data.inputs[samples], list[Any]()
        for layer in model.layers:
            weights = self._layer(layer)
            stretch = self._stretch(layer, count, FORWARD)
            if samples.size:
                x, keep = layer.forward(weights, x)
                kept.append(keep)
            self._computing += stretch.reach(1.0)
        targets = data.targets[samples]
        loss, right, dy = model.loss(x, targets) if samples.size else (0.0, 0, x)
        for layer in reversed(model.layers):
            weights = self._layer(layer)
            stretch, gradients = self._stretch(layer, count, 1 - FORWARD), Flat.zeros(self._shapes[layer.name])
            if samples.size:
                dy = layer.backward(weights, kept.pop(), dy, tensors(layer, gradients))
            self._computing += stretch.reach(1.0)
            if unit := self._units.get(layer.name):
                self._scatter(unit, gradients.vector, self._shards.own(unit, self._gradient.vector))
        return Scores(loss, right, targets.size)

    def _stretch(self, layer: Layer, grains: int, direction: float) -> Any:
        pace = self.task.pace
        return replace(pace, grain=pace.grain * self._work[layer.name] * direction).begin(grains)

    @abstractmethod
    def _layer(self, layer: Layer) -> Tensors:
        """The parameters of a layer."""


class GradientParts(ByLayer):
    """Level 2: whole parameters at every rank; gradients a layer at a time."""

    def __init__(self, plan: Sharded, task: Task) -> None:
        super().__init__(plan, task)
        self._whole = task.model.initial(task.seed)

    @property
    def weights(self) -> Flat:
        """The whole model."""
        return self._whole

    def _layer(self, layer: Layer) -> Tensors:
        return tensors(layer, self._whole)

    def _stepped(self) -> None:
        for unit in self._shards.units:
            self._gather(unit, self._whole.vector[unit.lo : unit.hi])


class AllParts(ByLayer):
    """Level 3: a layer's parameters are gathered before its forward and its backward pass, and dropped after it."""

    def _layer(self, layer: Layer) -> Tensors:
        flat = Flat.zeros(self._shapes[layer.name])
        if unit := self._units.get(layer.name):
            self._gather(unit, flat.vector)
        return tensors(layer, flat)

    def _stepped(self) -> None:
        """Nothing is kept that could be old."""
