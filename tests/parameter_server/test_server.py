"""The server without messages on a wire: what it answers, when, and with which bits."""

import itertools

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from collectives.parameter_server import BSP, SSP, Async, Backup, Configuration, Elastic
from collectives.parameter_server.consistency import Reception
from collectives.parameter_server.messages import Coding, Kind, Message, Refused, as_bytes
from collectives.parameter_server.payloads import rows_of
from collectives.parameter_server.server import Server
from collectives.parameter_server.sharding import Sharding
from kernels import optimise

COUNT = 12
LOCKSTEP = BSP()
WEIGHTS = np.linspace(-1, 1, COUNT, dtype=np.float32)
ADAM = optimise.get("adam", learning_rate=0.1)


def server(workers=3, consistency=LOCKSTEP, optimiser=ADAM, weights=WEIGHTS, **options) -> Server:
    configuration = Configuration(workers, 1, consistency=consistency, **options)
    return Server(configuration, Sharding.plan({"t": len(weights)}, 1, 1 << 20), 0, weights, optimiser)


def gradient(worker: int, clock: int, count: int = COUNT) -> np.ndarray:
    return np.random.default_rng([worker, clock]).standard_normal(count, dtype=np.float32)


def push(worker: int, clock: int, kind=Kind.PUSH, samples=4, values=None, **more) -> Message:
    values = gradient(worker, clock) if values is None else values
    return Message(kind, worker, 0, clock, as_bytes(values), samples=samples, request=clock, **more)


def answered(envelopes) -> dict[int, np.ndarray]:
    return {
        each.rank: each.message.payload.view(np.float32) for each in envelopes if each.message.kind is Kind.PARAMETERS
    }


@pytest.mark.parametrize("consistency", [BSP(), SSP(0)])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_lockstep_is_one_process_bit_for_bit_in_any_order(consistency, order) -> None:
    it, weights = server(consistency=consistency), WEIGHTS.copy()
    state = ADAM.state(weights)
    for clock in (1, 2, 3):
        answers = {}
        for n, worker in enumerate(order):
            assert not answers
            answers = answered(it.handle(push(worker, clock, Kind.PUSH_PULL), worker))
            assert bool(answers) == (n == 2)
        total = gradient(0, clock) + gradient(1, clock) + gradient(2, clock)
        ADAM.step(weights, total, state, clock, scale=1 / 12)
        assert sorted(answers) == [0, 1, 2]
        for values in answers.values():
            assert_array_equal(values, weights)


def test_unequal_shares_weigh_by_their_samples() -> None:
    sgd = optimise.get("sgd", learning_rate=1.0)
    it = server(2, optimiser=sgd)
    it.handle(push(0, 1, samples=3))
    it.handle(push(1, 1, samples=5))
    expected = WEIGHTS.copy()
    sgd.step(expected, gradient(0, 1) + gradient(1, 1), (), 1, scale=1 / 8)
    assert_array_equal(it.shards[0].parameters, expected)


def test_the_learning_rate_of_a_push_counts_for_its_update() -> None:
    it, expected = server(1), WEIGHTS.copy()
    it.handle(push(0, 1, learning_rate=0.0))
    assert_array_equal(it.shards[0].parameters, expected)


def test_an_asynchronous_push_is_an_update_with_its_share_and_its_staleness() -> None:
    sgd = optimise.get("sgd", learning_rate=1.0)
    it, expected = server(2, Async(), sgd), WEIGHTS.copy()
    for worker in (0, 1):
        it.handle(Message(Kind.PULL, worker, 0, request=1))
    acks = [it.handle(push(worker, 1))[0].message for worker in (0, 1)]
    for worker in (0, 1):
        sgd.step(expected, gradient(worker, 1), (), 1, scale=0.5 / 4)
    assert_array_equal(it.shards[0].parameters, expected)
    assert [ack.staleness for ack in acks] == [0, 1]
    assert {worker: dict(seen) for worker, seen in it.statistics.staleness.items()} == {0: {0: 1}, 1: {1: 1}}


def test_nobody_is_more_than_the_bound_ahead() -> None:
    it = server(2, SSP(2))
    for clock in (1, 2):
        assert answered(it.handle(push(0, clock, Kind.PUSH_PULL))).keys() == {0}
    assert not answered(it.handle(push(0, 3, Kind.PUSH_PULL)))
    assert "push 1 is awaited from workers 1" in it.awaited(0)
    assert answered(it.handle(push(1, 1, Kind.PUSH_PULL))).keys() == {0, 1}


def test_a_backup_worker_s_late_push_is_dropped_and_it_goes_on_from_the_newest_clock() -> None:
    it = server(3, Backup(1))
    for clock in (1, 2):
        it.handle(push(0, clock))
        it.handle(push(1, clock))
    before = it.shards[0].parameters.copy()
    [late] = it.handle(push(2, 1, Kind.PUSH_PULL))
    assert late.message.reception is Reception.LATE
    assert late.message.clock == 2
    assert_array_equal(it.shards[0].parameters, before)
    it.handle(push(2, 3))
    it.handle(push(0, 3))
    assert it.shards[0].ledger.closed == 3
    assert it.statistics.late == 1


