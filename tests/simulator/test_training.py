"""The training step: buckets by hand, what overlaps, and the architectures against their published sizes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from simulator import Conditions, Network, architectures, networks, simulate, training
from simulator.compute_times import ComputeTime
from simulator.training import Layer, Step, buckets, step

RING = catalogue.get("ring")
LAW = settings(deadline=None, max_examples=40)
LAYERS = st.lists(
    st.builds(
        Layer, st.just("layer"), st.integers(0, 1000).map(lambda n: 4 * n), st.floats(0, 1e-3), st.floats(0, 1e-3)
    ),
    min_size=1, max_size=8,
)  # fmt: skip


def star(size: int) -> Network:
    return networks.star(size, 10e-6, 1e9)


def layer(name: str, kilobytes: int, forward: float, backward: float) -> Layer:
    return Layer(name, 1000 * kilobytes, forward, backward)


# --- worked by hand -----------------------------------------------------------------------------------------------


def test_a_bucket_is_summed_while_the_rest_computes() -> None:
    # Two ranks, ring: 1000 kB take 2 messages of 10 us + 500 us, so 1.02 ms; 400 kB take 0.42 ms.
    model = [layer("first", 400, 1e-3, 0.5e-3), layer("last", 1000, 1e-3, 1e-3)]
    found = step(model, star(2), RING, bucket=0, itemsize=1)
    # Forward until 2 ms. "last" is ready at 3 and summed at 4.02; "first" is ready at 3.5 and waits for it until 4.02.
    last, first = found.buckets
    assert (last.layers, first.layers) == (("last",), ("first",))
    assert [last.ready, last.began, last.done] == pytest.approx([3e-3, 3e-3, 4.02e-3])
    assert [first.ready, first.began, first.done] == pytest.approx([3.5e-3, 4.02e-3, 4.44e-3])
    assert found.seconds == pytest.approx(4.44e-3)
    assert found.compute == found.alone == pytest.approx(3.5e-3)
    assert found.exposed == pytest.approx(0.94e-3)
    assert found.communication == pytest.approx(1.44e-3)
    assert found.overlap == pytest.approx(0.5 / 1.44)
    assert found.efficiency == pytest.approx(3.5 / 4.44)


def test_communication_that_fits_behind_computing_is_not_seen() -> None:
    model = [layer("first", 0, 0.0, 5e-3), layer("last", 1000, 0.0, 1e-3)]
    found = step(model, star(2), RING, bucket=0, itemsize=1)
    # The empty bucket of the first layer still costs its two messages: 20 us.
    assert found.exposed == pytest.approx(20e-6)
    assert found.overlap == pytest.approx(1.02 / 1.04)


def test_one_bucket_of_all_is_computing_and_then_an_allreduce() -> None:
    model = [layer("first", 400, 1e-3, 1e-3), layer("last", 1000, 1e-3, 1e-3)]
    whole = step(model, star(8), RING, bucket=1 << 40, first_bucket=1 << 40, itemsize=4)
    assert len(whole.buckets) == 1
    assert whole.exposed == pytest.approx(simulate(RING, 8, 1_400_000, star(8), itemsize=4).seconds)
    assert whole.overlap == pytest.approx(0.0)


def test_a_slow_worker_is_what_all_wait_for() -> None:
    model = [layer("only", 1000, 1e-3, 1e-3)]
    found = step(model, star(2), RING, itemsize=1, slow={1: 3.0}, update=0.5e-3)
    assert found.compute == pytest.approx(6.5e-3)
    assert found.seconds == pytest.approx(7.52e-3)
    assert found.alone == pytest.approx(2.5e-3)
    assert found.efficiency == pytest.approx(2.5 / 7.52)


def test_servers_of_their_own_do_not_compute() -> None:
    model = [layer("only", 1000, 1e-3, 1e-3)]
    separate = catalogue.get("parameter_server_separate", servers=2)
    found = step(model, star(4), separate, itemsize=1)
    assert (found.workers, found.network.size) == (2, 4)
    assert found.exposed == pytest.approx(simulate(separate, 4, 1_000_000, star(4)).seconds)
    with pytest.raises(ValueError, match="workers 0 to 1"):
        step(model, star(4), separate, slow={2: 2.0})


def test_two_levels_hide_more_than_one_ring_where_nodes_are_islands() -> None:
    """A ring of 16 leaves each node by one card; two levels use a rail for each of its four GPUs.

    By hand, inside: 2 · 3/4 · 16 MB at 100 GB/s; between nodes: 2 · 3/4 · 4 MB at 1 GB/s; without latency.
    """
    pod = networks.rails(4, 4, 0.0, 1e11, 0.0, 1e9)
    model = [layer("only", 16_000, 1e-3, 1e-3)]
    two, one = (step(model, pod, catalogue.parse(name), itemsize=1) for name in ("hierarchical:local=4", "ring"))
    assert two.exposed == pytest.approx(1.5 * 16e6 / 1e11 + 1.5 * 4e6 / 1e9)
    assert one.exposed == pytest.approx(2 * 15 / 16 * 16e6 / 1e9)


def test_conditions_of_the_network_count() -> None:
    model = [layer("only", 1000, 1e-3, 1e-3)]
    late = step(model, star(2), RING, itemsize=1, conditions=Conditions(start={0: 5e-3}))
    assert late.seconds == pytest.approx(6.02e-3)


def test_layers_fill_buckets_from_the_last_one_on() -> None:
    model = [layer(name, size, 0.0, 0.0) for name, size in (("a", 5), ("b", 1), ("c", 4), ("d", 2), ("e", 2))]
    assert buckets(model, 5000, first=1000) == ((4,), (3, 2), (1, 0))
    assert buckets(model, 5000, first=5000) == ((4, 3, 2), (1, 0))
    assert buckets(model, 0) == ((4,), (3,), (2,), (1,), (0,))
    # 25 MiB but for the first bucket, which goes at 1 MiB.
    assert [len(indices) for indices in buckets([layer("x", 1100, 0.0, 0.0)] * 30)] == [1, 24, 5]


# --- laws ---------------------------------------------------------------------------------------------------------


@LAW
@given(LAYERS, st.integers(0, 8000), st.integers(1, 6), st.sampled_from(["ring", "recursive_doubling"]))
def test_what_every_step_keeps(layers: list[Layer], bucket: int, size: int, name: str) -> None:
    found = step(layers, star(size), catalogue.get(name), bucket=bucket)
    assert sum(each.nbytes for each in found.buckets) == sum(each.nbytes for each in layers)
    assert sum(len(each.layers) for each in found.buckets) == len(layers)
    for each in found.buckets:
        assert each.ready <= each.began <= each.done
    assert found.seconds >= found.compute * (1 - 1e-12)
    # All of the communication that is not exposed went on beside computing: nothing else makes a step longer.
    assert -1e-9 <= found.overlap <= 1 + 1e-9
    assert found.seconds <= found.compute + found.communication + 1e-12


@LAW
@given(LAYERS, st.integers(0, 8000), st.integers(1, 6), st.floats(1, 4))
def test_a_straggler_never_makes_a_step_shorter(layers: list[Layer], bucket: int, size: int, factor: float) -> None:
    usual = step(layers, star(size), RING, bucket=bucket)
    slow = step(layers, star(size), RING, bucket=bucket, slow={size - 1: factor})
    assert slow.seconds >= usual.seconds * (1 - 1e-12)


def test_the_same_seed_gives_the_same_noise() -> None:
    model, noise = [layer("only", 1000, 1e-3, 1e-3)], ComputeTime(1.0, "lognormal", 0.2)

    def noisy(seed: int) -> Step:
        return step(model, star(4), RING, itemsize=1, noise=noise, seed=seed)

    assert noisy(1).seconds == noisy(1).seconds != noisy(2).seconds
    assert noisy(1).alone == pytest.approx(2e-3)


# --- architectures and scaling ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parameters", "published"),
    [
        # By arithmetic from the shape; what the paper rounds it to, and how far off that may be.
        ("resnet50", 25_557_032, (25.6e6, 0.005)),
        ("bert-large", 335_141_888, (340e6, 0.02)),
        ("gpt2-xl", 1_557_611_200, (1542e6, 0.02)),
    ],
)
def test_architectures_have_the_parameters_that_were_published(
    name: str, parameters: int, published: tuple[float, float]
) -> None:
    found = architectures.get(name)
    assert found.parameters == parameters == pytest.approx(published[0], rel=published[1])


def test_resnet_50_has_the_operations_of_its_paper() -> None:
    assert architectures.get("resnet50").operations == pytest.approx(3.8e9, rel=0.02)  # He et al., table 1


def test_a_transformer_has_two_operations_a_weight_and_token() -> None:
    model, tokens = architectures.get("bert-large"), 512
    blocks = [group for group in model.groups if group.name.startswith(("attention", "perceptron"))]
    weights = sum(group.parameters for group in blocks)
    meeting = 24 * 2 * tokens**2 * 1024
    assert sum(group.operations for group in blocks) == pytest.approx(weights * tokens + meeting, rel=2e-3)


def test_layers_share_the_time_as_they_share_the_operations() -> None:
    model = architectures.get("resnet50")
    forward = model.forward_seconds(32, 10e12)
    assert forward == pytest.approx(2 * model.operations * 32 / 10e12)
    found = training.layers(model, forward, 2 * forward)
    assert sum(each.nbytes for each in found) == 4 * 25_557_032
    assert sum(each.forward for each in found) == pytest.approx(forward)
    assert sum(each.backward for each in found) == pytest.approx(2 * forward)


def test_smaller_buckets_hide_more_until_latency_eats_it() -> None:
    model = training.layers(architectures.get("resnet50"), 30e-3, 60e-3)
    network = networks.star(8, 5e-6, 3.125e9)
    whole = step(model, network, RING, bucket=1 << 40, first_bucket=1 << 40)
    usual = step(model, network, RING)
    assert whole.overlap == pytest.approx(0.0)
    assert usual.overlap > 0.9
    assert usual.seconds < 0.9 * whole.seconds
    far = networks.star(64, 1e-3, 3.125e9)
    assert step(model, far, RING, bucket=0).seconds > step(model, far, RING).seconds


def test_efficiency_falls_with_the_number_of_workers_and_rises_with_bandwidth() -> None:
    model = training.layers(architectures.get("bert-large"), 0.1, 0.2)

    def efficiencies(bandwidth: float) -> list[float]:
        found = training.scaling(model, lambda size: networks.star(size, 5e-6, bandwidth), [1, 2, 8, 32], RING)
        assert [one.workers for one in found] == [1, 2, 8, 32]
        return [one.efficiency for one in found]

    slow, fast = efficiencies(1.25e9), efficiencies(12.5e9)
    assert slow[0] == fast[0] == pytest.approx(1.0)
    assert slow == sorted(slow, reverse=True)
    assert all(one < other for one, other in zip(slow[1:], fast[1:], strict=True))


def test_sizes_that_an_algorithm_does_not_have_are_left_out() -> None:
    model = [layer("only", 8, 0.0, 0.0)]
    separate = catalogue.get("parameter_server_separate", servers=2)
    assert [one.workers for one in training.scaling(model, star, [2, 3, 8], separate)] == [1, 6]


# --- refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layers": []}, "at least one layer"),
        ({"algorithm": catalogue.get("broadcast_binomial")}, "broadcast_binomial is no allreduce"),
        ({"algorithm": catalogue.get("parameter_server", servers=9)}, "does not work for 4 ranks"),
        ({"slow": {4: 1.0}}, "worker 4 is slow, and there are workers 0 to 3"),
        ({"slow": {0: 0.0}}, "above 0"),
        ({"update": math.nan}, "the update must take"),
        ({"bucket": -1}, "cannot have -1 bytes"),
        ({"seed": -1}, "seed"),
    ],
)
def test_a_step_that_cannot_be_is_refused(change: dict[str, Any], complaint: str) -> None:
    good: dict[str, Any] = {"layers": [layer("only", 8, 0.0, 0.0)], "network": star(4), "algorithm": RING}
    with pytest.raises(ValueError, match=complaint):
        step(**{**good, **change})


def test_layers_and_architectures_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot have -1 bytes"):
        Layer("bad", -1, 0.0, 0.0)
    with pytest.raises(ValueError, match="layer bad: times"):
        Layer("bad", 8, math.nan, 0.0)
    with pytest.raises(KeyError, match="known: resnet50"):
        architectures.get("resnet")
    with pytest.raises(ValueError, match="more than 0 FLOP/s"):
        architectures.get("resnet50").forward_seconds(32, 0.0)


def test_ranks_wake_up_before_the_first_sum_of_a_step() -> None:
    layers = tuple(Layer(str(number), 4_000_000, 0.0, 1e-4) for number in range(3))
    star = networks.star(4, 1e-6, 1e9)
    sleepy = replace(star, model=replace(star.model, start=5e-4))
    usual, late = (step(layers, network, catalogue.get("ring"), bucket=0) for network in (star, sleepy))
    assert late.seconds == pytest.approx(usual.seconds + 5e-4)  # once, though there are three sums
    assert late.compute == usual.compute
