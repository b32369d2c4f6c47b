"""Messages of processes, and the ports that take one of them at a time in each direction."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np

from simulator.networks import Network

__all__ = ["Parcel", "Ports"]


@dataclass(slots=True, eq=False)
class Parcel:
    """One message. ``turn``: lower goes first, once it is ready. ``rate``: bytes/s that it has when alone.

    Seconds: ``overhead`` on each processor, ``handshake`` before it may start, ``gap`` for which the ports stay taken,
    ``latency`` from the last byte sent to the last one there. ``sent`` is called when the last byte has left, and
    ``delivered`` at the end.
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
    sent: Callable[[], None]
    delivered: Callable[[], None]


class Ports:
    """One port in each direction at every rank; a free port takes the first message that can go, and never waits."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._sending, self._receiving = [False] * network.size, [False] * network.size
        self._leaving: list[dict[int, Parcel]] = [{} for _ in range(network.size)]  # those that wait, by turn
        self._coming: list[dict[int, Parcel]] = [{} for _ in range(network.size)]
        self._stirred: dict[tuple[int, int], dict[int, Parcel]] = {}  # the queues of ports where something changed
        self._turns = count()
        self._routes: dict[tuple[int, int], tuple[tuple[int, ...], float, float]] = {}
        self._costs: dict[int, tuple[float, float, float, float]] = {}

    def parcel(self, source: int, dest: int, nbytes: int) -> Parcel:
        """A message with what it costs on this network. Raises ValueError for less than 0 bytes."""
        message = self._network.model.message
        links, bandwidth, wire = self._route(source, dest)
        delay, rate, overhead, gap = self._cost(nbytes)
        asks = message.handshake and nbytes > message.eager
        latency = wire + delay
        return Parcel(
            source, dest, nbytes, 0, links, min(rate, bandwidth), overhead, 2 * latency if asks else 0.0,
            gap, latency, _nothing, _nothing,
        )  # fmt: skip

    def ready(self, parcel: Parcel) -> None:
        """It waits for its ports from now on, behind those that do already."""
        parcel.turn = next(self._turns)
        self._leaving[parcel.source][parcel.turn] = self._coming[parcel.dest][parcel.turn] = parcel
        self._stirred[0, parcel.source] = self._leaving[parcel.source]
        self._stirred[1, parcel.dest] = self._coming[parcel.dest]

    def released(self, parcel: Parcel) -> None:
        """Its ports are free again."""
        self._sending[parcel.source] = self._receiving[parcel.dest] = False
        self._stirred[0, parcel.source] = self._leaving[parcel.source]
        self._stirred[1, parcel.dest] = self._coming[parcel.dest]

    def starting(self) -> Iterator[Parcel]:
        """Those that start now, first come, first served, their ports taken. Ask when all of a moment has been told."""
        queues = list(self._stirred.values())
        self._stirred.clear()
        first = [(parcel.turn, at) for at, queue in enumerate(queues) for parcel in self._first(queue)]
        heapq.heapify(first)
        while first:
            turn, at = heapq.heappop(first)
            parcel = queues[at].get(turn)
            if parcel is not None and self._free(parcel):
                del self._leaving[parcel.source][turn], self._coming[parcel.dest][turn]
                self._sending[parcel.source] = self._receiving[parcel.dest] = True
                yield parcel
            else:  # one of its ports has been taken meanwhile; the other may have a next
                for following in self._first(queues[at]):
                    heapq.heappush(first, (following.turn, at))

    def _first(self, queue: dict[int, Parcel]) -> list[Parcel]:
        return list(islice(filter(self._free, queue.values()), 1))

    def _free(self, parcel: Parcel) -> bool:
        return not (self._sending[parcel.source] or self._receiving[parcel.dest])

    def _route(self, source: int, dest: int) -> tuple[tuple[int, ...], float, float]:
        """Links, their lowest bandwidth and the sum of their latencies, looked up once for each pair."""
        if (source, dest) not in self._routes:
            topology, place = self._network.topology, self._network.place
            links = topology.routes(place[[source]], place[[dest]]).links if source != dest else np.zeros(0, np.int64)
            bandwidth = float(topology.bandwidth[links].min(initial=math.inf))
            self._routes[source, dest] = tuple(links.tolist()), bandwidth, float(topology.latency[links].sum())
        return self._routes[source, dest]

    def _cost(self, nbytes: int) -> tuple[float, float, float, float]:
        """The model's latency, the bytes/s of its ports, processor seconds at each end, and gap; once a size."""
        if nbytes not in self._costs:
            if nbytes < 0:
                raise ValueError(f"a message has at least 0 bytes, got {nbytes}")
            message, size = self._network.model.message, np.array([nbytes])
            seconds = float(message.seconds(size)[0])
            overhead = message.overhead + nbytes * message.overhead_per_byte
            rate = nbytes / seconds if seconds else math.inf
            self._costs[nbytes] = float(message.delay(size)[0]), rate, overhead, float(message.gap(size)[0])
        return self._costs[nbytes]


def _nothing() -> None:
    """Who sends a message to nobody in particular wants nothing done."""
