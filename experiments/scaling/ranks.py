"""The program that runs on the ranks: one launch of the experiment, for all rank counts one after another.

So many of the ranks are at work on a sub-communicator, and the others sleep until those are done. That saves a start of
all processes for each rank count, and it is how the calibration measured.
"""

from __future__ import annotations

import faulthandler
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from experiments import on_ranks, one_launch
from experiments.errors import Failure
from experiments.grid import Case
from experiments.scaling.cells import Cell
from experiments.scaling.plan import WARMUPS, Visit

if TYPE_CHECKING:
    from mpi4py import MPI

    from experiments.sampling import Count, Sampler, Samples, Sink

__all__ = ["JOBS", "PLAN", "PROGRESS", "dump"]

PLAN, PROGRESS, JOBS = "plan.json", "progress.jsonl", "jobs.json"
"""Files of the work folder: what to do, how far it is, and what came of it."""

_LATE = 1.5  # times the planned seconds, after which only cheap cells are still visited
_CHEAP = 1.0  # seconds of a visit
_LEAST = 0.05  # seconds that a visit may take at least, however little was expected


def dump(visits: list[list[Visit]], seconds: float, cell_limit: float) -> dict[str, Any]:
    """The content of the plan file: visits by rank count, and how many seconds all of them are expected to take."""
    groups = [
        {
            "ranks": group[0].cell.ranks,
            "visits": [{**visit.cell.case._asdict(), "samples": visit.samples, "seconds": visit.seconds}
                       for visit in group],
        }
        for group in visits if group
    ]  # fmt: skip
    return {"seconds": seconds, "cell_limit": cell_limit, "groups": groups}


def _visits(group: dict[str, Any]) -> Iterator[Visit]:
    for entry in group["visits"]:
        samples, seconds = entry.pop("samples"), entry.pop("seconds")
        yield Visit(Cell(group["ranks"], Case(**entry)), samples, seconds)


def _measure_here(
    launch: Annotated[int, typer.Option()], work: Annotated[Path, typer.Option()], file: Annotated[Path, typer.Option()]
) -> None:
    """Carry out the plan in the work folder; rank 0 appends samples to FILE."""
    from mpi4py import MPI

    from experiments.sampling import Sink

    world = MPI.COMM_WORLD
    plan = one_launch.told(world, work / PLAN)
    groups = [list(_visits(group)) for group in plan["groups"]]
    longest = plan["cell_limit"] + 10 * sum(visit.total for group in groups for visit in group)
    faulthandler.dump_traceback_later(longest, exit=True)
    one_launch.connected(world)
    comms = one_launch.first(world, [group[0].cell.ranks for group in groups])
    jobs: list[dict[str, Any]] = []
    with ExitStack() as files:
        sink = None
        if world.rank == 0:
            samples = files.enter_context(file.open("a", encoding="utf-8"))
            sink = Sink(samples, files.enter_context((work / PROGRESS).open("w", encoding="utf-8")))
        began, done = time.monotonic(), 0
        for comm, group in zip(comms, groups, strict=True):
            if isinstance(comm, MPI.Intracomm) and comm != MPI.COMM_NULL:
                turn = _Turn(launch, group, plan["cell_limit"], began + _LATE * plan["seconds"])
                jobs.append(turn.take(comm, sink, done, sum(map(len, groups))))
            done += len(group)
            faulthandler.dump_traceback_later(longest, exit=True)  # those who were at work had shorter limits
            one_launch.together(world)
    if sink is not None:
        about = {"jobs": jobs, "stories": sink.stories}
        (work / JOBS).write_text(json.dumps(about), encoding="utf-8")


class _Turn:
    """The visits of one rank count in one launch; after ``deadline`` (monotonic seconds) only the cheap ones."""

    def __init__(self, launch: int, visits: list[Visit], cell_limit: float, deadline: float) -> None:
        self.launch, self.visits, self.cell_limit, self.deadline = launch, visits, cell_limit, deadline

    def take(self, comm: MPI.Intracomm, sink: Sink | None, done: int, total: int) -> dict[str, Any]:
        """Take the samples, and say what the job was like; ``done`` of ``total`` visits came before."""
        from experiments.environment import load_average
        from experiments.job import Job
        from experiments.sampling import Sampler

        job, load, began = Job.survey(comm), load_average(), time.monotonic()
        sampler = Sampler(job, self.launch, max(visit.cell.case.nbytes for visit in self.visits), done)
        skipped = 0
        for number, visit in enumerate(self.visits):
            late = bool(sampler.agreed(time.monotonic() > self.deadline))
            if late and visit.total > _CHEAP:
                skipped += 1
                continue
            sampler.visits = done + number
            if sink is not None:
                sink.announce(done + number, total, visit.cell.case)
            self._visit(sampler, visit, sink)
        return job.describe() | {
            "launch": self.launch,
            "sampling_seconds": time.monotonic() - began,
            "load_average_before": load,
            "load_average_after": load_average(),
            "late_visits_skipped": skipped,
        }

    def _visit(self, sampler: Sampler, visit: Visit, sink: Sink | None) -> None:
        faulthandler.dump_traceback_later(self.cell_limit + 10 * visit.total, exit=True)
        case = visit.cell.case
        try:
            if visit.slow:
                sampler.visit_slow(case, visit.samples, sink)
            else:
                sampler.visit(case, WARMUPS, _count(sampler, visit), sink)
        except Exception as fault:
            what = f"{type(fault).__name__}: {fault}"
            raise Failure(f"rank {sampler.comm.rank} of {visit.cell.ranks}, measuring {case}: {what}") from fault


def _count(sampler: Sampler, visit: Visit) -> Count:
    """The planned number of samples, or fewer where a call takes much longer than was expected."""
    allowed = max(_LEAST, 2 * visit.total)

    def count(warm: Samples) -> int:
        each = max(1e-9, float((warm[0][-1] - warm[0][0]) / (len(warm[0]) - 1)) * 1e-9)
        return sampler.agreed(int(min(visit.samples, max(1.0, allowed / each))))

    return count


if __name__ == "__main__":
    on_ranks.run(_measure_here)
