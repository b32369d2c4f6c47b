"""The event simulation: examples worked by hand, refusals, and what must hold of every run."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue, proof
from collectives.catalogue import Algorithm
from collectives.schedule import INCOMING_FIRST, Recv, Round, ScheduleError, Send, extents, relabel
from simulator import Message, Network, networks, simulate
from simulator.networks import uniform

EVERY = [catalogue.get(name) for name in catalogue.names()]
ALPHA, BETA, GAMMA = 5.0, 2.0, 0.5
COSTS = st.floats(1e-9, 1e-3, allow_nan=False)
LAW = settings(deadline=None, max_examples=60)  # no deadline: the machine may be busy with other ranks


def by_hand(rounds: Sequence[Sequence[Round]], chunks: int = 1, collective: str = "broadcast") -> Algorithm:
    def function(rank: int, size: int) -> Sequence[Round]:
        return rounds[rank]

    return replace(
        catalogue.get("linear"), name="by_hand", collective=collective, function=function,
        chunk_count=lambda size, at: chunks,
    )  # fmt: skip


def supported(draw: st.DrawFn, sizes: st.SearchStrategy[int]) -> tuple[Algorithm, int]:
    algorithm = draw(st.sampled_from(EVERY))
    return algorithm, draw(sizes.filter(algorithm.supports))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Algorithm, int, int, Network]:
    """Any algorithm on any small size, bytes that need not divide, and any costs."""
    algorithm, size = supported(draw, st.integers(1, 17))
    return algorithm, size, draw(st.integers(0, 5000)), uniform(size, draw(COSTS), draw(COSTS), draw(COSTS))


# --- worked by hand -----------------------------------------------------------------------------------------------


def test_one_message_takes_alpha_and_its_bytes() -> None:
    run = simulate(catalogue.get("broadcast_linear"), 2, 10, uniform(2, ALPHA, BETA, GAMMA))
    assert run.seconds == ALPHA + 10 * BETA
    assert (run.messages, run.bytes, run.rounds) == (1, 10, 1)
    (message,) = run.timeline()
    assert (message.source, message.dest, message.round, message.nbytes, message.folds) == (0, 1, 0, 10, False)
    assert (message.start, message.sent, message.receiving, message.end) == (0, 20, 5, 25)


def test_an_exchange_is_full_duplex_and_folds_afterwards() -> None:
    run = simulate(catalogue.get("recursive_doubling"), 2, 10, uniform(2, ALPHA, BETA, GAMMA))
    assert run.seconds == ALPHA + 10 * BETA + 10 * GAMMA
    assert [(stay.entered, stay.received, stay.left) for stay in run.timeline().stays] == [(0, 25, 30)] * 2


def test_a_port_sends_one_message_after_another_in_listed_order() -> None:
    fan = by_hand([[(Send(2, 0), Send(1, 0))], [(Recv(0, 0),)], [(Recv(0, 0),)]])
    run = simulate(fan, 3, 10, uniform(3, ALPHA, BETA))
    assert run.completion.tolist() == [45, 45, 25]


def test_the_receiver_s_list_decides_between_first_messages() -> None:
    gather = by_hand([[(Recv(2, 1), Recv(1, 0))], [(Send(0, 0),)], [(Send(0, 1),)]], chunks=2, collective="barrier")
    run = simulate(gather, 3, 10, uniform(3, ALPHA, BETA))
    assert run.completion.tolist() == [25, 25, 15]


def test_a_port_that_is_free_takes_what_can_go_instead_of_waiting() -> None:
    """Rank 0 lists rank 1 first, which comes late from an earlier round: its message to rank 2 goes meanwhile."""
    late = by_hand(
        [
            [(), (Send(1, 0), Send(2, 0))],
            [(Recv(3, 0),), (Recv(0, 0),)],
            [(), (Recv(0, 0),)],
            [(Send(1, 0),), ()],
        ]
    )
    starts = {message.dest: message.start for message in simulate(late, 4, 10, uniform(4, ALPHA, BETA)).timeline()[1:]}
    assert starts == {2: 0, 1: 25}


def test_a_message_waits_for_both_its_ranks_and_no_other() -> None:
    linear = simulate(catalogue.get("reduce_linear"), 3, 10, uniform(3, ALPHA, BETA, GAMMA))
    assert [message.start for message in linear.timeline()] == [0, 30]
    assert linear.completion.tolist() == [60, 25, 55]


def test_an_empty_chunk_is_a_message_that_costs_alpha() -> None:
    run = simulate(catalogue.get("ring"), 4, 0, uniform(4, ALPHA, BETA, GAMMA))
    assert run.seconds == 6 * ALPHA
    assert (run.messages, run.bytes) == (24, 0)
    few = simulate(catalogue.get("chain", segments=16), 3, 2, uniform(3, ALPHA, BETA))
    assert sum(message.nbytes == 0 for message in few.timeline()) == 4 * 14


def test_elements_are_never_cut() -> None:
    run = simulate(catalogue.get("ring"), 3, 16, uniform(3, ALPHA, BETA), itemsize=8)
    assert sorted({message.nbytes for message in run.timeline()}) == [0, 8]


def test_one_rank_does_nothing() -> None:
    run = simulate(catalogue.get("ring"), 1, 100, uniform(1, ALPHA, BETA))
    assert (run.seconds, run.messages, run.bound, len(run.timeline())) == (0.0, 0, 0.0, 0)


# --- refusals -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rounds", "complaint"),
    [
        ([[(Send(1, 0),)], [()]], "no receive meets"),
        ([[()], [(Recv(0, 0),)]], "waits for"),
        ([[(Send(1, 0),)], [(Recv(0, 1),)]], "expects chunks"),
        ([[(Send(1, 0), Send(1, 1))], [(Recv(0, 0),)]], "two sends"),
        ([[(Send(1, 0),), ()], [(Recv(0, 0),)]], "rounds"),
        ([[(Send(7, 0),)], [()]], "partner 7"),
        ([[(Send(1, 5),)], [(Recv(0, 5),)]], "chunk 5"),
    ],
)
def test_a_schedule_that_would_wait_for_ever_is_refused(rounds: list[list[Round]], complaint: str) -> None:
    with pytest.raises(ScheduleError, match=rf"rank \d.*{complaint}"):
        simulate(by_hand(rounds, chunks=2), 2, 10, uniform(2, ALPHA, BETA))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"size": 5}, "network has 4 hosts"),
        ({"nbytes": -1}, "nbytes"),
        ({"nbytes": 6, "itemsize": 4}, "multiple of itemsize=4"),
        ({"itemsize": 0}, "itemsize"),
        ({"algorithm": catalogue.get("broadcast_linear", root=9)}, "does not work for 4 ranks"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], complaint: str) -> None:
    good: dict[str, Any] = {"algorithm": catalogue.get("ring"), "size": 4, "nbytes": 8, "network": uniform(4, 1, 1)}
    with pytest.raises(ValueError, match=complaint):
        simulate(**{**good, **arguments})


def test_a_result_below_the_bound_is_a_defect_and_says_so() -> None:
    idle = by_hand([[()], [()]], collective="allreduce")
    with pytest.raises(AssertionError, match="below the lower bound"):
        simulate(idle, 2, 10, uniform(2, ALPHA, BETA))


# --- laws ---------------------------------------------------------------------------------------------------------


@LAW
@given(cases())
def test_nothing_is_faster_than_the_bound(case: tuple[Algorithm, int, int, Network]) -> None:
    run = simulate(*case)
    assert run.seconds >= run.bound * (1 - 1e-9)
    assert run.seconds == run.completion.max()


@LAW
@given(cases(), st.sampled_from([1, 2, 4, 8]))
def test_what_is_sent_is_what_the_schedule_says(case: tuple[Algorithm, int, int, Network], itemsize: int) -> None:
    algorithm, size, nbytes, network = case
    run = simulate(algorithm, size, nbytes * itemsize, network, itemsize=itemsize)
    cut = extents(nbytes * algorithm.vectors(size), algorithm.chunks(size))
    wanted = {
        (rank, operation.dest, number): sum(cut[chunk][1] - cut[chunk][0] for chunk in operation.chunks) * itemsize
        for rank in range(size)
        for number, operations in enumerate(algorithm.rounds(rank, size))
        for operation in operations
        if isinstance(operation, Send)
    }
    assert {(m.source, m.dest, m.round): m.nbytes for m in run.timeline()} == wanted
    assert (run.messages, run.bytes) == (len(wanted), sum(wanted.values()))


@pytest.mark.parametrize("algorithm", EVERY, ids=str)
def test_totals_agree_with_the_prover(algorithm: Algorithm) -> None:
    for size in filter(algorithm.supports, (2, 5, 8, 13)):
        run = simulate(algorithm, size, (algorithm.chunks(size) or 1) * 64, uniform(size, ALPHA, BETA))
        found = proof.prove(algorithm, size)
        sent = [0] * size
        for message in run.timeline():
            sent[message.source] += message.nbytes
        assert (run.rounds, run.messages) == (found.rounds, found.messages)
        assert max(sent) == found.bytes_per_rank * run.nbytes


@LAW
@given(cases())
def test_no_port_carries_two_messages_at_once_and_time_runs_forward(case: tuple[Algorithm, int, int, Network]) -> None:
    timeline = simulate(*case).timeline()
    network = case[3]
    ports: dict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)
    stays = {(stay.rank, stay.round): stay for stay in timeline.stays}
    for message in timeline:
        assert 0 <= message.start <= message.sent <= message.end
        assert message.sent - message.start == pytest.approx(message.nbytes * network.beta)
        assert message.end - message.sent == pytest.approx(network.alpha)
        for rank in (message.source, message.dest):
            stay = stays[rank, message.round]
            assert stay.entered <= message.start
            assert message.end <= stay.received <= stay.left
        ports["out", message.source].append((message.start, message.sent))
        ports["in", message.dest].append((message.receiving, message.end))
    for taken in ports.values():
        for (_, end), (start, _) in zip(sorted(taken), sorted(taken)[1:], strict=False):
            assert end <= start * (1 + 1e-9)


@LAW
@given(cases(), st.randoms(use_true_random=False))
def test_other_names_for_the_ranks_change_nothing(
    case: tuple[Algorithm, int, int, Network], chance: random.Random
) -> None:
    algorithm, size, nbytes, network = case
    named = list(range(size))
    chance.shuffle(named)
    place = {name: rank for rank, name in enumerate(named)}
    other = relabel(algorithm.rounds, lambda rank, _: place[rank], lambda part, _: named[part])
    renamed = replace(algorithm, name="renamed", function=lambda rank, size, **_: other(rank, size))
    assert simulate(renamed, size, nbytes, network).completion[named].tolist() == (
        simulate(algorithm, size, nbytes, network).completion.tolist()
    )


@LAW
@given(cases())
def test_doubling_the_bandwidth_halves_the_bandwidth_term(case: tuple[Algorithm, int, int, Network]) -> None:
    algorithm, size, nbytes, network = case
    once, twice = (
        simulate(algorithm, size, nbytes, uniform(size, 0.0, network.beta / factor)).seconds for factor in (1, 2)
    )
    assert twice == pytest.approx(once / 2, rel=1e-12)


@LAW
@given(cases(), st.floats(1.0, 100.0))
def test_a_slower_network_is_never_faster(case: tuple[Algorithm, int, int, Network], factor: float) -> None:
    algorithm, size, nbytes, network = case
    base = simulate(algorithm, size, nbytes, network).seconds
    for term in ("alpha", "beta", "gamma"):
        costs = {name: getattr(network, name) * (factor if name == term else 1) for name in ("alpha", "beta", "gamma")}
        slower = uniform(size, **costs)
        assert simulate(algorithm, size, nbytes, slower).seconds >= base * (1 - 1e-12)


@LAW
@given(cases())
def test_two_runs_agree_to_the_bit(case: tuple[Algorithm, int, int, Network]) -> None:
    assert simulate(*case).timeline() == simulate(*case).timeline()


@LAW
@given(st.integers(2, 9), st.integers(0, 2**20), st.randoms(use_true_random=False))
def test_any_matched_schedule_runs_to_its_end(size: int, nbytes: int, chance: random.Random) -> None:
    """Rounds of random messages, several to a port: each is played once, and none before its rank is there."""
    rounds: list[list[Round]] = [[] for _ in range(size)]
    for _ in range(4):
        edges = [(a, b) for a in range(size) for b in range(size) if a != b and chance.random() < 0.4]
        chance.shuffle(edges)
        for rank in range(size):
            sends = tuple(Send(b, 0) for a, b in edges if a == rank)
            recvs = tuple(Recv(a, 0, INCOMING_FIRST) for a, b in edges if b == rank)
            rounds[rank].append(sends + recvs)
    idle = replace(by_hand(rounds, collective="barrier"), chunk_count=lambda size, at: 1)
    network = uniform(size, 0.0, 1e-9, 1e-9)
    run = simulate(idle, size, nbytes, network)
    assert run.messages == sum(isinstance(op, Send) for mine in rounds for ops in mine for op in ops)
    busiest = max(sum(len([op for op in ops if isinstance(op, Send)]) for ops in mine) for mine in rounds)
    assert run.seconds >= busiest * nbytes * network.beta * (1 - 1e-9)


def test_a_ring_over_64_ranks_takes_well_below_a_second() -> None:
    network = networks.star(64, 5e-6, 1.25e9)
    start = time.process_time()
    run = simulate(replace(catalogue.get("ring"), name="ring, not yet lowered"), 64, 2**20, network)
    elapsed = time.process_time() - start
    assert run.messages == 2 * 63 * 64
    assert elapsed < 1.0


def test_completion_cannot_be_written_to() -> None:
    run = simulate(catalogue.get("ring"), 4, 8, uniform(4, ALPHA, BETA))
    with pytest.raises(ValueError, match="read-only"):
        np.add(run.completion, 1, out=run.completion)


def test_a_timeline_is_a_sequence_of_messages() -> None:
    timeline = simulate(catalogue.get("ring"), 4, 8, uniform(4, ALPHA, BETA)).timeline()
    assert isinstance(timeline[0], Message)
    assert timeline[-1].round == 5
    assert [message.round for message in timeline[:5]] == [0, 0, 0, 0, 1]
    assert len(timeline) == 24


def test_a_run_that_would_take_hours_is_refused_before_it_begins() -> None:
    linear, size = catalogue.get("linear"), 1 << 16
    with pytest.raises(ValueError, match=r"linear over 65536 ranks.*cannot stand for all.*symmetry=False"):
        simulate(linear, size, 1 << 20, networks.star(size, 5e-6, 1.25e9))
    with pytest.raises(ValueError, match="does not look the same from every rank"):
        simulate(linear, 8, 1 << 20, networks.star(8, 5e-6, 1.25e9), symmetry=True)


def test_a_timeline_that_does_not_fit_is_refused() -> None:
    size = 1 << 20
    run = simulate(catalogue.get("recursive_doubling"), size, 1 << 20, networks.star(size, 5e-6, 1.25e9))
    assert run.symmetric.startswith("xor")
    with pytest.raises(ValueError, match="keeps every message"):
        run.timeline()
