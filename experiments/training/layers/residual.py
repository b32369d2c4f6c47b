"""Layers with a way round them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.training.flat import Array, Shape
from experiments.training.layer import Layer, Tensors, tensors

__all__ = ["Residual"]


@dataclass(frozen=True, slots=True)
class Residual:
    """x + body(x): He et al. 2016, section 3.1. The body's tensors are called ``layer.parameter`` in it."""

    name: str
    body: tuple[Layer, ...]

    def shapes(self) -> Mapping[str, Shape]:
        """Those of the body."""
        return {f"{layer.name}.{key}": shape for layer in self.body for key, shape in layer.shapes().items()}

    def initial(self, chance: np.random.Generator) -> Mapping[str, Array]:
        """As the body begins, one layer after another."""
        return {f"{layer.name}.{key}": start for layer in self.body for key, start in layer.initial(chance).items()}

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, list[Any]]:
        """Keeps what the body keeps."""
        y, kept = x, list[Any]()
        for layer in self.body:
            y, keep = layer.forward(tensors(layer, weights), y)
            kept.append(keep)
        return x + y, kept

    def backward(self, weights: Tensors, kept: list[Any], dy: Array, gradients: Tensors) -> Array:
        """Through the body and past it."""
        dx = dy
        for layer, keep in zip(reversed(self.body), reversed(kept), strict=True):
            dx = layer.backward(tensors(layer, weights), keep, dx, tensors(layer, gradients))
        return dy + dx

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """Those of the body."""
        shape, total = x, 0
        for layer in self.body:
            shape, operations = layer.operations(shape)
            total += operations
        return shape, total
