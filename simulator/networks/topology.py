"""What a network is made of: hosts, switches, directed links, and one fixed route for every pair of hosts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Bools", "Floats", "Ints", "ManyRoutes", "Routes", "Topology", "one_of"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Routes:
    """The links of many routes, one after the other: route ``i`` is ``links[first[i]:first[i + 1]]``."""

    first: Ints
    links: Ints

    @classmethod
    def of_lengths(cls, lengths: Ints, links: Ints) -> Routes:
        """From the number of links of each route, and all links in order."""
        first = np.zeros(len(lengths) + 1, dtype=np.int64)
        np.cumsum(lengths, out=first[1:])
        return cls(first, links)

    @classmethod
    def of_columns(cls, columns: Sequence[tuple[Bools, Ints]], count: int) -> Routes:
        """From the links that ``count`` routes can pass, in this order: (which routes pass one here, which one)."""
        table = np.full((count, len(columns)), -1, dtype=np.int64)
        for place, (passed, links) in enumerate(columns):
            np.copyto(table[:, place], links, where=passed)
        used = table >= 0
        return cls.of_lengths(used.sum(axis=1), table[used])


ManyRoutes = Callable[[Ints, Ints], Routes]


def one_of(many: ManyRoutes) -> Callable[[int, int], Sequence[int]]:
    """The route of one pair, from what finds those of many."""
    return lambda source, dest: many(np.array([source]), np.array([dest])).links.tolist()


@dataclass(frozen=True, slots=True, eq=False)
class Topology:
    """Vertices below ``hosts`` are hosts, the others switches; link ``i`` goes from ``ends[i, 0]`` to ``ends[i, 1]``.

    ``latency``: seconds of each link, float64 of shape (links,). ``bandwidth``: bytes/s of each link, above 0, may be
    ``math.inf``. A full-duplex cable is two links. ``machine``: int64 of shape (hosts,), which machine each host is
    part of (GPUs of one server share a machine, and its cores). ``route(source, dest)``: the links from one host to
    another in the order in which bytes pass them; the same every time. ``cuts()``: sets of vertices whose outgoing
    or incoming links are likely bottlenecks (a rack, a pod, half of a ring), for the lower bound. ``label(vertex)``:
    its name. ``private``: no link can ever carry two messages at once while every rank sends one and receives one
    message at a time, as on a star; then contention cannot arise.

    ``many(sources, dests)``: the same as ``route`` for arrays of hosts, where a formula knows it. ``lengths(sources,
    dests)``: the links on each of those routes, where all links are alike, so that the longest route is the farthest.
    ``translations``: under which renaming of hosts the network with its routes stays the same: ``"any"`` permutation,
    or rotation by any offset (``"cyclic"``). ``relays``: vertices at which messages are stored and from which they are
    sent on, in pieces as the model's ``Staging`` has it; a switch passes bytes on at once.
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
    many: ManyRoutes | None = None
    lengths: Callable[[Ints, Ints], Ints] | None = None
    translations: Literal["any", "cyclic"] | None = None
    relays: frozenset[int] = frozenset()

    @property
    def vertices(self) -> int:
        """Number of hosts and switches."""
        return max(self.hosts, int(self.ends.max(initial=-1)) + 1)

    def routes(self, sources: Ints, dests: Ints) -> Routes:
        """The routes of many pairs at once; that from a host to itself is empty."""
        if self.many is not None:
            return self.many(sources, dests)
        found = [self.route(source, dest) for source, dest in zip(sources.tolist(), dests.tolist(), strict=True)]
        lengths = np.array([len(links) for links in found], dtype=np.int64)
        return Routes.of_lengths(lengths, np.array([link for links in found for link in links], dtype=np.int64))
