"""A worker's face: push, pull, and both at once, of the whole model or by tensor, waiting or not."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from collectives.parameter_server.client import Client
from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.courier import Courier, Handler
from collectives.parameter_server.errors import ServerTimeout
from collectives.parameter_server.gathering import Rows, Terms
from collectives.parameter_server.layout import Arrays
from collectives.parameter_server.messages import Kind
from collectives.parameter_server.payloads import Floats
from collectives.parameter_server.sharding import Sharding
from collectives.parameter_server.statistics import WorkerStatistics
from collectives.parameter_server.tickets import Ticket

__all__ = ["Worker"]

_WHY = 2.0  # seconds for a server to say what it waits for


class Worker:
    """One worker of a parameter server; ``parameter_server.start`` makes it. Leave its ``with`` block on all ranks.

    ``tensors`` are the arrays that pulls write to where a call names no others. Gradients and arrays to pull into are
    given for one tensor by its name, or with name None for all: by name, or as the one flat vector. A gradient may be
    changed when the call returns; what is pulled is there when the call, or its ticket's ``wait``, returns.
    ``limit``: seconds after which a wait raises ServerTimeout. Cost of ``push_pull`` of n bytes: with separate servers
    n bytes sent and n received, with colocated ones (k−1)/k of that by the worker itself where k servers share them.
    """

    def __init__(
        self, courier: Courier, configuration: Configuration, sharding: Sharding, number: int,
        tensors: Mapping[str, Floats], limit: float,
    ) -> None:  # fmt: skip
        self._courier = courier
        self._client = courier.client = Client(configuration, sharding, number, courier.send, self.wait_for)
        self.tensors, self.limit = tensors, limit
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._courier.stop()

    @property
    def number(self) -> int:
        """Which worker it is."""
        return self._client.worker

    @property
    def configuration(self) -> Configuration:
        """How workers and servers are arranged."""
        return self._client.configuration

    @property
    def sharding(self) -> Sharding:
        """Which server keeps what."""
        return self._client.sharding

    @property
    def statistics(self) -> WorkerStatistics:
        """What this worker saw."""
        return self._client.statistics

    @property
    def clock(self) -> int:
        """How many pushes of the whole model it made, those of an earlier run whose checkpoint is used included."""
        return min(self._client.clocks.values())

    @property
    def living(self) -> tuple[int, ...]:
        """The workers of whose death this one has not heard, itself among them: those that share a batch."""
        workers = range(self.configuration.workers)
        return tuple(worker for worker in workers if worker not in self._courier.dead)

    @property
    def server(self) -> Handler | None:
        """The server that sits on this rank, if there is one."""
        return self._courier.server

    def push(
        self, name: str | None, gradients: Arrays | Rows, *, samples: int = 1, learning_rate: float | None = None,
        timeout: float | None = None,
    ) -> Ticket:  # fmt: skip
        """Push a gradient that is summed over ``samples``, and wait until the servers have it.

        ``learning_rate`` for this update; None for the optimiser's own. Of a part that holds other tensors too the
        call waits only if they are all given.
        """
        return self._settled(self.ipush(name, gradients, samples=samples, learning_rate=learning_rate), timeout)

    def pull(self, name: str | None = None, *, into: Arrays | None = None, timeout: float | None = None) -> Ticket:
        """Wait for parameters as fresh as the consistency wants them."""
        return self.ipull(name, into=into).wait(timeout)

    def push_pull(
        self, name: str | None, gradients: Arrays | Rows, *, samples: int = 1, learning_rate: float | None = None,
        into: Arrays | None = None, timeout: float | None = None,
    ) -> Ticket:  # fmt: skip
        """Push a gradient and wait for the parameters that the consistency then gives, in one message each way a part.

        Of a part that holds other tensors too the parameters come when they are all given.
        """
        rate = learning_rate
        return self._settled(self.ipush_pull(name, gradients, samples=samples, learning_rate=rate, into=into), timeout)

    def ipush(
        self, name: str | None, gradients: Arrays | Rows, *, samples: int = 1, learning_rate: float | None = None,
        priority: float | None = None,
    ) -> Ticket:  # fmt: skip
        """Begin to push. Lower priorities overtake; by default the parts go in their order, front layers first."""
        ticket = self._client.push(name, gradients, Terms(samples, learning_rate), priority=priority)
        self._courier.kick()
        return ticket

    def ipull(self, name: str | None = None, *, into: Arrays | None = None, priority: float | None = None) -> Ticket:
        """Begin to pull."""
        ticket = self._client.pull(name, self._into(name, into), priority=priority)
        self._courier.kick()
        return ticket

    def ipush_pull(
        self, name: str | None, gradients: Arrays | Rows, *, samples: int = 1, learning_rate: float | None = None,
        into: Arrays | None = None, priority: float | None = None, clock: int | None = None,
    ) -> Ticket:  # fmt: skip
        """Begin to push and pull. ``clock``: for which; a part where that is over (see ``Backup``) is left out."""
        terms = Terms(samples, learning_rate, clock)
        ticket = self._client.push(name, gradients, terms, into=self._into(name, into), priority=priority)
        self._courier.kick()
        return ticket

    def leave(self) -> None:
        """Stop to take part: nobody waits for this worker until it joins again. Waits for what is under way."""
        self._finish()
        self._client.control(Kind.LEAVE).wait()

    def join(self) -> None:
        """Take part (again): pull the newest parameters, and count on from the clock of the others."""
        self._client.control(Kind.JOIN, self.tensors).wait()
        while len(set(self._client.clocks.values())) > 1:  # some parts went on before their servers heard of it
            self._client.control(Kind.JOIN, self.tensors).wait()

    def close(self) -> None:
        """Leave for good, and go on serving until all have. Collective; raises ServerTimeout for who does not come."""
        if self._closed:
            return
        self._closed = True
        try:
            self._finish()
            self._client.control(Kind.END).wait()
            self._courier.close(self.limit)
        finally:
            self._courier.stop()

    def wait_for(self, ticket: Ticket, timeout: float | None) -> None:
        """What tickets wait by."""
        limit = self.limit if timeout is None else timeout
        begin = time.monotonic()
        in_time = self._courier.drive(ticket.done, limit)
        self.statistics.waited += time.monotonic() - begin
        if not in_time:
            raise ServerTimeout(
                f"worker {self.number} waited {limit:g} s for {ticket.what}: {self._client.missing(ticket)}"
                f"{self._reason(ticket)}"
            )

    def _reason(self, ticket: Ticket) -> str:
        request = self._client.ask_why(ticket)
        if request is None:
            return ""
        if not self._courier.drive(lambda: request in self._client.explained or ticket.done(), _WHY):
            return "; asked for a reason, the server does not answer either: is its process alive?"
        return f"; the server says: {self._client.explained.get(request, 'the answer has come just now')}"

    def _settled(self, ticket: Ticket, timeout: float | None) -> Ticket:
        if self._client.sent(ticket):
            ticket.wait(timeout)
        return ticket

    def _finish(self) -> None:
        for flight in self._client.flights():
            for ticket in flight.tickets:
                ticket.wait()

    def _into(self, name: str | None, into: Arrays | None) -> Arrays:
        if into is not None:
            return into
        return self.tensors if name is None else self.tensors[name]
