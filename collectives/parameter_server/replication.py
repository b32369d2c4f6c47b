"""Chain replication of a server's parts: what was acknowledged outlives all but one of the servers in the chain.

The first living server of a chain is its head: it puts the messages that change anything in an order and passes them
on, and each server applies them in that order, so all end with the same bits. The last one acknowledges; only then does
the head let out the answers, and with them every answer that shows a state of which the others do not know yet.

    a worker → head → ... → tail
    a worker ← head ← ... ← tail     (``Have``)

When a server dies, its neighbours in the chain are neighbours of each other; what was not acknowledged is passed on
again and recognised by its number. A new head holds all that was ever acknowledged; workers send it again what they
have no answer to, and the ledgers know what came before.

A death is a fact: whoever is told that a server is dead must be right, for a server that only seems dead would go on as
head of its chain. MPI's fault tolerance knows (ULFM), and so does one process that decides alone (``membership``).
Messages from a server to another stay in order, as MPI keeps them; those of the dead are ignored.

No MPI, no clock and no thread are in this file. Source: van Renesse and Schneider, "Chain replication for supporting
high throughput and availability" (OSDI 2004); answers wait at the head instead of leaving at the tail, so that a worker
speaks to one server.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

__all__ = ["Effects", "Forward", "Have", "Machine", "Replica"]

M = TypeVar("M")
A = TypeVar("A")
Given_contra = TypeVar("Given_contra", contravariant=True)
Said_co = TypeVar("Said_co", covariant=True)


class Machine(Protocol[Given_contra, Said_co]):
    """What is replicated: the same messages in the same order must lead to the same state, bit for bit."""

    def handle(self, message: Given_contra, /) -> Sequence[Said_co]:
        """Change the state by ``message``; returns the answers. One that raises must not have changed anything."""
        ...


@dataclass(frozen=True, slots=True)
class Forward(Generic[M]):
    """To the next server of the chain of ``home``: ``message`` is number ``sequence`` (1, 2, ...)."""

    home: int
    sequence: int
    message: M


@dataclass(frozen=True, slots=True)
class Have:
    """To the server before: all to the end of the chain of ``home`` have the messages up to ``sequence``."""

    home: int
    sequence: int


@dataclass(slots=True)
class Effects(Generic[M, A]):
    """What is to be sent: ``answers`` to workers, and ``transfers`` to servers, in this order to each."""

    answers: list[A] = field(default_factory=list[A])
    transfers: list[tuple[int, Forward[M] | Have]] = field(default_factory=list[tuple[int, Forward[M] | Have]])

    def add(self, other: Effects[M, A]) -> None:
        """And then the other's."""
        self.answers += other.answers
        self.transfers += other.transfers


@dataclass(slots=True)
class _Entry(Generic[M, A]):
    """A message that this server has, and not yet all behind it; ``answers`` wait for that."""

    sequence: int
    message: M
    answers: list[A]


class Replica(Generic[M, A]):
    """Server ``me`` in a ``chain`` of servers, the head first, that keep the parts of ``chain[0]``.

    ``changes`` says whether a message changes what must not be lost; others (a pull) stay with the head, and whoever
    sent one sends it again when the head has died. Messages: r − 1 of the size of each that changes anything, and r − 1
    short ones back. Memory: the messages that are under way.
    """

    def __init__(self, me: int, chain: Sequence[int], machine: Machine[M, A], changes: Callable[[M], bool]) -> None:
        if me not in chain:
            raise ValueError(f"server {me} is not in the chain {tuple(chain)}")
        self.home = chain[0]
        self.machine = machine
        self.applied = self.held_by_all = 0
        self._me, self._alive, self._changes = me, list(chain), changes
        self._open: deque[_Entry[M, A]] = deque()

    @property
    def is_head(self) -> bool:
        """Whether workers are to speak to this server."""
        return self._alive[0] == self._me

    @property
    def settled(self) -> bool:
        """Whether all to the end of the chain have what this server has."""
        return not self._open

    def handle(self, message: M) -> Effects[M, A]:
        """A worker's message, at the head. RuntimeError elsewhere: keep it until this server is head."""
        if not self.is_head:
            raise RuntimeError(f"server {self._me} is not the head of {self._alive}")
        if self._changes(message):
            return self._apply(message, answering=True)
        answers = list(self.machine.handle(message))
        if not self._open:
            return Effects(answers)
        self._open[-1].answers += answers
        return Effects()

    def receive(self, source: int, transfer: Forward[M] | Have) -> Effects[M, A]:
        """What the server ``source`` sent. ValueError for a gap in the numbers, which FIFO channels cannot make."""
        if source not in self._alive:
            return Effects()
        if isinstance(transfer, Have):
            return self._all_have(transfer.sequence)
        if transfer.sequence <= self.applied:
            return Effects()
        if transfer.sequence != self.applied + 1:
            raise ValueError(
                f"server {source} sent number {transfer.sequence} of the chain {self._alive} to server {self._me}, "
                f"which has {self.applied}"
            )
        return self._apply(transfer.message, answering=False)

    def failed(self, server: int) -> Effects[M, A]:
        """``server`` is dead."""
        if server not in self._alive:
            return Effects()
        before, after = self._before, self._after
        self._alive.remove(server)
        effects: Effects[M, A] = Effects()
        if after != self._after:
            effects = self._pass_on_again()
        if before != self._before and self._before is not None and self.held_by_all:
            effects.transfers.append((self._before, Have(self.home, self.held_by_all)))
        return effects

    @property
    def _before(self) -> int | None:
        place = self._alive.index(self._me)
        return self._alive[place - 1] if place else None

    @property
    def _after(self) -> int | None:
        place = self._alive.index(self._me) + 1
        return self._alive[place] if place < len(self._alive) else None

    def _apply(self, message: M, *, answering: bool) -> Effects[M, A]:
        answers = self.machine.handle(message)
        self.applied += 1
        self._open.append(_Entry(self.applied, message, list(answers) if answering else []))
        if self._after is None:
            return self._all_have(self.applied)
        return Effects(transfers=[(self._after, Forward(self.home, self.applied, message))])

    def _pass_on_again(self) -> Effects[M, A]:
        if self._after is None:
            return self._all_have(self.applied)
        return Effects(
            transfers=[(self._after, Forward(self.home, each.sequence, each.message)) for each in self._open]
        )

    def _all_have(self, sequence: int) -> Effects[M, A]:
        effects: Effects[M, A] = Effects()
        if sequence <= self.held_by_all:
            return effects
        self.held_by_all = sequence
        while self._open and self._open[0].sequence <= sequence:
            effects.answers += self._open.popleft().answers
        if self._before is not None:
            effects.transfers.append((self._before, Have(self.home, sequence)))
        return effects
