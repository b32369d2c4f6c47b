"""Layers that only lay out anew what they are given."""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.training.flat import Array, Shape
from experiments.training.layer import Tensors
from experiments.training.layers.unweighted import Unweighted

__all__ = ["Flatten"]


@dataclass(frozen=True, slots=True)
class Flatten(Unweighted):
    """(samples, ...) to (samples, elements)."""

    name: str

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, Shape]:
        """Keeps the shape."""
        return x.reshape(len(x), -1), x.shape

    def backward(self, weights: Tensors, kept: Shape, dy: Array, gradients: Tensors) -> Array:
        """Back to the shape; None where the layer after it answers with None."""
        return None if dy is None else dy.reshape(kept)

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """None."""
        return (x[0], math.prod(x[1:])), 0
