"""Max-min fair sharing against its definition, and against a filling written the slow way."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.fluid import Flows

LAW = settings(deadline=None, max_examples=100)


def filled(capacity: Sequence[float], routes: Sequence[Sequence[int]], caps: Sequence[float]) -> list[float]:
    """All rates rise together; who stands at a full link or at its cap is settled. In fractions of plain floats."""
    rates: dict[int, float] = {}
    while len(rates) < len(routes):
        open_flows = [flow for flow in range(len(routes)) if flow not in rates]

        def share(link: int, waiting: Sequence[int] = open_flows) -> float:
            on = [flow for flow in waiting if link in routes[flow]]
            taken = sum(rate for flow, rate in rates.items() if link in routes[flow])
            return (capacity[link] - taken) / len(on) if on else math.inf

        shares = [share(link) for link in range(len(capacity))]
        level = min(*shares, *(caps[flow] for flow in open_flows))
        for flow in open_flows:
            if min(caps[flow], *(shares[link] for link in routes[flow])) <= level * (1 + 1e-9):
                rates[flow] = level
    return [rates[flow] for flow in range(len(routes))]


@LAW
@given(st.data())
def test_rates_are_those_of_a_filling_from_scratch(data: st.DataObject) -> None:
    capacity = data.draw(st.lists(st.integers(1, 20), min_size=2, max_size=7))
    flows, live, now = Flows(np.array(capacity, dtype=float)), dict[int, tuple[list[int], float]](), 0.0
    routes = st.lists(st.integers(0, len(capacity) - 1), min_size=1, max_size=len(capacity), unique=True)
    for _ in range(data.draw(st.integers(1, 12))):
        if live and data.draw(st.booleans()):
            flows.stop(gone := data.draw(st.sampled_from(sorted(live))), now)
            del live[gone]
        else:
            route, cap = data.draw(routes), data.draw(st.sampled_from([math.inf, 1.0, 2.5, 7.0]))
            live[flows.start(route, 1e9, cap, now)] = route, cap
        now += 1.0
        if live:
            wanted = filled(capacity, [route for route, _ in live.values()], [cap for _, cap in live.values()])
            assert [flows.rate(flow) for flow in live] == pytest.approx(wanted)


def test_three_flows_on_two_links_by_hand() -> None:
    """Link 0 carries 10 B/s for flows a and b, link 1 carries 12 B/s for b and c: a and b get 5, so c gets 7."""
    flows = Flows(np.array([10.0, 12.0]))
    a, b, c = flows.start([0], 50, math.inf, 0.0), flows.start([0, 1], 50, math.inf, 0.0), flows.start([1], 70, 9, 0.0)
    assert [flows.rate(flow) for flow in (a, b, c)] == [5, 5, 7]
    assert flows.next() == 10.0
    assert flows.advance(10.0) == sorted([a, b, c])
    assert flows.next() == math.inf
    assert flows.moved.tolist() == [100, 120]


def test_a_flow_that_ends_leaves_its_share_to_the_others() -> None:
    """Two flows of 10 and 30 bytes at 10 B/s: both at 5 until 2 s, then the other 20 bytes alone at 10, until 4 s."""
    flows = Flows(np.array([10.0]))
    short, long = flows.start([0], 10, math.inf, 0.0), flows.start([0], 30, math.inf, 0.0)
    assert flows.next() == 2.0
    assert flows.advance(2.0) == [short]
    assert (flows.rate(long), flows.next()) == (10.0, 4.0)


def test_a_link_that_fails_holds_its_flows_until_it_is_back() -> None:
    flows = Flows(np.array([10.0]))
    flow = flows.start([0], 100, math.inf, 0.0)
    flows.set_capacity(0, 0.0, 4.0)
    assert flows.next() == math.inf
    flows.set_capacity(0, 20.0, 5.0)
    assert flows.next() == 8.0
    assert flows.advance(8.0) == [flow]


def test_more_flows_and_longer_routes_than_there_was_room_for() -> None:
    flows = Flows(np.full(20, 100.0))
    started = [flows.start(list(range(1 + number % 20)), 10.0, math.inf, 0.0) for number in range(200)]
    assert len(set(started)) == 200
    assert flows.rate(started[0]) == pytest.approx(100 / 200)
    ended: list[int] = []
    while flows.next() < math.inf:
        ended += flows.advance(flows.next())
    assert sorted(ended) == sorted(started)
    assert flows.moved[0] == pytest.approx(2000)
