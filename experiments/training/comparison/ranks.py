"""The program that runs on the ranks: one launch in which every contestant trains, one after another."""

from __future__ import annotations

import faulthandler
import json
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from experiments import on_ranks, one_launch
from experiments.training.comparison.contestants import Contestant
from experiments.training.comparison.workload import Workload

if TYPE_CHECKING:
    from mpi4py import MPI

__all__ = ["ABOUT", "PLAN", "PROGRESS", "Visit", "dump"]

PLAN, PROGRESS, ABOUT = "plan.json", "progress.jsonl", "about.json"
"""Files of the work folder: what to do, how far it is, and what the job was like."""

_SLACK = 10.0  # times the planned seconds of a contestant, after which it counts as hung


class Visit(NamedTuple):
    """A contestant that trains ``steps`` steps, each expected to take ``seconds``."""

    contestant: Contestant
    steps: int
    seconds: float

    @property
    def total(self) -> float:
        """Seconds of all its steps."""
        return self.steps * self.seconds


def dump(workload: Workload, visits: list[Visit], until: float, limit: float) -> dict[str, Any]:
    """The content of the plan file. ``until``: the time of day (Unix seconds) after which no more visits are begun.

    ``limit``: seconds that a contestant may take beside ten times its plan, before it counts as hung.
    """
    entries = [visit._asdict() | {"contestant": visit.contestant.to_json()} for visit in visits]
    return {"workload": workload.to_json(), "visits": entries, "until": until, "limit": limit}


def _train_here(work: Annotated[Path, typer.Option()], file: Annotated[Path, typer.Option()]) -> None:
    """Carry out the plan in the work folder; rank 0 appends a line for each worker of each contestant to FILE."""
    from mpi4py import MPI

    from experiments.training.ranks import one_thread

    one_thread(MPI.COMM_WORLD.size, always=False)

    from collectives import Communicator
    from experiments.job import Job
    from experiments.training import datasets
    from experiments.training.comparison.trainer import Trainer

    world = MPI.COMM_WORLD
    plan = one_launch.told(world, work / PLAN)
    visits = [Visit(Contestant(**entry.pop("contestant")), **entry) for entry in plan["visits"]]
    workload, planned = Workload(**plan["workload"]), sum(visit.total for visit in visits)
    faulthandler.dump_traceback_later(plan["limit"] + _SLACK * planned, exit=True)
    one_launch.connected(world)
    counts = sorted({visit.contestant.ranks for visit in visits})
    comms = dict(zip(counts, one_launch.first(world, counts), strict=True))
    jobs = [Job.survey(comm).describe() for comm in map(_mine, comms.values()) if comm is not None]
    trainer = Trainer(workload, datasets.shared(workload.data, world))
    with ExitStack() as files:
        told = _Told()
        if world.rank == 0:
            told.lines = files.enter_context(file.open("a", encoding="utf-8"))
            told.progress = files.enter_context((work / PROGRESS).open("w", encoding="utf-8"))
        began = time.monotonic()
        for number, visit in enumerate(visits):
            if _agreed(world, time.time() > plan["until"]):
                told.skipped.append(visit.contestant.label)
                continue
            told.announce(number, len(visits), visit.contestant)
            faulthandler.dump_traceback_later(plan["limit"] + _SLACK * visit.total, exit=True)
            comm = _mine(comms[visit.contestant.ranks])
            if comm is not None:
                told.write(visit, trainer.train(Communicator(comm), visit.contestant, visit.steps))
            faulthandler.dump_traceback_later(plan["limit"] + _SLACK * planned, exit=True)
            one_launch.together(world)
    if world.rank == 0:
        about = {"jobs": jobs, "late_skipped": told.skipped,
                 "training_seconds": time.monotonic() - began}  # fmt: skip
        (work / ABOUT).write_text(json.dumps(about), encoding="utf-8")


def _mine(comm: MPI.Comm) -> MPI.Intracomm | None:
    """The communicator, if this rank belongs to it."""
    from mpi4py import MPI

    return comm if isinstance(comm, MPI.Intracomm) and comm != MPI.COMM_NULL else None


def _agreed(world: MPI.Intracomm, mine: bool) -> bool:
    """What rank 0 says."""
    import numpy as np

    said = np.array([mine], np.uint8)
    world.Bcast(said)
    return bool(said[0])


@dataclass(slots=True)
class _Told:
    """What rank 0 writes down, while it goes on; the files are None elsewhere."""

    lines: Any = None
    progress: Any = None
    skipped: list[str] = field(default_factory=list[str])

    def announce(self, done: int, total: int, contestant: Contestant) -> None:
        if self.progress is not None:
            case = f"{contestant.label} on {contestant.ranks} ranks"
            self.progress.write(json.dumps({"done": done, "total": total, "case": case}) + "\n")
            self.progress.flush()

    def write(self, visit: Visit, workers: list[dict[str, Any]]) -> None:
        if self.lines is not None:
            about = visit.contestant.to_json() | {"label": visit.contestant.label}
            self.lines.writelines(json.dumps(about | worker, allow_nan=False) + "\n" for worker in workers)
            self.lines.flush()


if __name__ == "__main__":
    on_ranks.run(_train_here)
