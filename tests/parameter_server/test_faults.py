"""Random walks through deliveries, deaths and their notices, with real servers and no MPI.

Messages between two processes stay in order, as MPI keeps them. What a process had sent when it died may arrive, but
only as far as some point; who learns when of its death is left to chance.
"""

from __future__ import annotations

import random
from collections import defaultdict, deque
from dataclasses import dataclass, field

import numpy as np
import pytest

from collectives.parameter_server.client import Client
from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.consistency import BSP, SSP, Async, Backup, Consistency
from collectives.parameter_server.gathering import Terms
from collectives.parameter_server.messages import Envelope, Kind, Message
from collectives.parameter_server.recovery import Heads, Node, PartsLost
from collectives.parameter_server.server import Server
from collectives.parameter_server.sharding import Sharding
from collectives.parameter_server.tickets import Ticket
from kernels.optimise import SGD

COUNT, CLOCKS = 23, 4
SOON = 150
"""Deliveries before which somebody dies, if anybody is to; a walk takes about 200 to 400."""
PUSHES = Kind.PUSH, Kind.PUSH_PULL


@dataclass
class Journal:
    """A server that remembers which pushes it took."""

    server: Server
    taken: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        return self.server.finished

    def handle(self, message: Message) -> list[Envelope]:
        before = self.server.statistics.duplicates
        answers = self.server.handle(message)
        if message.kind in PUSHES and self.server.statistics.duplicates == before:
            self.taken.append((message.worker, message.part, message.clock))
        return answers


