"""Servers of GPUs with a network card for each GPU, and a switch for each rail."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulator.networks.checks import check_bandwidth, check_latency, whole
from simulator.networks.network import Network
from simulator.networks.topology import Ints, Routes, Topology, one_of

__all__ = ["rails"]


def rails(
    nodes: int, gpus: int, island_latency: float, island_bandwidth: float, latency: float, bandwidth: float
) -> Network:
    """``nodes`` servers of ``gpus`` GPUs around one NVSwitch, and GPU i of every server with a card on rail switch i.

    Inside a server a message goes through the NVSwitch. From GPU i to GPU i of another server it takes rail i. From
    GPU i to GPU j of another server it first goes through the NVSwitch to its own server's GPU j and then takes rail
    j, so rails meet nowhere (NCCL calls that PXN). A rail is one switch that is never the bottleneck.
    ``island_latency``, ``island_bandwidth``: seconds and bytes/s, each way, of a GPU's link to its NVSwitch;
    ``latency``, ``bandwidth``: of the link from a GPU over its card to the rail switch.
    Raises ValueError for counts and numbers that cannot be.
    Source: Mandakolathur and Jeaugey, "Doubling all2all performance with NVIDIA Collective Communication Library 2.12"
    (NVIDIA technical blog, 2022).
    """
    built = _Rails(whole("nodes", nodes), whole("gpus", gpus))
    seconds = [check_latency(island_latency, "island latency"), check_latency(latency)]
    rates = [check_bandwidth(island_bandwidth, "island bandwidth"), check_bandwidth(bandwidth)]
    one_switch = nodes == 1 or gpus == 1  # nothing but an NVSwitch, or nothing but a rail
    topology = Topology(
        name="rails",
        hosts=built.hosts,
        ends=built.ends(),
        latency=np.repeat(seconds, 2 * built.hosts),
        bandwidth=np.repeat(rates, 2 * built.hosts),
        machine=np.arange(built.hosts) // gpus,
        route=one_of(built.routes),
        cuts=built.cuts,
        label=built.label,
        private=one_switch,
        many=built.routes,
        translations="any" if one_switch else None,
    )
    return Network(topology, np.arange(built.hosts))


class _Rails:
    """Vertices: GPUs, NVSwitches, rails. Links: each GPU's to its NVSwitch, from it, to its rail, and from it."""

    def __init__(self, nodes: int, gpus: int) -> None:
        self.hosts = nodes * gpus
        self._nodes, self._gpus = nodes, gpus

    def ends(self) -> Ints:
        """Of all links."""
        hosts = np.arange(self.hosts)
        island = np.stack([hosts, self.hosts + hosts // self._gpus], axis=1)
        rail = np.stack([hosts, self.hosts + self._nodes + hosts % self._gpus], axis=1)
        return np.concatenate([island, island[:, ::-1], rail, rail[:, ::-1]])

    def routes(self, sources: Ints, dests: Ints) -> Routes:
        """Through the NVSwitch to the destination, or to the GPU on its rail and over that."""
        inside = sources // self._gpus == dests // self._gpus
        near = np.where(inside, dests, sources // self._gpus * self._gpus + dests % self._gpus)
        through, abroad = sources != near, ~inside
        columns = [
            (through, sources),
            (through, self.hosts + near),
            (abroad, 2 * self.hosts + near),
            (abroad, 3 * self.hosts + dests),
        ]
        return Routes.of_columns(columns, len(sources))

    def cuts(self) -> Iterator[list[int]]:
        """Every server."""
        for node in range(self._nodes):
            yield [*range(node * self._gpus, (node + 1) * self._gpus), self.hosts + node]

    def label(self, vertex: int) -> str:
        """``GPU 3 of node 0``, ``NVSwitch of node 0``, ``rail switch 3``."""
        if vertex < self.hosts:
            return f"GPU {vertex % self._gpus} of node {vertex // self._gpus}"
        if vertex < self.hosts + self._nodes:
            return f"NVSwitch of node {vertex - self.hosts}"
        return f"rail switch {vertex - self.hosts - self._nodes}"
