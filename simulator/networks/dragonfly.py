"""Dragonflies: groups of routers, all linked inside a group, and a cable between every two groups."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.networks.checks import check_bandwidth, check_latency, whole
from simulator.networks.network import Network
from simulator.networks.topology import Bools, Ints, Routes, Topology, one_of

__all__ = ["dragonfly"]


def dragonfly(
    groups: int,
    routers: int,
    hosts_per_router: int,
    latency: float,
    bandwidth: float,
    global_latency: float | None = None,
    global_bandwidth: float | None = None,
) -> Network:
    """``groups`` of ``routers``, all-to-all inside a group, each router with ``hosts_per_router`` hosts.

    One cable joins every two groups. Group i lists its g - 1 cables by the other group's number and gives each router
    the same number of them, ⌈(g - 1) / routers⌉ (the last may have fewer). Routes are minimal: to the router that holds
    the cable, over it, and to the router of the destination; at most three links between routers, and the same for
    every message between two groups. ``latency``: seconds of each link. ``bandwidth``: bytes/s of each link, each way.
    ``global_latency``, ``global_bandwidth``: of the cables between groups; as the others if not given.
    Raises ValueError for counts below 1 and numbers that cannot be.
    Source: Kim, Dally, Scott and Abts, "Technology-driven, highly-scalable dragonfly topology" (2008).
    """
    built = _Dragonfly(whole("groups", groups), whole("routers", routers), whole("hosts_per_router", hosts_per_router))
    local, far = check_latency(latency), latency if global_latency is None else global_latency
    rate, far_rate = check_bandwidth(bandwidth), bandwidth if global_bandwidth is None else global_bandwidth
    near, cables = len(built.ends()) - built.cables, built.cables
    topology = Topology(
        name="dragonfly",
        hosts=built.hosts,
        ends=built.ends(),
        latency=np.repeat([local, check_latency(far, "global latency")], [near, cables]),
        bandwidth=np.repeat([rate, check_bandwidth(far_rate, "global bandwidth")], [near, cables]),
        machine=np.arange(built.hosts),
        route=one_of(built.routes),
        cuts=built.cuts,
        label=built.label,
        many=built.routes,
    )
    return Network(topology, np.arange(built.hosts))


class _Dragonfly:
    """Numbers of vertices (hosts, then routers, group after group) and links (hosts up, down, local, global)."""

    def __init__(self, groups: int, routers: int, hosts_per_router: int) -> None:
        self._groups, self._routers, self._each = groups, routers, hosts_per_router
        self.hosts = groups * routers * hosts_per_router
        self.cables = groups * (groups - 1)
        self._held = max(1, -(-(groups - 1) // routers))  # global cables of one router
        self._local = 2 * self.hosts
        self._global = self._local + groups * routers * (routers - 1)

    def ends(self) -> Ints:
        """Of all links."""
        hosts, routers = np.arange(self.hosts), np.arange(self._groups * self._routers)
        up = np.stack([hosts, self.hosts + hosts // self._each], axis=1)
        one, other = _pairs(self._routers)
        start = np.arange(self._groups)[:, np.newaxis] * self._routers
        local = np.stack([(start + one).ravel(), (start + other).ravel()], axis=1)
        here, there = _pairs(self._groups)
        far = np.stack([self._gate(here, there), self._gate(there, here)], axis=1)
        return np.concatenate([up, up[:, ::-1], self.hosts + local, self.hosts + far]).astype(routers.dtype)

    def routes(self, sources: Ints, dests: Ints) -> Routes:
        """Host, router, router with the cable, its other end, router, host: those that differ."""
        first, last = sources // self._each, dests // self._each
        here, there = first // self._routers, last // self._routers
        abroad = here != there
        leaving, entering = np.where(abroad, self._gate(here, there), last), self._gate(there, here)
        moved = sources != dests
        columns: list[tuple[Bools, Ints]] = [
            (moved, sources),
            (first != leaving, self._between(first, leaving)),
            (abroad, self._global + _index(here, there, self._groups)),
            (abroad & (entering != last), self._between(entering, last)),
            (moved, self.hosts + dests),
        ]
        return Routes.of_columns(columns, len(sources))

    def cuts(self) -> Iterator[list[int]]:
        """Every router with its hosts, and every group."""
        for router in range(self._groups * self._routers):
            yield [*range(router * self._each, (router + 1) * self._each), self.hosts + router]
        for group in range(self._groups):
            members = range(group * self._routers, (group + 1) * self._routers)
            hosts = range(members.start * self._each, members.stop * self._each)
            yield [*hosts, *(self.hosts + router for router in members)]

    def label(self, vertex: int) -> str:
        """``router 1.3`` is the fourth of group 1."""
        if vertex < self.hosts:
            return f"host {vertex}"
        group, router = divmod(vertex - self.hosts, self._routers)
        return f"router {group}.{router}"

    def _gate(self, group: Ints, other: Ints) -> Ints:
        """The router of ``group`` that holds the cable to ``other``; anything where both are one."""
        cable = np.clip(other - (other > group), 0, max(0, self._groups - 2))
        return group * self._routers + cable // self._held

    def _between(self, router: Ints, other: Ints) -> Ints:
        """The link from ``router`` to ``other`` of the same group."""
        group = router // self._routers
        inside = _index(router % self._routers, other % self._routers, self._routers)
        return self._local + group * self._routers * (self._routers - 1) + inside


def _pairs(count: int) -> tuple[Ints, Ints]:
    """All ordered pairs of different numbers below ``count``; ``_index`` says where each stands."""
    one, place = np.divmod(np.arange(count * (count - 1)), max(1, count - 1))
    return one, place + (place >= one)


def _index(one: Ints, other: Ints, count: int) -> Ints:
    return one * (count - 1) + other - (other > one)
