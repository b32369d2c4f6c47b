"""A rank of a fault test: it trains or serves, dies when it is told to, and writes down what it knows at the end.

    python -m experiments.parameter_server_faults.ranks SCENARIO PLAN FOLDER

``rankN.clock`` holds the last clock that was acknowledged to worker N, ``serverN-HOME.npz`` the parts that server N has
of server HOME, ``workerN.npy`` the model that worker N ended with.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import numpy as np
from mpi4py import MPI

from collectives.parameter_server.resuming import Keeping
from collectives.parameter_server.starting import start
from collectives.parameter_server.surviving import Replicated
from collectives.parameter_server.worker import Worker
from experiments.parameter_server_faults.scenarios import CLOCKS, OPTIMISER, SCENARIOS, TENSORS, Floats, gradient

__all__ = ["BEGAN", "KEPT", "LIMIT", "main"]

BEGAN = "began"
"""The file that is there when a first step was made: all have started, and deaths count their seconds from then."""

KEPT = 5
"""Clocks from one checkpoint to the next."""

LIMIT = 60.0
"""Seconds of waiting after which a rank says what it waits for, and the job has failed."""

_PACE = 0.005
"""Seconds that a step of a worker computes."""


def main(name: str, plan: str, folder: Path) -> None:
    """Take part; ``plan`` is a ``Plan`` in JSON."""
    scenario, given = SCENARIOS[name], json.loads(plan)
    comm = MPI.COMM_WORLD
    (folder / f"rank{comm.rank}.pid").write_text(str(os.getpid()))
    vector = np.zeros(sum(TENSORS.values()), np.float32)
    keeping = Keeping(folder / "checkpoints", clocks=KEPT) if scenario.jobs else None
    death = given["deaths"].get(str(comm.rank))
    if death is not None:
        threading.Thread(target=_die, args=[folder / BEGAN, death], daemon=True).start()
    tensors = _named(vector)
    made = start(comm, scenario.configuration, tensors, optimiser=OPTIMISER, limit=LIMIT, keeping=keeping)
    handler = made.server
    if isinstance(made, Worker):
        _train(made, name, vector, folder, given["joins"])
    if isinstance(handler, Replicated):
        for home, server in handler.servers.items():
            parts = {str(part): shard.parameters for part, shard in server.shards.items()}
            np.savez(folder / f"server{handler.node.number}-{home}.npz", **parts)  # pyright: ignore[reportArgumentType]


def _train(worker: Worker, name: str, vector: Floats, folder: Path, joins: float | None) -> None:
    scenario = SCENARIOS[name]
    descriptor = os.open(folder / f"rank{worker.number}.clock", os.O_CREAT | os.O_WRONLY)
    if joins is not None and worker.number == scenario.configuration.workers - 1:
        worker.leave()
        time.sleep(joins)
        worker.join()
        (folder / "joined").write_text(str(worker.clock))
    elif scenario.jobs:
        worker.join()
    while worker.clock < CLOCKS:
        time.sleep(_PACE)
        worker.push_pull(None, gradient(scenario, worker.number, worker.clock + 1, vector), into=vector)
        os.pwrite(descriptor, worker.clock.to_bytes(8, "little"), 0)
        (folder / BEGAN).touch()
    np.save(folder / f"worker{worker.number}.npy", vector)
    if scenario.configuration.consistency.spare is None:
        # Without lockstep who ends first would leave the others' pushes a greater weight, and the model to chance.
        while len(list(folder.glob("worker*.npy"))) < scenario.configuration.workers:
            time.sleep(_PACE)
    worker.close()


def _named(vector: Floats) -> dict[str, Floats]:
    found: dict[str, Floats] = {}
    at = 0
    for name, count in TENSORS.items():
        found[name] = vector[at : at + count]
        at += count
    return found


def _die(began: Path, seconds: float) -> None:
    while not began.exists():
        time.sleep(0.001)
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
