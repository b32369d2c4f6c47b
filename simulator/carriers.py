"""What carries amounts at a rate: links that carry bytes, and cores that carry seconds of work.

A machine with c cores is a link of capacity c whose flows take at most 1 each: an even share of cores is a fair one.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from simulator.networks import Network

__all__ = [
    "SAME",
    "Alone",
    "Carrier",
    "Flows",
    "carrier_of_cores",
    "carrier_of_links",
    "carrier_of_ports",
    "port_rate",
    "ports_of",
]


SAME = 1e-12
"""Moments that differ by less than this share are one, so that rounding never decides."""


_SIZES = 1 << np.arange(23)

_ENDLESS = 1e18
"""Bytes/s, of a link that never slows anything."""


class Flows(Protocol):
    """Amounts under way; ``simulator.fluid.Flows`` shares links between them, ``Alone`` does not."""

    def start(self, links: Sequence[int], nbytes: float, cap: float, now: float) -> int:
        """Send an amount over ``links`` at a rate of at most ``cap``; returns its slot."""
        ...

    def next(self) -> float:
        """When the first of them will be through; infinity if there is none."""
        ...

    def advance(self, now: float) -> Sequence[int]:
        """The slots that are through at ``now``, free again."""
        ...


class Alone:
    """Flows that never share: each goes at the lowest of its cap and the capacities of its links."""

    def __init__(self, capacity: Sequence[float]) -> None:
        self._capacity = capacity
        self._ends: list[tuple[float, int]] = []
        self._started = 0

    def start(self, links: Sequence[int], nbytes: float, cap: float, now: float) -> int:
        """Send an amount; slots are numbered in order and never used again."""
        rate = min(cap, min((self._capacity[link] for link in links), default=math.inf))
        self._started += 1
        heapq.heappush(self._ends, (now + nbytes / rate, self._started))
        return self._started

    def next(self) -> float:
        """When the first will be through."""
        return self._ends[0][0] if self._ends else math.inf

    def advance(self, now: float) -> Sequence[int]:
        """The slots that are through."""
        through: list[int] = []
        while self._ends and self._ends[0][0] <= now * (1 + SAME):
            through.append(heapq.heappop(self._ends)[1])
        return through


class Carrier:
    """Flows, and what is to be done when each is through."""

    def __init__(self, flows: Flows) -> None:
        self._flows = flows
        self._after: dict[int, tuple[int, Callable[[], None]]] = {}
        self._started = 0

    def start(self, links: Sequence[int], amount: float, rate: float, now: float, after: Callable[[], None]) -> None:
        """Send ``amount`` over ``links`` at no more than ``rate``, then call ``after``."""
        self._started += 1  # the flows number themselves anew when one ends
        self._after[self._flows.start(links, amount, rate, now)] = self._started, after

    def next(self) -> float:
        """When the first will be through; infinity if none is under way."""
        return self._flows.next() if self._after else math.inf

    def advance(self, now: float) -> None:
        """Call what is to be done for all that are through at ``now``, in the order in which they started."""
        if self._after and self._flows.next() <= now:
            for _, after in sorted(
                (self._after.pop(slot) for slot in self._flows.advance(now)), key=lambda due: due[0]
            ):
                after()


def carrier_of_links(network: Network, contention: bool) -> Carrier:
    """What carries messages: with contention flows share the links, unless ports alone keep them apart."""
    topology = network.topology
    if contention and not topology.private:
        return Carrier(_shared(topology.bandwidth))
    return Carrier(Alone(topology.bandwidth.tolist()))


def carrier_of_ports(network: Network) -> Carrier:
    """What carries messages that share ports like links: after the network's links, ranks' ports out, then those in."""
    port = np.full(2 * network.size, port_rate(network))
    # A capacity must be finite for a share of it; beyond this no message is slowed.
    return Carrier(_shared(np.minimum(np.concatenate([network.topology.bandwidth, port]), _ENDLESS)))


def port_rate(network: Network, nbytes: int = 1 << 16) -> float:
    """Bytes/s at which a port passes messages of ``nbytes`` bytes while others of other ranks fill its pauses.

    Infinite where only links take time. Longer messages show what a port can do: a train of messages that ask first
    has pauses in it, which another's bytes fill.
    """
    message, sizes = network.model.message, np.unique(np.append(_SIZES[nbytes < _SIZES], max(1, nbytes)))
    least = float(((message.seconds(sizes) + message.gap(sizes)) / sizes).min())
    return 1 / least if least else math.inf


def ports_of(network: Network, source: int, dest: int) -> tuple[int, int]:
    """The ports of a message, as ``carrier_of_ports`` numbers them."""
    first = len(network.topology.bandwidth)
    return first + source, first + network.size + dest


def carrier_of_cores(network: Network) -> tuple[Carrier, list[float]]:
    """What carries processor work, link ``i`` being machine ``i``, and the most that each rank can get of a core."""
    machine = network.topology.machine
    machines, cores = int(machine.max()) + 1, network.model.cores
    if cores is None:
        return Carrier(Alone([math.inf] * machines)), [1.0] * network.size
    if cores.waiting == "yields":
        return Carrier(_shared(np.full(machines, float(cores.count)))), [1.0] * network.size
    mine = machine[network.place]
    crowd = np.bincount(mine, minlength=machines)
    return Carrier(Alone([math.inf] * machines)), np.minimum(1.0, cores.count / crowd[mine]).tolist()


def _shared(capacity: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Flows:
    from simulator import fluid

    return fluid.Flows(capacity)
