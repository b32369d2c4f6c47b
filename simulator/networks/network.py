"""A network as the simulator takes it: a topology, a place on it for every rank, and what its messages cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NamedTuple

import numpy as np

from simulator.models import Model
from simulator.networks.topology import Floats, Ints, Topology

__all__ = ["Cut", "Hop", "Network"]


class Hop(NamedTuple):
    """One link of a route: its number, the names of what it joins, seconds, and bytes/s."""

    link: int
    source: str
    dest: str
    latency: float
    bandwidth: float

    @property
    def name(self) -> str:
        """``host 0 → switch``."""
        return f"{self.source} → {self.dest}"


class Cut(NamedTuple):
    """A part of the network: the ranks inside, and bytes/s of all links that leave it and of all that enter it."""

    ranks: Ints
    outward: float
    inward: float


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
        times = np.bincount(place, minlength=hosts)
        for host in np.flatnonzero(times > 1)[:1].tolist():
            first, second = np.flatnonzero(place == host)[:2].tolist()
            raise ValueError(f"host {host} of {self.name} was given to ranks {first} and {second}: a host takes one")

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

    @property
    def translations(self) -> Literal["any", "cyclic"] | None:
        """Under which renaming of ranks the network stays the same: as its topology, if the ranks stand as it needs."""
        found = self.topology.translations
        in_order = self.size == self.topology.hosts and bool((self.place == np.arange(self.size)).all())
        return found if found == "any" or in_order else None

    def route(self, source: int, dest: int) -> tuple[Hop, ...]:
        """What a message from rank ``source`` to rank ``dest`` passes, by name.

        Raises ValueError for a rank that the network does not have.
        """
        for rank in (source, dest):
            if not 0 <= rank < self.size:
                raise ValueError(f"there is no rank {rank}: {self.name} has ranks 0 to {self.size - 1}")
        links = self.topology.routes(self.place[[source]], self.place[[dest]]).links
        return tuple(self.hop(link) for link in links.tolist())

    def hop(self, link: int) -> Hop:
        """One link by name."""
        topology = self.topology
        source, dest = topology.ends[link].tolist()
        seconds, rate = float(topology.latency[link]), float(topology.bandwidth[link])
        return Hop(link, topology.label(source), topology.label(dest), seconds, rate)

    # --- what lower bounds need -------------------------------------------------------------------------------------

    @cached_property
    def nearest(self) -> float:
        """Seconds of latency of the links between any two ranks at least; 0 for a single rank.

        Exact where two ranks are joined by a link or by one switch, and never too much: a longer route passes a link
        that leaves its source and one that enters its destination.
        """
        if self.size == 1:
            return 0.0
        topology = self.topology
        placed = np.zeros(topology.vertices, dtype=np.bool_)
        placed[self.place] = True
        leaves, enters = placed[topology.ends[:, 0]], placed[topology.ends[:, 1]]
        direct = float(topology.latency[leaves & enters].min(initial=np.inf))
        out, into = (np.full(topology.vertices, np.inf) for _ in range(2))
        np.minimum.at(out, topology.ends[leaves, 0], topology.latency[leaves])
        np.minimum.at(into, topology.ends[enters, 1], topology.latency[enters])
        return min(direct, _least_sum(out[self.place], into[self.place]))

    @cached_property
    def out_rate(self) -> Floats:
        """Bytes/s of the fastest link that leaves each rank's host, shape (size,): it sends one message at a time."""
        return self._fastest(0)

    @cached_property
    def in_rate(self) -> Floats:
        """Bytes/s of the fastest link that enters each rank's host, shape (size,): it takes one at a time."""
        return self._fastest(1)

    def cut_capacities(self) -> list[Cut]:
        """The topology's cuts that have ranks on both sides. The other side of a cut is the same, the other way."""
        return [cut for cut in self._cuts() if 0 < len(cut.ranks) < self.size]

    def _cuts(self) -> Iterator[Cut]:
        # Cuts that share no vertex are measured in one pass over the links, all racks of a tree for example.
        part = np.full(self.topology.vertices, -1)
        count = 0
        for vertices in self.topology.cuts():
            members = np.fromiter(vertices, dtype=np.int64)
            if (part[members] >= 0).any():
                yield from self._parts(part, count)
                part.fill(-1)
                count = 0
            part[members] = count
            count += 1
        yield from self._parts(part, count)

    def _parts(self, part: Ints, count: int) -> Iterator[Cut]:
        topology = self.topology
        source, dest = part[topology.ends].T
        crossing = source != dest
        outward, inward = (
            np.bincount(side[kept], weights=topology.bandwidth[kept], minlength=count)
            for side, kept in ((source, crossing & (source >= 0)), (dest, crossing & (dest >= 0)))
        )
        inside = part[self.place]
        ranks = np.argsort(inside, kind="stable")
        ends = np.searchsorted(inside[ranks], np.arange(count + 1))
        for which in range(count):
            yield Cut(ranks[ends[which] : ends[which + 1]], float(outward[which]), float(inward[which]))

    def _fastest(self, side: int) -> Floats:
        topology = self.topology
        fastest = np.zeros(topology.vertices)
        np.maximum.at(fastest, topology.ends[:, side], topology.bandwidth)
        return fastest[self.place]

    @cached_property
    def _far(self) -> tuple[float, float]:
        topology = self.topology
        if self.size == 1:
            return self.model.alpha, self.model.beta
        others = self.place[1:] if not topology.private else self.place[1:2]
        start = np.full(len(others), self.place[0])
        if topology.lengths is not None:
            farthest = int(np.argmax(topology.lengths(start, others)))
            start, others = start[:1], others[[farthest]]
        routes = topology.routes(start, others)
        latency = np.add.reduceat(topology.latency[routes.links], routes.first[:-1])
        rate = np.minimum.reduceat(topology.bandwidth[routes.links], routes.first[:-1])
        farthest = int(np.argmax(latency))
        return float(latency[farthest]) + self.model.alpha, max(1.0 / float(rate[farthest]), self.model.beta)


def _least_sum(one: Floats, other: Floats) -> float:
    """The least ``one[i] + other[j]`` with i ≠ j, of at least two numbers each."""
    first, second = np.argsort(one)[:2].tolist()
    elsewhere = np.delete(other, [first])
    return min(float(one[first] + elsewhere.min()), float(one[second] + other[first]))
