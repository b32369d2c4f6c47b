"""Messages that share links: one example worked by hand for each shape of network, and what holds of all of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.catalogue import Algorithm
from collectives.schedule import Recv, Round, Send
from simulator import Network, networks, simulate, theory
from tests.simulator.schedules import one_round

LAW = settings(deadline=None, max_examples=60)
EVERY = [catalogue.get(name) for name in catalogue.names()]
HOP, RATE, BYTES = 1.0, 2.0, 100  # a link costs 1 s and carries 2 B/s, so 100 bytes alone take 50 s


def crossing() -> Network:
    """Two hosts on either side of one thin cable: 0 and 1 on the left, 2 and 3 on the right."""
    graph = nx.Graph()
    for host, switch in ((0, "left"), (1, "left"), (2, "right"), (3, "right")):
        graph.add_node(host, host=True)
        graph.add_edge(host, switch, latency=HOP, bandwidth=RATE)
    graph.add_edge("left", "right", latency=HOP, bandwidth=RATE / 4)
    return networks.custom(graph)


HAND: dict[str, tuple[Callable[[], Network], list[tuple[int, int]], int, int]] = {
    # Nobody meets anybody: each host has its own link to the switch.
    "star": (lambda: networks.star(4, 2 * HOP, RATE), [(0, 2), (1, 3), (2, 0), (3, 1)], 1, 2),
    # All go four links clockwise (a tie), so each of the eight clockwise links carries the messages of four ranks.
    "ring": (lambda: networks.ring(8, HOP, RATE), [(rank, (rank + 4) % 8) for rank in range(8)], 4, 4),
    # Two links along the last dimension: each link in that direction carries the messages of two ranks.
    "torus": (
        lambda: networks.torus((4, 4), HOP, RATE),
        [(4 * row + at, 4 * row + (at + 2) % 4) for row in range(4) for at in range(4)], 2, 2,
    ),
    # Two hosts of an edge switch have one uplink between them (2:1), and both send to the next edge switch.
    "fat tree": (lambda: networks.fat_tree(4, HOP, RATE, oversubscription=2), [(0, 2), (1, 3)], 2, 4),
    # With as many uplinks as hosts the two part ways by their destinations.
    "full fat tree": (lambda: networks.fat_tree(4, HOP, RATE), [(0, 2), (1, 3)], 1, 4),
    # Hosts 0 to 3 are group 0 (two routers of two hosts), 4 to 7 group 1; one cable joins the groups.
    "dragonfly": (lambda: networks.dragonfly(2, 2, 2, HOP, RATE), [(0, 4), (1, 5)], 2, 3),
    # Four ranks of a node share its uplink.
    "hierarchical": (
        lambda: networks.hierarchical((4, 2), (HOP, HOP), (RATE, RATE)), [(rank, rank + 4) for rank in range(4)], 4, 4,
    ),
    # GPU i of node 0 to GPU i of node 1: each pair has a rail of its own.
    "rails": (lambda: networks.rails(2, 4, HOP, RATE, HOP, RATE), [(rank, rank + 4) for rank in range(4)], 1, 2),
    # GPU 0 reaches GPU 1 of node 1 by way of its neighbour GPU 1, whose own message takes the same rail to node 2.
    "crossing rails": (lambda: networks.rails(3, 2, HOP, RATE, HOP, RATE), [(0, 3), (1, 5)], 2, 4),
    # Two hosts at 2 B/s each on a medium that carries 2 B/s in all.
    "bus": (lambda: networks.bus(4, 2 * HOP, RATE, shared=RATE), [(0, 1), (2, 3)], 2, 2),
    # Two at once over a cable of a quarter of the rate: eight times as long, and three links.
    "custom": (crossing, [(0, 2), (1, 3)], 8, 3),
}  # fmt: skip


@pytest.mark.parametrize("name", HAND)
def test_worked_by_hand(name: str) -> None:
    make, messages, times, hops = HAND[name]
    network = make()
    run = simulate(one_round(*messages), network.size, BYTES, network)
    assert run.seconds == pytest.approx(times * BYTES / RATE + hops * HOP, rel=1e-12)


@pytest.mark.parametrize("name", [name for name in HAND if name != "custom"])
def test_the_switch_turns_sharing_off(name: str) -> None:
    make, messages, _, hops = HAND[name]
    network = make()
    run = simulate(one_round(*messages), network.size, BYTES, network, contention=False)
    assert run.seconds == pytest.approx(BYTES / RATE + hops * HOP, rel=1e-12)


def test_who_ends_first_leaves_its_share() -> None:
    """0 -> 2 and 1 -> 3 carry 50 and 150 bytes over 0.5 B/s: 0.25 each until 200 s, then 0.5 for the last 100 bytes."""
    two = replace(one_round((0, 2), (1, 3)), chunk_count=lambda size, at: 4, function=_two_sizes)
    run = simulate(two, 4, 200, crossing())
    assert [(message.source, message.sent) for message in run.timeline()] == [(0, 200.0), (1, 400.0)]
    assert [message.contention for message in run.timeline()] == [100.0, 100.0]


def _two_sizes(rank: int, size: int) -> list[Round]:
    """Rank 0 sends one of four chunks to rank 2, rank 1 the three others to rank 3."""
    return [((Send(2, 0),), (Send(3, range(1, 4)),), (Recv(0, 0),), (Recv(1, range(1, 4)),))[rank]]


def test_a_ring_does_not_mind_a_ring_and_doubling_pays_for_its_distance() -> None:
    n, size = 1 << 20, 16
    round_ring = networks.ring(size, latency=1e-6, bandwidth=1e9)
    ring, doubling, halving = (
        simulate(catalogue.get(name), size, n, round_ring)
        for name in ("ring", "recursive_doubling", "halving_doubling")
    )
    assert ring.seconds == pytest.approx(theory.seconds(ring.algorithm, size, n, 1e-6, 1e-9), rel=1e-9)
    # In round i partners are 2^i links apart, and so many messages cross the link in the middle.
    assert doubling.seconds == pytest.approx((1 + 2 + 4 + 8) * (1e-6 + n * 1e-9), rel=1e-9)
    assert halving.seconds > ring.seconds


def test_a_fat_tree_without_oversubscription_is_as_good_as_a_star_for_neighbours() -> None:
    tree = networks.fat_tree(8, 0.0, 1e9)
    star = networks.star(128, 0.0, 1e9)
    for name in ("ring", "halving_doubling"):
        on_tree, on_star = (simulate(catalogue.get(name), 128, 1 << 20, network) for network in (tree, star))
        assert on_tree.seconds >= on_star.seconds * (1 - 1e-9)
        assert on_tree.seconds <= 1.5 * on_star.seconds


# --- laws ---------------------------------------------------------------------------------------------------------

SHAPES: list[Callable[[], Network]] = [
    lambda: networks.star(12, 2e-6, 1e9),
    lambda: networks.ring(12, 1e-6, 1e9),
    lambda: networks.torus((3, 4), 1e-6, 1e9),
    lambda: networks.fat_tree(4, 1e-6, 1e9, oversubscription=2, hosts=12),
    lambda: networks.dragonfly(3, 2, 2, 1e-6, 1e9),
    lambda: networks.hierarchical((2, 3, 2), (1e-7, 1e-6, 5e-6), (1e10, 4e9, 1e9)),
    lambda: networks.rails(3, 4, 1e-7, 1e10, 1e-6, 1e9),
    lambda: networks.bus(12, 1e-6, 1e9, shared=3e9),
]


@st.composite
def runs(draw: st.DrawFn) -> tuple[Algorithm, int, int, Network]:
    network = draw(st.sampled_from(SHAPES))()
    algorithm = draw(st.sampled_from([entry for entry in EVERY if entry.supports(network.size)]))
    return algorithm, network.size, draw(st.integers(0, 100_000)), network


@LAW
@given(runs())
def test_links_carry_what_is_sent_and_never_more_than_they_can(case: tuple[Algorithm, int, int, Network]) -> None:
    run = simulate(*case)
    network, bins = case[3], 13
    use = run.utilisation(bins)
    assert use.max(initial=0.0) <= 1 + 1e-9
    carried = use.sum(axis=1) * network.topology.bandwidth * run.seconds / bins
    expected = np.zeros(len(carried))
    for message in run.timeline():
        route = network.topology.route(int(network.place[message.source]), int(network.place[message.dest]))
        expected[list(route)] += message.nbytes
    assert carried == pytest.approx(expected, rel=1e-6, abs=1e-6)


@LAW
@given(runs())
def test_time_runs_forward_and_no_message_is_faster_than_its_route(case: tuple[Algorithm, int, int, Network]) -> None:
    network, timeline = case[3], simulate(*case).timeline()
    for message in timeline:
        moments = (message.injected, message.ready, message.start, message.sent, message.arrived, message.end)
        assert list(moments) == sorted(moments)
        assert message.sent - message.start >= message.ideal * (1 - 1e-9)
        route = list(network.topology.route(int(network.place[message.source]), int(network.place[message.dest])))
        assert message.arrived - message.sent == pytest.approx(network.topology.latency[route].sum())
    assert all(stay.entered <= stay.received <= stay.left for stay in timeline.stays)


@LAW
@given(runs())
def test_sharing_is_never_faster_than_having_all_links_alone(case: tuple[Algorithm, int, int, Network]) -> None:
    together, alone = simulate(*case), simulate(*case, contention=False)
    assert together.seconds >= alone.seconds * (1 - 1e-9)
    assert together.seconds >= together.bound * (1 - 1e-9)
    assert (together.messages, together.bytes) == (alone.messages, alone.bytes)


@LAW
@given(runs())
def test_two_runs_agree_to_the_bit(case: tuple[Algorithm, int, int, Network]) -> None:
    one, other = simulate(*case), simulate(*case)
    assert one.completion.tolist() == other.completion.tolist()
    assert one.timeline() == other.timeline()


@LAW
@given(runs())
def test_doubling_every_bandwidth_halves_the_bandwidth_term(case: tuple[Algorithm, int, int, Network]) -> None:
    algorithm, size, nbytes, network = case

    def with_rates(factor: float) -> float:
        topology = network.topology
        free = replace(topology, latency=topology.latency * 0, bandwidth=topology.bandwidth * factor)
        return simulate(algorithm, size, nbytes, replace(network, topology=free)).seconds

    assert with_rates(2.0) == pytest.approx(with_rates(1.0) / 2, rel=1e-9)
