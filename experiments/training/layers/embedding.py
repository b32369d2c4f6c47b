"""Codes of characters made into vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from experiments.training.arrays import namespace
from experiments.training.flat import Array, Shape
from experiments.training.layer import Tensors

__all__ = ["Embedding"]


@dataclass(frozen=True, slots=True)
class Embedding:
    """The vector of the code plus that of its position: integers (samples, length up to ``context``) to (…, width).

    Both begin normal with standard deviation 0.02: Radford et al. 2018, section 4.1.
    """

    name: str
    codes: int
    context: int
    width: int

    def shapes(self) -> Mapping[str, Shape]:
        """``codes`` and ``positions``, a row each."""
        return {"codes": (self.codes, self.width), "positions": (self.context, self.width)}

    def initial(self, chance: np.random.Generator) -> Mapping[str, Array]:
        """See the class."""
        deviation = np.float32(0.02)
        return {key: chance.standard_normal(shape, np.float32) * deviation for key, shape in self.shapes().items()}

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, Array]:
        """Rows of the tables; keeps the codes."""
        return weights["codes"][x] + weights["positions"][: x.shape[1]], x

    def backward(self, weights: Tensors, kept: Array, dy: Array, gradients: Tensors) -> None:
        """Rows of one code are added up by a matrix product, so in the same order every time; codes have no slope."""
        codes, positions = gradients["codes"], gradients["positions"][: dy.shape[1]]
        chosen = kept.reshape(-1) == namespace(kept).arange(self.codes, dtype=kept.dtype)[:, None]
        codes += chosen.astype(dy.dtype) @ dy.reshape(-1, self.width)
        positions += dy.sum(0)

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """No multiplications forward; backward there are codes · width for each character."""
        return (*x, self.width), 0
