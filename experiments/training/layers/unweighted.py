"""What layers without parameters have in common."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from experiments.training.flat import Array, Shape

__all__ = ["Unweighted"]


class Unweighted:
    """A layer that has nothing to learn."""

    __slots__ = ()

    def shapes(self) -> Mapping[str, Shape]:
        """None."""
        return {}

    def initial(self, chance: np.random.Generator) -> Mapping[str, Array]:
        """None."""
        return {}
