"""Messages through pinned memory on their way: what each does next, without ever waiting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpi4py import MPI

from collectives.executors.on_device import Fold3, commit
from collectives.executors.staging import SLOTS, Channel, PieceFold
from kernels.cuda.device import Device

__all__ = ["Folds", "Incoming", "Lanes", "Outgoing"]


@dataclass(frozen=True, slots=True)
class Lanes:
    """The device, the buffers' stream, and a stream for copies each way."""

    device: Device
    stream: int
    out: int
    into: int


class Outgoing:
    """A message on its way out: each piece is copied out, sent when it has come out, and its slot used again."""

    def __init__(self, channel: Channel, lanes: Lanes) -> None:
        self._channel, self._lanes = channel, lanes
        self._pieces = len(channel.requests)
        self._started = self._finished = 0
        self.events: list[object] = []  # one for each piece whose copy is queued

    @property
    def done(self) -> bool:
        """Whether all pieces have been sent."""
        return self._finished == self._pieces

    def advance(self) -> bool:
        """Do what can be done without waiting; whether that was anything."""
        before = self._finished, self._started, len(self.events)
        requests = self._channel.requests
        if self._finished < self._started and requests[self._finished].Test():
            self._finished += 1
        if self._started < len(self.events) and self._lanes.device.reached(self.events[self._started]):
            requests[self._started].Start()
            self._started += 1
        if len(self.events) < min(self._pieces, self._finished + SLOTS):
            for copy in self._channel.copies[len(self.events)]:
                self._lanes.device.copy_out(copy.pinned, copy.on_device, self._lanes.out)
            self.events.append(self._lanes.device.record(self._lanes.out))
        return before != (self._finished, self._started, len(self.events))


class Incoming:
    """A message on its way in: each piece is received, copied in, and its slot used again when it is in."""

    def __init__(self, channel: Channel, lanes: Lanes) -> None:
        self._channel, self._lanes = channel, lanes
        self._pieces = len(channel.requests)
        self._started = self._freed = 0
        self._status = MPI.Status()
        self._events: list[object] = []
        self.fits = True

    @property
    def done(self) -> bool:
        """Whether all pieces are in."""
        return self._freed == self._pieces

    @property
    def arrived(self) -> int:
        """Pieces whose copy in is queued; the buffers' stream waits for them."""
        return len(self._events)

    @property
    def waiting(self) -> tuple[MPI.Prequest, ...]:
        """Requests that have been started and not been answered."""
        return self._channel.requests[self.arrived : self._started]

    def advance(self) -> bool:
        """Do what can be done without waiting; whether that was anything."""
        before = self._freed, self.arrived, self._started
        requests, device = self._channel.requests, self._lanes.device
        if self._freed < self.arrived and device.reached(self._events[self._freed]):
            self._freed += 1
        if self.arrived < self._started and requests[self.arrived].Test(self._status):
            self._copy_in(self.arrived)
        if self._started < min(self._pieces, self._freed + SLOTS):
            requests[self._started].Start()
            self._started += 1
        return before != (self._freed, self.arrived, self._started)

    def _copy_in(self, index: int) -> None:
        self.fits = self.fits and self._status.Get_count(MPI.BYTE) == self._channel.nbytes[index]
        device, lanes = self._lanes.device, self._lanes
        for copy in self._channel.copies[index]:
            device.copy_in(copy.on_device, copy.pinned, lanes.into)
        event = device.record(lanes.into)
        device.wait(lanes.stream, event)
        self._events.append(event)


class Folds:
    """The commits of a round, in the order in which its receives are listed."""

    def __init__(
        self, folds: Sequence[PieceFold], outgoing: Sequence[Outgoing], incoming: Sequence[Incoming], lanes: Lanes,
        combine: Fold3 | None,
    ) -> None:  # fmt: skip
        self._folds, self._outgoing, self._incoming = folds, outgoing, incoming
        self._lanes, self._combine = lanes, combine
        self._next = 0

    @property
    def done(self) -> bool:
        """Whether all folds are queued."""
        return self._next == len(self._folds)

    def advance(self) -> bool:
        """Queue the next fold if its piece is in and what it writes has been read; whether that was so."""
        fold = self._folds[self._next]
        if self._incoming[fold.receive].arrived <= fold.piece:
            return False
        if any(len(self._outgoing[send].events) <= last for send, last in fold.before):
            return False
        for send, last in fold.before:
            self._lanes.device.wait(self._lanes.stream, self._outgoing[send].events[last])
        for mine, incoming in fold.sides:
            commit(fold.fold, mine, incoming, self._combine)
        self._next += 1
        return True
