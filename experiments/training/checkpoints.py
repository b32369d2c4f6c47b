"""Checkpoints of a run: rank 0 writes one file for all ranks, so that a file is all of a moment or nothing of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from collectives.parameter_server.checkpoint import Checkpoint, CheckpointError, Checkpoints
from experiments.errors import UsageFault
from experiments.training.gathering import broadcast, gather, packed, scatter, unpacked
from experiments.training.strategy import Snapshot

if TYPE_CHECKING:
    from collectives import Communicator

__all__ = ["Keeper"]

_RANK = "rank"


@dataclass(frozen=True, slots=True, eq=False)
class Keeper:
    """Checkpoints in ``folder`` of rank 0's host, for the ranks of ``comm``.

    ``facts``: what must be the same where a run goes on, in words that JSON knows.
    """

    comm: Communicator
    folder: Path
    facts: Mapping[str, Any]

    def write(self, step: int, snapshot: Snapshot) -> None:
        """Keep what was after ``step``. Collective: each rank's own arrays go to rank 0."""
        own = gather(self.comm, packed(snapshot.own))
        if self.comm.rank == 0:
            arrays = {f"shared.{name}": np.asarray(array) for name, array in snapshot.shared.items()}
            arrays |= {f"{_RANK}{rank}": octets for rank, octets in enumerate(own)} if snapshot.own else {}
            Checkpoints(self.folder, "training").write(step, arrays, {**self.facts, "ranks": self.comm.size})

    def newest(self) -> tuple[int, Snapshot] | None:
        """The last step that was kept, and what was after it; None where there is none. Collective.

        UsageFault on all ranks where nothing there is whole, or it is another run's.
        """
        found, fault = self._found() if self.comm.rank == 0 else (None, "")
        header = {"fault": fault, "step": found.number if found else None}
        told = json.loads(broadcast(self.comm, np.frombuffer(json.dumps(header).encode(), np.uint8)).tobytes())
        if told["fault"]:
            raise UsageFault(told["fault"])
        if told["step"] is None:
            return None
        arrays: Mapping[str, NDArray[Any]] = found.arrays if found else {}
        names = {name.removeprefix("shared."): name for name in arrays if name.startswith("shared.")}
        shared = broadcast(self.comm, packed({name: arrays[key] for name, key in names.items()}))
        nothing = packed({})
        own = scatter(self.comm, [arrays.get(f"{_RANK}{rank}", nothing) for rank in range(self.comm.size)])
        return told["step"], Snapshot(unpacked(shared), unpacked(own))

    def _found(self) -> tuple[Checkpoint | None, str]:
        """The newest one, and what stands against it."""
        try:
            found = Checkpoints(self.folder, "training").newest()
        except CheckpointError as fault:
            return None, str(fault)
        if found is None:
            return None, ""
        facts = dict(found.facts)
        ranks = facts.pop("ranks")
        other = [f"{name} {facts.get(name)!r}" for name, value in self.facts.items() if facts.get(name) != value]
        if other:
            return None, f"--resume: the run in {self.folder} has {', '.join(other)}; give the same, or another folder"
        if f"{_RANK}0" in found.arrays and ranks != self.comm.size:
            return None, f"--resume: {ranks} ranks have memories of their own in {self.folder}: go on with as many"
        return found, ""
