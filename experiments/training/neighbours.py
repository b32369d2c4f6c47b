"""Arrays between neighbours in a line of ranks: raw, of shapes that both sides know, and never waited for without end.

Sends are nonblocking, for some pipeline orders hang with others (``collectives.pipeline.prove`` shows which). Messages
between two ranks stay in order, so they need no names.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from mpi4py import MPI
from numpy.typing import DTypeLike

from collectives.executors.faults import CollectiveError
from collectives.executors.waiting import naps_wanted, polite, watchful
from experiments.training.flat import Array, Shape

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["PATIENCE", "Inbox", "Outbox", "Patience"]

PATIENCE = 300.0
"""Seconds that a rank waits for a neighbour where its communicator has no ``timeout``."""


@dataclass(slots=True)
class Patience:
    """Waits for requests, ``limit`` seconds at most, and adds up how long that took."""

    limit: float
    waited: float = 0.0
    _pause: Any = field(default_factory=lambda: polite if naps_wanted() else watchful)

    @classmethod
    def of(cls, line: Communicator) -> Patience:
        """As long as the communicator's own limit, if it has one."""
        return cls(line.settings.timeout or PATIENCE)

    def until(self, request: MPI.Request, what: str, status: MPI.Status | None = None) -> None:
        """Wait for a request; CollectiveError says ``what`` it stood for where it takes too long."""
        began = now = time.monotonic()
        while not request.Test(status):
            now = time.monotonic()
            if now - began > self.limit:
                raise CollectiveError(f"{what} was not done after {self.limit:g} s: see whether that rank failed")
            self._pause(now - began)
        self.waited += time.monotonic() - began


class Inbox:
    """``count`` arrays from rank ``source`` of the line; one is on its way while the last is worked on.

    Cost: memory of two arrays, no copies.
    """

    def __init__(
        self, line: Communicator, source: int, shape: Shape, dtype: DTypeLike, count: int, patience: Patience
    ) -> None:
        self._line, self._source, self._shape, self._dtype = line, source, shape, dtype
        self._left, self._patience = count, patience
        self._status = MPI.Status()
        self._buffer, self._request = self._post()

    def take(self, what: str) -> Array:
        """The next array. CollectiveError if it does not come in time, or has another size."""
        buffer, told = self._buffer, f"rank {self._line.rank} of the line: {what} from rank {self._source}"
        self._patience.until(self._request, told, self._status)
        if (nbytes := self._status.Get_count(MPI.BYTE)) != buffer.nbytes:
            raise CollectiveError(f"{told} has {nbytes} bytes, and {buffer.nbytes} were expected")
        self._buffer, self._request = self._post()
        return buffer

    def _post(self) -> tuple[Array, MPI.Request]:
        if not self._left:
            return None, MPI.REQUEST_NULL
        self._left -= 1
        buffer = np.empty(self._shape, self._dtype)
        return buffer, self._line.Irecv(buffer, self._source)


class Outbox:
    """Arrays to other ranks of the line. What was sent must not change until ``finish``."""

    def __init__(self, line: Communicator, patience: Patience) -> None:
        self._line, self._patience = line, patience
        self._sent: list[tuple[int, MPI.Request]] = []
        self.nbytes = 0

    def send(self, array: Array, dest: int) -> None:
        """Begin to send; returns at once."""
        array = np.ascontiguousarray(array)
        self._sent = [(to, request) for to, request in self._sent if not request.Test()]
        self._sent.append((dest, self._line.Isend(array, dest)))
        self.nbytes += array.nbytes

    def finish(self) -> None:
        """Wait until all has gone. CollectiveError names who did not take what it was sent."""
        for dest, request in self._sent:
            self._patience.until(request, f"rank {self._line.rank} of the line: a message to rank {dest}")
        self._sent.clear()
