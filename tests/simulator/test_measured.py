"""Networks from a profile: every calibrated term worked by hand, in whole seconds so that a reader can follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.profile import Crowd, PairClass, Profile
from simulator import networks, simulate, theory
from simulator.models import Calibrated, Duplex, Model
from simulator.networks import TERMS, from_profile

BROADCAST, EXCHANGE, RING = (catalogue.get(name) for name in ("broadcast_linear", "recursive_doubling", "ring"))
PLAIN = Profile(alpha=10.0, beta=2.0, gamma=0.0, ranks=4)
KNOTS = st.lists(st.integers(0, 1 << 24), min_size=2, max_size=6, unique=True).map(sorted)


def changed(**values: Any) -> Profile:
    return replace(PLAIN, **values)


def seconds(profile: Profile, algorithm: Any, size: int, nbytes: int, *terms: str) -> float:
    return simulate(algorithm, size, nbytes, from_profile(profile, size, terms), itemsize=1).seconds


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    sizes = draw(KNOTS)
    times = sorted(draw(st.lists(st.floats(1e-6, 1.0), min_size=len(sizes), max_size=len(sizes))))
    factors = draw(st.lists(st.floats(0.05, 4.0), min_size=len(sizes), max_size=len(sizes)))
    return changed(
        alpha=times[0], beta=1e-9, curve=tuple(zip(sizes, times, strict=True)),
        streams=tuple(zip(sizes, factors, strict=True)), eager=draw(st.sampled_from([-1, sizes[1]])),
    )  # fmt: skip


@pytest.mark.parametrize("name", catalogue.names("allreduce"))
@pytest.mark.parametrize("size", [2, 4, 8])
def test_without_terms_it_is_hockney_of_a_pair_alone(name: str, size: int) -> None:
    alone = Crowd(ranks=2, alpha=3.0, beta=0.5)
    profile = changed(crowd=(alone, Crowd(ranks=4, alpha=10.0, beta=2.0)), ranks=4)
    algorithm = catalogue.get(name)
    if not algorithm.supports(size):
        return
    expected = simulate(algorithm, size, 4096, networks.uniform(size, 3.0, 0.5)).seconds
    assert seconds(profile, algorithm, size, 4096) == pytest.approx(expected)
    if name == "ring":
        assert expected == pytest.approx(theory.seconds(algorithm, size, 4096, 3.0, 0.5))


def test_the_curve_replaces_the_line() -> None:
    profile = changed(curve=((0, 5.0), (100, 20.0)))
    assert seconds(profile, BROADCAST, 2, 100) == 10 + 2 * 100
    assert seconds(profile, BROADCAST, 2, 100, "curve") == 20
    assert seconds(profile, BROADCAST, 2, 200, "curve") == 35  # the last line goes on


def test_a_start_is_paid_once() -> None:
    profile = changed(start=7.0)
    assert seconds(profile, RING, 4, 40, "start") == seconds(profile, RING, 4, 40) + 7


def test_many_ranks_at_work_cost_what_they_were_measured_to_cost() -> None:
    profile = changed(crowd=(Crowd(ranks=2, alpha=1.0, beta=0.0), Crowd(ranks=4, alpha=9.0, beta=0.0)))
    assert seconds(profile, BROADCAST, 2, 5, "processor") == 1
    assert seconds(profile, BROADCAST, 3, 5, "processor") == 2 * 5  # half way between two ranks and four
    assert seconds(profile, RING, 4, 4) == 6 * 1
    assert seconds(profile, RING, 4, 4, "processor") == 6 * 9


def test_an_exchange_costs_its_factor() -> None:
    profile = changed(curve=((0, 10.0), (100, 30.0)), duplex=((0, 1.0), (100, 2.0)))
    assert seconds(profile, EXCHANGE, 2, 100, "curve") == 30
    assert seconds(profile, EXCHANGE, 2, 100, "curve", "duplex") == 10 + 2 * 20  # bytes take the ports twice as long
    assert seconds(profile, BROADCAST, 2, 100, "curve", "duplex") == 30


def test_ranks_that_send_and_receive_at_once_have_more_to_do() -> None:
    """A message of up to 100 bytes does not ask; exchanges of 0, 50 and 100 take 5, 10 and 15 s more than one way."""
    factors = ((0, 1.5), (50, 1.5), (100, 1.5), (200, 1.0))
    profile = changed(curve=((0, 10.0), (100, 30.0)), duplex=factors, eager=100)
    assert seconds(profile, EXCHANGE, 2, 100, "curve", "duplex") == 30
    assert seconds(profile, EXCHANGE, 2, 100, "curve", "processor") == 30 + 10  # the median
    assert seconds(profile, EXCHANGE, 2, 10, "curve", "processor") == 12 + 10
    assert seconds(profile, BROADCAST, 2, 100, "curve", "processor") == 30
    assert seconds(profile, EXCHANGE, 2, 200, "curve", "processor") == 50
    assert seconds(profile, RING, 3, 300, "curve", "processor") == 4 * 40  # with another partner each way as well
    chain = catalogue.get("broadcast_chain", segments=1)
    assert seconds(profile, chain, 3, 100, "curve", "processor") == 2 * 30  # nobody does both


def test_one_train_that_was_late_does_not_make_short_messages_keep_ports_longer_than_long_ones() -> None:
    profile = changed(curve=((0, 5.0), (100, 20.0)), streams=((50, 9.0), (100, 1.5)), eager=100)
    assert seconds(profile, BROADCAST, 3, 50, "curve", "contention") == 30 + 12.5
    assert seconds(profile, BROADCAST, 3, 100, "curve", "contention") == 30 + 20


def test_a_port_is_taken_as_long_as_trains_showed() -> None:
    """100 bytes show for 20 s, of which 5 are latency; in a train one follows another after 1.5 times that."""
    profile = changed(curve=((0, 5.0), (100, 20.0)), streams=((100, 1.5),), eager=100)
    assert seconds(profile, BROADCAST, 3, 100, "curve") == 15 + 20
    assert seconds(profile, BROADCAST, 3, 100, "curve", "contention") == 30 + 20


def test_what_overlaps_in_a_train_is_latency() -> None:
    """100 bytes show for 20 s, but another follows after 8: so 12 s are on the way, and 8 take the port."""
    profile = changed(curve=((0, 5.0), (100, 20.0)), streams=((100, 0.4),), eager=100)
    assert seconds(profile, BROADCAST, 3, 100, "curve", "contention") == 8 + 20


def test_a_reduction_costs_what_its_size_does() -> None:
    profile = changed(alpha=0.0, beta=0.0, gamma=1.0, reductions={"float32": ((4, 2.0), (64, 5.0))})
    reduce = catalogue.get("reduce_linear")
    assert [seconds(profile, reduce, 2, nbytes) for nbytes in (4, 100)] == [4, 100]
    assert [seconds(profile, reduce, 2, nbytes, "reduction") for nbytes in (4, 15, 17, 100)] == [8, 30, 85, 500]


def test_racks_share_their_trunk() -> None:
    profile = changed(
        alpha=0.0, beta=1.0, groups=(0, 0, 1, 1), trunk=0.5,
        classes=(PairClass("near", 2, 1.0, 1.0, {}), PairClass("far", 4, 5.0, 1.0, {})),
    )  # fmt: skip
    network = from_profile(profile, 4, ("contention",))
    assert [len(network.route(0, dest)) for dest in (1, 2)] == [2, 4]
    assert sum(hop.latency for hop in network.route(0, 2)) == 4.0
    assert seconds(profile, BROADCAST, 4, 10, "contention") > seconds(profile, BROADCAST, 4, 10)
    assert from_profile(profile, 8, ("contention",)).size == 8


def test_an_emulated_ring_of_hosts_is_a_ring() -> None:
    place = {"name": "cluster", "hosts": 6, "topology": "ring"}
    profile = changed(declared="ring", curve=((0, 1.0), (100, 101.0)), environment={"place": place})
    network = from_profile(profile, 4)
    assert [len(network.route(0, dest)) for dest in range(1, 4)] == [1, 2, 3]
    assert network.route(0, 1)[0].bandwidth == 1.0
    assert len(from_profile(profile, 4, ()).route(0, 3)) == 2


@given(profiles(), st.lists(st.integers(0, 1 << 25), min_size=1, max_size=20))
def test_parts_of_a_message_add_up_to_the_curve(profile: Profile, sizes: list[int]) -> None:
    period = tuple((size, factor * profile.one_way(size)) for size, factor in profile.streams)
    message, nbytes = Calibrated(profile.curve, period, profile.eager), np.array(sizes)
    shown, gap = message.seconds(nbytes), message.gap(nbytes)
    assert (shown >= 0).all()
    assert (gap >= 0).all()
    assert (message.delay(nbytes) >= -1e-15).all()
    total = [max(profile.curve[0][1], profile.one_way(size)) for size in sizes]
    assert message.delay(nbytes) + shown == pytest.approx(total, rel=1e-9, abs=1e-12)
    latency, per_byte = message.least
    assert (shown + gap >= per_byte * nbytes * (1 - 1e-9) - 1e-15).all()
    assert (message.delay(nbytes) >= latency - 1e-9 * np.array(total)).all()  # a difference, so it rounds
    assert (gap <= message.longest_gap(max(sizes)) * (1 + 1e-9) + 1e-15).all()


@settings(max_examples=50)
@given(profiles(), st.sampled_from(catalogue.names("allreduce")), st.integers(2, 8), st.integers(0, 1 << 22))
def test_no_run_beats_its_bound(profile: Profile, name: str, size: int, nbytes: int) -> None:
    algorithm = catalogue.get(name)
    if algorithm.supports(size):
        run = simulate(algorithm, size, nbytes, from_profile(profile, size), itemsize=1)
        assert run.seconds >= run.bound * (1 - 1e-9)


@given(profiles(), st.sampled_from(["ring", "binomial", "halving_doubling", "linear"]), st.integers(0, 1 << 20))
def test_terms_that_were_not_calibrated_change_nothing(profile: Profile, name: str, nbytes: int) -> None:
    bare = Profile(alpha=profile.alpha, beta=profile.beta, gamma=1e-10, ranks=4)
    plain = seconds(bare, catalogue.get(name), 4, nbytes)
    assert seconds(bare, catalogue.get(name), 4, nbytes, *TERMS) == pytest.approx(plain)


def test_mistakes_are_told() -> None:
    with pytest.raises(ValueError, match="no term is called 'curves'; known: start, curve"):
        from_profile(PLAIN, 4, ("curves",))
    with pytest.raises(ValueError, match="a curve needs at least two points"):
        Calibrated(((8, 1.0),))
    with pytest.raises(ValueError, match="a duplex factor is 1"):
        Duplex(points=((8, 0.5),))
    with pytest.raises(ValueError, match="start must be finite"):
        Model(start=-1.0)
