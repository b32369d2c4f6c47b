"""A plan tied to device memory and pinned host memory: for each message its pieces, copies and requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI
from numpy.typing import NDArray

from collectives.executors import pieces
from collectives.executors.pieces import Cover, Piece
from collectives.executors.plan import Plan, Receive, Step, Transmit
from collectives.executors.wire import described, tag
from collectives.schedule import Fold
from kernels.device_array import DeviceArray

__all__ = ["SLOTS", "Channel", "Copy", "Octets", "PieceFold", "Round", "Staging", "room"]

SLOTS = 2
"""Pieces of a message that are under way at once, each in pinned memory of its own."""

Octets = NDArray[np.uint8]
Pieces = Sequence[Piece]


@dataclass(frozen=True, slots=True)
class Copy:
    """A run of elements on the device and its place in pinned memory."""

    on_device: DeviceArray
    pinned: Octets


@dataclass(frozen=True, slots=True)
class Channel:
    """One message: for each piece its copies, its request (pieces of one slot and length share one) and its bytes."""

    copies: tuple[tuple[Copy, ...], ...]
    requests: tuple[MPI.Prequest, ...]
    nbytes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class PieceFold:
    """What to commit when piece ``piece`` of receive ``receive`` is in, once the pieces in ``before`` are going out.

    ``before``: (send, its last piece that reads what this writes).
    """

    receive: int
    piece: int
    fold: Fold
    sides: tuple[tuple[DeviceArray, DeviceArray], ...]
    before: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Round:
    """A step of the plan tied to memory."""

    plan: Step
    itemsize: int
    sends: tuple[Channel, ...]
    receives: tuple[Channel, ...]
    folds: tuple[PieceFold, ...]

    def describe(self, index: int) -> str:
        """Message ``index`` in words."""
        return described(self.plan, index, self.itemsize)


class Staging:
    """A plan tied to device memory, scratch memory there, and pinned memory for all messages of a round."""

    def __init__(
        self, comm: MPI.Intracomm, plan: Plan, buffers: Sequence[DeviceArray], scratch: DeviceArray, pinned: Octets,
        piece: int,
    ) -> None:  # fmt: skip
        self._comm, self._memory, self._scratch, self._pinned = comm, buffers, scratch, pinned
        self._itemsize = scratch.dtype.itemsize
        self._largest = pieces.elements(self._itemsize, piece)
        self._largest_tag: int = comm.Get_attr(MPI.TAG_UB) or 32767
        self._requests: list[MPI.Prequest] = []
        self.rounds = [self._round(step) for step in plan.steps]
        self._memory = ()  # the user's arrays are not kept alive

    def free(self) -> None:
        """Give the requests back to MPI."""
        for request in self._requests:
            request.Free()
        self.rounds, self._requests = [], []

    def _round(self, step: Step) -> Round:
        starts = self._starts((*step.receives, *step.sends))
        out = [pieces.cut(send.spans, send.length, self._largest) for send in step.sends]
        into = [pieces.cut(receive.spans, receive.length, self._largest) for receive in step.receives]
        receives = tuple(
            self._channel(receive, found, next(starts)) for receive, found in zip(step.receives, into, strict=True)
        )
        sends = tuple(self._channel(send, found, next(starts)) for send, found in zip(step.sends, out, strict=True))
        return Round(step, self._itemsize, sends, receives, tuple(self._folds(step, into, out)))

    def _starts(self, messages: Sequence[Receive | Transmit]) -> Iterator[int]:
        start = 0
        for message in messages:
            yield start
            start += _slots(message, self._itemsize, self._largest)

    def _channel(self, message: Receive | Transmit, found: Pieces, start: int) -> Channel:
        requests: dict[tuple[int, int], MPI.Prequest] = {}
        copies: list[tuple[Copy, ...]] = []
        chosen: list[MPI.Prequest] = []
        sizes = [(piece.hi - piece.lo) * self._itemsize for piece in found]
        for index, (piece, nbytes) in enumerate(zip(found, sizes, strict=True)):
            slot = start + index % SLOTS * self._largest * self._itemsize
            pinned = self._pinned[slot : slot + nbytes]
            key = index % SLOTS, nbytes
            if key not in requests:
                requests[key] = self._request(message, pinned)
            chosen.append(requests[key])
            copies.append(tuple(self._copies(message, piece, pinned)))
        return Channel(tuple(copies), tuple(chosen), tuple(sizes))

    def _request(self, message: Receive | Transmit, pinned: Octets) -> MPI.Prequest:
        number = tag(message.length * self._itemsize, self._largest_tag)
        start = self._comm.Recv_init if isinstance(message, Receive) else self._comm.Send_init
        self._requests.append(start([pinned, MPI.BYTE], message.peer, number))
        return self._requests[-1]

    def _copies(self, message: Receive | Transmit, piece: Piece, pinned: Octets) -> Iterator[Copy]:
        """A receive that is folded arrives in scratch memory; a message is never packed there on its way out."""
        if isinstance(message, Receive) and message.stage is not None:
            if pinned.size:
                yield Copy(self._staged(message.stage, piece.lo, piece.hi), pinned)
            return
        start = 0
        for buffer, lo, hi in piece.spans:
            nbytes = (hi - lo) * self._itemsize
            yield Copy(self._mine(buffer, lo, hi), pinned[start : start + nbytes])
            start += nbytes

    def _folds(
        self, step: Step, into: Sequence[Sequence[Piece]], out: Sequence[Sequence[Piece]]
    ) -> Iterator[PieceFold]:
        covers = [Cover(found) for found in out]
        for number, (receive, found) in enumerate(zip(step.receives, into, strict=True)):
            if receive.stage is None:
                continue
            for index, piece in enumerate(found):
                last = [max((cover.last(span) for span in piece.spans), default=-1) for cover in covers]
                before = tuple((send, one) for send, one in enumerate(last) if one >= 0)
                yield PieceFold(number, index, receive.fold, tuple(self._sides(receive.stage, piece)), before)

    def _sides(self, stage: int, piece: Piece) -> Iterator[tuple[DeviceArray, DeviceArray]]:
        start = piece.lo
        for buffer, lo, hi in piece.spans:
            yield self._mine(buffer, lo, hi), self._staged(stage, start, start + hi - lo)
            start += hi - lo

    def _mine(self, buffer: int, lo: int, hi: int) -> DeviceArray:
        return self._unowned(self._memory[buffer][lo:hi])

    def _staged(self, stage: int, lo: int, hi: int) -> DeviceArray:
        return self._unowned(self._scratch[stage + lo : stage + hi])

    def _unowned(self, array: DeviceArray) -> DeviceArray:
        return DeviceArray(array.address, array.size, array.dtype, array.device, None, stream=self._scratch.stream)


def room(plan: Plan, itemsize: int, piece: int) -> int:
    """Bytes of pinned memory that the plan needs: its largest round's, for each message at most ``SLOTS`` pieces."""
    largest = pieces.elements(itemsize, piece)
    return max(
        (sum(_slots(one, itemsize, largest) for one in (*step.receives, *step.sends)) for step in plan.steps), default=0
    )


def _slots(message: Receive | Transmit, itemsize: int, largest: int) -> int:
    return min(message.length, SLOTS * largest) * itemsize
