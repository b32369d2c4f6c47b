"""Late and slow ranks, links that change, other traffic, jitter: by hand, and their laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.catalogue import Algorithm
from simulator import Conditions, Flow, Jitter, LinkChange, networks, simulate
from simulator.networks import uniform
from tests.simulator.schedules import one_round, rounds

LAW = settings(deadline=None, max_examples=80)
EVERY = [catalogue.get(name) for name in catalogue.names()]
SEND = one_round((0, 1))
STAR = networks.star(3, latency=2.0, bandwidth=1.0)  # host r's links: r up, 3 + r down


def seconds(conditions: Conditions, algorithm: Algorithm = SEND, nbytes: int = 100) -> float:
    return simulate(algorithm, 3, nbytes, STAR, conditions=conditions).seconds


def test_nothing_added_is_nothing_changed() -> None:
    assert seconds(Conditions()) == 102


def test_a_late_rank_keeps_its_partner_waiting_and_no_other() -> None:
    run = simulate(rounds([(0, 1)], [(2, 0)]), 3, 100, STAR, conditions=Conditions(start={1: 50.0}))
    assert run.completion.tolist() == [254, 152, 254]


def test_compute_comes_before_the_round_that_it_names() -> None:
    twice = rounds([(0, 1)], [(0, 1)])
    conditions = Conditions(compute={(0, 1): 30.0, (1, 0): 7.0, (2, 0): 500.0})
    run = simulate(twice, 3, 100, STAR, conditions=conditions)
    assert run.completion.tolist() == [7 + 102 + 30 + 102, 7 + 102 + 30 + 102, 500]
    assert [stay.entered for stay in run.timeline().stays if stay.rank == 0] == [0, 7 + 102 + 30]


def test_a_slow_rank_slows_its_messages_and_its_reductions() -> None:
    add = catalogue.get("reduce_linear")
    network = uniform(2, 2.0, 1.0, 0.5)
    slow = Conditions(slow_ranks={0: 3.0})
    assert simulate(add, 2, 100, network, conditions=slow).seconds == 3 * (2 + 100 + 50)


def test_a_degraded_link_is_slower_from_its_moment_on() -> None:
    """Forty seconds at 1 B/s, then a quarter of it for the other 60 bytes."""
    assert seconds(Conditions(links=(LinkChange(0, factor=0.25, at=40.0),))) == 40 + 240 + 2


def test_a_failed_link_holds_its_message_until_it_is_back() -> None:
    changes = (LinkChange(4, factor=0.0, at=40.0), LinkChange(4, factor=1.0, at=90.0))
    assert seconds(Conditions(links=changes)) == 40 + 50 + 60 + 2


def test_a_link_that_stays_down_is_an_error_that_names_it() -> None:
    with pytest.raises(ValueError, match=r"link 0 \(host 0 to switch\) failed .* rank 0 to rank 1 in round 0"):
        seconds(Conditions(links=(LinkChange(0, factor=0.0, at=40.0),)))


def test_other_traffic_takes_its_fair_share_or_less() -> None:
    """Host 2 sends to host 1 too: half of the last link each; held back to a quarter, it leaves three."""
    assert seconds(Conditions(background=(Flow(2, 1),))) == pytest.approx(200 + 2)
    assert seconds(Conditions(background=(Flow(2, 1, rate=0.25),))) == pytest.approx(100 / 0.75 + 2)
    assert seconds(Conditions(background=(Flow(1, 2),))) == pytest.approx(102)


def test_jitter_adds_its_mean_and_the_seed_decides() -> None:
    assert seconds(Conditions(jitter=Jitter("constant", 5.0))) == 107
    ring = catalogue.get("ring")
    network = networks.star(32, 1e-6, 1e9)

    def total(distribution: str, seed: int) -> float:
        conditions = Conditions(jitter=Jitter(distribution, 1e-6, seed))
        return simulate(ring, 32, 32, network, conditions=conditions).seconds

    for distribution in ("exponential", "uniform", "half_normal", "pareto"):
        assert total(distribution, 1) == total(distribution, 1)
        assert total(distribution, 1) != total(distribution, 2)


@pytest.mark.parametrize("distribution", ["constant", "exponential", "uniform", "half_normal", "pareto"])
def test_all_jitters_have_the_mean_that_they_state(distribution: str) -> None:
    drawn = Jitter(distribution, 3.0).draw(np.random.default_rng(0), 400_000)
    assert drawn.min() >= 0
    assert drawn.mean() == pytest.approx(3.0, rel=0.02)


@LAW
@given(st.data())
def test_without_contention_nothing_that_goes_wrong_makes_a_run_faster(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from([entry for entry in EVERY if entry.supports(9)]))
    nbytes, rank = data.draw(st.integers(0, 5000)), data.draw(st.integers(0, 8))
    network = uniform(9, 1e-6, 1e-9, 1e-9)
    worse = data.draw(
        st.sampled_from(
            [
                Conditions(slow_ranks={rank: data.draw(st.floats(1, 20))}),
                Conditions(start={rank: data.draw(st.floats(0, 1e-3))}),
                Conditions(compute={(rank, data.draw(st.integers(0, 4))): data.draw(st.floats(0, 1e-3))}),
            ]
        )
    )
    if algorithm.name == "reduce_scatter_pairwise":
        return  # two messages at a port: one that comes late may let a more urgent one go first
    clean, run = (simulate(algorithm, 9, nbytes, network, conditions=added) for added in (None, worse))
    assert run.seconds >= clean.seconds * (1 - 1e-9)


@pytest.mark.parametrize(
    ("conditions", "complaint"),
    [
        (Conditions(start={3: 1.0}), "rank 3, and there are ranks 0 to 2"),
        (Conditions(start={0: -1.0}), "late start of rank 0"),
        (Conditions(compute={(0, 0): math.nan}), "compute phase of rank 0 before round 0"),
        (Conditions(slow_ranks={0: 0.5}), "at least 1"),
        (Conditions(links=(LinkChange(6, 0.5),)), "link 6, and star has links 0 to 5"),
        (Conditions(links=(LinkChange(0, 2.0),)), "0 to 1 times"),
        (Conditions(links=(LinkChange(0, 0.5, at=-1.0),)), "moment"),
        (Conditions(background=(Flow(0, 0),)), "two different hosts"),
        (Conditions(background=(Flow(0, 1, 0.0),)), "rate above 0"),
    ],
)
def test_conditions_that_do_not_fit_are_refused(conditions: Conditions, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        seconds(conditions)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [(("gauss", 1.0), "known: constant"), (("constant", -1.0), "mean"), (("constant", 1.0, -2), "seed")],
)
def test_jitters_that_cannot_be_are_refused(arguments: tuple[Any, ...], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Jitter(*arguments)


def test_link_conditions_need_contention() -> None:
    with pytest.raises(ValueError, match="need contention"):
        simulate(SEND, 3, 10, STAR, contention=False, conditions=Conditions(background=(Flow(0, 1),)))