def test_a_duplicate_is_answered_and_not_counted() -> None:
    it = server(1)
    it.handle(push(0, 1))
    before = it.shards[0].parameters.copy()
    [again] = it.handle(push(0, 1, Kind.PUSH_PULL))
    assert again.message.reception is Reception.DUPLICATE
    assert_array_equal(again.message.payload.view(np.float32), before)
    assert_array_equal(it.shards[0].parameters, before)


def test_elastic_averaging_answers_the_centre_as_it_was() -> None:
    it = server(2, Elastic(0.25))
    own = gradient(0, 1)
    [answer] = it.handle(push(0, 1, Kind.PUSH_PULL, values=own))
    assert_array_equal(answer.message.payload.view(np.float32), WEIGHTS)
    assert_array_equal(it.shards[0].parameters, WEIGHTS + np.float32(0.25) * (own - WEIGHTS))


@pytest.mark.parametrize("first", [0, -5])
def test_rows_are_the_dense_gradient_and_equal_rows_add_up(first: int) -> None:
    indices = np.array([2, 4, 2, 1])
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    table = np.zeros((8, 3), np.float32)
    np.add.at(table, indices, rows)
    dense = table.reshape(-1)[-first : COUNT - first]
    sparse = rows_of(indices, rows, first, COUNT)
    results = []
    for message in (push(0, 1, values=np.ascontiguousarray(dense)),
                    Message(Kind.PUSH, 0, 0, 1, sparse, Coding.ROWS, samples=4)):  # fmt: skip
        it = server(1, optimiser=optimise.get("sgd", learning_rate=1.0))
        it.handle(message)
        results.append(it.shards[0].parameters)
    assert_array_equal(*results)
    assert not np.array_equal(results[0], WEIGHTS)


def test_layers_are_stepped_one_by_one_where_the_optimiser_needs_it() -> None:
    lars = optimise.get("lars", learning_rate=0.5, trust=0.1)
    sizes = {"a": 5, "b": 7}
    sharding = Sharding.plan(sizes, 1, 1 << 20, whole=True)
    it = Server(Configuration(1, 1), sharding, 0, WEIGHTS, lars)
    it.handle(push(0, 1))
    expected = WEIGHTS.copy()
    for lo, hi in sharding.tensors.values():
        lars.step(expected[lo:hi], gradient(0, 1)[lo:hi], lars.state(expected[lo:hi]), 1, scale=1 / 4)
    assert_array_equal(it.shards[0].parameters, expected)
    with pytest.raises(ValueError, match=r"whole layers.*piece of a"):
        Server(Configuration(1, 1), Sharding.plan(sizes, 1, 16), 0, WEIGHTS, lars)


REFUSED = [
    (push(7, 1), "workers 0 to 2"),
    (Message(Kind.ACK, 0), "nothing that a server is asked"),
    (Message(Kind.PULL, 0, 5), "keeps parts 0"),
    (push(0, 3), "missing"),
    (push(0, 1, samples=0), "0 samples"),
    (push(0, 1, learning_rate=float("nan")), "learning rate"),
    (push(0, 1, values=np.zeros(3, np.float32)), "12 bytes of numbers where 48 are due"),
    (push(0, 1, coding=Coding.ENCODED), "not agreed"),
    (push(0, 1, coding=Coding.TEXT), "not agreed"),
    (push(0, 1, coding=Coding.ROWS), "rows"),
]


@pytest.mark.parametrize(("message", "said"), REFUSED)
def test_what_cannot_be_meant_is_refused_and_changes_nothing(message: Message, said: str) -> None:
    it = server()
    before = it.snapshot()
    with pytest.raises(Refused, match=said):
        it.handle(message)
    after = it.snapshot()
    assert before.keys() == after.keys()
    for name in before:
        assert_array_equal(before[name], after[name])
    with pytest.raises(Refused, match="came from rank 1"):
        it.handle(push(0, 1), 1)


def test_who_leaves_is_not_waited_for_and_must_join_again() -> None:
    it = server(2)
    it.handle(push(0, 1))
    it.handle(Message(Kind.PULL, 0, 0, request=2))
    left = it.handle(Message(Kind.LEAVE, 1, request=5))
    assert answered(left).keys() == {0}
    with pytest.raises(Refused, match="join again"):
        it.handle(push(1, 1))
    joined, done = it.handle(Message(Kind.JOIN, 1, request=6))
    assert (joined.message.clock, done.message.request) == (1, 6)
    it.handle(push(1, 2))
    assert it.shards[0].ledger.closed == 1
    for worker in (0, 1):
        assert not it.finished
        it.handle(Message(Kind.END, worker))
    assert it.finished


@pytest.mark.parametrize("consistency", [BSP(), SSP(1), Async(), Backup(1)])
def test_a_restored_server_goes_on_as_if_nothing_had_happened(consistency) -> None:
    one = server(2, consistency)
    one.handle(push(0, 1, learning_rate=0.5))
    other = server(2, consistency, weights=np.zeros_like(WEIGHTS))
    other.restore(one.snapshot())
    for message in (push(0, 1), push(1, 1), push(1, 2), push(0, 2)):
        for it in (one, other):
            it.handle(message)
    left, right = one.snapshot(), other.snapshot()
    assert left.keys() == right.keys()
    for name in left:
        assert_array_equal(left[name], right[name])
    with pytest.raises(ValueError, match="12 elements"):
        other.restore(left | {"0/parameters": np.zeros(3, np.float32)})
