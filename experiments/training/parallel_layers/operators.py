"""Where whole activations become shares and shares become whole.

``Copied`` and ``Summed`` are the f and g of Megatron-LM (section 3), each the other backward; so are ``Scattered`` and
``Gathered``, for a layer that stands alone. Units lie along the last axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.training.flat import Array, Shape
from experiments.training.layer import Layer, Tensors
from experiments.training.layers.unweighted import Unweighted
from experiments.training.parallel_layers.team import Team

__all__ = ["Copied", "Gathered", "Partial", "Scattered", "Summed"]


@dataclass(frozen=True, slots=True, eq=False)
class Copied(Unweighted):
    """f: all ranks go on with the whole input, each to units of its own, so its gradient is the sum of theirs."""

    name: str
    team: Team

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, None]:
        """What comes in."""
        return x, None

    def backward(self, weights: Tensors, kept: None, dy: Array, gradients: Tensors) -> Array:
        """An allreduce, if anyone wants it."""
        return None if dy is None else self.team.summed(dy)

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """None."""
        return x, 0


@dataclass(frozen=True, slots=True, eq=False)
class Summed(Unweighted):
    """g: the output is the sum of the ranks' own, and the gradient of each of them is that of the sum."""

    name: str
    team: Team

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, None]:
        """An allreduce."""
        return self.team.summed(x), None

    def backward(self, weights: Tensors, kept: None, dy: Array, gradients: Tensors) -> Array:
        """What comes in."""
        return dy

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """None."""
        return x, 0


@dataclass(frozen=True, slots=True, eq=False)
class Scattered(Unweighted):
    """Each rank goes on with its share of ``units``."""

    name: str
    team: Team
    units: int

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, None]:
        """A view."""
        lo, hi = self.team.share(self.units)
        return x[..., lo:hi], None

    def backward(self, weights: Tensors, kept: None, dy: Array, gradients: Tensors) -> Array:
        """An allgather, if anyone wants it."""
        return None if dy is None else self.team.gathered(dy, self.units)

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """None."""
        lo, hi = self.team.share(self.units)
        return (*x[:-1], hi - lo), 0


@dataclass(frozen=True, slots=True, eq=False)
class Gathered(Unweighted):
    """All ranks go on with all ``units``, each of which one of them has; all find the same gradient for them."""

    name: str
    team: Team
    units: int

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, None]:
        """An allgather."""
        return self.team.gathered(x, self.units), None

    def backward(self, weights: Tensors, kept: None, dy: Array, gradients: Tensors) -> Array:
        """A view."""
        lo, hi = self.team.share(self.units)
        return dy[..., lo:hi]

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """None."""
        return (*x[:-1], self.units), 0


@dataclass(frozen=True, slots=True, eq=False)
class Partial:
    """``part`` whose outputs will be summed over the team, so what it adds to them (``added``) only one rank adds."""

    part: Layer
    team: Team
    added: tuple[str, ...] = ("bias",)

    @property
    def name(self) -> str:
        """The part's."""
        return self.part.name

    def shapes(self) -> Mapping[str, Shape]:
        """The part's: every rank keeps what is added, and finds the same gradient for it."""
        return self.part.shapes()

    def initial(self, chance: np.random.Generator) -> Mapping[str, Array]:
        """The part's; shares of a whole model's beginning are copied over it."""
        return self.part.initial(chance)

    def forward(self, weights: Tensors, x: Array) -> tuple[Array, Any]:
        """This rank's share of the sum."""
        return self.part.forward(self._own(weights), x)

    def backward(self, weights: Tensors, kept: Any, dy: Array, gradients: Tensors) -> Array:
        """The part's."""
        return self.part.backward(weights, kept, dy, gradients)

    def operations(self, x: Shape) -> tuple[Shape, int]:
        """The part's."""
        return self.part.operations(x)

    def _own(self, weights: Tensors) -> Tensors:
        if not self.team.rank:
            return weights
        return {key: np.zeros_like(array) if key in self.added else array for key, array in weights.items()}
