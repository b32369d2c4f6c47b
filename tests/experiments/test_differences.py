"""Theory and the terms of a difference add up to the measured time, whatever the terms are."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives.profile import Crowd, Profile
from experiments.differences import SCHEDULE, UNEXPLAINED, WORDS, explain, explained, reason
from experiments.predict import predicted
from experiments.records import NATIVE, Record
from simulator import networks

COSTS = st.floats(1e-9, 1e-3)
PROFILES = st.builds(
    Profile,
    alpha=COSTS,
    beta=st.floats(1e-11, 1e-7),
    gamma=st.floats(0.0, 1e-9),
    overhead=COSTS,
    ranks=st.just(8),
    duplex=st.lists(st.floats(1.0, 2.0), min_size=2, max_size=2).map(lambda f: ((8, f[0]), (1 << 20, f[1]))),
    cores=st.integers(0, 4),
)


def record(algorithm: str, ranks: int, nbytes: int, measured: float | None) -> Record:
    return Record(
        algorithm=algorithm, collective="allreduce", executor="interpreted", library="", ranks=ranks, nbytes=nbytes,
        dtype="float32", op="sum", measured_seconds=measured,
    )  # fmt: skip


@settings(max_examples=30)
@given(
    PROFILES,
    st.sampled_from(["ring", "linear", "recursive_doubling", "parameter_server:servers=2"]),
    st.integers(2, 8),
    st.sampled_from([8, 4096, 1 << 20]),
    st.none() | st.floats(1e-6, 10.0),
)
def test_all_terms_together_are_the_difference(
    profile: Profile, algorithm: str, ranks: int, nbytes: int, measured: float | None
) -> None:
    known = predicted(record(algorithm, ranks, nbytes, measured), profile)
    terms = explain(known, profile)
    assert list(terms) == [SCHEDULE, *networks.TERMS, *([UNEXPLAINED] if measured else [])]
    assert known.theory_seconds is not None
    whole = known.theory_seconds + sum(terms.values())
    assert whole == pytest.approx(measured or known.simulated_seconds, rel=1e-9, abs=1e-12)
    simulated = whole - terms.get(UNEXPLAINED, 0.0)
    assert simulated == pytest.approx(known.simulated_seconds, rel=1e-9, abs=1e-12)


def test_costs_that_grow_with_the_ranks_are_the_processors() -> None:
    crowd = tuple(Crowd(count, 1e-6 * count, 1e-9, 0.0, 0.0, (), ()) for count in (2, 8))
    profile = Profile(8e-6, 1e-9, 0.0, ranks=8, crowd=crowd)
    known = predicted(record("ring", 8, 8, None), profile)
    terms = explain(known, profile)
    # Theory takes the costs of a pair alone, 2 us a message; with eight ranks at work it is 8 us.
    assert known.theory_seconds == pytest.approx(14 * 2e-6, rel=1e-2)
    assert terms.pop("processor") == pytest.approx(14 * 6e-6, rel=1e-2)
    assert all(abs(value) < 1e-7 for value in terms.values())


def test_half_duplex_is_the_reason_where_it_is_one() -> None:
    profile = Profile(1e-6, 1e-8, 0.0, ranks=4, duplex=((8, 2.0), (1 << 22, 2.0)))
    known = predicted(record("recursive_doubling", 4, 1 << 20, None), profile)
    assert known.theory_seconds
    known = predicted(record("recursive_doubling", 4, 1 << 20, 2 * known.theory_seconds), profile)
    told = explained(known, profile)
    assert told.reason == "duplex"
    assert told.explained
    assert told.explained["duplex"] == pytest.approx(known.theory_seconds, rel=0.01)
    assert told.explained[UNEXPLAINED] == pytest.approx(0.0, abs=0.01 * known.theory_seconds)


def test_what_is_not_predicted_has_no_reason() -> None:
    native = Record(
        algorithm=NATIVE, collective="allreduce", executor=NATIVE, library="", ranks=2, nbytes=8, dtype="float32",
        op="sum", measured_seconds=1.0,
    )  # fmt: skip
    profile = Profile(1e-6, 1e-9, 0.0)
    for one in (native, record("ring", 2, 8, 1.0)):
        told = explained(one, profile)
        assert (told.explained, told.reason) == (None, "")


def test_the_reason_is_the_largest_either_way() -> None:
    assert reason({"curve": 1.0, "duplex": -2.0, UNEXPLAINED: 0.5}) == "duplex"
    assert reason({}) == ""


def test_every_term_has_words() -> None:
    assert set(WORDS) == {SCHEDULE, *networks.TERMS, UNEXPLAINED}
    assert all(words == words.strip() and words[0].islower() and words[-1] != "." for words in WORDS.values())
