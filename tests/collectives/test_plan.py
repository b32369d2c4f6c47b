"""Laws of lowering: every element of a message once and in order, and nothing lands where its round still reads."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue
from collectives.executors.plan import PACKED, Plan, Receive, Span, Step, Transmit, lower, touched
from collectives.schedule import INCOMING_FIRST, MINE_FIRST, OVERWRITE, Recv, Round, Send, extents

CHUNKS = 12


@dataclass(frozen=True)
class Written:
    """An algorithm that is one rank's rounds and nothing else."""

    table: tuple[Round, ...]
    label: str = "written"

    def rounds(self, _rank: int, _size: int) -> tuple[Round, ...]:
        return self.table


chunk_sets = st.sets(st.integers(0, CHUNKS - 1))
operations = st.lists(
    st.builds(Send, st.integers(1, 5), chunk_sets)
    | st.builds(Recv, st.integers(1, 5), chunk_sets, st.sampled_from([OVERWRITE, INCOMING_FIRST, MINE_FIRST])),
    max_size=5,
    unique_by=lambda operation: (type(operation), getattr(operation, "dest", None) or getattr(operation, "source", 0)),
).map(tuple)
tables = st.lists(operations, max_size=4).map(lambda rounds: Written(tuple(rounds)))


@st.composite
def layouts(draw: st.DrawFn) -> dict[int, Span]:
    """Chunks of 0 to 4 elements, one after the other in one to three buffers, in any order and with gaps."""
    ends = [0, 0, 0]
    places: dict[int, Span] = {}
    for chunk in draw(st.permutations(range(CHUNKS))):
        buffer, gap, length = draw(st.integers(0, 2)), draw(st.integers(0, 1)), draw(st.integers(0, 4))
        places[chunk] = buffer, ends[buffer] + gap, ends[buffer] + gap + length
        ends[buffer] += gap + length
    return places


def elements(spans: tuple[Span, ...]) -> list[tuple[int, int]]:
    return [(buffer, element) for buffer, lo, hi in spans for element in range(lo, hi)]


def messages(step: Step) -> list[Receive | Transmit]:
    return [*step.receives, *step.sends]


@given(tables, layouts())
def test_a_message_is_its_chunks_in_order_and_in_as_few_spans_as_can_be(
    table: Written, places: dict[int, Span]
) -> None:
    plan = lower(table, 0, 6, places.__getitem__)
    busy = [(index, operations) for index, operations in enumerate(table.table) if operations]
    assert [step.index for step in plan.steps] == [index for index, _ in busy]
    assert plan.rounds == len(table.table)
    for step, (_, operations) in zip(plan.steps, busy, strict=True):
        assert [send.peer for send in step.sends] == [op.dest for op in operations if isinstance(op, Send)]
        wanted = [op for op in operations if isinstance(op, Recv)]
        assert [(recv.peer, recv.fold) for recv in step.receives] == [(op.source, op.fold) for op in wanted]
        for message, operation in zip(
            messages(step), sorted(operations, key=lambda op: isinstance(op, Send)), strict=True
        ):
            assert elements(message.spans) == elements(tuple(places[chunk] for chunk in operation.chunks))
            assert message.length == len(elements(message.spans))
            assert all(lo < hi for _, lo, hi in message.spans)
            assert not any(one[0] == two[0] and one[2] == two[1] for one, two in pairwise(message.spans))


@settings(max_examples=300)
@given(tables, layouts())
def test_what_lands_at_once_is_touched_by_nothing_else_in_its_round(table: Written, places: dict[int, Span]) -> None:
    for step in lower(table, 0, 6, places.__getitem__).steps:
        for receive in step.receives:
            others = {e for message in messages(step) if message is not receive for e in elements(message.spans)}
            free = receive.fold is OVERWRITE and others.isdisjoint(elements(receive.spans))
            assert (receive.stage is None) == (free and not 1 < len(receive.spans) <= PACKED)


