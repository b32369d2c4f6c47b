"""What happens to a small training with a parameter server, and what its model must be afterwards."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.consistency import BSP, Async, Consistency
from collectives.parameter_server.messages import Kind, Message, as_bytes
from collectives.parameter_server.server import Server
from collectives.parameter_server.sharding import Sharding
from kernels.optimise import SGD

__all__ = ["CLOCKS", "OPTIMISER", "SCENARIOS", "TENSORS", "Floats", "Plan", "Scenario", "gradient", "models"]

Floats = NDArray[np.float32]

CLOCKS = 40
TENSORS: Mapping[str, int] = MappingProxyType({"first": 3000, "second": 1000, "third": 7})
OPTIMISER = SGD(0.5)


@dataclass(frozen=True, slots=True)
class Plan:
    """One run: ``deaths``: by rank, seconds after its start at which it is killed (SIGKILL).

    ``job``: seconds after which all ranks are killed, each time the job was started anew until the list is empty.
    ``joins``: seconds after which the last worker, which is idle until then, joins.
    """

    deaths: Mapping[int, float]
    job: tuple[float, ...] = ()
    joins: float | None = None


@dataclass(frozen=True, slots=True)
class Scenario:
    """``about`` in words; how many servers and how many workers are ``doomed`` or, colocated, ranks."""

    about: str
    configuration: Configuration
    servers: int = 0
    workers: int = 0
    jobs: int = 0
    joining: bool = False

    def plan(self, seed: int, seconds: float) -> Plan:
        """Who dies when, within the ``seconds`` that a run takes."""
        chance = random.Random(seed)
        configuration = self.configuration
        servers = chance.sample(range(configuration.servers), self.servers)
        ranks = [configuration.rank_of(server) for server in servers]
        # The one who joins lives, or there would be nothing to see.
        ranks += chance.sample(range(configuration.workers - self.joining), self.workers)
        deaths = {rank: chance.uniform(0, seconds) for rank in ranks}
        job = tuple(chance.uniform(0, seconds) for _ in range(self.jobs))
        return Plan(deaths, job, chance.uniform(0, seconds) if self.joining else None)

    @property
    def dependent(self) -> bool:
        """Whether gradients depend on the parameters: where the model is the same whoever dies."""
        return self.configuration.consistency == BSP() and not (self.workers or self.joining or self._shared)

    @property
    def _shared(self) -> bool:
        return self.configuration.colocated


def gradient(scenario: Scenario, worker: int, clock: int, weights: Floats) -> Floats:
    """Of one sample, float32. Small integers where sums must be the same in any order."""
    own = np.full(weights.size, 1 + worker + clock % 4, np.float32)
    return np.add(own, weights / 10, dtype=np.float32) if scenario.dependent else own


def models(scenario: Scenario, last: int, worker: int) -> list[Floats]:
    """By clock c from 0 to ``last``, the model if ``worker`` was part of the first c updates (joining: of the rest)."""
    return [_model(scenario, clock, worker) for clock in range(last + 1)]


def _model(scenario: Scenario, turn: int, worker: int) -> Floats:
    """One server alone, all pushes in order."""
    workers = scenario.configuration.workers
    configuration = Configuration(workers, 1, consistency=scenario.configuration.consistency)
    count = sum(TENSORS.values())
    server = Server(
        configuration, Sharding.plan({"all": count}, 1, 4 * count), 0, np.zeros(count, np.float32), OPTIMISER
    )
    for clock in range(1, CLOCKS + 1):
        away = (clock <= turn) if scenario.joining else (clock > turn)
        if away != (worker not in server.shards[0].ledger.clocks):
            server.handle(Message(Kind.LEAVE if away else Kind.JOIN, worker))
        for each in range(workers):
            if not (away and each == worker):
                payload = as_bytes(gradient(scenario, each, clock, server.shards[0].parameters))
                server.handle(Message(Kind.PUSH, each, 0, clock, payload, samples=1))
    return server.shards[0].parameters


def _chained(
    workers: int, servers: int, replicas: int, rules: Consistency, *, colocated: bool = False
) -> Configuration:
    return Configuration(workers, servers, colocated, rules, partition=4096, replicas=replicas)


SCENARIOS: Mapping[str, Scenario] = MappingProxyType(
    {
        "server": Scenario("one of three servers dies; two replicas, lockstep", _chained(2, 3, 2, BSP()), servers=1),
        "servers": Scenario("two of three servers die; three replicas, lockstep", _chained(2, 3, 3, BSP()), servers=2),
        "asynchronous": Scenario(
            "one of three servers dies; two replicas, asynchronous", _chained(2, 3, 2, Async()), servers=1
        ),
        "worker": Scenario("one of three workers dies; lockstep", _chained(3, 2, 2, BSP()), workers=1),
        "rank": Scenario(
            "one of three ranks dies, each a worker and a server; two replicas, lockstep",
            _chained(3, 3, 2, BSP(), colocated=True),
            servers=1,
        ),
        "join": Scenario(
            "a worker joins, and one of two servers dies; two replicas, lockstep",
            _chained(3, 2, 2, BSP()),
            servers=1,
            joining=True,
        ),
        "job": Scenario(
            "the whole job is killed twice and started again from checkpoints of every 5 clocks; one replica, lockstep",
            _chained(2, 2, 1, BSP()),
            jobs=2,
        ),
    }
)
