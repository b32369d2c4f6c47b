"""One rank's part of a batch: the gradient of its grains, at the pace that is stated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import accumulate

import numpy as np

from experiments.training import shares
from experiments.training.flat import Flat
from experiments.training.layer import Layer
from experiments.training.model import Model, Scores
from experiments.training.shares import Shares
from experiments.training.strategy import Task

__all__ = ["FORWARD", "Gradients", "added", "on_grid", "progress", "work"]

Ready = Callable[[Layer], None]

FORWARD = 1 / 3
"""Share of the forward pass in computing: backward multiplies by the weights once and by the inputs once."""

_GRID = 2.0**24


class Gradients:
    """Computes gradients for ``task`` and, with others of ``ranks`` that do so too, shares out the grains."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.progress = progress(task.model, task.data.inputs.shape[1:])

    def shares(self, ranks: int, rank: int) -> Shares:
        """Who computes what, among so many ranks that are the ranks of ``task.comm`` if shares are to be balanced."""
        grains, every = self.task.batches.grains, self.task.balance
        if every and ranks == self.task.comm.size:
            return shares.Balanced(grains, ranks, rank, shares.agreement(self.task.comm), every)
        return shares.Equal(grains, ranks, rank)

    def add(
        self, step: int, grains: tuple[int, int], weights: Flat, into: Flat,
        ready: Ready | None = None, pieces: int = 1,
    ) -> tuple[Scores, float]:  # fmt: skip
        """Add the gradient of these grains of a step to ``into``; returns scores, and the seconds that it took.

        The samples go through the model in so many ``pieces``, one after another, and with the last of them ``ready``
        hears of each layer. Without grains nothing is added, and ``ready`` hears of all layers at once.
        """
        lo, hi = grains
        stretch = self.task.pace.begin(hi - lo)
        samples = self.task.batches.of(step)[lo:hi].ravel()
        parts = np.array_split(samples, min(pieces, max(1, samples.size)))
        found: list[Scores] = []
        for number, part in enumerate(parts):

            def done(layer: Layer, number: int = number) -> None:
                stretch.reach((number + self.progress[layer.name]) / len(parts))
                if ready is not None and number == len(parts) - 1:
                    ready(layer)

            found.append(self._piece(part, weights, into, done))
        scores = added(found)
        return on_grid(scores) if self.task.deterministic else scores, stretch.reach(1.0)

    def _piece(self, samples: np.ndarray, weights: Flat, into: Flat, done: Ready) -> Scores:
        if samples.size:
            data = self.task.data
            return self.task.model.gradient(weights, data.inputs[samples], data.targets[samples], into, done)
        for layer in reversed(self.task.model.layers):
            done(layer)
        return Scores(0.0, 0, 0)


def added(several: Iterable[Scores]) -> Scores:
    """Losses, right predictions and samples, each summed."""
    columns = zip(*several, strict=True)
    loss, right, samples = (sum(column) for column in columns)
    return Scores(loss, right, samples)


def on_grid(scores: Scores) -> Scores:
    """With a loss that is a multiple of 2^-24: such losses float64 adds exactly, in any order, up to 2^29."""
    return scores._replace(loss=round(scores.loss * _GRID) / _GRID) if math.isfinite(scores.loss) else scores


def work(model: Model, sample: tuple[int, ...]) -> dict[str, float]:
    """By layer, its share of the multiplications that a sample of this shape takes, in the order of the model."""
    operations: dict[str, int] = {}
    shape = (1, *sample)
    for layer in model.layers:
        shape, operations[layer.name] = layer.operations(shape)
    whole = max(1, sum(operations.values()))
    return {name: count / whole for name, count in operations.items()}


def progress(model: Model, sample: tuple[int, ...]) -> dict[str, float]:
    """By layer, which share of computing is over when its gradient is there."""
    backwards = list(reversed(work(model, sample).items()))
    done = accumulate(share for _, share in backwards)
    return {name: FORWARD + (1 - FORWARD) * over for (name, _), over in zip(backwards, done, strict=True)}
