"""Activations brought to a common scale."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiments.training.arrays import namespace
from experiments.training.flat import Array, Shape
from experiments.training.layer import Tensors

__all__ = ["LEAST_VARIANCE", "LayerNorm"]


@dataclass(frozen=True, slots=True)
class LayerNorm:
    """(x − mean)/√(variance + 10⁻⁵) · scale + shift, over the last axis: Ba, Kiros and Hinton 2016, section 3.1.

    Scales begin at 1, shifts at 0.
    """

    name: str
    width: int

    def shapes(self) -> Mapping[str, Shape]:
        """``scale`` and ``shift``."""
        return {"scale": (self.width,), "shift": (self.width,)}

    def initial(self, chance: np.random.Generator) -> Mapping[str, Array]:
        """See the class."""
        return {"scale": np.ones(self.width, np.float32), "shift": np.zeros(self.width, np.float32)}

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, tuple[Array, Array]]:
        """Keeps what is normalised, and 1/√(variance + 10⁻⁵)."""
        even = x - x.mean(-1, keepdims=True)
        factor = 1 / namespace(x).sqrt((even * even).mean(-1, keepdims=True) + LEAST_VARIANCE)
        even *= factor
        return even * weights["scale"] + weights["shift"], (even, factor)

    def backward(self, weights: Tensors, kept: tuple[Array, Array], dy: Array, gradients: Tensors) -> Array:
        """What would move the mean or the variance is taken out of the gradient."""
        even, factor = kept
        scale, shift = gradients["scale"], gradients["shift"]
        scale += (dy * even).reshape(-1, self.width).sum(0)
        shift += dy.reshape(-1, self.width).sum(0)
        slopes = dy * weights["scale"]
        of_mean = slopes.mean(-1, keepdims=True)
        of_variance = (slopes * even).mean(-1, keepdims=True)
        return (slopes - of_mean - even * of_variance) * factor

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """Three multiplications an element."""
        return x, 3 * math.prod(x)


LEAST_VARIANCE = 1e-5
