"""Named tensors in one flat vector, in the order of the model: what is sent, combined and stepped as a whole."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

__all__ = ["Array", "Flat", "Shape"]

Array = Any
"""A NumPy array, or a CuPy array."""

Shape = tuple[int, ...]


class Flat(Mapping[str, Array]):
    """``flat[name]`` is a view, of its tensor's shape, of the 1-D ``flat.vector``; write to either.

    ``ranges``: by name, where the tensor begins and ends in the vector (elements).
    """

    def __init__(self, shapes: Mapping[str, Shape], vector: Array) -> None:
        ends = accumulate(map(math.prod, shapes.values()), initial=0)
        self.shapes, self.vector = dict(shapes), vector
        self.ranges = dict(zip(shapes, pairwise(ends), strict=True))
        count = sum(map(math.prod, shapes.values()))
        if vector.shape != (count,):
            raise ValueError(f"the tensors have {count} elements together, and the vector is of shape {vector.shape}")

    @classmethod
    def zeros(cls, shapes: Mapping[str, Shape], dtype: DTypeLike = np.float32) -> Flat:
        """All zeros, in the host's memory."""
        return cls(shapes, np.zeros(sum(map(math.prod, shapes.values())), dtype))

    def like(self) -> Flat:
        """Zeros of the same shapes, in the same place."""
        vector = self.vector.copy()
        vector[...] = 0
        return Flat(self.shapes, vector)

    def __getitem__(self, name: str) -> Array:
        lo, hi = self.ranges[name]
        return self.vector[lo:hi].reshape(self.shapes[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)
