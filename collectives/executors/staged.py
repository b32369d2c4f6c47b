"""The executor for device memory that MPI cannot take: messages go through pinned host memory, piece by piece.

Of each message two pieces are under way at once, so that copying out, sending, receiving, copying in and folding
overlap; the folds run on the device. Copies have two streams of their own, one each way, ordered by events: a copy out
waits for the buffers' stream as it stands when the round begins, a fold waits for its piece's copy in, and for the
copies out that read what it writes (the round law).

*On the wire* a piece is a message with the tag of the whole, and pieces of one message keep their order, so a message
of one piece is the same as any other executor's. All ranks must cut alike: see ``collectives.executors.pieces``.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from mpi4py import MPI

from collectives.executors import pieces
from collectives.executors.faults import CollectiveMismatch
from collectives.executors.interpreted import Interpreted, cancel, explained, sizes_differ
from collectives.executors.moving import Folds, Incoming, Lanes, Outgoing
from collectives.executors.on_device import Fold3, OnDevice
from collectives.executors.plan import Plan
from collectives.executors.staging import Octets, Round, Staging, room
from kernels.cuda.device import Device
from kernels.device_array import DeviceArray

__all__ = ["Staged"]


class Staged(OnDevice[Staging]):
    """Copies out, sends, receives, copies in and folds, all at once, in pieces of at most ``piece`` bytes.

    Waiting is polite if ``CIRANDA_WAITING=nap`` says so. Cost beside the slowest of the stages: one piece through the
    others, an event a piece and stage, and for a message of many spans a copy of its own a span and piece.
    """

    name = "staged"

    def __init__(self, host: Interpreted, piece: int | None = None) -> None:
        super().__init__(host)
        self._piece = pieces.PIECE if piece is None else piece
        self._pinned: Octets | None = None
        self._streams: dict[Device, tuple[int, int]] = {}

    def _tie(self, plan: Plan, buffers: Sequence[DeviceArray], scratch: DeviceArray) -> Staging:
        needed = room(plan, scratch.dtype.itemsize, self._piece)
        if self._pinned is None or self._pinned.size < needed:
            self._let_go()  # the other tied plans use the old pinned memory, which no copy does between calls
            self._pinned = scratch.device.pinned(needed)
        return Staging(self._host.comm, plan, buffers, scratch, self._pinned, self._piece)

    def _carry_out(self, tied: Staging, plan: Plan, where: DeviceArray, combine: Fold3 | None) -> None:
        lanes, deadline = self._lanes(where), self._host.deadline()
        for step in tied.rounds:
            try:
                self._play(step, plan, lanes, combine, deadline)
            except MPI.Exception as error:
                raise explained(error, step, plan) from error

    def _lanes(self, where: DeviceArray) -> Lanes:
        device = where.device
        if device not in self._streams:
            self._streams[device] = device.stream(), device.stream()
        return Lanes(device, where.stream, *self._streams[device])

    def _play(self, step: Round, plan: Plan, lanes: Lanes, combine: Fold3 | None, deadline: float | None) -> None:
        """One round: start everything, and push on what can be pushed until all is done."""
        ready = lanes.device.record(lanes.stream)
        lanes.device.wait(lanes.out, ready)
        lanes.device.wait(lanes.into, ready)
        incoming = [Incoming(channel, lanes) for channel in step.receives]
        outgoing = [Outgoing(channel, lanes) for channel in step.sends]
        messages = [*incoming, *outgoing]
        parts = [*messages, Folds(step.folds, outgoing, incoming, lanes, combine)]
        began = time.monotonic()
        while pending := [part for part in parts if not part.done]:
            if any([part.advance() for part in pending]):  # noqa: C419 - all must advance
                began = time.monotonic()
            elif deadline is not None and time.monotonic() > deadline:
                cancel([request for one in incoming for request in one.waiting])
                raise self._host.late(step, plan, [index for index, one in enumerate(messages) if not one.done])
            else:
                self._host.pause(time.monotonic() - began)
        if not all(one.fits for one in incoming):
            raise CollectiveMismatch(sizes_differ(step, plan))
