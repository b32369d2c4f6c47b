"""What sets each shape apart: its ways, its lengths, and capacities worked by hand."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import Network, networks


def passed(network: Network, source: int, dest: int) -> list[int]:
    """The vertices of a route."""
    topology = network.topology
    return [source, *topology.ends[list(topology.route(source, dest)), 1].tolist()]


def hops(network: Network) -> np.ndarray:
    """The number of links from every host to every host."""
    size = network.topology.hosts
    sources, dests = np.divmod(np.arange(size * size), size)
    return np.diff(network.topology.routes(sources, dests).first).reshape(size, size)


def load(network: Network, sources: np.ndarray, dests: np.ndarray) -> np.ndarray:
    """How many of these messages pass each link."""
    links = network.topology.routes(sources, dests).links
    return np.bincount(links, minlength=len(network.topology.ends))


# --- ring and torus ---------------------------------------------------------------------------------------------------


def test_a_ring_goes_the_shorter_way_and_clockwise_on_a_tie() -> None:
    ring = networks.ring(6, 1e-6, 1e9)
    assert passed(ring, 1, 3) == [1, 2, 3]
    assert passed(ring, 1, 5) == [1, 0, 5]
    assert passed(ring, 1, 4) == [1, 2, 3, 4]
    assert passed(ring, 4, 1) == [4, 5, 0, 1]


@given(st.integers(1, 30))
def test_ring_distance(size: int) -> None:
    ahead = (np.arange(size) - np.arange(size)[:, np.newaxis]) % size
    assert (hops(networks.ring(size, 1e-6, 1e9)) == np.minimum(ahead, size - ahead)).all()


@pytest.mark.parametrize(("size", "links"), [(1, 0), (2, 2), (3, 6), (8, 16)])
def test_a_ring_has_two_links_a_host_but_two_hosts_share_a_cable(size: int, links: int) -> None:
    assert len(networks.ring(size, 1e-6, 1e9).topology.ends) == links


def test_half_of_a_ring_has_two_cables_to_the_other() -> None:
    (cut,) = networks.ring(9, 1e-6, 1e9).cut_capacities()
    assert (cut.ranks.tolist(), cut.outward, cut.inward) == ([0, 1, 2, 3], 2e9, 2e9)


def test_a_torus_crosses_one_dimension_after_the_other() -> None:
    # Hosts of a 4 x 5 torus: 5 a row. From (0, 1) to (3, 3): one row up over the edge, then two columns on.
    torus = networks.torus((4, 5), 1e-6, 1e9)
    assert passed(torus, 1, 18) == [1, 16, 17, 18]
    assert torus.route(0, 18)[0].name == "host 0 (0, 0) → host 15 (3, 0)"
    # From (0, 0) to (2, 0) both ways are two links long, and the way up is taken.
    assert passed(torus, 0, 10) == [0, 5, 10]


@given(st.lists(st.integers(1, 5), min_size=1, max_size=3))
def test_torus_distance(dims: list[int]) -> None:
    size = int(np.prod(dims))
    where = np.stack(np.unravel_index(np.arange(size), dims), axis=1)
    ahead = (where - where[:, np.newaxis]) % dims
    assert (hops(networks.torus(dims, 1e-6, 1e9)) == np.minimum(ahead, dims - ahead).sum(axis=2)).all()


def test_halves_of_a_torus_by_hand() -> None:
    # 4 x 2 x 3: the halves of the first dimension are joined by two cables for each of 6 hosts of a layer; those of the
    # second by one for each of 12 (a dimension of 2 does not wrap); in the third, one layer of 8 has two cables a host.
    cuts = networks.torus((4, 2, 3), 1e-6, 1e9).cut_capacities()
    assert [(len(cut.ranks), cut.outward) for cut in cuts] == [(12, 12e9), (12, 12e9), (8, 16e9)]


# --- trees ------------------------------------------------------------------------------------------------------------


def test_a_fat_tree_of_4_port_switches() -> None:
    # k = 4: 4 pods of 2 edge and 2 aggregation switches, 4 core switches; 16 hosts, 48 cables.
    tree = networks.fat_tree(4, 1e-6, 1e9)
    assert (tree.size, tree.topology.vertices, len(tree.topology.ends)) == (16, 16 + 8 + 8 + 4, 2 * 48)
    # Host 13 = 0b1101 is reached by aggregation switch 13 mod 2 = 1 and core switch 13 mod 4 = 1.
    assert [hop.dest for hop in tree.route(0, 13)] == [
        "edge switch 0", "aggregation switch 0.1", "core switch 1",
        "aggregation switch 3.1", "edge switch 6", "host 13",
    ]  # fmt: skip
    assert [hop.dest for hop in tree.route(0, 3)][1] == "aggregation switch 0.1"
    assert [hop.dest for hop in tree.route(0, 1)] == ["edge switch 0", "host 1"]


@pytest.mark.parametrize(("levels", "hosts"), [(1, 6), (2, 18), (3, 54), (4, 162)])
def test_a_fat_tree_has_a_place_for_every_port(levels: int, hosts: int) -> None:
    tree = networks.fat_tree(6, 1e-6, 1e9, levels=levels)
    degree = np.bincount(tree.topology.ends[:, 0])
    assert tree.size == hosts
    assert (degree[:hosts] == 1).all()
    assert (degree[hosts:] == 6).all()


@given(st.sampled_from([4, 6]), st.integers(1, 53), st.sampled_from([1, 2]))
def test_tree_distance(k: int, shift: int, o: int) -> None:
    tree = networks.fat_tree(k, 1e-6, 1e9, o if k == 4 else 1)
    source = np.arange(tree.size)
    dest = (source + shift) % tree.size
    under = k // 2  # hosts of an edge switch, and edge switches of a pod
    expected = np.where(source // under == dest // under, 2, np.where(source // under**2 == dest // under**2, 4, 6))
    assert (hops(tree)[source, dest] == np.where(source == dest, 0, expected)).all()


@pytest.mark.parametrize(("k", "levels"), [(4, 2), (4, 3), (6, 3), (4, 4)])
def test_no_two_messages_of_a_shift_meet_on_a_fat_tree(k: int, levels: int) -> None:
    tree = networks.fat_tree(k, 1e-6, 1e9, levels=levels)
    source = np.arange(tree.size)
    for shift in range(1, tree.size):
        assert load(tree, source, (source + shift) % tree.size).max() == 1


def test_oversubscription_leaves_fewer_uplinks_as_fast_as_before() -> None:
    # 16 ports: 8 hosts at each of 128 edge switches, which have 8 uplinks, or 4 at 2:1.
    full, half = (networks.fat_tree(16, 1e-6, 1e9, o) for o in (1, 2))
    racks = [cut for cut in half.cut_capacities() if len(cut.ranks) == 8]
    pods = [cut for cut in half.cut_capacities() if len(cut.ranks) == 64]
    assert {(cut.outward, cut.inward) for cut in racks} == {(4e9, 4e9)}
    assert {cut.outward for cut in pods} == {32e9}
    assert (len(racks), len(pods)) == (128, 16)
    assert {cut.outward / len(cut.ranks) for cut in full.cut_capacities()} == {1e9}
    assert half.beta == full.beta == 1e-9


def test_d_mod_k_spreads_all_to_all_evenly() -> None:
    tree = networks.fat_tree(8, 1e-6, 1e9, 2)
    size = tree.size
    sources, dests = np.divmod(np.arange(size * size), size)
    amounts = load(tree, sources, dests)
    below, above = tree.topology.ends.T
    edge = size + np.arange(size // 4)
    up = np.isin(below, edge) & (above >= size + len(edge))
    # Each of the 32 edge switches sends 4 x 124 messages to others, over 2 uplinks.
    assert set(amounts[up].tolist()) == {4 * (size - 4) // 2}


@given(st.integers(0, 53))
def test_all_messages_to_one_host_come_down_one_way(dest: int) -> None:
    tree = networks.fat_tree(6, 1e-6, 1e9)
    ways = {tuple(passed(tree, source, dest)[-4:]) for source in range(54) if source // 9 != dest // 9}
    assert len(ways) == 1


def test_a_fat_tree_builds_only_the_pods_that_its_hosts_need() -> None:
    tree = networks.fat_tree(4, 1e-6, 1e9, hosts=6)  # one whole pod, one edge switch of the next with two hosts
    names = Counter(tree.topology.label(vertex).split(" ")[0] for vertex in range(tree.topology.vertices))
    assert names == {"host": 6, "edge": 3, "aggregation": 4, "core": 4}
    assert sorted(len(cut.ranks) for cut in tree.cut_capacities()) == [2, 2, 2, 2, 4]


def test_a_hierarchy_by_hand() -> None:
    # 3 GPUs an island, 2 islands a node, 2 nodes: GPU 0 to GPU 11 goes up to the fabric; islands share their uplink.
    network = networks.hierarchical((3, 2, 2), (1e-6, 2e-6, 5e-6), (300e9, 30e9, 10e9))
    assert [hop.dest for hop in network.route(0, 11)] == [
        "island switch 0", "node switch 0", "fabric switch 0", "node switch 1", "island switch 3", "host 11",
    ]  # fmt: skip
    assert network.alpha == pytest.approx(2 * (1 + 2 + 5) * 1e-6)
    assert network.topology.machine.tolist() == [0] * 6 + [1] * 6
    assert [(len(cut.ranks), cut.outward) for cut in network.cut_capacities()] == [(3, 30e9)] * 4 + [(6, 10e9)] * 2
    assert network.topology.label(12) == "island switch 0"
    assert networks.hierarchical((2, 3), (1e-6, 2e-6), (1e9, 1e9)).topology.label(6) == "node switch 0"


# --- rails and dragonfly ----------------------------------------------------------------------------------------------


def test_ways_between_gpus_on_rails() -> None:
    network = networks.rails(nodes=2, gpus=4, island_latency=1e-6, island_bandwidth=3e9, latency=2e-6, bandwidth=1e9)
    inside, same_rail, other_rail = ([hop.name for hop in network.route(1, dest)] for dest in (3, 5, 6))
    assert inside == ["GPU 1 of node 0 → NVSwitch of node 0", "NVSwitch of node 0 → GPU 3 of node 0"]
    assert same_rail == ["GPU 1 of node 0 → rail switch 1", "rail switch 1 → GPU 1 of node 1"]
    # From GPU 1 to GPU 2 of the other node: first to the own GPU 2, then over rail 2.
    assert other_rail == [
        "GPU 1 of node 0 → NVSwitch of node 0", "NVSwitch of node 0 → GPU 2 of node 0",
        "GPU 2 of node 0 → rail switch 2", "rail switch 2 → GPU 2 of node 1",
    ]  # fmt: skip
    assert network.topology.machine.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    # A node is joined to the rails by four cards of 1e9; its GPUs have 3e9 more to the NVSwitch.
    assert [(cut.ranks.tolist(), cut.outward) for cut in network.cut_capacities()] == [
        ([0, 1, 2, 3], 4e9), ([4, 5, 6, 7], 4e9),
    ]  # fmt: skip
    assert set(network.out_rate.tolist()) == {3e9}


def test_ways_of_a_dragonfly() -> None:
    # Three groups of two routers with two hosts. Group 0's cable to group 1 is at router 0, to group 2 at router 1.
    network = networks.dragonfly(3, 2, 2, latency=1e-6, bandwidth=1e9, global_latency=5e-6, global_bandwidth=5e8)
    assert [hop.dest for hop in network.route(0, 1)] == ["router 0.0", "host 1"]
    assert [hop.dest for hop in network.route(0, 2)] == ["router 0.0", "router 0.1", "host 2"]
    assert [hop.dest for hop in network.route(0, 4)] == ["router 0.0", "router 1.0", "host 4"]
    assert [hop.dest for hop in network.route(0, 10)] == [
        "router 0.0", "router 0.1", "router 2.0", "router 2.1", "host 10",
    ]  # fmt: skip
    assert sum(hop.latency for hop in network.route(0, 10)) == pytest.approx(9e-6)
    # A router: one link to the other router of its group, and one cable. A group: two cables.
    assert [(len(cut.ranks), cut.outward) for cut in network.cut_capacities()] == [(2, 1.5e9)] * 6 + [(4, 1e9)] * 3


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 2))
def test_a_dragonfly_has_one_cable_for_two_groups_and_no_router_more_than_its_share(
    groups: int, routers: int, each: int
) -> None:
    topology = networks.dragonfly(groups, routers, each, 1e-6, 1e9).topology
    ends = topology.ends[(topology.ends >= topology.hosts).all(axis=1)] - topology.hosts
    far = ends[ends[:, 0] // routers != ends[:, 1] // routers]
    assert Counter(map(tuple, (far // routers).tolist())) == Counter(
        (one, other) for one in range(groups) for other in range(groups) if one != other
    )
    assert np.bincount(far[:, 0], minlength=1).max() <= max(0, -(-(groups - 1) // routers))
    assert hops(networks.dragonfly(groups, routers, each, 1e-6, 1e9)).max() <= 5
