"""A worker's side without MPI: what is sent, in which order, and which answers it takes."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from collectives.parameter_server import Async, Configuration, Elastic, Rows
from collectives.parameter_server.client import Client
from collectives.parameter_server.errors import ServerRefused
from collectives.parameter_server.gathering import Terms
from collectives.parameter_server.messages import Coding, Envelope, Kind, Message, text
from collectives.parameter_server.server import Server
from collectives.parameter_server.sharding import Sharding
from kernels import optimise

SIZES = {"a": 30, "b": 5, "c": 45}
TERMS = Terms(samples=2, learning_rate=None)
SGD = optimise.get("sgd", learning_rate=1.0)


class Wire:
    """One worker and its servers; messages lie in ``sent`` until they are delivered."""

    def __init__(self, partition: int = 80, servers: int = 2, **options) -> None:
        self.configuration = Configuration(1, servers, consistency=Async(), partition=partition, **options)
        self.sharding = Sharding.plan(SIZES, servers, partition)
        self.weights = np.zeros(80, np.float32)
        self.sent: list[tuple[Envelope, float]] = []
        numbers = range(servers)
        self.servers = [Server(self.configuration, self.sharding, each, self.weights, SGD) for each in numbers]
        self.client = Client(
            self.configuration, self.sharding, 0, lambda envelope, priority: self.sent.append((envelope, priority)),
            lambda ticket, limit: self.deliver(),
        )  # fmt: skip

    def deliver(self) -> None:
        while self.sent:
            envelope, _ = self.sent.pop(0)
            for answer in self.servers[envelope.rank - 1].handle(envelope.message, 0):
                self.client.handle(answer.message, envelope.rank)


def test_a_part_goes_when_its_last_tensor_is_given_and_answers_all_who_wait() -> None:
    wire, into = Wire(), np.zeros(80, np.float32)
    gradient = np.arange(80, dtype=np.float32)
    last = wire.client.push("c", gradient[35:], TERMS, into=into[35:])
    went = [envelope.message.part for envelope, _ in wire.sent]
    assert went == [part.number for part in wire.sharding.parts if part.lo >= 35]
    wire.deliver()
    assert not last.done()
    assert "no gradient of a, b yet" in wire.client.missing(last)
    wire.client.push("a", gradient[:30], TERMS, into=into[:30])
    first = wire.client.push("b", gradient[30:35], TERMS, into=into[30:35])
    assert not first.done()
    first.wait()
    assert last.done()
    assert_array_equal(into, -gradient / 2)


def test_messages_of_one_part_do_not_overtake_each_other() -> None:
    wire = Wire(partition=1 << 20)
    for urgency in (9.0, 1.0, 5.0):
        wire.client.push(None, np.ones(80, np.float32), TERMS, priority=urgency)
    for part in wire.sharding.parts:
        urgencies = [urgency for envelope, urgency in wire.sent if envelope.message.part == part.number]
        assert urgencies == sorted(urgencies) == [9.0, 9.0, 9.0]


def test_the_gradient_may_be_changed_once_it_is_pushed() -> None:
    wire, gradient = Wire(), np.ones(80, np.float32)
    wire.client.push(None, gradient, TERMS)
    gradient[...] = 77
    wire.deliver()
    for server in wire.servers:
        for shard in server.shards.values():
            assert_array_equal(shard.parameters, np.full(shard.part.count, -0.5))


def test_rows_travel_as_rows_where_a_part_is_of_one_table() -> None:
    wire = Wire(partition=40)
    wire.client.push("c", Rows(np.array([8]), np.ones((1, 5), np.float32)), TERMS)
    codings = {envelope.message.part: envelope.message.coding for envelope, _ in wire.sent}
    assert set(codings.values()) == {Coding.ROWS}
    assert all(wire.sharding.parts[number].lo >= 35 for number in codings)


def test_unanswered_messages_are_sent_again_and_change_nothing_twice() -> None:
    wire, into = Wire(), np.zeros(80, np.float32)
    ticket = wire.client.push(None, np.ones(80, np.float32), TERMS, into=into)
    before = len(wire.sent)
    for server in range(2):
        wire.client.resend(server)
    assert len(wire.sent) == 2 * before
    ticket.wait()
    assert_array_equal(into, np.full(80, -0.5))
    assert sum(server.statistics.duplicates for server in wire.servers) == before
    assert wire.client.flights() == []


def test_a_refusal_fails_what_it_is_about_and_nothing_else() -> None:
    wire = Wire()
    ticket = wire.client.push("a", np.ones(30, np.float32), TERMS)
    other = wire.client.push("c", np.ones(45, np.float32), TERMS)
    envelope = wire.sent[0][0]
    refusal = text(Kind.REFUSED, 0, "not so", request=envelope.message.request)
    wire.client.handle(refusal, envelope.rank)
    with pytest.raises(ServerRefused, match=f"rank {envelope.rank} refused a message of worker 0: not so"):
        ticket.wait()
    assert other.error is None
    wire.client.handle(text(Kind.REFUSED, 0, "damaged"), 1)
    wire.client.handle(text(Kind.REFUSED, 0, "damaged"), 2)
    assert other.error is not None


def test_answers_that_nobody_waits_for_are_left_alone() -> None:
    wire = Wire()
    for message in (
        Message(Kind.ACK, 0, 0, request=5),
        Message(Kind.PARAMETERS, 0, 99),
        Message(Kind.PARAMETERS, 0, 0),
    ):
        wire.client.handle(message, 1)
    assert wire.client.clocks[0] == 0


@pytest.mark.parametrize(
    ("name", "gradient", "said"),
    [("a", np.ones(29, np.float32), "30 contiguous elements"), ("a", np.ones(30), "float64"),
     (None, np.ones(79, np.float32), "80 contiguous"),
     ("a", Rows(np.array([6]), np.ones((1, 5), np.float32)), "rows 0 to 5"),
     ("a", Rows(np.array([0]), np.ones((1, 7), np.float32)), "no rows of 7")],
)  # fmt: skip
def test_gradients_that_do_not_fit_are_named_before_anything_is_sent(name, gradient, said: str) -> None:
    wire = Wire()
    with pytest.raises(ValueError, match=said):
        wire.client.push(name, gradient, TERMS)
    assert not wire.sent
    assert not wire.client.flights()


def test_parameters_are_not_pushed_encoded() -> None:
    configuration = Configuration(1, 1, consistency=Elastic(), encoding="int8")
    with pytest.raises(ValueError, match="leave the encoding out"):
        Client(
            configuration, Sharding.plan(SIZES, 1, 80), 0, lambda envelope, priority: None, lambda ticket, limit: None
        )
