"""Why a run took so long: paths known beforehand, and the law that the steps of a path fill the run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from collectives import catalogue
from collectives.schedule import Chunks
from simulator import Conditions, Jitter, Message, Network, Run, Stay, Timeline, models, networks, simulate
from simulator.explanation import KINDS, Explanation, explain

LAW = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
EVERY = [catalogue.get(name) for name in catalogue.names()]


@dataclass(frozen=True)
class Handmade:
    """A run whose timeline was written by hand, with as much of ``Run`` as an explanation reads."""

    messages: tuple[Message, ...]
    stays: tuple[Stay, ...]
    seconds: float
    completion: NDArray[np.float64]
    network: Network
    conditions: Conditions = field(default_factory=Conditions)

    def timeline(self) -> Timeline:
        return Timeline(self.messages, self.stays)


def handmade(
    messages: list[Message],
    stays: list[Stay],
    model: models.Model | None = None,
    conditions: Conditions | None = None,
    trailing: Mapping[int, float] | None = None,
) -> Handmade:
    size = 1 + max(stay.rank for stay in stays)
    done = np.zeros(size)
    for stay in stays:
        done[stay.rank] = max(done[stay.rank], stay.left)
    for rank, moment in (trailing or {}).items():
        done[rank] = moment
    star = networks.star(size, 1.0, 1.0)
    return Handmade(
        tuple(messages), tuple(stays), float(done.max()), done,
        replace(star, model=model or models.Model()), conditions or Conditions(),
    )  # fmt: skip


def message(source: int, dest: int, number: int, moments: tuple[float, ...], ideal: float, **more: int) -> Message:
    """``moments``: injected, ready, start, sent, arrived, end; ``more``: nbytes, and seconds of work on it."""
    work = [more.get(what, 0) for what in ("encoding", "decoding", "folding", "staging")]
    nbytes, folds = more.get("nbytes", 10), "folding" in more
    return Message(source, dest, number, Chunks(0), nbytes, folds, *moments, ideal, *work)  # type: ignore[arg-type,misc] # six moments


def told(found: Explanation) -> list[tuple[str, float, float, int]]:
    return [(step.kind, step.begin, step.end, step.rank) for step in found.steps]


# --- by hand ------------------------------------------------------------------------------------------------------


def test_one_message_that_is_folded() -> None:
    """10 bytes take 4 s, latency 3 s; rank 1 then folds them at 0.5 s a byte: 4 + 3 + 5 = 12 s."""
    run = handmade(
        [message(0, 1, 0, (0, 0, 0, 4, 7, 7), ideal=4, folding=5)],
        [Stay(0, 0, 0, 7, 7), Stay(1, 0, 0, 7, 12)],
        models.Model(reduction=models.Reduction(((math.inf, 0.5),))),
    )
    assert told(explain(run)) == [("bandwidth", 0, 4, 1), ("latency", 4, 7, 1), ("reduction", 7, 12, 1)]


def test_a_late_partner_is_where_the_path_goes() -> None:
    """Rank 1 computes until 5; the message waits for it, so what rank 0 did before does not matter."""
    run = handmade(
        [message(0, 1, 0, (0, 5, 5, 9, 10, 10), ideal=4)],
        [Stay(0, 0, 0, 10, 10), Stay(1, 0, 5, 10, 10)],
    )
    assert told(explain(run)) == [("compute", 0, 5, 1), ("bandwidth", 5, 9, 1), ("latency", 9, 10, 1)]
    (flight,) = explain(run).messages
    assert (flight.source, flight.dest) == (0, 1)


def test_port_contention_and_overheads() -> None:
    """Two sends of rank 0, each with o = 1: the second waits 3 s for the port and 2 s because it shares a link."""
    run = handmade(
        [
            message(0, 1, 0, (1, 1, 1, 5, 6, 7), ideal=4),
            message(0, 2, 0, (2, 2, 5, 11, 12, 13), ideal=4),
        ],
        [Stay(0, 0, 0, 12, 12), Stay(1, 0, 0, 7, 7), Stay(2, 0, 0, 13, 13)],
        models.Model(message=models.LogGOPS(L=1.0, o=1.0, S=-1)),
    )
    assert told(explain(run)) == [
        ("overhead", 0, 1, 0), ("overhead", 1, 2, 0), ("waiting", 2, 5, 0), ("bandwidth", 5, 9, 2),
        ("contention", 9, 11, 2), ("latency", 11, 12, 2), ("overhead", 12, 13, 2),
    ]  # fmt: skip
    shares = explain(run).shares()
    assert shares == {
        "latency": 1, "bandwidth": 4, "contention": 2, "overhead": 3, "reduction": 0, "encoding": 0, "staging": 0,
        "waiting": 3, "compute": 0,
    }  # fmt: skip
    assert explain(run).slack.tolist() == [1, 6, 0]


def test_an_eager_message_does_not_wait_for_its_receiver() -> None:
    """It arrives at 3, while rank 1 computes until 5; then only o = 1 is left to do."""
    run = handmade(
        [message(0, 1, 0, (1, 1, 1, 2, 3, 6), ideal=1)],
        [Stay(0, 0, 0, 1, 1), Stay(1, 0, 5, 6, 6)],
        models.Model(message=models.LogGOPS(L=1.0, o=1.0)),
    )
    assert told(explain(run)) == [("compute", 0, 5, 1), ("overhead", 5, 6, 1)]


def test_a_handshake_is_two_latencies() -> None:
    run = handmade(
        [message(0, 1, 0, (0, 2, 2, 6, 7, 7), ideal=4)],
        [Stay(0, 0, 0, 7, 7), Stay(1, 0, 0, 7, 7)],
        models.Model(message=models.LogGOPS(L=1.0, S=-1)),
    )
    assert told(explain(run)) == [("latency", 0, 2, 0), ("bandwidth", 2, 6, 1), ("latency", 6, 7, 1)]


def test_the_path_changes_ranks_from_round_to_round_and_ends_with_a_phase() -> None:
    run = handmade(
        [message(0, 1, 0, (0, 0, 0, 2, 3, 3), ideal=2), message(1, 2, 1, (3, 3, 3, 5, 6, 6), ideal=2)],
        [Stay(0, 0, 0, 3, 3), Stay(1, 0, 0, 3, 3), Stay(1, 1, 3, 6, 6), Stay(2, 1, 0, 6, 6)],
        trailing={2: 8.0},
    )
    assert told(explain(run)) == [
        ("bandwidth", 0, 2, 1), ("latency", 2, 3, 1), ("bandwidth", 3, 5, 2), ("latency", 5, 6, 2),
        ("compute", 6, 8, 2),
    ]  # fmt: skip


def test_a_slow_rank_folds_for_longer_and_a_shared_core_is_waited_for() -> None:
    """5 s of folding take a rank of half the speed 10 s; the 2 s beyond that, somebody else had its core."""
    run = handmade(
        [message(0, 1, 0, (0, 0, 0, 4, 7, 7), ideal=4, folding=5)],
        [Stay(0, 0, 0, 7, 7), Stay(1, 0, 0, 7, 19)],
        models.Model(reduction=models.Reduction(((math.inf, 0.5),))),
        Conditions(slow_ranks={1: 2.0}),
    )
    assert told(explain(run))[2:] == [("waiting", 7, 9, 1), ("reduction", 9, 19, 1)]


# --- the law ------------------------------------------------------------------------------------------------------


def check_tiles(found: Explanation) -> None:
    now = 0.0
    for step in found.steps:
        assert step.begin == now < step.end
        assert step.kind in KINDS
        now = step.end
    assert now == found.seconds
    assert math.fsum(found.shares().values()) == pytest.approx(found.seconds, rel=1e-9)
    rounds = [each.round for each in found.messages]
    assert rounds == sorted(rounds)


PIECES = st.sampled_from([
    models.Model(),
    models.Model(message=models.LogGOPS(L=2e-6, o=1e-6, g=5e-7, G=1e-9, O=1e-10, S=4096)),
    models.Model(
        message=models.LogGOPS(L=2e-6, o=1e-6, S=-1), reduction=models.Reduction(((4096, 1e-11), (math.inf, 1e-10)))
    ),
    models.Model(duplex=models.Duplex(2.0, 1024), reduction=models.Reduction(((math.inf, 1e-10),))),
    models.Model(
        message=models.LogGOPS(L=2e-6, o=1e-6), reduction=models.Reduction(((math.inf, 1e-10),)),
        cores=models.Cores(2),
    ),
    models.Model(message=models.Curve(((0, 1e-6), (1024, 3e-6), (65536, 1e-4)))),
])  # fmt: skip
SHAPES = st.sampled_from(["star", "ring", "bus"])


def place(shape: str, size: int) -> Network:
    if shape == "ring" and size >= 3:
        return networks.ring(size, 1e-6, 1e9)
    return networks.bus(size, 5e-6, 1e9, 2e9) if shape == "bus" else networks.star(size, 5e-6, 1e9)


@LAW
@given(
    st.sampled_from(EVERY), st.integers(1, 12), st.integers(0, 3 * 2**16), SHAPES, PIECES,
    st.booleans(), st.sampled_from([None, Jitter("exponential", 1e-6, 3)]), st.booleans(),
)  # fmt: skip
def test_the_steps_fill_every_run_exactly(
    algorithm: catalogue.Algorithm, size: int, nbytes: int, shape: str, model: models.Model, contention: bool,
    jitter: Jitter | None, late: bool,
) -> None:  # fmt: skip
    if not algorithm.supports(size):
        size = next(count for count in range(size, 40) if algorithm.supports(count))
    network = replace(place(shape, size), model=model)
    conditions = (
        Conditions(jitter=jitter, start={size - 1: 2e-5}, slow_ranks={0: 1.5}) if late else Conditions(jitter=jitter)
    )
    run = simulate(algorithm, size, nbytes, network, contention=contention, conditions=conditions)
    found = explain(run)
    check_tiles(found)
    assert float(found.slack.min()) == 0
    for language in ("en", "pt"):
        assert all(sentence.strip() for sentence in found.words(language))


@pytest.mark.parametrize("algorithm", EVERY, ids=str)
@pytest.mark.parametrize("size", [2, 7, 16])
def test_no_algorithm_of_the_catalogue_is_an_exception(algorithm: catalogue.Algorithm, size: int) -> None:
    if algorithm.supports(size):
        network = networks.star(size, 5e-6, 1.25e9, 1e-10)
        check_tiles(explain(simulate(algorithm, size, 1 << 16, network)))


def one_port_is_enough(run: Run) -> bool:
    """Whether no rank sends two messages, or receives two, in one round."""
    ends = [(each.round, rank, way) for each in run.timeline() for way, rank in ((0, each.source), (1, each.dest))]
    return len(set(ends)) == len(ends)


@LAW
@given(
    st.sampled_from(EVERY), st.integers(2, 12), st.integers(1, 3 * 2**16),
    st.tuples(*(st.floats(0.1, 10.0) for _ in range(3))),
)  # fmt: skip
def test_the_path_is_there_at_any_other_costs_too(
    algorithm: catalogue.Algorithm, size: int, nbytes: int, factors: tuple[float, float, float]
) -> None:
    """It is a chain of things that wait for each other, so at other prices a run takes at least what the chain does."""
    if not algorithm.supports(size):
        size = next(count for count in range(size, 40) if algorithm.supports(count))
    run = simulate(algorithm, size, nbytes, networks.star(size, 5e-6, 1e9, 1e-10))
    alpha, beta, gamma = factors
    dearer = simulate(algorithm, size, nbytes, networks.star(size, 5e-6 * alpha, 1e9 / beta, 1e-10 * gamma))
    shares = explain(run).shares()
    if one_port_is_enough(run):
        assert shares["latency"] + shares["bandwidth"] + shares["reduction"] == pytest.approx(run.seconds)
        priced = shares["latency"] * alpha + shares["bandwidth"] * beta + shares["reduction"] * gamma
        assert dearer.seconds >= priced * (1 - 1e-9)


# --- against closed forms -----------------------------------------------------------------------------------------


def test_the_shares_of_a_ring_are_the_terms_of_its_closed_form() -> None:
    """2(p−1)α + 2(p−1)/p·nβ + (p−1)/p·nγ for p = 8: 14 · 5 µs, 1.75 MiB at 0.8 ns, 0.875 MiB at 0.1 ns."""
    shares = explain(simulate(catalogue.get("ring"), 8, 1 << 20, networks.star(8, 5e-6, 1.25e9, 1e-10))).shares()
    assert shares["latency"] == pytest.approx(14 * 5e-6)
    assert shares["bandwidth"] == pytest.approx(1.75 * 2**20 * 8e-10)
    assert shares["reduction"] == pytest.approx(0.875 * 2**20 * 1e-10)


def test_far_partners_on_a_ring_network_are_told_as_contention() -> None:
    ring = networks.ring(8, 1e-6, 1e9)
    far = explain(simulate(catalogue.get("halving_doubling"), 8, 1 << 20, ring))
    near = explain(simulate(catalogue.get("ring"), 8, 1 << 20, ring))
    assert near.shares()["contention"] == 0
    assert far.shares()["contention"] > 0.2 * far.seconds
    assert any("The most contended link of the path is host" in sentence for sentence in far.words())
    calm = simulate(catalogue.get("halving_doubling"), 8, 1 << 20, ring, contention=False)
    assert explain(calm).shares()["contention"] == 0


# --- words --------------------------------------------------------------------------------------------------------


def test_words_say_the_share_of_each_term_and_what_would_help() -> None:
    run = simulate(catalogue.get("ring"), 64, 64, networks.star(64, 5e-6, 1.25e9))
    assert explain(run).words() == [
        "ring takes 630 µs for 64 B over 64 ranks on star, 21 times the lower bound.",
        "Of this, 100 % latency (α).",
        (
            "The critical path ends at rank 0 and takes 126 messages through 126 rounds; rank 28 is on it for 1.59 %. "
            "No round stands out."
        ),
        (
            "126 messages follow one another. Fewer rounds would help (for 64 ranks 6 at best), and so would larger "
            "messages or quicker ones."
        ),
    ]
    portuguese = explain(run).words("pt")
    assert portuguese[0] == "ring leva 630 µs para 64 B em 64 ranks na rede star, 21 vezes o limite inferior."
    assert "Menos rodadas ajudariam (para 64 ranks, 6 no melhor caso)" in portuguese[-1]


def test_words_name_a_round_that_stands_out() -> None:
    """Halving-doubling over 16 ranks moves half the vector in its first round: over a quarter of 15/8 of it."""
    run = simulate(catalogue.get("halving_doubling"), 16, 1 << 20, networks.star(16, 5e-6, 1.25e9))
    assert any(
        "Round 0 alone, from rank" in sentence or "Round 7 alone" in sentence for sentence in explain(run).words()
    )


def test_a_run_that_takes_no_time_has_nothing_to_explain() -> None:
    found = explain(simulate(catalogue.get("ring"), 1, 8, networks.star(1, 5e-6, 1.25e9)))
    assert found.steps == ()
    assert found.words() == ["ring takes no time here: there is nothing to wait for."]


def test_a_language_that_is_not_spoken_is_refused() -> None:
    with pytest.raises(ValueError, match="'fr' is not spoken here; use en or pt"):
        explain(simulate(catalogue.get("ring"), 2, 8, networks.star(2, 5e-6, 1.25e9))).words("fr")
