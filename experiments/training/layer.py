"""What a layer is: parameters by name, a forward pass, and a backward pass written by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from experiments.training.flat import Array, Shape

__all__ = ["Layer", "Loss", "Tensors", "tensors"]

Tensors = Mapping[str, Array]
"""The tensors of one layer, by the names of its ``shapes``."""


class Layer(Protocol):
    """A frozen value without arrays of its own; the first axis of what goes through it counts samples.

    It works on NumPy and CuPy arrays alike, in the dtype of its input.
    """

    @property
    def name(self) -> str:
        """Unique in its model; tensors are called ``name.weight``."""
        ...

    def shapes(self) -> Mapping[str, Shape]:
        """Its parameters."""
        ...

    def initial(self, chance: np.random.Generator) -> Mapping[str, Array]:
        """Where training begins, float32, of these shapes."""
        ...

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, Any]:
        """The output, and what ``backward`` wants to see again."""
        ...

    def backward(self, weights: Tensors, kept: Any, dy: Array, gradients: Tensors) -> Array:
        """Add the parameters' gradients to ``gradients``; returns the gradient of the input, or None.

        None where it is of no use: the input is codes, or no layer before this one learns.
        """
        ...

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """For an input of this shape (samples first): the output's shape, and multiplications of a forward pass."""
        ...


class Loss(Protocol):
    """What is made small, summed over samples (not their mean, so that shares of a batch add up)."""

    def __call__(self, outputs: Array, targets: Array) -> tuple[float, int, Array]:
        """The loss, how many predictions are right, and the gradient of the outputs."""
        ...


def tensors(layer: Layer, every: Tensors) -> Tensors:
    """One layer's tensors out of those of many, called ``layer.parameter``."""
    return {key: every[f"{layer.name}.{key}"] for key in layer.shapes()}
