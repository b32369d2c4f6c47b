"""One switch in the middle, or one medium that all share."""

from __future__ import annotations

import math

import numpy as np

from simulator.models import Hockney, Model, Reduction
from simulator.networks.checks import check_bandwidth, check_latency, whole
from simulator.networks.network import Network
from simulator.networks.topology import Ints, Routes, Topology, one_of

__all__ = ["bus", "star", "uniform"]


def star(size: int, latency: float, bandwidth: float, reduction: float = 0.0) -> Network:
    """``size`` hosts around one switch that is never the bottleneck.

    ``latency``: seconds from one host to another. ``bandwidth``: bytes/s of each host's full-duplex link, in each
    direction (``math.inf`` for a link that costs latency only). ``reduction``: seconds per reduced byte.
    Raises ValueError for a bandwidth of zero or below, and for a number that is negative, NaN or not finite.
    """
    size, bandwidth = _checked(size, bandwidth)
    hosts = np.arange(size)
    up = np.stack([hosts, np.full(size, size)], axis=1)

    def many(sources: Ints, dests: Ints) -> Routes:
        moved = sources != dests
        return Routes.of_columns([(moved, sources), (moved, size + dests)], len(sources))

    topology = Topology(
        name="star",
        hosts=size,
        ends=np.concatenate([up, up[:, ::-1]]),
        latency=np.full(2 * size, check_latency(latency) / 2),
        bandwidth=np.full(2 * size, bandwidth),
        machine=hosts,
        route=one_of(many),
        cuts=lambda: (),
        label=lambda vertex: f"host {vertex}" if vertex < size else "switch",
        private=True,
        many=many,
        translations="any",
    )
    return Network(topology, hosts, Model(reduction=Reduction(((math.inf, reduction),))))


def bus(size: int, latency: float, bandwidth: float, shared: float, *, one_machine: bool = False) -> Network:
    """``size`` hosts around one medium that carries ``shared`` bytes/s in all: Wi-Fi, or the memory of a computer.

    ``latency``: seconds from one host to another. ``bandwidth``: bytes/s of one host alone, in each direction.
    ``one_machine``: the hosts are the cores of one machine. Raises ValueError as ``star`` does.
    """
    size, bandwidth = _checked(size, bandwidth)
    hosts, medium = np.arange(size), 2 * size
    into = np.stack([hosts, np.full(size, size)], axis=1)
    out = np.stack([np.full(size, size + 1), hosts], axis=1)

    def many(sources: Ints, dests: Ints) -> Routes:
        moved = sources != dests
        columns = [(moved, sources), (moved, np.full(len(sources), medium)), (moved, size + dests)]
        return Routes.of_columns(columns, len(sources))

    topology = Topology(
        name="bus",
        hosts=size,
        ends=np.concatenate([into, out, [[size, size + 1]]]),
        latency=np.append(np.full(2 * size, check_latency(latency) / 2), 0.0),
        bandwidth=np.append(np.full(2 * size, bandwidth), check_bandwidth(shared, "shared bandwidth")),
        machine=np.zeros(size, dtype=np.int64) if one_machine else hosts,
        route=one_of(many),
        cuts=lambda: ((*range(size // 2), size),),  # what any half of the hosts sends leaves over the medium
        label=lambda vertex: f"host {vertex}" if vertex < size else ("medium in", "medium out")[vertex - size],
        many=many,
    )
    return Network(topology, hosts)


def uniform(size: int, alpha: float, beta: float, gamma: float = 0.0) -> Network:
    """``size`` ranks, every pair alike: ``alpha`` s a message, ``beta`` s a byte, ``gamma`` s a reduced byte.

    Raises ValueError for a number that is negative or not finite.
    """
    quick = star(size, 0.0, math.inf)
    return Network(quick.topology, quick.place, Model(Hockney(alpha, beta), Reduction(((math.inf, gamma),))))


def _checked(size: int, bandwidth: float) -> tuple[int, float]:
    if whole("size", size, least=0) < 1:
        raise ValueError(f"a network needs at least one host, got size={size}")
    return size, check_bandwidth(bandwidth)
