"""One stage of a pipeline: its layers, driven through micro-batches in the order that a schedule says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from collectives.pipeline import Action, Forward, Order
from experiments.training.flat import Array, Flat, Shape
from experiments.training.layer import Layer, Loss
from experiments.training.model import Scores, tensors
from experiments.training.neighbours import Inbox, Outbox, Patience
from experiments.training.pace import Stretch
from experiments.training.parallel_layers.team import Team

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["Samples", "Stage", "Work", "shapes_between"]

Samples = Callable[[int], Array]
"""The inputs, or the targets, of micro-batch 0, 1, ..."""


def shapes_between(layers: Iterable[Layer], x: Shape) -> list[Shape]:
    """The shape before each layer and after the last, for an input of shape ``x`` (samples first)."""
    shapes = [x]
    for layer in layers:
        shapes.append(layer.operations(shapes[-1])[0])
    return shapes


@dataclass(slots=True)
class Work:
    """What a batch was at one stage: ``scores`` of micro-batches at the last stage, and seconds.

    ``sent``: bytes to neighbours.
    """

    scores: list[Scores] = field(default_factory=list[Scores])
    computing: float = 0.0
    waiting: float = 0.0
    sent: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Stage ``line.rank`` of ``line.size``: these ``layers``, between activations of shapes ``into`` and ``out``.

    ``begin``: says of each pass how long it is to take; ``team``: with whom the layers are shared, and wait for sums.

    Cost of a batch of m micro-batches: m messages to and m from each neighbour; activations of as many micro-batches
    are kept as ``collectives.pipeline.prove`` says for the order.
    """

    line: Communicator
    layers: tuple[Layer, ...]
    loss: Loss
    order: Order
    into: Shape
    out: Shape
    team: Team
    begin: Callable[[Action], Stretch]

    @property
    def first(self) -> bool:
        """Whether it is given the inputs."""
        return self.line.rank == 0

    @property
    def last(self) -> bool:
        """Whether it has the outputs."""
        return self.line.rank == self.line.size - 1

    def gradient(self, weights: Flat, inputs: Samples, targets: Samples, micro: int, gradients: Sequence[Flat]) -> Work:
        """Add the gradients of ``micro`` micro-batches to ``gradients``: one for all of them, or one for each.

        Collective over the line. Raises CollectiveError where a neighbour does not answer.
        """
        patience = Patience.of(self.line)
        batch = _Batch(self, weights, inputs, targets, Outbox(self.line, patience))
        arrivals = _Arrivals(self, micro, weights.vector.dtype, patience)
        for action in self.order(self.line.rank, self.line.size, micro):
            x = arrivals.of(action)
            summing, stretch = self.team.seconds, self.begin(action)
            if isinstance(action, Forward):
                batch.forward(action.micro, x)
            else:
                batch.backward(action.micro, x, gradients[action.micro % len(gradients)])
            batch.work.computing += stretch.reach(1.0) - (self.team.seconds - summing)
            batch.send(action)
        batch.outbox.finish()
        batch.work.waiting, batch.work.sent = patience.waited, batch.outbox.nbytes
        return batch.work


class _Arrivals:
    """What a stage receives of a batch: activations from the stage before, gradients from the one after."""

    def __init__(self, stage: Stage, micro: int, dtype: Any, patience: Patience) -> None:
        line = stage.line
        self._before = None if stage.first else Inbox(line, line.rank - 1, stage.into, dtype, micro, patience)
        self._after = None if stage.last else Inbox(line, line.rank + 1, stage.out, dtype, micro, patience)

    def of(self, action: Action) -> Array | None:
        """What a pass needs from a neighbour; None where it needs nothing."""
        inbox = self._before if isinstance(action, Forward) else self._after
        return None if inbox is None else inbox.take(str(action))


@dataclass(slots=True, eq=False)
class _Batch:
    """One batch on its way through a stage."""

    stage: Stage
    weights: Flat
    inputs: Samples
    targets: Samples
    outbox: Outbox
    work: Work = field(default_factory=Work)
    kept: dict[int, list[Any]] = field(default_factory=dict[int, "list[Any]"])
    slopes: dict[int, Array] = field(default_factory=dict[int, Array])
    """At the last stage, the gradient of the outputs."""
    result: Array = None
    """What the last pass made: activations, or the gradient of those that came in."""

    def forward(self, micro: int, x: Array | None) -> None:
        x = self.inputs(micro) if x is None else x
        kept = self.kept[micro] = []
        for layer in self.stage.layers:
            x, keep = layer.forward(tensors(layer, self.weights), x)
            kept.append(keep)
        if self.stage.last:
            targets = self.targets(micro)
            loss, right, self.slopes[micro] = self.stage.loss(x, targets)
            self.work.scores.append(Scores(loss, right, targets.size))
        self.result = x

    def backward(self, micro: int, dy: Array | None, gradients: Flat) -> None:
        dy = self.slopes.pop(micro) if dy is None else dy
        kept = self.kept.pop(micro)
        for layer in reversed(self.stage.layers):
            dy = layer.backward(tensors(layer, self.weights), kept.pop(), dy, tensors(layer, gradients))
        self.result = dy

    def send(self, action: Action) -> None:
        rank, last = self.stage.line.rank, self.stage.line.size - 1
        dest = rank + 1 if isinstance(action, Forward) else rank - 1
        if 0 <= dest <= last:
            nothing = self.result is None  # no layer of the stages before learns, and they wait for word all the same
            self.outbox.send(np.zeros(self.stage.into, self.weights.vector.dtype) if nothing else self.result, dest)
