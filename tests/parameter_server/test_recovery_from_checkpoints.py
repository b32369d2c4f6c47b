"""Servers that write checkpoints in lockstep, and from where a job that is started again goes on."""

from pathlib import Path

import numpy as np
import pytest

from collectives.parameter_server import BSP, SSP, Configuration
from collectives.parameter_server.checkpoint import CheckpointError
from collectives.parameter_server.consistency import Reception
from collectives.parameter_server.messages import Kind, Message, as_bytes
from collectives.parameter_server.resuming import Keeping, facts_of, newest_of_all
from collectives.parameter_server.server import Server
from collectives.parameter_server.sharding import Sharding
from kernels.optimise import Adam

WORKERS, COUNT = 2, 10
OPTIMISER = Adam(0.1)


class Run:
    """Two servers and their checkpoints; what was there before is gone on from."""

    def __init__(self, folder: Path, *, every: int = 2, optimiser=OPTIMISER, consistency=None) -> None:
        self.configuration = Configuration(WORKERS, 2, consistency=consistency or BSP(), partition=12)
        self.sharding = Sharding.plan({"a": COUNT}, 2, 12)
        weights = np.arange(COUNT, dtype=np.float32)
        self.servers = [Server(self.configuration, self.sharding, each, weights, optimiser) for each in range(2)]
        self.keeping = Keeping(folder, clocks=every)
        self.facts = facts_of(self.configuration, self.sharding, optimiser)
        self.found = newest_of_all(self.keeping, self.configuration, self.facts)
        for home, found in self.found.items():
            self.keeping.resumed(home, self.servers[home], found, 0.0)

    def clock(self, clock: int, homes: tuple[int, ...] = (0, 1)) -> None:
        """Both workers push this clock to the servers ``homes``."""
        for worker in range(WORKERS):
            for part in self.sharding.parts:
                if part.server in homes:
                    self.push(worker, part.number, clock)
                    self.keeping.look(part.server, self.servers[part.server], self.facts, 0.0)

    def push(self, worker: int, part: int, clock: int) -> Message:
        count = self.sharding.parts[part].count
        payload = as_bytes(np.random.default_rng([worker, clock, part]).standard_normal(count, dtype=np.float32))
        server = self.servers[self.sharding.parts[part].server]
        return server.handle(Message(Kind.PUSH, worker, part, clock, payload, samples=1))[0].message

    def model(self) -> list[float]:
        shards = {number: shard for server in self.servers for number, shard in server.shards.items()}
        return [float(value) for number in sorted(shards) for value in shards[number].parameters]


def test_a_run_that_was_killed_ends_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole, killed = Run(tmp_path / "whole"), Run(tmp_path / "killed")
    for clock in range(1, 8):
        whole.clock(clock)
    for clock in range(1, 6):
        killed.clock(clock)
    killed.clock(6, homes=(0,))  # server 0 wrote clock 6, and server 1 did not come so far
    again = Run(tmp_path / "killed")
    assert [found.number for found in again.found.values()] == [4, 4]
    assert again.push(0, 0, 4).reception is Reception.DUPLICATE  # a worker that did not hear of its answer
    assert not list((tmp_path / "killed").glob("server0-*6.checkpoint"))  # that line is given up
    for clock in range(5, 8):
        again.clock(clock)
    assert again.model() == whole.model()


def test_killed_before_the_first_checkpoints_it_begins_anew(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.clock(1)
    run.clock(2, homes=(0,))
    assert Run(tmp_path).found == {}


def test_where_no_clock_is_whole_it_says_so(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for clock in range(1, 5):
        run.clock(clock)
    for file in tmp_path.glob("server1-*"):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="no clock of which all servers' checkpoints are whole"):
        Run(tmp_path)


def test_checkpoints_of_another_run_are_refused(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.clock(1)
    run.clock(2)
    with pytest.raises(CheckpointError, match="is of a run with another optimiser"):
        Run(tmp_path, optimiser=Adam(0.2))


def test_without_lockstep_each_server_goes_on_from_its_own(tmp_path: Path) -> None:
    run = Run(tmp_path, consistency=SSP(2), every=2)
    for clock in range(1, 4):
        run.clock(clock)
    run.clock(4, homes=(0,))
    again = Run(tmp_path, consistency=SSP(2))
    assert again.found[0].number > again.found[1].number
    assert again.model() == run.model()
