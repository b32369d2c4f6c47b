"""Layers for pictures of shape (samples, height, width, channels)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np

from experiments.training.arrays import namespace
from experiments.training.flat import Array, Shape
from experiments.training.layer import Tensors
from experiments.training.layers import initialisation
from experiments.training.layers.unweighted import Unweighted

__all__ = ["Convolution", "MaxPool"]


@dataclass(frozen=True, slots=True)
class Convolution:
    """Each output is the ``size`` by ``size`` window around it times the weight, every ``stride`` dots, plus a bias.

    The weight has shape (size, size, inputs, outputs); ``padding`` rows and columns of zeros surround the picture.
    Begins by He's rule, for a ReLU follows. The ``first`` layer answers with None, as ``Linear``.
    """

    name: str
    inputs: int
    outputs: int
    size: int = 3
    stride: int = 1
    padding: int = 1
    first: bool = False

    def shapes(self) -> Mapping[str, Shape]:
        """``weight`` and ``bias``."""
        return {"weight": (self.size, self.size, self.inputs, self.outputs), "bias": (self.outputs,)}

    def initial(self, chance: np.random.Generator) -> Mapping[str, Array]:
        """See the class."""
        weight = initialisation.he(chance, self._window, self.outputs).reshape(self.shapes()["weight"])
        return {"weight": weight, "bias": np.zeros(self.outputs, np.float32)}

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, tuple[Array, Shape]]:
        """One matrix product, of all windows one below the other (size² times the picture, and kept)."""
        shape, _ = self.operations(x.shape)
        windows = self._windows(self._padded(x), shape)
        y = windows @ weights["weight"].reshape(self._window, self.outputs)
        y += weights["bias"]
        return y.reshape(shape), (windows, x.shape)

    def backward(self, weights: Tensors, kept: tuple[Array, Shape], dy: Array, gradients: Tensors) -> Array:
        """One matrix product for the weight, and one for each place in the window for the input."""
        windows, shape = kept
        slopes = dy.reshape(-1, self.outputs)
        weight, bias = gradients["weight"], gradients["bias"]
        weight += (windows.T @ slopes).reshape(weight.shape)
        bias += slopes.sum(0)
        return None if self.first else self._input_gradient(weights["weight"], shape, dy)

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """A multiplication for each output and weight of its window."""
        samples, height, width, _ = x
        high, wide = (1 + (side + 2 * self.padding - self.size) // self.stride for side in (height, width))
        shape = (samples, high, wide, self.outputs)
        return shape, math.prod(shape) * self._window

    @property
    def _window(self) -> int:
        return self.size * self.size * self.inputs

    def _input_gradient(self, weight: Array, shape: Shape, dy: Array) -> Array:
        samples, height, width, _ = shape
        padding, slopes = self.padding, dy.reshape(-1, self.outputs)
        dx = namespace(dy).zeros((samples, height + 2 * padding, width + 2 * padding, self.inputs), dy.dtype)
        for (row, column), part in _places(dx, self.size, self.stride, dy.shape):
            part[...] += (slopes @ weight[row, column].T).reshape(part.shape)
        return dx[:, padding : padding + height, padding : padding + width]

    def _padded(self, x: Array) -> Array:
        around = (self.padding, self.padding)
        return namespace(x).pad(x, ((0, 0), around, around, (0, 0)))

    def _windows(self, x: Array, shape: Shape) -> Array:
        """Every window as a row: a view with steps into the picture twice, and then one copy."""
        sample, row, column, channel = x.strides
        strides = (sample, row * self.stride, column * self.stride, row, column, channel)
        view = namespace(x).lib.stride_tricks.as_strided(x, (*shape[:3], self.size, self.size, self.inputs), strides)
        return view.reshape(-1, self._window)


@dataclass(frozen=True, slots=True)
class MaxPool(Unweighted):
    """The greatest of each ``size`` by ``size`` dots; rows and columns that fill no window are left out.

    Of equal dots the first, row by row, has the whole gradient.
    """

    name: str
    size: int = 2

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, tuple[Array, Array]]:
        """Keeps the input and the output."""
        shape, _ = self.operations(x.shape)
        parts = [part for _, part in _places(x, self.size, self.size, shape)]
        y = parts[0].copy()
        for part in parts[1:]:
            namespace(x).maximum(y, part, out=y)
        return y, (x, y)

    def backward(self, weights: Tensors, kept: tuple[Array, Array], dy: Array, gradients: Tensors) -> Array:
        """To where the greatest was."""
        x, y = kept
        dx, left = namespace(x).zeros_like(x, dtype=dy.dtype), dy.copy()
        places = zip(_places(x, self.size, self.size, y.shape), _places(dx, self.size, self.size, y.shape), strict=True)
        for (_, part), (_, slopes) in places:
            slopes[...] = left * (part == y)
            left -= slopes  # what the first of equal dots has taken, the others do not
        return dx

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """No multiplications."""
        samples, height, width, channels = x
        return (samples, height // self.size, width // self.size, channels), 0


def _places(x: Array, size: int, stride: int, shape: Shape) -> Iterator[tuple[tuple[int, int], Array]]:
    """For each place in a window the view of the dots that are there, over all windows of an output of ``shape``."""
    _, high, wide, _ = shape
    for row, column in product(range(size), repeat=2):
        yield (row, column), x[:, row : row + stride * high : stride, column : column + stride * wide : stride]