@given(tables, layouts())
def test_sends_of_a_few_spans_are_packed_and_no_others(table: Written, places: dict[int, Span]) -> None:
    for step in lower(table, 0, 6, places.__getitem__).steps:
        for send in step.sends:
            assert (send.stage is not None) == (1 < len(send.spans) <= PACKED)


@given(tables, layouts())
def test_staged_messages_share_no_scratch_and_fit(table: Written, places: dict[int, Span]) -> None:
    plan = lower(table, 0, 6, places.__getitem__)
    most = 0
    for step in plan.steps:
        staged = [message for message in messages(step) if message.stage is not None]
        used = [element for message in staged for element in range(message.stage, message.stage + message.length)]
        assert sorted(used) == list(range(len(used)))
        most = max(most, len(used))
    assert plan.scratch == most


@given(tables, layouts())
def test_a_plan_says_how_long_its_buffers_must_be(table: Written, places: dict[int, Span]) -> None:
    plan = lower(table, 0, 6, places.__getitem__)
    reached = [e for step in plan.steps for message in messages(step) for e in elements(message.spans)]
    for buffer, length in enumerate(plan.lengths):
        assert length == max((element + 1 for b, element in reached if b == buffer), default=0)
    assert {b for b, _ in reached} <= set(range(len(plan.lengths)))
    assert plan.folds == any(recv.fold is not OVERWRITE for step in plan.steps for recv in step.receives)


@pytest.mark.parametrize("name", catalogue.names())
@pytest.mark.parametrize("size", [2, 3, 5, 8])
def test_both_ends_of_every_message_agree_on_its_length(name: str, size: int) -> None:
    algorithm = catalogue.get(name)
    cuts = extents(3 * size + 1, algorithm.chunks(size))
    plans = [lower(algorithm, rank, size, lambda chunk: (0, *cuts[chunk])) for rank in range(size)]
    sent = {(p.rank, m.peer, s.index): (m.chunks, m.length) for p in plans for s in p.steps for m in s.sends}
    received = {(m.peer, p.rank, s.index): (m.chunks, m.length) for p in plans for s in p.steps for m in s.receives}
    assert sent == received


def most_staged(name: str, size: int, count: int) -> int:
    algorithm = catalogue.get(name)
    cuts = extents(count, algorithm.chunks(size))
    return max(lower(algorithm, rank, size, lambda chunk: (0, *cuts[chunk])).scratch for rank in range(size))


def test_scratch_is_what_a_round_folds_or_packs_and_no_more() -> None:
    assert most_staged("ring", 4, 100) == 25
    assert most_staged("recursive_doubling", 4, 100) == 100
    assert most_staged("allgather_bruck", 5, 100) == 40  # two chunks at both ends of the vector, sent or received
    assert most_staged("broadcast_chain", 5, 100) == 0
    assert most_staged("alltoall_pairwise", 5, 100) == 0


def test_a_chunk_that_is_sent_and_overwritten_in_one_round_is_staged() -> None:
    plan = lower(Written(((Send(1, 0), Recv(1, 0)),)), 0, 2, lambda chunk: (0, 0, 5))
    assert plan.steps[0].receives[0].stage == 0
    assert plan.scratch == 5


def test_plans_compare_by_identity_so_that_finding_one_costs_nothing() -> None:
    def plan() -> Plan:
        return lower(catalogue.get("ring"), 0, 2, lambda chunk: (0, chunk, chunk + 1))

    assert plan() != plan()


def test_touched_names_own_kept_and_passing_chunks() -> None:
    bruck = catalogue.get("alltoall_bruck")
    assert touched(bruck, 0, 4) == [1, 2, 3, 4, 8, 12, 14]  # 14, from rank 3 to 2, changes here
    assert touched(catalogue.get("barrier_dissemination"), 0, 4) == []
    assert touched(catalogue.get("broadcast_linear"), 1, 3) == [0]
