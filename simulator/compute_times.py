"""How long steps of computing take: a mean, a named distribution around it, and a seed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ComputeTime"]

Floats = NDArray[np.float64]

_BLOCK = 64


@dataclass(frozen=True, slots=True)
class ComputeTime:
    """``mean`` seconds a step. ``variation``: standard deviation over mean, for the distributions that have one.

    ``constant`` and ``exponential`` (variation 1) take none; ``gamma`` and ``lognormal`` take any above 0, ``uniform``
    up to 1/√3. Raises ValueError for a distribution that is not known, and for values that it cannot have.
    """

    mean: float
    distribution: str = "constant"
    variation: float = 0.0

    def __post_init__(self) -> None:
        if self.distribution not in _DRAWS:
            raise ValueError(f"no distribution is called {self.distribution!r}; known: {', '.join(_DRAWS)}")
        if not (math.isfinite(self.mean) and self.mean >= 0):
            raise ValueError(f"the mean time to compute must be finite and at least 0 s, got {self.mean}")
        low, high, _ = _DRAWS[self.distribution]
        if not low <= self.variation <= high:
            allowed = f"from {low:g} to {high:.4g}" if high else "0"
            raise ValueError(f"the variation of {self.distribution} times must be {allowed}, got {self.variation}")

    def draw(self, seed: int, stream: int) -> Iterator[float]:
        """Times without end, in seconds; each ``stream`` (a worker, say) has its own, the same for the same seed."""
        chance = np.random.default_rng([seed, stream])
        _, _, distribution = _DRAWS[self.distribution]
        while True:
            yield from (self.mean * distribution(chance, self.variation)).tolist()


def _gamma(chance: np.random.Generator, variation: float) -> Floats:
    return chance.gamma(1 / variation**2, variation**2, _BLOCK)


def _lognormal(chance: np.random.Generator, variation: float) -> Floats:
    spread = math.log1p(variation**2)
    return chance.lognormal(-spread / 2, math.sqrt(spread), _BLOCK)


def _uniform(chance: np.random.Generator, variation: float) -> Floats:
    half = math.sqrt(3) * variation
    return chance.uniform(1 - half, 1 + half, _BLOCK)


# The least and the greatest variation, and times of mean 1.
_DRAWS: dict[str, tuple[float, float, Callable[[np.random.Generator, float], Floats]]] = {
    "constant": (0.0, 0.0, lambda chance, variation: np.ones(_BLOCK)),
    "exponential": (0.0, 0.0, lambda chance, variation: chance.exponential(1.0, _BLOCK)),
    "gamma": (1e-3, 10.0, _gamma),
    "lognormal": (0.0, 10.0, _lognormal),
    "uniform": (0.0, 1 / math.sqrt(3), _uniform),
}
