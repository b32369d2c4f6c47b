"""What servers and workers do about deaths: who speaks for whom, and what is sent again. No MPI, no clock, no thread.

A chain's head is its first living server (``Configuration.chain``). Nobody has to announce it: all who know who is dead
agree, and who learns of a death later is waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.errors import ServerError
from collectives.parameter_server.messages import Envelope, Kind, Message, Refused, text
from collectives.parameter_server.replication import Effects, Forward, Have, Replica
from collectives.parameter_server.sharding import Sharding

__all__ = ["Heads", "Node", "PartsLost", "Transfer"]

Transfer = Forward[Message] | Have


class PartsLost(ServerError):
    """All servers that held some parts are dead; the message says which, and what to do."""


class Server(Protocol):
    """The state machine that a chain replicates (``server.Server``)."""

    def handle(self, message: Message, /) -> list[Envelope]:
        """The answers to a message. Raises Refused, and changes nothing, for one that cannot be meant."""
        ...

    @property
    def finished(self) -> bool:
        """Whether all workers have said that they will ask for nothing more."""
        ...


class Node:
    """Server ``number`` with a replica of each chain that it is in: its own parts and its predecessors'.

    ``machine(home)`` makes the state machine that keeps the parts of server ``home``.
    """

    def __init__(
        self, number: int, configuration: Configuration, sharding: Sharding, machine: Callable[[int], Server]
    ) -> None:
        self.number, self._sharding = number, sharding
        if missing := configuration.servers - len(sharding.by_server):
            raise ValueError(f"{missing} of {configuration.servers} servers would keep nothing: take fewer servers")
        chains = [configuration.chain(home) for home in range(configuration.servers)]
        self.machines = {chain[0]: machine(chain[0]) for chain in chains if number in chain}
        self._replicas = {
            home: Replica[Message, Envelope](number, configuration.chain(home), machine, _changes)
            for home, machine in self.machines.items()
        }
        self._dead_workers: list[int] = []
        self._early: list[Message] = []

    @property
    def finished(self) -> bool:
        """Whether no worker will ask for anything more, as far as this server knows."""
        machines = all(machine.finished for machine in self.machines.values())
        return machines and all(replica.settled for replica in self._replicas.values())

    def heads(self, home: int) -> bool:
        """Whether this is the server to ask about the parts of ``home``."""
        return home in self._replicas and self._replicas[home].is_head

    def handle(self, message: Message) -> Effects[Message, Envelope]:
        """A worker's message, about the part that it names and those that have the same home. Refused as by ``Server``.

        One for a head that this server is not yet waits until it is: the sender learned sooner of a death.
        """
        if message.worker in self._dead_workers:
            return Effects()
        replica = self._replicas.get(self._home(message))
        if replica is None:
            raise Refused(f"worker {message.worker} asks for part {message.part}, which server {self.number} has not")
        if replica.is_head:
            return replica.handle(message)
        self._early.append(message)
        return Effects()

    def receive(self, source: int, transfer: Transfer) -> Effects[Message, Envelope]:
        """What the server ``source`` sent."""
        return self._replicas[transfer.home].receive(source, transfer)

    def worker_failed(self, worker: int) -> Effects[Message, Envelope]:
        """``worker`` is dead: it leaves every part for good, and nobody waits for it."""
        self._dead_workers.append(worker)
        whole: Effects[Message, Envelope] = Effects()
        for replica in self._replicas.values():
            if replica.is_head:
                whole.add(replica.handle(Message(Kind.END, worker)))
        return whole

    def server_failed(self, server: int) -> Effects[Message, Envelope]:
        """``server`` is dead: its neighbours close the gap, and the next one of its chain is head."""
        whole: Effects[Message, Envelope] = Effects()
        for home, replica in self._replicas.items():
            was_head = replica.is_head
            whole.add(replica.failed(server))
            if replica.is_head and not was_head:
                self._take_over(home, whole)
        return whole

    def _take_over(self, home: int, whole: Effects[Message, Envelope]) -> None:
        """Be head: end the dead workers, of whom the dead head may have told nobody, and answer who came early."""
        replica = self._replicas[home]
        for worker in self._dead_workers:
            whole.add(replica.handle(Message(Kind.END, worker)))
        early = [message for message in self._early if self._home(message) == home]
        self._early = [message for message in self._early if self._home(message) != home]
        for message in early:
            if message.worker in self._dead_workers:
                continue
            try:
                whole.add(replica.handle(message))
            except Refused as fault:
                words = text(Kind.REFUSED, message.worker, str(fault), part=message.part, request=message.request)
                whole.answers.append(Envelope(message.worker, words))

    def _home(self, message: Message) -> int:
        if message.part >= len(self._sharding.parts):
            raise Refused(f"there is no part {message.part}, for which worker {message.worker} asks")
        return self._sharding.parts[message.part].server


class Heads:
    """Whom to ask about which parts, for a worker that hears of deaths.

    What it had asked a dead server it asks the new head, with the same clock; what was passed on is recognised there.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self._dead: set[int] = set()

    def of(self, home: int) -> int:
        """The server that speaks for the parts of ``home``. Raises PartsLost where all who had them are dead."""
        chain = self._configuration.chain(home)
        head = next((server for server in chain if server not in self._dead), None)
        if head is None:
            raise PartsLost(
                f"the parts of server {home} were on servers {', '.join(map(str, chain))}, and all of these are dead; "
                f"start again from the last checkpoint, or keep more than {len(chain)} replicas"
            )
        return head

    def failed(self, server: int) -> dict[int, int]:
        """``server`` is dead: by home, the heads that are new. Raises PartsLost."""
        lost = [home for home in range(self._configuration.servers) if self.of(home) == server]
        self._dead.add(server)
        return {home: self.of(home) for home in lost}


def _changes(message: Message) -> bool:
    """A pull changes nothing but who waits for what, and who waits in vain asks again."""
    return message.kind not in (Kind.PULL, Kind.EXPLAIN)
