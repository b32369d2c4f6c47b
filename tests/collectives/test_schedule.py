"""The schedule language: chunk sets, extents, and the laws of the combinators."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectives import catalogue, schedule
from collectives.algorithms import chain, circulant, halving, ring, tree
from collectives.schedule import (
    INCOMING_FIRST,
    OVERWRITE,
    Chunks,
    Recv,
    ScheduleError,
    Send,
    beside,
    delay,
    extents,
    fold_extras,
    mirror,
    pipeline,
    relabel,
    rooted,
    shift_chunks,
    then,
)

indices = st.sets(st.integers(0, 40))


def played(function: schedule.Schedule, size: int) -> list[list[schedule.Round]]:
    return [list(function(rank, size)) for rank in range(size)]


@given(indices)
def test_chunks_are_a_set_kept_as_disjoint_ascending_spans(members: set[int]) -> None:
    chunks = Chunks(members)
    assert set(chunks) == members
    assert list(chunks) == sorted(members)
    assert len(chunks) == len(members)
    flat = [edge for span in chunks.spans for edge in span]
    assert flat == sorted(set(flat)), "spans touch or overlap"
    assert all(index in chunks for index in members)
    assert hash(chunks) == hash(Chunks(list(members)))


@given(indices, indices)
def test_chunks_have_the_algebra_of_sets(left: set[int], right: set[int]) -> None:
    assert set(Chunks(left) | Chunks(right)) == left | right
    assert set(Chunks(left) & Chunks(right)) == left & right
    assert (Chunks(left) == Chunks(right)) == (left == right)


def test_chunks_are_given_as_an_int_a_range_or_any_iterable() -> None:
    assert Send(1, 3).spans == ((3, 4),)
    assert Send(1, range(2, 5)).spans == ((2, 5),)
    assert Recv(1, iter([7, 0, 1])).spans == ((0, 2), (7, 8))
    assert Send(1, range(6, 0, -2)).spans == ((2, 3), (4, 5), (6, 7))
    assert Send(1, ()).spans == ()


def test_negative_chunks_are_refused() -> None:
    with pytest.raises(ScheduleError, match="chunk -1 is negative"):
        Send(0, -1)


@given(st.integers(0, 200), st.integers(1, 40))
def test_extents_cut_a_vector_into_nearly_equal_neighbours(count: int, chunks: int) -> None:
    cut = extents(count, chunks)
    assert len(cut) == chunks
    assert [lo for lo, _ in cut] == [0] + [hi for _, hi in cut[:-1]]
    assert cut[-1][1] == count
    lengths = [hi - lo for lo, hi in cut]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


def test_extents_of_nothing() -> None:
    assert extents(0, 3) == ((0, 0), (0, 0), (0, 0))
    assert extents(5, 0) == ()
    with pytest.raises(ValueError, match="must not be negative"):
        extents(-1, 2)


@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_mirror_is_its_own_inverse(size: int) -> None:
    there_and_back = mirror(mirror(circulant.allgather, INCOMING_FIRST), OVERWRITE)
    assert played(there_and_back, size) == played(circulant.allgather, size)


@pytest.mark.parametrize("size", [1, 3, 6])
def test_then_is_associative_and_has_the_sum_of_rounds(size: int) -> None:
    a, b, c = ring.reduce_scatter, ring.allgather, circulant.allgather
    assert played(then(then(a, b), c), size) == played(then(a, then(b, c)), size)
    assert len(played(then(a, b), size)[0]) == 2 * (size - 1)


@given(st.integers(1, 12), st.integers(0, 11))
def test_turning_the_root_and_back_changes_nothing(size: int, root: int) -> None:
    root %= size
    turned_back = rooted(rooted(tree.broadcast, root), (size - root) % size)
    assert played(turned_back, size) == played(tree.broadcast, size)


@given(st.permutations(range(6)))
def test_relabel_renames_both_ends_of_every_message(places: list[int]) -> None:
    renamed = relabel(ring.allgather, lambda rank, _: places[rank], lambda part, _: places.index(part))
    for rank, rounds in enumerate(played(renamed, 6)):
        right = places.index((places[rank] + 1) % 6)
        assert all(op.dest == right for ops in rounds for op in ops if isinstance(op, Send))


def test_beside_merges_messages_on_one_edge() -> None:
    both = beside(tree.broadcast, shift_chunks(tree.broadcast, 1))
    assert played(both, 2)[0] == [(Send(1, range(2)),)]
    assert played(both, 2)[1] == [(Recv(0, range(2)),)]


def test_beside_refuses_what_one_message_cannot_say() -> None:
    with pytest.raises(ScheduleError, match="twice over one edge"):
        played(beside(tree.broadcast, tree.broadcast), 2)
    other = shift_chunks(mirror(mirror(tree.broadcast), INCOMING_FIRST), 1)
    with pytest.raises(ScheduleError, match="fold differently"):
        played(beside(tree.broadcast, other), 2)


def test_delay_is_idle_at_first() -> None:
    assert played(delay(ring.allgather, 2), 3)[0][:2] == [(), ()]


@pytest.mark.parametrize("segments", [1, 2, 7])
def test_a_pipelined_chain_has_every_link_busy_with_a_segment_of_its_own(segments: int) -> None:
    rounds = played(pipeline(chain._reduce, segments), 4)  # pyright: ignore[reportPrivateUsage] - the one-segment form
    assert all(len(mine) == 2 + segments for mine in rounds)
    sent = [(number, op) for number, ops in enumerate(rounds[2]) for op in ops if isinstance(op, Send)]
    assert [(number, op.spans) for number, op in sent] == [(1 + s, ((s, s + 1),)) for s in range(segments)]


@given(st.integers(1, 20))
def test_fold_extras_pairs_neighbours_and_leaves_a_power_of_two(size: int) -> None:
    power = 1 << (size.bit_length() - 1)
    rounds = played(fold_extras(lambda rank, size: iter([(), ()]), chunks=lambda power: power), size)
    assert {len(mine) for mine in rounds} == {2 if size == power else 4}
    given_away = [rank for rank, mine in enumerate(rounds) if any(isinstance(op, Send) for op in mine[0])]
    assert given_away == ([] if size == power else list(range(0, 2 * (size - power), 2)))


@pytest.mark.parametrize("name", catalogue.names())
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 13])
def test_every_rank_has_the_same_number_of_rounds_and_messages_meet(name: str, size: int) -> None:
    algorithm = catalogue.get(name)
    if not algorithm.supports(size):
        assert name == "parameter_server_separate", "only separate servers need more than one rank"
        return
    rounds = [list(algorithm.rounds(rank, size)) for rank in range(size)]
    assert len({len(mine) for mine in rounds}) == 1
    sends = [
        (n, r, op.dest, op.spans)
        for r, mine in enumerate(rounds)
        for n, ops in enumerate(mine)
        for op in ops
        if isinstance(op, Send)
    ]
    recvs = [
        (n, op.source, r, op.spans)
        for r, mine in enumerate(rounds)
        for n, ops in enumerate(mine)
        for op in ops
        if isinstance(op, Recv)
    ]
    assert sorted(sends) == sorted(recvs)
    assert len({message[:3] for message in sends}) == len(sends)
    if size == 1:
        assert rounds[0] == [] or all(ops == () for ops in rounds[0])


def test_halving_sends_contiguous_spans_only() -> None:
    for rank in range(16):
        for ops in halving.allreduce(rank, 16):
            assert all(len(op.spans) == 1 for op in ops)
