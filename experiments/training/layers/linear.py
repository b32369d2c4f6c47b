"""The layer that most of the arithmetic of most models is in."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiments.training.flat import Array, Shape
from experiments.training.layer import Tensors
from experiments.training.layers import initialisation

__all__ = ["Linear"]


@dataclass(frozen=True, slots=True)
class Linear:
    """y = x · weight + bias along the last axis, the weight of shape (inputs, outputs).

    Begins by He's rule where a ReLU follows (``relu``), else by Glorot's; biases begin at 0. Of the ``first`` layer
    that learns nobody wants the gradient of the input, a third of its arithmetic: it answers with None.
    """

    name: str
    inputs: int
    outputs: int
    relu: bool = False
    first: bool = False

    def shapes(self) -> Mapping[str, Shape]:
        """``weight`` and ``bias``."""
        return {"weight": (self.inputs, self.outputs), "bias": (self.outputs,)}

    def initial(self, chance: np.random.Generator) -> Mapping[str, Array]:
        """See the class."""
        start = initialisation.he if self.relu else initialisation.glorot
        return {"weight": start(chance, self.inputs, self.outputs), "bias": np.zeros(self.outputs, np.float32)}

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, Array]:
        """One matrix product; keeps x."""
        y = x.reshape(-1, self.inputs) @ weights["weight"]
        y += weights["bias"]
        return y.reshape(*x.shape[:-1], self.outputs), x

    def backward(self, weights: Tensors, kept: Array, dy: Array, gradients: Tensors) -> Array:
        """Two matrix products, or one."""
        rows, slopes = kept.reshape(-1, self.inputs), dy.reshape(-1, self.outputs)
        weight, bias = gradients["weight"], gradients["bias"]
        weight += rows.T @ slopes
        bias += slopes.sum(0)
        return None if self.first else (slopes @ weights["weight"].T).reshape(kept.shape)

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """A multiplication for each row and weight."""
        return (*x[:-1], self.outputs), math.prod(x) * self.outputs
