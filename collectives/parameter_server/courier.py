"""What carries messages between a rank's worker, its server and the other ranks, beside the worker's own computing."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import Protocol

from collectives.executors.waiting import Pause, naps_wanted, polite, sharpen_timers, watchful
from collectives.parameter_server.client import Client
from collectives.parameter_server.endpoint import Endpoint
from collectives.parameter_server.errors import ServerTimeout
from collectives.parameter_server.flights import CONTROL
from collectives.parameter_server.messages import Bytes, Envelope, Kind, Message, Refused, packed, parsed, text
from collectives.parameter_server.statistics import ServerStatistics

__all__ = ["Courier", "Handler", "usual_pause"]

_ANSWERS = (Kind.ACK, Kind.PARAMETERS, Kind.REFUSED, Kind.EXPLAINED)
_TICK = 0.01  # seconds
_BETWEEN_NEWS = 5.0  # seconds between two looks at who is slow
_LOG = logging.getLogger(__name__)


class Handler(Protocol):
    """A server, or what stands before one."""

    @property
    def finished(self) -> bool:
        """Whether nobody will ask for anything more."""
        ...

    @property
    def ended(self) -> Collection[int]:
        """The workers that will not."""
        ...

    @property
    def statistics(self) -> ServerStatistics:
        """What it saw."""
        ...

    def handle(self, message: Message, source: int | None = None) -> list[Envelope]:
        """The messages that are due now that this one is here; raises Refused."""
        ...


def usual_pause() -> Pause:
    """How to wait for messages here, between two looks."""
    if naps_wanted():
        sharpen_timers()
        return polite
    return watchful


class Courier:
    """Drives ``endpoint`` for a ``client``, a ``server``, or both, which sit on this rank.

    Whoever waits drives it (``drive``); meanwhile and otherwise a thread of its own does, once it is started, in
    naps that grow with the time in which nothing happened. Messages to this very rank take no way through MPI.
    """

    def __init__(self, endpoint: Endpoint, run: int, server: Handler | None = None) -> None:
        self.endpoint, self.run, self.server = endpoint, run, server
        self.client: Client | None = None
        self.failure: Exception | None = None
        self.heard = time.monotonic()
        """When the last message came."""
        self.dead: frozenset[int] = frozenset()
        """The ranks of whose death it has heard."""
        self._own = endpoint.comm.rank
        self._local: deque[Message] = deque()
        self._lock = threading.Lock()
        self._named = 0.0
        self._driving = 0
        self._turn = threading.Condition()
        self._stopped = False
        self._thread: threading.Thread | None = None
        self._pause = usual_pause()

    def start(self) -> None:
        """Let a thread carry messages from now on."""
        self._thread = threading.Thread(target=self._carry, name="ciranda-courier", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        with self._turn:
            self._stopped = True
            self._turn.notify_all()
        if self._thread is not None:
            self._thread.join()

    def serve(self, limit: float) -> None:
        """Carry messages until the server here is asked nothing more; ServerTimeout after ``limit`` s of silence."""
        server = self.server
        while server is not None and not self.drive(lambda: server.finished, limit / 10):
            if time.monotonic() - self.heard > limit:
                ended = ", ".join(map(str, sorted(server.ended))) or "none"
                raise ServerTimeout(
                    f"the server on rank {self._own} has heard of nobody for {limit:g} s; workers that ended: {ended}"
                )

    def close(self, limit: float) -> None:
        """Serve until nobody asks any more, then free the communicator. Collective; ServerTimeout if others do not."""
        self.serve(limit)
        if not self.drive(lambda: self.endpoint.idle and not self._local, limit):
            raise ServerTimeout(f"rank {self._own} could not deliver its last messages in {limit:g} s")
        self.stop()
        self.endpoint.close(self._pause, limit)

    def send(self, envelope: Envelope, priority: float) -> None:
        """Send it, and begin at once if nobody is at it. Never blocks."""
        if envelope.rank == self._own:
            self._local.append(envelope.message)
            return
        buffer = packed(envelope.message, self.run)
        if self.server is not None:
            self.server.statistics.sent_bytes += buffer.size * (envelope.message.kind in _ANSWERS)
        self.endpoint.post(envelope.rank, buffer, priority)

    def kick(self) -> None:
        """Begin to send what was posted, if nobody else is at it."""
        if self._lock.acquire(blocking=False):
            try:
                self.endpoint.send()
            finally:
                self._lock.release()

    def drive(self, done: Callable[[], bool], limit: float) -> bool:
        """Carry messages until ``done``; whether it was, within ``limit`` seconds. Raises what the thread failed by."""
        with self._turn:
            self._driving += 1
        try:
            return self._drive(done, limit)
        finally:
            with self._turn:
                self._driving -= 1
                self._turn.notify_all()

    def _drive(self, done: Callable[[], bool], limit: float) -> bool:
        begin = quiet = time.monotonic()
        while not done():
            if self.failure is not None:
                raise self.failure
            now = time.monotonic()
            if self._step():
                quiet = now
            elif now - begin > limit:
                return False
            else:
                self._pause(now - quiet)
        return True

    def _carry(self) -> None:
        sharpen_timers()
        quiet = time.monotonic()
        try:
            while not self._stopped:
                with self._turn:
                    while self._driving and not self._stopped:
                        self._turn.wait()
                now = time.monotonic()
                if self._step():
                    quiet = now
                else:
                    polite(now - quiet)
        except Exception as error:  # noqa: BLE001 - whatever it is, whoever waits for an answer must be told
            self.failure = error
            if self.client is not None:
                self.client.fail(error)

    def _step(self) -> bool:
        with self._lock:
            moved = self.endpoint.send()
            arrived = self.endpoint.receive()
            waiting = begun = len(arrived) + len(self._local)
            while self._local:
                self._dispatch(self._local.popleft(), self._own, waiting)
                waiting -= 1
            for source, buffer in arrived:
                self._take(source, buffer, waiting)
                waiting -= 1
            return moved or begun > 0

    def _take(self, source: int, buffer: Bytes, waiting: int) -> None:
        self.heard = time.monotonic()
        try:
            message = parsed(buffer, self.run, f"rank {source}")
        except Refused as refused:
            self._refuse(refused, source, 0)
            return
        if self.server is not None and message.kind not in _ANSWERS:
            self.server.statistics.received_bytes += buffer.size
        self._dispatch(message, source, waiting)

    def _dispatch(self, message: Message, source: int, waiting: int) -> None:
        if message.kind in _ANSWERS:
            if self.client is not None:
                self.client.handle(message, source)
            return
        if self.server is None:
            self._refuse(Refused(f"rank {self._own} is no server"), source, message.request)
            return
        begin, statistics = time.perf_counter(), self.server.statistics
        if message.kind in (Kind.PUSH, Kind.PUSH_PULL):
            statistics.lateness.pushed(source, begin)
        try:
            answers = self.server.handle(message, source)
        except Refused as refused:
            self._refuse(refused, source, message.request)
            answers = []
        for envelope in answers:
            self.send(envelope, float(envelope.message.part))
            if envelope.message.kind is Kind.PARAMETERS:
                statistics.lateness.answered(envelope.rank, begin)
        statistics.busy += time.perf_counter() - begin
        statistics.met(waiting - 1)
        self._name_the_slow(begin)

    def _name_the_slow(self, now: float) -> None:
        if self.server is not None and now - self._named > _BETWEEN_NEWS:
            self._named = now
            for line in self.server.statistics.lateness.news(now):
                _LOG.warning("server on rank %d: %s", self._own, line)

    def _refuse(self, refused: Refused, source: int, request: int) -> None:
        if self.server is not None:
            self.server.statistics.refuse(str(refused))
        self.send(Envelope(source, text(Kind.REFUSED, source, str(refused), request=request)), CONTROL)
