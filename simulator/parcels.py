"""Messages of processes, and the ports that take one of them at a time in each direction."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from simulator.networks import Network

__all__ = ["Parcel", "Ports"]


@dataclass(slots=True, eq=False)
class Parcel:
    """One message. ``turn``: lower goes first. ``rate``: bytes/s that its ports and links allow it when alone.

    Seconds: ``overhead`` on each processor, ``handshake`` before it may start, ``gap`` for which the ports stay taken,
    ``latency`` from the last byte sent to the last one there. ``delivered`` is called at the end.
    """

    source: int
    dest: int
    nbytes: int
    turn: int
    links: tuple[int, ...]
    rate: float
    overhead: float
    handshake: float
    gap: float
    latency: float
    delivered: Callable[[], None]


class Ports:
    """One port in each direction at every rank; a free port takes the first message that can go, and never waits."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._sending, self._receiving = [False] * network.size, [False] * network.size
        self._leaving: list[dict[int, Parcel]] = [{} for _ in range(network.size)]  # those that wait, by turn
        self._coming: list[dict[int, Parcel]] = [{} for _ in range(network.size)]
        self._routes: dict[tuple[int, int], tuple[tuple[int, ...], float, float]] = {}
        self._costs: dict[int, tuple[float, float, float]] = {}

    def parcel(self, source: int, dest: int, nbytes: int, turn: int) -> Parcel:
        """A message with what it costs on this network. Raises ValueError for less than 0 bytes."""
        message = self._network.model.message
        links, bandwidth, wire = self._route(source, dest)
        delay, rate, overhead = self._cost(nbytes)
        asks = message.handshake and nbytes > message.eager
        latency = wire + delay
        return Parcel(
            source, dest, nbytes, turn, links, min(rate, bandwidth), overhead, 2 * latency if asks else 0.0,
            message.gap, latency, _nothing,
        )  # fmt: skip

    def ready(self, parcel: Parcel) -> bool:
        """Whether it starts now, both of its ports taken; if not, it waits for them."""
        if self._free(parcel):
            self._take(parcel)
            return True
        self._leaving[parcel.source][parcel.turn] = self._coming[parcel.dest][parcel.turn] = parcel
        return False

    def released(self, parcel: Parcel) -> Iterator[Parcel]:
        """Free the ports of ``parcel``; yields those that start now in its place, their ports taken."""
        self._sending[parcel.source] = self._receiving[parcel.dest] = False
        queues = self._leaving[parcel.source], self._coming[parcel.dest]
        while found := [first for queue in queues for first in self._first(queue)]:
            following = min(found, key=lambda waiting: waiting.turn)
            del self._leaving[following.source][following.turn], self._coming[following.dest][following.turn]
            self._take(following)
            yield following

    def _first(self, queue: dict[int, Parcel]) -> list[Parcel]:
        return list(islice(filter(self._free, queue.values()), 1))

    def _free(self, parcel: Parcel) -> bool:
        return not (self._sending[parcel.source] or self._receiving[parcel.dest])

    def _take(self, parcel: Parcel) -> None:
        self._sending[parcel.source] = self._receiving[parcel.dest] = True

    def _route(self, source: int, dest: int) -> tuple[tuple[int, ...], float, float]:
        """Links, their lowest bandwidth and the sum of their latencies, looked up once for each pair."""
        if (source, dest) not in self._routes:
            topology, place = self._network.topology, self._network.place
            links = topology.routes(place[[source]], place[[dest]]).links if source != dest else np.zeros(0, np.int64)
            bandwidth = float(topology.bandwidth[links].min(initial=math.inf))
            self._routes[source, dest] = tuple(links.tolist()), bandwidth, float(topology.latency[links].sum())
        return self._routes[source, dest]

    def _cost(self, nbytes: int) -> tuple[float, float, float]:
        """The model's latency, the bytes/s of its ports and processor seconds at each end, worked out once a size."""
        if nbytes not in self._costs:
            if nbytes < 0:
                raise ValueError(f"a message has at least 0 bytes, got {nbytes}")
            message, size = self._network.model.message, np.array([nbytes])
            seconds = float(message.seconds(size)[0])
            overhead = message.overhead + nbytes * message.overhead_per_byte
            self._costs[nbytes] = float(message.delay(size)[0]), nbytes / seconds if seconds else math.inf, overhead
        return self._costs[nbytes]


def _nothing() -> None:
    """Who sends a message to nobody in particular wants nothing done."""
