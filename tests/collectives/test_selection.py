import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives import catalogue, proof, selection
from collectives.explanation import Explanation
from collectives.selection import Prices

seconds = st.floats(0, 1e-2)
prices = st.builds(Prices, seconds, seconds, seconds)
collectives = st.sampled_from([name for name in catalogue.collectives() if name != "push_pull"])
sizes = st.integers(1, 40)


@given(collectives, sizes, st.integers(0, 1 << 24), prices, st.booleans())
def test_the_choice_is_the_cheapest_of_all_that_are_fit(
    collective: str, size: int, nbytes: int, price: Prices, ordered: bool
) -> None:
    found = selection.candidates(collective, size, nbytes, price, ordered=ordered)
    times = [candidate.seconds for candidate in found]
    assert times == sorted(times)
    assert selection.choose(collective, size, nbytes, price, ordered=ordered) == found[0].algorithm
    for candidate in found:
        entry = candidate.algorithm
        assert entry.collective == collective
        assert entry.supports(size)
        assert candidate.seconds == entry.cost(size).seconds(nbytes, price.alpha, price.beta, price.gamma)
        assert not (ordered and entry.commutative)
    for name in catalogue.names(collective):
        entry = catalogue.get(name)
        if entry.supports(size) and not (ordered and entry.commutative):
            own = entry.cost(size).seconds(nbytes, price.alpha, price.beta, price.gamma)
            assert found[0].seconds <= own


@given(collectives, sizes, prices, st.booleans(), st.integers(0, 39))
def test_every_algorithm_is_either_a_candidate_or_left_out_for_a_reason(
    collective: str, size: int, price: Prices, ordered: bool, root: int
) -> None:
    root %= size
    found = {
        one.algorithm.name for one in selection.candidates(collective, size, 64, price, ordered=ordered, root=root)
    }
    left_out = selection.excluded(collective, size, ordered=ordered, root=root)
    assert found | left_out.keys() == set(catalogue.names(collective))
    assert not found & left_out.keys()


@given(st.integers(2, 64), st.floats(1e-6, 1e-3), st.floats(1e-11, 1e-8))
def test_latency_decides_for_small_messages_and_bandwidth_for_large_ones(size: int, alpha: float, beta: float) -> None:
    price = Prices(alpha, beta, 0.0)
    small = selection.choose("allreduce", size, 0, price)
    large = selection.choose("allreduce", size, 1 << 34, price)
    every = [catalogue.get(name) for name in catalogue.names("allreduce")]
    assert small.cost(size).messages <= min(entry.cost(size).messages for entry in every if entry.supports(size))
    assert large.cost(size).volume <= 1.1 * min(entry.cost(size).volume for entry in every if entry.supports(size))


def test_long_messages_are_cut_into_segments_and_short_ones_are_not() -> None:
    price = Prices(1e-6, 1e-9, 0.0)
    cut = {}
    for nbytes in (64, 1 << 26):
        for one in selection.candidates("broadcast", 8, nbytes, price):
            if one.algorithm.name == "broadcast_chain":
                cut[nbytes] = one.algorithm.parameters["segments"]
    assert cut[64] == 1
    assert cut[1 << 26] > 32


@pytest.mark.parametrize("size", range(1, 10))
def test_what_is_allowed_for_an_ordered_operation_is_what_the_proof_says(size: int) -> None:
    for collective in ("allreduce", "reduce_scatter", "reduce"):
        for name, root in itertools.product(catalogue.names(collective), {0, size - 1}):
            entry = catalogue.get(name)
            if "root" in entry.parameters:
                entry = catalogue.get(name, root=root)
            if entry.supports(size):
                assert selection.allowed(entry, size) == proof.prove(entry, size).in_rank_order


def test_an_algorithm_that_is_ordered_for_this_size_only_may_be_asked_for_but_is_not_selected() -> None:
    entry = selection.resolve("circulant", "allreduce", 1, ordered=True)
    assert entry.name == "circulant"
    assert entry.commutative
    assert "circulant" in selection.excluded("allreduce", 1, ordered=True)
    with pytest.raises(ValueError, match="combines out of rank order with 5 ranks") as refused:
        selection.resolve("circulant", "allreduce", 5, ordered=True)
    fit = re.search("choose one of: (.*)", str(refused.value))
    assert fit is not None
    for name in fit[1].split(", "):
        assert proof.prove(catalogue.get(name), 5).in_rank_order


def test_the_root_of_the_call_is_the_root_of_the_algorithm() -> None:
    assert selection.resolve("reduce_chain:segments=3", "reduce", 4, root=2).parameters == {"root": 2, "segments": 3}
    assert selection.choose("broadcast", 4, 8, Prices(1, 1, 1), root=3).parameters["root"] == 3
    with pytest.raises(ValueError, match="another root"):
        selection.resolve("reduce_chain:root=1", "reduce", 4, root=2)


def test_an_explanation_says_what_and_why() -> None:
    price = Prices(2e-6, 1e-10, 5e-11)
    found = selection.candidates("allreduce", 4, 1 << 20, price)
    text = str(
        Explanation("allreduce", 4, 1 << 20, price, "interpreted", found, {"x": "is odd"}, {"ring": 2}, {}, "so.")
    )
    assert f"allreduce of 1048576 bytes on 4 ranks: {found[0].algorithm.label}, run by the interpreted" in text
    assert "2 µs a message" in text
    assert "not measured: run ciranda calibrate" in text
    assert "x" in text
    assert "left out: it is odd" in text
    assert "so far 2 x ring" in text
    assert text.endswith("so.")
    assert text.index(found[0].algorithm.label) < text.index(found[-1].algorithm.label)


def test_an_explanation_without_candidates_still_speaks() -> None:
    nothing = Explanation("reduce", 3, 8, Prices(1, 1, 1), "interpreted", (), {"reduce_x": "does not fit"}, {}, {})
    assert nothing.algorithm is None
    assert "no algorithm" in str(nothing)
