"""A matrix as the product of two thin ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from kernels.compress import sizes
from kernels.compress.base import Formed
from kernels.compress.encoding import Buffer
from kernels.compress.place import fitting, form, on_host

__all__ = ["DEPENDENT", "LANES", "SEGMENT", "THREADS", "Powersgd", "Shape"]

LANES, THREADS = 32, 256
"""How many sums of a dot product run side by side before they are folded in halves: along a row, and along P."""

SEGMENT = 64
"""Rows of the matrix whose part of Q is added up on its own: parts are then added in order, on every processor."""

DEPENDENT = 2.0**-40
"""A column that keeps no more than this share of its square length beside the columns before it becomes 0."""


@dataclass(frozen=True, slots=True)
class Shape:
    """``count`` elements as a matrix by rows, as square as can be; what the last row lacks is 0. And its rank."""

    count: int
    rows: int
    columns: int
    rank: int


@dataclass(frozen=True, slots=True)
class Powersgd(Formed):
    """The ``count`` elements as a matrix M of rows × columns, and M ≈ P·Qᵀ of ``rank``. Wire: Pᵀ, then Qᵀ, float32.

    P = M·Q₀ for a random Q₀ (``start``), with columns made orthonormal, and Q = Mᵀ·P: one step of subspace iteration.
    The product is Pᵀ's projection of M, so ||M - P·Qᵀ|| ≤ ||M||. An infinity or a NaN anywhere makes everything NaN.

    Messages cannot be added: the sum of two has twice the rank. What is sound, and better, is to add the factors on
    their way, for each is linear in M: ``project`` (sum P over ranks), ``orthonormalise``, ``project_back`` (sum Q over
    ranks), ``expand``; Q is the start of the next step. M is read twice and written once.
    Source: Vogels, Karimireddy and Jaggi 2019 (PowerSGD, NeurIPS), algorithms 1 and 2; Gram and Schmidt's
    orthogonalisation in its modified order, twice over (Giraud, Langou and Rozložník 2005).
    """

    module: ClassVar[str] = "powersgd"
    rank: int = sizes.RANK
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 64:
            raise ValueError(f"powersgd: rank={self.rank} must be from 1 to 64")
        if not 0 <= self.seed < 2**64:
            raise ValueError(f"powersgd: seed={self.seed} must be from 0 to 2**64 - 1")

    def nbytes(self, count: int) -> int:
        """Four for each element of both factors."""
        return sizes.powersgd(count, self.rank)

    def shape(self, count: int) -> Shape:
        """Of the matrix."""
        return Shape(count, *sizes.factors(count, self.rank))

    def start(self, q: Buffer, *, count: int, counter: int = 0) -> None:
        """Random numbers from -1 to 1 for Qᵀ (rank × columns): element i is word i % 4 of Philox's for i // 4."""
        shape = self.shape(count)
        (q,) = self._factors(count, (q, shape.columns))
        form(self.module, q).start(q, self.seed, counter)

    def project(self, values: Buffer, q: Buffer, p: Buffer) -> None:
        """Pᵀ (rank × rows) = (M·Q)ᵀ. Each row's sum is taken in 32 lanes, folded in halves."""
        shape = self.shape(len(values))
        (values, q, p) = self._factors(shape.count, (values, 0), (q, shape.columns), (p, shape.rows))
        form(self.module, p).project(values, q, p, shape)

    def orthonormalise(self, p: Buffer, *, count: int) -> None:
        """Make the columns of P orthonormal, in order; one that those before it span becomes 0."""
        shape = self.shape(count)
        (p,) = self._factors(count, (p, shape.rows))
        form(self.module, p).orthonormalise(p, shape)

    def project_back(self, values: Buffer, p: Buffer, q: Buffer) -> None:
        """Qᵀ (rank × columns) = (Mᵀ·P)ᵀ."""
        shape = self.shape(len(values))
        (values, p, q) = self._factors(shape.count, (values, 0), (p, shape.rows), (q, shape.columns))
        form(self.module, q).project_back(values, p, q, shape)

    def expand(self, p: Buffer, q: Buffer, values: Buffer) -> None:
        """``values`` = P·Qᵀ."""
        shape = self.shape(len(values))
        (p, q, values) = self._factors(shape.count, (p, shape.rows), (q, shape.columns), (values, 0))
        form(self.module, values).expand(p, q, values, shape, add=False)

    def bound(self, values: Buffer) -> float:
        """The Euclidean length of all values: no element of the difference is longer than the whole."""
        return float(np.linalg.norm(on_host(values).astype(np.float64))) * (1 + 2.0**-10)

    def _factors(self, count: int, *given: tuple[Buffer, int]) -> list[Any]:
        """The arrays flat, each of rank × length elements (0: of ``count``)."""
        rank = self.shape(count).rank
        return [fitting(self.nbytes, [array], [], rank * length or count)[0][0] for array, length in given]
