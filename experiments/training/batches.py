"""Which samples a step takes: every sample once an epoch, in an order that the seed alone decides.

A global batch is cut into ``grains`` of equal size, and a rank's share is some of them. How grains are shared
decides who computes what, never what is computed: with gradients summed exactly, a run ends with the same bits on any
number of ranks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Batches"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Batches:
    """Global batches of ``batch`` out of ``samples``, each in ``grains`` pieces; what is left of an epoch is left out.

    Raises ValueError where a batch cannot be cut so, or there are fewer samples than one batch.
    """

    samples: int
    batch: int
    grains: int
    seed: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.grains <= self.batch <= self.samples:
            raise ValueError(
                f"{self.samples} samples, batches of {self.batch} and {self.grains} grains: each must be "
                "at least 1, and none less than the next"
            )
        if self.batch % self.grains:
            raise ValueError(f"a batch of {self.batch} cannot be cut into {self.grains} equal grains")

    @property
    def an_epoch(self) -> int:
        """Steps in which every sample is seen once."""
        return self.samples // self.batch

    def of(self, step: int) -> Ints:
        """Indices of the samples of step 1, 2, ...: int64 of shape (grains, batch // grains)."""
        epoch, number = divmod(step - 1, self.an_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(self.samples)
        return order[number * self.batch : (number + 1) * self.batch].reshape(self.grains, -1)

    def shares(self, ranks: int) -> list[tuple[int, int]]:
        """For each of so many ranks the range of its grains, as equal as can be."""
        return [(self.grains * rank // ranks, self.grains * (rank + 1) // ranks) for rank in range(ranks)]
