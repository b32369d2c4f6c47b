"""A worker's side as a state machine: requests become messages, answers become parameters. It knows no MPI."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.consistency import Elastic
from collectives.parameter_server.flights import CONTROL, Flights, InFlight
from collectives.parameter_server.gathering import Gathering, Rows, Terms
from collectives.parameter_server.layout import Arrays, Piece, pieces
from collectives.parameter_server.messages import EVERY_PART, Bytes, Coding, Envelope, Kind, Message, as_bytes
from collectives.parameter_server.payloads import Floats
from collectives.parameter_server.sharding import Part, Sharding
from collectives.parameter_server.statistics import WorkerStatistics
from collectives.parameter_server.tickets import Ticket
from kernels import compress

__all__ = ["Client"]


class Client:
    """Worker ``worker`` of ``configuration``. ``send`` takes an envelope and its priority, and must not block.

    ``waiting`` is what a ticket waits by. ``addresses``: the rank of each server, which may change. With an encoding,
    what a push loses is kept and added to the next one of its part. Memory: a float32 vector as long as the model for
    that, and the messages under way. May be used by several threads. Raises ValueError for what cannot go together.
    """

    def __init__(
        self,
        configuration: Configuration,
        sharding: Sharding,
        worker: int,
        send: Callable[[Envelope, float], None],
        waiting: Callable[[Ticket, float | None], None],
    ) -> None:
        if configuration.encoding is not None and isinstance(configuration.consistency, Elastic):
            raise ValueError("elastic averaging pushes parameters, not gradients: leave the encoding out")
        self.configuration, self.sharding, self.worker = configuration, sharding, worker
        self.encoding = None if configuration.encoding is None else compress.get(configuration.encoding)
        self.addresses = [configuration.rank_of(server) for server in range(configuration.servers)]
        self.statistics = WorkerStatistics()
        self._flights = Flights(worker, sharding, self.addresses, self.statistics)
        self._send, self._waiting = send, waiting
        self._requests = itertools.count(1)
        self._names = {part.number: {name for name, _, _ in sharding.within(part)} for part in sharding.parts}
        self._gatherings: dict[int, Gathering] = {}
        self._residuals: dict[int, Floats] = {}
        self._lock = threading.RLock()

    @property
    def clocks(self) -> dict[int, int]:
        """By part, how many pushes were made or counted without it."""
        return self._flights.clocks

    @property
    def explained(self) -> Mapping[int, str]:
        """By the number that ``ask_why`` gave, what the server waits for."""
        return self._flights.explained

    def push(
        self, name: str | None, gradients: Arrays | Rows, terms: Terms, *, into: Arrays | None = None,
        priority: float | None = None,
    ) -> Ticket:  # fmt: skip
        """Push the gradient of tensor ``name``, or of all; with ``into`` the new parameters are pulled there.

        The gradients may be changed when this returns. A part that holds several tensors goes when the last of them
        is given. Lower priorities go first; by default, parts in their order.
        """
        ticket = self._ticket("push" if into is None else "push_pull", name)
        parts = self.sharding.parts if name is None else self.sharding.covering(name)
        with self._lock:
            wanted = None if into is None else pieces(self.sharding, name, into)
            if isinstance(gradients, Rows):
                self._push_rows(name, gradients, terms, wanted, ticket, priority)
                return ticket
            found = pieces(self.sharding, name, gradients)
            self._check(parts, name, terms)
            for part in parts:
                self._gather(part, name, found, terms, wanted, ticket, priority)
        return ticket

    def pull(self, name: str | None, into: Arrays, *, priority: float | None = None) -> Ticket:
        """Have the parameters of tensor ``name``, or all, written to ``into``."""
        ticket = self._ticket("pull", name)
        with self._lock:
            wanted = pieces(self.sharding, name, into)
            for part in self.sharding.parts if name is None else self.sharding.covering(name):
                message = Message(Kind.PULL, self.worker, part.number, self.clocks[part.number])
                ticket.open += 1
                self._fly(part, message, [ticket], wanted, priority)
                self.statistics.pulls += 1
        return ticket

    def control(self, kind: Kind, into: Arrays | None = None) -> Ticket:
        """Tell all servers that this worker joins, leaves or ends. Who joins has the parameters written to ``into``.

        A joining worker's clocks are then those at which the servers took it up; join again until they are all one.
        """
        ticket = self._ticket(kind.name.lower(), None, self.configuration.servers)
        with self._lock:
            wanted = [] if into is None else pieces(self.sharding, None, into)
            request = next(self._requests)
            message = Message(kind, self.worker, clock=max(self.clocks.values(), default=0), request=request)
            flights = {
                server: InFlight(server, replace(message, part=self._last(server)), [ticket], wanted)
                for server in range(self.configuration.servers)
            }
            self._flights.depart_to_all(request, flights)
            for server, flight in flights.items():
                self._send(Envelope(self.addresses[server], flight.message), CONTROL)
        return ticket

    def sent(self, ticket: Ticket) -> bool:
        """Whether all that the ticket stands for is on its way, and waits for no other tensor."""
        with self._lock:
            return not any(ticket in each.tickets for each in self._gatherings.values())

    def ask_why(self, ticket: Ticket) -> int | None:
        """Ask what the first of the ticket's parts waits for; ``explained`` will have the answer by this number."""
        with self._lock:
            for flight in self._flights.of(ticket):
                if flight.message.part != EVERY_PART:
                    request = next(self._requests)
                    message = Message(Kind.EXPLAIN, self.worker, flight.message.part, request=request)
                    self._send(Envelope(self.addresses[flight.server], message), CONTROL)
                    return request
        return None

    def missing(self, ticket: Ticket) -> str:
        """What the ticket waits for, in words."""
        with self._lock:
            told = [self._flights.told(flight) for flight in self._flights.of(ticket)]
            told += [
                f"part {each.part.number} has no gradient of {', '.join(sorted(each.missing))} yet"
                for each in self._gatherings.values()
                if ticket in each.tickets
            ]
        return "; ".join(told[:4]) + (f"; and {len(told) - 4} more" if len(told) > 4 else "")

    def flights(self) -> list[InFlight]:
        """All messages that were not answered yet, oldest first within each part."""
        with self._lock:
            return list(self._flights)

    def resend(self, server: int) -> None:
        """Send again what ``server`` has not answered, to where it is now; it knows what it had already."""
        with self._lock:
            for flight in self._flights:
                if flight.server == server:
                    self._send(Envelope(self.addresses[server], flight.message), flight.priority)

    def handle(self, message: Message, source: int) -> None:
        """An answer from rank ``source`` is here. What is not waited for is left alone."""
        with self._lock:
            self._flights.arrived(message, source)

    def fail(self, error: Exception) -> None:
        """Nothing under way will be answered any more."""
        with self._lock:
            for flight in self._flights:
                for ticket in flight.tickets:
                    ticket.error = error

    def _ticket(self, verb: str, name: str | None, count: int = 0) -> Ticket:
        return Ticket(f"{verb} of {name or 'the whole model'} by worker {self.worker}", self._waiting, count)

    def _check(self, parts: tuple[Part, ...], name: str | None, terms: Terms) -> None:
        for part in parts:
            if part.number in self._gatherings:
                self._gatherings[part.number].check(self._named(part, name), terms)

    def _named(self, part: Part, name: str | None) -> set[str]:
        return self._names[part.number] if name is None else {name}

    def _gather(
        self, part: Part, name: str | None, found: list[Piece], terms: Terms, wanted: list[Piece] | None,
        ticket: Ticket, priority: float | None,
    ) -> None:  # fmt: skip
        gathering = self._gatherings.get(part.number)
        if gathering is None:
            values = np.empty(part.count, np.float32)
            gathering = self._gatherings[part.number] = Gathering(part, values, set(self._names[part.number]), terms)
        gathering.add(self._named(part, name), found, wanted, ticket)
        if not gathering.missing:
            del self._gatherings[part.number]
            if terms.clock is not None and terms.clock <= self.clocks[part.number]:
                for each in gathering.tickets:
                    each.open, each.late = each.open - 1, each.late + 1
                return
            payload, coding = self._encoded(part, gathering.values)
            self._go(part, payload, coding, terms, gathering.wanted, gathering.tickets, priority)

    def _push_rows(
        self, name: str | None, rows: Rows, terms: Terms, wanted: list[Piece] | None, ticket: Ticket,
        priority: float | None,
    ) -> None:  # fmt: skip
        if name is None:
            raise ValueError("rows are of one tensor: push them by its name")
        begin, end = self.sharding.tensors[name]
        rows.checked(name, end - begin)
        parts = self.sharding.covering(name)
        self._check(parts, name, terms)
        for part in parts:
            if self._names[part.number] == {name}:
                ticket.open += 1
                self._go(part, rows.payload(begin, part.lo, part.hi), Coding.ROWS, terms, wanted, [ticket], priority)
            else:
                dense = rows.dense(begin, max(begin, part.lo), min(end, part.hi))
                self._gather(part, name, [dense], terms, wanted, ticket, priority)

    def _encoded(self, part: Part, values: Floats) -> tuple[Bytes, Coding]:
        if self.encoding is None:
            return as_bytes(values), Coding.RAW
        wire = np.empty(self.encoding.nbytes(part.count), np.uint8)
        if part.number not in self._residuals:
            self._residuals[part.number] = np.zeros(part.count, np.float32)
        counter = (self.worker * len(self.clocks) + part.number << 32) + self.clocks[part.number]
        self.encoding.encode_feedback(values, wire, self._residuals[part.number], counter=counter)
        return wire, Coding.ENCODED

    def _go(
        self, part: Part, payload: Bytes, coding: Coding, terms: Terms, wanted: list[Piece] | None,
        tickets: list[Ticket], priority: float | None,
    ) -> None:  # fmt: skip
        self.clocks[part.number] += 1
        self.statistics.pushes += 1
        message = Message(
            Kind.PUSH if wanted is None else Kind.PUSH_PULL, self.worker, part.number, self.clocks[part.number],
            payload, coding, terms.samples, terms.learning_rate,
        )  # fmt: skip
        self._fly(part, message, tickets, wanted or [], priority)

    def _fly(
        self, part: Part, message: Message, tickets: list[Ticket], wanted: list[Piece], priority: float | None
    ) -> None:
        urgency = float(part.number) if priority is None else priority
        flight = InFlight(part.server, replace(message, request=next(self._requests)), tickets, wanted, urgency)
        self._flights.depart(flight)
        self.statistics.sent_bytes += message.nbytes
        self._send(Envelope(self.addresses[part.server], flight.message), flight.priority)

    def _last(self, server: int) -> int:
        """The last part of a server, if it has any: its answer does not overtake the parameters of the others."""
        parts = self.sharding.by_server.get(server)
        return parts[-1].number if parts else EVERY_PART
