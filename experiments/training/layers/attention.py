"""Where a text looks back on itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from experiments.training.arrays import namespace
from experiments.training.flat import Array, Shape
from experiments.training.layer import Tensors
from experiments.training.layers import initialisation

__all__ = ["CausalAttention"]


class _Kept(NamedTuple):
    x: Array
    projected: Array
    """Queries, keys and values: (3, samples, heads, length, size)."""
    shares: Array
    """How much each position looks at each: (samples, heads, length, length)."""
    mixed: Array
    """What the heads make of it: (samples · length, heads · size)."""


@dataclass(frozen=True, slots=True)
class CausalAttention:
    """Self-attention in ``heads`` of ``size``, each position to itself and those before: Vaswani et al. 2017, 3.2.

    (samples, length, width) to the same. heads · size need not be the width: some of the heads are a layer too.
    Matrices begin by Glorot's rule, biases at 0.
    """

    name: str
    width: int
    heads: int
    size: int

    def shapes(self) -> Mapping[str, Shape]:
        """``input`` makes queries, keys and values of x, ``output`` makes one vector of what the heads found."""
        return {
            "input": (self.width, 3, self.heads, self.size),
            "input_bias": (3, self.heads, self.size),
            "output": (self._inner, self.width),
            "output_bias": (self.width,),
        }

    def initial(self, chance: np.random.Generator) -> Mapping[str, Array]:
        """See the class; queries, keys and values are a matrix each for the rule."""
        thirds = [initialisation.glorot(chance, self.width, self._inner) for _ in range(3)]
        return {
            "input": np.stack(thirds, 1).reshape(self.shapes()["input"]),
            "input_bias": np.zeros(self.shapes()["input_bias"], np.float32),
            "output": initialisation.glorot(chance, self._inner, self.width),
            "output_bias": np.zeros(self.width, np.float32),
        }

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, _Kept]:
        """Two matrix products, and two for each sample and head; keeps its input, the four factors and their shares."""
        samples, length, _ = x.shape
        rows = x.reshape(-1, self.width) @ weights["input"].reshape(self.width, -1)
        rows += weights["input_bias"].reshape(-1)
        projected = rows.reshape(samples, length, 3, self.heads, self.size).transpose(2, 0, 3, 1, 4)
        queries, keys, values = projected
        shares = _softmax(queries @ keys.swapaxes(2, 3) * self._scale + _hidden(x))
        mixed = (shares @ values).swapaxes(1, 2).reshape(-1, self._inner)
        y = mixed @ weights["output"]
        y += weights["output_bias"]
        return y.reshape(x.shape), _Kept(x, projected, shares, mixed)

    def backward(self, weights: Tensors, kept: _Kept, dy: Array, gradients: Tensors) -> Array:
        """Four matrix products, and four for each sample and head."""
        samples, length, _ = kept.x.shape
        slopes = dy.reshape(-1, self.width)
        output, output_bias = gradients["output"], gradients["output_bias"]
        output += kept.mixed.T @ slopes
        output_bias += slopes.sum(0)
        mixed = (slopes @ weights["output"].T).reshape(samples, length, self.heads, self.size).swapaxes(1, 2)
        rows = self._projected_gradient(kept, mixed).transpose(1, 3, 0, 2, 4).reshape(samples * length, -1)
        into, into_bias = gradients["input"], gradients["input_bias"]
        into += (kept.x.reshape(-1, self.width).T @ rows).reshape(into.shape)
        into_bias += rows.sum(0).reshape(into_bias.shape)
        return (rows @ weights["input"].reshape(self.width, -1).T).reshape(kept.x.shape)

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """Those of all matrix products; what the mask hides is worked out too."""
        samples, length, _ = x
        matrices = 4 * math.prod(x) * self._inner
        return x, matrices + 2 * samples * length * length * self._inner

    @property
    def _inner(self) -> int:
        return self.heads * self.size

    @property
    def _scale(self) -> float:
        return 1 / math.sqrt(self.size)

    def _projected_gradient(self, kept: _Kept, mixed: Array) -> Array:
        """The gradient of queries, keys and values, from that of what the heads found."""
        queries, keys, values = kept.projected
        gradient = namespace(mixed).empty(kept.projected.shape, mixed.dtype)
        gradient[2] = kept.shares.swapaxes(2, 3) @ mixed
        scores = mixed @ values.swapaxes(2, 3)
        scores -= (scores * kept.shares).sum(-1, keepdims=True)
        scores *= kept.shares
        scores *= self._scale
        gradient[0] = scores @ keys
        gradient[1] = scores.swapaxes(2, 3) @ queries
        return gradient


def _hidden(x: Array) -> Array:
    """−∞ where a position would look ahead, else 0: (length, length)."""
    at = namespace(x).arange(x.shape[1])
    return namespace(x).where(at[:, None] < at, x.dtype.type(-np.inf), x.dtype.type(0))


def _softmax(scores: Array) -> Array:
    """Along the last axis, in place."""
    scores -= scores.max(-1, keepdims=True)
    namespace(scores).exp(scores, out=scores)
    scores /= scores.sum(-1, keepdims=True)
    return scores
