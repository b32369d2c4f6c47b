"""A worker's messages that were not answered yet, and what becomes of them when an answer comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from collectives.parameter_server.consistency import Reception
from collectives.parameter_server.errors import ServerRefused
from collectives.parameter_server.layout import Piece, scattered
from collectives.parameter_server.messages import Kind, Message
from collectives.parameter_server.sharding import Sharding
from collectives.parameter_server.statistics import WorkerStatistics
from collectives.parameter_server.tickets import Ticket

__all__ = ["CONTROL", "Flights", "InFlight"]

CONTROL = -1.0
"""The priority of messages that are about no part; lower goes first."""


@dataclass(slots=True, eq=False)
class InFlight:
    """A message that was not answered yet; ``wanted``: where its parameters go."""

    server: int
    message: Message
    tickets: list[Ticket]
    wanted: list[Piece] = field(default_factory=list[Piece])
    priority: float = CONTROL


class Flights:
    """By part, or by request where it is about all parts, what worker ``worker`` waits for.

    ``addresses``: the rank of each server. ``clocks``: how many pushes of each part were made, or counted without it.
    """

    def __init__(self, worker: int, sharding: Sharding, addresses: Sequence[int], statistics: WorkerStatistics) -> None:
        self._worker, self._sharding, self._addresses, self._statistics = worker, sharding, addresses, statistics
        self.clocks = dict.fromkeys((part.number for part in sharding.parts), 0)
        self.explained: dict[int, str] = {}
        """By request, what a server said that it waits for."""
        self._of_part: dict[int, dict[int, InFlight]] = {number: {} for number in self.clocks}
        self._of_all: dict[int, dict[int, InFlight]] = {}

    def __iter__(self) -> Iterator[InFlight]:
        """Oldest first within each part."""
        tables = [*self._of_part.values(), *self._of_all.values()]
        return iter([flight for flying in tables for flight in flying.values()])

    def of(self, ticket: Ticket) -> list[InFlight]:
        """Those that the ticket waits for."""
        return [flight for flight in self if ticket in flight.tickets]

    def depart(self, flight: InFlight) -> None:
        """One more. It waits for those of its part that are less urgent, for they must not overtake each other."""
        flying = self._of_part[flight.message.part]
        flight.priority = max([flight.priority, *(earlier.priority for earlier in flying.values())])
        flying[flight.message.request] = flight

    def depart_to_all(self, request: int, flights: Mapping[int, InFlight]) -> None:
        """One to each server, with one request."""
        self._of_all[request] = dict(flights)

    def arrived(self, message: Message, source: int) -> None:
        """An answer from rank ``source`` is here. What is not waited for is left alone."""
        if message.kind is Kind.PARAMETERS:
            self._parameters(message)
        elif message.kind is Kind.ACK:
            self._acknowledged(message, source)
        elif message.kind is Kind.REFUSED:
            self._refused(message, source)
        elif message.kind is Kind.EXPLAINED:
            self.explained[message.request] = message.text

    def told(self, flight: InFlight) -> str:
        """What is missing, in words."""
        message = flight.message
        where = f"server {flight.server} (rank {self._addresses[flight.server]})"
        if message.kind in (Kind.JOIN, Kind.LEAVE, Kind.END):
            return f"{where} has not answered {message.kind.name}"
        names = ", ".join(sorted(name for name, _, _ in self._sharding.within(self._sharding.parts[message.part])))
        return f"{where} has not answered {message.kind.name} of part {message.part} ({names}) at clock {message.clock}"

    def _parameters(self, message: Message) -> None:
        if message.part not in self._of_part or message.payload.size != 4 * self._sharding.parts[message.part].count:
            return
        part, values = self._sharding.parts[message.part], message.payload.view(np.float32)
        self._statistics.received_bytes += message.nbytes
        joining = self._of_all.get(message.request, {}).get(part.server)
        if joining is not None:
            scattered(part, values, joining.wanted)
        flying = self._of_part[part.number]
        for request in [each for each in flying if each <= message.request]:
            if flying[request].message.kind is not Kind.PUSH:
                flight = flying.pop(request)
                scattered(part, values, flight.wanted)
                self._completed(flight, message)
        self.clocks[part.number] = max(self.clocks[part.number], message.clock)

    def _acknowledged(self, message: Message, source: int) -> None:
        self._statistics.received_bytes += message.nbytes
        if (flying := self._of_all.get(message.request)) is not None:
            answered = [each for each, flight in flying.items() if flight.message.part == message.part]
            for server in [each for each in answered if self._addresses[each] == source][:1]:
                self._completed(flying.pop(server), message)
            if not flying:
                self._of_all.pop(message.request, None)
            return
        flight = self._of_part.get(message.part, {}).pop(message.request, None)
        if flight is not None:
            self._completed(flight, message)

    def _completed(self, flight: InFlight, answer: Message) -> None:
        if flight.message.kind in (Kind.PUSH, Kind.PUSH_PULL):
            late = answer.reception is Reception.LATE
            self._statistics.late += late
            if not late:
                self._statistics.staleness[answer.staleness] += 1
            for ticket in flight.tickets:
                ticket.late += late
                ticket.staleness += [answer.staleness] * (not late)
        for ticket in flight.tickets:
            ticket.open -= 1

    def _refused(self, message: Message, source: int) -> None:
        """Of a message that could not be read the server cannot say which: all that is under way to it fails."""
        self._statistics.refused += 1
        error = ServerRefused(f"rank {source} refused a message of worker {self._worker}: {message.text}")
        for flight in self:
            if message.request in (0, flight.message.request) and self._addresses[flight.server] == source:
                for ticket in flight.tickets:
                    ticket.error = error
                self._of_part.get(flight.message.part, {}).pop(flight.message.request, None)
