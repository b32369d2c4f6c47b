"""The two engines against each other, phases in a row, and memory that follows what is under way."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from collectives import catalogue
from collectives.catalogue import Algorithm
from simulator import Conditions, Flow, Jitter, Network, Phase, networks, play, simulate
from simulator.models import Duplex, Hockney, Model, Reduction
from simulator.playing import EventPlayer, Record
from tests.simulator.schedules import rounds

LAW = settings(deadline=None, max_examples=80)
EVERY = [catalogue.get(name) for name in catalogue.names()]
RING, DOUBLING = catalogue.get("ring"), catalogue.get("recursive_doubling")


@st.composite
def calm(draw: st.DrawFn) -> tuple[Algorithm, int, Network, Conditions]:
    """What the engine that settles rounds can play: any algorithm, terms of all sizes, late and slow ranks, jitter."""
    algorithm = draw(st.sampled_from(EVERY))
    size = draw(st.integers(1, 14).filter(algorithm.supports))
    term = st.floats(1e-9, 1e-3, allow_nan=False)
    model = Model(
        Hockney(draw(term), draw(term)), Reduction(((math.inf, draw(term)),)), Duplex(draw(st.sampled_from([1.0, 1.7])))
    )
    ranks = st.integers(0, size - 1)
    conditions = Conditions(
        start=draw(st.dictionaries(ranks, st.floats(0, 1e-3), max_size=2)),
        slow_ranks=draw(st.dictionaries(ranks, st.floats(1, 9), max_size=2)),
        jitter=draw(st.sampled_from([None, Jitter("exponential", 1e-5, 3)])),
    )
    return algorithm, draw(st.integers(0, 5000)), replace(networks.star(size, 1e-6, 1e9), model=model), conditions


@LAW
@given(calm())
def test_events_give_what_settling_round_by_round_gives(case: tuple[Algorithm, int, Network, Conditions]) -> None:
    algorithm, nbytes, network, conditions = case
    phases = [Phase(algorithm, nbytes), Phase(algorithm, nbytes // 2)]
    settled = play(phases, network, conditions=conditions, record=True)
    # Somebody else's traffic between two hosts that have no rank keeps nobody waiting, but needs the event engine.
    wide = replace(networks.star(network.size + 2, 1e-6, 1e9), model=network.model, place=network.place)
    beside = replace(conditions, background=(Flow(network.size, network.size + 1),))
    events = play(phases, wide, conditions=beside, record=True)
    assert events.completion == pytest.approx(settled.completion, rel=1e-9)
    assert settled.record is not None
    assert events.record is not None
    assert events.record.moments == pytest.approx(settled.record.moments, rel=1e-9)
    assert (events.rounds, events.messages, events.bytes) == (settled.rounds, settled.messages, settled.bytes)
    for one, other in ((settled.record, events.record), (events.record, settled.record)):
        assert stays(one) == pytest.approx(stays(other), rel=1e-9)


def stays(record: Record) -> NDArray[np.float64]:
    return record.stays[np.lexsort(record.stay_of.T)]


def test_a_phase_waits_for_its_release_and_for_no_barrier() -> None:
    """Rank 2 is in neither message of the first phase, so it may start the second at its release."""
    network = networks.star(3, latency=1.0, bandwidth=1.0)
    first, second = rounds([(0, 1)]), rounds([(2, 0)], [(2, 1)])
    release = np.array([0.0, 30.0, 5.0])
    played = play([Phase(first, 10), Phase(second, 10, release=release)], network)
    assert played.completion.tolist() == [[11, 11, 0], [22, 41, 41]]


def test_phases_of_the_same_collective_add_up_where_ranks_stay_in_step() -> None:
    network = networks.star(8, 1e-6, 1e9)
    alone = simulate(RING, 8, 800, network).seconds
    played = play([Phase(RING, 800)] * 3, network)
    assert played.completion[:, 0] == pytest.approx([alone, 2 * alone, 3 * alone])


def test_no_phase_and_one_rank_and_no_messages() -> None:
    network = networks.star(1, 1e-6, 1e9)
    assert play([Phase(RING, 100, release=3.0)], network).completion.tolist() == [[3.0]]
    assert simulate(RING, 1, 100, networks.ring(1, 1e-6, 1e9)).seconds == 0.0


def test_slots_are_given_back() -> None:
    """Sixty-four ranks have eight thousand messages on a ring, and never more than their blocks under way."""
    player = EventPlayer([Phase(RING, 1 << 16)] * 40, networks.ring(64, 1e-6, 1e9), Conditions(), on_links=True)
    player.play()
    assert player.messages == 40 * 2 * 63 * 64
    assert len(player.world.slots) <= 2 * 65536 + 8064
    assert player.world.totals[0] == 0
