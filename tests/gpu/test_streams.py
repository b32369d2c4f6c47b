"""Streams, events and copies of a real card."""

from __future__ import annotations

import time

import numpy as np
import pytest

from kernels import reduce
from tests.gpu.card import Card

pytestmark = pytest.mark.gpu
LARGE = 1 << 26


@pytest.fixture(scope="module")
def card() -> Card:
    return Card()


def test_a_stream_waits_for_an_event_of_another(card: Card) -> None:
    one, two = card.stream(), card.stream()
    source, middle, target = (card.array(np.full(LARGE, value, "f4")) for value in (1.0, 2.0, 3.0))
    for _ in range(20):  # long enough that the other stream would overtake
        reduce.get("sum")(source.on(one), middle.on(one), middle.on(one))
    card.wait(two, card.record(one))
    card.copy(target, middle, two)
    card.synchronize(two)
    assert (card.values(target.on(two)) == 22).all()


def test_an_event_is_reached_when_its_work_is_done_and_not_before(card: Card) -> None:
    stream = card.stream()
    left, right = (card.array(np.ones(LARGE, "f4"), stream=stream) for _ in range(2))
    reduce.get("sum")(left, right, right)
    card.synchronize(stream)
    for _ in range(50):
        reduce.get("sum")(left, right, right)
    event = card.record(stream)
    assert not card.reached(event)
    deadline = time.monotonic() + 30
    while not card.reached(event):
        assert time.monotonic() < deadline
    assert (card.values(right) == 52).all()


def test_pinned_memory_goes_there_and_back(card: Card) -> None:
    stream, host = card.stream(), card.pinned(LARGE)
    host[:] = np.random.default_rng(0).integers(0, 256, LARGE, np.uint8)
    array, back = card.allocate(LARGE, stream), card.pinned(LARGE)
    card.copy_in(array, host, stream)
    card.copy_out(back, array, stream)
    card.synchronize(stream)
    assert (back == host).all()


def test_the_card_knows_its_memory_from_the_host_s(card: Card) -> None:
    array, pinned, plain = card.allocate(100), card.pinned(100), np.empty(100)
    assert card.owns(array.address)
    assert card.owns(array.address + 99)
    assert not card.owns(pinned.ctypes.data)
    assert not card.owns(plain.ctypes.data)
