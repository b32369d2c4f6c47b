"""Which rank runs on which host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simulator.networks.checks import whole
from simulator.networks.network import Network
from simulator.networks.topology import Ints, Topology

__all__ = ["PLACEMENTS", "place"]

PLACEMENTS = ("block", "cyclic", "random")
"""The placements that have a name."""


def place(network: Network, how: str | Sequence[int] | Ints, ranks: int | None = None, seed: int = 0) -> Network:
    """The same network with its ranks elsewhere.

    ``how``: ``"block"`` fills one machine after the other; ``"cyclic"`` deals the ranks round the machines, or where
    every machine is a single host, round the switches that hosts are attached to; ``"random"`` draws hosts with
    ``seed``; a sequence gives the host of each rank. ``ranks``: how many there are, by default as many as ``network``
    has, or as the sequence gives. Raises ValueError for a name that is not known, for more ranks than hosts, for a
    rank without a host, and for a host with two.
    """
    if not isinstance(how, str):
        return _explicit(network, np.asarray(how), ranks)
    count = network.size if ranks is None else whole("ranks", ranks)
    topology = network.topology
    if count > topology.hosts:
        raise ValueError(f"{topology.name} has {topology.hosts} hosts, too few for {count} ranks")
    match how:
        case "block":
            order = np.argsort(topology.machine, kind="stable")
        case "cyclic":
            order = _dealt(_groups(topology))
        case "random":
            order = np.random.default_rng(seed).permutation(topology.hosts)
        case _:
            raise ValueError(f"no placement is called {how!r}; known: {', '.join(PLACEMENTS)}, or a list of hosts")
    return replace(network, place=order[:count])


def _explicit(network: Network, hosts: Ints, ranks: int | None) -> Network:
    if hosts.ndim != 1 or not (np.issubdtype(hosts.dtype, np.integer) or not len(hosts)):
        raise ValueError("a placement is a list of host numbers, one for each rank")
    count = len(hosts) if ranks is None else whole("ranks", ranks)
    if len(hosts) < count:
        raise ValueError(f"rank {len(hosts)} has no place: {len(hosts)} hosts were given for {count} ranks")
    if len(hosts) > count:
        raise ValueError(f"{len(hosts)} hosts were given for {count} ranks: give one for each")
    return replace(network, place=hosts)


def _groups(topology: Topology) -> Ints:
    """For each host what it shares with its neighbours: its machine, or the switch of its first link."""
    machines = topology.machine
    if len(np.unique(machines)) < topology.hosts or not len(topology.ends):
        return machines
    first = np.arange(topology.hosts)
    leaving = np.flatnonzero(topology.ends[:, 0] < topology.hosts)[::-1]
    first[topology.ends[leaving, 0]] = topology.ends[leaving, 1]  # the last one written is the first link
    return first if (first >= topology.hosts).all() else machines


def _dealt(groups: Ints) -> Ints:
    """The first member of each group, then the second of each, and so on."""
    by_group = np.argsort(groups, kind="stable")
    sizes = np.unique(groups, return_counts=True)[1]
    turn = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return by_group[np.argsort(turn, kind="stable")]
