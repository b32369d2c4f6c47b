"""What all strategies with a parameter server share: who serves, who works, and what a worker is told of the others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np

from collectives import parameter_server
from collectives.parameter_server.configuration import PARTITION, Configuration
from collectives.parameter_server.consistency import Backup, Consistency
from collectives.parameter_server.worker import Worker
from experiments.errors import UsageFault
from experiments.training.flat import Flat
from experiments.training.shares import Balanced, Equal, Shares, agreement
from experiments.training.strategy import Snapshot, Step, Strategy, Task
from kernels import checksum, reduce

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["Bytes", "Member", "Servers"]

Bytes = int


@dataclass(frozen=True)
class Servers(ABC):
    """Parameters that every strategy with servers takes, beside those of its rules, which come first.

    ``servers``: on so many ranks of their own, the last ones; with ``colocated`` beside the first workers; 0: beside
    every worker. ``partition``: most bytes of a message. ``compress``: an encoding of pushes, with error feedback.
    """

    servers: int = 0
    colocated: bool = False
    partition: Bytes = PARTITION
    compress: str = ""

    rules: ClassVar[type[Any]]
    """The consistency, whose parameters are fields of the same names."""

    def __post_init__(self) -> None:
        if self.servers < 0 or self.partition < 4:
            raise ValueError(
                f"servers must be at least 0 and partition at least 4 bytes, got {self.servers}, {self.partition}"
            )
        self.consistency()  # refuses what cannot be

    def consistency(self) -> Consistency:
        """The rules by which servers and workers go."""
        return self.rules(**{field.name: getattr(self, field.name) for field in fields(self.rules)})

    def configuration(self, ranks: int) -> Configuration:
        """Who serves among so many ranks. ValueError for what cannot be."""
        beside = self.colocated or not self.servers
        servers = self.servers or ranks
        workers = ranks if beside else ranks - servers
        if workers < 1:
            raise ValueError(
                f"{servers} servers on {ranks} ranks leave no worker: take fewer, more ranks, or colocated=true"
            )
        return Configuration(
            workers, servers, beside, self.consistency(), self.partition, encoding=self.compress or None
        )

    def start(self, task: Task) -> Strategy:
        """Begin on all ranks of the task. A rank that only serves does so in ``close``."""
        if task.deterministic:
            raise UsageFault(
                "a parameter server sums in the order of its workers, so other numbers of ranks round otherwise: "
                "leave --deterministic out"
            )
        try:
            configuration = self.configuration(task.comm.size)
        except (ValueError, KeyError) as fault:
            raise UsageFault(str(fault.args[0])) from None
        _check(task, configuration)
        works = task.comm.rank < configuration.workers
        workers = task.comm.Split(0 if works else 1, task.comm.rank)
        workers.settings.timeout = task.limit
        if not works:
            workers.Free()
            return Serving(task, configuration)
        return self.member(task, configuration, workers)

    @abstractmethod
    def member(self, task: Task, configuration: Configuration, workers: Communicator) -> Strategy:
        """The strategy on a rank that works."""


def _check(task: Task, configuration: Configuration) -> None:
    if task.batches.grains < configuration.workers:
        raise UsageFault(
            f"{configuration.workers} workers cannot share {task.batches.grains} grains of a batch: take more grains"
        )
    if task.balance and not _lockstep(configuration.consistency):
        raise UsageFault("shares are balanced where workers wait for each other: leave --balance out, or take ps")


def _lockstep(consistency: Consistency) -> bool:
    return consistency.bound == 0 and not isinstance(consistency, Backup)


def _begin(task: Task, configuration: Configuration, weights: Flat) -> Any:
    """A worker of the parameter server, or on a rank that serves what it saw when all is over."""
    tiny, other, total = np.zeros((3, 8), np.float32)
    reduce.get("sum")(tiny, other, total)  # so that compiled code is loaded before steps are timed
    task.optimiser.step(tiny, other, task.optimiser.state(tiny), 1)
    checksum.get("crc32c")(tiny.view(np.uint8))
    return parameter_server.start(task.comm, configuration, weights, optimiser=task.optimiser, limit=task.limit)


class Serving:
    """A rank that only serves."""

    workers = None
    lockstep = False

    def __init__(self, task: Task, configuration: Configuration) -> None:
        self._task, self._configuration = task, configuration

    @property
    def weights(self) -> Flat:
        """There is no model here."""
        self._nothing()

    def step(self, number: int, learning_rate: float) -> Step:  # noqa: ARG002 - as the protocol has it
        """There is nothing to do here."""
        self._nothing()

    def snapshot(self) -> Snapshot:
        """There is nothing to keep here."""
        self._nothing()

    def restore(self, snapshot: Snapshot) -> None:  # noqa: ARG002 - as the protocol has it
        """There is nothing to restore here."""
        self._nothing()

    def close(self) -> None:
        """Serve until all workers have ended."""
        _begin(self._task, self._configuration, self._task.model.initial(self._task.seed))

    def _nothing(self) -> NoReturn:
        raise RuntimeError(f"rank {self._task.comm.rank} only serves: it does no steps")


class Member(ABC):
    """A rank that works: its copy of the model, its share of the batches, and its tie to the servers."""

    def __init__(self, task: Task, configuration: Configuration, workers: Communicator) -> None:
        self.task, self.configuration, self.workers = task, configuration, workers
        self.rules = configuration.consistency
        self.lockstep = _lockstep(self.rules)
        self.own = task.model.initial(task.seed)
        """The parameters that this worker computes with."""
        self._shares = _shares(task, workers)
        self._server: Worker = _begin(task, configuration, self.own)
        self._judged = self.own if self.lockstep else self.own.like()
        self._sent = 0
        beside = configuration.server_at(task.comm.rank)
        kept = sum(part.count for part in self._server.sharding.parts if part.server == beside)
        self._away = 1 - kept / max(1, self.own.vector.size)

    @property
    def server(self) -> Worker:
        """The worker's tie to its servers, with what it counted."""
        return self._server

    @property
    def weights(self) -> Flat:
        """In lockstep the worker's own, else what the servers have now: a pull."""
        if not self.lockstep:
            self._server.pull(into=self._judged.vector)
        return self._judged

    @abstractmethod
    def step(self, number: int, learning_rate: float) -> Step:
        """This worker's share of a step."""

    def snapshot(self) -> Snapshot:
        """Servers are not asked for theirs."""
        raise UsageFault("servers keep the optimiser's state, which no checkpoint of a run has: leave --checkpoint out")

    def restore(self, snapshot: Snapshot) -> None:  # noqa: ARG002 - as the protocol has it
        """See ``snapshot``."""
        raise UsageFault("a run with a parameter server cannot go on from a checkpoint: leave --resume out")

    def close(self) -> None:
        """End this worker's work; a server beside it goes on until all have."""
        self._server.close()
        self.workers.Free()

    def sent(self) -> int:
        """Bytes that left this rank since it was last asked, its server's answers to others among them."""
        worker = self._server.statistics.sent_bytes * self._away
        beside = self._server.server
        total = round(worker) + (beside.statistics.sent_bytes if beside is not None else 0)
        before, self._sent = self._sent, total
        return total - before

    def samples(self, grains: tuple[int, int]) -> int:
        """How many predictions the gradient of these grains is summed over."""
        batches = self.task.batches
        each = int(np.prod(self.task.data.targets.shape[1:], dtype=np.int64))
        return (grains[1] - grains[0]) * (batches.batch // batches.grains) * each


def _shares(task: Task, workers: Communicator) -> Shares:
    grains, size, rank = task.batches.grains, workers.size, workers.rank
    if task.balance:
        return Balanced(grains, size, rank, agreement(workers), task.balance)
    return Equal(grains, size, rank)
