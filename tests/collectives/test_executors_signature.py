"""Signatures: packed and unpacked unchanged, and disagreements named field by field."""

from __future__ import annotations

from dataclasses import astuple, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives import CollectiveMismatch, CollectiveTimeout
from collectives.executors.faults import CollectiveError
from collectives.executors.signature import RECORD, Signature, disagreements

short = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=14)  # at most 4 bytes each
whole = st.integers(-(2**63), 2**63 - 1)
signatures = st.builds(Signature, short, short, short, short, whole, whole)
SAME = Signature("allreduce", "ring", "sum", "float32", 100)


@given(signatures)
def test_packing_loses_nothing(signature: Signature) -> None:
    assert len(signature.pack()) == RECORD
    assert Signature.unpack(signature.pack()) == signature


@given(signatures, signatures)
def test_disagreements_are_told_when_and_only_when_there_are_some(one: Signature, other: Signature) -> None:
    told = disagreements([one, other])
    assert bool(told) == (one != other)
    assert told.count(" on rank 0 but ") >= sum(a != b for a, b in zip(astuple(one), astuple(other), strict=True))


@pytest.mark.parametrize("field", ["collective", "algorithm", "op", "dtype"])
def test_long_names_that_differ_only_at_their_end_still_differ(field: str) -> None:
    one, other = (replace(SAME, **{field: "x" * 200 + end}) for end in "ab")
    unpacked = [Signature.unpack(signature.pack()) for signature in (one, other)]
    assert disagreements(unpacked).startswith(f"{field}: xxxx")
    assert not disagreements([unpacked[0], Signature.unpack(one.pack())])


def test_a_long_name_may_be_cut_in_the_middle_of_a_letter() -> None:
    assert Signature.unpack(replace(SAME, op="ã" * 100).pack()).op.startswith("ããã")


def test_each_opinion_names_its_ranks() -> None:
    calls = [SAME, SAME, replace(SAME, count=7), replace(SAME, op="max"), SAME]
    assert (
        disagreements(calls)
        == "op: sum on ranks 0, 1, 2, 4 but max on rank 3; count: 100 on ranks 0, 1, 3, 4 but 7 on rank 2"
    )


def test_many_ranks_are_counted_and_not_listed() -> None:
    assert disagreements([*[SAME] * 20, replace(SAME, root=1)]) == (
        "root: -1 on ranks 0, 1, 2, 3, 4, 5, 6, 7 and 12 more but 1 on rank 20"
    )


def test_faults_are_one_family_and_say_what_is_awaited() -> None:
    fault = CollectiveTimeout(
        2, 3, 8, "ring", 0.5, ("8 bytes (chunks {1}) from rank 1", "8 bytes (chunks {2}) to rank 3")
    )
    assert issubclass(CollectiveTimeout, CollectiveError)
    assert issubclass(CollectiveMismatch, CollectiveError)
    assert str(fault).startswith(
        "rank 2 waited 0.5 s in round 3 (of rounds 0..7) of ring: "
        "8 bytes (chunks {1}) from rank 1; 8 bytes (chunks {2}) to rank 3. "
    )
