"""A network as the simulator takes it: a topology, a place on it for every rank, and what its messages cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simulator.models import Model
from simulator.networks.topology import Topology

__all__ = ["Network"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Network:
    """``topology`` with rank ``r`` on host ``place[r]``, and the ``model`` of what the ranks themselves add.

    ``place``: int64 of shape (size,), read-only. ``source``: where the figures come from, for presets.
    Raises ValueError for a host that does not exist or that two ranks share.
    """

    topology: Topology
    place: Ints
    model: Model = field(default_factory=Model)
    source: str = ""

    def __post_init__(self) -> None:
        place = np.array(self.place, dtype=np.int64)  # a copy that nobody else can write to
        place.flags.writeable = False
        object.__setattr__(self, "place", place)
        if place.ndim != 1 or not len(place):
            raise ValueError("a network needs a host for each of at least one rank")
        hosts = self.topology.hosts
        if len(place) > hosts:
            raise ValueError(f"{self.name} has {hosts} hosts, too few for {len(place)} ranks")
        for rank in np.flatnonzero((place < 0) | (place >= hosts))[:1].tolist():
            raise ValueError(f"rank {rank} has no place: {self.name} has hosts 0 to {hosts - 1}, not {place[rank]}")
        taken, first, times = np.unique(place, return_index=True, return_counts=True)
        for which in np.flatnonzero(times > 1)[:1].tolist():
            raise ValueError(
                f"host {taken[which]} of {self.name} was given to {times[which]} ranks, rank {first[which]} and "
                "others: a host takes one"
            )

    @property
    def name(self) -> str:
        """What the topology is called."""
        return self.topology.name

    @property
    def size(self) -> int:
        """Number of ranks."""
        return len(self.place)

    @cached_property
    def alpha(self) -> float:
        """Seconds of an empty message between rank 0 and the rank farthest from it, for closed forms."""
        return self._far[0]

    @cached_property
    def beta(self) -> float:
        """Seconds per byte between rank 0 and the rank farthest from it, on its own, for closed forms."""
        return self._far[1]

    @property
    def gamma(self) -> float:
        """Seconds per reduced byte of a vector that fits no cache, for closed forms."""
        return self.model.gamma

    @cached_property
    def _far(self) -> tuple[float, float]:
        if self.size == 1:
            return self.model.alpha, self.model.beta
        others = self.place[1:] if not self.topology.private else self.place[1:2]
        routes = self.topology.routes(np.full(len(others), self.place[0]), others)
        latency = np.add.reduceat(self.topology.latency[routes.links], routes.first[:-1])
        rate = np.minimum.reduceat(self.topology.bandwidth[routes.links], routes.first[:-1])
        farthest = int(np.argmax(latency))
        return float(latency[farthest]) + self.model.alpha, max(1.0 / float(rate[farthest]), self.model.beta)
