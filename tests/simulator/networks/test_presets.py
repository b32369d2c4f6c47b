"""Presets: every one builds at every size, and its figures are those of its sources."""

from __future__ import annotations

import numpy as np
import pytest

from simulator import Network, networks
from simulator.models import Cores


@pytest.mark.parametrize("name", networks.names())
@pytest.mark.parametrize("ranks", [1, 2, 7, 48, 49, 130])
def test_every_preset_builds_at_every_size_and_all_pairs_are_reachable(name: str, ranks: int) -> None:
    network = networks.preset(name, ranks)
    assert (network.name, network.size) == (name, ranks)
    sources, dests = np.divmod(np.arange(ranks * ranks), ranks)
    routes = network.topology.routes(network.place[sources], network.place[dests])
    apart = sources != dests
    assert (np.diff(routes.first)[apart] > 0).all()
    assert (network.topology.ends[routes.links[routes.first[1:][apart] - 1], 1] == network.place[dests[apart]]).all()
    assert network.gamma > 0
    assert network.alpha >= 0


@pytest.mark.parametrize("name", networks.names())
def test_every_preset_says_where_its_figures_are_from_and_what_is_assumed(name: str) -> None:
    source = networks.preset(name, 2).source
    assert "Assumed:" in source
    assert "\n" not in source
    assert "  " not in source


@pytest.mark.parametrize(
    ("name", "gbit", "microseconds"),
    [
        # (1500 - 52) / (1500 + 38) = 0.9415 of the line rate; 35 us in two hosts, and one switch.
        ("ethernet-1g", 0.9415, 38.0),
        ("ethernet-10g", 9.415, 35.55),
        ("ethernet-25g", 23.54, 35.8),
        ("ethernet-100g", 96.4, 16.2),
        ("infiniband-hdr", 200.0, 1.0),
        ("infiniband-ndr", 400.0, 1.0),
        ("dgx-a100", 2400.0, 0.47),
        ("dgx-h100", 3600.0, 0.47),
        ("tpu-torus", 400.0, 1.0),
        # 866.7 / 2 for TCP, and twice over the air.
        ("home", 0.2167, 4000.0),
    ],
)
def test_two_neighbours(name: str, gbit: float, microseconds: float) -> None:
    network = networks.preset(name, 2)
    assert 8e-9 / network.beta == pytest.approx(gbit, rel=1e-3)
    assert network.alpha * 1e6 == pytest.approx(microseconds, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "ranks", "rank_rate", "rack_ranks", "rack_rate"),
    [
        ("ethernet-1g", 96, 1.0 * 0.9415, 48, 40 * 0.9415),
        ("ethernet-10g", 96, 10 * 0.9415, 48, 160 * 0.9415),
        ("ethernet-25g", 96, 25 * 0.9415, 48, 800 * 0.9415),
        ("infiniband-hdr", 60, 200, 20, 20 * 200),
        ("infiniband-ndr", 96, 400, 32, 32 * 400),
        ("dgx-h100", 32, 3600, 8, 8 * 400),
    ],
)
def test_racks_and_servers(name: str, ranks: int, rank_rate: float, rack_ranks: int, rack_rate: float) -> None:
    network = networks.preset(name, ranks)
    assert network.out_rate * 8e-9 == pytest.approx(np.full(ranks, rank_rate), rel=1e-3)
    assert {len(cut.ranks) for cut in network.cut_capacities()} == {rack_ranks}
    assert [cut.outward * 8e-9 for cut in network.cut_capacities()] == pytest.approx(
        [rack_rate] * (ranks // rack_ranks), rel=1e-3
    )


def test_hosts_on_one_switch_never_meet() -> None:
    assert networks.preset("ethernet-10g", 48).topology.private
    assert not networks.preset("ethernet-10g", 49).topology.private
    assert networks.preset("infiniband-hdr", 40).translations == "any"


def test_three_switches_cost_three_times_one() -> None:
    near, far = (networks.preset("infiniband-hdr", 41).route(0, dest) for dest in (1, 40))
    assert sum(hop.latency for hop in near) == pytest.approx(130e-9)
    assert sum(hop.latency for hop in far) == pytest.approx(3 * 130e-9)


@pytest.mark.parametrize(("ranks", "dims"), [(1, (1, 1, 1)), (13, (2, 2, 4)), (64, (4, 4, 4)), (1024, (8, 8, 16))])
def test_a_tpu_torus_is_nearly_a_cube(ranks: int, dims: tuple[int, int, int]) -> None:
    topology = networks.preset("tpu-torus", ranks).topology
    assert topology.label(topology.hosts - 1).endswith(str(tuple(side - 1 for side in dims)))


def test_half_of_a_tpu_pod_has_the_capacity_that_google_gives() -> None:
    # 16 x 16 x 16: two layers of 256 links; Google's documentation says 24 TB/s.
    pod = networks.preset("tpu-torus", 4096)
    assert [cut.outward for cut in pod.cut_capacities()] == [2 * 256 * 50e9] * 3
    assert pytest.approx(24e12, rel=0.07) == 2 * 256 * 50e9


def test_a_laptop_is_one_machine_whose_ranks_share_its_cores_and_memory() -> None:
    laptop = networks.preset("laptop", 12)
    assert laptop.model.cores == Cores(8)
    assert set(laptop.topology.machine.tolist()) == {0}
    assert sorted(set(laptop.topology.bandwidth.tolist())) == [10e9, pytest.approx(51.2e9 / 3)]


def test_presets_of_a_pod_keep_whole_servers() -> None:
    pod = networks.preset("dgx-a100", 12)
    assert (pod.size, pod.topology.hosts) == (12, 16)
    # Rank 0 reaches rank 11, GPU 3 of node 1, over its own node's GPU 3.
    assert [hop.dest for hop in pod.route(0, 11)][1] == "GPU 3 of node 0"


def refused(name: str, ranks: int) -> str:
    with pytest.raises(ValueError, match=r".") as problem:
        networks.preset(name, ranks)
    return str(problem.value)


def test_bad_presets_are_refused_in_a_line() -> None:
    assert refused("dgx-h10", 8).startswith("no preset is called 'dgx-h10'; known: dgx-h100, ")
    assert refused("home", 0) == "ranks must be at least 1, got 0"
    assert refused("tpu-torus", 4097) == "tpu-torus has 4096 chips, too few for 4097 ranks"


def test_a_preset_of_1024_ranks_is_placed_like_any_network() -> None:
    pod: Network = networks.place(networks.preset("dgx-h100", 1024), "cyclic")
    assert pod.topology.machine[pod.place[:128]].tolist() == list(range(128))
