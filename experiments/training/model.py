"""A model: layers one after another, and a loss. Parameters and gradients lie in flat vectors, first layer first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from experiments.training.flat import Array, Flat, Shape
from experiments.training.layer import Layer, Loss, tensors

__all__ = ["Model", "Scores", "tensors"]


class Scores(NamedTuple):
    """Summed over ``samples`` predictions (of pictures, or of characters)."""

    loss: float
    right: int
    samples: int

    @property
    def accuracy(self) -> float:
        """Share of the predictions that are right."""
        return self.right / self.samples


@dataclass(frozen=True, slots=True)
class Model:
    """``layers`` from the input to the outputs of which ``loss`` judges."""

    name: str
    layers: tuple[Layer, ...]
    loss: Loss

    def shapes(self) -> dict[str, Shape]:
        """All parameters as ``layer.parameter``, in the order of the layers."""
        return {f"{layer.name}.{key}": shape for layer in self.layers for key, shape in layer.shapes().items()}

    def initial(self, seed: int) -> Flat:
        """Where training begins: float32, the same for the same seed, whatever other layers there are."""
        weights = Flat.zeros(self.shapes())
        for number, layer in enumerate(self.layers):
            for key, values in layer.initial(np.random.default_rng([seed, number])).items():
                weights[f"{layer.name}.{key}"][...] = values
        return weights

    def outputs(self, weights: Flat, x: Array) -> Array:
        """The forward pass alone."""
        for layer in self.layers:
            x, _ = layer.forward(tensors(layer, weights), x)
        return x

    def score(self, weights: Flat, x: Array, targets: Array) -> Scores:
        """How good the model is on these samples."""
        loss, right, _ = self.loss(self.outputs(weights, x), targets)
        return Scores(loss, right, targets.size)

    def gradient(
        self, weights: Flat, x: Array, targets: Array, gradients: Flat, ready: Callable[[Layer], None] | None = None
    ) -> Scores:
        """Add to ``gradients`` those of the loss summed over the samples; ``ready`` hears of each layer that is done.

        Layers are done from the last to the first, so what is ready is always an end of ``gradients.vector``.
        """
        kept: list[Any] = []
        for layer in self.layers:
            x, keep = layer.forward(tensors(layer, weights), x)
            kept.append(keep)
        loss, right, dy = self.loss(x, targets)
        for layer in reversed(self.layers):
            dy = layer.backward(tensors(layer, weights), kept.pop(), dy, tensors(layer, gradients))
            if ready is not None:
                ready(layer)
        return Scores(loss, right, targets.size)
