"""One server of a chain, message by message; test_faults.py has the whole, at random."""

from __future__ import annotations

import pytest

from collectives.parameter_server.replication import Effects, Forward, Have, Replica


class Log:
    """A machine that keeps its messages, and answers each with how many there are."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def handle(self, message: str) -> list[str]:
        if message == "nonsense":
            raise ValueError(message)
        if message != "look":
            self.messages.append(message)
        return [f"{message} {len(self.messages)}"]


def replica(me: int, *chain: int) -> Replica[str, str]:
    return Replica(me, chain, Log(), lambda message: message != "look")


def test_the_head_answers_when_the_tail_has_it_and_no_sooner() -> None:
    head = replica(0, 0, 1, 2)
    assert head.handle("a") == Effects(transfers=[(1, Forward(0, 1, "a"))])
    assert head.handle("b").transfers == [(1, Forward(0, 2, "b"))]
    assert head.handle("look") == Effects()  # its answer shows b, which can still be lost
    assert head.receive(1, Have(0, 1)) == Effects(["a 1"])
    assert head.receive(1, Have(0, 2)) == Effects(["b 2", "look 2"])
    assert head.handle("look") == Effects(["look 2"])


def test_the_middle_passes_on_both_ways_and_the_tail_turns_round() -> None:
    middle, tail = replica(1, 0, 1, 2), replica(2, 0, 1, 2)
    assert middle.receive(0, Forward(0, 1, "a")) == Effects(transfers=[(2, Forward(0, 1, "a"))])
    assert tail.receive(1, Forward(0, 1, "a")) == Effects(transfers=[(1, Have(0, 1))])
    assert middle.receive(2, Have(0, 1)) == Effects(transfers=[(0, Have(0, 1))])
    assert middle.machine.messages == tail.machine.messages == ["a"]


def test_alone_a_server_answers_at_once() -> None:
    assert replica(3, 3).handle("a") == Effects(["a 1"])


def test_a_new_head_hears_no_more_of_the_dead_one() -> None:
    second = replica(1, 0, 1, 2)
    second.receive(0, Forward(0, 1, "a"))
    assert second.failed(0) == Effects()
    assert second.is_head
    assert second.receive(0, Forward(0, 2, "late")) == Effects()
    assert second.handle("b").transfers == [(2, Forward(0, 2, "b"))]
    assert second.machine.messages == ["a", "b"]


def test_what_the_dead_tail_did_not_confirm_is_confirmed_by_the_new_one() -> None:
    head = replica(0, 0, 1)
    head.handle("a")
    assert head.failed(1) == Effects(["a 1"])
    assert head.failed(1) == Effects()


def test_a_gap_in_the_numbers_is_named() -> None:
    with pytest.raises(ValueError, match=r"server 0 sent number 2 of the chain \[0, 1\] to server 1, which has 0"):
        replica(1, 0, 1).receive(0, Forward(0, 2, "b"))


def test_what_the_machine_refuses_gets_no_number() -> None:
    head = replica(0, 0, 1)
    with pytest.raises(ValueError, match="nonsense"):
        head.handle("nonsense")
    assert head.handle("a").transfers == [(1, Forward(0, 1, "a"))]


def test_only_a_head_speaks_to_workers_and_only_members_are_in_a_chain() -> None:
    with pytest.raises(RuntimeError, match=r"server 1 is not the head of \[0, 1\]"):
        replica(1, 0, 1).handle("a")
    with pytest.raises(ValueError, match="server 2 is not in the chain"):
        replica(2, 0, 1)
