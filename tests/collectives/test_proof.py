"""The prover: right schedules pass, and every kind of damage is caught and named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectives import catalogue, proof
from collectives.schedule import INCOMING_FIRST, MINE_FIRST, OVERWRITE, Recv, Round, ScheduleError, Send

Rounds = list[list[Round]]
EVERY = [catalogue.get(name) for name in catalogue.names()]


def written(rounds: Rounds, collective: str = "allreduce", chunks: int = 1) -> catalogue.Algorithm:
    """An algorithm that is this table of rounds and nothing else."""
    return replace(
        catalogue.get("linear"), name="written", collective=collective, function=lambda rank, size: rounds[rank],
        chunk_count=lambda size, at: chunks,
    )  # fmt: skip


def table(algorithm: catalogue.Algorithm, size: int) -> Rounds:
    return [list(algorithm.rounds(rank, size)) for rank in range(size)]


def damaged(algorithm: catalogue.Algorithm, size: int, change: Callable[[Rounds], None]) -> catalogue.Algorithm:
    rounds = table(algorithm, size)
    change(rounds)

    def function(rank: int, size: int) -> Iterable[Round]:
        return rounds[rank]

    return replace(algorithm, function=function, chunk_count=lambda p, at: algorithm.chunks(p), parameters={})


@pytest.mark.parametrize(
    ("algorithm", "size"),
    [(algorithm, size) for algorithm in EVERY for size in (*range(1, 14), 16, 17, 23, 32) if algorithm.supports(size)],
    ids=str,
)
def test_every_algorithm_is_right(algorithm: catalogue.Algorithm, size: int) -> None:
    proof.prove(algorithm, size)


@pytest.mark.parametrize("name", catalogue.names("broadcast") + catalogue.names("reduce"))
@pytest.mark.parametrize("size", [1, 2, 5, 8])
def test_any_root(name: str, size: int) -> None:
    for root in range(size):
        proof.prove(catalogue.get(name, root=root), size)


@pytest.mark.parametrize("servers", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [2, 3, 5, 6, 9])
def test_any_number_of_servers(servers: int, size: int) -> None:
    for algorithm in (
        catalogue.get("parameter_server", servers=servers),
        catalogue.get("parameter_server_separate", servers=servers),
    ):
        if algorithm.supports(size):
            assert proof.prove(algorithm, size).critical_path.volume >= 1 or size == 1


def test_a_proof_tells_what_it_found() -> None:
    found = proof.prove(catalogue.get("ring"), 4)
    assert (found.rounds, found.messages, found.bytes_per_rank, found.reductions) == (6, 24, 1.5, 0.75)
    assert not found.in_rank_order
    assert str(found.expressions[0][0]) == "(((1∘2)∘3)∘0)"
    assert proof.prove(catalogue.get("binomial"), 4).in_rank_order


def test_expressions_evaluate_as_the_ranks_will() -> None:
    found = proof.prove(catalogue.get("recursive_doubling"), 5)
    for held in found.expressions:
        assert held[0].evaluate(str, str.__add__) == "01234"


# --- one kind of damage each ---------------------------------------------------------------------------------------


def test_a_dropped_send() -> None:
    def drop(rounds: Rounds) -> None:
        rounds[2][1] = tuple(op for op in rounds[2][1] if isinstance(op, Recv))

    story = r"rank 3, round 1: waits for chunks \{0\} from rank 2, and rank 2 sends it nothing"
    with pytest.raises(ScheduleError, match=story):
        proof.prove(damaged(catalogue.get("ring"), 4, drop), 4)


def test_a_dropped_receive() -> None:
    def drop(rounds: Rounds) -> None:
        rounds[3][1] = tuple(op for op in rounds[3][1] if isinstance(op, Send))

    with pytest.raises(ScheduleError, match=r"rank 3, round 1: no receive meets the send of chunks \{0\} from rank 2"):
        proof.prove(damaged(catalogue.get("ring"), 4, drop), 4)


def test_a_fold_that_forgets() -> None:
    def forget(rounds: Rounds) -> None:
        rounds[0][0] = (rounds[0][0][0], Recv(1, 0, OVERWRITE))

    with pytest.raises(
        ScheduleError, match=r"rank 0, round 1, chunk 0: at the end the contribution of rank 0 is missing"
    ):
        proof.prove(damaged(catalogue.get("recursive_doubling"), 4, forget), 4)


def test_a_fold_in_the_wrong_order() -> None:
    def turn(rounds: Rounds) -> None:
        rounds[0][0] = (rounds[0][0][0], Recv(1, 0, INCOMING_FIRST))

    with pytest.raises(
        ScheduleError, match=r"rank 0, round 1, chunk 0: .* claims to keep rank order, but combines \(\(1∘0\)∘"
    ):
        proof.prove(damaged(catalogue.get("recursive_doubling"), 4, turn), 4)


def test_a_fold_into_nothing() -> None:
    rounds: Rounds = [[(Send(1, 0),)], [(Recv(0, 0, MINE_FIRST),)]]
    with pytest.raises(ScheduleError, match=r"rank 1, round 0, chunk 0: folds what comes from rank 0 into nothing"):
        proof.prove(written(rounds, "broadcast"), 2)


def test_swapped_spans_on_one_side() -> None:
    def swap(rounds: Rounds) -> None:
        rounds[1][0] = (Send(2, 3), rounds[1][0][1])

    with pytest.raises(
        ScheduleError, match=r"rank 2, round 0: expects chunks \{0\} from rank 1, which sends chunks \{3\}"
    ):
        proof.prove(damaged(catalogue.get("ring"), 4, swap), 4)


def test_swapped_spans_on_both_sides() -> None:
    def swap(rounds: Rounds) -> None:
        rounds[1][0] = (Send(2, 3), rounds[1][0][1])
        rounds[2][0] = (rounds[2][0][0], Recv(1, 3, INCOMING_FIRST))

    with pytest.raises(ScheduleError, match=r"rank \d, round \d, chunk \d: .*(doubled|missing)"):
        proof.prove(damaged(catalogue.get("ring"), 4, swap), 4)


def test_a_doubled_contribution() -> None:
    rounds: Rounds = [
        [(Send(1, 0), Recv(1, 0, MINE_FIRST)), (Send(1, 0), Recv(1, 0, MINE_FIRST))],
        [(Send(0, 0), Recv(0, 0, INCOMING_FIRST)), (Send(0, 0), Recv(0, 0, INCOMING_FIRST))],
    ]
    story = (
        r"rank 0, round 1, chunk 0: the contribution of ranks 0, 1 is doubled: it holds \(0∘1\) and folds in \(0∘1\)"
    )
    with pytest.raises(ScheduleError, match=story):
        proof.prove(written(rounds), 2)


def test_two_messages_on_one_edge() -> None:
    rounds: Rounds = [[(Send(1, 0), Send(1, 1))], [(Recv(0, range(2)),)]]
    with pytest.raises(ScheduleError, match=r"rank 0, round 0: two sends to rank 1"):
        proof.prove(written(rounds, chunks=2), 2)
    rounds = [[(Send(1, 0),)], [(Recv(0, 0), Recv(0, 1))]]
    with pytest.raises(ScheduleError, match=r"rank 1, round 0: two receives from rank 0"):
        proof.prove(written(rounds, chunks=2), 2)


def test_a_rank_with_too_few_rounds() -> None:
    def shorten(rounds: Rounds) -> None:
        rounds[2].pop()

    with pytest.raises(ScheduleError, match=r"rank 2 has 5 rounds but rank 0 has 6: from round 5 on"):
        proof.prove(damaged(catalogue.get("ring"), 4, shorten), 4)


def test_a_round_that_comes_late() -> None:
    rounds: Rounds = [[(Recv(1, 0, MINE_FIRST),), (Send(1, 0),)], [(Recv(0, 0),), (Send(0, 0),)]]
    with pytest.raises(ScheduleError, match=r"rank 0, round 0: waits for chunks \{0\} from rank 1"):
        proof.prove(written(rounds), 2)


def test_a_chunk_sent_before_it_is_there() -> None:
    def early(rounds: Rounds) -> None:
        for mine in rounds:
            mine.reverse()

    with pytest.raises(ScheduleError, match=r"rank \d, round 0: sends chunk \d to rank \d but does not hold it yet"):
        proof.prove(damaged(catalogue.get("allgather_ring"), 4, early), 4)


@pytest.mark.parametrize(("operation", "story"), [
    (Send(0, 0), "its partner 0 is not another"), (Send(7, 0), "its partner 7"), (Send(1, 5), "chunk 5 is not one of"),
])  # fmt: skip
def test_partners_and_chunks_that_do_not_exist(operation: Send, story: str) -> None:
    with pytest.raises(ScheduleError, match=f"rank 0, round 0: {story}"):
        proof.prove(written([[(operation,)], [()]]), 2)


def test_a_barrier_that_lets_someone_through() -> None:
    def skip(rounds: Rounds) -> None:
        for mine in rounds:
            mine.pop()

    with pytest.raises(ScheduleError, match=r"rank 0, after the last round: leaves the barrier unaware of rank 1"):
        proof.prove(damaged(catalogue.get("barrier_dissemination"), 5, skip), 5)


def test_a_cyclic_wait_under_blocking_sends() -> None:
    proof.prove(catalogue.get("ring"), 3)
    story = (
        r"cyclic wait under blocking sends: rank 0 in round 0 sends chunks \{2\} to rank 1, rank 1 .* 2 .* to rank 0"
    )
    with pytest.raises(ScheduleError, match=story):
        proof.prove(catalogue.get("ring"), 3, blocking=True)


def test_receiving_first_at_one_rank_breaks_the_cycle_and_at_all_ranks_is_one() -> None:
    def receive_first(ranks: Iterable[int]) -> Callable[[Rounds], None]:
        def change(rounds: Rounds) -> None:
            for rank in ranks:
                rounds[rank] = [tuple(reversed(ops)) for ops in rounds[rank]]

        return change

    proof.prove(damaged(catalogue.get("ring"), 4, receive_first([1, 3])), 4, blocking=True)
    with pytest.raises(ScheduleError, match=r"cyclic wait .* waits for chunks"):
        proof.prove(damaged(catalogue.get("ring"), 4, receive_first(range(4))), 4, blocking=True)


@pytest.mark.parametrize("name", ["linear", "binomial", "reduce_binomial", "broadcast_chain"])
@pytest.mark.parametrize("size", [2, 5, 8])
def test_algorithms_without_exchanges_do_not_need_nonblocking_sends(name: str, size: int) -> None:
    proof.prove(catalogue.get(name), size, blocking=True)


# --- any damage at all ---------------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_no_single_mutation_of_an_allreduce_passes(data: st.DataObject) -> None:
    algorithm = data.draw(st.sampled_from([a for a in EVERY if a.collective == "allreduce"]))
    size = data.draw(st.integers(2, 9))
    rounds = table(algorithm, size)
    places = [(r, n, i) for r, mine in enumerate(rounds) for n, ops in enumerate(mine) for i in range(len(ops))]
    rank, number, index = data.draw(st.sampled_from(places))
    operations = list(rounds[rank][number])
    operation = operations[index]
    chunks = algorithm.chunks(size)
    folds = isinstance(operation, Recv) and operation.fold is not OVERWRITE
    kinds = ["drop", "partner", "double", *(["chunk"] if chunks > 1 else []), *(["forget"] if folds else [])]
    kind = data.draw(st.sampled_from(kinds))
    if kind == "drop":
        operations.pop(index)
    elif kind == "double":
        operations.append(operation)
    elif kind == "partner":
        operations[index] = _elsewhere(operation, size)
    elif kind == "chunk":
        operations[index] = _other_chunks(operation, chunks)
    else:
        assert isinstance(operation, Recv)
        operations[index] = Recv(operation.source, operation.chunks, OVERWRITE)
    rounds[rank][number] = tuple(operations)
    with pytest.raises(ScheduleError):
        proof.prove(replace(algorithm, function=lambda rank, size, **_: rounds[rank]), size)


def _elsewhere(operation: Send | Recv, size: int) -> Send | Recv:
    if isinstance(operation, Send):
        return Send((operation.dest + 1) % size, operation.chunks)
    return Recv((operation.source + 1) % size, operation.chunks, operation.fold)


def _other_chunks(operation: Send | Recv, chunks: int) -> Send | Recv:
    moved = [(chunk + 1) % chunks for chunk in operation.chunks]
    if set(moved) == set(operation.chunks):
        moved = moved[1:]
    return Send(operation.dest, moved) if isinstance(operation, Send) else Recv(operation.source, moved, operation.fold)


@given(st.permutations(range(5)))
def test_terms_know_their_ranks_and_order(order: list[int]) -> None:
    term = proof.Term(order[0])
    for rank in order[1:]:
        term = proof.Term(parts=(term, proof.Term(rank)))
    assert term.ranks == 0b11111
    assert term.in_rank_order == (order == sorted(order))
    assert term.evaluate(lambda rank: (rank,), lambda left, right: left + right) == tuple(order)
