"""One contestant trains on its ranks: every step timed, every byte counted, and the model judged afterwards."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from collectives import Communicator
from experiments.errors import Failure
from experiments.training import models, strategies
from experiments.training.batches import Batches
from experiments.training.comparison.contestants import Contestant
from experiments.training.comparison.workload import Workload
from experiments.training.dataset import Dataset
from experiments.training.flat import Array, Flat
from experiments.training.pace import Pace
from experiments.training.strategies.servers import Member
from experiments.training.strategy import Step, Strategy, Task
from kernels import optimise

__all__ = ["Trainer"]

_STALEST = 63  # updates that a push may have missed and still be told from one that missed more
_LIMIT = 30.0  # seconds that a rank waits for the others

_SECONDS, _COMPUTING, _EXPOSED, _SENT = range(4)  # columns of the table of steps


class Trainer:
    """Trains the model of ``workload`` on ``data``."""

    def __init__(self, workload: Workload, data: Dataset) -> None:
        self._workload, self._data = workload, data
        self._model = models.get(workload.model, data)

    def train(self, comm: Communicator, contestant: Contestant, steps: int) -> list[dict[str, Any]]:
        """Train so many steps; rank 0 gets what each rank did, in rank order, and the others nothing. Collective.

        Raises Failure naming the rank and the contestant for whatever goes wrong.
        """
        try:
            strategy = self._start(comm, contestant)
            notes = _Notes(steps)
            if strategy.workers is not None:
                self._steps(strategy, contestant, notes)
            strategy.close()
            notes.end()
        except Exception as fault:
            where = f"rank {comm.rank} of {comm.size}, training by {contestant.label}"
            raise Failure(f"{where}: {type(fault).__name__}: {fault}") from fault
        found = notes.gathered(comm)
        if found:
            found[0]["curve"] = self._curve(notes)
        return found

    def _start(self, comm: Communicator, contestant: Contestant) -> Strategy:
        load, workers = self._workload, contestant.workers
        batches = Batches(len(self._data.inputs), load.batch * workers, workers, load.seed)
        optimiser = optimise.get(load.optimiser, learning_rate=load.learning_rate * workers)
        task = Task(comm, self._model, self._data, batches, optimiser, load.seed, pace=Pace(load.compute), limit=_LIMIT)
        return strategies.get(load.strategy(contestant)).start(task)

    def _steps(self, strategy: Strategy, contestant: Contestant, notes: _Notes) -> None:
        workers = strategy.workers
        if workers is None:
            return
        workers.Barrier()
        rate = self._workload.learning_rate * contestant.workers
        for number in range(len(notes.table)):
            began = time.perf_counter()
            step = strategy.step(number + 1, rate)
            notes.add(number, time.perf_counter() - began, step)
            if workers.rank == 0:
                held = strategy.own if isinstance(strategy, Member) else strategy.weights  # asking servers costs time
                notes.weights.append(held.vector.copy())

    def _curve(self, notes: _Notes) -> list[tuple[float, float]]:
        """Seconds of training, and the accuracy on test samples of the weights that this rank had then."""
        shapes, inputs, targets = self._model.shapes(), self._data.test_inputs, self._data.test_targets
        times = notes.table[:, _SECONDS].cumsum().tolist()
        scores = (self._model.score(Flat(shapes, vector), inputs, targets) for vector in notes.weights)
        return [(at, score.accuracy) for at, score in zip(times, scores, strict=True)]


class _Notes:
    """What one rank did in ``steps`` steps; a server's are empty but for the bytes."""

    def __init__(self, steps: int) -> None:
        self.table = np.zeros((steps, 4))
        self.staleness = np.zeros(_STALEST + 1, np.int64)
        self.weights: list[Array] = []
        self._taken = np.zeros(1, np.int64)
        self._wire = np.array([-_transmitted()], np.int64)

    def add(self, number: int, seconds: float, step: Step) -> None:
        """A step of a worker is over."""
        self.table[number] = seconds, step.computing, step.exposed, step.sent
        np.add.at(self.staleness, np.minimum(step.staleness, _STALEST).astype(np.int64), 1)
        self._taken += 1

    def end(self) -> None:
        """All messages have left."""
        self._wire += _transmitted()

    def gathered(self, comm: Communicator) -> list[dict[str, Any]]:
        """Rank 0 gets those of all ranks. Cost: a gather of 32 bytes a step and some 600 more."""
        mine = np.concatenate([self.table.ravel(), self.staleness, self._wire, self._taken]).astype(np.float64)
        all_of_them = np.zeros((comm.size, mine.size)) if comm.rank == 0 else None
        comm.Gather(mine, all_of_them, root=0)
        if all_of_them is None:
            return []
        return [_told(rank, row, len(self.table)) for rank, row in enumerate(all_of_them)]


def _told(rank: int, row: np.ndarray, steps: int) -> dict[str, Any]:
    table, rest = row[: 4 * steps].reshape(steps, 4), row[4 * steps :].astype(np.int64)
    stale, (wire, taken) = rest[: _STALEST + 1], rest[_STALEST + 1 :].tolist()
    done = table[:taken]
    return {
        "rank": rank, "seconds": done[:, _SECONDS].tolist(), "computing": done[:, _COMPUTING].tolist(),
        "exposed": done[:, _EXPOSED].tolist(), "sent": done[:, _SENT].astype(np.int64).tolist(),
        "staleness": np.trim_zeros(stale, "b").tolist(), "wire_bytes": wire, "steps": steps,
    }  # fmt: skip


def _transmitted() -> int:
    """Bytes that have left by the interfaces of this host, or of this network namespace; its loopback left out."""
    total = 0
    for line in Path("/proc/self/net/dev").read_text(encoding="ascii").splitlines()[2:]:
        name, _, counts = line.partition(":")
        if name.strip() != "lo":
            total += int(counts.split()[8])
    return total
