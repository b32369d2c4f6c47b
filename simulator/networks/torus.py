"""Rings and tori: hosts that are linked to each other, without switches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from simulator.networks.checks import check_bandwidth, check_latency, whole
from simulator.networks.network import Network
from simulator.networks.topology import Ints, Routes, Topology, one_of

__all__ = ["ring", "torus"]


def ring(size: int, latency: float, bandwidth: float) -> Network:
    """``size`` hosts in a circle, each linked to both neighbours; messages go the shorter way, clockwise on a tie.

    ``latency``: seconds of each link. ``bandwidth``: bytes/s of each link, in each direction. Two hosts share one
    cable. Raises ValueError for no host, and for a bandwidth or latency that cannot be.
    """
    return _wrapped("ring", (whole("size", size),), latency, bandwidth)


def torus(dims: Sequence[int], latency: float, bandwidth: float) -> Network:
    """Hosts on a grid of ``dims`` that wraps round in every dimension, numbered with the last dimension fastest.

    Messages cross the first dimension, then the second and so on, in each the shorter way and upwards on a tie.
    ``latency``: seconds of each link. ``bandwidth``: bytes/s of each link, in each direction. A dimension of 2 has one
    cable, not two. Raises ValueError for no dimension or an empty one, and for numbers that cannot be.
    Source: dimension order: Dally and Seitz, "Deadlock-free message routing" (1987).
    """
    if not dims:
        raise ValueError("a torus needs at least one dimension, such as dims=(4, 4, 4)")
    return _wrapped("torus", tuple(whole("each of dims", extent) for extent in dims), latency, bandwidth)


def _wrapped(name: str, dims: tuple[int, ...], latency: float, bandwidth: float) -> Network:
    grid = _Grid(dims)
    ends = np.concatenate([np.empty((0, 2), dtype=np.int64), *grid.links()])
    topology = Topology(
        name=name,
        hosts=grid.size,
        ends=ends,
        latency=np.full(len(ends), check_latency(latency)),
        bandwidth=np.full(len(ends), check_bandwidth(bandwidth)),
        machine=np.arange(grid.size),
        route=one_of(grid.routes),
        cuts=grid.halves,
        label=grid.label,
        many=grid.routes,
        lengths=lambda sources, dests: grid.steps(sources, dests)[0].sum(axis=1),
        translations="cyclic" if len(dims) == 1 else None,
    )
    return Network(topology, np.arange(grid.size))


class _Grid:
    """Which links a torus of ``dims`` has, and which of them routes pass.

    The links of a dimension are numbered by the host that they leave: first those upwards, then those downwards.
    """

    def __init__(self, dims: tuple[int, ...]) -> None:
        self.size = math.prod(dims)
        self._dims = np.array(dims)
        self._stride = np.array([math.prod(dims[axis + 1 :]) for axis in range(len(dims))])
        ways = np.minimum(self._dims - 1, 2)  # no link in a dimension of 1, none downwards in a dimension of 2
        self._ways: list[int] = ways.tolist()
        self._first = self.size * (np.cumsum(ways) - ways)

    def links(self) -> Iterator[Ints]:
        """The ends of all links, dimension by dimension."""
        hosts = np.arange(self.size)
        for axis, ways in enumerate(self._ways):
            for step in (1, -1)[:ways]:
                yield np.stack([hosts, self._moved(hosts, axis, step)], axis=1)

    def steps(self, sources: Ints, dests: Ints) -> tuple[Ints, Ints]:
        """How many links each route passes in each dimension, and which way (1 or -1); both of shape (routes, dims)."""
        ahead = (self._coordinates(dests) - self._coordinates(sources)) % self._dims
        upwards = 2 * ahead <= self._dims
        return np.where(upwards, ahead, self._dims - ahead), np.where(upwards, 1, -1)

    def routes(self, sources: Ints, dests: Ints) -> Routes:
        """The links of each route, dimension by dimension."""
        steps, way = self.steps(sources, dests)
        start, target = self._coordinates(sources), self._coordinates(dests)
        # Where a route begins in a dimension: it has arrived in those before it, and not moved in those after.
        gained = (target - start) * self._stride
        corner = sources[:, np.newaxis] + np.cumsum(gained, axis=1) - gained
        origin = (self._first + np.where(way > 0, 0, self.size) + corner - start * self._stride).ravel()
        counts = steps.ravel()
        leg = np.repeat(np.arange(len(counts)), counts)
        step = np.arange(len(leg)) - np.repeat(np.cumsum(counts) - counts, counts)
        axis = leg % len(self._dims)
        at = (start.ravel()[leg] + way.ravel()[leg] * step) % self._dims[axis]
        return Routes.of_lengths(steps.sum(axis=1), origin[leg] + at * self._stride[axis])

    def halves(self) -> Iterator[list[int]]:
        """The lower half of every dimension."""
        hosts = np.arange(self.size)
        for axis, extent in enumerate(self._dims.tolist()):
            if extent > 1:
                yield hosts[self._coordinates(hosts)[:, axis] < extent // 2].tolist()

    def label(self, vertex: int) -> str:
        """``host 5``, on a torus with where it stands: ``host 5 (1, 1)``."""
        if len(self._dims) == 1:
            return f"host {vertex}"
        where = ", ".join(str(index) for index in self._coordinates(np.array([vertex]))[0].tolist())
        return f"host {vertex} ({where})"

    def _coordinates(self, hosts: Ints) -> Ints:
        return hosts[:, np.newaxis] // self._stride % self._dims

    def _moved(self, hosts: Ints, axis: int, step: int) -> Ints:
        now = self._coordinates(hosts)[:, axis]
        return hosts + ((now + step) % self._dims[axis] - now) * self._stride[axis]
