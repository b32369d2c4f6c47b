"""Checkpoints of servers at the same moment of all, and how a job that was started again goes on from them.

In lockstep the moment is a clock: each server writes its parts after the same updates, before any worker hears of them,
so no server can be more than one checkpoint ahead of another, and the newest that all have is the model as it was at
that clock, bit for bit. Without lockstep there is no such moment: each server goes on from its own newest.

What was acknowledged after the checkpoint that is taken is lost where no replica lived on: ``resumed`` says from where
the run goes on, and workers count their clocks from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from collectives.parameter_server.checkpoint import Checkpoint, CheckpointError, Checkpoints, Interval
from collectives.parameter_server.configuration import Configuration
from collectives.parameter_server.consistency import spelled
from collectives.parameter_server.server import Server
from collectives.parameter_server.sharding import Sharding

__all__ = ["Keeping", "facts_of", "newest_of_all"]


@dataclass(slots=True)
class Keeping:
    """Checkpoints in ``folder``, which all ranks see, every so many clocks (updates of a part) or seconds.

    In lockstep only ``clocks`` counts. Cost: the answers of that clock wait for the disk.
    """

    folder: Path
    clocks: float = float("inf")
    seconds: float = float("inf")
    _intervals: dict[int, Interval] = field(default_factory=dict[int, Interval], init=False)

    def look(self, home: int, server: Server, facts: Mapping[str, Any], now: float) -> None:
        """Write the parts of ``home`` if it is time; call it after each message, before its answers leave."""
        interval = self._intervals.setdefault(home, Interval(self.seconds, self.clocks))
        if (number := _moment(server, self.clocks)) is not None and interval.due(now, number):
            self.of(home).write(number, server.snapshot(), facts)
            interval.written(now, number)

    def resumed(self, home: int, server: Server, found: Checkpoint, now: float) -> None:
        """Let the server go on from ``found``, and forget what was written after it."""
        server.restore(found.arrays)
        self.of(home).give_up(found.number)
        self._intervals.setdefault(home, Interval(self.seconds, self.clocks)).written(now, found.number)

    def of(self, home: int) -> Checkpoints:
        """Those of one server's parts, whoever writes them."""
        return Checkpoints(self.folder, f"server{home}")


def facts_of(configuration: Configuration, sharding: Sharding, optimiser: object) -> dict[str, Any]:
    """What a run must have in common with the one whose checkpoints it takes."""
    return {
        "workers": configuration.workers,
        "servers": configuration.servers,
        "partition": configuration.partition,
        "consistency": spelled(configuration.consistency),
        "optimiser": repr(optimiser),
        "tensors": {name: list(where) for name, where in sharding.tensors.items()},
    }


def newest_of_all(keeping: Keeping, configuration: Configuration, facts: Mapping[str, Any]) -> dict[int, Checkpoint]:
    """By home, where to go on from; empty to start anew. Every rank that looks finds the same.

    Raises CheckpointError where there are some and no moment is common to all homes, or they are of another run.
    """
    looked = {home: keeping.of(home).whole() for home in range(configuration.servers)}
    whole = {home: {each.number: each for each in found} for home, (found, _) in looked.items()}
    for checkpoint in (each for found in whole.values() for each in found.values()):
        if differing := [name for name in facts if checkpoint.facts.get(name) != facts[name]]:
            raise CheckpointError(f"{checkpoint.path} is of a run with another {', '.join(differing)}")
    if configuration.consistency.spare is None:
        return {home: found[max(found)] for home, found in whole.items() if found}
    common = set[int].intersection(*(set(found) for found in whole.values()))
    if common:
        return {home: found[max(common)] for home, found in whole.items()}
    damaged = [each for _, faults in looked.values() for each in faults]
    if damaged or all(whole.values()):
        faults = f": {'; '.join(damaged)}" if damaged else ""
        raise CheckpointError(f"{keeping.folder} has no clock of which all servers' checkpoints are whole{faults}")
    return {}  # the job ended before the first ones were there


def _moment(server: Server, every: float) -> int | None:
    """The number of a checkpoint that could be made now, if any."""
    ledgers = [shard.ledger for shard in server.shards.values()]
    if server.configuration.consistency.spare is None:
        return sum(ledger.version for ledger in ledgers) // max(1, len(ledgers))
    closed = {ledger.closed for ledger in ledgers}
    clock = closed.pop() if len(closed) == 1 else 0
    return clock if clock and clock % every == 0 else None
