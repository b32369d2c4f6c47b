"""Devices behind the network cards of any network: how messages get from one device's memory to another's.

Every host of the network becomes a card; behind it stand a PCIe switch that some devices share, the root complex and
the memory of their machine. The path says which of these a message passes:

- ``host``: vectors live in host memory, where the ranks reduce them;
- ``staged``: they live on devices, and the MPI library knows host memory only: each message is copied out, sent, and
  copied in, inside a machine too;
- ``peer``: the same between machines; inside one, devices copy from each other;
- ``gpudirect``: cards read and write device memory themselves.

The form of the model follows Bienz, Olson, Gropp and Lockhart, "Modeling data movement performance on heterogeneous
architectures" (2020), with links that are shared in the place of fitted constants.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal, get_args

import numpy as np

from simulator.models import Model, Reduction
from simulator.networks.network import Network
from simulator.networks.servers import Server
from simulator.networks.topology import Bools, Ints, Routes, Topology, one_of
from simulator.staging import Staging

__all__ = ["PATHS", "PIECE", "Path", "behind"]

Path = Literal["host", "staged", "peer", "gpudirect"]
PATHS: tuple[Path, ...] = get_args(Path)
"""From the vector in host memory to the card that reads device memory."""

PIECE = 1 << 20
"""Bytes of a piece where none are given."""

_MOVED = 3
"""Bytes of memory moved for each byte reduced or copied: two reads and a write."""

_LOCAL = 0.5e-6
"""Seconds of a message between two processes of a host, beside its bytes."""

Column = tuple[Bools, Ints]


def behind(network: Network, path: Path, server: Server, piece: float = PIECE) -> Network:
    """``network`` with a device of ``server`` behind every host, or a process where ``path`` is ``host``.

    Hosts of one machine share its memory; as many of them share a PCIe switch as the server says. ``piece``: bytes in
    which staged messages go. The model keeps how messages are sent, and gets the reductions of the place where vectors
    live. Raises ValueError for a path that is not known.
    """
    if path not in PATHS:
        raise ValueError(f"no device path is called {path!r}; known: {', '.join(PATHS)}")
    built = _Behind(network.topology, path, server)
    source = f"{network.source} {server.source}".strip()
    return Network(built.topology(), network.place, _model(network, path, server, piece), source)


def _model(network: Network, path: Path, server: Server, piece: float) -> Model:
    if path == "host":
        ranks = np.unique(network.topology.machine[network.place], return_counts=True)[1].max()
        # All ranks of a machine reduce at once, so each has its share of the memory.
        return replace(network.model, reduction=Reduction(((np.inf, _MOVED * int(ranks) / server.host_memory),)))
    return replace(
        network.model,
        reduction=Reduction(((np.inf, _MOVED / server.memory),), server.launch),
        synchronise=server.synchronise,
        staging=Staging(piece, server.copy),
    )


class _Behind:
    """What is behind the cards of ``base``.

    Vertices: devices or processes, those of the base, PCIe switches, root complexes, memories, memory buses, cores that
    copy over these, switches of devices.
    """

    def __init__(self, base: Topology, path: Path, server: Server) -> None:
        self.base, self.path, self.server, self.hosts = base, path, server, base.hosts
        names, self.machine = np.unique(base.machine, return_inverse=True)
        self.machines = len(names)
        self.slot = _turn(self.machine, self.machines)
        shared = self.slot // server.per_switch
        switches = np.zeros(self.machines, dtype=np.int64)
        np.maximum.at(switches, self.machine, shared + 1)
        self.switch = (np.cumsum(switches) - switches)[self.machine] + shared
        self.switches = int(switches.sum())
        self.of_switch = np.repeat(np.arange(self.machines), switches)
        self.local_switch = np.arange(self.switches) - np.repeat(np.cumsum(switches) - switches, switches)
        self._place()
        self._join()

    def _place(self) -> None:
        """The first vertex of each kind."""
        self.card = self.hosts
        self.pcie = self.card + self.base.vertices
        self.root = self.pcie + self.switches
        self.memory = self.root + self.machines
        self.bus = self.memory + self.machines
        self.core = self.bus + self.machines
        self.island = self.core + self.hosts
        self.joined = self.path in ("peer", "gpudirect") and self.server.island > 0

    def _join(self) -> None:
        """The links: those of the base first, so that they keep their numbers."""
        device, machine = np.arange(self.hosts), np.arange(self.machines)
        switch, server = np.arange(self.switches), self.server
        self._groups: list[tuple[Ints, float, float]] = []
        self._count = len(self.base.ends)
        joined = self.memory + self.machine if self.path == "host" else self.pcie + self.switch
        hop, rate = (0.0, server.host_memory) if self.path == "host" else (server.hop, server.pcie)
        self.up, self.down = self._both(device, joined, hop, rate)
        self.to_card, self.from_card = self._both(self.pcie + self.switch, self.card + device, 0.0, server.pcie)
        self.store, self.load = self._both(self.pcie + switch, self.root + self.of_switch, 0.0, server.uplink)
        self.write, self.read = self._both(self.root + machine, self.memory + machine, 0.0, server.host_memory)
        # All cores of a machine share its memory, and each copies what its own process receives.
        self.fetch = self._one(self.memory + machine, self.bus + machine, _LOCAL, server.host_memory / _MOVED)
        self.take, self.keep = (
            self._one(self.bus + self.machine, self.core + device, 0.0, server.core),
            self._one(self.core + device, self.memory + self.machine, 0.0, server.core),
        )
        if self.joined:
            # The one copy of a message between peers is started by the host too.
            latency = server.island_latency / 2, server.copy + server.island_latency / 2
            self.leave = self._one(device, self.island + self.machine, latency[1], server.island)
            self.enter = self._one(self.island + self.machine, device, latency[0], server.island)

    def _one(self, sources: Ints, dests: Ints, latency: float, bandwidth: float) -> int:
        """The number of the first link of a new group, all alike."""
        self._groups.append((np.stack([sources, dests], axis=1), latency, bandwidth))
        self._count += len(sources)
        return self._count - len(sources)

    def _both(self, sources: Ints, dests: Ints, latency: float, bandwidth: float) -> tuple[int, int]:
        return self._one(sources, dests, latency, bandwidth), self._one(dests, sources, latency, bandwidth)

    def topology(self) -> Topology:
        """All of it."""
        base = self.base
        ends, latency, bandwidth = zip(*self._groups, strict=True)
        counts = [len(group) for group in ends]
        relays = {vertex + self.card for vertex in base.relays}
        if self.path in ("staged", "peer"):
            relays |= set(range(self.memory, self.memory + self.machines))
        return Topology(
            name=f"{base.name}, {self.path}",
            hosts=self.hosts,
            ends=np.concatenate([base.ends + self.card, *ends]),
            latency=np.concatenate([base.latency, np.repeat(latency, counts)]),
            bandwidth=np.concatenate([base.bandwidth, np.repeat(bandwidth, counts)]),
            machine=base.machine,
            route=one_of(self.routes),
            cuts=self.cuts,
            label=self.label,
            many=self.routes,
            relays=frozenset(relays),
        )

    # --- routes -----------------------------------------------------------------------------------------------------

    def routes(self, sources: Ints, dests: Ints) -> Routes:
        """As the path has it: inside a machine, and between two."""
        inside = (self.machine[sources] == self.machine[dests]) & (sources != dests)
        abroad = self.machine[sources] != self.machine[dests]
        columns = [*self._inside(sources, dests, inside), *self._abroad(sources, dests, abroad)]
        return Routes.of_columns(columns, len(sources))

    def _inside(self, sources: Ints, dests: Ints, inside: Bools) -> Sequence[Column]:
        machine = self.machine[sources]
        if self.path in ("host", "staged"):
            out, into = self._copied(sources, dests, inside)
            return [*out, *_each(inside, self.fetch + machine, self.take + dests, self.keep + dests), *into]
        if self.joined:
            return _each(inside, self.leave + sources, self.enter + dests)
        apart = inside & (self.switch[sources] != self.switch[dests])
        return [
            (inside, self.up + sources),
            *_each(apart, self.store + self.switch[sources], self.load + self.switch[dests]),
            (inside, self.down + dests),
        ]

    def _abroad(self, sources: Ints, dests: Ints, abroad: Bools) -> Sequence[Column]:
        there = self._between(sources, dests, abroad)
        card, taken = (abroad, self.to_card + sources), (abroad, self.from_card + dests)
        if self.path == "gpudirect":
            return [(abroad, self.up + sources), card, *there, taken, (abroad, self.down + dests)]
        out, into = self._copied(sources, dests, abroad)
        fetched = _each(abroad, self.read + self.machine[sources], self.load + self.switch[sources])
        kept = _each(abroad, self.store + self.switch[dests], self.write + self.machine[dests])
        return [*out, *fetched, card, *there, taken, *kept, *into]

    def _copied(self, sources: Ints, dests: Ints, which: Bools) -> tuple[Sequence[Column], Sequence[Column]]:
        """From the device's memory into the host's, and from there into the other device's."""
        if self.path == "host":
            return [(which, self.up + sources)], [(which, self.down + dests)]
        out = (self.up + sources, self.store + self.switch[sources], self.write + self.machine[sources])
        into = (self.read + self.machine[dests], self.load + self.switch[dests], self.down + dests)
        return _each(which, *out), _each(which, *into)

    def _between(self, sources: Ints, dests: Ints, abroad: Bools) -> Iterator[Column]:
        """The links of the base from card to card."""
        found = self.base.routes(sources[abroad], dests[abroad])
        lengths = np.zeros(len(sources), dtype=np.int64)
        lengths[abroad] = np.diff(found.first)
        first = np.zeros(len(sources), dtype=np.int64)
        first[abroad] = found.first[:-1]
        for place in range(int(lengths.max(initial=0))):
            passed = lengths > place
            links = np.zeros(len(sources), dtype=np.int64)
            links[passed] = found.links[first[passed] + place]
            yield passed, links

    # --- what else a topology says ----------------------------------------------------------------------------------

    def cuts(self) -> Iterator[list[int]]:
        """The base's, with all that is behind their cards, and every machine."""
        for cut in self.base.cuts():
            vertices = set(cut)
            hosts = np.array(sorted(vertex for vertex in vertices if vertex < self.hosts), dtype=np.int64)
            yield [*hosts.tolist(), *(vertex + self.card for vertex in vertices), *self._inner(hosts)]
        for number in range(self.machines if self.machines > 1 else 0):
            hosts = np.flatnonzero(self.machine == number)
            yield [*hosts.tolist(), *(hosts + self.card).tolist(), *self._inner(hosts)]

    def _inner(self, hosts: Ints) -> Iterator[int]:
        """Switches, root complex, memory and device switch of the machines that are whole among ``hosts``."""
        sizes = np.bincount(self.machine, minlength=self.machines)
        whole = np.bincount(self.machine[hosts], minlength=self.machines) == sizes
        yield from (self.pcie + np.flatnonzero(whole[self.of_switch])).tolist()
        yield from (self.core + np.flatnonzero(whole[self.machine])).tolist()
        for first in (self.root, self.memory, self.bus, *([self.island] if self.joined else [])):
            yield from (first + np.flatnonzero(whole)).tolist()

    def label(self, vertex: int) -> str:
        """``GPU 3 of node 0``, ``card 3 of node 0``, ``PCIe switch 1 of node 0``, ``memory of node 0`` ..."""
        if vertex < 2 * self.hosts:
            what = "card" if vertex >= self.card else "process" if self.path == "host" else "GPU"
            return f"{what} {self.slot[vertex % self.hosts]} of node {self.machine[vertex % self.hosts]}"
        if vertex < self.pcie:
            return self.base.label(vertex - self.card)
        if vertex < self.root:
            switch = vertex - self.pcie
            return f"PCIe switch {self.local_switch[switch]} of node {self.of_switch[switch]}"
        if self.core <= vertex < self.island:
            host = vertex - self.core
            return f"core of process {self.slot[host]} of node {self.machine[host]}"
        kinds = (
            ("root complex", self.root),
            ("memory", self.memory),
            ("memory bus", self.bus),
            ("NVSwitch", self.island),
        )
        what, first = next(kind for kind in reversed(kinds) if vertex >= kind[1])
        return f"{what} of node {vertex - first}"


def _each(which: Bools, *links: Ints) -> list[Column]:
    return [(which, each) for each in links]


def _turn(groups: Ints, count: int) -> Ints:
    """The how-manieth of its group each one is."""
    order = np.argsort(groups, kind="stable")
    sizes = np.bincount(groups, minlength=count)
    turn = np.empty(len(groups), dtype=np.int64)
    turn[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return turn
