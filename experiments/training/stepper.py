"""Steps of an optimiser over a whole model: at once, or tensor by tensor where norms of layers count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from experiments.training.flat import Flat
from kernels.optimise import LAMB, LARS, Optimiser
from kernels.optimise.arrays import Array

__all__ = ["Stepper", "layerwise"]


def layerwise(optimiser: Optimiser) -> bool:
    """Whether a step depends on the norms of layers, so that vectors may not be cut or joined for it."""
    return isinstance(optimiser, LAMB | LARS)


class Stepper:
    """``optimiser`` with its state for ``weights``, which each step moves in place.

    ``state``: by range of the weights' vector that is stepped at once (the whole, or a tensor), the optimiser's arrays.
    """

    def __init__(self, optimiser: Optimiser, weights: Flat) -> None:
        self.optimiser, self._weights = optimiser, weights
        whole = [(0, weights.vector.size)]
        ranges = list(weights.ranges.values()) if layerwise(optimiser) else whole
        self.state: dict[tuple[int, int], tuple[Array, ...]] = {
            (lo, hi): optimiser.state(weights.vector[lo:hi]) for lo, hi in ranges if hi > lo
        }

    def step(self, gradients: Flat, number: int, *, learning_rate: float, scale: float) -> None:
        """Step ``number`` (1, 2, ...) with ``scale``·gradients at this rate."""
        now = replace(self.optimiser, learning_rate=learning_rate)
        for (lo, hi), state in self.state.items():
            now.step(self._weights.vector[lo:hi], gradients.vector[lo:hi], state, number, scale=scale)

    def snapshot(self) -> dict[str, Array]:
        """The optimiser's arrays for the whole vector, by the names of its ``states``; copies."""
        return {name: self._whole(number) for number, name in enumerate(self.optimiser.states)}

    def restore(self, arrays: Mapping[str, Array]) -> None:
        """Go on from those of a ``snapshot``. KeyError where another optimiser made it."""
        for number, name in enumerate(self.optimiser.states):
            for (lo, hi), state in self.state.items():
                state[number][...] = arrays[name][lo:hi]

    def _whole(self, number: int) -> Array:
        found = self._weights.like().vector
        for (lo, hi), state in self.state.items():
            found[lo:hi] = state[number]
        return found
