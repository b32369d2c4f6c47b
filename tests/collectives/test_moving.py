"""Pieces on their way through pinned memory, step by step, with requests that are complete when the test says so."""

from __future__ import annotations

import numpy as np
import pytest
from mpi4py import MPI

from collectives.executors.moving import Folds, Incoming, Lanes, Outgoing
from collectives.executors.staging import Channel, Copy, PieceFold
from collectives.schedule import INCOMING_FIRST
from tests.lazy_device import Lazy, octets, on_stream, put

STREAM, PIECES = 7, 4


class Request:
    """A persistent request that is complete when the test says so."""

    def __init__(self) -> None:
        self.started = 0
        self.answered = 0

    def Start(self) -> None:  # noqa: N802 - mpi4py's name
        assert self.started == self.answered, "started again before it was complete"
        self.started += 1

    def Test(self, status: MPI.Status | None = None) -> bool:  # noqa: N802
        if status is not None and self.answered == self.started:
            status.Set_elements(MPI.BYTE, 8)
        return self.answered == self.started


@pytest.fixture
def lanes() -> Lanes:
    device = Lazy()
    return Lanes(device, STREAM, device.stream(), device.stream())


def channel(lanes: Lanes, values: np.ndarray) -> Channel:
    """A message of one float64 a piece, in two slots."""
    array = put(lanes.device, values, STREAM)
    slots = [np.zeros(8, np.uint8) for _ in range(2)]
    copies = tuple((Copy(array[index : index + 1], slots[index % 2]),) for index in range(values.size))
    requests = [Request(), Request()]
    return Channel(copies, tuple(requests[index % 2] for index in range(values.size)), (8,) * values.size)


def push(part: Outgoing | Incoming) -> None:
    while part.advance():
        pass


def test_two_pieces_are_on_their_way_out_and_no_slot_is_used_before_it_was_sent(lanes: Lanes) -> None:
    message = channel(lanes, np.arange(4.0))
    out, requests = Outgoing(message, lanes), message.requests[:2]
    sent: list[float] = []
    while not out.done:
        push(out)
        assert len(out.events) <= len(sent) + 2
        current = requests[len(sent) % 2]
        assert current.started == current.answered + 1
        sent.append(float(message.copies[len(sent)][0].pinned.view(np.float64)[0]))
        current.answered += 1
        out.advance()
    assert sent == [0, 1, 2, 3]


def test_what_arrives_is_copied_in_before_its_slot_is_used_again(lanes: Lanes) -> None:
    message = channel(lanes, np.zeros(4))
    into, requests = Incoming(message, lanes), message.requests[:2]
    for number in range(PIECES):
        push(into)
        assert len(into.waiting) == min(2, PIECES - number)
        requests[number % 2].answered += 1
        message.copies[number][0].pinned.view(np.float64)[0] = number
    push(into)
    assert into.done
    assert into.fits
    lanes.device.synchronize(STREAM)
    assert [octets(copies[0].on_device).view("f8")[0] for copies in message.copies] == [0, 1, 2, 3]


def test_the_buffers_stream_has_what_arrived_as_soon_as_it_goes_on(lanes: Lanes) -> None:
    message = channel(lanes, np.zeros(1))
    into = Incoming(message, lanes)
    push(into)
    message.requests[0].answered += 1
    message.copies[0][0].pinned.view(np.float64)[0] = 5
    into.advance()
    assert into.arrived == 1
    lanes.device.synchronize(STREAM)
    assert octets(message.copies[0][0].on_device).view("f8")[0] == 5


def test_a_message_of_another_size_does_not_fit(lanes: Lanes) -> None:
    message = channel(lanes, np.zeros(1))
    into = Incoming(Channel(message.copies, message.requests, (16,)), lanes)
    push(into)
    message.requests[0].answered += 1
    push(into)
    assert not into.fits


def test_a_fold_waits_for_its_piece_and_for_the_pieces_that_read_what_it_writes_and_for_no_others(lanes: Lanes) -> None:
    sends, receives = channel(lanes, np.arange(1.0, 5.0)), channel(lanes, np.zeros(4))
    out, into = Outgoing(sends, lanes), Incoming(receives, lanes)
    one = [(sends.copies[index][0].on_device, receives.copies[index][0].on_device) for index in range(PIECES)]
    listed = [PieceFold(0, index, INCOMING_FIRST, (one[index],), ((0, index),)) for index in range(PIECES)]
    folds = Folds(listed, [out], [into], lanes, on_stream(np.add))
    assert not folds.advance()  # nothing is in
    push(into)
    receives.requests[0].answered += 1
    receives.copies[0][0].pinned.view(np.float64)[0] = 10
    push(into)
    assert not folds.advance()  # the piece is in, and what it would overwrite is not on its way
    out.advance()
    assert len(out.events) == 1  # one of four pieces is, though nobody has yet waited for it
    assert folds.advance()  # and that is enough for the first
    assert not folds.advance()  # the second is not in
    lanes.device.synchronize(STREAM)
    assert octets(one[0][0]).view("f8")[0] == 11
    assert sends.copies[0][0].pinned.view("f8")[0] == 1  # what left is what was there before
    assert lanes.device.log.count(f"fold on {STREAM}") == 1
