"""What goes wrong, or merely goes on, during a run: late and slow ranks, failing links, jitter, other traffic."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from simulator.networks import Network

__all__ = ["Conditions", "Flow", "Jitter", "LinkChange"]

Floats = NDArray[np.float64]

_DRAWS: Mapping[str, Callable[[np.random.Generator, float, int], Floats]] = MappingProxyType(
    {
        "constant": lambda chance, scale, count: np.full(count, scale),
        "exponential": lambda chance, scale, count: chance.exponential(scale, count),
        "uniform": lambda chance, scale, count: chance.uniform(0.0, 2 * scale, count),
        "half_normal": lambda chance, scale, count: np.abs(chance.normal(0.0, scale * math.sqrt(math.pi / 2), count)),
        "pareto": lambda chance, scale, count: chance.pareto(3.0, count) * 2 * scale,
    }
)
"""By name, ``count`` times of mean ``scale`` each."""


@dataclass(frozen=True, slots=True)
class Jitter:
    """Each message's latency grows by a random time of mean ``scale`` seconds, drawn from ``distribution``.

    ``constant, exponential, uniform`` (0 to twice the mean), ``half_normal`` or ``pareto`` (Lomax of shape 3, which
    has a heavy tail). The same ``seed`` draws the same times, message by message in the order of the schedule.
    """

    distribution: str
    scale: float
    seed: int = 0

    def __post_init__(self) -> None:
        if self.distribution not in _DRAWS:
            raise ValueError(f"no jitter is called {self.distribution!r}; known: {', '.join(_DRAWS)}")
        if not (math.isfinite(self.scale) and self.scale >= 0):
            raise ValueError(f"the mean of a jitter must be finite and at least 0 s, got {self.scale}")
        if self.seed < 0:
            raise ValueError(f"a seed must not be negative, got {self.seed}")

    def draw(self, chance: np.random.Generator, count: int) -> Floats:
        """``count`` times in seconds, float64 of shape (count,)."""
        return _DRAWS[self.distribution](chance, self.scale, count)


@dataclass(frozen=True, slots=True)
class LinkChange:
    """From second ``at`` on, ``link`` carries ``factor`` times its bandwidth: below 1 degraded, 0 failed, 1 whole."""

    link: int
    factor: float
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Flow:
    """Other people's traffic all the time: from one host to another at up to ``rate`` bytes/s, in fair competition."""

    source: int
    dest: int
    rate: float = math.inf


@dataclass(frozen=True, slots=True)
class Conditions:
    """All that may be added to a run; the empty value adds nothing.

    ``start``: seconds by which ranks are late, by rank. ``compute``: processor seconds that a rank spends before its
    first round from the given one on, by (rank, round). ``slow_ranks``: by rank, how many times longer its processor
    work, and latency and bytes of its messages, take. ``links``, ``jitter``, ``background``: see their classes.
    """

    start: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    compute: Mapping[tuple[int, int], float] = field(default_factory=lambda: MappingProxyType({}))
    slow_ranks: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    links: tuple[LinkChange, ...] = ()
    jitter: Jitter | None = None
    background: tuple[Flow, ...] = ()

    @property
    def on_links(self) -> bool:
        """Whether anything here happens on single links."""
        return bool(self.links or self.background)

    def check(self, network: Network) -> None:
        """Raise ValueError for what cannot happen on ``network``."""
        ranks = [*self.start, *(rank for rank, _ in self.compute), *self.slow_ranks]
        for rank in ranks:
            if not 0 <= rank < network.size:
                raise ValueError(f"conditions name rank {rank}, and there are ranks 0 to {network.size - 1}")
        for (rank, number), seconds in self.compute.items():
            _need(f"the compute phase of rank {rank} before round {number}", seconds, 0.0)
        for rank, seconds in self.start.items():
            _need(f"the late start of rank {rank}", seconds, 0.0)
        for rank, factor in self.slow_ranks.items():
            _need(f"the factor of slow rank {rank}", factor, 1.0)
        self._check_links(network)

    def _check_links(self, network: Network) -> None:
        links, hosts = len(network.topology.ends), network.topology.hosts
        for change in self.links:
            if not 0 <= change.link < links:
                raise ValueError(f"conditions name link {change.link}, and {network.name} has links 0 to {links - 1}")
            _need(f"the moment at which link {change.link} changes", change.at, 0.0)
            if not 0 <= change.factor <= 1:
                raise ValueError(f"link {change.link} cannot carry {change.factor} times its bandwidth: 0 to 1 times")
        for flow in self.background:
            if not (0 <= flow.source < hosts and 0 <= flow.dest < hosts) or flow.source == flow.dest:
                raise ValueError(f"background traffic needs two different hosts of 0 to {hosts - 1}, got {flow}")
            if not flow.rate > 0:
                raise ValueError(f"background traffic needs a rate above 0 bytes/s, got {flow.rate}")


def _need(what: str, value: float, least: float) -> None:
    if not (math.isfinite(value) and value >= least):
        raise ValueError(f"{what} must be finite and at least {least:g}, got {value}")
