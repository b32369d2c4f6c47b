"""Accuracy against the size of the global batch, with and without the remedies for large ones.

As many epochs for each size, so a larger batch means fewer steps. One process computes it: gradients that p workers sum
over their shares of a batch are those of the batch, so with p workers the curve is the same (see ``exact_sum``).
Source: Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour" (2017), figure 1 and
sections 2.1 and 2.2; You, Gitman and Ginsburg, "Large batch training of convolutional networks" (2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np

from experiments.training.batches import Batches
from experiments.training.dataset import Dataset
from experiments.training.learning_rates import Schedule
from experiments.training.model import Model, Scores
from experiments.training.stepper import Stepper
from kernels.optimise import LARS, Momentum, Optimiser

__all__ = ["Outcome", "Plan", "Recipe", "recipes", "summary", "train"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """A way to train: ``optimiser``, whose learning rate is meant for the batch that ``schedule`` refers to."""

    name: str
    optimiser: Optimiser
    schedule: Schedule


def recipes(*, reference: int, warm_up: float, learning_rate: float, lars_rate: float) -> list[Recipe]:
    """Momentum as it is, with the rate scaled, warmed up too, and LARS with both; 0.9 of momentum for all.

    ``reference``: the batch that ``learning_rate`` and ``lars_rate`` are for; ``warm_up`` in epochs.
    """
    momentum, scaled = Momentum(learning_rate), Schedule(reference=reference)
    warm = replace(scaled, warm_up=warm_up)
    return [
        Recipe("one rate", momentum, Schedule()),
        Recipe("scaled", momentum, scaled),
        Recipe("warm-up", momentum, warm),
        Recipe("LARS", LARS(lars_rate), warm),
    ]


@dataclass(frozen=True, slots=True)
class Plan:
    """Each recipe with each batch and seed, for so many epochs."""

    batches: tuple[int, ...]
    epochs: int
    seeds: tuple[int, ...]

    def runs(self, chosen: Iterable[Recipe]) -> Iterator[tuple[Recipe, int, int]]:
        """Recipe, batch and seed of each run, in the order of the table."""
        for recipe in chosen:
            for batch in self.batches:
                for seed in self.seeds:
                    yield recipe, batch, seed


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run. ``learning_rate``: the highest; ``loss``: the mean over the last epoch, None where it is no number.

    ``accuracy``: share of the test samples that are told right at the end.
    """

    recipe: str
    batch: int
    seed: int
    epochs: int
    steps: int
    learning_rate: float
    loss: float | None
    accuracy: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """A flat record."""
        return asdict(self)


def train(model: Model, data: Dataset, recipe: Recipe, *, batch: int, epochs: int, seed: int) -> Outcome:
    """Train from the start and judge by the test samples. ValueError for a batch larger than the data set."""
    began = perf_counter()
    batches = Batches(len(data.inputs), batch, 1, seed)
    steps = epochs * batches.an_epoch
    rates = recipe.schedule.over(recipe.optimiser.learning_rate, batch=batch, an_epoch=batches.an_epoch, steps=steps)
    weights = model.initial(seed)
    gradients, stepper = weights.like(), Stepper(recipe.optimiser, weights)
    losses: list[float] = []
    with np.errstate(over="ignore", invalid="ignore"):  # a rate too high is a result, not a fault
        for number in range(1, steps + 1):
            chosen = batches.of(number)[0]
            gradients.vector[...] = 0
            scores = model.gradient(weights, data.inputs[chosen], data.targets[chosen], gradients)
            stepper.step(gradients, number, learning_rate=rates.at(number), scale=1 / scores.samples)
            losses.append(scores.loss / scores.samples)
        judged = model.score(weights, data.test_inputs, data.test_targets)
    return _outcome(recipe.name, batch, seed, epochs, rates.peak, losses, batches.an_epoch, judged, began)


def _outcome(
    recipe: str, batch: int, seed: int, epochs: int, peak: float,
    losses: Sequence[float], an_epoch: int, judged: Scores, began: float,
) -> Outcome:  # fmt: skip
    last = sum(losses[-an_epoch:]) / an_epoch
    loss = last if math.isfinite(last) else None
    return Outcome(recipe, batch, seed, epochs, len(losses), peak, loss, judged.accuracy, perf_counter() - began)


def summary(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """For each recipe and batch, in their order: the median accuracy over the seeds, the lowest and the highest."""
    cells: dict[tuple[str, int], list[Outcome]] = {}
    for outcome in outcomes:
        cells.setdefault((outcome.recipe, outcome.batch), []).append(outcome)
    return [
        {
            "recipe": recipe,
            "batch": batch,
            "runs": len(found),
            "learning_rate": found[0].learning_rate,
            "steps": found[0].steps,
            "accuracy": float(np.median([each.accuracy for each in found])),
            "accuracy_low": min(each.accuracy for each in found),
            "accuracy_high": max(each.accuracy for each in found),
        }
        for (recipe, batch), found in cells.items()
    ]
