"""What a network is made of: hosts, switches, directed links, and one fixed route for every pair of hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Routes", "Topology"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """The links of many routes, one after the other: route ``i`` is ``links[first[i]:first[i + 1]]``."""

    first: Ints
    links: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """Vertices ``0 .. hosts - 1`` are hosts, those above are switches; link ``i`` goes from ``ends[i, 0]`` to ``ends[i, 1]``.

    ``latency``: seconds of each link, float64 of shape (links,). ``bandwidth``: bytes/s of each link, above 0, may be
    ``math.inf``. A full-duplex cable is two links. ``machine``: int64 of shape (hosts,), which machine each host is
    part of (GPUs of one server share a machine, and its cores). ``route(source, dest)``: the links from one host to
    another in the order in which bytes pass them; the same every time. ``cuts()``: sets of vertices whose outgoing
    links are likely bottlenecks (a rack, a pod, half of a ring), for the lower bound. ``label(vertex)``: its name.
    ``private``: no link can ever carry two messages at once while every rank sends one and receives one message at a
    time, as on a star; then contention cannot arise.
    """

    name: str
    hosts: int
    ends: Ints
    latency: Floats
    bandwidth: Floats
    machine: Ints
    route: Callable[[int, int], Sequence[int]]
    cuts: Callable[[], Iterable[Iterable[int]]]
    label: Callable[[int], str]
    private: bool = False

    def routes(self, sources: Ints, dests: Ints) -> Routes:
        """The routes of many pairs at once."""
        found = [self.route(source, dest) for source, dest in zip(sources.tolist(), dests.tolist(), strict=True)]
        first = np.zeros(len(found) + 1, dtype=np.int64)
        np.cumsum([len(links) for links in found], out=first[1:])
        return Routes(first, np.array([link for links in found for link in links], dtype=np.int64))