class Walk:
    """``workers`` that make CLOCKS steps each, and servers; ``kill`` who dies in the course of it."""

    def __init__(self, seed: int, configuration: Configuration, kill: list[tuple[str, int]]) -> None:
        self.chance = random.Random(seed)
        self.configuration = configuration
        self.sharding = Sharding.plan({"a": COUNT - 6, "b": 6}, configuration.servers, 16)
        self.channels: dict[tuple, deque] = defaultdict(deque)
        self.doomed, self.dead, self.untold = list(kill), set(), []
        self.chance.shuffle(self.doomed)
        together = self.chance.random() < 0.5
        first = self.chance.randrange(1, SOON)
        self.moments = [first + (2 if together else SOON // 2) * number for number in range(len(kill))]
        self.nodes = {number: self.node(number) for number in range(configuration.servers)}
        self.workers = {number: Worker(self, number) for number in range(configuration.workers)}
        self.acknowledged: set[tuple[int, int, int]] = set()

    def machine(self, home: int) -> Journal:
        weights = np.arange(COUNT, dtype=np.float32)
        return Journal(Server(self.configuration, self.sharding, home, weights, SGD(0.5)))

    def node(self, number: int) -> Node:
        return Node(number, self.configuration, self.sharding, self.machine)

    def run(self) -> None:
        steps = 0
        while self.doomed or any(not worker.finished for worker in self.workers.values()):
            busy = [key for key, queue in self.channels.items() if queue]
            choices = busy + self.untold
            assert choices, (
                f"a hang: {self.dead} are dead, {[worker.client.flights() for worker in self.workers.values()]}"
            )
            self.step(self.chance.choice(choices))
            steps += 1
            if steps in self.moments:
                self.die(self.doomed.pop())
        self.steps = steps
        for key in list(self.channels):
            while self.channels[key]:
                self.step(key)
        for notice in list(self.untold):
            self.step(notice)

    def step(self, choice: tuple) -> None:
        if choice[0] == "told":
            self.untold.remove(choice)
            self.tell(*choice[1:])
        else:
            self.deliver(*choice, self.channels[choice].popleft())

    def die(self, who: tuple[str, int]) -> None:
        self.dead.add(who)
        (self.nodes if who[0] == "server" else self.workers).pop(who[1])
        for (source, destination), queue in self.channels.items():
            if source == who:
                for _ in range(self.chance.randint(0, len(queue))):
                    queue.pop()
            if destination == who:
                queue.clear()
        left = [("server", number) for number in self.nodes] + [("worker", number) for number in self.workers]
        self.untold += [("told", each, who) for each in left]

    def tell(self, whom: tuple[str, int], of: tuple[str, int]) -> None:
        if whom in self.dead:
            return
        if whom[0] == "worker":
            if of[0] == "server":
                self.workers[whom[1]].server_failed(of[1])
            return
        node = self.nodes[whom[1]]
        self.carry_out(whom, node.server_failed(of[1]) if of[0] == "server" else node.worker_failed(of[1]))

    def deliver(self, source: tuple, destination: tuple, what: object) -> None:
        if destination in self.dead:
            return
        if destination[0] == "worker":
            self.workers[destination[1]].answered(what)
        elif source[0] == "server":
            self.carry_out(destination, self.nodes[destination[1]].receive(source[1], what))
        else:
            self.carry_out(destination, self.nodes[destination[1]].handle(what))

    def carry_out(self, who: tuple, effects) -> None:
        for envelope in effects.answers:
            self.send(who, ("worker", envelope.rank), envelope.message)
        for server, transfer in effects.transfers:
            self.send(who, ("server", server), transfer)

    def send(self, source: tuple, destination: tuple, what: object) -> None:
        if destination not in self.dead:
            self.channels[source, destination].append(what)

    def copies(self, home: int) -> list[Journal]:
        return [node.machines[home] for node in self.nodes.values() if home in node.machines]

    def parameters(self) -> np.ndarray:
        """The model, after a look whether all copies of each part are the same."""
        model = np.empty(COUNT, np.float32)
        for part in self.sharding.parts:
            first, *others = [copy.server.shards[part.number].parameters for copy in self.copies(part.server)]
            assert all((other == first).all() for other in others)
            model[part.lo : part.hi] = first
        return model


class Worker:
    """Pushes a gradient that may depend on what it pulled, and pulls; or both at once."""

    def __init__(self, walk: Walk, number: int) -> None:
        self.walk, self.number = walk, number
        self.heads = Heads(walk.configuration)
        self.client = Client(walk.configuration, walk.sharding, number, self.send, _never)
        self.weights = np.arange(COUNT, dtype=np.float32)
        self.tickets: list[Ticket] = []
        self.clock = 0
        self.step()

    @property
    def finished(self) -> bool:
        return self.clock > CLOCKS

    def send(self, envelope: Envelope, _priority: float) -> None:
        """What happens beside it is sent sooner or later than in the order of priorities: the walk chooses."""
        server = ("server", self.walk.configuration.server_at(envelope.rank))
        self.walk.send(("worker", self.number), server, envelope.message)

    def step(self) -> None:
        self.clock += 1
        if self.finished:
            return
        # What it pulled matters in lockstep; else small numbers, whose sum is the same in any order.
        seen = self.weights % 7 if self.walk.configuration.consistency == BSP() else 0
        gradient = np.full(COUNT, self.number + self.clock, np.float32) + np.float32(seen)
        if self.walk.chance.random() < 0.5:
            self.tickets = [self.client.push(None, gradient, Terms(1, None), into=self.weights)]
        else:
            self.tickets = [self.client.push(None, gradient, Terms(1, None)), self.client.pull(None, self.weights)]
        self.pushed = {(self.number, part, clock) for part, clock in self.client.clocks.items()}

    def answered(self, message: Message) -> None:
        self.client.handle(message, self.client.addresses[self.walk.sharding.parts[message.part].server])
        if message.kind is Kind.ACK:
            self.walk.acknowledged.add((self.number, message.part, message.clock))
        if not self.finished and all(ticket.done() for ticket in self.tickets):
            self.walk.acknowledged |= self.pushed
            self.step()

    def server_failed(self, server: int) -> None:
        for home, head in self.heads.failed(server).items():
            self.client.addresses[home] = self.walk.configuration.rank_of(head)
            self.client.resend(home)


def _never(ticket: Ticket, limit: float | None) -> None:
    raise AssertionError("nobody waits in a walk")


def walked(seed: int, consistency: Consistency, kill: list[tuple[str, int]], *, servers: int = 3, replicas: int = 2,
           workers: int = 2) -> Walk:  # fmt: skip
    walk = Walk(seed, Configuration(workers, servers, consistency=consistency, replicas=replicas), kill)
    walk.run()
    taken = defaultdict(set)
    for home in range(servers):
        for copy in walk.copies(home):
            assert len(set(copy.taken)) == len(copy.taken), "a push counted twice"
            taken[home] |= set(copy.taken)
    lost = walk.acknowledged - set().union(*taken.values())
    assert not lost, f"acknowledged, and lost: {lost}"
    return walk


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(("replicas", "dying"), [(2, 1), (3, 2)])
def test_when_servers_die_the_model_is_as_if_none_had(seed: int, replicas: int, dying: int) -> None:
    kill = [("server", (seed + step) % 3) for step in range(dying)]
    expected = walked(seed, BSP(), []).parameters()
    np.testing.assert_array_equal(walked(seed, BSP(), kill, replicas=replicas).parameters(), expected)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("consistency", [Async(), SSP(1)])
def test_without_lockstep_each_push_counts_once(seed: int, consistency: Consistency) -> None:
    parameters = walked(seed, consistency, [("server", seed % 3)]).parameters()
    pushed = sum(number + clock for number in range(2) for clock in range(1, CLOCKS + 1))
    np.testing.assert_array_equal(parameters, np.arange(COUNT) - 0.5 * pushed / 2)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("consistency", [BSP(), SSP(1), Async(), Backup(1)])
def test_when_workers_and_servers_die_the_others_finish_and_agree(seed: int, consistency: Consistency) -> None:
    kill = [("worker", seed % 3), ("server", seed % 2)] * (seed % 4 > 0) or [("worker", 0), ("worker", 2)]
    walk = walked(seed, consistency, kill, servers=2, workers=3)
    assert np.isfinite(walk.parameters()).all()
    living = set(walk.workers)
    for node in walk.nodes.values():
        for machine in node.machines.values():
            for shard in machine.server.shards.values():
                assert set(shard.ledger.clocks) == living
                assert all(shard.ledger.clocks[worker] >= CLOCKS for worker in living)


def test_with_one_copy_the_loss_is_stated() -> None:
    with pytest.raises(PartsLost, match=r"the parts of server \d were on servers \d, and all of these are dead"):
        walked(0, BSP(), [("server", 1)], replicas=1)
