"""Buffers to and from other ranks over a private communicator, without ever blocking."""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from mpi4py import MPI

from collectives.executors.waiting import Pause
from collectives.parameter_server.errors import ServerTimeout
from collectives.parameter_server.messages import Bytes

__all__ = ["WINDOW", "Arrived", "Endpoint", "settled"]

WINDOW = 1 << 19
"""Bytes under way to one rank beyond which more urgent messages can still overtake those that wait."""

_AT_ONCE = 2
_LOOKS = 64


class Arrived(NamedTuple):
    """What rank ``source`` sent."""

    source: int
    buffer: Bytes


class Endpoint:
    """Sends and receives on ``comm``, which carries nothing else. Any thread may ``post``, one at a time the rest.

    To each rank the most urgent message goes first, and no more than two messages, or ``window`` bytes of small ones,
    are under way at a time. Messages of one rank and urgency arrive in the order in which they were posted.
    """

    def __init__(self, comm: MPI.Intracomm, window: int = WINDOW) -> None:
        self.comm, self.window = comm, window
        self._posted: deque[tuple[int, float, int, Bytes]] = deque()
        self._order = itertools.count()
        self._queues: list[list[tuple[float, int, Bytes]]] = [[] for _ in range(comm.size)]
        self._sending: list[deque[tuple[MPI.Request, Bytes]]] = [deque() for _ in range(comm.size)]
        self._under_way = [0] * comm.size
        self._receiving: list[deque[tuple[MPI.Request, Bytes]]] = [deque() for _ in range(comm.size)]
        self._status = MPI.Status()

    @property
    def idle(self) -> bool:
        """Whether all that was posted is gone, and all that has begun to come is here."""
        return not (self._posted or any(self._queues) or any(self._sending) or any(self._receiving))

    def post(self, rank: int, buffer: Bytes, priority: float) -> None:
        """Send the buffer, which stays as it is from now on; lower priorities go first."""
        self._posted.append((rank, priority, next(self._order), buffer))

    def send(self) -> bool:
        """Start what may go, and see what is gone. Whether anything was."""
        while self._posted:
            rank, priority, order, buffer = self._posted.popleft()
            heapq.heappush(self._queues[rank], (priority, order, buffer))
        moved = False
        for rank in range(self.comm.size):
            moved |= self._send_to(rank)
        return moved

    def receive(self) -> list[Arrived]:
        """What has arrived in whole, in the order in which each rank sent it."""
        self._begin()
        found: list[Arrived] = []
        for source, receiving in enumerate(self._receiving):
            while receiving and receiving[0][0].Test():
                found.append(Arrived(source, receiving.popleft()[1]))
        return found

    def close(self, pause: Pause, limit: float) -> None:
        """Free the communicator. Collective: every rank has sent and received all that it will.

        What came unasked for is thrown away. Raises ServerTimeout if other ranks do not close in time.
        """
        settled(self.comm.Ibarrier(), "the other ranks to close", pause, limit)
        deadline = time.monotonic() + limit
        while self.receive() or not self.idle:
            if time.monotonic() > deadline:
                raise ServerTimeout(f"rank {self.comm.rank}: a message that had begun to come did not end")
        self.comm.Free()

    def _begin(self) -> None:
        """Begin to receive what is there."""
        for _ in range(_LOOKS):
            message = self.comm.Improbe(status=self._status)
            if message is None:
                break
            buffer = np.empty(self._status.Get_count(MPI.BYTE), np.uint8)
            request = message.Irecv([buffer, MPI.BYTE])
            self._receiving[self._status.Get_source()].append((request, buffer))

    def _send_to(self, rank: int) -> bool:
        sending, queue = self._sending[rank], self._queues[rank]
        moved = False
        while sending and sending[0][0].Test():
            self._under_way[rank] -= sending.popleft()[1].size
            moved = True
        while queue and (len(sending) < _AT_ONCE or self._under_way[rank] + queue[0][2].size <= self.window):
            buffer = heapq.heappop(queue)[2]
            sending.append((self.comm.Isend([buffer, MPI.BYTE], rank), buffer))
            self._under_way[rank] += buffer.size
            moved = True
        return moved


def settled(
    request: MPI.Request, what: str, pause: Pause, limit: float, work: Callable[[], object] | None = None
) -> None:
    """Wait for a request, doing ``work`` between two looks; ServerTimeout after ``limit`` seconds."""
    begin = time.monotonic()
    while not request.Test():
        waited = time.monotonic() - begin
        if waited > limit:
            raise ServerTimeout(f"rank {MPI.COMM_WORLD.rank} waited {limit:g} s for {what}")
        if work is not None:
            work()
        pause(waited)
