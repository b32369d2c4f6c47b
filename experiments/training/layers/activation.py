"""What bends a straight line, element by element."""

from __future__ import annotations

import math
from dataclasses import dataclass

from experiments.training.arrays import namespace
from experiments.training.flat import Array, Shape
from experiments.training.layer import Tensors
from experiments.training.layers.unweighted import Unweighted

__all__ = ["Gelu", "Relu"]


@dataclass(frozen=True, slots=True)
class Relu(Unweighted):
    """The greater of x and 0; its slope at 0 is 0."""

    name: str

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, Array]:
        """Keeps its output, which is positive where x is and which the next layer often keeps too."""
        y = namespace(x).maximum(x, 0)
        return y, y

    def backward(self, weights: Tensors, kept: Array, dy: Array, gradients: Tensors) -> Array:
        """The slope is 1 or 0."""
        return dy * (kept > 0)

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """No multiplications."""
        return x, 0


@dataclass(frozen=True, slots=True)
class Gelu(Unweighted):
    """x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))): Hendrycks and Gimpel 2016, section 2, the form with tanh.

    Worked out in place, for every array that is made anew takes as long as three operations in cache.
    """

    name: str

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, tuple[Array, Array]]:
        """Keeps x and the tanh."""
        bent = x * x
        bent *= _STEEPNESS * _CUBIC
        bent += _STEEPNESS
        bent *= x
        namespace(x).tanh(bent, out=bent)
        y = bent + 1
        y *= x
        y *= 0.5
        return y, (x, bent)

    def backward(self, weights: Tensors, kept: tuple[Array, Array], dy: Array, gradients: Tensors) -> Array:
        """The slope is (1 + t)/2 · (1 + (1 − t) · x · √(2/π) · (1 + 3 · 0.044715 x²)), t the tanh."""
        x, bent = kept
        slope = x * x
        slope *= 3 * _STEEPNESS * _CUBIC
        slope += _STEEPNESS
        slope *= x
        slope *= 1 - bent
        slope += 1
        slope *= 1 + bent
        slope *= dy
        slope *= 0.5
        return slope

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """About eight multiplications an element, the tanh not counted."""
        return x, 8 * math.prod(x)


_STEEPNESS, _CUBIC = math.sqrt(2 / math.pi), 0.044715
